//! What maps take of the host's memory: full ones about what the kernel's take, empty ones
//! next to nothing.
//!
//! Measured is the process's share of all its pages (Pss), in which a page that is mapped
//! again and again counts once. The tests of this file take turns, and nothing else runs in
//! their process.

mod common;

use std::fs;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skep_maps::{Map, MapDef, MapType, RingBuf, World, create, sys};
use skep_memory::Window;

use common::{def, giants};

const KIB: u64 = 1 << 10;
const CPUS: u32 = 2;

fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn world() -> Arc<World> {
    let window = Window::with_len(1 << 32).expect("the host gives address space");
    World::new(window, CPUS).expect("there is room")
}

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").expect("Linux has it");
    let line = rollup.lines().find(|line| line.starts_with("Pss:")).expect("it has the line");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("kB");
    kib * KIB
}

/// Says something even when the test passes.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Puts in as much as fits.
fn fill(map: &dyn Map) {
    let max = map.core().def().max_entries;
    let value = vec![1; map.core().user_value_size()];
    if let Some(ring) = map.downcast::<RingBuf>() {
        let window = map.core().world().window();
        while let Some(record) = ring.reserve(1016) {
            record.ptr.slice(window, record.size).expect("it is in the window").fill(1);
            ring.commit(record, false, 0);
        }
        return;
    }
    for number in 0..max {
        let key = match map.core().map_type() {
            // Spread, so that paths part everywhere.
            MapType::LpmTrie => {
                let data = number.wrapping_mul(0x9e37_79b1).to_be_bytes();
                [32_u32.to_le_bytes(), data].concat()
            }
            _ => {
                let mut key = vec![0; map.core().def().key_size as usize];
                key.iter_mut().zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
                key
            }
        };
        sys::update(map, (!key.is_empty()).then_some(&key[..]), &value, 0).expect("there is room");
    }
}

/// What `count` full maps take, over what the kernel says that they take there.
fn ratio(def: &MapDef, count: u32) -> f64 {
    let world = world();
    let before = resident();
    let maps: Vec<_> = (0..count)
        .map(|_| {
            let map = create(&world, def).unwrap_or_else(|error| panic!("{error}"));
            fill(&*map);
            map
        })
        .collect();
    let taken = resident().saturating_sub(before);
    let kernel: u64 = maps.iter().map(|map| map.memory_usage()).sum();
    #[expect(clippy::cast_precision_loss, reason = "a few digits are enough")]
    let ratio = taken as f64 / kernel as f64;
    say(&format!(
        "full {:12} of {:8} entries: {:8} KiB, kernel {:8} KiB, {ratio:.2}",
        maps[0].core().map_type().name(),
        def.max_entries,
        taken / KIB / u64::from(count),
        kernel / KIB / u64::from(count),
    ));
    ratio
}

#[test]
fn a_large_map_takes_little_more_than_the_kernels() {
    let _turn = turn();
    for def in [
        def(MapType::Hash, 8, 8, 1 << 20),
        def(MapType::Hash, 4, 64, 1 << 20),
        def(MapType::LruHash, 8, 8, 1 << 20),
        def(MapType::PercpuHash, 4, 16, 1 << 20),
        def(MapType::Array, 4, 8, 8 << 20),
        def(MapType::Array, 4, 1024, 64 << 10),
        def(MapType::PercpuArray, 4, 16, 2 << 20),
        def(MapType::LpmTrie, 8, 8, 4 << 20),
        def(MapType::Queue, 0, 16, 4 << 20),
        def(MapType::Ringbuf, 0, 0, 64 << 20),
    ] {
        let ratio = ratio(&def, 1);
        assert!(ratio <= 1.25, "{} {}: {ratio:.2}", def.map_type, def.value_size);
    }
}

/// Each byte of a small map has a byte of rights. Where values have 8 bytes the gaps between
/// them are as many, so that there are four for one in the kernel.
#[test]
fn a_small_map_takes_about_twice_the_kernels_at_most() {
    let _turn = turn();
    for def in [def(MapType::Array, 4, 8, 1000), def(MapType::PercpuArray, 4, 8, 1000)] {
        let ratio = ratio(&def, 100);
        assert!(ratio <= 4.2, "{} {}: {ratio:.2}", def.map_type, def.value_size);
    }
    for def in [
        def(MapType::Hash, 8, 8, 1000),
        def(MapType::Hash, 4, 64, 1000),
        def(MapType::LruHash, 8, 8, 1000),
        def(MapType::PercpuHash, 4, 16, 1000),
        def(MapType::Array, 4, 256, 1000),
        def(MapType::PercpuArray, 4, 64, 1000),
        def(MapType::LpmTrie, 8, 8, 1000),
        def(MapType::Queue, 0, 16, 1000),
        def(MapType::Ringbuf, 0, 0, 64 << 10),
    ] {
        let ratio = ratio(&def, 100);
        assert!(ratio <= 2.3, "{} {}: {ratio:.2}", def.map_type, def.value_size);
    }
}

#[test]
fn giants_take_memory_when_they_are_used_and_not_before() {
    /// Bytes that a giant may take before it is used: tables of its pieces, and a huge page or
    /// two with the heads of its lists.
    const MOST: u64 = 6 << 20;
    /// And with three values in it: a few huge pages.
    const MOST_USED: u64 = 32 << 20;
    let _turn = turn();
    let world = world();
    let free = world.window().free_bytes();
    // What is shared by all maps is there from the first one on.
    drop(create(&world, &def(MapType::Array, 4, 8, 8 << 20)).expect("there is room"));
    let million = def(MapType::Hash, 8, 8, 1 << 20);
    for def in giants().into_iter().chain([million]) {
        let what = format!(
            "{} of {} bytes",
            MapType::from_id(def.map_type).expect("known"),
            def.value_size
        );
        let start = resident();
        let map = create(&world, &def).unwrap_or_else(|error| panic!("{what}: {error}"));
        let made = resident().saturating_sub(start);
        say(&format!("empty {what}: {} KiB", made / KIB));
        assert!(made <= MOST, "{what}: {made} bytes before it is used");
        if def.key_size == 4
            && !map.core().map_type().holds_handles()
            && map.core().map_type() != MapType::StackTrace
        {
            let value = vec![1; map.core().user_value_size()];
            for key in [0, 1, def.max_entries - 1] {
                let key = key.to_le_bytes();
                sys::update(&*map, Some(&key), &value, 0).expect("there is room");
                let mut out = vec![0; value.len()];
                sys::lookup(&*map, Some(&key), 0, &mut out).expect("it is there");
                assert_eq!(out, value, "{what}");
            }
            // Huge pages come whole.
            let used = resident().saturating_sub(start);
            assert!(used <= MOST_USED, "{what}: {used} bytes for three values");
        }
        drop(map);
        assert_eq!(world.window().free_bytes(), free, "{what}");
    }
}
