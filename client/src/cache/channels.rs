//! The channels on which changes may be announced.

use std::sync::Mutex;

use super::lock;

/// Most installations never have a second one.
const MOST: usize = 8;

/// Those that the server has named as its setting, the latest one last.
#[derive(Debug, Default)]
pub(super) struct Channels(Mutex<Vec<String>>);

impl Channels {
    /// Whether it is a new one.
    pub(super) fn add(&self, channel: String) -> bool {
        let mut channels = lock(&self.0);
        let is_new = !channels.contains(&channel);
        channels.retain(|other| *other != channel);
        channels.push(channel);
        if channels.len() > MOST {
            channels.remove(0);
        }
        is_new
    }

    pub(super) fn all(&self) -> Vec<String> {
        lock(&self.0).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_ones_are_kept() {
        let channels = Channels::default();
        for n in 0..=MOST {
            assert!(channels.add(n.to_string()));
        }
        assert!(!channels.add("1".to_owned()));
        assert!(channels.add("0".to_owned()));
        let expected: Vec<_> = [3, 4, 5, 6, 7, 8, 1, 0].map(|n| n.to_string()).into();
        assert_eq!(channels.all(), expected);
    }
}
