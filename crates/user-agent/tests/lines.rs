//! The lines that a person is shown.

use qsessions_user_agent::{MAX_LENGTH, device_line, parse};

const LINES: &str = include_str!("lines.tsv");

#[test]
fn each_string_gives_its_line() {
    let mut wrong = Vec::new();
    for row in LINES.lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [user_agent, line, category] = columns.as_slice() else {
            panic!("{row}")
        };
        let answer = (device_line(user_agent), parse(user_agent).category.as_str());
        if answer != ((*line).to_owned(), *category) {
            wrong.push(format!("{user_agent}\n  {answer:?}\n  {line:?} {category}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_empty_string_gives_an_empty_line() {
    assert_eq!(device_line(""), "");
    assert_eq!(parse("").browser, None);
}

#[test]
fn makers_are_known_by_the_model() {
    for (model, vendor) in [
        ("SM-S918B", Some("Samsung")),
        ("Pixel 8", Some("Google")),
        ("Redmi Note 8", Some("Xiaomi")),
        ("CPH2269", Some("OPPO")),
        // OnePlus uses numbers of the same range.
        ("CPH2451", Some("OnePlus")),
        ("moto g power", Some("Motorola")),
        ("Example X", None),
    ] {
        let user_agent = format!("Mozilla/5.0 (Linux; Android 13; {model}) Chrome/1.0 Mobile");
        let parsed = parse(&user_agent);
        assert_eq!(
            (parsed.device.as_deref(), parsed.vendor.as_deref()),
            (Some(model), vendor)
        );
    }
}

#[test]
fn a_reduced_string_keeps_its_version_in_the_fields() {
    let parsed = parse("Mozilla/5.0 (Linux; Android 10; K) Chrome/118.0.0.0 Mobile");
    assert_eq!(parsed.os_version.as_deref(), Some("10"));
    assert_eq!(parsed.device, None);
}

#[test]
fn only_the_beginning_is_read() {
    let name = "curl/8.0 ";
    let long = name.to_owned() + &"é".repeat(MAX_LENGTH) + " Googlebot/2.1";
    assert_eq!(parse(&long).browser.as_deref(), Some("curl"));
    // The maximum length is in the middle of a character, which is left out.
    let cut = "x".repeat(MAX_LENGTH - 1) + "é Googlebot/2.1";
    assert!(!parse(&cut).is_bot);
}
