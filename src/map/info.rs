//! What is known of a map.

use serde::Serialize;

use super::Map;
use crate::MapType;

/// What the kernel says of a map: `BPF_OBJ_GET_INFO_BY_FD` and the map's fdinfo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MapInfo {
    /// The map's id in its machine.
    pub id: u32,
    /// Its name, not cut to the kernel's 15 bytes.
    pub name: String,
    /// Its type as bpftool prints it.
    #[serde(rename = "type")]
    pub type_name: &'static str,
    /// Its type.
    #[serde(skip)]
    pub map_type: MapType,
    /// Size of a key in bytes.
    pub key_size: u32,
    /// Size of a value in bytes.
    pub value_size: u32,
    /// How many entries fit, as the type has rounded it; the size of a ring in bytes.
    pub max_entries: u32,
    /// Creation flags, those included that the kernel adds, but for what user space may do
    /// (`BPF_F_RDONLY`, `BPF_F_WRONLY`), which belongs to its descriptor.
    pub flags: u32,
    /// The type's extra, such as the number of hashes of a bloom filter, as it was given.
    pub map_extra: u64,
    /// Bytes that the kernel charges for the map as it is now (`map_mem_usage`).
    pub memlock: u64,
    /// Whether user space may write no more.
    pub frozen: bool,
    /// The type of keys in the object's BTF; 0 for none.
    pub btf_key_type_id: u32,
    /// The type of values in the object's BTF; 0 for none.
    pub btf_value_type_id: u32,
}

impl Map {
    /// What is known of the map.
    #[must_use]
    pub fn info(&self) -> MapInfo {
        let core = self.map().core();
        let def = core.def();
        let has_btf = self.types.btf.is_some();
        MapInfo {
            id: core.id(),
            name: def.name.clone(),
            type_name: core.map_type().name(),
            map_type: core.map_type(),
            key_size: def.key_size,
            value_size: def.value_size,
            max_entries: def.max_entries,
            flags: core.flags(),
            map_extra: def.map_extra,
            memlock: self.map().memory_usage(),
            frozen: core.is_frozen(),
            btf_key_type_id: self.types.key.filter(|_| has_btf).map_or(0, |id| id.0),
            btf_value_type_id: self.types.value.filter(|_| has_btf).map_or(0, |id| id.0),
        }
    }

    /// Bytes that the kernel would charge for the map as it is now.
    #[must_use]
    pub fn bytes_memlock(&self) -> u64 {
        self.map().memory_usage()
    }
}
