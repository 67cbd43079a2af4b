//! The device keys of the User-Agents that this backend has seen last.
//!
//! Each login needs its device key, and most visitors of a site have one of few browsers, so most
//! logins find the key here. An entry is found by all the bytes that its key depends on.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Number of entries. Each has one place only, by its hash, so that a flood of invented User-Agents
/// costs no more than no entries.
const ENTRIES: usize = 64;
/// Longer User-Agents and larger client hints are not kept. So the entries of a backend take up to
/// 200 kB, and usually 20 kB.
const MAX_BYTES: usize = 1024;

struct Entry {
    user_agent: String,
    client_hints: Vec<u8>,
    device_key: String,
}

thread_local! {
    // A backend is one thread.
    static RECENT: RefCell<Vec<Option<Entry>>> = const { RefCell::new(Vec::new()) };
}

/// The device key that `make` returns for this User-Agent and these client hints, as jsonb: the same
/// key for the same bytes, in any role and any database.
pub(super) fn device_key(
    user_agent: &str,
    client_hints: &[u8],
    make: impl FnOnce() -> String,
) -> String {
    if user_agent.len() > MAX_BYTES || client_hints.len() > MAX_BYTES {
        return make();
    }
    let mut hasher = DefaultHasher::new();
    (user_agent, client_hints).hash(&mut hasher);
    let place = hasher.finish() as usize % ENTRIES;
    let known = RECENT.with_borrow(|entries| {
        let entry = entries.get(place)?.as_ref()?;
        (entry.user_agent == user_agent && entry.client_hints == client_hints)
            .then(|| entry.device_key.clone())
    });
    known.unwrap_or_else(|| {
        let device_key = make();
        RECENT.with_borrow_mut(|entries| {
            entries.resize_with(ENTRIES, || None);
            entries[place] = Some(Entry {
                user_agent: user_agent.to_owned(),
                client_hints: client_hints.to_owned(),
                device_key: device_key.clone(),
            });
        });
        device_key
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_found_by_all_that_its_key_depends_on() {
        fn made(agent: &str, hints: &[u8]) -> String {
            device_key(agent, hints, || format!("{agent} {hints:?}"))
        }
        assert_eq!(made("one", b""), "one []");
        assert_eq!(device_key("one", b"", || unreachable!()), "one []");
        assert_eq!(made("one", b"\x01"), "one [1]");
        // More than there are entries, so that some take the place of others.
        for n in 0..1000 {
            let agent = format!("agent {n}");
            assert_eq!(made(&agent, b""), format!("{agent} []"));
        }
        assert_eq!(made("one", b"\x01"), "one [1]");
    }

    #[test]
    fn what_is_long_is_not_kept() {
        let long = "x".repeat(MAX_BYTES + 1);
        assert_eq!(device_key(&long, b"", || "first".to_owned()), "first");
        assert_eq!(device_key(&long, b"", || "second".to_owned()), "second");
    }
}
