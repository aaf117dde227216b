//! What user space gets wrong with maps: the error says what, and by how much.

use std::collections::BTreeSet;

use skep::{Error, FixedHost, Map, MapDef, MapType, Object, Vm, flags};

fn vm() -> Vm {
    Vm::builder().host(FixedHost::default()).cpus(2).build().expect("a machine")
}

fn def(map_type: MapType, key_size: u32, value_size: u32, max_entries: u32) -> MapDef {
    MapDef {
        name: "tested".to_owned(),
        map_type: map_type.id(),
        key_size,
        value_size,
        max_entries,
        flags: if map_type == MapType::LpmTrie { flags::BPF_F_NO_PREALLOC } else { 0 },
        ..MapDef::default()
    }
}

fn map(vm: &Vm, def: &MapDef) -> Map {
    Map::create(vm, def).unwrap_or_else(|error| panic!("{error}"))
}

fn told<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => "no error".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_wrong_length_is_told_with_the_right_one() {
    let vm = vm();
    for (map_type, value) in [
        (MapType::Hash, 8),
        (MapType::Array, 8),
        (MapType::LruHash, 8),
        // Two CPUs' values.
        (MapType::PercpuHash, 16),
        (MapType::PercpuArray, 16),
        (MapType::LruPercpuHash, 16),
    ] {
        let map = map(&vm, &def(map_type, 4, 8, 2));
        let told_of_key = |op: &str, len: usize| {
            format!(
                "map `tested`: {op} failed: the key has {len} bytes, 4 are expected: invalid \
                 argument (EINVAL, 22)"
            )
        };
        for len in [0, 3, 5, 4096] {
            let key = vec![0; len];
            assert_eq!(told(map.lookup_bytes(&key)), told_of_key("lookup", len));
            assert_eq!(told(map.delete_bytes(&key)), told_of_key("delete", len));
            let update = map.update_bytes(&key, &vec![0; value], 0);
            assert_eq!(told(update), told_of_key("update", len));
            assert_eq!(told(map.next_key(Some(&key))), told_of_key("next key", len));
        }
        for len in [0, value - 1, value + 1, 4096] {
            let expected = format!(
                "map `tested`: update failed: the value has {len} bytes, {value} are expected: \
                 invalid argument (EINVAL, 22)"
            );
            assert_eq!(told(map.update_bytes(&[0; 4], &vec![0; len], 0)), expected, "{map_type}");
        }
    }
    let queue = map(&vm, &def(MapType::Queue, 0, 8, 2));
    let wrong = told(queue.push(&1u32, 0));
    assert!(wrong.contains("4 bytes") && wrong.contains('8'), "{wrong}");
}

#[test]
fn what_has_no_room_says_what_is_full() {
    let vm = vm();
    let full = |map_type, key_size| {
        let map = map(&vm, &def(map_type, key_size, 8, 1));
        let key = |first: u8| {
            let mut key = vec![0; key_size as usize];
            key[0] = if map_type == MapType::LpmTrie { first * 8 } else { first };
            key
        };
        let value = vec![0; if map.map_type().is_percpu() { 16 } else { 8 }];
        map.update_bytes(&key(0), &value, 0).expect("there is room for one");
        told(map.update_bytes(&key(1), &value, 0))
    };
    let all = "all 1 entries are in use";
    let e2big = "too big, or full (E2BIG, 7)";
    for (map_type, key_size, why, errno) in [
        (MapType::Hash, 4, all, e2big),
        (MapType::PercpuHash, 4, all, e2big),
        (MapType::LpmTrie, 8, all, "no space left (ENOSPC, 28)"),
        (MapType::Array, 4, "index 1 is beyond its 1 entries", e2big),
        (MapType::PercpuArray, 4, "index 1 is beyond its 1 entries", e2big),
    ] {
        let expected = format!("map `tested`: update failed: {why}: {errno}");
        assert_eq!(full(map_type, key_size), expected, "{map_type}");
    }
    let queue = map(&vm, &def(MapType::Queue, 0, 8, 1));
    queue.push(&1u64, 0).expect("there is room for one");
    let full = told(queue.push(&2u64, 0));
    assert_eq!(full, format!("map `tested`: update failed: {all}: {e2big}"));
}

