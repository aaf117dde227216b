//! Branches, loops and calls.

use skep_vm::isa::{Op, Shape};

use super::Writer;
use crate::code::{Fields, Label, rows};

/// The most blocks in one another.
const DEEPEST: u32 = 3;

impl Writer<'_> {
    /// `if (…) { … } else { … }`, or something simpler.
    pub(super) fn branch(&mut self) {
        if self.depth >= DEEPEST {
            return self.arithmetic();
        }
        match self.rng.below(8) {
            0 if self.may_leave() => {
                let end = self.end;
                self.jump_if(end);
            }
            1 if self.profile.has(Op::MayGoto.row()) => {
                let over = self.code.label();
                self.code.jump(Op::MayGoto, Fields::default(), over);
                self.block();
                self.code.place(over);
            }
            2..=4 => {
                let over = self.code.label();
                self.jump_if(over);
                self.block();
                self.code.place(over);
            }
            _ => {
                let (other, over) = (self.code.label(), self.code.label());
                self.jump_if(other);
                self.block();
                self.goto(over);
                self.code.place(other);
                self.block();
                self.code.place(over);
            }
        }
    }

    /// Whether the function's end may be jumped to: no pointer would be left behind.
    pub(super) fn may_leave(&self) -> bool {
        self.pointers.is_empty() && self.owed == 0
    }

    pub(super) fn jump_if(&mut self, target: Label) {
        let mut rows = rows(Shape::JumpImm);
        if self.profile.has_shapes() && self.rng.one_in(3) {
            let (number, low) = self.number_in_halves();
            let row = *self.rng.pick(&rows);
            let near = low.saturating_add(*self.rng.pick(&[0, 0, 1, -1]));
            return self.code.jump_imm(row.op, number, near, target);
        }
        rows.extend(crate::code::rows(Shape::JumpReg));
        loop {
            let row = *self.rng.pick(&rows);
            let (dst, src, imm) = (self.any(), self.any(), self.rng.imm());
            if row.shape == Shape::JumpReg || self.profile.has_immediate(row, imm) {
                self.code.jump(row.op, Fields { dst, src, off: 0, imm }, target);
                return;
            }
        }
    }

    pub(super) fn goto(&mut self, target: Label) {
        let long = self.profile.has(Op::Ja32.row()) && self.rng.one_in(2);
        let op = if long { Op::Ja32 } else { Op::Ja };
        self.code.jump(op, Fields::default(), target);
    }

    pub(super) fn block(&mut self) {
        self.depth += 1;
        for _ in 0..self.rng.between(1, 4) {
            self.statement();
        }
        self.depth -= 1;
    }
}
