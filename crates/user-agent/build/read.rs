//! Reads the file of rules, and refuses what it does not understand or what could never match.

use std::collections::BTreeMap;

/// What is wrong with a line.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Error {
    /// Counted from 1.
    pub(crate) line: usize,
    /// For the person who wrote it.
    pub(crate) what: String,
}

/// Text that is looked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    /// What has to be there.
    pub(crate) text: String,
    /// Also in the middle of a word.
    pub(crate) anywhere: bool,
}

/// What has to be elsewhere in the string, or must not be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Need {
    /// What it is about.
    pub(crate) place: Place,
    /// Whether it has to be there.
    pub(crate) present: bool,
}

/// What to look for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Marker {
    /// What a word begins with.
    pub(crate) text: String,
    /// Only at the start of the string.
    pub(crate) at_start: bool,
    /// Only if the word ends there.
    pub(crate) whole: bool,
    /// What else decides.
    pub(crate) needs: Vec<Need>,
}

/// Where a version stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Version {
    /// Behind what was found.
    Here,
    /// Behind something else.
    After(Place),
    /// It is so many semicolons away.
    Item(usize),
    /// It is always this.
    Is(String),
}

/// A program, a system or a device.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Where it stands.
    pub(crate) line: usize,
    /// What to look for.
    pub(crate) marker: Marker,
    /// What it is called, perhaps with a `*`.
    pub(crate) name: String,
    /// In order of preference.
    pub(crate) versions: Vec<Version>,
    /// Empty, or a category.
    pub(crate) category: String,
    /// Empty, or who makes or runs it.
    pub(crate) vendor: String,
    /// Names that have to stand below.
    pub(crate) beats: Vec<String>,
}

/// All that is in the file.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    /// What the file calls itself.
    pub(crate) version: String,
    /// Browsers, apps, bots, tools; then engines.
    pub(crate) programs: Vec<Rule>,
    /// Which of the programs is the first engine.
    pub(crate) first_engine: usize,
    /// Operating systems.
    pub(crate) systems: Vec<Rule>,
    /// Devices with names of their own.
    pub(crate) devices: Vec<Rule>,
    /// What woothee knows more of.
    pub(crate) woothees: Vec<Marker>,
    /// Beginnings of names, makers, categories; and versions by number. By name of the section.
    pub(crate) lists: BTreeMap<String, Vec<Vec<String>>>,
}

const CATEGORIES: &[&str] = &[
    "", "bot", "tool", "desktop", "mobile", "tablet", "tv", "console", "other",
];

/// Sections that are plain lists, and how many fields a line has at least and at most.
const LISTS: &[(&str, usize, usize)] = &[
    ("windows", 2, 2),
    ("android", 2, 2),
    ("darwin", 2, 3),
    ("no mac", 1, 1),
    ("models", 2, 3),
    ("no model", 1, 1),
    ("no program", 1, 1),
    ("no bot", 1, 1),
];

/// Reads all lines; gives the rules, or everything that is wrong with them.
pub(crate) fn rules(text: &str) -> Result<Rules, Vec<Error>> {
    let (mut rules, mut errors, mut section) = (Rules::default(), Vec::new(), String::new());
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Err(what) = take(&mut rules, &mut section, index + 1, line) {
            let line = index + 1;
            errors.push(Error { line, what });
        }
    }
    if rules.version.is_empty() {
        let what = "no line 'rules' that gives the version".to_owned();
        errors.push(Error { line: 1, what });
    }
    for table in [&rules.programs, &rules.systems, &rules.devices] {
        unreachable(table, &mut errors);
    }
    beaten(&rules.programs, &mut errors);
    errors.sort_by_key(|error| error.line);
    if errors.is_empty() {
        Ok(rules)
    } else {
        Err(errors)
    }
}

