//! Helpers on text: numbers and comparison (kernel `kernel/bpf/helpers.c`, `lib/kstrtox.c`).

use skep_maps::Errno;
use skep_memory::GuestSlice;

use super::args::Size;
use super::{Call, Return};
use crate::run::Run;

/// The most digits that are looked at.
const MOST_DIGITS: usize = 63;

/// A number in text.
struct Parsed {
    negative: bool,
    magnitude: u64,
    /// How many bytes it took, white space before it included.
    consumed: u64,
}

fn parse(text: &[u8], flags: u64) -> Result<Parsed, Errno> {
    let base = u32::try_from(flags).map_err(|_| Errno::EINVAL)?;
    if !matches!(base, 0 | 8 | 10 | 16) {
        return Err(Errno::EINVAL);
    }
    let spaces = text.iter().take_while(|byte| is_space(**byte)).count();
    let rest = &text[spaces..];
    let negative = rest.first() == Some(&b'-');
    let digits = if negative { &rest[1..] } else { rest };
    if digits.is_empty() {
        return Err(Errno::EINVAL);
    }
    let digits = &digits[..digits.len().min(MOST_DIGITS)];
    let hex_prefix = matches!(digits, [b'0', b'x' | b'X', ..]);
    let base = match base {
        0 if hex_prefix && digits.get(2).is_some_and(u8::is_ascii_hexdigit) => 16,
        0 if digits[0] == b'0' => 8,
        0 => 10,
        base => base,
    };
    let prefix = if base == 16 && hex_prefix { 2 } else { 0 };
    let digits = &digits[prefix..];
    let mut magnitude = Some(0u64);
    let values = digits.iter().map_while(|byte| char::from(*byte).to_digit(base));
    let mut count = 0;
    for value in values {
        magnitude = magnitude
            .and_then(|m| m.checked_mul(u64::from(base)))
            .and_then(|m| m.checked_add(u64::from(value)));
        count += 1;
    }
    if count == 0 {
        return Err(Errno::EINVAL);
    }
    let magnitude = magnitude.ok_or(Errno::ERANGE)?;
    let consumed = (spaces + usize::from(negative) + prefix + count) as u64;
    Ok(Parsed { negative, magnitude, consumed })
}

/// The kernel's `isspace`: also the no-break space of Latin-1.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | 9..=13 | 0xa0)
}

fn finish(out: GuestSlice<'_>, result: Result<(u64, u64), Errno>) -> Return {
    out.set(0, 0u64);
    match result {
        Ok((value, consumed)) => {
            out.set(0, value);
            Ok(consumed)
        }
        Err(errno) => Ok(errno.to_r0()),
    }
}

pub(super) fn strtol(
    _run: &mut Run<'_>,
    _call: &Call<'_>,
    text: GuestSlice<'_>,
    _size: Size,
    flags: u64,
    out: GuestSlice<'_>,
) -> Return {
    let result = parse(&text.to_vec(), flags).and_then(|parsed| {
        let value = if parsed.negative {
            0i64.checked_sub_unsigned(parsed.magnitude)
        } else {
            i64::try_from(parsed.magnitude).ok()
        };
        Ok((value.ok_or(Errno::ERANGE)?.cast_unsigned(), parsed.consumed))
    });
    finish(out, result)
}

pub(super) fn strtoul(
    _run: &mut Run<'_>,
    _call: &Call<'_>,
    text: GuestSlice<'_>,
    _size: Size,
    flags: u64,
    out: GuestSlice<'_>,
) -> Return {
    let result = parse(&text.to_vec(), flags).and_then(|parsed| {
        if parsed.negative { Err(Errno::EINVAL) } else { Ok((parsed.magnitude, parsed.consumed)) }
    });
    finish(out, result)
}

pub(super) fn strncmp(
    _run: &mut Run<'_>,
    _call: &Call<'_>,
    a: GuestSlice<'_>,
    _size: Size,
    b: Vec<u8>,
) -> Return {
    let a = a.to_vec();
    let b = b.into_iter().chain([0]);
    for (x, y) in a.into_iter().zip(b) {
        if x != y {
            return Ok(if x < y { u64::MAX } else { 1 });
        }
        if x == 0 {
            break;
        }
    }
    Ok(0)
}
