//! What an instruction makes of what is known.

use skep_memory::Access;

use super::Setting;
use super::access::Wish;
use super::num::Num;
use super::state::State;
use super::value::{Mark, Region, Value};
use crate::interp::POISON;
use crate::ir::{Insn, Link};
use crate::isa::{Alu, Kind, Op, Source, Width};

impl Setting<'_> {
    /// What is known behind an instruction that is no jump and leaves nothing. `at` is its
    /// index.
    pub(super) fn step(&mut self, state: &mut State, at: u32, insn: &Insn) {
        let (dst, src) = (usize::from(insn.dst), usize::from(insn.src));
        match insn.kind() {
            Kind::Alu(alu, width, source) => {
                let b = match source {
                    Source::Imm => Value::exactly(insn.imm),
                    Source::Reg => state.regs[src],
                };
                let mark = mark_of(at);
                state.regs[dst] = match compute(alu, width, state.regs[dst], b, mark) {
                    // The mark stands for this sum from now on.
                    Value::Pointer(pointer) if pointer.mark == mark => {
                        state.retire(|old| old == mark);
                        Value::Pointer(pointer)
                    }
                    other => other,
                };
            }
            Kind::Unary(_) => state.regs[dst] = unary(insn.op, state.regs[dst].num()),
            Kind::Movsx { from, .. } => {
                state.regs[dst] = movsx(insn.op, from, state.regs[src].num())
            }
            Kind::Load { size, signed } => {
                state.regs[dst] = self.load(state, src, insn, size, signed);
            }
            Kind::LoadAcquire { size } => {
                state.regs[dst] = Value::Num(Num::bits(8 * size));
            }
            Kind::Store { size, source } => {
                let value = match source {
                    Source::Imm => Value::exactly(insn.imm),
                    Source::Reg => state.regs[src],
                };
                self.store(state, dst, insn, size, value);
            }
            Kind::StoreRelease { size } => self.store(state, dst, insn, size, Value::ANY),
            Kind::Atomic { size, fetch, .. } => {
                self.store(state, dst, insn, size, Value::ANY);
                if fetch {
                    state.regs[src] = Value::Num(Num::bits(8 * size));
                }
            }
            Kind::Jump(..) => {}
            Kind::Misc => self.misc(state, at, insn),
        }
    }

    fn misc(&mut self, state: &mut State, at: u32, insn: &Insn) {
        let dst = usize::from(insn.dst);
        match insn.op {
            Op::AtomicCmpxchg64 | Op::AtomicCmpxchg32 => {
                let size = if insn.op == Op::AtomicCmpxchg64 { 8 } else { 4 };
                self.store(state, dst, insn, size, Value::ANY);
                state.regs[0] = Value::Num(Num::bits(8 * size));
            }
            Op::Lddw
            | Op::LddwMapFd
            | Op::LddwMapValue
            | Op::LddwBtfId
            | Op::LddwFunc
            | Op::LddwMapIdx
            | Op::LddwMapIdxValue => state.regs[dst] = constant(insn),
            Op::CallHelper => self.call_helper(state, at, insn),
            Op::CallLocal => self.call_local(state, insn),
            Op::LdAbsB | Op::LdIndB => ld_skb(state, 1),
            Op::LdAbsH | Op::LdIndH => ld_skb(state, 2),
            Op::LdAbsW | Op::LdIndW => ld_skb(state, 4),
            _ => {}
        }
    }

    fn load(&self, state: &State, base: usize, insn: &Insn, size: u32, signed: bool) -> Value {
        let off = i64::from(insn.off);
        if let Some(pointer) = state.regs[base].pointer() {
            let wish = Wish { off, size: i64::from(size), access: Access::Read };
            if self.proves(state, &pointer, wish) {
                if let Some(value) = self.loaded(&pointer, off, i64::from(size)) {
                    return if signed { Value::ANY } else { value };
                }
                if pointer.region == Region::Frame
                    && size == 8
                    && let Some(offset) = pointer.offset()
                {
                    return state.slot(offset + off);
                }
            }
        }
        if signed {
            let most = i64::MAX >> (64 - 8 * size);
            return Value::Num(Num::signed(-most - 1, most));
        }
        Value::Num(Num::bits(8 * size))
    }

    /// A store, atomic or not.
    fn store(&self, state: &mut State, base: usize, insn: &Insn, size: u32, value: Value) {
        let (off, size) = (i64::from(insn.off), i64::from(size));
        let Some(pointer) = state.regs[base].pointer() else {
            return state.forget_stack();
        };
        let wish = Wish { off, size, access: Access::Write };
        if !self.proves(state, &pointer, wish) {
            // It may go anywhere that is accessible.
            return state.forget_stack();
        }
        if let (Region::Frame, Some(at)) = (pointer.region, pointer.offset()) {
            state.write(at + off, size);
        }
        match (pointer.region, pointer.offset()) {
            (Region::Frame, Some(at)) if size == 8 => state.set_slot(at + off, value),
            (Region::Frame, Some(at)) => state.overwrite(at + off, size),
            (Region::Frame, None) => {
                let (least, most) = pointer.span();
                state.overwrite(least + off, most - least + size);
            }
            _ => {}
        }
    }
}

