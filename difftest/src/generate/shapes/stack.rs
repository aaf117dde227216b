//! The stack.

use skep_vm::isa::Op;

use crate::code::Fields;
use crate::generate::{Place, Writer};
use crate::layout::{CTX, KEY, SPARE, VALUE};

impl Writer<'_> {
    /// An element of an array on the stack.
    pub(super) fn stack_index(&mut self, wrong: bool) -> bool {
        let (len, width) = (self.stack_len(), self.width());
        let [base, number, value] = self.some();
        let out = self.code.label();
        self.bound(number, i32::from(len / width), out, wrong);
        let shift = i32::try_from(width.trailing_zeros()).expect("few");
        if shift > 0 {
            self.code.alu(Op::Lsh64Imm, number, shift);
        }
        self.code.mov_reg(base, 10);
        if self.rng.one_in(2) {
            self.code.alu(Op::Add64Imm, base, i32::from(CTX - len));
            self.code.alu_reg(Op::Add64Reg, base, number);
            self.touch(base, 0, width, value, true);
        } else {
            self.code.alu_reg(Op::Add64Reg, base, number);
            self.touch(base, CTX - len, width, value, true);
        }
        self.code.place(out);
        self.settle(base);
        true
    }

    /// A pointer that is kept in a stack slot; wrong when part of the slot is overwritten.
    pub(super) fn spill_refill(&mut self, wrong: bool) -> bool {
        let Some(slot) = self.spill_slot() else { return false };
        let base = self.free();
        let place = if self.prog_type.is_some() && self.rng.one_in(2) {
            Place::Memory
        } else {
            Place::Stack
        };
        let area = self.point(place, base);
        self.code.store(10, slot, base);
        self.settle(base);
        self.spilled += 1;
        self.block();
        self.spilled -= 1;
        let [again, value] = self.some();
        if wrong {
            let (op, width) = *self.rng.pick(&[(Op::StB, 1i16), (Op::StH, 2), (Op::StW, 4)]);
            let part = width
                * i16::try_from(self.rng.below(8 / u64::from(width.unsigned_abs())))
                    .expect("below 8");
            let imm = self.rng.imm();
            match self.rng.below(3) {
                // The whole of it, moved.
                0 => {
                    self.code.load(again, 10, slot);
                    let imm = *self.rng.pick(&[-600, 600, 1 << 20, -1]);
                    self.code.alu(Op::Add64Imm, again, imm);
                    self.code.store(10, slot, again);
                }
                // By an atomic operation.
                1 => {
                    self.code.mov(again, imm | 1 << 28);
                    let op = *self.rng.pick(&[Op::AtomicAdd32, Op::AtomicXor64, Op::AtomicOr32]);
                    self.code.stx(op, 10, slot, again);
                }
                _ => self.code.st(op, 10, slot + part, imm),
            }
        }
        self.code.load(again, 10, slot);
        let width = self.width();
        self.touch(again, area.first, width, value, true);
        self.settle(again);
        true
    }

    /// A slot that is written in parts and read whole, or the other way round; wrong when a
    /// part was never written.
    pub(super) fn slot_in_parts(&mut self, wrong: bool) -> bool {
        let slot = if wrong { CTX - 400 } else { self.scratch(KEY) };
        let number = self.free();
        let parts: &[(Op, i16)] = match self.rng.below(4) {
            0 => &[(Op::StW, 0), (Op::StW, 4)],
            1 => &[(Op::StH, 2), (Op::StB, 1), (Op::StW, 4), (Op::StB, 0)],
            2 => &[(Op::StDw, 0), (Op::StB, 3)],
            _ => &[(Op::StDw, 0), (Op::StH, 6), (Op::StW, 0)],
        };
        for (index, &(op, at)) in parts.iter().enumerate() {
            if !(wrong && index == 0) {
                let imm = self.rng.imm();
                self.code.st(op, 10, slot + at, imm);
            }
        }
        match self.rng.below(4) {
            0 => {
                self.code.ldx(Op::LdxH, number, 10, slot + 2);
                self.code.ldx(Op::LdxsB, number, 10, slot + 7);
            }
            1 => self.code.ldx(Op::LdxsW, number, 10, slot + 4),
            _ => self.code.load(number, 10, slot),
        }
        true
    }

    /// The first and last bytes of a frame, or those next to them.
    pub(super) fn frame_edges(&mut self, wrong: bool) -> bool {
        let (width, number) = (self.width(), self.free());
        let off = match (wrong, self.rng.one_in(2)) {
            (false, true) => -512,
            (false, false) => SPARE,
            (true, true) => *self.rng.pick(&[-513, -512 - width, -600, -1024, -32768]),
            (true, false) => *self.rng.pick(&[1 - width, 0, 8, 512, 32767]),
        };
        if off == 1 - width && width == 1 {
            return false;
        }
        self.touch(10, off, width, number, off != SPARE);
        true
    }

    /// A callee gets the address of a slot that holds a pointer or an index that was bounded,
    /// and may write it. Wrong when it does.
    pub(super) fn callee_clobbers(&mut self, wrong: bool) -> bool {
        let Some(slot) = self.spill_slot() else { return false };
        let callee = self.code.label();
        let [number, base] = self.some();
        let out = self.code.label();
        let index = self.rng.one_in(2);
        if index {
            self.bound(number, 16, out, false);
            self.code.store(10, slot, number);
        } else {
            self.code.mov_reg(base, 10);
            self.code.alu(Op::Add64Imm, base, i32::from(self.scratch(VALUE)));
            self.code.store(10, slot, base);
        }
        self.code.mov_reg(1, 10);
        self.code.alu(Op::Add64Imm, 1, i32::from(slot));
        self.code.jump(Op::CallLocal, Fields::default(), callee);
        self.after_call();
        self.code.place(out);
        let [base, number] = self.some();
        self.code.load(number, 10, slot);
        if index {
            self.code.mov_reg(base, 10);
            self.code.alu_reg(Op::Add64Reg, base, number);
            self.touch(base, self.scratch(VALUE), 1, number, true);
        } else {
            self.touch(number, 0, 8, base, true);
        }
        self.settle(base);
        self.settle(number);
        self.later.push((callee, wrong));
        true
    }

    /// The callees of such places.
    pub(in crate::generate) fn clobbering_callees(&mut self) {
        for (callee, writes) in std::mem::take(&mut self.later) {
            self.code.place(callee);
            if writes {
                let imm = self.rng.imm();
                let op = *self.rng.pick(&[Op::StB, Op::StH, Op::StW, Op::StDw]);
                let off = *self.rng.pick(&[0, 0, 1, 4]);
                self.code.st(op, 1, off, imm);
            } else {
                self.code.load(0, 1, 0);
            }
            self.code.mov(0, 0);
            self.code.exit();
        }
    }
}
