//! Random map definitions: making a map from one never panics, a refusal leaves nothing
//! behind, and the Linux kernel gives the same verdict.
//!
//! `SKEP_SEED` sets the seed, `SKEP_DEFINITIONS` the number of definitions that skep gets,
//! `SKEP_KERNEL_DEFINITIONS` that of those which the kernel gets, too.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_difftest::Rng;
use skep_maps::{CreateError, Map, MapDef, MapType, World, create, flags, sys};
use skep_memory::Window;
use skep_oracle::{Kernel, MapSpec};

use common::{number, say, seed};

const DEFINITIONS: u64 = 30_000;
const KERNEL_DEFINITIONS: u64 = 20_000;

/// The kernel is asked to make no larger map, in bytes by its own formula.
const MOST: u64 = 32 << 20;

/// Where rules about sizes change their mind.
const SIZES: [u32; 40] = [
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    12,
    15,
    16,
    20,
    32,
    64,
    127,
    255,
    256,
    260,
    261,
    512,
    513,
    1016,
    1024,
    4095,
    4096,
    8192,
    32_760,
    32_768,
    32_769,
    1 << 16,
    (4 << 20) - 280,
    (4 << 20) - 60,
    4 << 20,
    (4 << 20) + 1,
    1 << 27,
    1 << 31,
    i32::MAX.cast_unsigned(),
    u32::MAX,
];

fn size(rng: &mut Rng) -> u32 {
    let size = *rng.pick(&SIZES);
    match rng.below(8) {
        0 => size.wrapping_add(1),
        1 => size.wrapping_sub(1),
        2 => 1 << rng.below(32),
        3 => u32::try_from(rng.bits() >> 32 >> rng.below(32)).expect("32 bits"),
        _ => size,
    }
}

/// A small size that many types take.
fn plain(rng: &mut Rng) -> u32 {
    *rng.pick(&[0, 1, 4, 4, 4, 8, 8, 16, 24, 64])
}

/// A definition that breaks some rule, or none.
fn definition(rng: &mut Rng, depth: u32) -> MapDef {
    let types: Vec<_> = MapType::ALL.iter().filter(|map_type| map_type.is_supported()).collect();
    let map_type = **rng.pick(&types);
    let fitting = !rng.one_in(3);
    let any = |usual: u32, rng: &mut Rng| match rng.below(4) {
        0 => size(rng),
        1 => plain(rng),
        _ if fitting => usual,
        _ => plain(rng),
    };
    let (key, value, max) = match map_type {
        MapType::Ringbuf | MapType::UserRingbuf => (0, 0, 4096),
        MapType::Queue | MapType::Stack | MapType::BloomFilter => (0, 8, 4),
        MapType::LpmTrie => (8, 8, 4),
        MapType::StackTrace => (4, 64, 4),
        MapType::Hash | MapType::PercpuHash | MapType::LruHash => (8, 12, 5),
        _ => (4, 4, 2),
    };
    let sizes = [any(key, rng), any(value, rng), any(max, rng)];
    let usual = match map_type {
        MapType::LpmTrie => flags::BPF_F_NO_PREALLOC,
        _ => 0,
    };
    let flags = match rng.below(4) {
        0 => usual | 1 << rng.below(20),
        1 => usual ^ 1 << rng.below(8) ^ 1 << rng.below(20),
        _ => usual,
    };
    let of_maps = matches!(map_type, MapType::ArrayOfMaps | MapType::HashOfMaps);
    MapDef {
        name: "random".to_owned(),
        map_type: map_type.id(),
        key_size: sizes[0],
        value_size: sizes[1],
        max_entries: sizes[2],
        flags,
        numa_node: if rng.one_in(4) { 1 } else { 0 },
        map_extra: if rng.one_in(6) { rng.below(40) } else { 0 },
        inner: (of_maps && depth == 0).then(|| Box::new(definition(rng, depth + 1))),
        ..MapDef::default()
    }
}

/// What a world has, as others see it.
fn state(world: &World) -> (u64, Vec<u32>, u64) {
    let ids = world.maps().iter().map(|map| map.core().id()).collect();
    (world.window().free_bytes(), ids, world.map_memory().used)
}

fn world(cpus: u32, window: u64) -> Arc<World> {
    let window = Window::with_len(window).expect("the host gives address space");
    World::new(window, cpus).expect("there is room")
}

#[test]
fn random_definitions_give_a_map_or_leave_no_trace() {
    let definitions = number("SKEP_DEFINITIONS", DEFINITIONS);
    let mut rng = Rng::new(seed());
    let (mut made, mut refused) = (0_u64, BTreeMap::<String, u64>::new());
    for cpus in [1, 2, 128] {
        let world = world(cpus, 64 << 20);
        world.limit_map_memory(1 << 40);
        // One that is always there.
        let array = MapDef {
            map_type: MapType::Array.id(),
            key_size: 4,
            value_size: 4,
            max_entries: 1,
            ..MapDef::default()
        };
        let kept = create(&world, &array).expect("it is small");
        let before = state(&world);
        let mut last = kept.core().id();
        for nth in 0..definitions / 3 {
            let def = definition(&mut rng, 0);
            match create(&world, &def) {
                Ok(map) => {
                    made += 1;
                    last += 1;
                    assert_eq!(map.core().id(), last, "{nth}: ids follow on: {def:?}");
                    use_it(&*map);
                }
                Err(error) => {
                    let sentence = error.to_string();
                    assert!(sentence.starts_with("map `random`"), "{nth}: {sentence}");
                    *refused.entry(format!("{:?}", error.errno())).or_default() += 1;
                }
            }
            assert_eq!(state(&world), before, "{nth}: {def:?}");
        }
    }
    say(&format!("definitions: {made} maps made and gone again; refused: {refused:?}"));
    for errno in ["EINVAL", "E2BIG", "ENOTSUPP", "ENOMEM"] {
        assert!(refused.contains_key(errno), "no definition meets {errno}: {refused:?}");
    }
    assert!(made > definitions / 20, "few can be made: {made}");
}

