//! The channels on which the server may announce changes.

use std::sync::Mutex;

use crate::cache::lock::lock;

/// Most installations never have a second one.
const MOST: usize = 8;

/// The values of the setting that the server has reported, the latest one last.
#[derive(Debug, Default)]
pub(crate) struct Channels(Mutex<Vec<String>>);

impl Channels {
    /// Returns whether the channel is a new one.
    pub(crate) fn add(&self, channel: String) -> bool {
        let mut channels = lock(&self.0);
        let is_new = !channels.contains(&channel);
        channels.retain(|other| *other != channel);
        channels.push(channel);
        if channels.len() > MOST {
            channels.remove(0);
        }
        is_new
    }

    pub(crate) fn all(&self) -> Vec<String> {
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
