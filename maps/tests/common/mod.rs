//! Definitions of maps that several tests use.

use skep_maps::{MapDef, MapType, flags};

const GIB: u64 = 1 << 30;

/// A definition that its type takes, if the sizes are right.
pub(crate) fn def(map_type: MapType, key_size: u32, value_size: u32, max_entries: u32) -> MapDef {
    let flags = if map_type == MapType::LpmTrie { flags::BPF_F_NO_PREALLOC } else { 0 };
    let array = MapDef {
        map_type: MapType::Array.id(),
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        ..MapDef::default()
    };
    let of_maps = matches!(map_type, MapType::ArrayOfMaps | MapType::HashOfMaps);
    MapDef {
        name: "tested".to_owned(),
        map_type: map_type.id(),
        key_size,
        value_size,
        max_entries,
        flags,
        inner: of_maps.then(|| Box::new(array)),
        ..MapDef::default()
    }
}

/// Maps whose values take at least 1 GiB.
pub(crate) fn giants() -> Vec<MapDef> {
    let kib = |bytes: u64| u32::try_from(bytes >> 10).expect("small");
    vec![
        def(MapType::Array, 4, 1 << 10, kib(GIB)),
        def(MapType::Array, 4, 8, 1 << 27),
        def(MapType::Hash, 4, 1 << 10, kib(GIB)),
        def(MapType::Hash, 4, 8, 1 << 26),
        MapDef { flags: flags::BPF_F_NO_PREALLOC, ..def(MapType::Hash, 4, 8, 1 << 27) },
        def(MapType::PercpuHash, 4, 1 << 10, kib(GIB) / 2),
        def(MapType::PercpuArray, 4, 1 << 10, kib(GIB) / 2),
        def(MapType::LruHash, 4, 1 << 10, kib(GIB)),
        def(MapType::LruPercpuHash, 4, 1 << 10, kib(GIB) / 2),
        def(MapType::LpmTrie, 8, 1 << 10, kib(GIB)),
        def(MapType::Queue, 0, 1 << 10, kib(GIB)),
        def(MapType::Stack, 0, 1 << 10, kib(GIB)),
        def(MapType::BloomFilter, 0, 8, u32::MAX),
        def(MapType::Ringbuf, 0, 0, 1 << 30),
        def(MapType::UserRingbuf, 0, 0, 1 << 30),
        def(MapType::ArrayOfMaps, 4, 4, 1 << 27),
        def(MapType::HashOfMaps, 4, 4, 1 << 26),
        def(MapType::ProgArray, 4, 4, 1 << 27),
        def(MapType::PerfEventArray, 4, 4, 1 << 27),
        def(MapType::StackTrace, 4, 1016, 1 << 20),
    ]
}
