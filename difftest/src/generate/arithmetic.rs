//! Statements without memory.

use skep_vm::isa::{Op, Row, Shape};

use super::Writer;
use crate::code::{Fields, rows};

impl Writer<'_> {
    /// One operation on registers.
    pub(super) fn arithmetic(&mut self) {
        let shape = *self.rng.pick(&[
            Shape::AluImm,
            Shape::AluImm,
            Shape::AluReg,
            Shape::AluReg,
            Shape::AluReg,
            Shape::Unary,
            Shape::Movsx,
        ]);
        let rows = rows(shape).into_iter().filter(|row| self.profile.has(row));
        let rows: Vec<&Row> = rows.collect();
        if rows.is_empty() {
            return self.constant();
        }
        let row = *self.rng.pick(&rows);
        let (dst, src) = (self.free(), self.any());
        let imm = self.operand(row);
        self.code.push_row(row, Fields { dst, src, off: 0, imm });
    }

    /// An immediate that the verifier accepts for an operation.
    fn operand(&mut self, row: &Row) -> i32 {
        let width = if row.narrow { 32 } else { 64 };
        let name = row.mnemonic.trim_end_matches("32");
        match name {
            "lsh" | "rsh" | "arsh" => {
                let any = self.rng.between(0, width - 1);
                *self.rng.pick(&[0, 1, width / 2, width - 1, any])
            }
            "div" | "sdiv" | "mod" | "smod" => match self.rng.imm() {
                0 => 1,
                imm => imm,
            },
            _ => self.rng.imm(),
        }
    }

    /// A register gets a constant.
    pub(super) fn constant(&mut self) {
        let dst = self.free();
        self.settle(dst);
    }

    /// Makes a register a number again.
    pub(super) fn settle(&mut self, dst: u8) {
        match self.rng.below(3) {
            0 => {
                let imm = self.rng.imm();
                self.code.push(Op::Mov32Imm, Fields { dst, imm, ..Fields::default() });
            }
            1 => {
                let imm = self.rng.imm();
                self.code.mov(dst, imm);
            }
            _ => {
                let value = self.rng.value();
                self.code.lddw(dst, value);
            }
        }
    }
}
