//! The data of a session, and what a request changes in it.

use std::collections::HashMap;

use qsessions::SessionData;
use serde_json::Value;

/// The data of a session, as a `Record` of tower-sessions has it.
pub type Data = HashMap<String, Value>;

/// The members that differ between what a request was given and what it saves.
#[derive(Debug)]
pub(crate) struct Changes<'a> {
    set: Vec<(&'a String, &'a Value)>,
    removed: Vec<&'a String>,
}

impl<'a> Changes<'a> {
    pub(crate) fn between(given: &'a Data, saved: &'a Data) -> Self {
        let is_new = |(name, value): &(&String, &Value)| given.get(*name) != Some(value);
        let is_gone = |name: &&String| !saved.contains_key(*name);
        Self {
            set: saved.iter().filter(is_new).collect(),
            removed: given.keys().filter(is_gone).collect(),
        }
    }

    /// The data with these changes.
    pub(crate) fn apply(&self, data: &Data) -> Data {
        let mut data = data.clone();
        for name in &self.removed {
            data.remove(*name);
        }
        for (name, value) in &self.set {
            data.insert((*name).clone(), (*value).clone());
        }
        data
    }
}

/// The members of the data in the database. Another program can have saved data without members.
pub(crate) fn members(session: &SessionData) -> Data {
    session.data_as().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn data(value: Value) -> Data {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn only_members_that_differ_are_changed_in_other_data() {
        let given = data(json!({ "kept": 1, "changed": 1, "removed": 1, "nested": { "a": 1 } }));
        let saved = data(json!({ "kept": 1, "changed": 2, "new": null, "nested": { "a": 2 } }));
        let others = data(json!({ "kept": 7, "changed": 7, "removed": 7, "theirs": 7 }));
        let merged = Changes::between(&given, &saved).apply(&others);
        let expected =
            json!({ "kept": 7, "changed": 2, "new": null, "nested": { "a": 2 }, "theirs": 7 });
        assert_eq!(merged, data(expected));
    }

    #[test]
    fn changes_applied_to_what_was_given_are_what_was_saved() {
        let given = data(json!({ "a": 1, "b": [1], "c": null }));
        let saved = data(json!({ "b": [2], "c": null, "d": {} }));
        let merged = Changes::between(&given, &saved).apply(&given);
        assert_eq!(merged, saved);
    }
}
