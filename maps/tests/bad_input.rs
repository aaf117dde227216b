//! What user space may get wrong: sizes, lengths, keys that are not there, maps that are
//! full, a window that is. It gets an error, and all else is as it was.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use skep_maps::{
    CreateError, Errno, Map, MapDef, MapType, RingBuf, Source, UserRingBuf, World, create, flags,
    sys,
};
use skep_memory::Window;

use common::{def, giants};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn world(window: u64) -> Arc<World> {
    let window = Window::with_len(window).expect("the host gives address space");
    World::new(window, 2).expect("there is room")
}

/// A small map of each type that there is.
fn small(map_type: MapType) -> MapDef {
    match map_type {
        MapType::Ringbuf | MapType::UserRingbuf => def(map_type, 0, 0, 4096),
        MapType::Queue | MapType::Stack | MapType::BloomFilter => def(map_type, 0, 8, 4),
        MapType::LpmTrie => def(map_type, 8, 8, 4),
        MapType::StackTrace => def(map_type, 4, 64, 4),
        MapType::Cpumap => def(map_type, 4, 4, 2),
        MapType::Hash
        | MapType::Array
        | MapType::PercpuHash
        | MapType::PercpuArray
        | MapType::LruHash
        | MapType::LruPercpuHash => def(map_type, 4, 12, 4),
        _ => def(map_type, 4, 4, 4),
    }
}

fn supported() -> impl Iterator<Item = MapType> {
    MapType::ALL.iter().copied().filter(|map_type| map_type.is_supported())
}

/// What a world has, as others see it.
#[derive(Debug, PartialEq, Eq)]
struct State {
    free: u64,
    maps: Vec<u32>,
    used: u64,
}

fn state(world: &World) -> State {
    State {
        free: world.window().free_bytes(),
        maps: world.maps().iter().map(|map| map.core().id()).collect(),
        used: world.map_memory().used,
    }
}

#[test]
fn keys_and_values_of_wrong_lengths_are_refused_and_change_nothing() {
    let world = world(64 * MIB);
    for map_type in supported() {
        let map = create(&world, &small(map_type)).unwrap_or_else(|error| panic!("{error}"));
        let (key_size, value_size) =
            (map.core().def().key_size as usize, map.core().user_value_size());
        let (key, value) = (vec![0; key_size], vec![0; value_size]);
        let good_key = (key_size > 0).then_some(&key[..]);
        let keys = sys::keys(&*map);
        for wrong in [0, 1, key_size.wrapping_sub(1), key_size + 1, 4096] {
            let Some(bytes) = (wrong != key_size).then(|| vec![0; wrong.min(4096)]) else {
                continue;
            };
            let bad = Some(&bytes[..]);
            let what = format!("{map_type}, a key of {wrong} bytes");
            let update = sys::update(&*map, bad, &value, 0);
            assert_eq!(update, Err(Errno::EINVAL), "{what}");
            let lookup = sys::lookup(&*map, bad, 0, &mut value.clone());
            assert_eq!(lookup, Err(Errno::EINVAL), "{what}");
            assert_eq!(sys::delete(&*map, bad), Err(Errno::EINVAL), "{what}");
            let taken = sys::lookup_and_delete(&*map, bad, 0, &mut value.clone());
            assert_eq!(taken, Err(Errno::EINVAL), "{what}");
            let next = sys::next_key(&*map, bad, &mut key.clone());
            assert_eq!(next, Err(Errno::EINVAL), "{what}");
        }
        for wrong in [0, 1, value_size.wrapping_sub(1), value_size + 1, 4097] {
            let Some(mut bytes) = (wrong != value_size).then(|| vec![0; wrong.min(4097)]) else {
                continue;
            };
            let what = format!("{map_type}, a value of {wrong} bytes");
            let update = sys::update(&*map, good_key, &bytes, 0);
            assert_eq!(update, Err(Errno::EINVAL), "{what}");
            let lookup = sys::lookup(&*map, good_key, 0, &mut bytes);
            assert_eq!(lookup, Err(Errno::EINVAL), "{what}");
            let taken = sys::lookup_and_delete(&*map, good_key, 0, &mut bytes);
            assert_eq!(taken, Err(Errno::EINVAL), "{what}");
        }
        if key_size > 0 {
            assert_eq!(sys::update(&*map, None, &value, 0), Err(Errno::EFAULT), "{map_type}");
            assert_eq!(sys::delete(&*map, None), Err(Errno::EFAULT), "{map_type}");
            let short = sys::next_key(&*map, None, &mut [0; 1]);
            assert_eq!(short, Err(Errno::EINVAL), "{map_type}");
        }
        for flags in [1 << 3, 1 << 31, 1 << 32, u64::MAX] {
            assert!(sys::update(&*map, good_key, &value, flags).is_err(), "{map_type} {flags:#x}");
            let lookup = sys::lookup(&*map, good_key, flags, &mut value.clone());
            assert_eq!(lookup, Err(Errno::EINVAL), "{map_type} {flags:#x}");
        }
        assert_eq!(sys::keys(&*map), keys, "{map_type}");
    }
}

