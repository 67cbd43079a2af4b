//! What people call the models whose codes are known.
//!
//! build.rs makes an automaton of the files in `data`, which maps a code to an index, and one text
//! with all names. Both are read where they lie in the file of the library: they have no pointers
//! that would be adjusted in each process, and a look-up allocates nothing.

use fst::raw::{Fst, Output};

use crate::category::Category;
use crate::model_key::{FAMILY, MAKER, MARKETS, MAX_REST, PREFIX, key, may_follow};

/// Who made a model, and what people call it.
#[derive(Debug)]
pub(crate) struct Known {
    /// Where in the text.
    maker: (u32, u32),
    /// Where in the text; empty if people call it by its code.
    name: (u32, u32),
    /// The kind of device, where the data tells it.
    pub(crate) category: Option<Category>,
}

impl Known {
    pub(crate) fn maker(&self) -> &'static str {
        text(self.maker)
    }

    /// Without the maker. `None` if the code is the name.
    pub(crate) fn name(&self) -> Option<&'static str> {
        Some(text(self.name)).filter(|name| !name.is_empty())
    }
}

include!(concat!(env!("OUT_DIR"), "/models.rs"));

static AUTOMATON: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/models.fst"));

/// What is known of the code of a model.
pub(crate) fn model(code: &str) -> Option<&'static Known> {
    if let Some(known) = look_up(key(code)) {
        return Some(known);
    }
    // `M40_Plus_EEA`.
    if let Some((model, market)) = code.rsplit_once(['_', '-', ' '])
        && MARKETS.contains(&market)
        && let Some(known) = look_up(key(model))
    {
        return Some(known);
    }
    // `HUAWEI MLA-L11`, which the list has without the maker.
    let (first, rest) = code.split_once([' ', '_', '-'])?;
    let maker = maker(first)?;
    look_up(key(rest)).filter(|known| known.maker() == maker)
}

/// The maker whose name a model begins with.
pub(crate) fn maker_in(model: &str) -> Option<&'static str> {
    let first = model.split([' ', '_', '-']).next()?;
    if first.len() == model.len() {
        return None;
    }
    maker(first).or_else(|| {
        let two = model.match_indices([' ', '_', '-']).nth(1)?.0;
        maker(&model[..two])
    })
}

/// The maker whose codes alone begin as this one does. Words are no codes: many makers use them.
pub(crate) fn family(code: &str) -> Option<&'static str> {
    if !code.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let automaton = Fst::new(AUTOMATON).ok()?;
    let mut node = automaton.root();
    let mut output = Output::zero();
    for byte in key(code) {
        let transition = node.transition(node.find_input(byte)?);
        output = output.cat(transition.out);
        node = automaton.node(transition.addr);
        if let Some(index) = node.find_input(FAMILY) {
            let transition = node.transition(index);
            let end = automaton.node(transition.addr).final_output();
            return known(output.cat(transition.out).cat(end)).map(Known::maker);
        }
    }
    None
}

fn maker(word: &str) -> Option<&'static str> {
    look_up([MAKER].into_iter().chain(key(word))).map(Known::maker)
}

/// The entry of a key, or of its longest beginning that the automaton has.
fn look_up(key: impl Iterator<Item = u8>) -> Option<&'static Known> {
    let automaton = Fst::new(AUTOMATON).ok()?;
    let mut node = automaton.root();
    let mut output = Output::zero();
    // The longest beginning so far that may go on as the key does, and where it ends.
    let mut beginning: Option<(Output, usize)> = None;
    // The beginning that ends here, and its last byte.
    let mut ending: Option<(Output, u8)> = None;
    let mut is_inside = true;
    let mut length = 0;
    for byte in key {
        if let Some((value, last)) = ending.take()
            && may_follow(last, byte, 1)
        {
            beginning = Some((value, length));
        }
        length += 1;
        if !is_inside {
            continue;
        }
        let Some(index) = node.find_input(byte) else {
            is_inside = false;
            continue;
        };
        let transition = node.transition(index);
        output = output.cat(transition.out);
        node = automaton.node(transition.addr);
        if let Some(index) = node.find_input(PREFIX) {
            let transition = node.transition(index);
            let end = automaton.node(transition.addr).final_output();
            ending = Some((output.cat(transition.out).cat(end), byte));
        }
    }
    if is_inside && node.is_final() {
        return known(output.cat(node.final_output()));
    }
    if let Some((value, _)) = ending {
        return known(value);
    }
    let (value, _) = beginning.filter(|(_, end)| length - end <= MAX_REST)?;
    known(value)
}

fn known(value: Output) -> Option<&'static Known> {
    KNOWN.get(usize::try_from(value.value()).ok()?)
}

fn text((start, end): (u32, u32)) -> &'static str {
    &TEXTS[start as usize..end as usize]
}
