//! Prints the parts of strings, one string a line.
//!
//! `cargo run --example show < STRINGS`

use qsessions_user_agent::{device_line, parse};

fn main() {
    for line in std::io::stdin().lines().map_while(Result::ok) {
        println!("{line}\n  {}\n  {:?}", device_line(&line), parse(&line));
    }
}
