//! What the demo prints.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant, SystemTime};

use comfy_table::{ContentArrangement, Table, presets};
use qsessions::{SessionInfo, Stats};

const WIDTH: usize = 80;
const INDENT: &str = "   ";

pub(crate) fn title(text: &str) {
    println!("\n{}", bold(text));
}

/// Numbers the headings, so that a step can be added anywhere.
#[derive(Default)]
pub(crate) struct Headings(u32);

impl Headings {
    pub(crate) fn next(&mut self, text: &str) {
        self.0 += 1;
        println!("\n{}\n", bold(&format!("{}. {text}", self.0)));
    }
}

/// Prints text, wrapped into lines.
pub(crate) fn say(text: &str) {
    let mut line = String::from(INDENT);
    for word in text.split_whitespace() {
        if line.chars().count() + word.chars().count() > WIDTH {
            println!("{}", line.trim_end());
            line = String::from(INDENT);
        }
        line.push_str(word);
        line.push(' ');
    }
    println!("{}", line.trim_end());
}

/// Text to copy, or to read letter by letter.
pub(crate) fn quote(text: &str) {
    println!("{INDENT}  {text}");
}

pub(crate) fn sessions(whose: &str, sessions: &[SessionInfo]) {
    let mut table = table(["Device", "Location", "Since", "Last seen", ""]);
    for session in sessions {
        table.add_row([
            session.device.as_deref().unwrap_or("unknown"),
            session.location.as_deref().unwrap_or("unknown"),
            &ago(session.created_at),
            &ago(session.last_seen_at),
            if session.is_current { "this one" } else { "" },
        ]);
    }
    print(whose, &table);
}

pub(crate) fn stats(stats: &Stats) {
    let mut table = table(["stats()", ""]);
    for (name, value) in [
        ("total", stats.total.to_string()),
        ("active", stats.active.to_string()),
        ("expired", stats.expired.to_string()),
        ("anonymous", stats.anonymous.to_string()),
        ("authenticated", stats.authenticated.to_string()),
        ("users", stats.users.to_string()),
        ("table", format!("{} kB", stats.table_bytes / 1024)),
        ("indexes", format!("{} kB", stats.index_bytes / 1024)),
    ] {
        table.add_row([name, &value]);
    }
    if let Some(numbers) = table.column_mut(1) {
        numbers.set_cell_alignment(comfy_table::CellAlignment::Right);
    }
    print("", &table);
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_BORDERS_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    // In a narrow terminal, cells are wrapped.
    if let Some(terminal) = table.width() {
        table.set_width(terminal.saturating_sub(INDENT.len() as u16));
    }
    table
}

fn print(caption: &str, table: &Table) {
    println!();
    if !caption.is_empty() {
        println!("{INDENT}{}", bold(caption));
    }
    for line in table.lines() {
        println!("{INDENT}{line}");
    }
}

fn ago(instant: SystemTime) -> String {
    // The server's clock may be slightly ahead.
    let minutes = instant.elapsed().unwrap_or_default().as_secs() / 60;
    let (number, unit) = match minutes {
        0 => return "just now".into(),
        1..60 => (minutes, "min"),
        60..1440 => (minutes / 60, "hour"),
        _ => (minutes / 1440, "day"),
    };
    let plural = if number == 1 || unit == "min" {
        ""
    } else {
        "s"
    };
    format!("{number} {unit}{plural} ago")
}

/// Shows that the demo waits: a countdown on a terminal, and dots elsewhere.
pub(crate) struct Countdown {
    until: Instant,
    drawn: Option<u64>,
}

impl Countdown {
    pub(crate) fn new(duration: Duration) -> Self {
        let until = Instant::now() + duration;
        Self { until, drawn: None }
    }

    pub(crate) fn draw(&mut self) {
        let left = self
            .until
            .saturating_duration_since(Instant::now())
            .as_secs();
        if self.drawn == Some(left) {
            return;
        }
        if io::stdout().is_terminal() {
            print!("\r{INDENT}{left:2} s ");
        } else if self.drawn.is_none() {
            print!("{INDENT}.");
        } else {
            print!(".");
        }
        self.drawn = Some(left);
        // An unfinished line would stay in the buffer. A closed pipe is no reason to stop.
        let _ = io::stdout().flush();
    }

    pub(crate) fn end(self) {
        if self.drawn.is_some() {
            println!();
        }
    }
}

fn bold(text: &str) -> String {
    if io::stdout().is_terminal() {
        format!("\x1b[1m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}
