//! Files that other processes spoil: whatever they write, whenever they write it, whoever
//! uses the map goes on without a panic, without an access to anything but the map, and
//! without waiting for ever.
//!
//! The spoiler writes through the file, as any process can that has it open. On both sides
//! of the map, in the same window, stand maps that nobody writes to; they must stay as they
//! are, and nothing that is read from the map may be theirs.

#![expect(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use std::{env, thread};

use skep_maps::{
    Cursor, Map, MapDef, MapType, RingBuf, Source, World, attach, batch, create, create_shared,
    flags, sys,
};
use skep_memory::Window;

/// No operation takes so long, however busy the machine is.
const HANG: Duration = Duration::from_secs(120);
/// What stands in the maps on both sides, in each word.
const CANARY: u64 = 0xca9a_41e5_ca9a_41e5;
/// Keys that are used.
const KEYS: u32 = 64;

/// The definitions of all types that can lie in a file.
fn defs() -> Vec<MapDef> {
    let def = |map_type: MapType, key_size, value_size, max_entries| MapDef {
        name: map_type.name().to_owned(),
        map_type: map_type.id(),
        key_size,
        value_size,
        max_entries,
        ..MapDef::default()
    };
    let with = |def: MapDef, flags| MapDef { flags, ..def };
    vec![
        def(MapType::Hash, 4, 16, 48),
        def(MapType::Hash, 16, 8, 48),
        with(def(MapType::Hash, 20, 24, 48), flags::BPF_F_NO_PREALLOC),
        def(MapType::PercpuHash, 8, 8, 48),
        def(MapType::LruHash, 8, 16, 48),
        with(def(MapType::LruHash, 4, 8, 48), flags::BPF_F_NO_COMMON_LRU),
        def(MapType::LruPercpuHash, 4, 8, 48),
        def(MapType::Array, 4, 16, 48),
        def(MapType::PercpuArray, 4, 8, 48),
        with(def(MapType::LpmTrie, 8, 8, 48), flags::BPF_F_NO_PREALLOC),
        with(def(MapType::LpmTrie, 20, 8, 48), flags::BPF_F_NO_PREALLOC),
        def(MapType::Queue, 0, 16, 48),
        def(MapType::Stack, 0, 12, 48),
        def(MapType::BloomFilter, 0, 8, 48),
        def(MapType::Ringbuf, 0, 0, 4096),
    ]
}

/// The same numbers for the same seed (SplitMix64).
struct Rng(u64);

impl Rng {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.bits() % limit
    }
}

/// A file that is gone when nobody has it open any more.
fn file() -> File {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = env::temp_dir().join(format!("skep-corrupt-{}-{number}", std::process::id()));
    let open = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    fs::remove_file(path).unwrap();
    open
}

/// A world, in which a map lies between two that nobody writes to.
struct Sandwich {
    world: Arc<World>,
    sides: [Arc<dyn Map>; 2],
}

impl Sandwich {
    fn new() -> Self {
        let world = World::new(Window::with_len(64 << 20).unwrap(), 2).unwrap();
        let sides = [(); 2].map(|()| {
            let def = MapDef {
                name: "side".to_owned(),
                map_type: MapType::Array.id(),
                key_size: 4,
                value_size: 8 << 10,
                max_entries: 1,
                ..MapDef::default()
            };
            let map = create(&world, &def).unwrap();
            let value = CANARY.to_le_bytes().repeat(1 << 10);
            sys::update(&*map, Some(&[0; 4]), &value, 0).unwrap();
            map
        });
        Self { world, sides }
    }

    fn check(&self) {
        for side in &self.sides {
            let mut value = vec![0; 8 << 10];
            sys::lookup(&**side, Some(&[0; 4]), 0, &mut value).unwrap();
            let words = value.as_chunks::<8>().0;
            assert!(words.iter().all(|word| u64::from_le_bytes(*word) == CANARY), "written to");
        }
    }
}

/// Writes nonsense over a word of the file, beyond its header.
fn spoil(file: &File, len: u64, rng: &mut Rng) {
    const HEADER: u64 = 64 << 10;
    // The host segment is small and comes first: most of what is written should matter.
    let within = if rng.below(4) == 0 { len - HEADER } else { 24 << 10 };
    let wide = rng.below(2) == 0;
    let at = HEADER + rng.below((within / 8).max(1)) * 8 + if wide { 0 } else { 4 * rng.below(2) };
    let mut old = [0; 8];
    if file.read_exact_at(&mut old, at).is_err() {
        return;
    }
    let old = u64::from_le_bytes(old);
    let small = rng.below(128);
    let new = match rng.below(12) {
        0 => 0,
        1 => u64::MAX,
        2 => u64::from(u32::MAX) << (32 * rng.below(2)),
        3 => 1,
        4 => rng.bits(),
        5 => old ^ 1 << rng.below(64),
        6 => old.wrapping_add(1),
        7 => old.wrapping_sub(1),
        8 => small << 32 | rng.below(128),
        9 => i64::MIN.cast_unsigned(),
        10 => old | 1,
        _ => small,
    };
    let bytes = new.to_le_bytes();
    file.write_all_at(if wide { &bytes } else { &bytes[..4] }, at).unwrap();
}