#[test]
fn a_full_map_says_so_as_the_kernel_does() {
    let world = world(64 * MIB);
    let inner = create(&world, &def(MapType::Array, 4, 8, 1)).expect("it is small");
    let put = |map: &dyn Map, number: u32| {
        let mut value = vec![0; map.core().user_value_size()];
        if map.core().map_type() == MapType::HashOfMaps {
            value = inner.core().id().to_le_bytes().to_vec();
        }
        let key = match (map.core().def().key_size, map.core().map_type()) {
            (0, _) => return sys::update(map, None, &value, 0),
            (_, MapType::LpmTrie) => [32_u32.to_le_bytes(), number.to_be_bytes()].concat(),
            _ => number.to_le_bytes().to_vec(),
        };
        sys::update(map, Some(&key), &value, 0)
    };
    for (map_type, errno) in [
        (MapType::Hash, Errno::E2BIG),
        (MapType::PercpuHash, Errno::E2BIG),
        (MapType::HashOfMaps, Errno::E2BIG),
        (MapType::Array, Errno::E2BIG),
        (MapType::PercpuArray, Errno::E2BIG),
        (MapType::Queue, Errno::E2BIG),
        (MapType::Stack, Errno::E2BIG),
        (MapType::LpmTrie, Errno::ENOSPC),
    ] {
        for no_prealloc in [false, true] {
            let mut def = small(map_type);
            if no_prealloc {
                if !matches!(map_type, MapType::Hash | MapType::PercpuHash | MapType::HashOfMaps) {
                    continue;
                }
                def.flags |= flags::BPF_F_NO_PREALLOC;
            }
            let map = create(&world, &def).unwrap_or_else(|error| panic!("{error}"));
            for number in 0..4 {
                put(&*map, number).unwrap_or_else(|errno| panic!("{map_type}: {errno}"));
            }
            let keys = sys::keys(&*map);
            for number in [4, 5, u32::MAX] {
                assert_eq!(put(&*map, number), Err(errno), "{map_type}");
            }
            assert_eq!(sys::keys(&*map), keys, "{map_type}");
        }
    }
    for map_type in [MapType::LruHash, MapType::LruPercpuHash] {
        let map = create(&world, &small(map_type)).expect("it is small");
        for number in 0..1000 {
            put(&*map, number).unwrap_or_else(|errno| panic!("{map_type}: {errno}"));
            assert!(sys::keys(&*map).len() <= 4, "{map_type}");
        }
    }
    // The kernel finds no room for the link of a socket before it looks at the table: what
    // sockets do is in `vm/tests/semantics`.
}

#[test]
fn a_ring_gives_no_record_that_does_not_fit() {
    let world = world(64 * MIB);
    let map = create(&world, &small(MapType::Ringbuf)).expect("it is small");
    let ring = map.downcast::<RingBuf>().expect("it is a ring");
    for size in [4096 - 8 + 1, 4096, 1 << 30, u64::from(u32::MAX), u64::MAX - 16, u64::MAX] {
        assert!(ring.reserve(size).is_none(), "{size} bytes");
    }
    let dropped = ring.dropped();
    assert_eq!(dropped, 6, "each is counted");
    // One byte of a ring always stays free.
    assert!(ring.reserve(4096 - 8).is_none());
    let record = ring.reserve(4096 - 16).expect("the largest that fits");
    assert!(ring.reserve(0).is_none(), "there is no room beside it");
    ring.commit(record, false, 0);
    let map = create(&world, &small(MapType::UserRingbuf)).expect("it is small");
    let ring = map.downcast::<UserRingBuf>().expect("it is a ring");
    for size in [4096 - 8 + 1, 4096, 1 << 30, 1 << 31, u32::MAX] {
        assert_eq!(ring.reserve(size).map(drop), Err(Errno::E2BIG), "{size} bytes");
    }
    let record = ring.reserve(4096 - 8).expect("all of it can be had");
    assert_eq!(ring.reserve(0).map(drop), Err(Errno::ENOSPC));
    ring.commit(record, false);
}

