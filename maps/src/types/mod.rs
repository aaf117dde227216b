//! The map types: one file each, and a row in the table below.

mod array;
mod array_of_maps;
mod hash;
mod hash_of_maps;
mod percpu_array;
mod percpu_hash;
mod prog_array;
mod ringbuf;

use std::fmt;
use std::sync::Arc;

use crate::flags::{
    BPF_F_ACCESS_MASK, BPF_F_RDONLY, BPF_F_RDONLY_PROG, BPF_F_WRONLY, BPF_F_WRONLY_PROG,
};
use crate::{Core, CreateError, Errno, Map, MapDef, World};

pub use prog_array::ProgArray;
pub use ringbuf::{Consumed, Record, RingBuf};

/// How a type makes its maps: the creation rules, then the map.
type Make = fn(&Arc<World>, Core) -> Result<Arc<dyn Map>, Errno>;
/// How a type checks a definition, in the kernel's order.
type Check = fn(&World, &MapDef) -> Result<(), Refusal>;

struct Row {
    id: u32,
    name: &'static str,
    percpu: bool,
    implementation: Option<(Check, Make)>,
}

/// Which creation rule a definition breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) errno: Errno,
    pub(crate) rule: String,
}

/// A [`Refusal`] unless a rule holds.
pub(crate) fn rule(
    holds: bool,
    errno: Errno,
    rule: impl FnOnce() -> String,
) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(Refusal { errno, rule: rule() }) }
}

macro_rules! map_types {
    ($($id:literal $variant:ident $name:literal $percpu:ident $($module:ident)?;)*) => {
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
            $(Row {
                id: $id,
                name: $name,
                percpu: map_types!(@percpu $percpu),
                implementation: map_types!(@implementation $($module)?),
            },)*
        ];
    };
    (@percpu shared) => { false };
    (@percpu percpu) => { true };
    (@implementation) => { None };
    (@implementation $module:ident) => { Some(($module::check, $module::make)) };
}

