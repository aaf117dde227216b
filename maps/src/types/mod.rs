//! The map types: one file each, and a row in the table below.

mod array;
mod array_of_maps;
mod bloom_filter;
mod cgroup_array;
mod checks;
mod cpumap;
mod devmap;
mod devmap_hash;
mod hash;
mod hash_of_maps;
mod lpm_trie;
mod lru_hash;
mod lru_percpu_hash;
mod percpu_array;
mod percpu_hash;
mod perf_event_array;
mod prog_array;
mod queue;
mod queue_stack;
mod reuseport_sockarray;
mod ringbuf;
mod sockhash;
mod sockmap;
mod stack;
mod stack_trace;
mod user_ringbuf;
mod xskmap;

use std::fmt;
use std::sync::Arc;

use crate::budget::{Charge, MapMemory};
use crate::fields;
use crate::flags::{BPF_F_RDONLY, BPF_F_TOKEN_FD, BPF_F_WRONLY};
use crate::home::Home;
use crate::map::ProgramOp;
use crate::rule::{Refusal, rule};
use crate::{Core, CreateError, Errno, Map, MapDef, SpecialKind, World};

use checks::{check_array, check_flags, check_handle_array, check_handle_size};

pub use cgroup_array::CgroupArray;
pub use perf_event_array::PerfEventArray;
pub use prog_array::ProgArray;
pub use ringbuf::{Committed, Consumed, Record, Records, RingBuf};
pub use stack_trace::StackTrace;
pub use user_ringbuf::{Drain, UserNext, UserRecord, UserRingBuf, UserSample};

/// How a type checks a definition, in the kernel's order.
type Check = fn(&World, &MapDef) -> Result<(), Refusal>;
/// How a type makes a map from a definition that keeps its rules.
type Make = fn(&Arc<World>, Core) -> Result<Arc<dyn Map>, Errno>;

struct Row {
    id: u32,
    name: &'static str,
    rules: Option<&'static Rules>,
}

/// What is the same for all maps of a type: what the kernel's tables of map operations,
/// helpers and commands say of it.
#[derive(Debug)]
pub(crate) struct Rules {
    check: Check,
    make: Make,
    /// What keys are.
    pub(crate) keys: Keys,
    /// What stands under a key.
    pub(crate) holds: Holds,
    /// What programs may do (kernel `check_map_func_compatibility`).
    pub(crate) ops: &'static [ProgramOp],
    /// The batch commands that it has.
    pub(crate) batches: Batches,
    /// The kernel's fields that values may have (kernel `map_check_btf`).
    special: &'static [SpecialKind],
    /// Whether it can be the inner map of a map of maps (`map_meta_equal` is set).
    pub(crate) inner: bool,
    /// Whether `map_extra` means something.
    extra: bool,
    /// Flags that the kernel adds when it makes a map.
    adds: u32,
    /// Whether all that a map is lies in its home and means the same in every process.
    shareable: bool,
}

impl Rules {
    /// The rules of a type with keys of bytes, one value each, and nothing more.
    const fn new(check: Check, make: Make) -> Self {
        Self {
            check,
            make,
            keys: Keys::Bytes,
            holds: Holds::Value,
            ops: &[],
            batches: Batches::None,
            special: &[],
            inner: true,
            extra: false,
            adds: 0,
            shareable: false,
        }
    }
}

/// What the keys of a type are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// Any bytes.
    Bytes,
    /// Indexes from 0, in 4 bytes.
    Index,
    /// There are none.
    None,
}

/// What stands under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// A value that all CPUs share.
    Value,
    /// A value for each CPU.
    PercpuValues,
    /// A reference to another object of the kernel, 4 bytes wide in system calls (kernel
    /// `IS_FD_MAP`).
    Handle,
}

/// The batch commands of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Batches {
    /// It has none.
    None,
    /// Lookup and update, from key to key.
    Keys,
    /// Lookup, update and delete, from key to key.
    KeysAndDelete,
    /// All four, from bucket to bucket.
    Buckets,
}

macro_rules! map_types {
    ($($id:literal $variant:ident $name:literal $($module:ident)?;)*) => {
        /// The kernel's map types (`enum bpf_map_type`).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the kernel's names say what they are")]
        pub enum MapType {
            $($variant,)*
        }

        impl MapType {
            /// All of them, by number.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];
        }

        static ROWS: &[Row] = &[
            $(Row { id: $id, name: $name, rules: map_types!(@rules $($module)?) },)*
        ];
    };
    (@rules) => { None };
    (@rules $module:ident) => { Some(&$module::RULES) };
}

