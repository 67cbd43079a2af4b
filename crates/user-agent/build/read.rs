//! Reads the file of rules. Refuses a line that it does not understand, and a rule that could never
//! match.

use std::collections::BTreeMap;

/// An error in a line.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Error {
    /// Counted from 1.
    pub(crate) line: usize,
    /// What is wrong.
    pub(crate) message: String,
}

/// A text to look for in a string.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Needle {
    /// The text.
    pub(crate) text: String,
    /// Also in the middle of a word.
    pub(crate) anywhere: bool,
}

/// A text that the string must have as well, or must not have.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Condition {
    /// The text.
    pub(crate) needle: Needle,
    /// Whether the string must have it.
    pub(crate) present: bool,
}

/// The text by which a rule is found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Marker {
    /// The beginning of a word.
    pub(crate) text: String,
    /// Only at the start of the string.
    pub(crate) at_start: bool,
    /// Only if the word ends there.
    pub(crate) whole: bool,
    /// All of them must hold.
    pub(crate) conditions: Vec<Condition>,
}

/// Where a version stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Version {
    /// Behind the text of the marker.
    Here,
    /// Behind another text.
    After(Needle),
    /// The item of this number, from 1, among those that follow between semicolons.
    Item(usize),
    /// Always this version.
    Is(String),
}

/// A program, a system or a device.
#[derive(Debug)]
pub(crate) struct Rule {
    /// The number of its line.
    pub(crate) line: usize,
    /// The text by which it is found.
    pub(crate) marker: Marker,
    /// The name, perhaps with a `*`.
    pub(crate) name: String,
    /// In order of preference.
    pub(crate) versions: Vec<Version>,
    /// Empty, or a category.
    pub(crate) category: String,
    /// Empty, or the maker of a device or the operator of a bot.
    pub(crate) vendor: String,
    /// Names of rules that must stand below this one.
    pub(crate) beats: Vec<String>,
}

/// The contents of the file.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    /// The edition: year and month.
    pub(crate) version: String,
    /// Browsers, apps, bots, tools; then engines.
    pub(crate) programs: Vec<Rule>,
    /// The index of the first engine in `programs`.
    pub(crate) first_engine: usize,
    /// Operating systems.
    pub(crate) systems: Vec<Rule>,
    /// Devices other than models of Android.
    pub(crate) devices: Vec<Rule>,
    /// Words about which woothee is asked.
    pub(crate) woothee: Vec<Marker>,
    /// The lines of the sections that are plain lists, by the name of the section.
    pub(crate) lists: BTreeMap<String, Vec<Vec<String>>>,
}

const CATEGORIES: &[&str] = &[
    "", "bot", "tool", "desktop", "mobile", "tablet", "tv", "console", "other",
];

/// The sections that are plain lists, with the least and the largest number of fields in a line.
const LISTS: &[(&str, usize, usize)] = &[
    ("windows", 2, 2),
    ("android", 2, 2),
    ("darwin", 2, 3),
    ("not macs", 1, 1),
    ("models", 2, 3),
    ("not models", 1, 1),
    ("names that tell the maker", 1, 1),
    ("not programs", 1, 1),
    ("not bots", 1, 1),
];

/// Reads all lines. Returns the rules, or all errors in them.
pub(crate) fn rules(text: &str) -> Result<Rules, Vec<Error>> {
    let (mut rules, mut errors, mut section) = (Rules::default(), Vec::new(), String::new());
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Err(message) = read_line(&mut rules, &mut section, index + 1, line) {
            let line = index + 1;
            errors.push(Error { line, message });
        }
    }
    if rules.version.is_empty() {
        let message = "there is no line 'rules' with the version".to_owned();
        errors.push(Error { line: 1, message });
    }
    for table in [&rules.programs, &rules.systems, &rules.devices] {
        check_reachable(table, &mut errors);
    }
    check_beats(&rules.programs, &mut errors);
    errors.sort_by_key(|error| error.line);
    if errors.is_empty() {
        Ok(rules)
    } else {
        Err(errors)
    }
}

fn read_line(
    rules: &mut Rules,
    section: &mut String,
    line: usize,
    text: &str,
) -> Result<(), String> {
    if let Some(name) = text.strip_prefix('[') {
        *section = name
            .strip_suffix(']')
            .ok_or("the name of a section must end with ]")?
            .to_owned();
        if section == "engines" {
            rules.first_engine = rules.programs.len();
        }
        return Ok(());
    }
    if !text.is_ascii() {
        return Err("a rule must be in ASCII".to_owned());
    }
    let fields: Vec<&str> = text.split('|').map(str::trim).collect();
    let field = |index: usize| fields.get(index).copied().unwrap_or_default();
    let at_most = |most: usize| match fields.len() {
        count if count <= most => Ok(()),
        count => Err(format!(
            "{count} fields are too many: at most {most} have a meaning"
        )),
    };
    match section.as_str() {
        "" => {
            let version = text
                .strip_prefix("rules ")
                .ok_or("a rule must be in a section")?;
            rules.version = version.trim().to_owned();
        }
        "programs" | "engines" => {
            at_most(if section == "engines" { 3 } else { 6 })?;
            let rule = rule(line, &fields, field(2), field(3), field(4), field(5))?;
            rules.programs.push(rule);
        }
        "systems" => {
            at_most(4)?;
            rules
                .systems
                .push(rule(line, &fields, field(2), field(3), "", "")?);
        }
        "devices" => {
            at_most(4)?;
            rules
                .devices
                .push(rule(line, &fields, "-", field(3), field(2), "")?);
        }
        "woothee" => {
            at_most(1)?;
            rules.woothee.push(marker(fields[0])?);
        }
        name => {
            let Some(&(_, least, most)) = LISTS.iter().find(|list| list.0 == name) else {
                return Err(format!("there is no section '{name}'"));
            };
            at_most(most)?;
            list_line(name, &fields, least)?;
            let list = rules.lists.entry(name.to_owned()).or_default();
            list.push(fields.iter().map(|&field| field.to_owned()).collect());
        }
    }
    Ok(())
}

