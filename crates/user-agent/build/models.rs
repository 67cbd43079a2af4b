//! Turns the files of models into one automaton and one text, which need no memory at run time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

#[path = "../src/model_key.rs"]
mod model_key;

use super::read::Error;
use model_key::{FAMILY, MAKER, MARKETS, PREFIX, key, may_follow};

/// What the names of editions of a model end in.
const EDITIONS: &[&str] = &[
    "Pro", "Plus", "Max", "Ultra", "Lite", "Mini", "Air", "E", "S", "T", "SE", "HD", "4G",
];

/// How many letters and digits the beginning of a family of codes has at least, and how many codes
/// begin so.
const MIN_FAMILY_KEY: usize = 4;
const MIN_FAMILY: usize = 3;

/// The sections of the file of words.
const WORDS: &[&str] = &["[parts]", "[words]", "[codenames]"];

/// Words in a name that tell a tablet.
const TABLETS: &[&str] = &["Tab", "Tablet", "PAD"];

/// What a model is called.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
struct Entry {
    maker: String,
    /// As people call it, without the maker; empty if that is the code.
    name: String,
    /// Empty, or the name of a category.
    category: String,
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
    /// The usual editions of our own. A list may know that one of them is another maker's.
    editions: Entries,
    /// The words by which makers are known, as keys, and the makers.
    makers: BTreeMap<Vec<u8>, String>,
    /// Words that tell no maker, as keys.
    words: BTreeSet<Vec<u8>>,
}

impl Models {
    /// Adds the lines of a file.
    pub(crate) fn read(&mut self, text: &str, is_own: bool) -> Result<(), Vec<Error>> {
        let mut errors = Vec::new();
        let mut section = None;
        for (index, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Err(message) = self.read_line(&mut section, line, is_own) {
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

    fn read_line<'a>(
        &mut self,
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
        let (codes, entry) = fields(line, maker, is_own)?;
        for code in codes.split(", ").map(str::trim) {
            let code = match code.strip_suffix('~') {
                Some(model) => {
                    for edition in EDITIONS {
                        let key = code_key(beginning, &format!("{model}{edition}"))?;
                        self.editions.insert(key, entry.clone());
                    }
                    model
                }
                None => code,
            };
            let entries = if is_own {
                &mut self.own
            } else {
                &mut self.listed
            };
            for code in numbered(code) {
                let key = code_key(beginning, &code)?;
                if entries.insert(key, entry.clone()).is_some() {
                    return Err(format!("'{code}' stands there twice"));
                }
            }
        }
        Ok(())
    }

    /// Adds the words by which makers are known.
    pub(crate) fn read_makers(&mut self, text: &str) {
        let lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in lines {
            let (name, others) = line.split_once('|').unwrap_or((line, ""));
            let name = name.trim();
            let words = others.split(',').chain([name]).map(str::trim);
            for word in words.filter(|word| !word.is_empty()) {
                self.makers.insert(key(word).collect(), name.to_owned());
            }
        }
    }

    /// Adds the words that tell no maker.
    pub(crate) fn read_words(&mut self, text: &str) {
        let mut is_inside = false;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if line.starts_with('[') {
                is_inside = WORDS.contains(&line);
            } else if is_inside {
                let words = line.split_whitespace();
                self.words.extend(words.map(|word| key(word).collect()));
            }
        }
    }

    /// Our own models, and those of the lists that they say nothing about.
    fn merged(&self) -> Entries {
        let has_beginning =
            |code: &[u8]| self.own.contains_key([code, &[PREFIX]].concat().as_slice());
        let is_ours = |key: &[u8]| {
            let code = key.strip_suffix(&[PREFIX]).unwrap_or(key);
            let mut ends = 2..code.len();
            self.own.contains_key(key)
                || has_beginning(code)
                || ends.any(|end| {
                    may_follow(code[end - 1], code[end], code.len() - end)
                        && has_beginning(&code[..end])
                })
        };
        // `M50_ROW` of a list is our `M50`.
        let is_ours_in_a_market = |key: &[u8], maker: &str| {
            let of = |market: &&str| {
                let model = key.strip_suffix(market.to_ascii_lowercase().as_bytes())?;
                self.own.get(model.strip_suffix(b"-").unwrap_or(model))
            };
            let mut models = MARKETS.iter().filter_map(of);
            models.any(|model| model.maker == maker)
        };
        let is_our_edition = |key: &[u8], entry: &Entry| {
            let edition = self.editions.get(key);
            edition.is_some_and(|edition| edition.maker == entry.maker && entry.name.is_empty())
        };
        let listed = self.listed.iter().filter(|(key, entry)| {
            !is_ours(key) && !is_ours_in_a_market(key, &entry.maker) && !is_our_edition(key, entry)
        });
        let mut entries = self.editions.clone();
        let own = listed.chain(&self.own);
        entries.extend(own.map(|(key, entry)| (key.clone(), entry.clone())));
        entries
    }

    /// The shortest beginnings that several codes of one maker in the lists have, and no code of
    /// another maker and no word.
    fn families<'a>(&self, entries: &'a Entries) -> BTreeMap<&'a [u8], &'a str> {
        let mut makers: BTreeMap<&[u8], (&str, usize)> = BTreeMap::new();
        for (key, entry) in entries {
            let code = key.strip_suffix(&[PREFIX]).unwrap_or(key);
            for end in MIN_FAMILY_KEY..=code.len() {
                let (maker, count) = makers.entry(&code[..end]).or_insert((&entry.maker, 0));
                // Of several makers, none.
                if *maker != entry.maker {
                    *maker = "";
                }
                *count += usize::from(self.listed.contains_key(key));
            }
        }
        for word in &self.words {
            for end in MIN_FAMILY_KEY..=word.len() {
                makers.remove(&word[..end]);
            }
        }
        makers.retain(|start, (maker, count)| {
            // Numbers alone are those of many makers.
            let is_telling = start.iter().any(u8::is_ascii_alphabetic);
            is_telling && *count >= MIN_FAMILY && !maker.is_empty()
        });
        let shortest = makers.iter().filter(|(start, _)| {
            let mut shorter = MIN_FAMILY_KEY..start.len();
            !shorter.any(|end| makers.contains_key(&start[..end]))
        });
        shortest
            .map(|(start, (maker, _))| (*start, *maker))
            .collect()
    }

