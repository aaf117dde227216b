//! HASH: values by key (kernel `hashtab.c`).
//!
//! An update of a key that is there puts a new element in its place, as the kernel's
//! does: a program that holds a pointer to the old value goes on seeing the old value
//! until the element is used again. Only `BPF_F_LOCK` updates write in place.

use std::sync::Arc;

use skep_memory::GuestPtr;

use super::{Batches, Holds, MapType, Refusal, Rules, check_flags, rule};
use crate::budget::Meter;
use crate::fields;
use crate::flags::{
    BPF_EXIST, BPF_F_ACCESS_MASK, BPF_F_LOCK, BPF_F_NO_PREALLOC, BPF_F_NUMA_NODE, BPF_F_ZERO_SEED,
    BPF_NOEXIST,
};
use crate::index::{Found, Index, Key, Table};
use crate::map::{Cursor, ProgramOp as Op, Source};
use crate::values::{Growth, Values};
use crate::{Core, Errno, Map, MapDef, World};

/// The largest key and value together, less what the kernel's element needs
/// (`KMALLOC_MAX_SIZE - sizeof(struct htab_elem)`).
const MOST_BYTES: u64 = (4 << 20) - 48;

/// The most buckets, which are a power of two: each has 16 bytes in the kernel, and all
/// of them together must not have 2^32 (`htab_map_alloc`).
const MOST_BUCKETS: u32 = 1 << 27;

pub(super) static RULES: Rules = Rules {
    ops: &[Op::Lookup, Op::Update, Op::Delete, Op::ForEach],
    batches: Batches::Buckets,
    special: fields::SHARED,
    shareable: true,
    ..Rules::new(check, make)
};

fn check(_world: &World, def: &MapDef) -> Result<(), Refusal> {
    check_hash(def)
}

/// Rules of the hash types without LRU (kernel `htab_map_alloc_check` and
/// `htab_map_alloc`).
pub(super) fn check_hash(def: &MapDef) -> Result<(), Refusal> {
    let known = BPF_F_NO_PREALLOC | BPF_F_NUMA_NODE | BPF_F_ACCESS_MASK | BPF_F_ZERO_SEED;
    check_flags(def, known)?;
    check_hash_sizes(def)
}

/// Rules for the sizes of all hash types.
pub(super) fn check_hash_sizes(def: &MapDef) -> Result<(), Refusal> {
    let sizes = [
        ("max_entries", def.max_entries),
        ("key_size", def.key_size),
        ("value_size", def.value_size),
    ];
    for (name, size) in sizes {
        rule(size > 0, Errno::EINVAL, || format!("{name} must not be 0"))?;
    }
    let bytes = u64::from(def.key_size) + u64::from(def.value_size);
    rule(bytes < MOST_BYTES, Errno::E2BIG, || {
        format!("key and value have {bytes} bytes; they may have {}", MOST_BYTES - 1)
    })?;
    rule(def.max_entries <= MOST_BUCKETS, Errno::E2BIG, || {
        format!("max_entries may be {MOST_BUCKETS}, not {}", def.max_entries)
    })
}

fn make(world: &Arc<World>, core: Core) -> Result<Arc<dyn Map>, Errno> {
    let def = core.def();
    let most = Values::most(world, def, 1);
    let table = Table::new(def, core.home(), world.cpus(), most)?.metered(meter(&core));
    let values = Values::new(world, def, core.home(), (table.ids(), 1), growth(def))?;
    Ok(Arc::new(Hash { core, table, values }))
}

/// Whether a map has room for all its elements from the start.
pub(super) fn growth(def: &MapDef) -> Growth {
    if def.flags & BPF_F_NO_PREALLOC == 0 { Growth::Whole } else { Growth::Chunks }
}

/// What a map is charged with for its elements as they come: when they are preallocated,
/// nothing.
pub(super) fn meter(core: &Core) -> Meter {
    let usage = |count| memory_usage(core, || count);
    match usage(1) - usage(0) {
        0 => Meter::NONE,
        each => Meter::new(core, each),
    }
}

#[derive(Debug)]
struct Hash {
    core: Core,
    table: Table,
    values: Values,
}

