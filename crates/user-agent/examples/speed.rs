//! Times this crate against woothee alone on the same strings, in turns in one process.
//!
//! `cargo run --release --example speed -- [LIST.tsv]`: the strings are the first column of the
//! list. Prints the microseconds for one string, and the median, least and greatest ratio of the
//! rounds.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use qsessions_user_agent::parse;
use woothee::parser::Parser;

const ROUNDS: usize = 101;

fn main() -> Result<(), Box<dyn Error>> {
    let list = match std::env::args().nth(1) {
        Some(path) => std::fs::read_to_string(path)?,
        None => include_str!("../tests/strings.tsv").to_owned(),
    };
    let texts: Vec<&str> = list
        .lines()
        .skip(1)
        .filter_map(|line| line.split('\t').next())
        .collect();
    let ours = || time(&texts, |text| drop(black_box(parse(text))));
    let bare = || time(&texts, |text| drop(black_box(Parser::new().parse(text))));
    // The first round compiles the expressions of woothee.
    ours();
    bare();
    let mut rounds = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        rounds.push(if round % 2 == 0 {
            let ours = ours();
            (ours, bare())
        } else {
            let bare = bare();
            (ours(), bare)
        });
    }
    let (ours, bare) = (
        median(rounds.iter().map(|round| round.0)),
        median(rounds.iter().map(|round| round.1)),
    );
    let ratios = || rounds.iter().map(|(ours, bare)| ours / bare);
    println!(
        "{} strings, {ROUNDS} rounds: qsessions {ours:.2} µs, woothee {bare:.2} µs a string; \
         ratio {:.2} ({:.2} to {:.2})",
        texts.len(),
        median(ratios()),
        ratios().fold(f64::INFINITY, f64::min),
        ratios().fold(0.0, f64::max),
    );
    Ok(())
}

/// Microseconds for one of the texts.
fn time(texts: &[&str], work: impl Fn(&str)) -> f64 {
    let start = Instant::now();
    for text in texts {
        work(black_box(text));
    }
    start.elapsed().as_secs_f64() * 1e6 / texts.len() as f64
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
