//! What the rules leave open, asked of woothee: old telephones, feed readers, rare systems.
//!
//! It is asked only about strings that have one of the words in the section `woothee` of the rules. About
//! others it could tell nothing, and would first compile some forty expressions, which take a
//! millisecond and a megabyte of each server process.

use woothee::parser::{Parser, WootheeResult};

use crate::{Category, program, system};

const UNKNOWN: &str = "UNKNOWN";

/// Names that say what kind of program it is, not which.
const KINDS: &[&str] = &["HTTP Library", "Webview", "misc crawler", "misc RSS Reader"];

/// Fills in what is missing, and gives the model of an old telephone.
pub(crate) fn fill<'a>(
    text: &'a str,
    program: &mut program::Found<'a>,
    system: &mut system::Found<'a>,
) -> Option<&'a str> {
    if !program.is_person() || (program.name.is_some() && system.name.is_some()) {
        return None;
    }
    let result = Parser::new().parse(text)?;
    let category = category(&result);
    // Of old telephones it gives the network as the program, and the model as the version.
    let is_telephone = result.category == "mobilephone";
    let version = Some(result.version).filter(|&version| version != UNKNOWN && !version.is_empty());
    // Of telephones and consoles it gives the system as the program.
    let is_program = result.name != UNKNOWN
        && !KINDS.contains(&result.name)
        && result.name != result.os
        && !is_telephone
        && category != Some(Category::Console);
    // A browser of a system that the rules know is theirs, or has no name.
    if program.name.is_none() && is_program && system.name.is_none() {
        program.name = Some(result.name.into());
        let is_number = |version: &&str| version.starts_with(|first: char| first.is_ascii_digit());
        program.version = version.filter(is_number);
    }
    if program.category.is_none() && matches!(category, Some(Category::Bot | Category::Tool)) {
        program.category = category;
    }
    if system.name.is_none() && result.os != UNKNOWN {
        system.name = Some(result.os.into());
        system.version = Some(result.os_version).filter(|version| version != UNKNOWN);
        system.category = category;
    }
    version.filter(|_| is_telephone)
}

fn category(result: &WootheeResult<'_>) -> Option<Category> {
    match result.category {
        _ if result.name == "HTTP Library" => Some(Category::Tool),
        "pc" => Some(Category::Desktop),
        "smartphone" | "mobilephone" => Some(Category::Mobile),
        "crawler" => Some(Category::Bot),
        "appliance" => Some(Category::Console),
        _ => None,
    }
}
