//! PERCPU_HASH: values by key, one for each CPU (kernel `hashtab.c`).
//!
//! Unlike HASH, an update of a key that is there writes in place.

use std::sync::Arc;

use skep_memory::GuestPtr;

use super::hash::{check_hash, check_presence, growth, memory_usage, meter, visit};
use super::{Batches, Holds, Refusal, Rules, rule};
use crate::fields;
use crate::flags::{BPF_EXIST, BPF_F_NUMA_NODE};
use crate::index::{Key, Table};
use crate::map::{Cursor, ProgramOp as Op, Source};
use crate::percpu::{self, Writes};
use crate::values::Values;
use crate::{Core, Errno, Map, MapDef, World};

pub(super) static RULES: Rules = Rules {
    holds: Holds::PercpuValues,
    ops: &[Op::Lookup, Op::LookupPercpu, Op::Update, Op::Delete, Op::ForEach],
    batches: Batches::Buckets,
    special: fields::PERCPU,
    shareable: true,
    ..Rules::new(check, make)
};

fn check(_world: &World, def: &MapDef) -> Result<(), Refusal> {
    rule(def.flags & BPF_F_NUMA_NODE == 0, Errno::EINVAL, || {
        "BPF_F_NUMA_NODE does not go with per-CPU values".to_owned()
    })?;
    check_hash(def)?;
    percpu::check_value_size(def)
}

fn make(world: &Arc<World>, core: Core) -> Result<Arc<dyn Map>, Errno> {
    let def = core.def();
    let most = Values::most(world, def, world.cpus());
    let table = Table::new(def, core.home(), world.cpus(), most)?.metered(meter(&core));
    let values = Values::new(world, def, core.home(), (table.ids(), world.cpus()), growth(def))?;
    Ok(Arc::new(PercpuHash { core, table, values }))
}

#[derive(Debug)]
struct PercpuHash {
    core: Core,
    table: Table,
    values: Values,
}

impl PercpuHash {
    fn insert(&self, key: &[u8], writes: Writes<'_>, flags: u64) -> Result<(), Errno> {
        if flags > BPF_EXIST {
            return Err(Errno::EINVAL);
        }
        let key = Key::new(key);
        let bucket = self.table.index.lock(&key).ok_or(Errno::EBUSY)?;
        let old = bucket.find(&key);
        check_presence(old.is_some(), flags)?;
        if let Some(old) = old {
            writes.replace(&self.values, old.id);
            return Ok(());
        }
        let id = self.table.take()?;
        if let Err(errno) = self.values.ready(id) {
            self.table.give(id);
            return Err(errno);
        }
        writes.fill(&self.values, id);
        bucket.insert(id, &key);
        Ok(())
    }
}

impl Map for PercpuHash {
    fn core(&self) -> &Core {
        &self.core
    }

    #[inline]
    fn lookup(&self, key: &[u8], cpu: u32) -> Option<GuestPtr> {
        Some(self.values.ptr(self.table.index.find(key)?.id, cpu))
    }

    fn update(&self, key: &[u8], value: Source<'_>, flags: u64, cpu: u32) -> Result<(), Errno> {
        self.insert(key, Writes::One(value, cpu), flags)
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        self.table.remove(key, |_| ())
    }

    fn visit(&self, cursor: &mut Cursor, key: &mut Vec<u8>, cpu: u32) -> Option<GuestPtr> {
        key.resize(self.core.def().key_size as usize, 0);
        visit(&self.table.index, cursor, key).map(|id| self.values.ptr(id, cpu))
    }

    fn user_lookup(&self, key: &[u8], _flags: u64, out: &mut [u8]) -> Result<(), Errno> {
        self.table.index.read(key, |id| percpu::read_all(&self.values, id, out))
    }

    fn user_update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.insert(key, Writes::All(value), flags)
    }

    fn user_lookup_and_delete(&self, key: &[u8], _flags: u64, out: &mut [u8]) -> Result<(), Errno> {
        self.table.remove(key, |id| percpu::read_all(&self.values, id, out))
    }

    fn user_next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        if self.table.index.next(key, next) { Ok(()) } else { Err(Errno::ENOENT) }
    }

    fn bucket_keys(&self, bucket: u32) -> Option<Vec<Vec<u8>>> {
        self.table.index.bucket_keys(bucket)
    }

    fn memory_usage(&self) -> u64 {
        memory_usage(&self.core, || self.table.index.count())
    }
}