/// A few operations, whatever comes of them.
fn use_it(map: &dyn Map) {
    let (key_size, value_size) = (map.core().def().key_size as usize, map.core().user_value_size());
    if key_size + value_size > 1 << 20 {
        return;
    }
    let (mut key, mut value) = (vec![0; key_size], vec![0; value_size]);
    for _ in 0..2 {
        let some = (key_size > 0).then_some(&key[..]);
        let _ = sys::update(map, some, &value, 0);
        let _ = sys::lookup(map, some, 0, &mut value);
        let mut next = vec![0; key_size];
        let _ = sys::next_key(map, some, &mut next);
        let _ = sys::delete(map, some);
        key.fill(0xff);
    }
    let _ = map.memory_usage();
}

#[test]
fn the_kernel_makes_and_refuses_the_same_maps() {
    let Some(kernel) = Kernel::for_test("random map definitions") else {
        return;
    };
    let definitions = number("SKEP_KERNEL_DEFINITIONS", KERNEL_DEFINITIONS);
    let mut rng = Rng::new(seed());
    let world = world(u32::try_from(kernel.possible_cpus()).expect("few"), 1 << 32);
    let mut verdicts = BTreeMap::<String, u64>::new();
    let mut differences = Vec::new();
    for nth in 0..definitions {
        let def = definition(&mut rng, 0);
        let Some((skep, linux)) = verdict(&world, &kernel, &def) else { continue };
        // The kernel looks for the token after `map_alloc_check` and before `map_alloc`; skep
        // makes no difference between the rules of both.
        let token = def.flags & flags::BPF_F_TOKEN_FD != 0;
        if skep != linux && !(token && linux == "22") {
            differences.push(format!("{nth}: skep {skep}, kernel {linux}: {def:?}"));
        }
        let kind = if linux.contains(' ') { "made".to_owned() } else { format!("errno {linux}") };
        *verdicts.entry(kind).or_default() += 1;
    }
    let (some, all) = (differences.iter().take(20), differences.len());
    let some: Vec<&str> = some.map(String::as_str).collect();
    assert!(some.is_empty(), "{all} verdicts differ; seed {:#x}:\n{}", seed(), some.join("\n"));
    say(&format!("kernel's definitions: the same verdicts: {verdicts:?}"));
    assert!(verdicts.len() >= 4, "many kinds of verdicts: {verdicts:?}");
}

/// What skep and the kernel make of a definition; `None` when the kernel cannot be asked, or
/// skep says what it does not have.
fn verdict(world: &Arc<World>, kernel: &Kernel, def: &MapDef) -> Option<(String, String)> {
    // How many CPUs there can be is the kernel's configuration.
    if def.map_type == MapType::Cpumap.id() && def.max_entries > cpus_at_most() {
        return None;
    }
    let skep = match create(world, def) {
        Ok(map) if map.memory_usage() > MOST => return None,
        Ok(map) => format!("{} entries", map.core().def().max_entries),
        Err(CreateError::Unsupported { .. }) => return None,
        // How much there is differs.
        Err(error) if error.errno().number() == skep_oracle::Errno::ENOMEM.0 => return None,
        Err(error) => error.errno().number().to_string(),
    };
    let inner = match &def.inner {
        None => None,
        // What cannot be made cannot be a template; of a large one the kernel makes no copy,
        // but it has to be there.
        Some(inner) => match create(world, inner) {
            Ok(map) if map.memory_usage() <= MOST => Some(kernel.create_map(&spec(inner)).ok()?),
            _ => return None,
        },
    };
    let spec = MapSpec { inner: inner.as_ref(), ..spec(def) };
    let linux = match kernel.create_map(&spec) {
        Ok(map) => format!("{} entries", map.info().max_entries),
        Err(errno) => errno.0.to_string(),
    };
    Some((skep, linux))
}

/// The kernel's `NR_CPUS`.
fn cpus_at_most() -> u32 {
    let most = std::fs::read_to_string("/sys/devices/system/cpu/kernel_max");
    most.ok().and_then(|most| most.trim().parse::<u32>().ok()).map_or(1, |most| most + 1)
}

fn spec(def: &MapDef) -> MapSpec<'_> {
    MapSpec {
        map_type: def.map_type,
        key_size: def.key_size,
        value_size: def.value_size,
        max_entries: def.max_entries,
        flags: def.flags,
        map_extra: def.map_extra,
        numa_node: def.numa_node,
        name: &def.name,
        ..MapSpec::default()
    }
}
