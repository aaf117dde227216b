//! The kernel's `printf` for programs (`bpf_bprintf_prepare` and `bstr_printf`).

use skep_maps::Errno;

use crate::run::Run;

/// Room for the strings of one call in bytes (`MAX_BPRINTF_BIN_ARGS`).
const STRINGS: usize = 512;

/// Flags and width of a conversion.
#[derive(Debug, Default, Clone, Copy)]
struct Spec {
    left: bool,
    plus: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
}

/// Formats `text`, which has no NUL, with `args`.
///
/// # Errors
///
/// `EINVAL` for what the kernel does not know, or more conversions than arguments;
/// `ENOSPC` when the strings are too long together.
pub(super) fn format(run: &Run<'_>, text: &[u8], args: &[u64]) -> Result<Vec<u8>, Errno> {
    let mut formatter = Formatter { run, text, at: 0, args: args.iter(), strings: STRINGS };
    let mut out = Vec::new();
    while let Some(byte) = formatter.next() {
        let known = !byte.is_ascii() || byte.is_ascii_graphic() || matches!(byte, b' ' | 9..=13);
        if !known {
            return Err(Errno::EINVAL);
        }
        if byte != b'%' {
            out.push(byte);
        } else if formatter.peek(0) == b'%' {
            formatter.at += 1;
            out.push(b'%');
        } else {
            formatter.conversion(&mut out)?;
        }
    }
    Ok(out)
}

struct Formatter<'a, 'r> {
    run: &'a Run<'r>,
    text: &'a [u8],
    at: usize,
    args: std::slice::Iter<'a, u64>,
    /// What is left of the room for strings.
    strings: usize,
}