// Number, name as bpftool prints it, and the module that implements the type; a type
// without a module is refused by name.
map_types! {
    1  Hash                "hash"                  hash;
    2  Array               "array"                 array;
    3  ProgArray           "prog_array"            prog_array;
    4  PerfEventArray      "perf_event_array"      perf_event_array;
    5  PercpuHash          "percpu_hash"           percpu_hash;
    6  PercpuArray         "percpu_array"          percpu_array;
    7  StackTrace          "stack_trace"           stack_trace;
    8  CgroupArray         "cgroup_array"          cgroup_array;
    9  LruHash             "lru_hash"              lru_hash;
    10 LruPercpuHash       "lru_percpu_hash"       lru_percpu_hash;
    11 LpmTrie             "lpm_trie"              lpm_trie;
    12 ArrayOfMaps         "array_of_maps"         array_of_maps;
    13 HashOfMaps          "hash_of_maps"          hash_of_maps;
    14 Devmap              "devmap"                devmap;
    15 Sockmap             "sockmap"               sockmap;
    16 Cpumap              "cpumap"                cpumap;
    17 Xskmap              "xskmap"                xskmap;
    18 Sockhash            "sockhash"              sockhash;
    19 CgroupStorage       "cgroup_storage";
    20 ReuseportSockarray  "reuseport_sockarray"   reuseport_sockarray;
    21 PercpuCgroupStorage "percpu_cgroup_storage";
    22 Queue               "queue"                 queue;
    23 Stack               "stack"                 stack;
    24 SkStorage           "sk_storage";
    25 DevmapHash          "devmap_hash"           devmap_hash;
    26 StructOps           "struct_ops";
    27 Ringbuf             "ringbuf"               ringbuf;
    28 InodeStorage        "inode_storage";
    29 TaskStorage         "task_storage";
    30 BloomFilter         "bloom_filter"          bloom_filter;
    31 UserRingbuf         "user_ringbuf"          user_ringbuf;
    32 CgrpStorage         "cgrp_storage";
    33 Arena               "arena";
}

impl MapType {
    /// The type with this number (`BPF_MAP_TYPE_*`).
    #[must_use]
    pub fn from_id(id: u32) -> Option<Self> {
        let index = ROWS.iter().position(|row| row.id == id)?;
        Some(Self::ALL[index])
    }

    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// The type's number.
    #[must_use]
    pub fn id(self) -> u32 {
        self.row().id
    }

    /// The type's name as bpftool prints it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    pub(crate) fn rules(self) -> Option<&'static Rules> {
        self.row().rules
    }

    /// Whether skep implements the type.
    #[must_use]
    pub fn is_supported(self) -> bool {
        self.rules().is_some()
    }

    /// What the type's keys are; `None` for a type that skep does not implement.
    #[must_use]
    pub fn keys(self) -> Option<Keys> {
        Some(self.rules()?.keys)
    }

    /// What stands under a key; `None` for a type that skep does not implement.
    #[must_use]
    pub fn holds(self) -> Option<Holds> {
        Some(self.rules()?.holds)
    }

    /// What programs may do with a map of the type.
    #[must_use]
    pub fn program_ops(self) -> &'static [ProgramOp] {
        self.rules().map_or(&[], |rules| rules.ops)
    }

    /// Whether each CPU has its own values.
    #[must_use]
    pub fn is_percpu(self) -> bool {
        self.holds() == Some(Holds::PercpuValues)
    }

    /// Whether keys are indexes from 0.
    #[must_use]
    pub fn is_indexed(self) -> bool {
        self.keys() == Some(Keys::Index)
    }

    /// Whether values are references to other objects, 4 bytes wide in system calls.
    #[must_use]
    pub fn holds_handles(self) -> bool {
        self.holds() == Some(Holds::Handle)
    }
}

impl fmt::Display for MapType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Makes a map, as `BPF_MAP_CREATE` does.
///
/// # Errors
///
/// [`CreateError`] with the kernel's error number and the rule that was broken, or
/// with the name of what skep does not have.
pub fn create(world: &Arc<World>, def: &MapDef) -> Result<Arc<dyn Map>, CreateError> {
    create_in(world, def, Home::private())
}

