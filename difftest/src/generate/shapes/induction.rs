//! Loops whose counter is an index: what holds in one turn need not hold in the next.

use skep_vm::isa::Op;

use crate::generate::Writer;
use crate::layout::CTX;

/// Bytes of the array that is indexed: the two slots below what each frame keeps.
const LEN: i32 = 16;

impl Writer<'_> {
    /// An index that grows by steps and is compared in each turn; wrong when it is compared
    /// before the loop only, or before it grows.
    pub(super) fn growing_index(&mut self, wrong: bool) -> bool {
        let Some(counter) = self.keep() else { return false };
        let [base, number, index] = self.some();
        let (step, turns) = (self.rng.between(1, 7), self.rng.between(4, 9));
        let out = self.code.label();
        let mistake = if wrong { self.rng.below(2) } else { 2 };
        self.code.alu(Op::And64Imm, index, LEN - 1);
        self.code.mov(counter, turns);
        if mistake == 0 {
            self.code.jump_imm(Op::Jge64Imm, index, LEN, out);
        }
        let top = self.code.here();
        if mistake != 0 {
            let (op, limit) = *self.rng.pick(&[(Op::Jge64Imm, LEN), (Op::Jgt64Imm, LEN - 1)]);
            self.code.jump_imm(op, index, limit, out);
        }
        if mistake == 1 {
            self.code.alu(Op::Add64Imm, index, step + 8);
        }
        self.code.mov_reg(base, 10);
        self.code.alu_reg(Op::Add64Reg, base, index);
        // The last slot of the array is the frame's end, so that one byte too far is out.
        let off = if wrong { -16 } else { CTX - 16 };
        let width = if wrong { 8 } else { 1 };
        self.touch(base, off, width, number, !wrong);
        self.code.alu(Op::Add64Imm, index, step);
        self.code.alu(Op::Add64Imm, counter, -1);
        self.code.jump_imm(Op::Jne64Imm, counter, 0, top);
        self.code.place(out);
        self.settle(base);
        self.unlock(counter);
        true
    }

    /// A 32-bit index that counts down to 0 and is used in 64 bits; wrong when the end is
    /// looked for in 64 bits, where it never gets negative, or too far down.
    pub(super) fn falling_index(&mut self, wrong: bool) -> bool {
        let Some(counter) = self.keep() else { return false };
        let [base, number] = self.some();
        let (out, first) = (self.code.label(), self.rng.between(1, 6));
        self.code.alu(Op::Mov32Imm, counter, first);
        let top = self.code.here();
        let beyond = self.rng.between(i32::MIN, -2);
        let (op, end) = if wrong {
            *self.rng.pick(&[(Op::Jslt64Imm, 0), (Op::Jsle32Imm, beyond), (Op::Jeq64Imm, -1)])
        } else {
            *self.rng.pick(&[(Op::Jslt32Imm, 0), (Op::Jsle32Imm, -1)])
        };
        self.code.jump_imm(op, counter, end, out);
        self.code.mov_reg(base, 10);
        self.code.alu_reg(Op::Add64Reg, base, counter);
        self.touch(base, CTX - 16, 1, number, true);
        let mut steps = vec![(Op::Add32Imm, -1), (Op::Sub32Imm, 1), (Op::Sub32Imm, 2)];
        if wrong {
            // A step of nothing, and one so great that it wraps.
            steps.extend([(Op::Sub32Imm, 0), (Op::Add32Imm, i32::MIN), (Op::Add64Imm, -1)]);
        }
        let step = *self.rng.pick(&steps);
        self.code.alu(step.0, counter, step.1);
        self.goto(top);
        self.code.place(out);
        self.settle(base);
        self.unlock(counter);
        true
    }
}