impl Formatter<'_, '_> {
    fn next(&mut self) -> Option<u8> {
        let byte = *self.text.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// The byte `ahead` of the next one; 0 behind the end.
    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn arg(&mut self) -> Result<u64, Errno> {
        self.args.next().copied().ok_or(Errno::EINVAL)
    }

    fn conversion(&mut self, out: &mut Vec<u8>) -> Result<(), Errno> {
        if self.args.len() == 0 {
            return Err(Errno::EINVAL);
        }
        let mut spec = self.spec();
        match self.next() {
            Some(b'p') => self.pointer(spec, out),
            Some(b's') => {
                let text = self.string(false)?;
                pad(out, &text, spec);
                Ok(())
            }
            Some(b'c') => {
                let [byte, ..] = self.arg()?.to_le_bytes();
                self.strings = self.strings.checked_sub(1).ok_or(Errno::ENOSPC)?;
                spec.zero = false;
                pad(out, &[byte], spec);
                Ok(())
            }
            Some(byte) => self.integer(byte, spec, out),
            None => Err(Errno::EINVAL),
        }
    }

    fn spec(&mut self) -> Spec {
        let mut spec = Spec::default();
        loop {
            match self.peek(0) {
                b'0' => spec.zero = true,
                b'+' => spec.plus = true,
                b'-' => spec.left = true,
                b' ' => spec.space = true,
                _ => break,
            }
            self.at += 1;
        }
        while self.peek(0).is_ascii_digit() {
            let digit = usize::from(self.peek(0) - b'0');
            let width = spec.width.unwrap_or(0).saturating_mul(10).saturating_add(digit);
            // The kernel's field is 24 bits wide; no line is that long.
            spec.width = Some(width.min(1 << 12));
            self.at += 1;
        }
        spec
    }

    fn integer(&mut self, first: u8, spec: Spec, out: &mut Vec<u8>) -> Result<(), Errno> {
        let mut kind = first;
        let mut wide = false;
        for _ in 0..2 {
            if kind == b'l' {
                wide = true;
                kind = self.next().ok_or(Errno::EINVAL)?;
            }
        }
        if !matches!(kind, b'd' | b'i' | b'u' | b'x' | b'X') {
            return Err(Errno::EINVAL);
        }
        let value = self.arg()?;
        let low = u32::try_from(value & u64::from(u32::MAX)).unwrap_or(0);
        let signed = if wide { value.cast_signed() } else { i64::from(low.cast_signed()) };
        let unsigned = if wide { value } else { u64::from(low) };
        let (sign, digits) = match kind {
            b'd' | b'i' => {
                let sign = match signed {
                    ..0 => "-",
                    _ if spec.plus => "+",
                    _ if spec.space => " ",
                    _ => "",
                };
                (sign, signed.unsigned_abs().to_string())
            }
            b'u' => ("", unsigned.to_string()),
            b'x' => ("", format!("{unsigned:x}")),
            _ => ("", format!("{unsigned:X}")),
        };
        number(out, sign, &digits, spec);
        Ok(())
    }

    fn pointer(&mut self, spec: Spec, out: &mut Vec<u8>) -> Result<(), Errno> {
        match (self.peek(0), self.peek(1)) {
            (b'k' | b'u', b's') => {
                let user = self.peek(0) == b'u';
                self.at += 2;
                let text = self.string(user)?;
                out.extend(text);
            }
            (b'x' | b'K', _) => {
                let value = self.arg()?;
                self.skip_suffix();
                address(out, value, spec);
            }
            (b's' | b'S' | b'B', _) => {
                // Symbols have no names here; the kernel prints the number then.
                let value = self.arg()?;
                self.skip_suffix();
                out.extend(format!("{value:#x}").into_bytes());
            }
            (family @ (b'i' | b'I'), version @ (b'4' | b'6')) => {
                let at = self.arg()?;
                self.skip_suffix();
                self.ip(at, family, version, out)?;
            }
            // A plain `%p`: the kernel prints a hash of the address here, different at
            // each boot. The address itself is repeatable and gives nothing away.
            (next, _) if next == 0 || next.is_ascii_punctuation() || is_space(next) => {
                let value = self.arg()?;
                address(out, value, spec);
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    /// Letters and digits behind a pointer conversion belong to it.
    fn skip_suffix(&mut self) {
        while self.peek(0).is_ascii_alphanumeric() {
            self.at += 1;
        }
    }

    fn ip(&mut self, at: u64, family: u8, version: u8, out: &mut Vec<u8>) -> Result<(), Errno> {
        let len = if version == b'4' { 4 } else { 16 };
        self.strings = self.strings.checked_sub(len).ok_or(Errno::ENOSPC)?;
        let bytes: Vec<u8> = (0..len as u64)
            .map(|index| self.run.view.load::<u8>(at.wrapping_add(index)))
            .collect::<Option<_>>()
            .unwrap_or_else(|| vec![0; len]);
        let text = match (version, family) {
            (b'4', b'I') => join(bytes.iter().map(ToString::to_string), "."),
            (b'4', _) => join(bytes.iter().map(|byte| format!("{byte:03}")), "."),
            (_, b'I') => join(bytes.chunks(2).map(hex), ":"),
            _ => hex(&bytes),
        };
        out.extend(text.into_bytes());
        Ok(())
    }

    /// A string argument. It is empty when it cannot be read, and cut when the room for
    /// strings is used up.
    fn string(&mut self, user: bool) -> Result<Vec<u8>, Errno> {
        let next = self.peek(0);
        if next != 0 && !is_space(next) && !next.is_ascii_punctuation() {
            return Err(Errno::EINVAL);
        }
        let at = self.arg()?;
        if self.strings == 0 {
            return Err(Errno::ENOSPC);
        }
        let mut text = Vec::new();
        if !user {
            loop {
                let addr = at.wrapping_add(text.len() as u64);
                match self.run.view.load::<u8>(addr) {
                    Some(0) => break,
                    Some(byte) if text.len() + 1 < self.strings => text.push(byte),
                    Some(_) => break,
                    None => {
                        text.clear();
                        break;
                    }
                }
            }
        }
        self.strings -= text.len() + 1;
        Ok(text)
    }
}

/// The kernel's `isspace` on ASCII.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | 9..=13)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn join(parts: impl Iterator<Item = String>, separator: &str) -> String {
    parts.collect::<Vec<_>>().join(separator)
}

/// An address: 16 digits, or as many as the width asks for.
fn address(out: &mut Vec<u8>, value: u64, spec: Spec) {
    match spec.width {
        None => out.extend(format!("{value:016x}").into_bytes()),
        Some(_) => number(out, "", &format!("{value:x}"), spec),
    }
}

fn number(out: &mut Vec<u8>, sign: &str, digits: &str, spec: Spec) {
    let zeros = match spec.width {
        Some(width) if spec.zero && !spec.left => width.saturating_sub(sign.len() + digits.len()),
        _ => 0,
    };
    let text = format!("{sign}{}{digits}", "0".repeat(zeros));
    pad(out, text.as_bytes(), spec);
}

fn pad(out: &mut Vec<u8>, text: &[u8], spec: Spec) {
    let blanks = spec.width.unwrap_or(0).saturating_sub(text.len());
    let blanks = std::iter::repeat_n(b' ', blanks);
    if spec.left {
        out.extend(text);
        out.extend(blanks);
    } else {
        out.extend(blanks);
        out.extend(text);
    }
}