#[test]
fn a_walk_that_deletes_sees_every_key_that_stays() {
    let world = world(64 * MIB);
    let inner = create(&world, &def(MapType::Array, 4, 8, 1)).expect("it is small");
    for map_type in [
        MapType::Hash,
        MapType::PercpuHash,
        MapType::LruHash,
        MapType::LruPercpuHash,
        MapType::HashOfMaps,
        MapType::LpmTrie,
    ] {
        let key_size = if map_type == MapType::LpmTrie { 8 } else { 4 };
        let map = create(&world, &MapDef { max_entries: 2000, key_size, ..small(map_type) });
        let map = map.unwrap_or_else(|error| panic!("{error}"));
        let key = |number: u32| match map_type {
            MapType::LpmTrie => [32_u32.to_le_bytes(), number.to_be_bytes()].concat(),
            _ => number.to_le_bytes().to_vec(),
        };
        let mut value = vec![0; map.core().user_value_size()];
        if map_type == MapType::HashOfMaps {
            value = inner.core().id().to_le_bytes().to_vec();
        }
        (0..1000).for_each(|n| sys::update(&*map, Some(&key(n)), &value, 0).expect("room"));
        // Every second key goes when it comes, and with it one that is still to come or has
        // come already.
        let goes: BTreeSet<_> = (0..1000).step_by(2).map(key).collect();
        let stays: BTreeSet<_> = (1..1000).step_by(2).map(key).collect();
        let (mut seen, mut steps) = (BTreeSet::new(), 0);
        let mut at = vec![0; key_size as usize];
        let mut more = sys::next_key(&*map, None, &mut at).is_ok();
        let mut others = goes.iter();
        while more {
            steps += 1;
            assert!(steps < 4000, "{map_type}: the walk ends");
            seen.insert(at.clone());
            let mut next = at.clone();
            more = sys::next_key(&*map, Some(&at), &mut next).is_ok();
            if goes.contains(&at) {
                let _gone_already = sys::delete(&*map, Some(&at));
                let _the_same = others.next_back().map(|other| sys::delete(&*map, Some(other)));
            }
            at = next;
        }
        assert!(seen.is_superset(&stays), "{map_type}: some that stay were not seen");
        // One that was next was deleted meanwhile: the walk then starts anew, at most
        // once for each.
        let left: BTreeSet<_> = sys::keys(&*map).into_iter().collect();
        assert!(left.is_superset(&stays), "{map_type}: one that stays has gone");
    }
}

#[test]
fn ten_thousand_maps_live_at_once_and_leave_nothing() {
    let world = world(GIB);
    world.limit_map_memory(u64::MAX);
    let before = state(&world);
    let types: Vec<_> = supported().collect();
    let mut maps: Vec<_> = (0..10_000)
        .map(|number| {
            let def = small(types[number % types.len()]);
            create(&world, &def).unwrap_or_else(|error| panic!("number {number}: {error}"))
        })
        .collect();
    let ids: BTreeSet<_> = maps.iter().map(|map| map.core().id()).collect();
    let handles: BTreeSet<_> = maps.iter().map(|map| map.core().handle().addr()).collect();
    assert_eq!((ids.len(), handles.len()), (10_000, 10_000), "each has its own");
    let arrays = |map: &&Arc<dyn Map>| map.core().map_type() == MapType::Array;
    for (number, map) in maps.iter().enumerate().filter(|(_, map)| arrays(map)) {
        let value = [(number % 251).to_le_bytes(), [7; 8]].concat();
        sys::update(&**map, Some(&[0; 4]), &value[..12], 0).expect("it is there");
    }
    for (number, map) in maps.iter().enumerate().filter(|(_, map)| arrays(map)) {
        let mut value = [0; 12];
        sys::lookup(&**map, Some(&[0; 4]), 0, &mut value).expect("it is there");
        assert_eq!(usize::from(value[0]), number % 251, "nobody else wrote to it");
        let found = world.map_by_id(map.core().id()).expect("it is alive");
        assert!(Arc::ptr_eq(&found, map));
    }
    // In an order that is not that of their creation.
    for step in [3, 2, 1] {
        let mut number = 0;
        maps.retain(|_| {
            number += 1;
            number % step != 0
        });
    }
    assert!(maps.is_empty());
    assert_eq!(state(&world), before);
    // Handles and memory are used again.
    let again = create(&world, &small(MapType::Array)).expect("there is room");
    assert!(handles.contains(&again.core().handle().addr()));
}

