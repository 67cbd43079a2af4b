//! Messages follow PostgreSQL's error style guide, and comments on objects are plain English.

use crate::declared::{CONTRACT, INTERNAL};
use qsessions_testkit::{Database, Users};
use std::fs;
use std::path::Path;

/// Texts in functions that match a regular expression, each with the name of its function.
async fn found(expression: &str) -> Vec<(String, String)> {
    let client = Database::with(Users::Nothing).await.connect().await;
    let rows = client
        .query(
            // Adjacent literals are one text, and two quotes in a literal are one.
            r"SELECT proname::text, replace(regexp_replace(m[1], '''\s+''', '', 'g'), '''''', '''')
              FROM pg_proc CROSS JOIN regexp_matches(prosrc, $1, 'g') AS m
              WHERE pronamespace = 'qsessions'::regnamespace",
            &[&expression],
        )
        .await
        .unwrap();
    let found: Vec<_> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert!(found.len() > 20, "{found:?}");
    found
}

fn has_contraction(text: &str) -> bool {
    let endings = ["t", "s", "re", "ve", "ll", "d", "m"];
    text.split_whitespace().any(|word| {
        let word = word.trim_end_matches(|last: char| last.is_ascii_punctuation());
        word.split_once('\'')
            .is_some_and(|(start, end)| !start.is_empty() && endings.contains(&end))
    })
}

#[tokio::test]
async fn messages_begin_in_lower_case_and_have_no_full_stop() {
    let literal = r"RAISE (?:EXCEPTION|WARNING|NOTICE) '((?:[^']|'')*)'";
    for (function, message) in found(literal).await {
        assert!(
            message.starts_with(|first: char| first.is_lowercase()),
            "{function}: {message}"
        );
        assert!(!message.ends_with('.'), "{function}: {message}");
        assert!(!has_contraction(&message), "{function}: {message}");
    }
}

#[tokio::test]
async fn hints_and_details_are_sentences() {
    let literals = r"(?:HINT|DETAIL) = (?:format\()?'((?:[^']|'')*(?:'\s+'(?:[^']|'')*)*)'";
    for (function, sentence) in found(literals).await {
        assert!(
            sentence.starts_with(|first: char| first.is_uppercase() || first.is_ascii_digit()),
            "{function}: {sentence}"
        );
        // Some hints end with a statement.
        assert!(sentence.ends_with(['.', ';']), "{function}: {sentence}");
        assert!(!has_contraction(&sentence), "{function}: {sentence}");
    }
}

#[tokio::test]
async fn comments_on_objects_are_plain_english() {
    let client = Database::new().await.connect().await;
    let rows = client
        .query(
            "SELECT coalesce(p.proname::text, ''), d.description
             FROM pg_description AS d
             LEFT JOIN pg_proc AS p ON d.classoid = 'pg_proc'::regclass AND p.oid = d.objoid
             LEFT JOIN pg_class AS c ON d.classoid = 'pg_class'::regclass AND c.oid = d.objoid
             LEFT JOIN pg_type AS t ON d.classoid = 'pg_type'::regclass AND t.oid = d.objoid
             WHERE 'qsessions'::regnamespace IN (p.pronamespace, c.relnamespace, t.typnamespace)",
            &[],
        )
        .await
        .unwrap();
    assert!(rows.len() > 100, "{rows:?}");
    for row in rows {
        let (name, text): (&str, &str) = (row.get(0), row.get(1));
        let (comment, words) = (format!("{name}: {text}"), text.to_lowercase());
        if !name.is_empty() {
            let is_internal = text.starts_with("Internal: ");
            assert_eq!(is_internal, name.starts_with('_'), "{comment}");
        }
        assert!(
            text.starts_with(|first: char| first.is_uppercase()),
            "{comment}"
        );
        assert!(!text.ends_with('.'), "{comment}");
        assert!(!has_contraction(text), "{comment}");
        for word in ["whoever", "nobody", "somebody", "anybody"] {
            assert!(!words.contains(word), "{comment}");
        }
    }
}

/// The documentation describes exactly the functions that `\df qsessions.[a-z]*` shows.
#[test]
fn the_documentation_has_the_functions_of_the_contract_and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut pages = vec![root.join("README.md")];
    for entry in fs::read_dir(root.join("docs")).unwrap() {
        pages.push(entry.unwrap().path());
    }
    // One page is for people who change the extension.
    pages.retain(|page| {
        page.extension().is_some_and(|end| end == "md") && !page.ends_with("architecture.md")
    });
    let text: String = pages
        .iter()
        .map(|page| fs::read_to_string(page).unwrap())
        .collect();
    let words: Vec<&str> = text
        .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .collect();
    for function in CONTRACT {
        let (name, _) = function.split_once('(').unwrap();
        assert!(!name.starts_with('_') && words.contains(&name), "{name}");
    }
    for name in INTERNAL {
        assert!(name.starts_with('_') && !words.contains(name), "{name}");
    }
}
