//! Calls on maps that are known when the program is compiled.

use std::mem::offset_of;
use std::sync::Arc;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value, types};
use skep_maps::flags::BPF_F_RDONLY_PROG;
use skep_maps::{Map, MapType, ProgArray, ProgramOp, RingBuf, Rows};

use super::super::shims;
use super::Translator;
use crate::analysis::{CallFacts, KnownMap};
use crate::helpers::Helper;
use crate::state::{State, Target};

/// Types of maps whose look-ups find values, and nothing that the run must hold.
const PLAIN: [MapType; 7] = [
    MapType::Array,
    MapType::Hash,
    MapType::LpmTrie,
    MapType::LruHash,
    MapType::LruPercpuHash,
    MapType::PercpuArray,
    MapType::PercpuHash,
];

/// Numbers of the helpers that have a direct form.
const LOOKUP: u32 = 1;
const UPDATE: u32 = 2;
const DELETE: u32 = 3;
const RESERVE: u32 = 131;
const SUBMIT: u32 = 132;

/// [`Rows`] in native code.
struct RowValues {
    first: Value,
    stride: Value,
    row: Option<Value>,
    count: Value,
}

impl Translator<'_> {
    /// The map in a call, when it is known.
    fn known_map(&self) -> Option<(&Arc<dyn Map>, CallFacts)> {
        let facts = *self.facts.call(self.at)?;
        let KnownMap::This(map) = facts.map else { return None };
        Some((self.program.maps().get(map as usize)?, facts))
    }

    /// Calls a helper on a map without what is known to be right being checked again; `None`
    /// when that cannot be.
    pub(super) fn call_directly(&mut self, helper: &Helper) -> Option<Value> {
        if self.locks {
            return None;
        }
        match helper.id {
            RESERVE => return self.reserve_directly(),
            SUBMIT => {
                let args = [self.reg(1), self.reg(2)];
                let (value, status) = self.call_rust(shims::submit as *const (), &args);
                self.exit_if(status, super::Why::Called);
                return Some(value);
            }
            _ => {}
        }
        if helper.id == LOOKUP
            && let Some(value) = self.look_up_through_maps()
        {
            return Some(value);
        }
        let (map, facts) = self.known_map()?;
        let wanted = match helper.id {
            LOOKUP => ProgramOp::Lookup,
            UPDATE => ProgramOp::Update,
            DELETE => ProgramOp::Delete,
            _ => return None,
        };
        let writes = wanted != ProgramOp::Lookup;
        let core = map.core();
        let refused = writes && core.def().flags & BPF_F_RDONLY_PROG != 0;
        let ready = facts.key && (facts.value || wanted != ProgramOp::Update);
        if !ready || refused || !core.allows(wanted) {
            return None;
        }
        if !PLAIN.contains(&core.map_type()) {
            return None;
        }
        let (rows, key_size) = (map.rows(), core.def().key_size);
        let handle = std::ptr::from_ref(map) as u64;
        let key = self.reg(2);
        if let (ProgramOp::Lookup, Some(rows)) = (wanted, rows) {
            let rows = self.rows_of_map(rows);
            return Some(self.look_up_in_rows(rows, key));
        }
        let map = self.number(handle);
        let (entry, args) = match wanted {
            ProgramOp::Lookup => (shims::on_map::<shims::Lookup>(key_size)?, vec![map, key]),
            ProgramOp::Delete => (shims::on_map::<shims::Delete>(key_size)?, vec![map, key]),
            _ => {
                let (value, flags) = (self.reg(3), self.reg(4));
                (shims::on_map::<shims::Update>(key_size)?, vec![map, key, value, flags])
            }
        };
        let (value, status) = self.call_rust(entry, &args);
        self.exit_if(status, super::Why::Called);
        Some(value)
    }

    /// Looks up in a map of maps, or in a map that was found in one.
    fn look_up_through_maps(&mut self) -> Option<Value> {
        let facts = *self.facts.call(self.at)?;
        let (KnownMap::This(index) | KnownMap::In(index)) = facts.map;
        let map = self.program.maps().get(index as usize)?;
        let def = map.core().def();
        if !facts.key
            || !matches!(map.core().map_type(), MapType::ArrayOfMaps | MapType::HashOfMaps)
        {
            return None;
        }
        let key = self.reg(2);
        if let (KnownMap::In(_), Some(inner)) = (facts.map, def.inner.as_deref()) {
            let percpu = inner.map_type == MapType::PercpuArray.id();
            if percpu || inner.map_type == MapType::Array.id() {
                let rows = self.rows_of_handle(percpu);
                return Some(self.look_up_in_rows(rows, key));
            }
        }
        let (entry, map) = match facts.map {
            KnownMap::This(_) => {
                let map = self.number(std::ptr::from_ref(map) as u64);
                (shims::on_map::<shims::LookupMap>(def.key_size)?, map)
            }
            KnownMap::In(_) => {
                let inner = def.inner.as_deref()?;
                let plain = PLAIN.into_iter().any(|t| t.id() == inner.map_type);
                let entry = shims::lookup_by_handle(inner.key_size).filter(|_| plain)?;
                (entry, self.reg(1))
            }
        };
        let (value, status) = self.call_rust(entry, &[map, key]);
        self.exit_if(status, super::Why::Called);
        Some(value)
    }

    /// Reserves a record of a known ring buffer.
    fn reserve_directly(&mut self) -> Option<Value> {
        let (map, _) = self.known_map()?;
        let ring = map.downcast::<RingBuf>().filter(|_| map.core().allows(ProgramOp::RingBuf))?;
        let ring = std::ptr::from_ref(ring) as u64;
        let ring = self.number(ring);
        let args = [ring, self.reg(2), self.reg(3)];
        let (value, status) = self.call_rust(shims::reserve as *const (), &args);
        self.exit_if(status, super::Why::Called);
        Some(value)
    }

    /// The rows of an array of which only the handle is known, in r1: they stand there.
    fn rows_of_handle(&mut self, percpu: bool) -> RowValues {
        let handle = self.reg(1);
        let handle = self.masked(handle);
        let addr = self.b.ins().iadd(self.base, handle);
        let flags = self.guest_flags();
        let [first, stride, row, count] = [0, 4, 8, 12].map(|at| {
            let word = self.b.ins().load(types::I32, flags, addr, at);
            self.b.ins().uextend(types::I64, word)
        });
        RowValues { first, stride, row: percpu.then_some(row), count }
    }

    /// The rows of a known array.
    fn rows_of_map(&mut self, rows: Rows) -> RowValues {
        let Rows { first, stride, row, count } = rows;
        let row = (row > 0).then(|| self.number(row.into()));
        let first = self.number(first.addr());
        RowValues {
            first,
            stride: self.number(stride.into()),
            row,
            count: self.number(count.into()),
        }
    }

    /// Looks up in an array: a value of the row, or 0.
    fn look_up_in_rows(&mut self, rows: RowValues, key: Value) -> Value {
        let index = self.masked(key);
        let addr = self.b.ins().iadd(self.base, index);
        let flags = self.guest_flags();
        let index = self.b.ins().load(types::I32, flags, addr, 0);
        let index = self.b.ins().uextend(types::I64, index);
        let inside = self.b.ins().icmp(IntCC::UnsignedLessThan, index, rows.count);
        let offset = self.b.ins().imul(index, rows.stride);
        let mut value = self.b.ins().iadd(offset, rows.first);
        if let Some(row) = rows.row {
            let fixed = self.state_flags().with_readonly().with_can_move();
            let cpu = self.load_state(types::I32, fixed, offset_of!(State, cpu));
            let cpu = self.b.ins().uextend(types::I64, cpu);
            let start = self.b.ins().imul(cpu, row);
            value = self.b.ins().iadd(value, start);
        }
        let none = self.number(0);
        self.b.ins().select(inside, value, none)
    }

    /// Jumps to a program of a known array that the runner has met before. Comes back where
    /// it has not, or something else is unusual, and where there is none: `slow` and `fails`
    /// are where these go on.
    pub(super) fn tail_call_directly(
        &mut self,
        args: [Value; 3],
        slow: cranelift_codegen::ir::Block,
        fails: cranelift_codegen::ir::Block,
    ) -> bool {
        let Some((map, facts)) = self.known_map() else { return false };
        let Some(array) = map.downcast::<ProgArray>() else { return false };
        if self.acquires || !map.core().allows(ProgramOp::TailCall) {
            return false;
        }
        let (ids, count) = (array.ids().as_ptr() as u64, array.ids().len());
        let [ctx, _, index] = args;
        let flags = self.state_flags();
        let next = |this: &mut Self, condition: Value, other| {
            let on = this.b.create_block();
            this.b.ins().brif(condition, on, &[], other, &[]);
            this.b.switch_to_block(on);
        };
        if !facts.context {
            let own = self.load_state(types::I64, flags, offset_of!(State, ctx));
            let is_own = self.b.ins().icmp(IntCC::Equal, own, ctx);
            next(self, is_own, slow);
        }
        let calls = self.load_state(types::I32, flags, offset_of!(State, tail_calls));
        let most = i64::from(crate::run::MAX_TAIL_CALLS);
        let left = self.b.ins().icmp_imm_u(IntCC::UnsignedLessThan, calls, most);
        next(self, left, fails);
        let index = self.b.ins().ireduce(types::I32, index);
        let inside = self.b.ins().icmp_imm_u(
            IntCC::UnsignedLessThan,
            index,
            i64::try_from(count).unwrap_or(0),
        );
        next(self, inside, fails);
        // The array may change while programs run.
        let index = self.b.ins().uextend(types::I64, index);
        let offset = self.b.ins().ishl_imm_u(index, 3);
        let ids = self.number(ids);
        let at = self.b.ins().iadd(ids, offset);
        let id = self.b.ins().atomic_load(types::I64, MemFlagsData::trusted(), at);
        next(self, id, fails);
        let fixed = self.state_flags().with_readonly().with_can_move();
        let targets = self.load_state(types::I64, fixed, offset_of!(State, targets));
        let place = self.b.ins().band_imm_u(id, Target::COUNT as i64 - 1);
        let place = self.b.ins().imul_imm_u(place, size_of::<Target>() as i64);
        let target = self.b.ins().iadd(targets, place);
        let id_at = i32::try_from(offset_of!(Target, id)).unwrap_or(0);
        let code_at = i32::try_from(offset_of!(Target, code)).unwrap_or(0);
        let known = self.b.ins().load(types::I64, flags, target, id_at);
        let wanted = match self.mode {
            super::Mode::Plain => id,
            super::Mode::Counting => {
                let mark = self.number(Target::COUNTING);
                self.b.ins().bor(id, mark)
            }
        };
        let same = self.b.ins().icmp(IntCC::Equal, known, wanted);
        next(self, same, slow);
        let calls = self.b.ins().iadd_imm_u(calls, 1);
        self.store_state(calls, offset_of!(State, tail_calls));
        let fp = self.fp.expect("who makes tail calls has a frame pointer");
        // The entry function's frame is the body's first already.
        if self.number > 0 {
            self.store_state(fp, offset_of!(State, body_fp));
        }
        let id = self.b.ins().ireduce(types::I32, id);
        self.store_state(id, offset_of!(State, program));
        let code = self.b.ins().load(types::I64, flags, target, code_at);
        self.jump_to_program(code, fp, ctx);
        true
    }
}
