//! Writes the rules as Rust.

use std::fmt::Write;

#[path = "../src/bucket.rs"]
mod bucket;

use super::read::{Condition, Marker, Needle, Rule, Rules, Version};

/// The tables, as the source of a module.
pub(crate) fn tables(rules: &Rules) -> String {
    let mut out = String::new();
    writeln!(out, "/// The edition of the file of rules.").unwrap();
    writeln!(out, "pub(crate) const VERSION: &str = {:?};", rules.version).unwrap();
    writeln!(
        out,
        "pub(crate) const FIRST_ENGINE: u16 = {};",
        rules.first_engine
    )
    .unwrap();
    named(&mut out, "PROGRAMS", &rules.programs);
    named(&mut out, "SYSTEMS", &rules.systems);
    named(&mut out, "DEVICES", &rules.devices);
    markers(&mut out, rules);
    models(&mut out, list(rules, "models"));
    for (constant, section) in [("WINDOWS", "windows"), ("ANDROID", "android")] {
        let pairs = list(rules, section)
            .iter()
            .map(|line| format!("({:?}, {:?})", line[0], line[1]));
        array(&mut out, constant, "(&str, &str)", pairs);
    }
    let darwin = list(rules, "darwin").iter().map(|line| {
        let macos = line.get(2).map(String::as_str).unwrap_or_default();
        format!("({:?}, {:?}, {macos:?})", line[0], line[1])
    });
    array(&mut out, "DARWIN", "(&str, &str, &str)", darwin);
    for (constant, section) in [
        ("NOT_MACS", "not macs"),
        ("NOT_MODELS", "not models"),
        ("NOT_BOTS", "not bots"),
        ("TELLING_NAMES", "names that tell the maker"),
    ] {
        let words = list(rules, section)
            .iter()
            .map(|line| format!("{:?}", line[0]));
        array(&mut out, constant, "&str", words);
    }
    let mut sorted: Vec<&String> = list(rules, "not programs")
        .iter()
        .map(|line| &line[0])
        .collect();
    sorted.sort_unstable();
    let words = sorted.iter().map(|word| format!("{word:?}"));
    array(&mut out, "NOT_PROGRAMS", "&str", words);
    out
}

fn list<'a>(rules: &'a Rules, section: &str) -> &'a [Vec<String>] {
    rules.lists.get(section).map_or(&[], Vec::as_slice)
}

fn array(out: &mut String, name: &str, kind: &str, items: impl Iterator<Item = String>) {
    let items: Vec<String> = items.collect();
    writeln!(
        out,
        "pub(crate) static {name}: [{kind}; {}] = [{}];",
        items.len(),
        items.join(", ")
    )
    .unwrap();
}

fn named(out: &mut String, name: &str, rules: &[Rule]) {
    let items = rules.iter().map(|rule| {
        let name = match rule.name.split_once('*') {
            Some((before, behind)) => {
                format!("Name::AroundRest({before:?}, {behind:?})")
            }
            None => format!("Name::Fixed({:?})", rule.name),
        };
        let versions: Vec<String> = rule.versions.iter().map(version).collect();
        let vendor = match rule.vendor.as_str() {
            "" => "None".to_owned(),
            vendor => format!("Some({vendor:?})"),
        };
        format!(
            "\nRule {{ name: {name}, versions: &[{}], category: {}, vendor: {vendor} }}",
            versions.join(", "),
            category(&rule.category)
        )
    });
    array(out, name, "Rule", items);
}

fn version(version: &Version) -> String {
    match version {
        Version::Here => "Version::Here".to_owned(),
        Version::After(needle) => format!("Version::After({})", self::needle(needle)),
        Version::Item(number) => format!("Version::Item({number})"),
        Version::Is(version) => format!("Version::Is({version:?})"),
    }
}

fn needle(needle: &Needle) -> String {
    format!(
        "Needle {{ text: {:?}, anywhere: {} }}",
        needle.text, needle.anywhere
    )
}

fn category(name: &str) -> String {
    let mut letters = name.chars();
    match letters.next() {
        None => "None".to_owned(),
        Some(first) => format!(
            "Some(Category::{}{})",
            first.to_ascii_uppercase(),
            letters.as_str()
        ),
    }
}

/// All markers of all tables, sorted by bucket, so that one pass over a string finds them.
fn markers<'a>(out: &mut String, rules: &'a Rules) {
    let mut markers: Vec<(usize, usize, usize, &Marker)> = Vec::new();
    let of = |rules: &'a [Rule]| rules.iter().map(|rule| &rule.marker).collect();
    let tables: [Vec<&Marker>; 4] = [
        of(&rules.programs),
        of(&rules.systems),
        of(&rules.devices),
        rules.woothee.iter().collect(),
    ];
    for (table, list) in tables.into_iter().enumerate() {
        for (index, marker) in list.into_iter().enumerate() {
            let bytes = marker.text.as_bytes();
            let bucket = bucket::bucket(bytes[0], bytes[1]);
            markers.push((bucket, table, index, marker));
        }
    }
    markers.sort_by_key(|&(bucket, table, index, _)| (bucket, table, index));
    let mut begin = vec![0; bucket::BUCKETS + 1];
    for &(bucket, ..) in &markers {
        begin[bucket + 1] += 1;
    }
    for bucket in 0..bucket::BUCKETS {
        begin[bucket + 1] += begin[bucket];
    }
    let begin = begin.iter().map(usize::to_string);
    array(out, "BEGIN", "u16", begin);
    let items = markers.iter().map(|(_, table, index, marker)| {
        let conditions: Vec<String> = marker.conditions.iter().map(condition).collect();
        format!(
            "\nMarker {{ text: {:?}, at_start: {}, whole: {}, conditions: &[{}], table: {table}, rule: {index} }}",
            marker.text,
            marker.at_start,
            marker.whole,
            conditions.join(", ")
        )
    });
    array(out, "MARKERS", "Marker", items);
}

fn condition(condition: &Condition) -> String {
    format!(
        "Condition {{ needle: {}, present: {} }}",
        needle(&condition.needle),
        condition.present
    )
}

/// The models, sorted by their first byte. Those with the same byte keep the order of the file; one
/// that begins with any capital letter is among those of each letter.
fn models(out: &mut String, lines: &[Vec<String>]) {
    let first_bytes = |line: &Vec<String>| match line[0].as_bytes()[0] {
        b'@' => b'A'..=b'Z',
        byte => byte..=byte,
    };
    let mut lines: Vec<(u8, &Vec<String>)> = lines
        .iter()
        .flat_map(|line| first_bytes(line).map(move |byte| (byte, line)))
        .collect();
    lines.sort_by_key(|(byte, _)| *byte);
    let begin = (0..=128_u8).map(|byte| {
        let before = lines.iter().filter(|(first, _)| *first < byte);
        before.count().to_string()
    });
    array(out, "MODELS_BEGIN", "u16", begin);
    let items = lines.iter().map(|(_, line)| {
        let category = category(line.get(2).map(String::as_str).unwrap_or_default());
        format!(
            "\nModelRule {{ pattern: {:?}, vendor: {:?}, category: {category} }}",
            line[0], line[1]
        )
    });
    array(out, "MODELS", "ModelRule", items);
}
