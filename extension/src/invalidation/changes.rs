//! Ids of changed sessions, and the payloads of notifications: as many ids as fit, separated by
//! commas.

/// An id of a session.
pub(super) type Id = [u8; 16];

/// The payload for "drop everything".
pub(super) const EVERYTHING: &str = "*";

/// The payload of a NOTIFY has less than 8,000 bytes. An id takes 36 and a comma.
const IDS_PER_NOTIFY: usize = 200;

/// The changed sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Changes {
    /// These sessions. Each id is there once.
    Some(Vec<Id>),
    /// All sessions.
    All,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Some(ids) if ids.is_empty())
    }

    /// The number of ids, where `*` is one.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Some(ids) => ids.len() as u64,
            Self::All => 1,
        }
    }

    /// The payloads, each short enough for one NOTIFY.
    pub(super) fn payloads(&self) -> Vec<String> {
        match self {
            Self::All => vec![EVERYTHING.to_owned()],
            Self::Some(ids) => ids.chunks(IDS_PER_NOTIFY).map(join).collect(),
        }
    }
}

fn join(ids: &[Id]) -> String {
    let mut text = String::with_capacity(ids.len() * 37);
    for id in ids {
        if !text.is_empty() {
            text.push(',');
        }
        let mut buffer = uuid::Uuid::encode_buffer();
        text.push_str(
            uuid::Uuid::from_bytes(*id)
                .hyphenated()
                .encode_lower(&mut buffer),
        );
    }
    text
}
