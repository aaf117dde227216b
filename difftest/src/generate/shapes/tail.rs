//! Tail calls.

use skep_maps::MapType;
use skep_vm::isa::Op;

use crate::generate::Writer;
use crate::layout::CTX;

const TAIL_CALL: i32 = 12;

impl Writer<'_> {
    /// Another program takes over, if there is one at the index; wrong when the context or
    /// the map is not what it must be.
    pub(super) fn tail_call(&mut self, wrong: bool) -> bool {
        let Some(array) = self.map_of(&[MapType::ProgArray]) else { return false };
        if !self.has_ctx() || !self.may_leave() || self.functions[self.current].kind.is_callback() {
            return false;
        }
        // Not too often: from main functions the results are left by the last program.
        let over = self.code.label();
        if !self.rng.one_in(3) {
            self.jump_if(over);
        }
        let index = self.free_of(&[1, 2]);
        let constant = self.rng.between(-1, 4);
        let variable = self.rng.one_in(2);
        if variable {
            self.code.alu(Op::And64Imm, index, 7);
            self.code.mov_reg(3, index);
        } else {
            self.code.mov(3, constant);
        }
        self.code.map(2, array);
        self.code.load(1, 10, CTX);
        if wrong {
            match self.rng.below(3) {
                0 => self.code.alu(Op::Add64Imm, 1, 8),
                1 => self.code.map(2, 0),
                _ => self.code.mov(2, 0),
            }
        }
        self.code.call(TAIL_CALL);
        self.settle(0);
        self.after_call();
        self.code.place(over);
        true
    }

    /// A tail call to whatever stands at index 0, counted in memory: the chain ends after 33
    /// of them, or when the counter says so. Wrong without the counter.
    pub(super) fn endless_tail_call(&mut self, wrong: bool) -> bool {
        let Some(array) = self.map_of(&[MapType::ProgArray]) else { return false };
        if !self.has_ctx() || !self.may_leave() || self.current != 0 {
            return false;
        }
        let over = self.code.label();
        let [base, number] = self.some();
        self.code.map_value(base, 248);
        self.code.load(number, base, 0);
        self.code.alu(Op::Add64Imm, number, 1);
        self.code.store(base, 0, number);
        self.settle(base);
        if !wrong {
            self.code.jump_imm(Op::Jset64Imm, number, 1, over);
        }
        self.code.load(1, 10, CTX);
        self.code.map(2, array);
        self.code.mov(3, 0);
        self.code.call(TAIL_CALL);
        self.settle(0);
        self.after_call();
        self.code.place(over);
        true
    }
}
