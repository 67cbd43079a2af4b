//! Errors in a file of models. The reader is that of build.rs.

#![allow(dead_code, reason = "build.rs uses the rest")]

#[path = "../build/models.rs"]
mod models;
#[path = "../build/read.rs"]
mod read;

use models::Models;

const GOOD: &str = "\
# a comment
[Example | EX ]
A1*, A20 | One
T#, T9 Pro | One Tab
B-* | Two | other
";

/// The line and the message of the first error.
fn first_error(file: &str) -> (usize, String) {
    let mut errors = Models::default().read(file, true).err().unwrap_or_default();
    assert!(!errors.is_empty(), "no error in\n{file}");
    let first = errors.remove(0);
    (first.line, first.message)
}

#[test]
fn a_good_file_is_read() {
    let mut models = Models::default();
    models.read(GOOD, true).unwrap();
    let (automaton, tables) = models.tables();
    let map = fst::Map::new(automaton).unwrap();
    // Ten codes of T#, and four others.
    assert_eq!(map.len(), 14);
    assert!(map.contains_key("exa1*") && map.contains_key("ext7") && map.contains_key("exb-*"));
    assert!(tables.contains("Some(Category::Tablet)") && tables.contains("Some(Category::Mobile)"));
}

#[test]
fn an_error_names_the_line() {
    for (line, words) in [
        ("A1* | Other", "stands there twice"),
        ("A2 | Name | phone", "not a category"),
        ("A2 | Name | tablet | more", "at most three fields"),
        ("A*2 | Name", "not the code of a model"),
        ("Ä2 | Name", "not the code of a model"),
        ("[Example", "must end with ]"),
    ] {
        let (number, message) = first_error(&format!("{GOOD}{line}\n"));
        assert_eq!(number, 6, "{line}: {message}");
        assert!(message.contains(words), "{line}: {message}");
    }
    assert_eq!(first_error("A1 | Name\n").0, 1);
}

#[test]
fn our_own_lines_replace_those_of_lists() {
    let mut models = Models::default();
    models
        .read("[Listed]\nEX A1B | Old\nEX A12 | Other\n", false)
        .unwrap();
    models.read(GOOD, true).unwrap();
    let map = fst::Map::new(models.tables().0).unwrap();
    assert!(!map.contains_key("exa1b"));
    // A number does not go on.
    assert!(map.contains_key("exa12"));
}
