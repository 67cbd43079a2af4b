//! What to look for in a string, as tables that a person can read and extend.
//!
//! A marker is text that begins a word: it stands at the start of the string, or after a space or
//! one of `;,()[]/+"`. With `^` before it, it stands at the start of the string. Upper and lower
//! case differ. Within a table the first rule wins that matches anywhere, so the special stands
//! above the general: an app above the browser it is made of, that above its engine.

mod devices;
mod programs;
mod systems;

pub(crate) use devices::{DEVICES, MODELS};
pub(crate) use programs::{PLAIN_WEBKIT, PROGRAMS, Program};
pub(crate) use systems::{NO_MAC, SYSTEMS, WINDOWS};

/// Where a version stands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Version {
    /// Right behind the marker.
    Here,
    /// Behind another marker.
    After(&'static str),
    /// Nowhere.
    Absent,
}
