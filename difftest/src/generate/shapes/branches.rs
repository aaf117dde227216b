//! Control flow that invites an optimiser: to hoist a check, to thread a jump, to make a
//! branch a selection, to fold constants.

use skep_vm::isa::{Op, Shape};

use crate::code::rows;
use crate::generate::{Place, Writer};
use crate::layout::CTX;

impl Writer<'_> {
    /// A loop in which an access is guarded: that of the last turns would be out of bounds
    /// if it took place. Wrong when the guard is off.
    pub(super) fn guarded_access(&mut self, wrong: bool) -> bool {
        let Some(counter) = self.keep() else { return false };
        let (limit, width) = (16, *self.rng.pick(&[1, 2, 4, 8]));
        let first = self.rng.between(-2, 0) * i32::from(width);
        let [inner, number] = self.some();
        // An array of 16 bytes in the frame.
        let array = CTX - 16;
        self.code.mov(counter, first);
        let top = self.code.here();
        let (skip, over) = (self.code.label(), self.code.label());
        self.code.jump_imm(Op::Jsge64Imm, counter, limit + 8, over);
        let bound = limit - i32::from(width) + if wrong { 32 } else { 0 };
        if self.rng.one_in(2) {
            self.code.jump_imm(Op::Jgt64Imm, counter, bound, skip);
        } else {
            self.code.jump_imm(Op::Jsgt64Imm, counter, bound, skip);
            self.code.jump_imm(Op::Jslt64Imm, counter, 0, skip);
        }
        self.code.mov_reg(inner, 10);
        self.code.alu_reg(Op::Add64Reg, inner, counter);
        self.touch(inner, array, width, number, true);
        self.settle(inner);
        self.code.place(skip);
        self.code.alu(Op::Add64Imm, counter, i32::from(width));
        self.goto(top);
        self.code.place(over);
        self.settle(inner);
        self.unlock(counter);
        true
    }

    /// A pointer that is moved from the first byte of something to its last. Wrong when it
    /// goes too far.
    pub(super) fn pointer_loop(&mut self, wrong: bool) -> bool {
        let Some(counter) = self.keep() else { return false };
        let typed = self.prog_type.is_some();
        let place = if typed && self.rng.one_in(2) { Place::Memory } else { Place::Stack };
        let base = self.free();
        let area = self.point(place, base);
        self.lock_pointer(base);
        let width = *self.rng.pick(&[4, 8]);
        let len = i32::from(if place == Place::Stack { self.stack_len() } else { 64 });
        let turns = (len / i32::from(width)).min(8);
        let [number, end] = self.some();
        let down = self.rng.one_in(3);
        let step = if down { -i32::from(width) } else { i32::from(width) };
        let start = i32::from(area.first) + if down { step * (1 - turns) } else { 0 };
        let far = if wrong { if place == Place::Stack { 300 } else { 200 } } else { turns };
        self.code.alu(Op::Add64Imm, base, start);
        match self.rng.below(3) {
            0 if self.profile.goes_wrong() => {
                // Until it meets another pointer.
                self.code.mov_reg(end, base);
                self.code.alu(Op::Add64Imm, end, step * far);
                let top = self.code.here();
                self.touch(base, 0, width, number, true);
                self.code.alu(Op::Add64Imm, base, step);
                let op = *self.rng.pick(&[Op::Jne64Reg, Op::Jne32Reg]);
                self.code.jump_reg(op, base, end, top);
                self.settle(end);
            }
            1 => {
                self.code.mov(counter, 0);
                let top = self.code.here();
                self.touch(base, 0, width, number, true);
                self.code.alu(Op::Add64Imm, base, step);
                self.code.alu(Op::Add32Imm, counter, 1);
                let op = *self.rng.pick(&[Op::Jlt32Imm, Op::Jslt64Imm, Op::Jne64Imm]);
                self.code.jump_imm(op, counter, far, top);
            }
            _ => {
                self.code.mov(counter, far);
                let (top, over) = (self.code.here(), self.code.label());
                self.code.jump_imm(Op::Jeq64Imm, counter, 0, over);
                self.code.alu(Op::Sub64Imm, counter, 1);
                self.touch(base, 0, width, number, true);
                self.code.alu(Op::Add64Imm, base, step);
                self.goto(top);
                self.code.place(over);
            }
        }
        self.forget(base);
        self.settle(base);
        self.unlock(counter);
        true
    }

    /// Comparisons of one number, one after the other, of which some decide others.
    pub(super) fn correlated(&mut self, _wrong: bool) -> bool {
        let (number, imm) = if self.rng.one_in(2) {
            (self.any(), self.rng.between(-2, 9))
        } else {
            self.number_in_halves()
        };
        for _ in 0..self.rng.between(2, 4) {
            let rows = rows(Shape::JumpImm);
            let row = *self.rng.pick(&rows);
            let over = self.code.label();
            let near = imm.saturating_add(self.rng.between(-1, 1));
            self.code.jump_imm(row.op, number, near, over);
            if self.rng.one_in(3) {
                self.branch();
            } else {
                self.arithmetic();
            }
            self.code.place(over);
        }
        true
    }

    /// A number from memory whose lower half is one that comparisons have, as it is or
    /// sign-extended, with anything in its upper half.
    pub(in crate::generate) fn number_in_halves(&mut self) -> (u8, i32) {
        let (low, number) = (self.rng.imm(), self.free());
        let high = *self.rng.pick(&[0, 1, -1, i32::MIN, i32::MAX]);
        let slot = CTX - 8 - 8 * i16::try_from(self.rng.below(2)).expect("small");
        self.code.st(Op::StW, 10, slot, low);
        self.code.st(Op::StW, 10, slot + 4, high);
        self.code.load(number, 10, slot);
        (number, low)
    }

    /// A branch that goes one way always; what is on the other would go wrong.
    pub(super) fn constant_branch(&mut self, _wrong: bool) -> bool {
        let [number, other] = self.some();
        let value = self.rng.imm();
        let over = self.code.label();
        self.code.mov(number, value);
        match self.rng.below(5) {
            0 => self.code.jump_imm(Op::Jeq64Imm, number, value, over),
            1 => {
                self.code.mov_reg(other, number);
                self.code.jump_reg(Op::Jeq64Reg, number, other, over);
            }
            2 => {
                self.code.alu(Op::And64Imm, number, 0xff);
                self.code.jump_imm(Op::Jle64Imm, number, 0xff, over);
            }
            3 => {
                self.code.alu(Op::Mov32Imm, number, value);
                self.code.alu(Op::Rsh64Imm, number, 32);
                self.code.jump_imm(Op::Jeq64Imm, number, 0, over);
            }
            _ => {
                self.code.alu(Op::Or64Imm, number, 4);
                self.code.jump_imm(Op::Jset64Imm, number, 4, over);
            }
        }
        // Nobody gets here.
        self.code.mov(number, 0);
        self.touch(number, 0, 8, other, true);
        self.code.place(over);
        true
    }

    /// Both sides of a branch end in a store, or one of them does: to different places, or of
    /// different numbers. Wrong when one of them is out of reach and taken.
    pub(super) fn diamond(&mut self, wrong: bool) -> bool {
        let place = if self.prog_type.is_some() { Place::Memory } else { Place::Stack };
        let base = self.free();
        let area = self.point(place, base);
        self.lock_pointer(base);
        let [a, b] = self.some();
        let (other, over) = (self.code.label(), self.code.label());
        let far = if wrong { *self.rng.pick(&[4096, -4096, 464]) } else { 16 };
        let width = self.width();
        self.jump_if(other);
        self.touch(base, area.first + 8, width, a, true);
        if !self.rng.one_in(3) {
            self.goto(over);
        }
        self.code.place(other);
        if self.rng.one_in(2) {
            self.touch(base, area.first + far, width, b, true);
        } else {
            self.code.mov_reg(a, b);
        }
        self.code.place(over);
        if self.rng.one_in(2) {
            let slot = 8 * i16::try_from(self.rng.below(3)).expect("small");
            self.code.store(base, area.first + slot, a);
        }
        self.forget(base);
        self.settle(base);
        true
    }

    /// A number decides among several ways, as a `switch` does.
    pub(super) fn switch(&mut self, _wrong: bool) -> bool {
        let number = self.free();
        let ways = self.rng.between(3, 5);
        self.code.alu(Op::And64Imm, number, 7);
        let over = self.code.label();
        let labels: Vec<_> = (0..ways).map(|_| self.code.label()).collect();
        for (way, &label) in (0..).zip(&labels) {
            let op = if self.rng.one_in(2) { Op::Jeq64Imm } else { Op::Jeq32Imm };
            self.code.jump_imm(op, number, way, label);
        }
        self.goto(over);
        for label in labels {
            self.code.place(label);
            self.arithmetic();
            if self.rng.one_in(2) {
                self.access();
            }
            if !self.rng.one_in(4) {
                self.goto(over);
            }
        }
        self.code.place(over);
        true
    }

    /// Operations on numbers that are known: they may be computed before.
    pub(super) fn constants(&mut self, _wrong: bool) -> bool {
        let [a, b] = self.some();
        self.settle(a);
        self.settle(b);
        let mut shapes = rows(Shape::AluReg);
        shapes.extend(rows(Shape::Movsx));
        shapes.extend(rows(Shape::Unary));
        for _ in 0..self.rng.between(2, 6) {
            let row = *self.rng.pick(&shapes);
            let (dst, src) = if self.rng.one_in(2) { (a, b) } else { (b, a) };
            let src = if self.rng.one_in(6) { dst } else { src };
            let fields = crate::code::Fields { dst, src, ..Default::default() };
            self.code.push_row(row, fields);
        }
        self.access();
        true
    }
}
