//! What no verifier takes, but every engine must agree about; and text.

use skep_maps::MapType;
use skep_maps::flags::BPF_F_RDONLY_PROG;
use skep_vm::isa::Op;

use crate::generate::{Place, Writer};
use crate::layout::{VALUE, VALUE_LEN};

const PROBE_READS: [i32; 6] = [4, 45, 112, 113, 114, 115];
const TRACE_PRINTK: i32 = 6;
const TRACE_VPRINTK: i32 = 177;
const STRTOL: i32 = 105;
const STRTOUL: i32 = 106;
const SNPRINTF: i32 = 165;
const STRNCMP: i32 = 182;

impl Writer<'_> {
    /// A pointer to something, and where in it the first byte is.
    fn some_pointer(&mut self, base: u8) -> i16 {
        let places = self.places();
        let place = *self.rng.pick(&places);
        self.point(place, base).first
    }

    /// A pointer that is moved far away and back before it is used; wrong when it does not
    /// come back to where it was.
    pub(super) fn there_and_back(&mut self, wrong: bool) -> bool {
        let base = self.free();
        let first = self.some_pointer(base);
        let [number, far] = self.some_but(base);
        let off = if wrong { *self.rng.pick(&[1 << 10, -1, 1 << 30, 512, i32::MIN]) } else { 0 };
        match self.rng.below(6) {
            0 => {
                let imm = self.rng.imm();
                self.code.alu(Op::Add64Imm, base, imm);
                self.code.alu(Op::Sub64Imm, base, imm);
            }
            1 => {
                let value = self.rng.value();
                self.code.lddw(far, value);
                self.code.alu_reg(Op::Add64Reg, base, far);
                self.code.alu_reg(Op::Sub64Reg, base, far);
            }
            2 => {
                self.code.alu_reg(Op::Xor64Reg, base, number);
                self.code.alu_reg(Op::Xor64Reg, base, number);
            }
            3 => {
                let op = *self.rng.pick(&[Op::Neg64, Op::Swap64, Op::Be64]);
                for _ in 0..2 {
                    self.code.push(op, crate::code::Fields { dst: base, ..Default::default() });
                }
            }
            4 => {
                // A multiple of what addresses wrap at.
                self.code.mov(far, 1);
                self.code.alu(Op::Lsh64Imm, far, 32);
                self.code.alu_reg(Op::Add64Reg, base, far);
                if !wrong {
                    self.code.alu_reg(Op::Sub64Reg, base, far);
                }
            }
            _ => {
                self.code.alu(Op::Lsh64Imm, base, 8);
                self.code.alu(Op::Rsh64Imm, base, 8);
            }
        }
        self.code.alu(Op::Add64Imm, base, off);
        let width = self.width();
        self.touch(base, first, width, number, true);
        self.settle(base);
        true
    }

    /// 32-bit operations on pointers, which have no more bits; wrong when the sum has.
    pub(super) fn narrow_pointer(&mut self, wrong: bool) -> bool {
        let base = self.free();
        let first = self.some_pointer(base);
        let [number] = self.some_but(base);
        match self.rng.below(3) {
            0 => self.code.alu_reg(Op::Mov32Reg, base, base),
            1 => self.code.alu(Op::Add32Imm, base, 0),
            _ => {
                self.code.alu(Op::Add32Imm, base, -64);
                self.code.alu(Op::Add32Imm, base, 64);
            }
        }
        if wrong {
            match self.rng.below(4) {
                0 => self.code.alu_reg(Op::Movsx32to64, base, base),
                1 => self.code.alu_reg(Op::Movsx16to64, base, base),
                2 => self.code.alu(Op::Or64Imm, base, i32::MIN),
                _ => self.code.alu(Op::Add64Imm, base, -(1 << 30)),
            }
        }
        let width = self.width();
        self.touch(base, first, width, number, true);
        self.settle(base);
        true
    }

    /// A pointer is compared, subtracted and stored as the number that it is; wrong when a
    /// number is taken for a pointer.
    pub(super) fn pointer_as_number(&mut self, wrong: bool) -> bool {
        let base = self.free();
        let first = self.some_pointer(base);
        let [number, other] = self.some_but(base);
        if wrong {
            self.touch(number, first, 8, other, true);
        } else {
            self.code.mov_reg(other, base);
            self.code.alu_reg(Op::Sub64Reg, other, 10);
            let over = self.code.label();
            self.code.jump_reg(Op::Jgt64Reg, base, 10, over);
            self.code.alu_reg(Op::Xor64Reg, other, base);
            self.code.place(over);
            self.code.alu_reg(Op::Add64Reg, other, base);
            self.code.alu(Op::Mod64Imm, other, 64);
            let (width, op) = *self.rng.pick(&[(1, Op::StxB), (8, Op::StxDw)]);
            if self.rng.one_in(2) {
                self.code.stx(op, base, first, base);
            }
            self.touch(base, first, width, number, false);
        }
        self.settle(base);
        true
    }

    /// A null pointer with an offset; wrong when it is used, which faults near address 0.
    pub(super) fn near_null(&mut self, wrong: bool) -> bool {
        let [base, number] = self.some();
        let off = *self.rng.pick(&[0, 8, -8, 4096, 32767, -32768]);
        let width = self.width();
        self.code.mov(base, 0);
        if wrong {
            self.touch(base, off, width, number, true);
        } else {
            // It is compared, as it often is, after an offset was added.
            let over = self.code.label();
            self.code.alu(Op::Add64Imm, base, i32::from(off));
            self.code.jump_imm(Op::Jeq64Imm, base, i32::from(off), over);
            self.touch(base, 0, width, number, true);
            self.code.place(over);
        }
        self.settle(base);
        true
    }

    /// What is in registers that hold nothing: after a call, in a new function.
    pub(super) fn unwritten(&mut self, _wrong: bool) -> bool {
        self.code.call(8);
        let number = self.free_of(&[1, 2, 3, 4, 5]);
        for register in 1..=5 {
            if self.rng.one_in(2) {
                self.code.alu_reg(Op::Xor64Reg, number, register);
                self.code.alu(Op::Mul64Imm, number, 3);
            }
        }
        let over = self.code.label();
        let op = *self.rng.pick(&[Op::Jslt64Imm, Op::Jeq32Imm, Op::Jset64Imm]);
        self.code.jump_imm(op, 3, 0x10, over);
        self.arithmetic();
        self.code.place(over);
        true
    }

    /// A loop that only a limit ends; the right one ends by itself after some time.
    pub(super) fn endless(&mut self, wrong: bool) -> bool {
        if self.depth > 1 || !self.rng.one_in(4) {
            return false;
        }
        let number = self.free();
        self.code.mov(number, if wrong { 0 } else { 300 });
        let top = self.code.here();
        match self.rng.below(3) {
            0 => self.code.alu(Op::Sub64Imm, number, if wrong { 0 } else { 1 }),
            1 => self.code.alu(Op::Sub32Imm, number, if wrong { 0 } else { 2 }),
            _ => {
                let at = self.scratch(VALUE);
                self.code.store(10, at, number);
                self.code.load(number, 10, at);
                self.code.alu(Op::Add64Imm, number, if wrong { 0 } else { -1 });
            }
        }
        let op = if wrong { Op::Jeq64Imm } else { Op::Jne64Imm };
        self.code.jump_imm(op, number, 0, top);
        true
    }

    /// Stores to neighbouring places, of which, when wrong, one is out of reach: those before
    /// it have happened, those behind it not.
    pub(super) fn effects_first(&mut self, wrong: bool) -> bool {
        let base = self.free();
        let (first, len) = if self.prog_type.is_some() {
            let area = self.point(Place::Memory, base);
            (area.first, 464)
        } else {
            let area = self.point(Place::Stack, base);
            (area.first, -area.first)
        };
        let start = if wrong { len - 24 } else { 0 };
        let down = self.rng.one_in(3);
        for step in 0..4 {
            let step = if down { 3 - step } else { step };
            let imm = self.rng.imm();
            match self.rng.below(3) {
                0 => self.code.st(Op::StDw, base, first + start + 8 * step, imm),
                1 => {
                    let number = self.free_of(&[base]);
                    self.code.stx(Op::AtomicAdd64, base, first + start + 8 * step, number);
                }
                _ => self.code.st(Op::StW, base, first + start + 8 * step + 4, imm),
            }
        }
        self.settle(base);
        true
    }

    /// Memory that may not be there, read by a helper.
    pub(super) fn probe_read(&mut self, wrong: bool) -> bool {
        self.value();
        let helper = *self.rng.pick(&PROBE_READS);
        let first = self.some_pointer(3);
        let off = *self.rng.pick(&[0, 1, 500]);
        self.code.alu(Op::Add64Imm, 3, i32::from(first) + off);
        if self.rng.one_in(3) {
            let value = self.rng.value();
            self.code.lddw(3, value);
        }
        self.point_to_value(1);
        let len = self.rng.between(0, VALUE_LEN.into());
        self.code.mov(2, if wrong { -i32::from(self.scratch(VALUE)) + 1 } else { len });
        self.code.call(helper);
        self.after_call();
        true
    }

    /// The read-only map with formats and numbers.
    fn texts(&mut self) -> Option<usize> {
        let maps = self.plan.maps_of(&[MapType::Array]).into_iter();
        let mut maps = maps.filter(|&map| self.plan.maps[map].def.flags & BPF_F_RDONLY_PROG != 0);
        maps.next()
    }

    /// A line is printed; wrong when the format is not all memory.
    pub(super) fn printk(&mut self, wrong: bool) -> bool {
        let Some(map) = self.texts() else { return false };
        self.value();
        let from = u32::try_from(*self.rng.pick(&[0, 12, 21, 6])).expect("small");
        self.code.direct_value(1, map, from);
        let len = 64 - i32::try_from(from).expect("small") + i32::from(wrong);
        self.code.mov(2, len);
        if self.rng.one_in(2) {
            for register in 3..=5 {
                self.settle(register);
            }
            self.code.call(TRACE_PRINTK);
        } else {
            self.point_to_value(3);
            let args = *self.rng.pick(&[0, 8, 16, 16, 24, 7]);
            self.code.mov(4, args);
            self.code.call(TRACE_VPRINTK);
        }
        self.after_call();
        true
    }

    /// Numbers in text, comparisons of text, formats.
    pub(super) fn text_helpers(&mut self, wrong: bool) -> bool {
        let Some(map) = self.texts() else { return false };
        self.value();
        let kind = self.rng.below(3);
        let from = *self.rng.pick(&[0, 6, 7, 12, 17, 30]);
        match kind {
            0 => {
                let base = *self.rng.pick(&[0, 8, 10, 16, 7]);
                self.code.direct_value(1, map, from);
                let len = self.rng.between(1, 20);
                self.code.mov(2, if wrong { 65 } else { len });
                self.code.mov(3, base);
                self.point_to_value(4);
                let helper = *self.rng.pick(&[STRTOL, STRTOUL]);
                self.code.call(helper);
            }
            1 => {
                self.point_to_value(1);
                let len = self.rng.between(1, VALUE_LEN.into());
                self.code.mov(2, if wrong { -i32::from(self.scratch(VALUE)) + 1 } else { len });
                self.code.direct_value(3, map, from);
                self.code.call(STRNCMP);
            }
            _ => {
                let out = i32::from(VALUE_LEN) - 16;
                self.point_to_value(1);
                self.code.mov(2, if wrong { -i32::from(self.scratch(VALUE)) + 1 } else { out });
                self.code.direct_value(3, map, 0);
                self.point_to_value(4);
                self.code.alu(Op::Add64Imm, 4, 16);
                self.code.mov(5, 16);
                self.code.call(SNPRINTF);
            }
        }
        self.after_call();
        let number = self.free();
        let at = self.scratch(VALUE);
        self.code.load(number, 10, at);
        true
    }
}
