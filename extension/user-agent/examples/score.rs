//! Scores the parser against a list of strings with the right answers.
//!
//! `cargo run --release --example score -- LIST.tsv [misses]`
//!
//! The list has a heading and the columns ua, browser, browser_major, os, os_major, category. `|`
//! separates accepted answers, an empty one means that the string doesn't tell, `*` is not scored.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use qsessions_user_agent::parse;

const FIELDS: [&str; 5] = ["browser", "browser_major", "os", "os_major", "category"];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("give the path of a list")?;
    let show_misses = arguments.next().is_some();
    let list = std::fs::read_to_string(path)?;
    let rows: Vec<Vec<&str>> = list
        .lines()
        .skip(1)
        .map(|line| line.split('\t').collect())
        .collect();

    let (mut right, mut scored, mut all) = ([0; FIELDS.len()], [0; FIELDS.len()], 0);
    for row in &rows {
        let parsed = parse(row[0]);
        let answers = [
            parsed.browser.as_deref().unwrap_or_default(),
            major(parsed.browser_version.as_deref()),
            parsed.os.as_deref().unwrap_or_default(),
            major(parsed.os_version.as_deref()),
            parsed.category.as_str(),
        ];
        let mut misses = Vec::new();
        for (field, answer) in answers.into_iter().enumerate() {
            let expected = row.get(field + 1).copied().unwrap_or_default();
            if expected == "*" {
                continue;
            }
            scored[field] += 1;
            if expected.split('|').any(|one| plain(one) == plain(answer)) {
                right[field] += 1;
            } else {
                misses.push(format!("{} is '{answer}', not '{expected}'", FIELDS[field]));
            }
        }
        all += usize::from(misses.is_empty());
        if show_misses && !misses.is_empty() {
            println!("{}\n    {}", row[0], misses.join("; "));
        }
    }
    for (field, name) in FIELDS.iter().enumerate() {
        println!(
            "{name:14} {:5.1} %",
            100.0 * right[field] as f64 / scored[field] as f64
        );
    }
    println!(
        "{:14} {:5.1} % of {}",
        "all of a row",
        100.0 * all as f64 / rows.len() as f64,
        rows.len()
    );
    let texts: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    println!(
        "{:14} {:5.2} µs a string",
        "time",
        time(&texts, |text| drop(black_box(parse(text))))
    );
    let bare = time(&texts, |text| {
        drop(black_box(woothee::parser::Parser::new().parse(text)))
    });
    println!("{:14} {bare:5.2} µs a string", "bare woothee");
    Ok(())
}

/// Microseconds for one of the texts.
fn time(texts: &[&str], work: impl Fn(&str)) -> f64 {
    const ROUNDS: usize = 200;
    let start = Instant::now();
    for _ in 0..ROUNDS {
        for text in texts {
            work(black_box(text));
        }
    }
    start.elapsed().as_secs_f64() * 1e6 / (texts.len() * ROUNDS) as f64
}

fn major(version: Option<&str>) -> &str {
    version
        .unwrap_or_default()
        .split('.')
        .next()
        .unwrap_or_default()
}

/// Names are compared without case, spaces and punctuation.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}