    /// The bytes of the automaton, and the source of a module with the tables that its values are
    /// indexes of.
    pub(crate) fn tables(&self) -> (Vec<u8>, String) {
        let mut keys = self.merged();
        let count = keys.len();
        let families = self
            .families(&keys)
            .into_iter()
            .map(|(start, maker)| ([start, &[FAMILY]].concat(), maker.to_owned()));
        let words = self.makers.iter().map(|(word, maker)| {
            let key = [&[MAKER], word.as_slice()].concat();
            (key, maker.clone())
        });
        let makers: Vec<_> = families.chain(words).collect();
        keys.extend(makers.into_iter().map(|(key, maker)| {
            let entry = Entry {
                maker,
                ..Entry::default()
            };
            (key, entry)
        }));
        let mut texts = Texts::default();
        let mut indexes = BTreeMap::new();
        let mut rows = Vec::new();
        let mut automaton = fst::MapBuilder::memory();
        for (key, entry) in &keys {
            let index = *indexes.entry(entry).or_insert_with(|| {
                rows.push(row(entry, &mut texts));
                rows.len() as u64 - 1
            });
            automaton
                .insert(key, index)
                .expect("a map is sorted and has each key once");
        }
        let bytes = automaton.into_inner().expect("memory can be written");
        let mut out = String::new();
        writeln!(out, "pub(crate) const MODEL_COUNT: usize = {count};").unwrap();
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

/// The codes of a line, and what is said about them.
fn fields<'a>(line: &'a str, maker: &str, is_own: bool) -> Result<(&'a str, Entry), String> {
    let fields: Vec<&str> = line.split('|').map(str::trim).collect();
    let [codes, name, category] = match fields[..] {
        [codes] => [codes, "", ""],
        [codes, name] => [codes, name, ""],
        [codes, name, category] => [codes, name, category],
        _ => return Err("a line has at most three fields".to_owned()),
    };
    if !["", "mobile", "tablet", "tv", "console", "other"].contains(&category) {
        return Err(format!("'{category}' is not a category of devices"));
    }
    let category = match category {
        "" if is_tablet(name) => "tablet",
        "" if is_own => "mobile",
        category => category,
    };
    let [maker, name, category] = [maker, name, category].map(str::to_owned);
    Ok((
        codes,
        Entry {
            maker,
            name,
            category,
        },
    ))
}

fn code_key(beginning: &str, code: &str) -> Result<Vec<u8>, String> {
    let (plain, mark) = match code.strip_suffix('*') {
        Some(plain) => (plain, Some(PREFIX)),
        None => (code, None),
    };
    let key: Vec<u8> = key(beginning).chain(key(plain)).chain(mark).collect();
    if key.len() < 2 || !code.is_ascii() || plain.contains('*') {
        return Err(format!("'{code}' is not the code of a model"));
    }
    Ok(key)
}

/// The codes with each digit in the place of a `#`.
fn numbered(code: &str) -> Vec<String> {
    if !code.contains('#') {
        return vec![code.to_owned()];
    }
    ('0'..='9')
        .flat_map(|digit| numbered(&code.replacen('#', &digit.to_string(), 1)))
        .collect()
}

/// Whether a name is that of a tablet.
fn is_tablet(name: &str) -> bool {
    let mut words = name.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.any(|word| TABLETS.contains(&word) || word.ends_with("Pad"))
}

/// The source of a row of the table.
fn row(entry: &Entry, texts: &mut Texts) -> String {
    let (maker, name) = (texts.add(&entry.maker), texts.add(&entry.name));
    let category = match entry.category.split_at_checked(1) {
        Some((first, rest)) => format!("Some(Category::{}{rest})", first.to_ascii_uppercase()),
        None => "None".to_owned(),
    };
    format!("\nKnown {{ maker: {maker:?}, name: {name:?}, category: {category} }}")
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
