//! LPM_TRIE: values by prefixes; a lookup finds the longest that its key begins with
//! (kernel `lpm_trie.c`).
//!
//! A key is the length of a prefix in bits, four bytes in the machine's order, then its
//! data in network order. An update puts a new element in the place of the old one: a
//! program that holds a pointer goes on seeing the old value until 64 more elements were
//! replaced or deleted.

use std::sync::Arc;

use skep_memory::GuestPtr;

use super::{Batches, Refusal, Rules, check_flags, rule};
use crate::budget::Meter;
use crate::flags::{BPF_EXIST, BPF_F_ACCESS_MASK, BPF_F_NO_PREALLOC, BPF_F_NUMA_NODE, BPF_NOEXIST};
use crate::index::{AnyPrefix, Trie};
use crate::map::{ProgramOp as Op, Source};
use crate::values::{Growth, Values};
use crate::{Core, Errno, Map, MapDef, World};

/// The shortest key in bytes: a length and a byte.
const SHORTEST_KEY: u32 = 5;
/// The longest key in bytes: a length and 256 bytes.
const LONGEST_KEY: u32 = 260;
/// `struct lpm_trie_node` of Linux 6.18 on x86-64, in bytes.
const NODE_BYTES: u32 = 24;
/// The largest value in bytes: with a node and the longest key it fills what the kernel
/// can allocate in one piece.
const MOST_BYTES: u32 = (4 << 20) - 256 - NODE_BYTES;

pub(super) static RULES: Rules = Rules {
    ops: &[Op::Lookup, Op::Update, Op::Delete],
    batches: Batches::KeysAndDelete,
    shareable: true,
    ..Rules::new(check, make)
};

/// Kernel `trie_alloc`.
fn check(_world: &World, def: &MapDef) -> Result<(), Refusal> {
    rule(def.max_entries > 0, Errno::EINVAL, || "max_entries must not be 0".to_owned())?;
    rule(def.flags & BPF_F_NO_PREALLOC != 0, Errno::EINVAL, || {
        "it is never preallocated: map_flags must have BPF_F_NO_PREALLOC".to_owned()
    })?;
    check_flags(def, BPF_F_NO_PREALLOC | BPF_F_NUMA_NODE | BPF_F_ACCESS_MASK)?;
    rule((SHORTEST_KEY..=LONGEST_KEY).contains(&def.key_size), Errno::EINVAL, || {
        format!(
            "a key has a length of 4 bytes and 1 to 256 bytes of data: key_size may be \
             {SHORTEST_KEY} to {LONGEST_KEY}, not {}",
            def.key_size
        )
    })?;
    rule((1..=MOST_BYTES).contains(&def.value_size), Errno::EINVAL, || {
        format!("value_size may be 1 to {MOST_BYTES}, not {}", def.value_size)
    })
}

fn make(world: &Arc<World>, core: Core) -> Result<Arc<dyn Map>, Errno> {
    let def = core.def();
    // The kernel takes memory as it goes, so any number is fine; more than the window has
    // room for is never used.
    let most = Values::most(world, def, 1);
    let elements = def.max_entries.saturating_add(Trie::SPARES).min(most);
    let trie = Trie::new(def, core.home(), elements)?;
    let values = Values::new(world, def, core.home(), (trie.ids(), 1), Growth::Chunks)?;
    let meter = Meter::new(&core, element_bytes(core.def()));
    Ok(Arc::new(LpmTrie { core, trie, values, meter }))
}

/// What the kernel takes for an element, in bytes.
fn element_bytes(def: &MapDef) -> u64 {
    let data = u64::from(def.key_size) - 4;
    u64::from(NODE_BYTES) + data + u64::from(def.value_size)
}

#[derive(Debug)]
struct LpmTrie {
    core: Core,
    trie: Trie,
    values: Values,
    meter: Meter,
}

impl LpmTrie {
    fn insert(&self, key: &[u8], value: Source<'_>, flags: u64) -> Result<(), Errno> {
        if flags > BPF_EXIST {
            return Err(Errno::EINVAL);
        }
        let prefix = AnyPrefix::new(key).ok_or(Errno::EINVAL)?;
        let trie = self.trie.edit().ok_or(Errno::EBUSY)?;
        let place = trie.place(&prefix).ok_or(Errno::EBUSY)?;
        match (place.is_element(), flags) {
            (true, BPF_NOEXIST) => return Err(Errno::EEXIST),
            (false, BPF_EXIST) => return Err(Errno::ENOENT),
            (false, _) if trie.count() >= self.core.def().max_entries => {
                return Err(Errno::ENOSPC);
            }
            _ => {}
        }
        let id = trie.take().ok_or(Errno::ENOMEM)?;
        let charged = || if place.is_element() { Ok(()) } else { self.meter.add() };
        if let Err(errno) = self.values.ready(id).and_then(|()| charged()) {
            trie.give(id);
            return Err(errno);
        }
        self.values.write(id, 0, value);
        if trie.put(&place, id, &prefix) { Ok(()) } else { Err(Errno::EBUSY) }
    }
}

impl Map for LpmTrie {
    fn core(&self) -> &Core {
        &self.core
    }

    #[inline]
    fn lookup(&self, key: &[u8], _cpu: u32) -> Option<GuestPtr> {
        Some(self.values.ptr(self.trie.find(key)?, 0))
    }

    fn update(&self, key: &[u8], value: Source<'_>, flags: u64, _cpu: u32) -> Result<(), Errno> {
        self.insert(key, value, flags)
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        let prefix = AnyPrefix::new(key).ok_or(Errno::EINVAL)?;
        let trie = self.trie.edit().ok_or(Errno::EBUSY)?;
        trie.remove(&prefix).ok_or(Errno::ENOENT)?;
        self.meter.remove();
        Ok(())
    }

    fn user_lookup(&self, key: &[u8], _flags: u64, out: &mut [u8]) -> Result<(), Errno> {
        self.trie.read(key, |id| self.values.read(id, 0, out)).ok_or(Errno::ENOENT)
    }

    fn user_update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.insert(key, Source::Host(value), flags)
    }

    fn user_next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        if self.trie.next(key, next) { Ok(()) } else { Err(Errno::ENOENT) }
    }

    /// A node for each element; those where paths part are not counted
    /// (`trie_mem_usage`).
    fn memory_usage(&self) -> u64 {
        element_bytes(self.core.def()) * u64::from(self.trie.count())
    }
}
