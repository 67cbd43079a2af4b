//! What is refused in a file of rules, and where it says so. The reader is build.rs's own.

#![allow(dead_code, reason = "build.rs uses what is not used here")]

#[path = "../build/read.rs"]
mod read;

use qsessions_user_agent::{parse, rule_counts};
use read::rules;

const GOOD: &str = "\
# a remark
rules 2026.11

[programs]
Example/ | Example | after Version/ or here | mobile | | Chrome
\"Other One \" & !~Example | Other One | -

[engines]
Chrome/ | Chrome

[systems]
Windows | Windows | | desktop
";

/// The line and the words of the first complaint.
fn complaint(file: &str) -> (usize, String) {
    let mut errors = rules(file).err().unwrap_or_default();
    assert!(!errors.is_empty(), "nothing is refused of\\n{file}");
    let first = errors.remove(0);
    (first.line, first.what)
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
    assert!(!rules.programs[1].marker.needs[0].present);
    assert_eq!(rules.systems[0].category, "desktop");
}

#[test]
fn a_complaint_names_the_line() {
    for (line, words) in [
        ("Foo/ | Foo | behind Bar/", "where the version stands"),
        ("Foo/ | Foo | | phone", "'phone' is no category"),
        ("Foo/", "a rule has a name"),
        ("Foo/ | F*o*", "one * at most"),
        ("F | Foo", "two characters"),
        ("(Foo/ | Foo", "no word begins with"),
        ("\"Foo | Foo", "no second quote"),
        ("Foo/ | Foo | item x", "'x' is no number"),
        ("Foo/ | Foo | | | | | more", "7 fields"),
        ("Föö/ | Foo", "only ASCII"),
        ("Foo/ & ! | Foo", "a part is empty"),
    ] {
        let (found, what) = complaint(&with(line));
        assert_eq!(found, 7, "{line}");
        assert!(what.contains(words), "{line}: {what}");
    }
}

#[test]
fn a_rule_that_can_never_win_is_refused() {
    let (line, what) = complaint(&with("Example/Mobile | Mobile Example"));
    assert_eq!(line, 7);
    assert!(what.contains("line 5 matches first"), "{what}");
    // Not so with a part that need not be there, or the other way round.
    assert!(rules(&with("Exam | Exam")).is_ok());
    assert!(rules(&with("\"Other One Lite\" | Other One Lite")).is_ok());
}

#[test]
fn what_a_rule_beats_has_to_stand_below_it() {
    let (line, what) = complaint(&with("Foo/ | Foo | | | | Example"));
    assert_eq!(line, 7);
    assert!(what.contains("beats 'Example'"), "{what}");
    assert!(rules(&with("Foo/ | Foo | | | | Chrome")).is_ok());
}

#[test]
fn a_section_that_nobody_reads_and_a_file_without_a_version_are_refused() {
    let (line, what) = complaint(&(GOOD.to_owned() + "[telephones]\nFoo/ | Foo\n"));
    assert_eq!(line, 14);
    assert!(what.contains("no section 'telephones'"), "{what}");
    let (_, what) = complaint(&GOOD.replace("rules 2026.11\n", ""));
    assert!(what.contains("gives the version"), "{what}");
}

#[test]
fn what_is_compiled_in_is_what_the_file_says() {
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
    assert_eq!(
        (counts.devices, counts.models),
        (rules.devices.len(), rules.lists["models"].len())
    );
}

/// Some browsers keep their version to themselves, and any of them may begin to.
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
        if !is_persons || !is_plain || marker.at_start || !marker.needs.is_empty() {
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

/// In brackets and before the engine stands what a device or a system is called.
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
