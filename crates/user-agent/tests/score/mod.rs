//! Compares answers with a list of strings and their right answers.

use std::collections::BTreeMap;

use qsessions_user_agent::parse;
use woothee::parser::Parser;

/// Strings of all kinds, with answers that were decided before any parser was run.
pub(crate) const STRINGS: &str = include_str!("../strings.tsv");

/// The fields that are compared: the columns of the list behind `user_agent`, `year` and `kind`.
pub(crate) const FIELDS: [&str; 8] = [
    "browser",
    "browser_version",
    "os",
    "os_version",
    "device",
    "vendor",
    "category",
    "is_bot",
];

/// A string and its right answers. An empty field means that the string does not tell it.
pub(crate) struct Row {
    /// The string.
    pub(crate) user_agent: &'static str,
    /// In the order of [`FIELDS`].
    pub(crate) right: [&'static str; FIELDS.len()],
}

impl Row {
    /// Its category, by which results are grouped.
    pub(crate) fn category(&self) -> &'static str {
        self.right[6]
    }
}

/// The rows of the list.
pub(crate) fn rows() -> Vec<Row> {
    let row = |line: &'static str| {
        let mut fields = line.split('\t');
        let user_agent = fields.next().unwrap_or_default();
        let right = fields.skip(2).collect::<Vec<_>>();
        let right = right
            .try_into()
            .unwrap_or_else(|_| panic!("a row has eleven fields: {line}"));
        Row { user_agent, right }
    };
    STRINGS.lines().skip(1).map(row).collect()
}

/// An answer, in the order of [`FIELDS`].
pub(crate) type Answers = [String; FIELDS.len()];

/// The answer of this crate.
pub(crate) fn ours(user_agent: &str) -> Answers {
    let parsed = parse(user_agent);
    let text = |part: Option<std::borrow::Cow<'_, str>>| part.unwrap_or_default().into_owned();
    [
        text(parsed.browser),
        text(parsed.browser_version),
        text(parsed.os),
        text(parsed.os_version),
        text(parsed.device),
        text(parsed.vendor),
        parsed.category.as_str().to_owned(),
        parsed.is_bot.to_string(),
    ]
}

/// The answer of woothee, in the words of this crate. woothee knows no devices, and gives those of
/// Apple as systems.
pub(crate) fn woothee(user_agent: &str) -> Answers {
    let Some(result) = Parser::new().parse(user_agent) else {
        let mut nothing = Answers::default();
        "other".clone_into(&mut nothing[6]);
        "false".clone_into(&mut nothing[7]);
        return nothing;
    };
    let known = |text: &str| {
        if text == "UNKNOWN" {
            String::new()
        } else {
            text.to_owned()
        }
    };
    let (os, os_version) = match result.os {
        "Mac OSX" => ("macOS", known(&result.os_version)),
        "iPhone" | "iPad" | "iPod" => ("iOS", known(&result.os_version)),
        os if os.starts_with("Windows ") && os != "Windows Phone OS" => {
            ("Windows", os["Windows ".len()..].to_owned())
        }
        os => (os, known(&result.os_version)),
    };
    let category = match result.category {
        _ if result.name == "HTTP Library" => "tool",
        "pc" => "desktop",
        "smartphone" | "mobilephone" => "mobile",
        "crawler" => "bot",
        "appliance" => "console",
        _ => "other",
    };
    [
        known(result.name),
        known(result.version),
        known(os),
        os_version,
        String::new(),
        String::new(),
        category.to_owned(),
        (category == "bot").to_string(),
    ]
}

/// A number of right answers, and of all.
#[derive(Clone, Copy, Default)]
pub(crate) struct Share {
    /// How many are right.
    pub(crate) right: usize,
    /// How many there are.
    pub(crate) all: usize,
}

impl Share {
    fn count(&mut self, is_right: bool) {
        self.right += usize::from(is_right);
        self.all += 1;
    }

    /// In per cent.
    pub(crate) fn percent(self) -> f64 {
        100.0 * self.right as f64 / self.all.max(1) as f64
    }
}

/// The result of a comparison.
#[derive(Default)]
pub(crate) struct Score {
    /// By field, in the order of [`FIELDS`].
    pub(crate) fields: [Share; FIELDS.len()],
    /// Rows that are right in all fields, by category.
    pub(crate) categories: BTreeMap<&'static str, Share>,
    /// Rows that are right in all fields.
    pub(crate) rows: Share,
    /// The others: the string, and what is wrong.
    pub(crate) misses: Vec<(&'static str, String)>,
}

/// Compares the answers to every string of the list.
pub(crate) fn score(answers: impl Fn(&str) -> Answers) -> Score {
    let mut score = Score::default();
    for row in rows() {
        let mut wrong = Vec::new();
        for (index, answer) in answers(row.user_agent).iter().enumerate() {
            let right = row.right[index];
            score.fields[index].count(plain(answer) == plain(right));
            if plain(answer) != plain(right) {
                wrong.push(format!("{} is '{answer}', not '{right}'", FIELDS[index]));
            }
        }
        let category = score.categories.entry(row.category()).or_default();
        category.count(wrong.is_empty());
        score.rows.count(wrong.is_empty());
        if !wrong.is_empty() {
            score.misses.push((row.user_agent, wrong.join("; ")));
        }
    }
    score
}

/// Names are compared without case, spaces and punctuation.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|letter| letter.is_alphanumeric() || *letter == '.')
        .flat_map(char::to_lowercase)
        .collect()
}
