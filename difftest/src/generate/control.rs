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
            0 => {
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

    fn jump_if(&mut self, target: Label) {
        let mut rows = rows(Shape::JumpImm);
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

    fn goto(&mut self, target: Label) {
        let long = self.profile.has(Op::Ja32.row()) && self.rng.one_in(2);
        let op = if long { Op::Ja32 } else { Op::Ja };
        self.code.jump(op, Fields::default(), target);
    }

    fn block(&mut self) {
        self.depth += 1;
        for _ in 0..self.rng.between(1, 4) {
            self.statement();
        }
        self.depth -= 1;
    }

    /// A loop of a few turns.
    pub(super) fn repeat(&mut self) {
        let free = [6, 7, 8, 9].into_iter().filter(|r| !self.locked.contains(r));
        let free: Vec<u8> = free.collect();
        let counter = *self.rng.pick(&free);
        let fields = |imm| Fields { dst: counter, imm, ..Fields::default() };
        self.locked.push(counter);
        self.depth += 1;
        let turns = self.rng.between(1, 5);
        match self.rng.below(3) {
            0 => {
                self.code.mov(counter, turns);
                let top = self.code.here();
                self.block();
                let (add, jump) = if self.rng.one_in(2) {
                    (Op::Add64Imm, Op::Jne64Imm)
                } else {
                    (Op::Add32Imm, Op::Jne32Imm)
                };
                self.code.push(add, fields(-1));
                self.code.jump(jump, fields(0), top);
            }
            1 => {
                self.code.mov(counter, 0);
                let top = self.code.here();
                self.block();
                self.code.push(Op::Add64Imm, fields(1));
                let jumps = [Op::Jlt64Imm, Op::Jslt64Imm, Op::Jlt32Imm, Op::Jslt32Imm];
                let jump = *self.rng.pick(&jumps);
                self.code.jump(jump, fields(turns), top);
            }
            _ => {
                // How many turns there are is not known before.
                self.code.push(Op::And64Imm, fields(3));
                let (top, over) = (self.code.here(), self.code.label());
                self.code.jump(Op::Jeq64Imm, fields(0), over);
                self.block();
                self.code.push(Op::Sub64Imm, fields(1));
                self.goto(top);
                self.code.place(over);
            }
        }
        self.depth -= 1;
        self.locked.retain(|&r| r != counter);
    }

    /// Calls a function and makes r1 to r5 numbers again.
    pub(super) fn call(&mut self, callee: usize) {
        if self.functions[callee].takes_memory {
            self.point_for_callee();
        }
        let start = self.functions[callee].start;
        self.code.jump(Op::CallLocal, Fields::default(), start);
        for register in 1..=5 {
            if self.rng.one_in(2) {
                self.settle(register);
            } else {
                let from = *self.rng.pick(&[0, 6, 7, 8, 9]);
                self.code.mov_reg(register, from);
            }
        }
    }
}
