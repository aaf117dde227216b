//! PERCPU_ARRAY: values by index, one for each CPU (kernel `arraymap.c`).

use std::sync::Arc;

use skep_memory::GuestPtr;

use super::array::{ARRAY_BYTES, check_update};
use super::{
    Batches, Holds, Keys, Refusal, Rules, check_array, check_flags, index_of, next_index, rule,
};
use crate::fields;
use crate::flags::{BPF_EXIST, BPF_F_ACCESS_MASK};
use crate::map::{Cursor, ProgramOp as Op, Rows, Source};
use crate::percpu;
use crate::values::{Growth, Values};
use crate::{Core, Errno, Map, MapDef, World};

pub(super) static RULES: Rules = Rules {
    keys: Keys::Index,
    holds: Holds::PercpuValues,
    ops: &[Op::Lookup, Op::LookupPercpu, Op::Update, Op::Delete, Op::ForEach],
    batches: Batches::Keys,
    special: fields::PERCPU,
    shareable: true,
    ..Rules::new(check, make)
};

fn check(_world: &World, def: &MapDef) -> Result<(), Refusal> {
    // Per-CPU memory has no NUMA node of its own; the kernel lets the flag through to
    // the check that refuses a node.
    let numa = def.flags & crate::flags::BPF_F_NUMA_NODE == 0;
    rule(numa, Errno::EINVAL, || "BPF_F_NUMA_NODE does not go with per-CPU values".to_owned())?;
    check_flags(def, BPF_F_ACCESS_MASK)?;
    check_array(def)?;
    percpu::check_value_size(def)
}

fn make(world: &Arc<World>, core: Core) -> Result<Arc<dyn Map>, Errno> {
    let max = core.def().max_entries;
    let shape = (max, world.cpus());
    let mut values = Values::new(world, core.def(), core.home(), shape, Growth::Whole)?;
    values.open_all();
    Ok(Arc::new(PercpuArray { core, values }))
}

#[derive(Debug)]
struct PercpuArray {
    core: Core,
    values: Values,
}

impl PercpuArray {
    fn max(&self) -> u32 {
        self.core.def().max_entries
    }
}

impl Map for PercpuArray {
    fn core(&self) -> &Core {
        &self.core
    }

    #[inline]
    fn lookup(&self, key: &[u8], cpu: u32) -> Option<GuestPtr> {
        let index = index_of(key);
        (index < self.max()).then(|| self.values.ptr(index, cpu))
    }

    fn rows(&self) -> Option<Rows> {
        self.values.rows(self.max())
    }

    fn update(&self, key: &[u8], value: Source<'_>, flags: u64, cpu: u32) -> Result<(), Errno> {
        let index = index_of(key);
        check_update(index, self.max(), flags)?;
        // A per-CPU array cannot have a lock in its values.
        if flags & crate::flags::BPF_F_LOCK != 0 {
            return Err(Errno::EINVAL);
        }
        self.values.write(index, cpu, value);
        Ok(())
    }

    fn delete(&self, _key: &[u8]) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn visit(&self, cursor: &mut Cursor, key: &mut Vec<u8>, cpu: u32) -> Option<GuestPtr> {
        let index = cursor.next;
        if index >= self.max() {
            return None;
        }
        cursor.next += 1;
        index.to_le_bytes().as_slice().clone_into(key);
        Some(self.values.ptr(index, cpu))
    }

    fn user_lookup(&self, key: &[u8], _flags: u64, out: &mut [u8]) -> Result<(), Errno> {
        let index = index_of(key);
        if index >= self.max() {
            return Err(Errno::ENOENT);
        }
        percpu::read_all(&self.values, index, out);
        Ok(())
    }

    fn user_update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        let index = index_of(key);
        if flags > BPF_EXIST {
            return Err(Errno::EINVAL);
        }
        check_update(index, self.max(), flags)?;
        percpu::write_all(&self.values, index, value);
        Ok(())
    }

    fn user_next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        next_index(key, self.max(), next)
    }

    fn memory_usage(&self) -> u64 {
        let def = self.core.def();
        let (max, cpus) = (u64::from(def.max_entries), u64::from(self.values.planes()));
        ARRAY_BYTES + max * 8 + max * u64::from(def.value_size).next_multiple_of(8) * cpus
    }
}
