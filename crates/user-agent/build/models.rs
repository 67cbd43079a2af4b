//! Turns the files of models into one automaton and one text, which need no memory at run time.

use std::collections::BTreeMap;
use std::fmt::Write;

#[path = "../src/model_key.rs"]
mod model_key;

use super::read::Error;
use model_key::{MAKER, PREFIX, key, may_follow};

/// Of the words in a name that tell the kind of device.
const TABLETS: &[&str] = &["Tab", "Tablet", "iPad"];

/// What a model is called.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Entry {
    /// Who made it.
    pub(crate) maker: String,
    /// As people call it, without the maker; empty if that is the code.
    pub(crate) name: String,
    /// Empty, or the name of a category.
    pub(crate) category: String,
}

/// Models by their keys. A key that ends in [`PREFIX`] is the beginning of codes.
type Entries = BTreeMap<Vec<u8>, Entry>;

/// The contents of the files.
#[derive(Debug, Default)]
pub(crate) struct Models {
    /// From lists that others have made. A line without a category may be any device.
    listed: Entries,
    /// Our own, which replace those. A line without a category is a phone.
    own: Entries,
    /// The words by which makers are known, as keys, and the makers.
    makers: BTreeMap<Vec<u8>, String>,
}

impl Models {
    /// Adds the lines of a file.
    pub(crate) fn read(&mut self, text: &str, is_own: bool) -> Result<(), Vec<Error>> {
        let entries = if is_own {
            &mut self.own
        } else {
            &mut self.listed
        };
        let mut errors = Vec::new();
        let mut section = None;
        for (index, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Err(message) = read_line(entries, &mut section, line, is_own) {
                let line = index + 1;
                errors.push(Error { line, message });
            }
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }

    /// Our own models, and those of the lists that they say nothing about.
    fn merged(&self) -> Entries {
        let is_ours = |key: &[u8]| {
            let mut ends = 2..key.len();
            let code = key.strip_suffix(&[PREFIX]).unwrap_or(key);
            self.own.contains_key(key)
                || self.own.contains_key([code, &[PREFIX]].concat().as_slice())
                || ends.any(|end| {
                    may_follow(key[end - 1], key[end], key.len() - end)
                        && self
                            .own
                            .contains_key([&key[..end], &[PREFIX]].concat().as_slice())
                })
        };
        let mut entries = self.own.clone();
        let listed = self.listed.iter().filter(|(key, _)| !is_ours(key));
        entries.extend(listed.map(|(key, entry)| (key.clone(), entry.clone())));
        entries
    }

    /// Adds the words by which makers are known.
    pub(crate) fn read_makers(&mut self, text: &str) {
        let lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in lines {
            let (name, others) = line.split_once('|').unwrap_or((line, ""));
            let name = name.trim();
            for word in others.split(',').chain([name]).map(str::trim) {
                if !word.is_empty() {
                    self.makers.insert(key(word).collect(), name.to_owned());
                }
            }
        }
    }

    /// The bytes of the automaton, and the source of a module with the tables that its values are
    /// indexes of.
    pub(crate) fn tables(&self) -> (Vec<u8>, String) {
        let mut texts = Texts::default();
        let mut keys = self.merged();
        let count = keys.len();
        for (word, maker) in &self.makers {
            let maker = maker.clone();
            let entry = Entry {
                maker,
                ..Entry::default()
            };
            keys.insert([&[MAKER], word.as_slice()].concat(), entry);
        }
        let mut indexes = BTreeMap::new();
        let mut rows = Vec::new();
        let mut automaton = fst::MapBuilder::memory();
        for (key, entry) in &keys {
            let index = *indexes.entry(entry).or_insert_with(|| {
                let ((maker, maker_end), (name, name_end)) = (texts.add(&entry.maker), texts.add(&entry.name));
                let category = category(&entry.category);
                rows.push(format!(
                    "\nKnown {{ maker: ({maker}, {maker_end}), name: ({name}, {name_end}), category: {category} }}"
                ));
                rows.len() as u64 - 1
            });
            automaton
                .insert(key, index)
                .expect("a map is sorted and has each key once");
        }
        let bytes = automaton.into_inner().expect("memory can be written");
        let mut out = String::new();
        writeln!(out, "pub(crate) const MODEL_COUNT: usize = {};", count).unwrap();
        writeln!(out, "static TEXTS: &str = {:?};", texts.all).unwrap();
        writeln!(
            out,
            "static KNOWN: [Known; {}] = [{}];",
            rows.len(),
            rows.join(", ")
        )
        .unwrap();
        (bytes, out)
    }
}

/// The maker of the section, and the text that its codes begin with.
type Section<'a> = Option<(&'a str, &'a str)>;

fn read_line<'a>(
    entries: &mut Entries,
    section: &mut Section<'a>,
    line: &'a str,
    is_own: bool,
) -> Result<(), String> {
    if let Some(heading) = line.strip_prefix('[') {
        let heading = heading
            .strip_suffix(']')
            .ok_or("a section must end with ]")?;
        let (maker, beginning) = heading.split_once(" | ").unwrap_or((heading, ""));
        *section = Some((maker.trim(), beginning));
        return Ok(());
    }
    let (maker, beginning) = section.ok_or("a model must be in the section of its maker")?;
    let fields: Vec<&str> = line.split('|').map(str::trim).collect();
    let [codes, name, category] = match fields[..] {
        [codes] => [codes, "", ""],
        [codes, name] => [codes, name, ""],
        [codes, name, category] => [codes, name, category],
        _ => return Err("a line has at most three fields".to_owned()),
    };
    let categories = ["", "mobile", "tablet", "tv", "console", "other"];
    if !categories.contains(&category) {
        return Err(format!("'{category}' is not a category of devices"));
    }
    let category = match category {
        "" if is_tablet(name) => "tablet",
        "" if is_own => "mobile",
        category => category,
    };
    let text = |text: &str| text.to_owned();
    let entry = Entry {
        maker: text(maker),
        name: text(name),
        category: text(category),
    };
    for code in codes.split(", ").flat_map(|code| numbered(code.trim())) {
        let (plain, mark) = match code.strip_suffix('*') {
            Some(plain) => (plain, Some(PREFIX)),
            None => (code.as_str(), None),
        };
        let key: Vec<u8> = key(beginning).chain(key(plain)).chain(mark).collect();
        if key.len() < 2 || !code.is_ascii() || plain.contains('*') {
            return Err(format!("'{code}' is not the code of a model"));
        }
        if entries.insert(key, entry.clone()).is_some() {
            return Err(format!("'{code}' stands there twice"));
        }
    }
    Ok(())
}

/// The codes with each digit in the place of a `#`.
fn numbered(code: &str) -> Vec<String> {
    match code.contains('#') {
        true => ('0'..='9')
            .map(|digit| code.replace('#', &digit.to_string()))
            .collect(),
        false => vec![code.to_owned()],
    }
}

/// Whether a name is that of a tablet.
fn is_tablet(name: &str) -> bool {
    let words = name.split(|letter: char| !letter.is_ascii_alphanumeric());
    words
        .into_iter()
        .any(|word| TABLETS.contains(&word) || word.ends_with("Pad") || word.ends_with("PAD"))
}

fn category(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or("None".to_owned(), |first| {
        format!(
            "Some(Category::{}{})",
            first.to_ascii_uppercase(),
            letters.as_str()
        )
    })
}

/// One text that has all names.
#[derive(Default)]
struct Texts {
    all: String,
    places: BTreeMap<String, (usize, usize)>,
}

impl Texts {
    /// Where a text begins and ends.
    fn add(&mut self, text: &str) -> (usize, usize) {
        if let Some(&place) = self.places.get(text) {
            return place;
        }
        let place = (self.all.len(), self.all.len() + text.len());
        self.all.push_str(text);
        self.places.insert(text.to_owned(), place);
        place
    }
}
