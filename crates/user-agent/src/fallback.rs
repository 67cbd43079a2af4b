//! What woothee knows and the rules do not: feature phones, feed readers, rare systems.
//!
//! woothee is asked only about strings that have one of the words in the section `woothee` of the
//! rules. It knows nothing more of other strings. Its first call compiles some forty regular
//! expressions, which takes a millisecond and a megabyte in each server process.

use woothee::parser::{Parser, WootheeResult};

use crate::category::Category;
use crate::{program, system};

const UNKNOWN: &str = "UNKNOWN";

/// Names of kinds of programs.
const KINDS: &[&str] = &["HTTP Library", "Webview", "misc crawler", "misc RSS Reader"];

/// Fills in the missing parts, and returns the model of a feature phone.
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
    // woothee gives the network of a feature phone as its program, and the model as the version.
    let is_feature_phone = result.category == "mobilephone";
    let version = Some(result.version).filter(|&version| version != UNKNOWN && !version.is_empty());
    // woothee gives the system of a phone or a console as its program.
    let is_program = result.name != UNKNOWN
        && !KINDS.contains(&result.name)
        && result.name != result.os
        && !is_feature_phone
        && category != Some(Category::Console);
    // If the rules know the system, they know its browsers as well.
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
    version.filter(|_| is_feature_phone)
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