/// Makes a map in a home, or finds it there.
pub(crate) fn create_in(
    world: &Arc<World>,
    def: &MapDef,
    home: Home,
) -> Result<Arc<dyn Map>, CreateError> {
    let Some(map_type) = MapType::from_id(def.map_type) else {
        return Err(CreateError::UnknownType { map: def.name.clone(), map_type: def.map_type });
    };
    let refused = |refusal: Refusal| CreateError::Refused {
        map: def.name.clone(),
        map_type,
        rule: refusal.rule,
        errno: refusal.errno,
    };
    let Some(rules) = map_type.rules() else {
        let what = format!("map type {map_type}");
        return Err(CreateError::Unsupported { map: def.name.clone(), what });
    };
    check_common(def, rules).map_err(refused)?;
    check_own(world, def, rules).map_err(refused)?;
    if home.is_shared() && !(rules.shareable && def.special.is_empty()) {
        let what = "a file for maps whose contents mean something in one process only".to_owned();
        return Err(CreateError::Unsupported { map: def.name.clone(), what });
    }
    let def = settled(def);
    fields::check(&def, rules.special).map_err(refused)?;
    check_supported(&def)?;
    let failed =
        |errno| refused(Refusal { errno, rule: "there is no room for its elements".to_owned() });
    let core = Core::new(world, map_type, rules, def, home).map_err(failed)?;
    let map = (rules.make)(world, core).map_err(failed)?;
    // What has been made so far is not committed yet, and goes again when it may not be.
    let charge = Charge::take(world, || map.memory_usage());
    let over = |memory: MapMemory| {
        let rule = format!("it takes {} bytes, and {memory}", map.memory_usage());
        refused(Refusal { errno: Errno::ENOMEM, rule })
    };
    if let Some(charge) = charge.map_err(over)? {
        map.core().hold(charge);
    }
    world.register(&map);
    Ok(map)
}

/// The type's own rules; what delegates rights, a token, comes after them (kernel
/// `map_create`), and there is none.
fn check_own(world: &World, def: &MapDef, rules: &Rules) -> Result<(), Refusal> {
    if def.flags & BPF_F_TOKEN_FD == 0 {
        return (rules.check)(world, def);
    }
    let without = MapDef { flags: def.flags & !BPF_F_TOKEN_FD, ..def.clone() };
    (rules.check)(world, &without)?;
    rule(false, Errno::EINVAL, || "BPF_F_TOKEN_FD names no token: there are none".to_owned())
}

/// A definition as the kernel has it once the map is made.
fn settled(def: &MapDef) -> MapDef {
    let mut def = def.clone();
    def.flags |= MapType::from_id(def.map_type).and_then(MapType::rules).map_or(0, |r| r.adds);
    fields::settle(&mut def);
    def.inner = def.inner.map(|inner| Box::new(settled(&inner)));
    def
}

/// Rules for all types (kernel `map_create`).
fn check_common(def: &MapDef, rules: &Rules) -> Result<(), Refusal> {
    let both = |a, b| def.flags & (a | b) == a | b;
    rule(def.map_extra == 0 || rules.extra, Errno::EINVAL, || {
        format!("map_extra must be 0 for this type, not {}", def.map_extra)
    })?;
    rule(!both(BPF_F_RDONLY, BPF_F_WRONLY), Errno::EINVAL, || {
        "BPF_F_RDONLY and BPF_F_WRONLY exclude each other".to_owned()
    })?;
    let numa = def.flags & crate::flags::BPF_F_NUMA_NODE != 0;
    rule(!numa || def.numa_node == 0, Errno::EINVAL, || {
        format!("NUMA node {} is not online; there is node 0 only", def.numa_node)
    })
}

/// What skep does not have yet, though the kernel would make the map.
fn check_supported(def: &MapDef) -> Result<(), CreateError> {
    if def.flags & crate::flags::BPF_F_STACK_BUILD_ID != 0 {
        let what = "BPF_F_STACK_BUILD_ID".to_owned();
        return Err(CreateError::Unsupported { map: def.name.clone(), what });
    }
    Ok(())
}

/// The index in an array's key.
pub(crate) fn index_of(key: &[u8]) -> u32 {
    u32::from_le_bytes(key.try_into().expect("the keys of arrays are 4 bytes"))
}

/// The next index of an array (kernel `array_map_get_next_key`).
pub(crate) fn next_index(key: Option<&[u8]>, max: u32, next: &mut [u8]) -> Result<(), Errno> {
    let index = match key.map(index_of) {
        Some(index) if index < max => index + 1,
        _ => 0,
    };
    if index >= max {
        return Err(Errno::ENOENT);
    }
    next.copy_from_slice(&index.to_le_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_the_order_of_their_types() {
        for &map_type in MapType::ALL {
            assert_eq!(MapType::from_id(map_type.id()), Some(map_type));
        }
    }
}