/// Does something at random with a map, as programs and user space do.
fn work(world: &World, map: &dyn Map, rng: &mut Rng) {
    let def = map.core().def().clone();
    let cpu = u32::try_from(rng.below(2)).unwrap();
    let mut key = vec![0; def.key_size as usize];
    let number = rng.below(u64::from(KEYS)).to_le_bytes();
    key.iter_mut().zip(number).for_each(|(to, from)| *to = from);
    if def.map_type == MapType::LpmTrie.id() {
        let bits = u64::from(def.key_size - 4) * 8;
        key[..4].copy_from_slice(&u32::try_from(rng.below(bits + 1)).unwrap().to_le_bytes());
        key[4..].fill_with(|| if rng.below(4) == 0 { 1 } else { 0 });
    }
    let mut value = vec![0x11; map.core().user_value_size()];
    let user_key = (def.key_size > 0).then_some(&key[..]);
    let flags = rng.below(3);
    // What comes of it is the spoiler's choice, but for what memory it touches.
    match rng.below(12) {
        0 | 1 => _ = sys::update(map, user_key, &value, flags),
        2 => _ = sys::delete(map, user_key),
        3 => _ = sys::lookup(map, user_key, 0, &mut value),
        4 => _ = sys::lookup_and_delete(map, user_key, 0, &mut value),
        5 if def.key_size > 0 => {
            let part = &value[..def.value_size as usize];
            _ = map.update(&key, Source::Host(part), flags, cpu);
        }
        6 if def.key_size > 0 => _ = map.delete(&key),
        7 if def.key_size > 0 => {
            if let Some(found) = map.lookup(&key, cpu) {
                let slice = found.slice(world.window(), def.value_size).unwrap();
                assert!(!slice.to_vec().starts_with(&CANARY.to_le_bytes()), "another map's");
                slice.fill(0x22);
            }
        }
        8 => {
            let mut cursor = Cursor::default();
            let mut most = 10 * u64::from(KEYS);
            while let Some(found) = map.visit(&mut cursor, &mut key, cpu)
                && most > 0
            {
                most -= 1;
                let slice = found.slice(world.window(), def.value_size).unwrap();
                assert!(!slice.to_vec().starts_with(&CANARY.to_le_bytes()), "another map's");
            }
        }
        9 => drop((sys::keys(map), map.queued(), map.memory_usage())),
        10 => drop(batched(map)),
        _ => {}
    }
    if let Some(ring) = map.downcast::<RingBuf>() {
        ring_work(world, ring, rng);
    }
    let words = value.as_chunks::<8>().0;
    assert!(words.iter().all(|word| u64::from_le_bytes(*word) != CANARY), "another map's");
}

fn batched(map: &dyn Map) -> [batch::Batch; 2] {
    let request = batch::BatchRequest { count: 200, ..batch::BatchRequest::default() };
    [batch::lookup(map, None, request), batch::lookup_and_delete(map, None, request)]
}

fn ring_work(world: &World, ring: &RingBuf, rng: &mut Rng) {
    match rng.below(4) {
        0 | 1 => {
            if let Some(record) = ring.reserve(rng.below(600)) {
                record.ptr.slice(world.window(), record.size).unwrap().fill(0x33);
                ring.commit(record, rng.below(4) == 0, 0);
            }
        }
        2 => {
            // As many records as ever fit, should the spoiler put in more and more.
            let mut left = 4096;
            ring.consume(|data| {
                assert!(!data.to_vec().starts_with(&CANARY.to_le_bytes()), "another map's");
                left -= 1;
                if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        }
        _ => (0..5).for_each(|what| _ = ring.query(what)),
    }
}

/// Files of each definition, unless `SKEP_SPOILT_FILES` says otherwise. Where locks are
/// spoilt a file takes some seconds, in which others sleep.
const FILES: u64 = 2;
const ROUNDS: u64 = 150;

/// A number from the environment.
fn number(name: &str, usual: u64) -> u64 {
    env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(usual)
}

/// Spoils files with maps of one definition; `beat` is called from time to time.
fn spoil_maps(def: &MapDef, seed: u64, mut beat: impl FnMut()) {
    for number in 0..number("SKEP_SPOILT_FILES", FILES) {
        let mut rng = Rng(seed ^ number << 32);
        let (own, other, file) = (Sandwich::new(), Sandwich::new(), file());
        let made = create_shared(&own.world, def, &file).unwrap();
        (0..ROUNDS).for_each(|_| work(&own.world, &*made, &mut rng));
        let len = file.metadata().unwrap().len();
        // Spoilt before somebody attaches to it.
        (0..rng.below(8)).for_each(|_| spoil(&file, len, &mut rng));
        let attached = attach(&other.world, &file).unwrap();
        beat();
        // Spoilt between what is done.
        for _ in 0..ROUNDS {
            (0..rng.below(3)).for_each(|_| spoil(&file, len, &mut rng));
            work(&own.world, &*made, &mut rng);
            work(&other.world, &*attached, &mut rng);
            beat();
        }
        // Spoilt while it is done.
        let done = AtomicBool::new(false);
        let seeds = [(); 3].map(|()| rng.bits());
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut rng = Rng(seeds[0]);
                while !done.load(Ordering::Relaxed) {
                    spoil(&file, len, &mut rng);
                    // The others want the processor too.
                    thread::sleep(Duration::from_micros(20));
                }
            });
            let other = scope.spawn(|| {
                let mut rng = Rng(seeds[1]);
                (0..ROUNDS).for_each(|_| work(&other.world, &*attached, &mut rng));
            });
            let mut rng = Rng(seeds[2]);
            let own = catch_unwind(AssertUnwindSafe(|| {
                (0..ROUNDS).for_each(|_| work(&own.world, &*made, &mut rng));
            }));
            let other = other.join();
            done.store(true, Ordering::Relaxed);
            own.and(other).unwrap_or_else(|panic| resume_unwind(panic));
        });
        drop((made, attached));
        own.check();
        other.check();
        beat();
    }
}

