//! ARRAY: values by index, all there from the start (kernel `arraymap.c`).

use std::sync::Arc;

use skep_memory::GuestPtr;

use super::{Batches, Keys, Refusal, Rules, check_array, check_flags, index_of, next_index};
use crate::fields;
use crate::flags::{
    BPF_EXIST, BPF_F_ACCESS_MASK, BPF_F_INNER_MAP, BPF_F_LOCK, BPF_F_MMAPABLE, BPF_F_NUMA_NODE,
    BPF_NOEXIST,
};
use crate::map::{Cursor, ProgramOp as Op, Rows, Source};
use crate::values::{Growth, Values};
use crate::{Core, Errno, Map, MapDef, World};

pub(super) static RULES: Rules = Rules {
    keys: Keys::Index,
    ops: &[Op::Lookup, Op::Update, Op::Delete, Op::ForEach],
    batches: Batches::Keys,
    special: fields::SHARED,
    shareable: true,
    ..Rules::new(check, make)
};

/// `struct bpf_array` of Linux 6.18 on x86-64, in bytes.
pub(super) const ARRAY_BYTES: u64 = 312;

fn check(_world: &World, def: &MapDef) -> Result<(), Refusal> {
    check_flags(def, BPF_F_NUMA_NODE | BPF_F_MMAPABLE | BPF_F_INNER_MAP | BPF_F_ACCESS_MASK)?;
    check_array(def)
}

fn make(world: &Arc<World>, core: Core) -> Result<Arc<dyn Map>, Errno> {
    let max = core.def().max_entries;
    let mut values = Values::new(world, core.def(), core.home(), (max, 1), Growth::Whole)?;
    values.open_all();
    Ok(Arc::new(Array { core, values }))
}

#[derive(Debug)]
struct Array {
    core: Core,
    values: Values,
}

impl Array {
    fn max(&self) -> u32 {
        self.core.def().max_entries
    }

    fn update_at(&self, index: u32, value: Source<'_>, flags: u64) -> Result<(), Errno> {
        check_update(index, self.max(), flags)?;
        if flags & BPF_F_LOCK == 0 {
            self.values.write(index, 0, value);
            return Ok(());
        }
        if !self.values.layout().has_lock() {
            return Err(Errno::EINVAL);
        }
        self.values.write_locked(self.core.world(), index, value);
        Ok(())
    }
}

/// The checks of `array_map_update_elem`, in its order; the lock's comes last.
pub(super) fn check_update(index: u32, max: u32, flags: u64) -> Result<(), Errno> {
    if flags & !BPF_F_LOCK > BPF_EXIST {
        return Err(Errno::EINVAL);
    }
    if index >= max {
        return Err(Errno::E2BIG);
    }
    if flags & BPF_NOEXIST != 0 {
        return Err(Errno::EEXIST);
    }
    Ok(())
}

impl Map for Array {
    fn core(&self) -> &Core {
        &self.core
    }

    #[inline]
    fn lookup(&self, key: &[u8], _cpu: u32) -> Option<GuestPtr> {
        let index = index_of(key);
        (index < self.max()).then(|| self.values.ptr(index, 0))
    }

    fn rows(&self) -> Option<Rows> {
        self.values.rows(self.max())
    }

    fn update(&self, key: &[u8], value: Source<'_>, flags: u64, _cpu: u32) -> Result<(), Errno> {
        self.update_at(index_of(key), value, flags)
    }

    fn delete(&self, _key: &[u8]) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn visit(&self, cursor: &mut Cursor, key: &mut Vec<u8>, _cpu: u32) -> Option<GuestPtr> {
        let index = cursor.next;
        if index >= self.max() {
            return None;
        }
        cursor.next += 1;
        index.to_le_bytes().as_slice().clone_into(key);
        Some(self.values.ptr(index, 0))
    }

    fn user_lookup(&self, key: &[u8], flags: u64, out: &mut [u8]) -> Result<(), Errno> {
        let index = index_of(key);
        if index >= self.max() {
            return Err(Errno::ENOENT);
        }
        if flags & BPF_F_LOCK == 0 {
            self.values.read(index, 0, out);
        } else {
            self.values.read_locked(self.core.world(), index, out);
        }
        Ok(())
    }

    fn user_update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.update_at(index_of(key), Source::Host(value), flags)
    }

    fn user_next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        next_index(key, self.max(), next)
    }

    fn memory_usage(&self) -> u64 {
        let def = self.core.def();
        let values = u64::from(def.max_entries) * u64::from(def.value_size).next_multiple_of(8);
        let own = ARRAY_BYTES;
        if def.flags & BPF_F_MMAPABLE == 0 {
            own + values
        } else {
            own.next_multiple_of(4096) + values.next_multiple_of(4096)
        }
    }
}
