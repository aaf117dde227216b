//! Records of rings, and dynptrs.

use skep_maps::MapType;
use skep_vm::isa::Op;

use crate::generate::Writer;
use crate::generate::memory::{At, Held};
use crate::layout::{DYNPTR, VALUE, VALUE_LEN};

const OUTPUT: i32 = 130;
const RESERVE: i32 = 131;
const SUBMIT: i32 = 132;
const DISCARD: i32 = 133;
const QUERY: i32 = 134;
const FROM_MEM: i32 = 197;
const RESERVE_DYNPTR: i32 = 198;
const SUBMIT_DYNPTR: i32 = 199;
const DISCARD_DYNPTR: i32 = 200;
const DYNPTR_READ: i32 = 201;
const DYNPTR_WRITE: i32 = 202;
const DYNPTR_DATA: i32 = 203;

impl Writer<'_> {
    /// A record that is reserved, written and given up; wrong when it is written past its
    /// end or after it was given up, is given up twice or not, or is not looked at first.
    pub(super) fn ring_record(&mut self, wrong: bool) -> bool {
        let Some(ring) = self.map_of(&[MapType::Ringbuf]) else { return false };
        let Some(kept) = self.keep() else { return false };
        let size = *self.rng.pick(&[8, 16, 24, 40, 1500]);
        let mistake = if wrong { self.rng.below(6) } else { 6 };
        self.code.map(1, ring);
        self.code.mov(2, size);
        self.code.mov(3, 0);
        self.code.call(RESERVE);
        self.code.mov_reg(kept, 0);
        self.pointers.push(kept);
        let none = self.code.label();
        self.lock_pointer(0);
        self.after_call();
        if mistake != 0 {
            self.code.jump_imm(Op::Jeq64Imm, kept, 0, none);
        }
        self.forget(0);
        self.settle(0);
        self.owed += 1;
        let len = i16::try_from(size.min(64)).expect("small");
        // What the record held before is not defined: it is written first.
        for slot in 0..i16::try_from(size / 8).expect("small") {
            let number = self.any();
            self.code.store(kept, 8 * slot, number);
        }
        let held = Held { at: At::Register(kept), len, writable: true, indexable: true };
        self.held.push(held);
        self.block();
        self.held.pop();
        if mistake == 1 {
            self.past(kept, i16::try_from(size).expect("small"), true);
        }
        let number = self.free();
        if mistake != 2 {
            let times = if mistake == 3 { 2 } else { 1 };
            for _ in 0..times {
                let helper = *self.rng.pick(&[SUBMIT, SUBMIT, DISCARD]);
                self.code.mov_reg(1, kept);
                if mistake == 5 {
                    self.code.alu(Op::Add64Imm, 1, 8);
                }
                let flags = self.rng.between(0, 2);
                self.code.mov(2, flags);
                self.code.call(helper);
                self.settle(0);
                self.after_call();
            }
        }
        if mistake == 4 {
            self.touch(kept, 0, 8, number, true);
        }
        self.owed -= 1;
        self.unlock(kept);
        self.code.place(none);
        self.settle(0);
        self.settle(kept);
        true
    }

    /// Bytes that are copied into a ring.
    pub(super) fn ring_output(&mut self, wrong: bool) -> bool {
        let Some(ring) = self.map_of(&[MapType::Ringbuf]) else { return false };
        self.value();
        self.code.map(1, ring);
        if self.rng.one_in(4) {
            let what = self.rng.between(0, 4);
            self.code.mov(2, what);
            self.code.call(QUERY);
        } else {
            self.point_to_value(2);
            let room = -i32::from(self.scratch(VALUE));
            let len = self.rng.between(1, VALUE_LEN.into());
            self.code.mov(3, if wrong { room + 1 } else { len });
            let flags = *self.rng.pick(&[0, 0, 1, 2, 4]);
            self.code.mov(4, flags);
            self.code.call(OUTPUT);
        }
        self.after_call();
        true
    }

    /// Makes `register` the address of the room for a dynptr.
    fn point_to_dynptr(&mut self, register: u8) {
        let at = self.scratch(DYNPTR);
        self.code.mov_reg(register, 10);
        self.code.alu(Op::Add64Imm, register, i32::from(at));
    }

    /// A dynptr of memory: reads, writes and a slice; wrong when it is overwritten, or the
    /// slice is left.
    pub(super) fn dynptr_memory(&mut self, wrong: bool) -> bool {
        if self.prog_type.is_none() || self.spilled > 0 {
            return false;
        }
        let len = self.rng.between(8, 40);
        self.code.map_value(1, 8);
        self.code.mov(2, len);
        self.code.mov(3, 0);
        self.point_to_dynptr(4);
        self.code.call(FROM_MEM);
        self.after_call();
        if wrong && self.rng.one_in(2) {
            let at = self.scratch(DYNPTR) + *self.rng.pick(&[0, 8]);
            let imm = self.rng.imm();
            self.code.st(Op::StDw, 10, at, imm);
        }
        for _ in 0..=self.rng.below(2) {
            self.dynptr_access(len);
        }
        self.dynptr_slice(len, wrong, None);
        true
    }

    fn dynptr_access(&mut self, len: i32) {
        let (at, n) = (self.rng.between(0, len), self.rng.between(1, VALUE_LEN.into()));
        self.value();
        if self.rng.one_in(2) {
            self.point_to_value(1);
            self.code.mov(2, n);
            self.point_to_dynptr(3);
            self.code.mov(4, at);
            self.code.mov(5, 0);
            self.code.call(DYNPTR_READ);
        } else {
            self.point_to_dynptr(1);
            self.code.mov(2, at);
            self.point_to_value(3);
            self.code.mov(4, n);
            self.code.mov(5, 0);
            self.code.call(DYNPTR_WRITE);
        }
        self.after_call();
    }

    /// A slice of a dynptr's bytes; it is used once more after the helper `end`, if wrong.
    fn dynptr_slice(&mut self, len: i32, wrong: bool, end: Option<i32>) {
        let (at, n) = (self.rng.between(0, len - 1), 8);
        self.point_to_dynptr(1);
        self.code.mov(2, at);
        self.code.mov(3, n);
        self.code.call(DYNPTR_DATA);
        self.lock_pointer(0);
        self.after_call();
        let none = self.code.label();
        let unchecked = wrong && end.is_none() && self.rng.one_in(2);
        self.null_check(0, none, unchecked);
        let [number] = self.some();
        let width = self.width();
        let last = if wrong && end.is_none() { 48 } else { 8 - width };
        self.touch(0, last, width, number, true);
        let Some(end) = end else {
            self.forget(0);
            self.code.place(none);
            return self.settle(0);
        };
        let kept = if wrong { self.keep() } else { None };
        if let Some(kept) = kept {
            self.code.mov_reg(kept, 0);
            self.pointers.push(kept);
        }
        self.forget(0);
        let over = self.code.label();
        if let Some(kept) = kept {
            self.give_up_dynptr(end);
            self.touch(kept, 0, 8, number, true);
            self.unlock(kept);
            self.goto(over);
        }
        self.code.place(none);
        self.give_up_dynptr(end);
        self.code.place(over);
    }

    fn give_up_dynptr(&mut self, helper: i32) {
        self.point_to_dynptr(1);
        self.code.mov(2, 0);
        self.code.call(helper);
        self.settle(0);
        self.after_call();
    }

    /// A record as a dynptr, which is given up even when there is none.
    pub(super) fn dynptr_ring(&mut self, wrong: bool) -> bool {
        let Some(ring) = self.map_of(&[MapType::Ringbuf]) else { return false };
        let len = self.rng.between(8, 40);
        self.code.map(1, ring);
        self.code.mov(2, len);
        self.code.mov(3, 0);
        self.point_to_dynptr(4);
        self.code.call(RESERVE_DYNPTR);
        self.after_call();
        self.owed += 1;
        // All of it is written, for what it held before is not defined.
        for at in [0, 16, 32] {
            self.value();
            self.point_to_dynptr(1);
            self.code.mov(2, at);
            self.point_to_value(3);
            self.code.mov(4, (len - at).clamp(1, 16));
            self.code.mov(5, 0);
            self.code.call(DYNPTR_WRITE);
            self.after_call();
        }
        self.dynptr_access(len);
        let end = *self.rng.pick(&[SUBMIT_DYNPTR, DISCARD_DYNPTR]);
        let forgets = wrong && self.rng.one_in(3);
        if forgets {
            let at = self.scratch(DYNPTR);
            self.code.load(0, 10, at);
            self.settle(0);
        } else {
            self.dynptr_slice(len, wrong, Some(end));
        }
        self.owed -= 1;
        true
    }
}
