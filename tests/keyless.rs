//! Maps without keys through the library: what goes in, in which order it is listed, and
//! that listing takes nothing.

use skep::{Errno, Error, Map, MapDef, MapSnapshot, MapType, Vm, flags};

fn map(map_type: MapType, value_size: u32, max_entries: u32) -> Map {
    let vm = Vm::builder().build().expect("there is room for a machine");
    let key_size = if map_type == MapType::Hash { 4 } else { 0 };
    let def = MapDef {
        name: "values".to_owned(),
        map_type: map_type.id(),
        key_size,
        value_size,
        max_entries,
        ..MapDef::default()
    };
    Map::create(&vm, &def).expect("it keeps the rules")
}

fn errno<T: std::fmt::Debug>(result: Result<T, Error>) -> Errno {
    match result {
        Err(Error::Map(error)) => error.errno,
        other => panic!("{other:?} is no error of a map"),
    }
}

#[test]
fn queues_and_stacks_give_back_what_was_pushed() {
    for (map_type, order) in [(MapType::Queue, [2_u32, 3, 4]), (MapType::Stack, [4, 3, 2])] {
        let map = map(map_type, 4, 3);
        assert_eq!(map.pop::<u32>().expect("a queue"), None);
        for n in 1..4_u32 {
            map.push(&n, flags::BPF_ANY).expect("there is room");
        }
        assert_eq!(errno(map.push(&4_u32, flags::BPF_ANY)), Errno::E2BIG);
        map.push(&4_u32, flags::BPF_EXIST).expect("the oldest goes");
        assert_eq!(errno(map.push(&5_u32, flags::BPF_NOEXIST)), Errno::EINVAL);

        let listed: Vec<u32> = map
            .entries()
            .iter()
            .map(|(key, value)| {
                assert!(key.is_empty());
                u32::from_le_bytes(value[..].try_into().expect("4 bytes"))
            })
            .collect();
        assert_eq!(listed, order);
        let shown: Vec<String> =
            MapSnapshot::of(&map).entries.iter().map(ToString::to_string).collect();
        let expected = order.map(|n| format!("{{\"value_hex\":\"0{n}000000\"}}"));
        assert_eq!(shown, expected, "nothing has been taken");

        assert_eq!(map.peek().expect("a queue"), Some(order[0]));
        for n in order {
            assert_eq!(map.pop().expect("a queue"), Some(n));
        }
        assert_eq!(map.peek::<u32>().expect("a queue"), None);
        assert!(map.entries().is_empty());
        assert!(matches!(map.pop::<[u8; 3]>(), Ok(None)));
        map.push(&1_u32, 0).expect("there is room");
        assert!(matches!(map.pop::<u64>(), Err(Error::Value { .. })), "it has 4 bytes");
    }
}

#[test]
fn a_bloom_filter_answers_and_lists_nothing() {
    let map = map(MapType::BloomFilter, 8, 100);
    assert!(!map.may_contain(&7_u64).expect("a filter"));
    map.push(&7_u64, 0).expect("a filter is never full");
    assert!(map.may_contain(&7_u64).expect("a filter"));
    assert!(!map.may_contain(&8_u64).expect("a filter"));
    assert!(map.entries().is_empty());
    assert_eq!(errno(map.push(&7_u64, flags::BPF_EXIST)), Errno::EINVAL);
    assert_eq!(errno(map.may_contain(&7_u32)), Errno::EINVAL, "the size is another");
    assert_eq!(errno(map.next_key(None)), Errno::EOPNOTSUPP);
}

#[test]
fn other_types_have_no_such_operations() {
    let hash = map(MapType::Hash, 4, 3);
    assert!(matches!(hash.push(&1_u32, 0), Err(Error::WrongType { .. })));
    assert!(matches!(hash.pop::<u32>(), Err(Error::WrongType { .. })));
    assert!(matches!(hash.peek::<u32>(), Err(Error::WrongType { .. })));
    assert!(matches!(hash.may_contain(&1_u32), Err(Error::WrongType { .. })));
    let filter = map(MapType::BloomFilter, 4, 3);
    assert!(matches!(filter.pop::<u32>(), Err(Error::WrongType { .. })));
    let queue = map(MapType::Queue, 4, 3);
    assert!(matches!(queue.may_contain(&1_u32), Err(Error::WrongType { .. })));
}
