//! Packets: pointers that are compared with the packet's end.

use skep_vm::isa::Op;

use crate::code::Label;
use crate::generate::{Writer, field, has_packet};
use crate::layout::CTX;

impl Writer<'_> {
    /// Makes two registers the packet's start and end, if there is a packet; all three are
    /// locked, the third is free to use.
    pub(super) fn ends(&mut self) -> Option<[u8; 3]> {
        let prog_type = self.prog_type.filter(|t| has_packet(t))?;
        if !self.has_ctx() {
            return None;
        }
        let [data, end, past] = self.some();
        self.code.load(end, 10, CTX);
        self.code.ldx(Op::LdxW, data, end, field(prog_type, "data"));
        self.code.ldx(Op::LdxW, end, end, field(prog_type, "data_end"));
        for register in [data, end, past] {
            self.lock_pointer(register);
        }
        Some([data, end, past])
    }

    /// Makes registers numbers, and free.
    pub(super) fn release(&mut self, registers: &[u8]) {
        for &register in registers {
            self.forget(register);
        }
        for &register in registers {
            self.settle(register);
        }
    }

    /// Some bytes at constant offsets.
    pub(super) fn packet_access(&mut self, wrong: bool) -> bool {
        let Some([data, end, past]) = self.ends() else { return false };
        let out = self.code.label();
        let len = *self.rng.pick(&[1, 2, 14, 20, 34, 54, 64, 72]);
        let kind = if wrong { self.rng.below(3) } else { 3 };
        self.code.mov_reg(past, data);
        self.code.alu(Op::Add64Imm, past, i32::from(len));
        self.end_check(past, end, out, kind == 0);
        match kind {
            1 => {
                // Behind what was compared.
                let [number] = self.some();
                let width = self.width();
                self.touch(data, len - width + 1, width, number, true);
                self.touch(data, 96, width, number, true);
            }
            2 => {
                // From the wrong register.
                let [number] = self.some();
                let width = self.width();
                let base = *self.rng.pick(&[past, end]);
                self.touch(base, 0, width, number, true);
            }
            _ => self.packet_touches(data, past, len),
        }
        self.code.place(out);
        self.release(&[data, end, past]);
        true
    }

    fn packet_touches(&mut self, data: u8, past: u8, len: i16) {
        for _ in 0..=self.rng.below(2) {
            let [number] = self.some();
            let widths: &[i16] = if len < 8 { &[1] } else { &[1, 2, 4, 8] };
            let width = *self.rng.pick(widths);
            let off = i16::try_from(self.rng.below(u64::from((len - width + 1).unsigned_abs())))
                .expect("small");
            // From the end of what was compared, too.
            if self.rng.one_in(3) {
                self.touch(past, off - len, width, number, true);
            } else {
                self.touch(data, off, width, number, true);
            }
        }
    }

    /// Bytes behind a header whose length the packet tells.
    pub(super) fn packet_index(&mut self, wrong: bool) -> bool {
        let Some([data, end, past]) = self.ends() else { return false };
        let out = self.code.label();
        let [number] = self.some();
        let badly = wrong && self.rng.one_in(2);
        self.bound(number, 64, out, badly);
        self.code.alu_reg(Op::Add64Reg, data, number);
        let width = self.width();
        self.code.mov_reg(past, data);
        self.code.alu(Op::Add64Imm, past, i32::from(width));
        self.end_check(past, end, out, wrong && !badly);
        if badly && self.rng.one_in(2) {
            // What was compared is moved.
            self.code.alu_reg(Op::Add64Reg, data, number);
        }
        self.touch(data, 0, width, number, true);
        self.code.place(out);
        self.release(&[data, end, past]);
        true
    }

    /// A pointer that goes through the packet byte by byte.
    pub(super) fn packet_walk(&mut self, wrong: bool) -> bool {
        let Some(counter) = self.keep() else { return false };
        let Some([data, end, past]) = self.ends() else {
            self.locked.retain(|&r| r != counter);
            return false;
        };
        let [number] = self.some();
        let turns = if wrong { 100 } else { self.rng.between(1, 12) };
        let out = self.code.label();
        self.code.mov(counter, turns);
        let top = self.code.here();
        self.walk_step(data, past, end, out, wrong);
        self.touch(data, 0, 1, number, true);
        self.code.alu(Op::Add64Imm, data, 1);
        self.code.alu(Op::Add64Imm, counter, -1);
        self.code.jump_imm(Op::Jne64Imm, counter, 0, top);
        self.code.place(out);
        self.release(&[data, end, past]);
        self.locked.retain(|&r| r != counter);
        true
    }

    fn walk_step(&mut self, data: u8, past: u8, end: u8, out: Label, wrong: bool) {
        if wrong {
            return self.code.jump_reg(Op::Jgt64Reg, data, end, out);
        }
        self.code.mov_reg(past, data);
        self.code.alu(Op::Add64Imm, past, 1);
        self.end_check(past, end, out, false);
    }
}