#[test]
fn an_inner_map_that_differs_is_told_with_both_sides() {
    let vm = vm();
    let template = def(MapType::Hash, 4, 8, 2);
    let outer =
        MapDef { inner: Some(Box::new(template.clone())), ..def(MapType::HashOfMaps, 4, 4, 2) };
    let outer = map(&vm, &outer);
    let put = |def: MapDef| {
        let inner = map(&vm, &MapDef { name: "inner".to_owned(), ..def });
        told(outer.set_map(&0u32, &inner))
    };
    let expected = |what: &str, has: u32, wanted: u32| {
        format!(
            "map `tested`: update failed: the {what} of map `inner` is {has}, that of inner maps \
             {wanted}: invalid argument (EINVAL, 22)"
        )
    };
    assert_eq!(put(MapDef { key_size: 8, ..template.clone() }), expected("key_size", 8, 4));
    assert_eq!(put(MapDef { value_size: 4, ..template.clone() }), expected("value_size", 4, 8));
    assert_eq!(put(MapDef { flags: 1, ..template.clone() }), expected("flags", 1, 0));
    let other_type = put(MapDef { map_type: MapType::LruHash.id(), ..template.clone() });
    assert!(other_type.contains("lru_hash") || other_type.contains("type"), "{other_type}");
    assert!(outer.entries().is_empty(), "nothing was put in");
    assert_eq!(put(MapDef { max_entries: 9, ..template }), "no error", "any number of entries");
}

#[test]
fn a_program_of_another_type_stays_out_of_an_array_of_programs() {
    let vm = vm();
    let load = |name: &str| {
        let path = format!("{}/testdata/objects/{name}", env!("CARGO_MANIFEST_DIR"));
        vm.load(Object::open(path).expect("an object")).expect("its maps")
    };
    let (dispatch, other) = (load("dispatch.bpf.o"), load("syscall_prog.bpf.o"));
    let array = dispatch.map("handlers").expect("an array");
    let before = array.entries();
    let program = other.program("calculate").expect("a program");
    let told = told(array.set_program(0, &program));
    let kind = program.prog_type().expect("it has a type").name;
    let why = format!("the array is for programs of another type than `{kind}`");
    assert!(told.contains(&why) && told.contains("EINVAL"), "{told}");
    assert_eq!(array.entries(), before);
}

#[test]
fn a_full_window_is_told() {
    let vm = vm();
    let giant = def(MapType::Array, 4, 1 << 20, 1 << 10);
    let mut maps = Vec::new();
    let refused = loop {
        match Map::create(&vm, &giant) {
            Ok(map) => maps.push(map),
            Err(error) => break error.to_string(),
        }
        assert!(maps.len() < 4, "four do not fit");
    };
    assert!(refused.contains("there is no room for its elements"), "{refused}");
    assert!(refused.contains("ENOMEM"), "{refused}");
    drop(maps);
    map(&vm, &giant);
    // A map that grows meets the end of the window when it is used; most of it is taken by
    // maps that nobody uses.
    let fillers = [1 << 10, 1 << 8, 1 << 6].map(|max_entries| {
        let filler = def(MapType::Array, 4, 1 << 20, max_entries);
        std::iter::from_fn(|| Map::create(&vm, &filler).ok()).collect::<Vec<_>>()
    });
    assert!(fillers.iter().flatten().count() > 3);
    let grows =
        MapDef { flags: flags::BPF_F_NO_PREALLOC, ..def(MapType::Hash, 4, 1 << 20, 1 << 16) };
    let grows = map(&vm, &grows);
    let value = vec![0; 1 << 20];
    let failed = (0u32..).find_map(|key| grows.update_bytes(&key.to_le_bytes(), &value, 0).err());
    assert_eq!(
        failed.expect("the window is finite").to_string(),
        "map `tested`: update failed: guest memory is full: out of memory (ENOMEM, 12)"
    );
}

#[test]
fn a_walk_ends_and_gives_what_stays_whoever_deletes() {
    let vm = vm();
    for map_type in [MapType::Hash, MapType::LruHash, MapType::LpmTrie] {
        let key_size = if map_type == MapType::LpmTrie { 8 } else { 4 };
        let map = map(&vm, &def(map_type, key_size, 8, 1000));
        let key = |number: u32| match map_type {
            MapType::LpmTrie => [32u32.to_le_bytes(), number.to_be_bytes()].concat(),
            _ => number.to_le_bytes().to_vec(),
        };
        (0..600).for_each(|n| map.update_bytes(&key(n), &[0; 8], 0).expect("there is room"));
        // With each entry that comes, one is deleted that may be the next one, and one that
        // comes is put in.
        let mut doomed = (0..600).filter(|number| number % 3 == 0).rev();
        let mut new = 10_000..;
        let mut seen = BTreeSet::new();
        for (given, (own, _)) in map.walk_bytes().enumerate() {
            assert!(given < 4000, "{map_type}: it ends");
            assert!(seen.insert(own), "{map_type}: no key comes twice");
            if let Some(number) = doomed.next() {
                map.delete_bytes(&key(number)).expect("it is there");
            }
            let _full_perhaps = new.next().map(|n| map.update_bytes(&key(n), &[0; 8], 0));
        }
        let stays = (0..600).filter(|number| number % 3 != 0).map(key);
        let missed = stays.filter(|key| !seen.contains(key)).count();
        // An LRU map may have put some out for those that came.
        assert!(missed == 0 || map_type == MapType::LruHash, "{map_type}: {missed} were missed");
    }
}
