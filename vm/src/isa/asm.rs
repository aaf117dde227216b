//! An assembler for tests and small programs, in the syntax of the public
//! conformance suite (ubpf's): `ldxw %r0, [%r1+4]`, `jeq %r0, 1, exit`.
//!
//! Labels end in a colon; `exit` is, without a definition, the last `exit`
//! instruction. `#`, `;` and `//` start a comment. Mnemonics are the table's; a
//! `64` at the end may be left away or written.

use std::collections::HashMap;

use super::Insn;
use super::op::{Key, Op, ROWS, Row, Shape};

/// Why a line could not be assembled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}: `{text}`")]
pub struct AsmError {
    /// The line's number, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
    /// The line, without comment.
    pub text: String,
}

/// Assembles a program into slots.
///
/// # Errors
///
/// [`AsmError`] for the first line that is wrong. That an instruction can be
/// written does not mean that a program may hold it.
pub fn assemble(source: &str) -> Result<Vec<Insn>, AsmError> {
    let mut assembly = Assembly::default();
    for (index, line) in source.lines().enumerate() {
        let text = strip_comment(line).trim();
        let at = |what| AsmError { line: index + 1, what, text: text.to_owned() };
        assembly.line(text, index + 1).map_err(at)?;
    }
    assembly.finish()
}

#[derive(Default)]
struct Assembly {
    slots: Vec<Insn>,
    labels: HashMap<String, usize>,
    last_exit: Option<usize>,
    fixups: Vec<Fixup>,
}

/// A distance that waits for its label.
struct Fixup {
    slot: usize,
    field: Field,
    label: String,
    line: usize,
    text: String,
}

#[derive(Clone, Copy)]
enum Field {
    Off,
    Imm,
}

impl Assembly {
    fn line(&mut self, text: &str, line: usize) -> Result<(), String> {
        if text.is_empty() {
            return Ok(());
        }
        if let Some(label) = text.strip_suffix(':') {
            let new = self.labels.insert(label.trim().to_owned(), self.slots.len()).is_none();
            return if new { Ok(()) } else { Err(format!("label `{label}` stands twice")) };
        }
        let (row, rest) = find_row(text)?;
        let operands: Vec<&str> =
            rest.split(',').map(str::trim).filter(|operand| !operand.is_empty()).collect();
        let mut fields = Insn::default();
        let mut wide = None;
        let label = row.operands(&operands, &mut fields, &mut wide)?;
        if let Some((field, label)) = label {
            let (slot, text) = (self.slots.len(), text.to_owned());
            self.fixups.push(Fixup { slot, field, label, line, text });
        }
        if row.op == Op::Exit {
            self.last_exit = Some(self.slots.len());
        }
        self.slots.push(row.encode(fields));
        if row.shape == Shape::Lddw {
            self.slots.push(Insn { imm: wide.unwrap_or(0), ..Insn::default() });
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Insn>, AsmError> {
        if let Some(exit) = self.last_exit {
            self.labels.entry("exit".to_owned()).or_insert(exit);
        }
        for Fixup { slot, field, label, line, text } in self.fixups {
            let fail = |what| AsmError { line, what, text: text.clone() };
            let Some(&target) = self.labels.get(&label) else {
                return Err(fail(format!("no label `{label}`")));
            };
            let insn = &mut self.slots[slot];
            let from = slot + 1;
            let distance = i32::try_from(target).ok().zip(i32::try_from(from).ok());
            let distance = distance.map(|(target, from)| target - from);
            let too_far = || fail(format!("`{label}` is too far away"));
            let distance = distance.ok_or_else(too_far)?;
            match field {
                Field::Off => insn.off = i16::try_from(distance).map_err(|_| too_far())?,
                Field::Imm => insn.imm = distance,
            }
        }
        Ok(self.slots)
    }
}

/// Finds the row that a line starts with, and the operands behind it.
fn find_row(text: &str) -> Result<(&'static Row, &str), String> {
    let (locked, text) = match text.strip_prefix("lock ") {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text),
    };
    // A mnemonic may be several words (`call local`): the longest that names a row.
    let ends = text.match_indices(char::is_whitespace).map(|(at, _)| at).chain([text.len()]);
    for end in ends.collect::<Vec<_>>().into_iter().rev() {
        let (name, rest) = (text[..end].trim_end(), text[end..].trim());
        let by_register = rest.split(',').nth(1).is_some_and(|o| register(o.trim()).is_ok());
        let row = ROWS.iter().find(|row| {
            let named = row.mnemonic == name || alias(name) == Some(row.mnemonic);
            named && locked == row.is_atomic() && row.takes_register(by_register)
        });
        if let Some(row) = row {
            return Ok((row, rest));
        }
    }
    Err("no such instruction".to_owned())
}

/// Other spellings of a mnemonic.
fn alias(name: &str) -> Option<&'static str> {
    if name == "call helper" {
        return Some("call");
    }
    // `add64` is `add`, `bswap64` is `swap64`.
    let plain = [name.strip_suffix("64"), name.strip_prefix('b')];
    ROWS.iter().map(|row| row.mnemonic).find(|&mnemonic| plain.contains(&Some(mnemonic)))
}

