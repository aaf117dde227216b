//! Bloom filters: no value that was put in is ever denied, whoever else is at it.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use skep_maps::{Errno, Map, MapDef, MapType, Source, Target, World, create, flags, sys};
use skep_memory::Window;

fn world() -> Arc<World> {
    let window = Window::with_len(64 << 20).expect("a small window");
    World::new(window, 2).expect("it has room for handles")
}

fn def(value_size: u32, max_entries: u32, map_extra: u64, flags: u32) -> MapDef {
    MapDef {
        name: "seen".to_owned(),
        map_type: MapType::BloomFilter.id(),
        value_size,
        max_entries,
        map_extra,
        flags,
        ..MapDef::default()
    }
}

fn filter(value_size: u32, max_entries: u32, map_extra: u64, flags: u32) -> Arc<dyn Map> {
    create(&world(), &def(value_size, max_entries, map_extra, flags)).expect("it keeps the rules")
}

fn asks(map: &dyn Map, value: &[u8]) -> bool {
    let by_program = map.peek(&mut Target::Host(&mut value.to_vec()));
    let by_user = sys::lookup(map, None, 0, &mut value.to_vec());
    assert_eq!(by_program, by_user, "both sides see the same");
    assert!(matches!(by_user, Ok(()) | Err(Errno::ENOENT)));
    by_user.is_ok()
}

proptest! {
    #[test]
    fn what_was_put_in_is_found_and_an_empty_filter_finds_nothing(
        size in 1..80u32,
        max_entries in 1..50u32,
        hashes in 0..16u64,
        seeds in vec(any::<u8>(), 1..50),
    ) {
        let map = filter(size, max_entries, hashes, flags::BPF_F_ZERO_SEED);
        let value = |seed: u8| -> Vec<u8> {
            (0..size).map(|at| seed.wrapping_mul(31).wrapping_add(at.to_le_bytes()[0])).collect()
        };
        for &seed in &seeds {
            prop_assert!(!asks(&*map, &value(seed)));
        }
        for (n, &seed) in seeds.iter().enumerate() {
            match n % 2 {
                0 => map.push(Source::Host(&value(seed)), 0),
                _ => sys::update(&*map, None, &value(seed), 0),
            }
            .expect("a filter is never full");
            for &seed in &seeds[..=n] {
                prop_assert!(asks(&*map, &value(seed)));
            }
        }
    }
}

#[test]
fn a_full_filter_errs_about_as_seldom_as_it_should() {
    // With 5 hashes and 7 to 14 bits for an entry, some 0.2 to 3 in a hundred.
    let map = filter(4, 10_000, 0, 0);
    for n in 0..10_000_u32 {
        sys::update(&*map, None, &n.to_le_bytes(), 0).expect("a filter is never full");
    }
    let wrong = (10_000..110_000_u32).filter(|n| asks(&*map, &n.to_le_bytes())).count();
    assert!((50..3_000).contains(&wrong), "{wrong} of 100000");
}

#[test]
fn filters_are_repeatable_with_and_without_a_seed() {
    let [plain, zero] = [0, flags::BPF_F_ZERO_SEED].map(|flags| filter(8, 4, 0, flags));
    for n in 0..8_u64 {
        for map in [&plain, &zero] {
            sys::update(&**map, None, &n.to_le_bytes(), 0).expect("a filter is never full");
        }
    }
    for n in 0..1_000_u64 {
        assert_eq!(asks(&*plain, &n.to_le_bytes()), asks(&*zero, &n.to_le_bytes()), "{n}");
    }
}

#[test]
fn threads_never_lose_each_others_bits() {
    const THREADS: u32 = 4;
    const EACH: u32 = 20_000;
    let map = filter(4, THREADS * EACH, 3, 0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let map = &*map;
            scope.spawn(move || {
                for n in thread * EACH..(thread + 1) * EACH {
                    map.push(Source::Host(&n.to_le_bytes()), 0).expect("never full");
                    assert!(asks(map, &n.to_le_bytes()), "its own value is there at once");
                }
            });
        }
    });
    assert!((0..THREADS * EACH).all(|n| asks(&*map, &n.to_le_bytes())));
}

#[test]
fn no_sizes_make_it_panic() {
    let world = world();
    for value_size in [0, 1, 7, 65, 4 << 20, (4 << 20) + 1, u32::MAX] {
        for max_entries in [0, 1, 1 << 20, 1 << 31, u32::MAX] {
            for map_extra in [0, 1, 15, 16, u64::MAX] {
                if let Ok(map) = create(&world, &def(value_size, max_entries, map_extra, 0)) {
                    let value = vec![1; value_size as usize];
                    sys::update(&*map, None, &value, 0).expect("a filter is never full");
                    assert!(asks(&*map, &value));
                    assert!(map.memory_usage() <= (1 << 29) + 4096);
                }
            }
        }
    }
}
