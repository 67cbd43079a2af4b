//! Errors in a file of rules. The reader is that of build.rs.

#![allow(dead_code, reason = "build.rs uses the rest")]

#[path = "../build/read.rs"]
mod read;

use qsessions_user_agent::{parse, rule_counts};
use read::rules;

const GOOD: &str = "\
# a comment
rules 2026.11

[programs]
Example/ | Example | after Version/ or here | mobile | | Chrome
\"Other One \" & !~Example | Other One | -

[engines]
Chrome/ | Chrome

[systems]
Windows | Windows | | desktop
";

/// The line and the message of the first error.
fn first_error(file: &str) -> (usize, String) {
    let mut errors = rules(file).err().unwrap_or_default();
    assert!(!errors.is_empty(), "no error in\n{file}");
    let first = errors.remove(0);
    (first.line, first.message)
}

/// The good file with one line more, at the end of the first section.
fn with(line: &str) -> String {
    GOOD.replace("\n[engines]", &format!("{line}\n[engines]"))
}

#[test]
fn a_good_file_is_read() {
    let rules = rules(GOOD).unwrap();
    assert_eq!(rules.version, "2026.11");
    assert_eq!((rules.programs.len(), rules.first_engine), (3, 2));
    assert_eq!(rules.programs[1].marker.text, "Other One ");
    assert!(rules.programs[1].versions.is_empty());
    assert!(!rules.programs[1].marker.conditions[0].present);
    assert_eq!(rules.systems[0].category, "desktop");
}

#[test]
fn an_error_names_the_line() {
    for (line, words) in [
        ("Foo/ | Foo | behind Bar/", "where the version stands"),
        ("Foo/ | Foo | | phone", "'phone' is not a category"),
        ("Foo/", "a rule must have a name"),
        ("Foo/ | F*o*", "one * at most"),
        ("F | Foo", "at least two characters"),
        ("(Foo/ | Foo", "a word cannot begin with"),
        ("\"Foo | Foo", "must end with a quote"),
        ("Foo/ | Foo | item x", "'x' is not a number"),
        ("Foo/ | Foo | | | | | more", "7 fields"),
        ("Föö/ | Foo", "must be in ASCII"),
        ("Foo/ & ! | Foo", "a text to look for is empty"),
    ] {
        let (found, message) = first_error(&with(line));
        assert_eq!(found, 7, "{line}");
        assert!(message.contains(words), "{line}: {message}");
    }
}

#[test]
fn a_rule_that_can_never_win_is_refused() {
    let (line, message) = first_error(&with("Example/Mobile | Mobile Example"));
    assert_eq!(line, 7);
    assert!(message.contains("line 5 matches first"), "{message}");
    // A rule above with a condition, or with a longer text, does not hide the one below.
    assert!(rules(&with("Exam | Exam")).is_ok());
    assert!(rules(&with("\"Other One Lite\" | Other One Lite")).is_ok());
}

#[test]
fn a_rule_must_stand_above_those_that_it_beats() {
    let (line, message) = first_error(&with("Foo/ | Foo | | | | Example"));
    assert_eq!(line, 7);
    assert!(message.contains("beats 'Example'"), "{message}");
    assert!(rules(&with("Foo/ | Foo | | | | Chrome")).is_ok());
}

#[test]
fn an_unknown_section_and_a_file_without_a_version_are_refused() {
    let (line, message) = first_error(&(GOOD.to_owned() + "[telephones]\nFoo/ | Foo\n"));
    assert_eq!(line, 14);
    assert!(message.contains("no section 'telephones'"), "{message}");
    let (_, message) = first_error(&GOOD.replace("rules 2026.11\n", ""));
    assert!(message.contains("with the version"), "{message}");
}

#[test]
fn the_compiled_rules_are_those_of_the_file() {
    let rules = rules(include_str!("../rules/user-agents.rules")).unwrap();
    let counts = rule_counts();
    assert_eq!(counts.version, rules.version);
    assert_eq!(
        counts.browsers + counts.bots + counts.tools,
        rules.programs.len()
    );
    let bots = rules
        .programs
        .iter()
        .filter(|rule| rule.category == "bot")
        .count();
    assert_eq!((counts.bots, counts.systems), (bots, rules.systems.len()));
    assert_eq!(counts.devices, rules.devices.len());
    // The files in `data` have most of them.
    assert!(counts.models > rules.lists["models"].len() + 30_000);
}

/// Some browsers do not send their version, and any of them may stop sending it.
#[test]
fn a_browser_is_known_by_its_product_without_a_version() {
    let rules = rules(include_str!("../rules/user-agents.rules")).unwrap();
    let mut count = 0;
    for rule in &rules.programs[..rules.first_engine] {
        let marker = &rule.marker;
        let Some(product) = marker.text.strip_suffix('/') else {
            continue;
        };
        let is_plain = product.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let is_persons = !matches!(rule.category.as_str(), "bot" | "tool");
        if !is_persons || !is_plain || marker.at_start || !marker.conditions.is_empty() {
            continue;
        }
        count += 1;
        for (before, behind) in [
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.6.1 Mobile/15E148 Safari/604.1 ",
                "",
            ),
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile ",
                " Safari/537.36",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0 ",
                "",
            ),
        ] {
            let (alone, versioned) = (
                format!("{before}{product}{behind}"),
                format!("{before}{product}/26.1{behind}"),
            );
            let (alone, versioned) = (parse(&alone), parse(&versioned));
            assert_eq!(
                alone.browser, versioned.browser,
                "{before}{product}{behind}"
            );
            assert!(alone.browser.is_some(), "{product}");
        }
    }
    assert!(count > 100, "{count} browsers");
}

/// The words in brackets and before the engine are names of devices and systems.
#[test]
fn a_word_elsewhere_is_no_browser() {
    for user_agent in [
        "Mozilla/5.0 (Linux; Android 9; Brave) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36",
        "Mozilla/5.0 (X11; Brave; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 (not Brave)",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 Braver",
    ] {
        assert_eq!(
            parse(user_agent).browser.as_deref(),
            Some("Chrome"),
            "{user_agent}"
        );
    }
}