#[test]
fn a_file_that_others_spoil_harms_nobody() {
    let seed = number("SKEP_SEED", 1);
    let (beats, heard) = channel();
    let threads: Vec<_> = (0..)
        .zip(defs())
        .map(|(number, def)| {
            let beats = beats.clone();
            thread::spawn(move || {
                let what = format!("{} with {}-byte keys", def.name, def.key_size);
                spoil_maps(&def, seed + number, || beats.send(what.clone()).unwrap());
            })
        })
        .collect();
    drop(beats);
    let (mut last, mut heard_last) = (BTreeMap::new(), Instant::now());
    loop {
        match heard.recv_timeout(Duration::from_secs(1)) {
            Ok(what) => {
                heard_last = Instant::now();
                last.insert(what, heard_last);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let hung = heard_last.elapsed() > HANG;
        assert!(!hung, "one hangs of those heard last {last:?}; seed {seed}");
    }
    assert_eq!(last.len(), threads.len(), "each definition was tried");
    for thread in threads {
        thread.join().unwrap_or_else(|_| panic!("it panics, see above; seed {seed}"));
    }
}

#[test]
fn a_file_that_can_be_sealed_cannot_be_shortened() {
    let flags = rustix::fs::MemfdFlags::ALLOW_SEALING;
    let file = File::from(rustix::fs::memfd_create("skep-corrupt", flags).unwrap());
    let own = Sandwich::new();
    let map = create_shared(&own.world, &defs()[0], &file).unwrap();
    let len = file.metadata().unwrap().len();
    assert!(file.set_len(len / 2).is_err(), "it was shortened");
    assert_eq!(file.metadata().unwrap().len(), len);
    sys::update(&*map, Some(&[0; 4]), &[1; 16], 0).unwrap();
}

#[test]
fn any_header_is_refused_or_gives_a_map() {
    let threads: Vec<_> = (0..)
        .zip(defs())
        .map(|(number, def)| thread::spawn(move || spoil_headers(&def, number)))
        .collect();
    let [made, refused] = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .fold([0, 0], |[made, refused], [m, r]| [made + m, refused + r]);
    assert!(made > 50 && refused > 100, "both happened: {made}, {refused}");
}

/// How many maps were found in files with a spoilt header, and how many were not.
fn spoil_headers(def: &MapDef, seed: u64) -> [u32; 2] {
    let (mut rng, mut counts) = (Rng(seed), [0, 0]);
    let file = file();
    let own = World::new(Window::with_len(64 << 20).unwrap(), 2).unwrap();
    create_shared(&own, def, &file).unwrap();
    let mut header = [0; 256];
    file.read_exact_at(&mut header, 0).unwrap();
    for _ in 0..40 {
        let mut spoilt = header;
        for _ in 0..=rng.below(2) {
            let at = 8 + 4 * usize::try_from(rng.below(12)).unwrap();
            let old = u32::from_le_bytes(spoilt[at..at + 4].try_into().unwrap());
            let new = match rng.below(6) {
                0 => 0,
                1 => u32::MAX,
                2 => old ^ 1 << rng.below(32),
                3 => old.wrapping_add(1),
                4 => u32::try_from(rng.below(40)).unwrap(),
                _ => 1 << rng.below(32),
            };
            spoilt[at..at + 4].copy_from_slice(&new.to_le_bytes());
        }
        file.write_all_at(&spoilt, 0).unwrap();
        let world = World::new(Window::with_len(64 << 20).unwrap(), 2).unwrap();
        let free = world.window().free_bytes();
        match attach(&world, &file) {
            Ok(map) => {
                counts[0] += 1;
                (0..20).for_each(|_| work(&world, &*map, &mut rng));
            }
            Err(_) => {
                counts[1] += 1;
                assert!(world.maps().is_empty());
            }
        }
        assert_eq!(world.window().free_bytes(), free, "all of it was given back");
    }
    counts
}