fn list_line(section: &str, fields: &[&str], least: usize) -> Result<(), String> {
    if fields.len() < least || fields[0].is_empty() {
        return Err(format!(
            "a line of '{section}' must have at least {least} fields"
        ));
    }
    if section == "models" {
        category(fields.get(2).copied().unwrap_or_default())?;
        if fields[0].starts_with(['#', '$']) {
            return Err("the name of a model must begin with a letter or a digit".to_owned());
        }
    }
    Ok(())
}

fn rule(
    line: usize,
    fields: &[&str],
    versions: &str,
    category_name: &str,
    vendor: &str,
    beats: &str,
) -> Result<Rule, String> {
    let name = fields.get(1).copied().unwrap_or_default();
    if name.is_empty() || name.matches('*').count() > 1 {
        return Err("a rule must have a name, with one * at most".to_owned());
    }
    category(category_name)?;
    Ok(Rule {
        line,
        marker: marker(fields[0])?,
        name: name.to_owned(),
        versions: self::versions(versions)?,
        category: category_name.to_owned(),
        vendor: vendor.to_owned(),
        beats: beats
            .split(',')
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect(),
    })
}

fn category(name: &str) -> Result<(), String> {
    if CATEGORIES.contains(&name) {
        Ok(())
    } else {
        Err(format!("'{name}' is not a category"))
    }
}

fn marker(field: &str) -> Result<Marker, String> {
    let mut parts = field.split(" & ");
    let first = unquoted(parts.next().unwrap_or_default())?;
    let (first, at_start) = match first.strip_prefix('^') {
        Some(rest) => (rest, true),
        None => (first, false),
    };
    let (first, whole) = match first.strip_suffix('$') {
        Some(rest) => (rest, true),
        None => (first, false),
    };
    if first.len() < 2 {
        return Err("the text to look for must have at least two characters".to_owned());
    }
    if first.starts_with(|c: char| " \t;,()[]/+\"~!".contains(c)) {
        return Err(format!("a word cannot begin with '{first}'"));
    }
    let conditions = parts.map(condition).collect::<Result<_, _>>()?;
    let text = first.to_owned();
    Ok(Marker {
        text,
        at_start,
        whole,
        conditions,
    })
}

fn condition(part: &str) -> Result<Condition, String> {
    let (part, present) = match part.strip_prefix('!') {
        Some(rest) => (rest, false),
        None => (part, true),
    };
    let needle = needle(part)?;
    Ok(Condition { needle, present })
}

fn needle(text: &str) -> Result<Needle, String> {
    let (text, anywhere) = match text.strip_prefix('~') {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let text = unquoted(text)?.to_owned();
    if text.is_empty() {
        return Err("a text to look for is empty".to_owned());
    }
    Ok(Needle { text, anywhere })
}

fn unquoted(text: &str) -> Result<&str, String> {
    match text.strip_prefix('"') {
        Some(rest) => rest
            .strip_suffix('"')
            .ok_or_else(|| format!("{text} must end with a quote")),
        None => Ok(text),
    }
}

fn versions(field: &str) -> Result<Vec<Version>, String> {
    if field == "-" {
        return Ok(Vec::new());
    }
    let one = |part: &str| {
        if part.is_empty() || part == "here" {
            Ok(Version::Here)
        } else if let Some(text) = part.strip_prefix("after ") {
            needle(text).map(Version::After)
        } else if let Some(text) = part.strip_prefix("is ") {
            Ok(Version::Is(text.to_owned()))
        } else if let Some(number) = part.strip_prefix("item ") {
            let number = number
                .parse()
                .map_err(|_| format!("'{number}' is not a number"))?;
            Ok(Version::Item(number))
        } else {
            Err(format!("'{part}' does not say where the version stands"))
        }
    };
    field.split(" or ").map(one).collect()
}

/// A rule is never reached if one above it matches every string that it matches.
fn check_reachable(table: &[Rule], errors: &mut Vec<Error>) {
    for (index, rule) in table.iter().enumerate() {
        let covers = |above: &&Rule| {
            let (above, below) = (&above.marker, &rule.marker);
            below.text.starts_with(&above.text)
                && (!above.at_start || below.at_start)
                && (!above.whole || (below.whole && above.text == below.text))
                && above
                    .conditions
                    .iter()
                    .all(|condition| below.conditions.contains(condition))
        };
        if let Some(above) = table[..index].iter().find(covers) {
            errors.push(Error {
                line: rule.line,
                message: format!(
                    "this rule is never reached: line {} matches first",
                    above.line
                ),
            });
        }
    }
}

fn check_beats(programs: &[Rule], errors: &mut Vec<Error>) {
    for (index, rule) in programs.iter().enumerate() {
        for name in &rule.beats {
            if !programs[index + 1..]
                .iter()
                .any(|below| below.name == *name)
            {
                errors.push(Error {
                    line: rule.line,
                    message: format!("this rule beats '{name}', but no rule below has that name"),
                });
            }
        }
    }
}
