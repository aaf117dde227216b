//! From slots to operations and back.

use super::Insn;
use super::op::{Key, Op, ROWS, Row};

/// Why a slot is no instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// No instruction has this opcode byte.
    #[error("opcode {code:#04x} is no instruction")]
    UnknownOpcode {
        /// The opcode byte.
        code: u8,
    },
    /// The opcode byte exists, but not with this value in the field that extends it.
    #[error("opcode {code:#04x} has no form with {field} {value}")]
    UnknownForm {
        /// The opcode byte.
        code: u8,
        /// The field that extends the opcode: `offset`, `immediate` or `source register`.
        field: &'static str,
        /// Its value.
        value: i32,
    },
    /// A field that the instruction does not use is not zero.
    #[error("`{mnemonic}` does not use its {field} field, which must be 0, not {value}")]
    Reserved {
        /// The instruction's name.
        mnemonic: &'static str,
        /// `destination register`, `source register`, `offset` or `immediate`.
        field: &'static str,
        /// The field's value.
        value: i32,
    },
    /// There is no such register.
    #[error("`{mnemonic}` names register r{register}; there are r0 to r10")]
    NoRegister {
        /// The instruction's name.
        mnemonic: &'static str,
        /// The register's number.
        register: u8,
    },
}

/// For each opcode byte, the indexes of its rows, ended by [`NO_ROW`].
static BY_CODE: [[u8; MOST_FORMS]; 256] = by_code();
/// The most rows that share an opcode byte (the 64-bit atomics), plus the end mark.
const MOST_FORMS: usize = 16;
const NO_ROW: u8 = u8::MAX;

const fn by_code() -> [[u8; MOST_FORMS]; 256] {
    let mut table = [[NO_ROW; MOST_FORMS]; 256];
    let mut index = 0;
    while index < ROWS.len() {
        let forms = &mut table[ROWS[index].code as usize];
        let mut free = 0;
        while forms[free] != NO_ROW {
            free += 1;
        }
        // The table has fewer rows than `NO_ROW`; more would fail the assertion below.
        assert!(index < NO_ROW as usize && free + 1 < MOST_FORMS);
        #[allow(clippy::cast_possible_truncation, reason = "asserted just above")]
        {
            forms[free] = index as u8;
        }
        index += 1;
    }
    table
}

fn forms(code: u8) -> impl Iterator<Item = &'static Row> {
    let indexes = BY_CODE[usize::from(code)].iter();
    indexes.take_while(|&&index| index != NO_ROW).map(|&index| &ROWS[usize::from(index)])
}

impl Insn {
    /// Finds the operation of a slot and checks its reserved fields and registers.
    /// For `lddw`, the second slot is the caller's to check.
    ///
    /// # Errors
    ///
    /// [`DecodeError`], as the kernel's verifier refuses such slots (`bpf_check`:
    /// "uses reserved fields", "unknown opcode").
    pub fn op(self) -> Result<Op, DecodeError> {
        let Some(row) = forms(self.code).find(|row| row.key_matches(self)) else {
            return Err(self.no_form());
        };
        let Row { mnemonic, .. } = *row;
        let uses = row.shape.uses();
        let fields = [
            ("destination register", uses.dst, i32::from(self.dst)),
            ("source register", uses.src || matches!(row.key, Key::Src(_)), i32::from(self.src)),
            ("offset", uses.off || matches!(row.key, Key::Off(_)), i32::from(self.off)),
            ("immediate", uses.imm || matches!(row.key, Key::Imm(_)), self.imm),
        ];
        for (field, used, value) in fields {
            if !used && value != 0 {
                return Err(DecodeError::Reserved { mnemonic, field, value });
            }
        }
        for (used, register) in [(uses.dst, self.dst), (uses.src, self.src)] {
            if used && register > 10 {
                return Err(DecodeError::NoRegister { mnemonic, register });
            }
        }
        Ok(row.op)
    }

    fn no_form(self) -> DecodeError {
        let code = self.code;
        let (field, value) = match forms(code).next().map(|row| row.key) {
            None => return DecodeError::UnknownOpcode { code },
            Some(Key::Src(_)) => ("source register", i32::from(self.src)),
            Some(Key::Imm(_)) => ("immediate", self.imm),
            Some(Key::Off(_) | Key::None) => ("offset", i32::from(self.off)),
        };
        DecodeError::UnknownForm { code, field, value }
    }
}

impl Row {
    fn key_matches(&self, insn: Insn) -> bool {
        match self.key {
            Key::None => true,
            Key::Off(off) => insn.off == off,
            Key::Imm(imm) => insn.imm == imm,
            Key::Src(src) => insn.src == src,
        }
    }

    /// A slot of this row with the given fields; those that the row does not use
    /// are left zero.
    #[must_use]
    pub fn encode(&self, fields: Insn) -> Insn {
        let uses = self.shape.uses();
        let mut insn = Insn {
            code: self.code,
            dst: if uses.dst { fields.dst } else { 0 },
            src: if uses.src { fields.src } else { 0 },
            off: if uses.off { fields.off } else { 0 },
            imm: if uses.imm { fields.imm } else { 0 },
        };
        match self.key {
            Key::None => {}
            Key::Off(off) => insn.off = off,
            Key::Imm(imm) => insn.imm = imm,
            Key::Src(src) => insn.src = src,
        }
        insn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_row_round_trips() {
        for row in ROWS {
            let insn = row.encode(Insn { code: 0, dst: 1, src: 2, off: -3, imm: -7 });
            assert_eq!(insn.op(), Ok(row.op), "{row:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_decodes_encodes_back(slot: [u8; 8]) {
            let insn = Insn::from_le_bytes(slot);
            prop_assert_eq!(insn.to_le_bytes(), slot);
            if let Ok(op) = insn.op() {
                prop_assert_eq!(op.row().encode(insn), insn);
            }
        }

        #[test]
        fn a_slot_with_a_reserved_field_set_is_refused(
            index in 0..ROWS.len(), dst in 0u8..11, src in 0u8..11, off: i16, imm: i32,
        ) {
            let row = &ROWS[index];
            let any = Insn { code: row.code, dst, src, off, imm };
            if any.op() == Ok(row.op) {
                prop_assert_eq!(row.encode(any), any);
            }
        }
    }
}
