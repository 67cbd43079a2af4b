//! Strings that were made up to do harm. `make fuzz` makes far more of them.

use std::borrow::Cow;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use qsessions_user_agent::{MAX_LENGTH, UserAgent, device_line, parse};

const STRINGS: &str = include_str!("strings.tsv");
const HOSTILE: &str = include_str!("hostile.txt");
const RULES: &str = include_str!("../rules/user-agents.rules");

/// Checks the properties that the answer for any text must have.
fn check(user_agent: &str) {
    let parsed = parse(user_agent);
    let UserAgent {
        browser,
        browser_version,
        os,
        os_version,
        device,
        model_name: _,
        vendor,
        category,
        is_bot,
    } = &parsed;
    assert_eq!(*is_bot, category.as_str() == "bot", "{user_agent}");
    let parts = [
        browser,
        browser_version,
        os,
        os_version,
        device,
        &parsed.device_name(),
        vendor,
    ];
    for part in parts {
        let is_told = |part: &Cow<'_, str>| {
            !part.is_empty() && part.len() <= MAX_LENGTH + 64 && !part.contains(char::is_control)
        };
        assert!(
            part.as_ref().is_none_or(is_told),
            "{user_agent}: {parsed:?}"
        );
    }
    let begins_with_digit = |version: &Cow<'_, str>| version.as_bytes()[0].is_ascii_digit();
    assert!(
        browser_version.as_ref().is_none_or(begins_with_digit),
        "{user_agent}: {parsed:?}"
    );
    assert!(
        browser.is_some() || browser_version.is_none(),
        "{user_agent}"
    );
    assert!(os.is_some() || os_version.is_none(), "{user_agent}");
    let line = device_line(user_agent);
    assert!(line.is_empty() == user_agent.is_empty(), "{user_agent}");
}

#[test]
fn a_name_has_no_invisible_characters() {
    for mark in [
        "\u{1b}[31m",
        "\r\n",
        "\u{85}",
        "\u{200b}",
        "\u{2028}",
        "\u{202e}",
        "\u{2066}",
    ] {
        let model = format!("Mozilla/5.0 (Linux; Android 14; Pi{mark}xel) Chrome/126.0 Mobile");
        assert_eq!(device_line(&model), "Phone / Android 14 / Chrome 126.0");
        assert_eq!(parse(&format!("ev{mark}il/1.0")).browser_version, None);
    }
}

#[test]
fn a_very_long_number_is_not_a_version() {
    let chrome = format!("Mozilla/5.0 (Windows NT 10.0) Chrome/{}", "1".repeat(1000));
    assert_eq!(device_line(&chrome), "PC / Windows 10 / Chrome");
}

#[test]
fn a_word_that_is_cut_at_the_maximum_length_is_ignored() {
    const START: &str = "Mozilla/5.0 (Linux; Android 14; Galaxy";
    for cut in START.len() - "Galaxy".len()..START.len() {
        let filler = "en; ".repeat(MAX_LENGTH / 4);
        let start = START.replace("Android", &format!("{filler}Android"));
        let excess = filler.len() + cut - MAX_LENGTH;
        let text = start.replacen(&filler, &filler[excess / 4 * 4..], 1);
        let device = parse(&text).device;
        assert!(device.is_none_or(|device| device == "Galaxy"), "{text}");
    }
}

/// Each part is compared with the rules, and a string can have two thousand.
#[test]
fn a_model_behind_many_parts_of_a_comment_is_not_looked_for() {
    for (parts, model) in [(10, Some("Pixel 8")), (1000, None)] {
        let filler = ";".repeat(parts);
        let text = format!("Mozilla/5.0 (Linux; Android 14{filler} Pixel 8) Chrome/126.0 Mobile");
        assert_eq!(parse(&text).device.as_deref(), model, "{parts} parts");
    }
}

fn strings() -> impl Iterator<Item = &'static str> {
    let rows = STRINGS.lines().skip(1);
    rows.filter_map(|row| row.split('\t').next())
}

/// The strings of `hostile.txt`, with the escapes replaced.
fn hostile() -> impl Iterator<Item = String> {
    let lines = HOSTILE.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let mut pieces = line.split("\\u{");
        let mut text = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let (code, rest) = piece.split_once('}').expect("an escape ends with }");
            let code = u32::from_str_radix(code, 16).expect("a number");
            text.push(char::from_u32(code).expect("a character"));
            text.push_str(rest);
        }
        text
    })
}

/// The plain texts that the rules look for.
fn markers() -> Vec<&'static str> {
    let lines = RULES.lines().filter(|line| !line.starts_with(['#', '[']));
    let first = lines.filter_map(|line| line.split(" | ").next()?.split(" & ").next());
    let plain = first.map(|marker| marker.trim_matches(['"', '^', '$', ' ', '*']));
    plain.filter(|marker| !marker.is_empty()).collect()
}

#[test]
fn every_prefix_and_some_suffixes_of_every_string() {
    for user_agent in strings() {
        for end in 0..=user_agent.len() {
            check(&user_agent[..end]);
        }
        for start in (0..user_agent.len()).step_by(7) {
            check(&user_agent[start..]);
        }
    }
}

#[test]
fn every_hostile_string_alone_and_repeated() {
    for text in hostile() {
        check(&text);
        check(&text.repeat(500));
        check(&(text.clone() + " Mozilla/5.0 (Linux; Android 14; Pixel 8) Chrome/126.0.0.0"));
    }
}

#[test]
fn only_the_beginning_of_a_long_text_counts() {
    let hostile: Vec<String> = hostile().filter(|text| !text.is_empty()).collect();
    for text in hostile.iter().map(String::as_str).chain(markers()) {
        let long = text.repeat(4 * MAX_LENGTH / text.len());
        let cut = &long[..long.floor_char_boundary(MAX_LENGTH)];
        assert_eq!(parse(&long), parse(cut), "{text}");
    }
    let parentheses = "(".repeat(10_000);
    assert_eq!(parse(&parentheses), parse("("));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_text(user_agent in "\\PC*") {
        check(&user_agent);
    }

    #[test]
    fn any_text_with_control_characters(user_agent in any::<String>()) {
        check(&user_agent);
    }

    #[test]
    fn parts_of_real_strings_in_any_order(
        parts in vec((select(strings().collect::<Vec<_>>()), any::<u16>(), 0_usize..40), 0..30),
    ) {
        let mut user_agent = String::new();
        for (part, start, length) in parts {
            let start = usize::from(start) % part.len();
            user_agent.push_str(&part[start..part.len().min(start + length)]);
        }
        check(&user_agent);
    }

    #[test]
    fn markers_of_the_rules_in_any_order(
        parts in vec((select(markers()), "[0-9a-zA-Z._ ;/()é]{0,6}"), 0..20),
        separator in select(vec!["", " ", "; ", "/", " (", ") ", "+"]),
    ) {
        let parts: Vec<String> = parts.iter().map(|(marker, rest)| format!("{marker}{rest}")).collect();
        check(&parts.join(separator));
    }

    #[test]
    fn a_real_string_with_an_insertion(
        user_agent in select(strings().collect::<Vec<_>>()),
        position in any::<u16>(),
        insertion in "\\PC{0,12}",
    ) {
        let position = usize::from(position) % (user_agent.len() + 1);
        check(&[&user_agent[..position], &insertion, &user_agent[position..]].concat());
    }
}
