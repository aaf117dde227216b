//! `repeat I 0..130 :`, and `{I:u32}` in the lines that it repeats.

use std::ops::Range;

/// A variable and the values that it takes, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repeat {
    pub(crate) variable: String,
    pub(crate) range: Range<u64>,
}

/// The most lines that one line may stand for.
const MOST: u64 = 1 << 20;

impl Repeat {
    /// Splits `repeat I 0..130 : REST`; `None` for a line that repeats nothing.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn split(line: &str) -> Result<Option<(Self, &str)>, String> {
        let Some(rest) = line.strip_prefix("repeat ") else {
            return Ok(None);
        };
        let (head, body) = rest.split_once(" : ").ok_or("`repeat I 0..130 :` has no `:`")?;
        let mut words = head.split_whitespace();
        let (Some(variable), Some(range), None) = (words.next(), words.next(), words.next()) else {
            return Err("`repeat` takes a variable and a range".to_owned());
        };
        let (start, end) = range.split_once("..").ok_or("a range is `0..130`")?;
        let number = |text: &str| text.parse::<u64>().map_err(|_| format!("`{text}` is no number"));
        let range = number(start)?..number(end)?;
        let lines = range.end.saturating_sub(range.start);
        if !(1..=MOST).contains(&lines) {
            return Err(format!("the range stands for {lines} lines; it may for 1 to {MOST}"));
        }
        Ok(Some((Self { variable: variable.to_owned(), range }, body.trim_start())))
    }
}

/// Puts a variable's value in: `{I}` decimal, `{I:u32}` as the hexadecimal bytes of a
/// little-endian number, `{I:be32}` of a big-endian one. `{I*2+1:u32}` is calculated from
/// left to right; there are `+`, `-`, `*`, `/` and `%`.
///
/// # Errors
/// What is wrong with a place.
pub(crate) fn expand(text: &str, variable: &str, value: u64) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (place, after) = after.split_once('}').ok_or("a `{` is not closed")?;
        out += before;
        let (formula, format) = place.split_once(':').unwrap_or((place, ""));
        out += &show(calculate(formula, variable, value)?, format)?;
        rest = after;
    }
    Ok(out + rest)
}

fn calculate(formula: &str, variable: &str, value: u64) -> Result<u64, String> {
    let mut result: Option<u64> = None;
    let mut op = '+';
    let mut rest = formula;
    loop {
        let end = rest.find(['+', '-', '*', '/', '%']).unwrap_or(rest.len());
        let word = &rest[..end];
        let operand = if word == variable {
            value
        } else {
            word.parse().map_err(|_| format!("`{word}` is neither `{variable}` nor a number"))?
        };
        let so_far = result.unwrap_or(0);
        result = match op {
            '+' => so_far.checked_add(operand),
            '-' => so_far.checked_sub(operand),
            '*' => so_far.checked_mul(operand),
            '/' => so_far.checked_div(operand),
            _ => so_far.checked_rem(operand),
        };
        let so_far = result.ok_or_else(|| format!("`{formula}` has no result for {value}"))?;
        let Some(next) = rest[end..].chars().next() else {
            return Ok(so_far);
        };
        op = next;
        rest = &rest[end + 1..];
    }
}

fn show(value: u64, format: &str) -> Result<String, String> {
    let (big, bits) = match format {
        "" => return Ok(value.to_string()),
        _ if format.starts_with("be") => (true, &format[2..]),
        _ if format.starts_with('u') => (false, &format[1..]),
        _ => return Err(format!("`{format}` is no format")),
    };
    let bytes = match bits {
        "8" => 1,
        "16" => 2,
        "32" => 4,
        "64" => 8,
        _ => return Err(format!("`{format}` is no format")),
    };
    let all = value.to_le_bytes();
    let (low, high) = all.split_at(bytes);
    if high.iter().any(|&byte| byte != 0) {
        return Err(format!("{value} does not fit `{format}`"));
    }
    let hex = |bytes: &mut dyn Iterator<Item = &u8>| bytes.map(|b| format!("{b:02x}")).collect();
    Ok(if big { hex(&mut low.iter().rev()) } else { hex(&mut low.iter()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_calculated_and_written_in_its_format() {
        let expand = |text| expand(text, "I", 258);
        assert_eq!(expand("key={I:u32} {I}").as_deref(), Ok("key=02010000 258"));
        assert_eq!(expand("{I*2+1:be16}").as_deref(), Ok("0205"));
        assert_eq!(expand("{I%10-8}").as_deref(), Ok("0"));
        for wrong in ["{I:u8}", "{I", "{J}", "{I/0}", "{I-259}", "{I:u31}"] {
            assert!(expand(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_range_is_neither_empty_nor_endless() {
        let (repeat, rest) = Repeat::split("repeat I 0..3 : S keys m").unwrap().unwrap();
        assert_eq!((repeat.range, rest), (0..3, "S keys m"));
        assert_eq!(Repeat::split("S keys m"), Ok(None));
        for wrong in ["repeat I 3..3 : x", "repeat I 0..18446744073709551615 : x", "repeat I : x"] {
            assert!(Repeat::split(wrong).is_err(), "{wrong}");
        }
    }
}
