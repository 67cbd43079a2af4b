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

/// The maker that a key of the automaton leads to.
fn maker(models: &Models, key: &str) -> Option<String> {
    let (automaton, tables) = models.tables();
    let index = fst::Map::new(automaton).unwrap().get(key)?;
    let texts = tables.split('"').nth(1).unwrap();
    let row = tables.lines().filter(|line| line.starts_with("Known {"));
    let row = row
        .into_iter()
        .nth(usize::try_from(index).unwrap())
        .unwrap();
    let (start, rest) = row.split_once("maker: (")?.1.split_once(", ")?;
    let end = rest.split(')').next()?;
    let range = start.parse::<usize>().unwrap()..end.parse::<usize>().unwrap();
    Some(texts[range].to_owned())
}

#[test]
fn a_beginning_that_only_ones_codes_have_tells_the_maker() {
    const CODES: &str =
        "[One]\nABCD10, ABCD11 | A\nABCD2, 202511, 202512, 202513\n[Other]\nABCX1, ABCX2\n";
    let mut models = Models::default();
    models.read(CODES, false).unwrap();
    // The shortest beginning of four characters or more, of three codes or more.
    assert_eq!(maker(&models, "abcd\u{2}").as_deref(), Some("One"));
    for none in ["abc\u{2}", "abcd1\u{2}", "abcx\u{2}", "2025\u{2}"] {
        assert_eq!(maker(&models, none), None, "{none:?}");
    }
    models.read("[Other]\nABCD3\n", false).unwrap();
    assert_eq!(maker(&models, "abcd\u{2}"), None);
}

#[test]
fn an_edition_gives_way_to_a_code_of_another_maker() {
    let mut models = Models::default();
    let listed = "[Listed]\nBX9 Mini, BX9\n[Ours]\nBX9 Pro\n";
    models.read(listed, false).unwrap();
    models
        .read("[Ours]\nBX9~ | | tablet\nBX9 Max\n", true)
        .unwrap();
    for (key, expected) in [
        ("bx9", Some("Ours")),
        ("bx9mini", Some("Listed")),
        ("bx9pro", Some("Ours")),
        ("bx9ultra", Some("Ours")),
        ("bx9max", Some("Ours")),
        ("bx9neo", None),
    ] {
        assert_eq!(maker(&models, key).as_deref(), expected, "{key}");
    }
}

#[test]
fn a_code_of_a_list_for_a_market_is_our_code() {
    let mut models = Models::default();
    let listed = "[Ours]\nM50_ROW | Old\n[Listed]\nM50_EEA | Other\n";
    models.read(listed, false).unwrap();
    models.read("[Ours]\nM50 | New\n", true).unwrap();
    let map = fst::Map::new(models.tables().0).unwrap();
    assert!(!map.contains_key("m50row"));
    assert!(map.contains_key("m50eea"));
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

#[test]
fn a_word_that_tells_no_maker_begins_no_family() {
    let has_family = |words: &str| {
        let mut models = Models::default();
        models
            .read("[Listed]\nheat1, heatx, heaty\n", false)
            .unwrap();
        models.read_words(words);
        let map = fst::Map::new(models.tables().0).unwrap();
        map.contains_key("heat\u{2}")
    };
    assert!(has_family("[whole]\nheat\n"));
    assert!(!has_family("[words]\n# Words.\nfire heat\n"));
    assert!(!has_family("[parts]\nheater\n"));
}
