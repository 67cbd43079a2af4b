//! Prints how many answers for `tests/strings.tsv` are right, beside those of woothee alone, and
//! lists each string with a wrong one. `make accuracy` runs it.

#[path = "../tests/score/mod.rs"]
mod score;

use score::{FIELDS, Share, ours, score as compare, woothee};

fn main() {
    let (ours, bare) = (compare(ours), compare(woothee));
    for (row, wrong) in &ours.misses {
        println!("{row}\n    {wrong}");
    }
    if !ours.misses.is_empty() {
        println!();
    }
    println!("{:<18}{:>18}{:>18}", "field", "qsessions", "woothee");
    for (index, field) in FIELDS.iter().enumerate() {
        // woothee knows no devices.
        let bare = (!matches!(*field, "device" | "vendor")).then_some(bare.fields[index]);
        line(field, ours.fields[index], bare);
    }
    line("all of a row", ours.rows, None);
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