fn take(rules: &mut Rules, section: &mut String, line: usize, text: &str) -> Result<(), String> {
    if let Some(name) = text.strip_prefix('[') {
        *section = name
            .strip_suffix(']')
            .ok_or("a section ends with ]")?
            .to_owned();
        if section == "engines" {
            rules.first_engine = rules.programs.len();
        }
        return Ok(());
    }
    if !text.is_ascii() {
        return Err("only ASCII can be looked for".to_owned());
    }
    let fields: Vec<&str> = text.split('|').map(str::trim).collect();
    let field = |index: usize| fields.get(index).copied().unwrap_or_default();
    let at_most = |most: usize| match fields.len() {
        count if count <= most => Ok(()),
        count => Err(format!("{count} fields, and at most {most} have a meaning")),
    };
    match section.as_str() {
        "" => {
            let version = text.strip_prefix("rules ").ok_or("before any section")?;
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
            rules.woothees.push(marker(fields[0])?);
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
        return Err(format!("a line of '{section}' has {least} fields or more"));
    }
    if section == "models" {
        category(fields.get(2).copied().unwrap_or_default())?;
        if fields[0].starts_with(['#', '@', '$']) {
            return Err("a model begins with a letter or digit of its own".to_owned());
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
        return Err("a rule has a name, with one * at most".to_owned());
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
        Err(format!("'{name}' is no category"))
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
        return Err("what to look for has two characters or more".to_owned());
    }
    if first.starts_with(|c: char| " \t;,()[]/+\"~!".contains(c)) {
        return Err(format!("no word begins with '{first}'"));
    }
    let needs = parts.map(need).collect::<Result<_, _>>()?;
    let text = first.to_owned();
    Ok(Marker {
        text,
        at_start,
        whole,
        needs,
    })
}

fn need(part: &str) -> Result<Need, String> {
    let (part, present) = match part.strip_prefix('!') {
        Some(rest) => (rest, false),
        None => (part, true),
    };
    let place = place(part)?;
    Ok(Need { place, present })
}

fn place(text: &str) -> Result<Place, String> {
    let (text, anywhere) = match text.strip_prefix('~') {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let text = unquoted(text)?.to_owned();
    if text.is_empty() {
        return Err("a part is empty".to_owned());
    }
    Ok(Place { text, anywhere })
}

fn unquoted(text: &str) -> Result<&str, String> {
    match text.strip_prefix('"') {
        Some(rest) => rest
            .strip_suffix('"')
            .ok_or_else(|| format!("{text} has no second quote")),
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
            place(text).map(Version::After)
        } else if let Some(text) = part.strip_prefix("is ") {
            Ok(Version::Is(text.to_owned()))
        } else if let Some(number) = part.strip_prefix("item ") {
            let number = number
                .parse()
                .map_err(|_| format!("'{number}' is no number"))?;
            Ok(Version::Item(number))
        } else {
            Err(format!("'{part}' does not say where the version stands"))
        }
    };
    field.split(" or ").map(one).collect()
}

/// A rule that stands below one that matches wherever it does would never be reached.
fn unreachable(table: &[Rule], errors: &mut Vec<Error>) {
    for (index, rule) in table.iter().enumerate() {
        let covers = |above: &&Rule| {
            let (above, below) = (&above.marker, &rule.marker);
            below.text.starts_with(&above.text)
                && (!above.at_start || below.at_start)
                && (!above.whole || (below.whole && above.text == below.text))
                && above.needs.iter().all(|need| below.needs.contains(need))
        };
        if let Some(above) = table[..index].iter().find(covers) {
            errors.push(Error {
                line: rule.line,
                what: format!("is never reached: line {} matches first", above.line),
            });
        }
    }
}

fn beaten(programs: &[Rule], errors: &mut Vec<Error>) {
    for (index, rule) in programs.iter().enumerate() {
        for name in &rule.beats {
            if !programs[index + 1..]
                .iter()
                .any(|below| below.name == *name)
            {
                errors.push(Error {
                    line: rule.line,
                    what: format!("beats '{name}', and no rule below has that name"),
                });
            }
        }
    }
}