impl Row {
    fn is_atomic(&self) -> bool {
        self.shape == Shape::Atomic
    }

    /// Whether this row, rather than its sibling, is meant when the second operand is,
    /// or is not, a register.
    fn takes_register(&self, register: bool) -> bool {
        match self.shape {
            Shape::AluImm | Shape::JumpImm => !register,
            Shape::AluReg | Shape::JumpReg => register,
            _ => true,
        }
    }

    /// Reads the operands into fields; returns a label that is still to be resolved.
    fn operands(
        &self,
        operands: &[&str],
        fields: &mut Insn,
        wide: &mut Option<i32>,
    ) -> Result<Option<(Field, String)>, String> {
        let mut next = operands.iter().copied();
        let mut operand = || next.next().ok_or_else(|| "an operand is missing".to_owned());
        let mut label = None;
        match self.shape {
            Shape::AluImm => {
                fields.dst = register(operand()?)?;
                fields.imm = imm32(operand()?)?;
            }
            Shape::AluReg | Shape::Movsx => {
                fields.dst = register(operand()?)?;
                fields.src = register(operand()?)?;
            }
            Shape::Unary | Shape::CallReg => fields.dst = register(operand()?)?,
            Shape::Load | Shape::LoadAcquire => {
                fields.dst = register(operand()?)?;
                (fields.src, fields.off) = memory(operand()?)?;
            }
            Shape::StoreImm => {
                (fields.dst, fields.off) = memory(operand()?)?;
                fields.imm = imm32(operand()?)?;
            }
            Shape::StoreReg | Shape::Atomic | Shape::StoreRelease => {
                (fields.dst, fields.off) = memory(operand()?)?;
                fields.src = register(operand()?)?;
            }
            Shape::JumpImm => {
                fields.dst = register(operand()?)?;
                fields.imm = imm32(operand()?)?;
                label = off(operand()?, fields)?;
            }
            Shape::JumpReg => {
                fields.dst = register(operand()?)?;
                fields.src = register(operand()?)?;
                label = off(operand()?, fields)?;
            }
            Shape::Goto => label = off(operand()?, fields)?,
            Shape::GotoLong => label = distance(operand()?, fields)?,
            Shape::Call if self.key == Key::Src(1) => label = distance(operand()?, fields)?,
            Shape::Call | Shape::CallBtf | Shape::LdAbs => fields.imm = imm32(operand()?)?,
            Shape::Exit => {}
            Shape::Lddw => {
                fields.dst = register(operand()?)?;
                match self.op {
                    Op::Lddw => {
                        let value = imm64(operand()?)?.to_le_bytes();
                        let [a, b, c, d, e, f, g, h] = value;
                        fields.imm = i32::from_le_bytes([a, b, c, d]);
                        *wide = Some(i32::from_le_bytes([e, f, g, h]));
                    }
                    Op::LddwFunc => label = distance(operand()?, fields)?,
                    Op::LddwMapValue | Op::LddwMapIdxValue => {
                        fields.imm = imm32(operand()?)?;
                        *wide = Some(imm32(operand()?)?);
                    }
                    _ => fields.imm = imm32(operand()?)?,
                }
            }
            Shape::LdInd => {
                fields.src = register(operand()?)?;
                fields.imm = imm32(operand()?)?;
            }
            Shape::Cast => {
                fields.dst = register(operand()?)?;
                fields.src = register(operand()?)?;
                fields.imm = imm32(operand()?)?;
            }
        }
        match next.next() {
            Some(extra) => Err(format!("`{extra}` is one operand too many")),
            None => Ok(label),
        }
    }
}

fn strip_comment(line: &str) -> &str {
    let ends = ["#", ";", "//"].iter().filter_map(|mark| line.find(mark));
    &line[..ends.min().unwrap_or(line.len())]
}

fn register(text: &str) -> Result<u8, String> {
    let number = text.trim_start_matches('%').strip_prefix('r');
    let number = number.and_then(|n| n.parse::<u8>().ok()).filter(|&n| n < 16);
    number.ok_or_else(|| format!("`{text}` is no register"))
}

