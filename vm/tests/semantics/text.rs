//! The words of the recordings.

use skep_maps::Errno;
use skep_oracle::recorded::Case;

/// Bytes as hexadecimal; `-` for none.
pub(crate) fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "-".to_owned();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of [`hex`].
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    if text == "-" {
        return Vec::new();
    }
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(byte).collect()
}

/// A number, decimal or after `0x` hexadecimal.
pub(crate) fn number(text: &str) -> u64 {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.unwrap_or_else(|_| panic!("`{text}` is no number"))
}

/// The number that a question gives a name; `default` when it gives none.
pub(crate) fn asked(case: &Case<'_>, name: &str, default: u64) -> u64 {
    case.asked(name).map_or(default, number)
}

/// The same, 32 bits wide.
pub(crate) fn asked32(case: &Case<'_>, name: &str, default: u32) -> u32 {
    u32::try_from(asked(case, name, default.into())).expect("a number of 32 bits")
}

/// The same, signed.
pub(crate) fn asked_signed(case: &Case<'_>, name: &str) -> Option<i64> {
    Some(case.asked(name)?.parse().expect("a signed number"))
}

/// An errno's name.
pub(crate) fn name(errno: Errno) -> String {
    errno.name().map_or_else(|| format!("errno {}", errno.number()), str::to_owned)
}

/// `ok` or the errno.
pub(crate) fn outcome(result: Result<(), Errno>) -> String {
    result.map_or_else(name, |()| "ok".to_owned())
}

/// What a helper returned: an errno by name, anything else as a number.
pub(crate) fn returned(value: i64) -> String {
    let errno = (1..4096).find(|&errno| i64::from(errno) == -value.max(-4096));
    let known = errno.and_then(|errno| skep_oracle::Errno(errno).name());
    match (errno, known) {
        (_, Some(name)) => name.to_owned(),
        (Some(errno), None) => format!("-{errno}"),
        (None, _) => value.to_string(),
    }
}

/// Words joined by commas; `-` for none.
pub(crate) fn list(words: &[String]) -> String {
    if words.is_empty() { "-".to_owned() } else { words.join(",") }
}
