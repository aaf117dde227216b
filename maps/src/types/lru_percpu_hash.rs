//! LRU_PERCPU_HASH: values by key, one for each CPU; when it is full, keys that were not
//! used go (kernel `hashtab.c`, `bpf_lru_list.c`).
//!
//! Unlike LRU_HASH, an update of a key that is there writes in place, and one that may
//! only replace takes no element.

use std::sync::Arc;

use skep_memory::GuestPtr;

use super::hash::{check_presence, memory_usage, visit};
use super::lru_hash::{check_lru, sharing};
use super::{Batches, Holds, Refusal, Rules};
use crate::fields;
use crate::flags::BPF_EXIST;
use crate::index::{Key, LruTable};
use crate::map::{Cursor, ProgramOp as Op, Source, USER_CPU};
use crate::percpu::{self, Writes};
use crate::values::{Growth, Values};
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
    check_lru(def)?;
    percpu::check_value_size(def)
}

fn make(world: &Arc<World>, mut core: Core) -> Result<Arc<dyn Map>, Errno> {
    let sharing = sharing(world, &mut core);
    let def = core.def();
    let table = LruTable::new(def, core.home(), world.cpus(), sharing)?;
    let shape = (table.ids(), world.cpus());
    let values = Values::new(world, def, core.home(), shape, Growth::Whole)?;
    Ok(Arc::new(LruPercpuHash { core, table, values }))
}

#[derive(Debug)]
struct LruPercpuHash {
    core: Core,
    table: LruTable,
    values: Values,
}

impl LruPercpuHash {
    /// Kernel `__htab_lru_percpu_map_update_elem`.
    fn insert(&self, key: &[u8], writes: Writes<'_>, flags: u64, cpu: u32) -> Result<(), Errno> {
        if flags > BPF_EXIST {
            return Err(Errno::EINVAL);
        }
        let new = match flags {
            BPF_EXIST => None,
            _ => Some(self.table.take(cpu)?),
        };
        let result = self.put(key, writes, flags, new);
        if let (Some(new), Err(_) | Ok(Used::Old)) = (new, &result) {
            self.table.give(new);
        }
        result.map(|_used| ())
    }

    fn put(
        &self,
        key: &[u8],
        writes: Writes<'_>,
        flags: u64,
        new: Option<u32>,
    ) -> Result<Used, Errno> {
        let key = Key::new(key);
        let bucket = self.table.index.lock(&key).ok_or(Errno::EBUSY)?;
        let old = bucket.find(&key);
        check_presence(old.is_some(), flags)?;
        if let Some(old) = old {
            self.table.reference(old.id);
            writes.replace(&self.values, old.id);
            return Ok(Used::Old);
        }
        let new = new.ok_or(Errno::ENOENT)?;
        self.values.ready(new)?;
        writes.fill(&self.values, new);
        bucket.insert(new, &key);
        Ok(Used::New)
    }
}

/// Which element an update wrote to.
#[derive(Debug)]
enum Used {
    Old,
    New,
}

impl Map for LruPercpuHash {
    fn core(&self) -> &Core {
        &self.core
    }

    #[inline]
    fn lookup(&self, key: &[u8], cpu: u32) -> Option<GuestPtr> {
        let found = self.table.index.find(key)?;
        self.table.reference(found.id);
        Some(self.values.ptr(found.id, cpu))
    }

    fn update(&self, key: &[u8], value: Source<'_>, flags: u64, cpu: u32) -> Result<(), Errno> {
        self.insert(key, Writes::One(value, cpu), flags, cpu)
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
        self.insert(key, Writes::All(value), flags, USER_CPU)
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