impl Hash {
    fn insert(&self, key: &[u8], value: Source<'_>, flags: u64) -> Result<(), Errno> {
        let (locked, flags) = (flags & BPF_F_LOCK != 0, flags & !BPF_F_LOCK);
        if flags > BPF_EXIST || (locked && !self.values.layout().has_lock()) {
            return Err(Errno::EINVAL);
        }
        let key = Key::new(key);
        let bucket = self.table.index.lock(&key).ok_or(Errno::EBUSY)?;
        let old = bucket.find(&key);
        check_presence(old.is_some(), flags)?;
        match old {
            Some(old) if locked => {
                self.values.write_locked(self.core.world(), old.id, value);
            }
            Some(old) => {
                let spare = self.table.take_spare()?;
                if let Err(errno) = self.values.ready(spare.id) {
                    let id = spare.id;
                    self.table.put_spare(spare, id);
                    return Err(errno);
                }
                self.values.write(spare.id, 0, value);
                bucket.replace(old, spare.id, &key);
                self.table.put_spare(spare, old.id);
            }
            None => {
                let id = self.table.take()?;
                if let Err(errno) = self.values.ready(id) {
                    self.table.give(id);
                    return Err(errno);
                }
                self.values.write(id, 0, value);
                bucket.insert(id, &key);
            }
        }
        Ok(())
    }

    fn read(&self, id: u32, flags: u64, out: &mut [u8]) {
        if flags & BPF_F_LOCK == 0 {
            self.values.read(id, 0, out);
        } else {
            self.values.read_locked(self.core.world(), id, out);
        }
    }
}

/// The flag checks of updates (kernel `check_flags`).
pub(super) fn check_presence(present: bool, flags: u64) -> Result<(), Errno> {
    match (present, flags) {
        (true, BPF_NOEXIST) => Err(Errno::EEXIST),
        (false, BPF_EXIST) => Err(Errno::ENOENT),
        _ => Ok(()),
    }
}

/// The next element of a walk over a hash: elements that go away while it lasts may be
/// missed, none is visited twice.
pub(super) fn visit(index: &Index, cursor: &mut Cursor, key: &mut [u8]) -> Option<u32> {
    loop {
        while let Some((id, generation)) = cursor.pending.pop() {
            if index.copy_key(Found { id, generation }, key) {
                return Some(id);
            }
        }
        if cursor.next >= index.groups() {
            return None;
        }
        let elements = index.group_elements(cursor.next);
        cursor.next += 1;
        cursor.pending.extend(elements.iter().rev().map(|e| (e.id, e.generation)));
    }
}

/// Bytes that the kernel charges for a hash map of `count` elements (`htab_map_mem_usage`).
/// They are counted for maps that are not preallocated only.
pub(super) fn memory_usage(core: &Core, count: impl FnOnce() -> u64) -> u64 {
    /// `struct bpf_htab`, `struct bucket` and `struct htab_elem` without key and value, of
    /// Linux 6.18 on x86-64.
    const MAP: u64 = 896;
    const BUCKET: u64 = 16;
    const ELEMENT: u64 = 48;
    let def = core.def();
    let cpus = u64::from(core.world().cpus());
    let max = u64::from(def.max_entries);
    let round = |size: u32| u64::from(size).next_multiple_of(8);
    let (percpu, value) = match core.rules().holds {
        Holds::PercpuValues => (round(def.value_size) * cpus, 8),
        Holds::Value | Holds::Handle => (0, round(def.value_size)),
    };
    let element = ELEMENT + round(def.key_size) + value;
    let fixed = MAP + BUCKET * max.next_power_of_two();
    if def.flags & BPF_F_NO_PREALLOC != 0 {
        // Besides, the allocator has 8 bytes for each piece, and per-CPU values are two.
        let pieces = if percpu == 0 { 8 } else { 24 };
        return fixed + (element + pieces + percpu) * count();
    }
    match core.map_type() {
        // A spare and a pointer to it for each CPU.
        MapType::Hash => fixed + element * (max + cpus) + 8 * cpus,
        MapType::HashOfMaps => fixed + element * max + 8 * cpus,
        _ => fixed + (element + percpu) * max,
    }
}

impl Map for Hash {
    fn core(&self) -> &Core {
        &self.core
    }

    #[inline]
    fn lookup(&self, key: &[u8], _cpu: u32) -> Option<GuestPtr> {
        let found = self.table.index.find(key)?;
        Some(self.values.ptr(found.id, 0))
    }

    fn update(&self, key: &[u8], value: Source<'_>, flags: u64, _cpu: u32) -> Result<(), Errno> {
        self.insert(key, value, flags)
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        self.table.remove(key, |_| ())
    }

    fn visit(&self, cursor: &mut Cursor, key: &mut Vec<u8>, _cpu: u32) -> Option<GuestPtr> {
        key.resize(self.core.def().key_size as usize, 0);
        visit(&self.table.index, cursor, key).map(|id| self.values.ptr(id, 0))
    }

    fn user_lookup(&self, key: &[u8], flags: u64, out: &mut [u8]) -> Result<(), Errno> {
        self.table.index.read(key, |id| self.read(id, flags, out))
    }

    fn user_update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.insert(key, Source::Host(value), flags)
    }

    fn user_lookup_and_delete(&self, key: &[u8], flags: u64, out: &mut [u8]) -> Result<(), Errno> {
        self.table.remove(key, |id| self.read(id, flags, out))
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
