//! The name of a device as a person reads it.

use std::borrow::Cow;

use crate::model_key::key;
use crate::rules::TELLING_NAMES;

/// The name with its maker before it, unless the name tells the maker: `Motorola Edge 30`, but
/// `Galaxy S24`.
pub(crate) fn with_maker<'a>(name: &'a str, maker: Option<&str>) -> Cow<'a, str> {
    let Some(maker) = maker else {
        return name.into();
    };
    let name = rest_behind(name, maker).unwrap_or(name);
    // The strings of Motorola's phones have their names in lower case.
    let name = match maker {
        "Motorola" => capitalized(name),
        _ => name.into(),
    };
    let tells = |word: &&str| {
        let rest = name.strip_prefix(*word);
        rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_alphabetic()))
    };
    // `SonyEricssonW995`, in one word.
    let is_in_one_word = key(maker).eq(key(&name).take(key(maker).count()));
    if is_in_one_word || TELLING_NAMES.iter().any(tells) {
        return name;
    }
    Cow::Owned([maker, " ", &name].concat())
}

/// `Fold 5` of `ACME_Fold 5`, if the name begins with the word of the maker.
fn rest_behind<'a>(name: &'a str, maker: &str) -> Option<&'a str> {
    let start = name.get(..maker.len())?;
    let rest = &name[maker.len()..];
    let rest = start.eq_ignore_ascii_case(maker).then_some(rest)?;
    let rest = rest.strip_prefix([' ', '_'])?.trim();
    (!rest.is_empty()).then_some(rest)
}

/// `Moto G54 5G` of `moto g54 5G`.
fn capitalized(name: &str) -> Cow<'_, str> {
    let mut is_first = true;
    let letters = name.chars().map(|letter| {
        let result = if is_first {
            letter.to_ascii_uppercase()
        } else {
            letter
        };
        is_first = letter == ' ';
        result
    });
    Cow::Owned(letters.collect())
}
