//! Settings that tests take from the environment, and what they say.

use std::env;
use std::io::{self, Write};

/// The seed: the same at each run, unless `SKEP_SEED` has another.
pub(crate) fn seed() -> u64 {
    number("SKEP_SEED", 0x5eed)
}

/// A number from the environment, decimal or with `0x` in front.
pub(crate) fn number(name: &str, default: u64) -> u64 {
    let Ok(text) = env::var(name) else {
        return default;
    };
    let number = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    number.unwrap_or_else(|_| panic!("{name}={text} is no number"))
}

/// Says something even when the test passes, which `eprintln!` does not.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
