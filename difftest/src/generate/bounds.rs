//! Proofs: how a number is bounded, a pointer compared with null or with the packet's end;
//! right, or almost.

use skep_vm::isa::Op;

use super::Writer;
use crate::code::Label;
use crate::layout::{CALLEE_STACK, CTX, SPILLS, STACK};

impl Writer<'_> {
    /// Offset from r10 of something below the stack that the function works on.
    pub(super) fn scratch(&self, what: i16) -> i16 {
        CTX - (if self.current == 0 { STACK } else { CALLEE_STACK }) + what
    }

    /// A stack slot for a pointer that is free.
    pub(super) fn spill_slot(&self) -> Option<i16> {
        let slot = SPILLS.get(self.spilled).filter(|_| self.is_rich())?;
        Some(self.scratch(*slot))
    }

    /// `n` registers that may be written, all different.
    pub(super) fn some<const N: usize>(&mut self) -> [u8; N] {
        let mut taken = Vec::new();
        [(); N].map(|()| {
            let register = self.free_of(&taken);
            taken.push(register);
            register
        })
    }

    /// One load or store of `width` bytes at `base + off`; a load is into `number`.
    pub(super) fn touch(&mut self, base: u8, off: i16, width: i16, number: u8, stores: bool) {
        let loads: &[Op] = match width {
            1 => &[Op::LdxB, Op::LdxsB],
            2 => &[Op::LdxH, Op::LdxsH],
            4 => &[Op::LdxW, Op::LdxsW],
            _ => &[Op::LdxDw],
        };
        let (st, stx) = match width {
            1 => (Op::StB, Op::StxB),
            2 => (Op::StH, Op::StxH),
            4 => (Op::StW, Op::StxW),
            _ => (Op::StDw, Op::StxDw),
        };
        let load = *self.rng.pick(loads);
        match self.rng.below(if stores { 4 } else { 2 }) {
            2 => self.code.stx(stx, base, off, number),
            3 => {
                let imm = self.rng.imm();
                self.code.st(st, base, off, imm);
            }
            _ => self.code.ldx(load, number, base, off),
        }
    }

    /// A width of an access.
    pub(super) fn width(&mut self) -> i16 {
        *self.rng.pick(&[1, 2, 4, 8])
    }

    /// Makes `number` less than `limit`, or jumps to `out`; `limit` is at least 1. Wrong
    /// ones let more pass, and give numbers a chance to be that great.
    pub(super) fn bound(&mut self, number: u8, limit: i32, out: Label, wrong: bool) {
        if wrong {
            return self.bound_badly(number, limit, out);
        }
        let power = limit.unsigned_abs().next_power_of_two();
        let power = if power == limit.unsigned_abs() { power } else { power / 2 };
        let bits = i32::try_from(power.trailing_zeros()).expect("few");
        let mask = i32::try_from(power - 1).expect("a small limit");
        let form = self.rng.below(10);
        // Of what is compared, about half passes.
        if (2..=6).contains(&form) && !self.rng.one_in(4) {
            let op = if self.rng.one_in(2) { Op::And64Imm } else { Op::And32Imm };
            self.code.alu(op, number, (2 * limit - 1) | mask);
        }
        match form {
            0 => self.code.alu(Op::And64Imm, number, mask),
            1 => self.code.alu(Op::And32Imm, number, mask),
            2 => self.code.jump_imm(Op::Jge64Imm, number, limit, out),
            3 => self.code.jump_imm(Op::Jgt64Imm, number, limit - 1, out),
            4 => {
                let over = self.code.label();
                let op = *self.rng.pick(&[Op::Jlt64Imm, Op::Jle64Imm]);
                let limit = if op == Op::Jle64Imm { limit - 1 } else { limit };
                self.code.jump_imm(op, number, limit, over);
                self.goto(out);
                self.code.place(over);
            }
            5 => {
                self.code.jump_imm(Op::Jsge64Imm, number, limit, out);
                self.code.jump_imm(Op::Jslt64Imm, number, 0, out);
            }
            6 => {
                self.code.alu_reg(Op::Mov32Reg, number, number);
                let op = *self.rng.pick(&[Op::Jge32Imm, Op::Jge64Imm]);
                self.code.jump_imm(op, number, limit, out);
            }
            7 if bits > 0 => self.code.alu(Op::Rsh64Imm, number, 64 - bits),
            8 if self.profile.goes_wrong() => self.code.alu(Op::Mod64Imm, number, limit),
            9 if bits > 0 => self.code.alu(Op::Rsh32Imm, number, 32 - bits),
            _ => {
                // With a register, and with most numbers small.
                self.code.alu(Op::And64Imm, number, 2 * mask + 1);
                self.code.jump_imm(Op::Jgt64Imm, number, limit - 1, out);
            }
        }
    }

    fn bound_badly(&mut self, number: u8, limit: i32, out: Label) {
        let other = self.free_of(&[number]);
        match self.rng.below(11) {
            // One too many.
            0 => {
                self.code.alu(Op::And64Imm, number, 2 * limit - 1);
                self.code.jump_imm(Op::Jgt64Imm, number, limit, out);
            }
            // Negative numbers pass.
            1 => {
                self.code.alu(Op::Or64Imm, number, -16);
                self.code.jump_imm(Op::Jsge64Imm, number, limit, out);
            }
            // The upper half is not looked at.
            2 => {
                self.code.alu(Op::And64Imm, number, 7);
                self.code.mov(other, 1);
                self.code.alu(Op::Lsh64Imm, other, 32);
                self.code.alu_reg(Op::Or64Reg, number, other);
                self.code.jump_imm(Op::Jge32Imm, number, limit, out);
            }
            // Another number is compared.
            3 => self.code.jump_imm(Op::Jge64Imm, other, limit, out),
            // It changes after the comparison.
            4 => {
                self.code.alu(Op::And64Imm, number, 2 * limit - 1);
                self.code.jump_imm(Op::Jge64Imm, number, limit, out);
                let add = self.rng.between(1, 8);
                self.code.alu(Op::Add64Imm, number, add);
            }
            // Only on one way here.
            5 => {
                let over = self.code.label();
                self.jump_if(over);
                self.code.jump_imm(Op::Jge64Imm, number, limit, out);
                self.code.place(over);
            }
            // The comparison is the other way round.
            6 => self.code.jump_imm(Op::Jlt64Imm, number, limit, out),
            // A copy is bounded.
            7 => {
                self.code.alu(Op::And64Imm, number, 4 * limit - 1);
                self.code.mov_reg(other, number);
                self.code.alu(Op::And64Imm, other, limit - 1);
            }
            // Sign extension brings back what was cut.
            8 => {
                self.code.alu(Op::And64Imm, number, 255);
                self.code.jump_imm(Op::Jge64Imm, number, 256, out);
                self.code.alu_reg(Op::Movsx8to64, number, number);
                self.code.jump_imm(Op::Jsge64Imm, number, limit, out);
            }
            // The sum wraps in 32 bits.
            9 => {
                self.code.mov(number, -1);
                self.code.alu_reg(Op::Mov32Reg, other, number);
                self.code.alu(Op::Add32Imm, other, 1);
                self.code.jump_imm(Op::Jge32Imm, other, limit, out);
            }
            _ => self.code.alu(Op::And64Imm, number, 4 * limit - 1),
        }
    }

    /// Jumps to `none` when a pointer is null. Wrong ones forget it, or look elsewhere.
    pub(super) fn null_check(&mut self, pointer: u8, none: Label, wrong: bool) {
        if wrong {
            let other = self.free_of(&[pointer]);
            match self.rng.below(4) {
                0 => {}
                1 => self.code.jump_imm(Op::Jeq64Imm, other, 0, none),
                2 => self.code.jump_imm(Op::Jne64Imm, pointer, 0, none),
                // Only on one way here.
                _ => {
                    let over = self.code.label();
                    self.jump_if(over);
                    self.code.jump_imm(Op::Jeq64Imm, pointer, 0, none);
                    self.code.place(over);
                }
            }
            return;
        }
        match self.rng.below(if self.profile.goes_wrong() { 6 } else { 2 }) {
            0 => self.code.jump_imm(Op::Jeq64Imm, pointer, 0, none),
            2 => self.code.jump_imm(Op::Jeq32Imm, pointer, 0, none),
            3 => {
                let zero = self.free_of(&[pointer]);
                self.code.mov(zero, 0);
                self.code.jump_reg(Op::Jeq64Reg, pointer, zero, none);
            }
            4 => self.code.jump_imm(Op::Jlt64Imm, pointer, 1, none),
            5 => {
                let over = self.code.label();
                self.code.jump_imm(Op::Jsgt64Imm, pointer, 0, over);
                self.goto(none);
                self.code.place(over);
            }
            _ => {
                let over = self.code.label();
                self.code.jump_imm(Op::Jne64Imm, pointer, 0, over);
                self.goto(none);
                self.code.place(over);
            }
        }
    }

    /// Jumps to `out` unless `past` is not behind `end`, a packet's. Wrong ones let it be
    /// behind, or compare something else.
    pub(super) fn end_check(&mut self, past: u8, end: u8, out: Label, wrong: bool) {
        if wrong {
            let other = self.free_of(&[past, end]);
            match self.rng.below(4) {
                0 => {}
                1 => self.code.jump_reg(Op::Jgt64Reg, other, end, out),
                2 => self.code.jump_reg(Op::Jlt64Reg, past, end, out),
                _ => {
                    let over = self.code.label();
                    self.jump_if(over);
                    self.code.jump_reg(Op::Jgt64Reg, past, end, out);
                    self.code.place(over);
                }
            }
            return;
        }
        match self.rng.below(8) {
            0 => self.code.jump_reg(Op::Jgt64Reg, past, end, out),
            1 => self.code.jump_reg(Op::Jlt64Reg, end, past, out),
            2 => self.code.jump_reg(Op::Jge64Reg, past, end, out),
            3 => self.code.jump_reg(Op::Jle64Reg, end, past, out),
            form => {
                let over = self.code.label();
                match form {
                    4 => self.code.jump_reg(Op::Jle64Reg, past, end, over),
                    5 => self.code.jump_reg(Op::Jge64Reg, end, past, over),
                    6 => self.code.jump_reg(Op::Jlt64Reg, past, end, over),
                    _ => self.code.jump_reg(Op::Jgt64Reg, end, past, over),
                }
                self.goto(out);
                self.code.place(over);
            }
        }
    }
}
