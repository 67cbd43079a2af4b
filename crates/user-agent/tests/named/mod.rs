//! Compares what is told of models with a list of models and their names.

use qsessions_user_agent::{device_line, parse};

/// Models of Android devices, with answers that were decided by what makers publish.
pub(crate) const MODELS: &str = include_str!("../models.tsv");

/// What is compared.
#[allow(dead_code, reason = "the example prints them")]
pub(crate) const FIELDS: [&str; 3] = ["name of a model", "its maker", "its category"];

/// A model and its right answers, in the order of [`FIELDS`].
pub(crate) struct Row {
    /// As strings have it.
    pub(crate) model: &'static str,
    /// Empty where nothing is known.
    pub(crate) right: [String; FIELDS.len()],
}

/// The rows of the list.
pub(crate) fn rows() -> Vec<Row> {
    let row = |line: &'static str| {
        let mut fields = line.split('\t');
        let model = fields.next().unwrap_or_default();
        let right: Vec<String> = fields.map(str::to_owned).collect();
        let right = right
            .try_into()
            .unwrap_or_else(|_| panic!("a row has four fields: {line}"));
        Row { model, right }
    };
    MODELS.lines().skip(1).map(row).collect()
}

/// The answers for a model in the string of Chrome on a phone.
pub(crate) fn answers(model: &str) -> [String; FIELDS.len()] {
    let user_agent = format!(
        "Mozilla/5.0 (Linux; Android 14; {model}) AppleWebKit/537.36 (KHTML, like Gecko) \
         Chrome/126.0.0.0 Mobile Safari/537.36"
    );
    let parsed = parse(&user_agent);
    let line = device_line(&user_agent);
    let name = line.split(" / ").next().unwrap_or_default();
    [
        name.to_owned(),
        parsed.vendor.unwrap_or_default().into_owned(),
        parsed.category.as_str().to_owned(),
    ]
}
