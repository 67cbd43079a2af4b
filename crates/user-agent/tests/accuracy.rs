//! The results that `make accuracy` prints do not get worse.

mod score;

use score::{FIELDS, rows, score as compare};

/// Strings in the list. It should be long, so that no rule is made for a single string.
const STRINGS: usize = 1100;

/// Strings of which all eight fields are right. Lower it only for a reason, such as a rule that is
/// right for more strings in the world than in the list.
const RIGHT: usize = 1100;

#[test]
fn the_list_is_complete() {
    let rows = rows();
    assert!(rows.len() >= STRINGS, "{} strings", rows.len());
    for row in &rows {
        let [.., category, is_bot] = row.right;
        assert_eq!(
            is_bot,
            (category == "bot").to_string(),
            "{}",
            row.user_agent
        );
        assert!(!row.user_agent.is_empty() && row.right.len() == FIELDS.len());
    }
    let mut strings: Vec<&str> = rows.iter().map(|row| row.user_agent).collect();
    strings.sort_unstable();
    strings.dedup();
    assert_eq!(strings.len(), rows.len(), "a string is in the list twice");
}

#[test]
fn no_fewer_strings_are_right() {
    let score = compare(score::ours);
    let misses: Vec<String> = score
        .misses
        .iter()
        .map(|(user_agent, wrong)| format!("{user_agent}\n    {wrong}"))
        .collect();
    assert!(
        score.rows.right >= RIGHT,
        "{} of {} are right\n{}",
        score.rows.right,
        score.rows.all,
        misses.join("\n")
    );
}

#[test]
fn it_is_better_than_woothee_in_each_field() {
    let (ours, bare) = (compare(score::ours), compare(score::woothee));
    for (index, field) in FIELDS.iter().enumerate() {
        let (ours, bare) = (ours.fields[index].percent(), bare.fields[index].percent());
        assert!(ours > bare, "{field}: {ours:.1} % and {bare:.1} %");
    }
}
