//! What a condition tells.

use super::Setting;
use super::num::{Num, mirrored, negated};
use super::state::State;
use super::value::{Region, Value};
use crate::ir::Insn;
use crate::isa::{Cond, Kind, Source, Width};

impl Setting<'_> {
    /// What is known where a jump is taken, or not taken; `None` where that cannot be.
    pub(super) fn branch(&self, state: &State, insn: &Insn, taken: bool) -> Option<State> {
        let Kind::Jump(cond, width, source) = insn.kind() else {
            return Some(state.clone());
        };
        let mut state = state.clone();
        let b = match source {
            Source::Imm => Value::exactly(insn.imm),
            Source::Reg => state.regs[usize::from(insn.src)],
        };
        let a = state.regs[usize::from(insn.dst)];
        let Some(cond) = (if taken { Some(cond) } else { negated(cond) }) else {
            return Some(state);
        };
        if let (Some(mark), Some(0)) = (a.null_mark(), b.num().value()) {
            match cond {
                Cond::Eq => state.settle_null(mark, true),
                Cond::Ne | Cond::Gt => state.settle_null(mark, false),
                _ => {}
            }
            return Some(state);
        }
        // A pointer is not 0.
        if let (Value::Pointer(pointer), Some(0), Cond::Eq) = (a, b.num().value(), cond)
            && pointer.is_near()
        {
            return None;
        }
        if let (Some(a), Some(b)) = (a.num().value(), b.num().value())
            && !cond.holds(width, a, b)
        {
            return None;
        }
        if width == Width::W64 {
            packet_bound(&mut state, cond, a, b);
            packet_bound(&mut state, mirrored(cond), b, a);
        }
        if let (Value::Num(a), Value::Num(b)) = (a, b) {
            let (a, b) = Num::where_holds(cond, width, a, b)?;
            state.regs[usize::from(insn.dst)] = Value::Num(a);
            if source == Source::Reg {
                state.regs[usize::from(insn.src)] = Value::Num(b);
            }
        }
        Some(state)
    }
}

/// `a cond b` holds: what that shows when `b` is where the packet (or its metadata) ends.
fn packet_bound(state: &mut State, cond: Cond, a: Value, b: Value) {
    let Some(pointer) = a.pointer() else { return };
    let more = match cond {
        Cond::Le | Cond::Eq => 0,
        Cond::Lt => 1,
        _ => return,
    };
    let is_end = match (pointer.region, b) {
        (Region::Packet, Value::PacketEnd) => true,
        (Region::Meta, Value::Pointer(end)) => {
            end.region == Region::Packet && end.offset() == Some(0)
        }
        _ => false,
    };
    if is_end {
        state.prove(&pointer, more);
    }
}