// Number, name as bpftool prints it, one value or one for each CPU, and the module that
// implements the type; a type without a module is refused by name.
map_types! {
    1  Hash                "hash"                  shared hash;
    2  Array               "array"                 shared array;
    3  ProgArray           "prog_array"            shared prog_array;
    4  PerfEventArray      "perf_event_array"      shared;
    5  PercpuHash          "percpu_hash"           percpu percpu_hash;
    6  PercpuArray         "percpu_array"          percpu percpu_array;
    7  StackTrace          "stack_trace"           shared;
    8  CgroupArray         "cgroup_array"          shared;
    9  LruHash             "lru_hash"              shared;
    10 LruPercpuHash       "lru_percpu_hash"       percpu;
    11 LpmTrie             "lpm_trie"              shared;
    12 ArrayOfMaps         "array_of_maps"         shared array_of_maps;
    13 HashOfMaps          "hash_of_maps"          shared hash_of_maps;
    14 Devmap              "devmap"                shared;
    15 Sockmap             "sockmap"               shared;
    16 Cpumap              "cpumap"                shared;
    17 Xskmap              "xskmap"                shared;
    18 Sockhash            "sockhash"              shared;
    19 CgroupStorage       "cgroup_storage"        shared;
    20 ReuseportSockarray  "reuseport_sockarray"   shared;
    21 PercpuCgroupStorage "percpu_cgroup_storage" percpu;
    22 Queue               "queue"                 shared;
    23 Stack               "stack"                 shared;
    24 SkStorage           "sk_storage"            shared;
    25 DevmapHash          "devmap_hash"           shared;
    26 StructOps           "struct_ops"            shared;
    27 Ringbuf             "ringbuf"               shared ringbuf;
    28 InodeStorage        "inode_storage"         shared;
    29 TaskStorage         "task_storage"          shared;
    30 BloomFilter         "bloom_filter"          shared;
    31 UserRingbuf         "user_ringbuf"          shared;
    32 CgrpStorage         "cgrp_storage"          shared;
    33 Arena               "arena"                 shared;
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

    /// Whether each CPU has its own values.
    #[must_use]
    pub fn is_percpu(self) -> bool {
        self.row().percpu
    }

    /// Whether skep implements the type.
    #[must_use]
    pub fn is_supported(self) -> bool {
        self.row().implementation.is_some()
    }

    /// Whether values are references to other kernel objects, 4 bytes wide in system
    /// calls (kernel `IS_FD_MAP`).
    #[must_use]
    pub fn holds_handles(self) -> bool {
        matches!(
            self,
            Self::PerfEventArray
                | Self::ProgArray
                | Self::CgroupArray
                | Self::ArrayOfMaps
                | Self::HashOfMaps
        )
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
    let Some(map_type) = MapType::from_id(def.map_type) else {
        return Err(CreateError::UnknownType { map: def.name.clone(), map_type: def.map_type });
    };
    let refused = |refusal: Refusal| CreateError::Refused {
        map: def.name.clone(),
        map_type,
        rule: refusal.rule,
        errno: refusal.errno,
    };
    let Some((check, make)) = map_type.row().implementation else {
        let what = format!("map type {map_type}");
        return Err(CreateError::Unsupported { map: def.name.clone(), what });
    };
    check_common(world, def, map_type).map_err(refused)?;
    check(world, def).map_err(refused)?;
    check_supported(def)?;
    let failed =
        |errno| refused(Refusal { errno, rule: "there is no room for its elements".to_owned() });
    let core = Core::new(world, map_type, def.clone()).map_err(failed)?;
    let map = make(world, core).map_err(failed)?;
    world.register(&map);
    Ok(map)
}

/// Rules for all types (kernel `map_create`).
fn check_common(world: &World, def: &MapDef, map_type: MapType) -> Result<(), Refusal> {
    let both = |a, b| def.flags & (a | b) == a | b;
    rule(
        def.map_extra == 0 || matches!(map_type, MapType::BloomFilter | MapType::Arena),
        Errno::EINVAL,
        || format!("map_extra must be 0 for this type, not {}", def.map_extra),
    )?;
    rule(!both(BPF_F_RDONLY, BPF_F_WRONLY), Errno::EINVAL, || {
        "BPF_F_RDONLY and BPF_F_WRONLY exclude each other".to_owned()
    })?;
    rule(!both(BPF_F_RDONLY_PROG, BPF_F_WRONLY_PROG), Errno::EINVAL, || {
        "BPF_F_RDONLY_PROG and BPF_F_WRONLY_PROG exclude each other".to_owned()
    })?;
    let numa = def.flags & crate::flags::BPF_F_NUMA_NODE != 0;
    rule(!numa || def.numa_node == 0, Errno::EINVAL, || {
        format!("NUMA node {} is not online; there is node 0 only", def.numa_node)
    })?;
    for field in &def.special {
        let inside = field.offset.checked_add(field.size).is_some_and(|e| e <= def.value_size);
        rule(inside, Errno::EINVAL, || {
            format!("a {:?} field reaches beyond the value", field.kind)
        })?;
        check_special(world, def, map_type, field.kind)?;
    }
    Ok(())
}

/// Which types may hold which fields of the kernel (kernel `map_check_btf`).
fn check_special(
    _world: &World,
    def: &MapDef,
    map_type: MapType,
    kind: crate::SpecialKind,
) -> Result<(), Refusal> {
    use crate::SpecialKind as Kind;
    let in_type = match kind {
        Kind::SpinLock => matches!(
            map_type,
            MapType::Hash
                | MapType::Array
                | MapType::CgroupStorage
                | MapType::SkStorage
                | MapType::InodeStorage
                | MapType::TaskStorage
                | MapType::CgrpStorage
        ),
        Kind::Timer | Kind::Workqueue => {
            matches!(map_type, MapType::Hash | MapType::LruHash | MapType::Array)
        }
        _ => true,
    };
    let access = def.flags & (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG) == 0;
    rule(access, Errno::EACCES, || {
        format!("a {kind:?} needs programs that may both read and write")
    })?;
    rule(in_type, Errno::EOPNOTSUPP, || format!("this type cannot hold a {kind:?}"))
}

/// What skep does not have yet, though the kernel would make the map.
fn check_supported(def: &MapDef) -> Result<(), CreateError> {
    let unsupported = |what: String| Err(CreateError::Unsupported { map: def.name.clone(), what });
    if def.flags & BPF_F_WRONLY_PROG != 0 {
        return unsupported("BPF_F_WRONLY_PROG".to_owned());
    }
    match def.special.iter().find(|field| field.kind != crate::SpecialKind::SpinLock) {
        Some(field) => unsupported(format!("{:?} field in its values", field.kind)),
        None => Ok(()),
    }
}

/// Flags outside `known` are refused.
pub(crate) fn check_flags(def: &MapDef, known: u32) -> Result<(), Refusal> {
    let unknown = def.flags & !known;
    rule(unknown == 0, Errno::EINVAL, || format!("flags {unknown:#x} do not exist for this type"))
}

/// Rules of all array types (kernel `array_map_alloc_check`).
pub(crate) fn check_array(def: &MapDef) -> Result<(), Refusal> {
    rule(def.max_entries > 0, Errno::EINVAL, || "max_entries must not be 0".to_owned())?;
    rule(def.key_size == 4, Errno::EINVAL, || {
        format!("the key of an array is 4 bytes, not {}", def.key_size)
    })?;
    rule(def.value_size > 0, Errno::EINVAL, || "value_size must not be 0".to_owned())?;
    rule(def.value_size <= i32::MAX.cast_unsigned(), Errno::E2BIG, || {
        format!("a value of {} bytes is too big", def.value_size)
    })
}

/// Rules of the arrays that hold handles (kernel `fd_array_map_alloc_check`).
pub(crate) fn check_handle_array(def: &MapDef) -> Result<(), Refusal> {
    rule(def.value_size == 4, Errno::EINVAL, || {
        format!("the value of this type is 4 bytes, not {}", def.value_size)
    })?;
    rule(def.flags & (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG) == 0, Errno::EINVAL, || {
        "BPF_F_RDONLY_PROG and BPF_F_WRONLY_PROG do not exist for this type".to_owned()
    })?;
    check_flags(def, crate::flags::BPF_F_NUMA_NODE | BPF_F_ACCESS_MASK)?;
    check_array(def)
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
