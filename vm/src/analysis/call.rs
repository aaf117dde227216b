//! What calls make of what is known.

use skep_maps::MapType;
use skep_memory::Access;

use super::Setting;
use super::access::Wish;
use super::num::Num;
use super::state::State;
use super::transfer::{mark_of, poison_scratch};
use super::value::{Mark, Pointer, Region, Value};
use crate::helpers::{self, Effect, Helper};
use crate::interp::POISON;
use crate::ir::{Insn, Link};
use crate::run::MAX_LOOPS;

impl Setting<'_> {
    pub(super) fn call_helper(&mut self, state: &mut State, at: u32, insn: &Insn) {
        if let Link::Helper(position) = insn.link {
            let helper = helpers::at(position as usize);
            let result = self.helper_result(state, helper, mark_of(at));
            self.note_callback(state, helper);
            self.apply(state, helper);
            state.retire(|old| old == mark_of(at));
            state.regs[0] = result;
        } else {
            // A tail call that was not made changes nothing.
            state.regs[0] = Value::exactly(POISON);
        }
        poison_scratch(state);
    }

    /// What a helper does to memory and pointers.
    fn apply(&self, state: &mut State, helper: &Helper) {
        for (index, effect) in helper.effects.iter().enumerate() {
            match effect {
                Effect::None => {}
                Effect::Writes => self.written(state, index, helper),
                Effect::Everything => state.forget_stack(),
            }
        }
        if helpers::changes_everything(helper) {
            state.forget_stack();
        }
        if helpers::moves_packet(helper) {
            state.move_packet();
        }
        if helpers::ends_records(helper) {
            state.invalidate(|region| matches!(region, Region::Record(_)));
        }
    }

    /// A helper writes to what an argument points to.
    fn written(&self, state: &mut State, index: usize, helper: &Helper) {
        let size = helper.args.get(index + 1).filter(|kind| **kind == helpers::SIZE);
        let size = size.and_then(|_| state.regs[index + 2].num().value());
        let size = size.map(|size| i64::try_from(size & u64::from(u32::MAX)).unwrap_or(i64::MAX));
        match (state.regs[index + 1].pointer(), size) {
            (Some(pointer), Some(size)) if pointer.region == Region::Frame => {
                let (least, most) = pointer.span();
                state.overwrite(least, most - least + size);
            }
            // The bytes written are all in one object; where it begins decides which.
            (Some(pointer), _) if pointer.region != Region::Frame => {
                let wish = Wish { off: 0, size: 1, access: Access::Write };
                if !self.proves(state, &pointer, wish) {
                    state.forget_stack();
                }
            }
            _ => state.forget_stack(),
        }
    }

    fn helper_result(&self, state: &State, helper: &Helper, mark: Mark) -> Value {
        const LOOKUP: u32 = 1;
        const LOOKUP_PERCPU: u32 = 195;
        const RESERVE: u32 = 131;
        match helper.id {
            LOOKUP | LOOKUP_PERCPU => self.found(state.regs[1], mark),
            RESERVE => {
                match state.regs[2].num().value().and_then(|size| u32::try_from(size).ok()) {
                    Some(size) => Value::Nullable(Pointer::to(Region::Record(size)), mark),
                    None => Value::ANY,
                }
            }
            _ => Value::ANY,
        }
    }

    /// What is found in a map.
    fn found(&self, map: Value, mark: Mark) -> Value {
        let (def, region, index) = match map {
            Value::Map(index) => match self.maps.get(index as usize) {
                Some(map) => (map.core().def(), Region::Value(index), index),
                None => return Value::ANY,
            },
            Value::Inner(index) => {
                let outer = self.maps.get(index as usize);
                match outer.and_then(|map| map.core().def().inner.as_deref()) {
                    Some(inner) => (inner, Region::InnerValue(index), index),
                    None => return Value::ANY,
                }
            }
            _ => return Value::ANY,
        };
        use MapType::{
            Array, ArrayOfMaps, Hash, HashOfMaps, LpmTrie, LruHash, LruPercpuHash, PercpuArray,
            PercpuHash,
        };
        let is = |t: MapType| t.id() == def.map_type;
        let values = [Hash, Array, PercpuHash, PercpuArray, LruHash, LruPercpuHash, LpmTrie];
        if values.into_iter().any(is) {
            return Value::Nullable(Pointer::to(region), mark);
        }
        if [ArrayOfMaps, HashOfMaps].into_iter().any(is) && matches!(map, Value::Map(_)) {
            return Value::NullableInner(index, mark);
        }
        Value::ANY
    }

    /// A call of a function of the program: what it gets is added to what it may get.
    pub(super) fn call_local(&mut self, state: &mut State, insn: &Insn) {
        if let Link::Function(start) = insn.link {
            let args = std::array::from_fn(|at| self.lent(state.regs[at + 1]));
            self.calls.push((start, args));
        }
        // It may change whatever it can reach: the caller's frame, too.
        state.forget_stack();
        state.move_packet();
        state.invalidate(|region| matches!(region, Region::Record(_)));
        state.regs[0] = Value::ANY;
        poison_scratch(state);
    }

    /// A helper that calls back: what the function gets.
    fn note_callback(&mut self, state: &State, helper: &Helper) {
        const FOR_EACH: u32 = 164;
        const LOOP: u32 = 181;
        let Some(index) = helper.args.iter().position(|kind| *kind == helpers::FUNCTION) else {
            return;
        };
        let Value::Function(start) = state.regs[index + 1] else {
            // A number that is the address of some function.
            self.calls_unknown = true;
            return;
        };
        let any = Value::ANY;
        let ctx = self.lent(state.regs[3]);
        let args = match helper.id {
            LOOP => [Value::Num(Num::range(0, MAX_LOOPS)), ctx, any, any, any],
            FOR_EACH => {
                let value = self.found(state.regs[1], 0).not_null();
                let value = if value.pointer().is_some() { value } else { any };
                [any, any, value, ctx, any]
            }
            _ => [any; 5],
        };
        self.calls.push((start, args));
    }

    /// A value as a callee sees it: memory of the caller's is lent. Nothing of what was shown
    /// about the packet goes with it.
    fn lent(&self, value: Value) -> Value {
        let Value::Pointer(pointer) = value else {
            return match value {
                Value::Num(num) => Value::Num(num),
                Value::Map(_) | Value::Inner(_) | Value::Function(_) => value,
                _ => Value::ANY,
            };
        };
        let (first, behind, access) = match pointer.region {
            Region::Frame if !self.closes_stack => {
                (Region::FRAME.0, Region::FRAME.1, Access::ReadWrite)
            }
            Region::Lent(first, behind, access) => (first, behind, access),
            Region::Context | Region::Value(_) | Region::InnerValue(_) => {
                return Value::Pointer(pointer.unmarked());
            }
            _ => return Value::ANY,
        };
        let (least, most) = pointer.span();
        Value::Pointer(Pointer::to(Region::Lent(first - least, behind - most, access)))
    }
}
