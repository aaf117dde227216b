//! LRU_HASH: values by key; when it is full, keys that were not used go (kernel
//! `hashtab.c`, `bpf_lru_list.c`).
//!
//! An update always takes a new element, before it looks for the old one, and so may
//! evict even if it then fails or replaces. Lookups by programs count as use, lookups by
//! user space do not.

use std::sync::Arc;

use skep_memory::GuestPtr;

use super::hash::{check_hash_sizes, check_presence, memory_usage, visit};
use super::{Batches, MapType, Refusal, Rules, check_flags, rule};
use crate::fields;
use crate::flags::{
    BPF_EXIST, BPF_F_ACCESS_MASK, BPF_F_NO_COMMON_LRU, BPF_F_NO_PREALLOC, BPF_F_NUMA_NODE,
    BPF_F_ZERO_SEED,
};
use crate::index::{Key, LruTable, Sharing};
use crate::map::{Cursor, ProgramOp as Op, Source, USER_CPU};
use crate::values::{Growth, Values};
use crate::{Core, Errno, Map, MapDef, World};

pub(super) static RULES: Rules = Rules {
    ops: &[Op::Lookup, Op::Update, Op::Delete, Op::ForEach],
    batches: Batches::Buckets,
    special: fields::UNLOCKED,
    shareable: true,
    ..Rules::new(check, make)
};

fn check(_world: &World, def: &MapDef) -> Result<(), Refusal> {
    check_lru(def)
}

/// Rules of the LRU types (kernel `htab_map_alloc_check`).
pub(super) fn check_lru(def: &MapDef) -> Result<(), Refusal> {
    let known = BPF_F_NO_PREALLOC
        | BPF_F_NO_COMMON_LRU
        | BPF_F_NUMA_NODE
        | BPF_F_ACCESS_MASK
        | BPF_F_ZERO_SEED;
    check_flags(def, known)?;
    rule(def.flags & BPF_F_NO_PREALLOC == 0, Errno::ENOTSUPP, || {
        "an LRU map has all its elements from the start: BPF_F_NO_PREALLOC does not go with it"
            .to_owned()
    })?;
    let percpu = MapType::from_id(def.map_type).is_some_and(MapType::is_percpu);
    let apart = percpu || def.flags & BPF_F_NO_COMMON_LRU != 0;
    rule(!apart || def.flags & BPF_F_NUMA_NODE == 0, Errno::EINVAL, || {
        "BPF_F_NUMA_NODE does not go with values or lists for each CPU".to_owned()
    })?;
    check_hash_sizes(def)
}

/// Who shares the lists; with lists for each CPU, `max_entries` becomes a multiple of the
/// number of CPUs (kernel `htab_map_alloc`).
pub(super) fn sharing(world: &World, core: &mut Core) -> Sharing {
    let (max, cpus) = (core.def().max_entries, world.cpus());
    if core.def().flags & BPF_F_NO_COMMON_LRU == 0 {
        return Sharing::Common;
    }
    let rounded = max.checked_next_multiple_of(cpus).unwrap_or(max - max % cpus);
    core.set_max_entries(rounded);
    Sharing::Percpu
}

fn make(world: &Arc<World>, mut core: Core) -> Result<Arc<dyn Map>, Errno> {
    let sharing = sharing(world, &mut core);
    let def = core.def();
    let table = LruTable::new(def, core.home(), world.cpus(), sharing)?;
    let values = Values::new(world, def, core.home(), (table.ids(), 1), Growth::Whole)?;
    Ok(Arc::new(LruHash { core, table, values }))
}

#[derive(Debug)]
struct LruHash {
    core: Core,
    table: LruTable,
    values: Values,
}

impl LruHash {
    /// Kernel `htab_lru_map_update_elem`.
    #[inline(always)]
    fn insert(&self, key: &[u8], value: Source<'_>, flags: u64, cpu: u32) -> Result<(), Errno> {
        if flags > BPF_EXIST {
            return Err(Errno::EINVAL);
        }
        let new = self.table.take(cpu)?;
        if let Err(errno) = self.values.ready(new) {
            self.table.give(new);
            return Err(errno);
        }
        self.values.write(new, 0, value);
        let key = Key::new(key);
        let Some(bucket) = self.table.index.lock(&key) else {
            self.table.give(new);
            return Err(Errno::EBUSY);
        };
        let old = bucket.find(&key);
        if let Err(errno) = check_presence(old.is_some(), flags) {
            drop(bucket);
            self.table.give(new);
            return Err(errno);
        }
        match old {
            Some(old) => {
                self.table.reference(new);
                bucket.replace(old, new, &key);
                self.table.give(old.id);
            }
            None => bucket.insert(new, &key),
        }
        Ok(())
    }
}

impl Map for LruHash {
    fn core(&self) -> &Core {
        &self.core
    }

    #[inline]
    fn lookup(&self, key: &[u8], _cpu: u32) -> Option<GuestPtr> {
        let found = self.table.index.find(key)?;
        self.table.reference(found.id);
        Some(self.values.ptr(found.id, 0))
    }

    fn update(&self, key: &[u8], value: Source<'_>, flags: u64, cpu: u32) -> Result<(), Errno> {
        self.insert(key, value, flags, cpu)
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        self.table.remove(key, |_| ())
    }

    fn visit(&self, cursor: &mut Cursor, key: &mut Vec<u8>, _cpu: u32) -> Option<GuestPtr> {
        key.resize(self.core.def().key_size as usize, 0);
        visit(&self.table.index, cursor, key).map(|id| self.values.ptr(id, 0))
    }

    fn user_lookup(&self, key: &[u8], _flags: u64, out: &mut [u8]) -> Result<(), Errno> {
        self.table.index.read(key, |id| self.values.read(id, 0, out))
    }

    fn user_update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.insert(key, Source::Host(value), flags, USER_CPU)
    }

    fn user_lookup_and_delete(&self, key: &[u8], _flags: u64, out: &mut [u8]) -> Result<(), Errno> {
        self.table.remove(key, |id| self.values.read(id, 0, out))
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
