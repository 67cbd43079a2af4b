//! Prints how many answers for `tests/strings.tsv` are right, beside those of woothee alone, and for
//! `tests/models.tsv`, and lists each string and model with a wrong one. `make accuracy` runs it.

#[path = "../tests/named/mod.rs"]
mod named;
#[path = "../tests/score/mod.rs"]
mod score;

use score::{FIELDS, Share, ours, score as compare, woothee};

fn main() {
    let (ours, bare) = (compare(ours), compare(woothee));
    for (row, wrong) in &ours.misses {
        println!("{row}\n    {wrong}");
    }
    let models = models();
    if !ours.misses.is_empty() || models.iter().any(|share| share.right < share.all) {
        println!();
    }
    println!("{:<18}{:>18}{:>18}", "field", "qsessions", "woothee");
    for (index, field) in FIELDS.iter().enumerate() {
        // woothee knows no devices.
        let bare = (!matches!(*field, "device" | "vendor")).then_some(bare.fields[index]);
        line(field, ours.fields[index], bare);
    }
    line("all of a row", ours.rows, None);
    println!();
    for (field, share) in named::FIELDS.iter().zip(models) {
        line(field, share, None);
    }
    println!("\n{:<18}{:>18}{:>18}", "category", "all of a row", "");
    for (category, share) in &ours.categories {
        line(category, *share, None);
    }
    println!(
        "\n{:<18}{:>18}{:>18}",
        "category told", "qsessions", "woothee"
    );
    for category in ours.categories.keys() {
        line(
            category,
            told(category, score::ours),
            Some(told(category, woothee)),
        );
    }
}

/// How many models have the right name, maker and category. Prints the others.
fn models() -> [Share; named::FIELDS.len()] {
    let mut shares = [Share::default(); named::FIELDS.len()];
    for row in named::rows() {
        let answers = named::answers(row.model);
        for (index, share) in shares.iter_mut().enumerate() {
            share.all += 1;
            share.right += usize::from(answers[index] == row.right[index]);
        }
        if answers != row.right {
            println!("{}\n    {answers:?}, not {:?}", row.model, row.right);
        }
    }
    shares
}

/// How many strings of a category are recognized as such.
fn told(category: &str, answers: impl Fn(&str) -> score::Answers) -> Share {
    let rows = score::rows();
    let rows = rows.iter().filter(|row| row.category() == category);
    rows.fold(Share::default(), |share, row| Share {
        right: share.right + usize::from(answers(row.user_agent)[6] == category),
        all: share.all + 1,
    })
}

fn line(name: &str, ours: Share, bare: Option<Share>) {
    let text = |share: Share| format!("{}/{} {:5.1} %", share.right, share.all, share.percent());
    println!(
        "{name:<18}{:>18}{:>18}",
        text(ours),
        bare.map(text).unwrap_or_default()
    );
}