#[test]
fn a_full_window_is_told_and_leaves_nothing_half_made() {
    for def in giants() {
        let world = world(4 * GIB);
        world.limit_map_memory(u64::MAX);
        let what = format!(
            "{} of {} bytes",
            MapType::from_id(def.map_type).expect("known"),
            def.value_size
        );
        let start = state(&world);
        let mut maps = Vec::new();
        // Those that lie outside the window, or grow, can be made again and again.
        let refused = loop {
            let before = state(&world);
            match create(&world, &def) {
                Ok(map) => maps.push(map),
                Err(error) => break Some((error, before)),
            }
            if maps.len() == 8 {
                break None;
            }
        };
        if let Some((error, before)) = refused {
            assert!(!maps.is_empty(), "{what}: one fits: {error}");
            assert_eq!(error.errno(), Errno::ENOMEM, "{what}");
            let sentence = format!(
                "map `tested` ({}): there is no room for its elements: out of \
                                    memory (ENOMEM, 12)",
                maps[0].core().map_type()
            );
            assert_eq!(error.to_string(), sentence);
            assert_eq!(state(&world), before, "{what}");
            // The next one's id follows on.
            let ids: Vec<u32> = maps.iter().map(|map| map.core().id()).collect();
            let next = create(&world, &small(MapType::Queue)).expect("it is small").core().id();
            assert_eq!(next, ids.last().expect("one") + 1, "{what}: a refused map takes no id");
        }
        drop(maps);
        assert_eq!(state(&world), start, "{what}");
    }
}

#[test]
fn a_map_that_is_refused_at_any_stage_leaves_the_world_as_it_was() {
    let world = world(64 * MIB);
    world.limit_map_memory(16 * MIB);
    let kept = create(&world, &small(MapType::Hash)).expect("it is small");
    let before = state(&world);
    let refused = |def: &MapDef, errno: Errno| {
        let error = create(&world, def).expect_err("it cannot be made");
        assert_eq!(error.errno(), errno, "{error}");
        assert_eq!(state(&world), before, "{error}");
        error
    };
    // By its type, by a rule, by what is missing in skep.
    let unknown = refused(&MapDef { map_type: 99, ..small(MapType::Hash) }, Errno::EINVAL);
    assert!(matches!(unknown, CreateError::UnknownType { .. }));
    refused(&MapDef { map_extra: 1, ..small(MapType::Hash) }, Errno::EINVAL);
    refused(&MapDef { key_size: 0, ..small(MapType::Hash) }, Errno::EINVAL);
    refused(&MapDef { inner: None, ..small(MapType::HashOfMaps) }, Errno::EINVAL);
    refused(&MapDef { map_type: MapType::Arena.id(), ..small(MapType::Hash) }, Errno::EOPNOTSUPP);
    // By the index, which finds no room; by the values, which come after it; by the charge,
    // which comes last.
    refused(&def(MapType::HashOfMaps, 4 << 19, 4, 1 << 27), Errno::ENOMEM);
    refused(&def(MapType::Hash, 4, 1 << 20, 1 << 10), Errno::ENOMEM);
    refused(&def(MapType::LruHash, 4, 1 << 20, 1 << 10), Errno::ENOMEM);
    refused(&def(MapType::PercpuHash, 4, 1 << 14, 1 << 12), Errno::ENOMEM);
    refused(&def(MapType::Ringbuf, 0, 0, 1 << 31), Errno::ENOMEM);
    let charged = refused(&def(MapType::Array, 4, 1 << 20, 17), Errno::ENOMEM);
    assert!(charged.to_string().contains("bytes that maps may take are in use"), "{charged}");
    refused(&def(MapType::Queue, 0, 1 << 20, 17), Errno::ENOMEM);
    refused(&def(MapType::BloomFilter, 0, 8, u32::MAX), Errno::ENOMEM);
    refused(&def(MapType::ProgArray, 4, 4, 1 << 27), Errno::ENOMEM);
    assert!(world.map_by_id(kept.core().id()).is_some());
    let next = create(&world, &small(MapType::Hash)).expect("it is small");
    assert_eq!(next.core().id(), kept.core().id() + 1, "refused maps take no ids");
}

#[test]
fn an_update_that_fails_leaves_no_element_behind() {
    let world = world(64 * MIB);
    for map_type in [MapType::Hash, MapType::PercpuHash, MapType::LruHash, MapType::LruPercpuHash] {
        let map = create(&world, &small(map_type)).expect("it is small");
        let value = vec![0; map.core().user_value_size()];
        for _ in 0..100 {
            let exists = sys::update(&*map, Some(&[9; 4]), &value, flags::BPF_EXIST);
            assert_eq!(exists, Err(Errno::ENOENT), "{map_type}");
            let program = &value[..map.core().def().value_size as usize];
            let exists = map.update(&[9; 4], Source::Host(program), flags::BPF_EXIST, 1);
            assert_eq!(exists, Err(Errno::ENOENT), "{map_type}");
        }
        let put = |number: u32| sys::update(&*map, Some(&number.to_le_bytes()), &value, 1);
        let most = (0..16).filter(|&number| put(number).is_ok()).count();
        let lru = map_type.name().starts_with("lru");
        assert_eq!(most, if lru { 16 } else { 4 }, "{map_type}");
    }
}