fn memory(text: &str) -> Result<(u8, i16), String> {
    let bad = || format!("`{text}` is no memory operand");
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).ok_or_else(bad)?;
    let split = inner.find(['+', '-']).unwrap_or(inner.len());
    let (reg, off) = inner.split_at(split);
    let off = if off.is_empty() { 0 } else { integer(off)? };
    let off = i16::try_from(off).map_err(|_| format!("offset {off} does not fit in 16 bits"))?;
    Ok((register(reg.trim())?, off))
}

/// A jump distance into `off`, or a label.
fn off(text: &str, fields: &mut Insn) -> Result<Option<(Field, String)>, String> {
    if !text.starts_with(['+', '-']) {
        return Ok(Some((Field::Off, text.to_owned())));
    }
    let value = integer(text)?;
    fields.off = i16::try_from(value).map_err(|_| format!("`{text}` does not fit in 16 bits"))?;
    Ok(None)
}

/// A distance into `imm`, or a label.
fn distance(text: &str, fields: &mut Insn) -> Result<Option<(Field, String)>, String> {
    if !text.starts_with(|c: char| c == '+' || c == '-' || c.is_ascii_digit()) {
        return Ok(Some((Field::Imm, text.to_owned())));
    }
    fields.imm = imm32(text)?;
    Ok(None)
}

fn imm32(text: &str) -> Result<i32, String> {
    let value = integer(text)?;
    let bits = u32::try_from(value).map(u32::cast_signed);
    let value = bits.or_else(|_| i32::try_from(value));
    value.map_err(|_| format!("`{text}` does not fit in 32 bits"))
}

fn imm64(text: &str) -> Result<u64, String> {
    let value = integer(text)?;
    let bits = u64::try_from(value).or_else(|_| i64::try_from(value).map(i64::cast_unsigned));
    bits.map_err(|_| format!("`{text}` does not fit in 64 bits"))
}

/// A decimal or hexadecimal number with an optional sign.
fn integer(text: &str) -> Result<i128, String> {
    let (sign, digits) = match text.trim().strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.trim().trim_start_matches('+')),
    };
    let value = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => i128::from_str_radix(hex, 16),
        None => digits.parse::<i128>(),
    };
    value.map(|value| sign * value).map_err(|_| format!("`{text}` is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(source: &str) -> Insn {
        let slots = assemble(source).expect("right");
        slots[0]
    }

    #[test]
    fn siblings_are_told_apart_by_their_operands() {
        assert_eq!(one("add %r1, 5").op(), Ok(Op::Add64Imm));
        assert_eq!(one("add %r1, %r5").op(), Ok(Op::Add64Reg));
        assert_eq!(one("add64 r1, -5").op(), Ok(Op::Add64Imm));
        assert_eq!(one("jeq32 %r1, %r5, +1").op(), Ok(Op::Jeq32Reg));
        assert_eq!(one("jeq %r1, 5, -1").op(), Ok(Op::Jeq64Imm));
        assert_eq!(one("lock fetch add32 [%r1-4], %r2").op(), Ok(Op::AtomicFetchAdd32));
        assert_eq!(one("bswap32 %r1").op(), Ok(Op::Swap32));
        assert_eq!(one("bswap64 %r1").op(), Ok(Op::Swap64));
        assert_eq!(one("call local +1").op(), Ok(Op::CallLocal));
        assert_eq!(one("call helper 7").op(), Ok(Op::CallHelper));
    }

    #[test]
    fn labels_become_distances() {
        let slots =
            assemble("jeq %r1, 1, exit\nlddw %r0, 5\nback: \nja back\nexit").expect("right");
        assert_eq!(slots[0].off, 3);
        assert_eq!(slots[3].off, -1);
    }

    #[test]
    fn mistakes_name_their_line() {
        let cases = [
            ("mov %r0, 1\nfrob %r1", "line 2: no such instruction: `frob %r1`"),
            ("mov %r0", "line 1: an operand is missing: `mov %r0`"),
            (
                "ldxw %r0, [%r1+40000]",
                "line 1: offset 40000 does not fit in 16 bits: `ldxw %r0, [%r1+40000]`",
            ),
            (
                "mov %r0, 4294967296",
                "line 1: `4294967296` does not fit in 32 bits: `mov %r0, 4294967296`",
            ),
            ("ja nowhere", "line 1: no label `nowhere`: `ja nowhere`"),
            ("exit 1", "line 1: `1` is one operand too many: `exit 1`"),
        ];
        for (source, message) in cases {
            assert_eq!(assemble(source).unwrap_err().to_string(), message);
        }
    }
}
