//! Functions: calls, callbacks, and how each starts.

use skep_vm::isa::Op;

use super::Writer;
use super::memory::{At, Held};
use super::plan::Kind;
use crate::code::Fields;
use crate::layout::{CTX, POINTER, SPARE, VALUE, VALUE_LEN};

const LOOP: i32 = 181;
const FOR_EACH: i32 = 164;
const DRAIN: i32 = 209;
const DYNPTR_READ: i32 = 201;

impl Writer<'_> {
    /// Calls a function and makes r1 to r5 numbers again.
    pub(super) fn call(&mut self, callee: usize) {
        let start = self.functions[callee].start;
        match self.functions[callee].kind {
            Kind::Plain => {
                if self.functions[callee].takes_memory {
                    self.point_for_callee(1);
                }
                if self.functions[callee].takes_ctx {
                    self.code.load(2, 10, CTX);
                }
                self.code.mark("call: local");
                self.code.jump(Op::CallLocal, Fields::default(), start);
            }
            Kind::Loop => {
                self.point_for_callee(3);
                let turns = self.rng.between(0, 9);
                self.code.mark("call: bpf_loop");
                self.code.mov(1, turns);
                self.code.function(2, start);
                self.code.mov(4, 0);
                self.code.call(LOOP);
            }
            Kind::Each(map) => {
                self.point_for_callee(3);
                self.code.mark("call: for_each_map_elem");
                self.code.map(1, map);
                self.code.function(2, start);
                self.code.mov(4, 0);
                self.code.call(FOR_EACH);
            }
            Kind::Drain(ring) => {
                self.point_for_callee(3);
                self.code.mark("call: user_ringbuf_drain");
                self.code.map(1, ring);
                self.code.function(2, start);
                self.code.mov(4, 0);
                self.code.call(DRAIN);
            }
            Kind::Recursive => {
                // Eight frames are as many as there may be: the main one counts.
                let depth =
                    if self.wrong { self.rng.between(5, 9) } else { self.rng.between(0, 6) };
                self.code.mark("call: recursion");
                self.code.mov(1, depth);
                self.code.jump(Op::CallLocal, Fields::default(), start);
            }
        }
        self.after_call();
    }

    /// Makes r1 to r5 numbers.
    pub(super) fn after_call(&mut self) {
        for register in 1..=5 {
            // What a call leaves in them is a number, too, where nobody verifies.
            if self.profile.goes_wrong() && !self.rng.one_in(4) {
                continue;
            }
            if self.rng.one_in(2) {
                self.settle(register);
            } else {
                let from = [0, 6, 7, 8, 9].into_iter().filter(|r| !self.pointers.contains(r));
                let from: Vec<u8> = from.collect();
                let from = *self.rng.pick(&from);
                self.code.mov_reg(register, from);
            }
        }
    }

    /// Calls one of the function's callees once more.
    pub(super) fn call_again(&mut self) {
        let callees = self.functions[self.current].calls.clone();
        if callees.is_empty() || !self.functions[self.current].rich {
            return self.arithmetic();
        }
        let callee = *self.rng.pick(&callees);
        self.call(callee);
    }

    /// Puts away what a function is given. Whether that was all of the function.
    pub(super) fn prologue(&mut self) -> bool {
        let function = &self.functions[self.current];
        let (kind, takes_memory, takes_ctx) =
            (function.kind, function.takes_memory, function.takes_ctx);
        match kind {
            Kind::Plain => {
                if takes_memory {
                    self.code.store(10, POINTER, 1);
                    self.code.mov_reg(1, 5);
                }
                if takes_ctx {
                    self.code.store(10, CTX, 2);
                    self.code.mov_reg(2, 5);
                }
            }
            Kind::Loop => {
                self.code.store(10, POINTER, 2);
                for register in 2..=5 {
                    self.code.mov_reg(register, 1);
                }
            }
            Kind::Each(map) => {
                self.code.store(10, POINTER, 4);
                self.code.store(10, SPARE, 3);
                self.code.ldx(Op::LdxW, 1, 2, 0);
                for register in 2..=5 {
                    self.code.mov_reg(register, 1);
                }
                let len = self.plan.maps[map].def.value_size;
                let len = i16::try_from(len).expect("a small value");
                let at = At::Slot(SPARE);
                self.held.push(Held { at, len, writable: true, indexable: true });
            }
            Kind::Drain(_) => {
                self.code.store(10, POINTER, 2);
                let value = self.scratch(VALUE);
                for slot in 0..VALUE_LEN / 8 {
                    self.code.st(Op::StDw, 10, value + 8 * slot, 0);
                }
                self.code.mov_reg(3, 1);
                self.code.mov_reg(1, 10);
                self.code.alu(Op::Add64Imm, 1, value.into());
                let len = self.rng.between(1, 16);
                self.code.mov(2, len);
                self.code.mov(4, 0);
                self.code.mov(5, 0);
                self.code.call(DYNPTR_READ);
                for (register, slot) in (1..=5).zip([0, 1, 0, 1, 2]) {
                    self.code.load(register, 10, value + 8 * slot);
                }
            }
            Kind::Recursive => {
                self.recursive();
                return true;
            }
        }
        false
    }

    /// A function that calls itself as often as r1 says, and counts.
    fn recursive(&mut self) {
        let start = self.functions[self.current].start;
        let leaf = self.code.label();
        self.code.mov_reg(6, 1);
        self.code.store(10, SPARE, 6);
        self.code.mov(0, 1);
        self.code.jump_imm(Op::Jeq64Imm, 6, 0, leaf);
        self.code.alu(Op::Add64Imm, 1, -1);
        self.code.jump(Op::CallLocal, Fields::default(), start);
        self.code.load(1, 10, SPARE);
        self.code.alu_reg(Op::Add64Reg, 0, 1);
        self.code.alu_reg(Op::Add64Reg, 0, 6);
        self.code.place(leaf);
        self.code.exit();
    }
}
