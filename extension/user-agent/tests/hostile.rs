//! Strings that somebody made up to do harm.

use proptest::collection::vec;
use proptest::prelude::*;
use qsessions_user_agent::{device_line, parse};
use std::time::{Duration, Instant};

const STRINGS: &str = include_str!("strings.tsv");

fn read(user_agent: &str) {
    let parsed = parse(user_agent);
    assert_eq!(parsed.is_bot, parsed.category.as_str() == "bot");
    assert!(parsed.browser.is_none_or(|name| !name.is_empty()));
    assert!(parsed.device.is_none_or(|name| !name.is_empty()));
    assert!(parsed.os_version.is_none_or(|version| !version.is_empty()));
    let line = device_line(user_agent);
    assert!(line.is_empty() == user_agent.is_empty());
}

fn strings() -> impl Iterator<Item = &'static str> {
    STRINGS
        .lines()
        .skip(1)
        .filter_map(|row| row.split('\t').next())
}

#[test]
fn every_prefix_and_suffix_of_a_real_string() {
    for user_agent in strings() {
        for end in 0..=user_agent.len() {
            read(&user_agent[..end]);
            read(&user_agent[end..]);
        }
    }
}

#[test]
fn a_gigabyte_costs_no_more_than_a_page() {
    let patterns = [
        "(", ")", ";", "/", "bot", "Android ", "Version/", "+http", "é", "(; ", "1.", "TV",
    ];
    for pattern in patterns {
        let long = pattern.repeat(10_000_000 / pattern.len());
        let start = Instant::now();
        read(&long);
        // Some 100 µs; a debug build on a busy machine takes longer, but not for ever.
        assert!(
            start.elapsed() < Duration::from_secs(1),
            "{pattern} took {:?}",
            start.elapsed()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_text(user_agent in "\\PC*") {
        read(&user_agent);
    }

    #[test]
    fn any_text_with_control_characters(user_agent in any::<String>()) {
        read(&user_agent);
    }

    #[test]
    fn parts_of_real_strings_in_any_order(
        parts in vec((0..strings().count(), any::<u16>(), 0_usize..40), 0..30),
    ) {
        let strings: Vec<&str> = strings().collect();
        let mut user_agent = String::new();
        for (index, start, length) in parts {
            let part = strings[index];
            let start = usize::from(start) % part.len();
            user_agent.push_str(&part[start..part.len().min(start + length)]);
        }
        read(&user_agent);
    }
}
