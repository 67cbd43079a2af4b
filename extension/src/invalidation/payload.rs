//! Ids as the text of notifications: separated by commas, as many as fit into one.

/// An id of a session.
pub(super) type Id = [u8; 16];

/// What says: drop everything.
pub(super) const EVERYTHING: &str = "*";

/// A NOTIFY carries less than 8,000 bytes; an id takes 36 and a comma.
const IDS_PER_NOTIFY: usize = 200;

/// What there is to announce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Changes {
    /// These sessions. No id is in it twice.
    Some(Vec<Id>),
    /// Any session.
    All,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Some(ids) if ids.is_empty())
    }

    /// The texts to send, each short enough for one NOTIFY.
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