/// The mark of what an instruction computes.
pub(super) fn mark_of(at: u32) -> Mark {
    at + 1
}

/// `a ∘ b`; `mark` stands for a sum that is not known.
fn compute(alu: Alu, width: Width, a: Value, b: Value, mark: Mark) -> Value {
    match (alu, width, a, b) {
        (Alu::Mov, Width::W64, _, b) => b,
        (Alu::Add, Width::W64, Value::Pointer(pointer), Value::Num(num))
        | (Alu::Add, Width::W64, Value::Num(num), Value::Pointer(pointer)) => {
            pointer.moved_by(num, mark).map_or(Value::ANY, Value::Pointer)
        }
        (Alu::Sub, Width::W64, Value::Pointer(pointer), Value::Num(num)) => {
            let negated = Num::exactly(0).alu(Alu::Sub, Width::W64, num);
            pointer.moved_by(negated, mark).map_or(Value::ANY, Value::Pointer)
        }
        // What is added to a pointer that may be 0 may be anything.
        (_, _, a, b) => Value::Num(a.num().alu(alu, width, b.num())),
    }
}

fn unary(op: Op, a: Num) -> Value {
    if let Some(value) = a.value().and_then(|a| op.apply_unary(a)) {
        return Value::exactly(value);
    }
    Value::Num(match op {
        Op::Le16 | Op::Be16 | Op::Swap16 => Num::bits(16),
        Op::Le32 | Op::Be32 | Op::Swap32 | Op::Neg32 => Num::bits(32),
        Op::Le64 => a,
        Op::Neg64 => Num::exactly(0).alu(Alu::Sub, Width::W64, a),
        _ => Num::ANY,
    })
}

fn movsx(op: Op, from: u32, a: Num) -> Value {
    if let Some(value) = a.value().and_then(|a| op.apply_unary(a)) {
        return Value::exactly(value);
    }
    let most = i64::MAX >> (64 - from);
    match op {
        // What fits without a sign stays as it is.
        _ if a.max <= most.cast_unsigned() => Value::Num(a),
        Op::Movsx8to32 | Op::Movsx16to32 => Value::Num(Num::bits(32)),
        _ => Value::Num(Num::signed(-most - 1, most)),
    }
}

fn constant(insn: &Insn) -> Value {
    match insn.link {
        Link::Map(map) => Value::Map(map),
        Link::Function(start) => Value::Function(start),
        Link::MapValue { map, offset } => {
            let pointer = super::value::Pointer::to(Region::Value(map));
            pointer.moved(i64::from(offset)).map_or(Value::ANY, Value::Pointer)
        }
        _ => Value::exactly(insn.imm),
    }
}

fn ld_skb(state: &mut State, size: u32) {
    state.regs[0] = Value::Num(Num::bits(8 * size));
    poison_scratch(state);
}

/// After a call, r1 to r5 hold nothing.
pub(super) fn poison_scratch(state: &mut State) {
    state.regs[1..=5].fill(Value::exactly(POISON));
}
