//! One file-backed map in two processes, at different addresses: both use it at once, and
//! afterwards it is whole.
//!
//! The test starts itself a second time, with the map's name in `SKEP_SHARED_MAP` and the
//! file as descriptor 0.

#![expect(clippy::unwrap_used, reason = "a test stops at what it does not expect")]
#![expect(clippy::print_stdout, reason = "the two processes talk by it")]

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, io, thread};

use libtest_mimic::{Arguments, Failed, Trial};
use skep_maps::flags::BPF_NOEXIST;
use skep_maps::{
    CreateError, Errno, Map, MapDef, MapType, RingBuf, Source, World, attach, create,
    create_shared, flags, sys,
};
use skep_memory::Window;

const ROLE: &str = "SKEP_SHARED_MAP";
/// Before the map's name: the process is to work until it is killed.
const UNTIL_KILLED: &str = "killed ";

/// A map of a type, and what each process does with it; the creator is number 0.
struct Shared {
    name: &'static str,
    def: fn() -> MapDef,
    work: fn(&World, &dyn Map, u32),
    /// What must hold when both are done.
    check: fn(&World, &dyn Map),
}

static MAPS: &[Shared] = &[
    Shared { name: "hash", def: hash_def, work: churn, check: hash_is_whole },
    Shared { name: "lru", def: lru_def, work: insert, check: lru_is_whole },
    Shared { name: "percpu", def: percpu_def, work: count, check: counts_add_up },
    Shared { name: "ring", def: ring_def, work: produce_or_consume, check: ring_is_empty },
];

fn main() {
    if let Ok(name) = env::var(ROLE) {
        if name.starts_with(UNTIL_KILLED) {
            return work_until_killed();
        }
        let shared = MAPS.iter().find(|shared| shared.name == name).unwrap();
        return other_process(shared);
    }
    let mut trials: Vec<Trial> = MAPS
        .iter()
        .map(|shared| {
            let name = format!("two_processes_share_a_map::{}", shared.name);
            Trial::test(name, || two_processes(shared))
        })
        .collect();
    trials.extend(DOOMED.iter().map(|(name, def)| {
        let name = format!("a_process_may_be_killed_at_any_moment::{name}");
        Trial::test(name, || kill_others(def))
    }));
    trials.push(Trial::test("a_consumer_that_is_killed_does_not_keep_its_turn", kill_a_consumer));
    trials.push(Trial::test("a_file_that_holds_no_map_is_refused", no_map));
    trials.push(Trial::test("maps_of_handles_are_refused_a_file", handles));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn world(cpus: u32) -> Arc<World> {
    World::new(Window::with_len(1 << 28).unwrap(), cpus).unwrap()
}

/// A file that is gone when nobody has it open any more.
fn file() -> File {
    let path = env::temp_dir().join(format!("skep-shared-{}", std::process::id()));
    for number in 0.. {
        let path = path.with_extension(number.to_string());
        let open = File::options().read(true).write(true).create_new(true).open(&path);
        if let Ok(file) = open {
            fs::remove_file(path).unwrap();
            return file;
        }
        assert!(number < 1000, "a file can be made in {}", env::temp_dir().display());
    }
    unreachable!("a loop without an end")
}

fn two_processes(shared: &'static Shared) -> Result<(), Failed> {
    let (world, file) = (world(2), file());
    let map = create_shared(&world, &(shared.def)(), &file)?;
    let mut child = Command::new(env::current_exe()?)
        .env(ROLE, shared.name)
        .stdin(Stdio::from(file.as_fd().try_clone_to_owned()?))
        .stdout(Stdio::piped())
        .spawn()?;
    let addresses = ready(&mut child)?;
    if addresses == own_addresses() {
        return Err("both processes have the map at the same addresses".into());
    }
    (shared.work)(&world, &*map, 0);
    let status = child.wait()?;
    if !status.success() {
        return Err(format!("the other process: {status}").into());
    }
    (shared.check)(&world, &*map);
    Ok(())
}

/// Waits for the other process to be ready; it then says where the file is in its memory.
fn ready(child: &mut Child) -> io::Result<String> {
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

fn other_process(shared: &Shared) {
    let world = world(2);
    // What is in the window already moves the map in it.
    let _before = create(&world, &MapDef { max_entries: 1000, ..hash_def() }).unwrap();
    let file = File::from(io::stdin().as_fd().try_clone_to_owned().unwrap());
    let map = attach(&world, &file).unwrap();
    println!("{}", own_addresses());
    (shared.work)(&world, &*map, 1);
}

/// Where the file is mapped in this process.
fn own_addresses() -> String {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let lines = maps.lines().filter(|line| line.contains("skep-shared-"));
    lines.filter_map(|line| line.split('-').next()).collect::<Vec<_>>().join(" ")
}

const ROUNDS: u64 = 300_000;

fn hash_def() -> MapDef {
    MapDef {
        name: "shared".to_owned(),
        map_type: MapType::Hash.id(),
        key_size: 8,
        value_size: 16,
        max_entries: 100,
        ..MapDef::default()
    }
}

/// The value of a key: both halves say whose it is.
fn value(key: u64, version: u64) -> [u8; 16] {
    let mut value = [0; 16];
    value[..8].copy_from_slice(&(key << 32 | version).to_le_bytes());
    value[8..].copy_from_slice(&(!(key << 32 | version)).to_le_bytes());
    value
}

/// Looks a key up; what is found must be whole and the key's.
fn read(map: &dyn Map, key: u64) -> Option<u64> {
    let mut out = [0; 16];
    sys::lookup(map, Some(&key.to_le_bytes()), 0, &mut out).ok()?;
    let (low, high) = out.split_at(8);
    let (low, high) = (word(low), word(high));
    assert_eq!(low, !high, "the value of key {key} is torn");
    assert_eq!(low >> 32, key, "the value is another key's");
    Some(low & 0xffff_ffff)
}

fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().unwrap())
}

/// Both insert, replace and delete keys of their own, and read the other's. Keys that stay
/// are never missed.
fn churn(_world: &World, map: &dyn Map, process: u32) {
    let own = |n: u64| u64::from(process) * 1000 + n;
    let put = |key: u64, version: u64, flags| {
        map.update(&key.to_le_bytes(), Source::Host(&value(key, version)), flags, process)
    };
    (0..10).for_each(|n| put(own(n), 0, BPF_NOEXIST).unwrap());
    for round in 1..=ROUNDS {
        put(own(round % 10), round, 0).unwrap();
        assert_eq!(read(map, own(round % 10)), Some(round));
        let passing = own(100 + round % 20);
        put(passing, round, BPF_NOEXIST).unwrap();
        let theirs = u64::from(1 - process) * 1000;
        read(map, theirs + round % 10);
        read(map, theirs + 100 + round % 20);
        assert_eq!(read(map, passing), Some(round));
        map.delete(&passing.to_le_bytes()).unwrap();
    }
}

/// The keys that stayed are there, each once, and all the rest of the room is free.
fn hash_is_whole(_world: &World, map: &dyn Map) {
    let keys = sys::keys(map);
    assert_eq!(keys.len(), 20, "{keys:?}");
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 20);
    let put =
        |key: u64| map.update(&key.to_le_bytes(), Source::Host(&value(key, 1)), BPF_NOEXIST, 0);
    let room = (5000..).take_while(|&key| put(key).is_ok()).count();
    assert_eq!(room, 80, "no slot was lost");
}

fn lru_def() -> MapDef {
    MapDef { map_type: MapType::LruHash.id(), max_entries: 200, ..hash_def() }
}

/// Both insert ever-new keys into a map that is soon full.
fn insert(_world: &World, map: &dyn Map, process: u32) {
    for round in 0..ROUNDS {
        let key = round << 1 | u64::from(process);
        let value = value(key, round);
        map.update(&key.to_le_bytes(), Source::Host(&value), BPF_NOEXIST, process).unwrap();
        read(map, key.saturating_sub(2 * (round % 50)));
        map.lookup(&key.saturating_sub(round % 64).to_le_bytes(), process);
        if round % 7 == 0 {
            // Gone already, perhaps.
            let _result = map.delete(&key.to_le_bytes());
        }
    }
}

/// No key is there twice, and as many elements as ever can be had at once.
fn lru_is_whole(_world: &World, map: &dyn Map) {
    let keys = sys::keys(map);
    assert!(keys.len() <= 200, "{} of 200", keys.len());
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
    keys.iter().for_each(|key| map.delete(key).unwrap());
    assert_eq!(sys::keys(map).len(), 0);
    let most = (0..400_u64)
        .map(|key| {
            let value = value(1_000_000 + key, 0);
            let key = (1_000_000 + key).to_le_bytes();
            // Each CPU puts aside some of what is free.
            let cpu = u32::from(key[0] % 2);
            map.update(&key, Source::Host(&value), BPF_NOEXIST, cpu).unwrap();
            sys::keys(map).len()
        })
        .max();
    assert_eq!(most, Some(200), "no element was lost");
}

fn percpu_def() -> MapDef {
    MapDef {
        map_type: MapType::PercpuHash.id(),
        value_size: 8,
        key_size: 4,
        max_entries: 8,
        ..hash_def()
    }
}

/// Each process is a CPU, and counts in its own values.
fn count(world: &World, map: &dyn Map, process: u32) {
    for round in 0..ROUNDS {
        let key = u32::try_from(round % 8).unwrap().to_le_bytes();
        // The first to come makes it; either may.
        let _there = map.update(&key, Source::Host(&[0; 8]), BPF_NOEXIST, process);
        let found = map.lookup(&key, process).unwrap();
        let value = found.slice(world.window(), 8).unwrap();
        value.set(0, value.get::<u64>(0) + 1);
    }
}

fn counts_add_up(_world: &World, map: &dyn Map) {
    let mut sum = 0;
    for key in 0..8_u32 {
        let mut out = [0; 16];
        sys::lookup(map, Some(&key.to_le_bytes()), 0, &mut out).unwrap();
        sum += word(&out[..8]) + word(&out[8..]);
    }
    assert_eq!(sum, 2 * ROUNDS, "no count was lost");
}

fn ring_def() -> MapDef {
    MapDef {
        map_type: MapType::Ringbuf.id(),
        key_size: 0,
        value_size: 0,
        max_entries: 1 << 16,
        ..hash_def()
    }
}

/// Puts records in: who it is, a number, and their sum. Waits while there is no room.
fn produce(world: &World, ring: &RingBuf, process: u32, mut idle: impl FnMut()) {
    for number in 0..ROUNDS {
        let record = loop {
            match ring.reserve(24 + number % 40) {
                Some(record) => break record,
                None => idle(),
            }
        };
        let data = record.ptr.slice(world.window(), record.size).unwrap();
        data.set(0, u64::from(process));
        data.set(8, number);
        data.set(16, u64::from(process) + number);
        ring.commit(record, number % 10 == 0, 0);
    }
}

/// Process 1 produces; process 0 does too, and takes everything out.
fn produce_or_consume(world: &World, map: &dyn Map, process: u32) {
    let ring = map.downcast::<RingBuf>().unwrap();
    if process == 1 {
        return produce(world, ring, process, std::thread::yield_now);
    }
    let next = [const { Cell::new(1_u64) }; 2];
    let consume = || {
        ring.consume(|record| {
            let [from, number, sum] = [0, 8, 16].map(|at| record.get::<u64>(at));
            assert_eq!(from + number, sum, "the record is whole");
            let next = &next[usize::try_from(from).unwrap()];
            assert_eq!(number, next.get(), "records of one producer come in order");
            // Each tenth was discarded.
            next.set(number + if (number + 1).is_multiple_of(10) { 2 } else { 1 });
            ControlFlow::Continue(())
        });
    };
    produce(world, ring, process, consume);
    while next.iter().any(|next| next.get() < ROUNDS + 1) {
        consume();
        std::thread::yield_now();
    }
}

fn ring_is_empty(_world: &World, map: &dyn Map) {
    let ring = map.downcast::<RingBuf>().unwrap();
    assert_eq!(ring.query(0), 0, "all was consumed");
}

fn no_map() -> Result<(), Failed> {
    let refused = |file: &File, cpus: u32| match attach(&world(cpus), file) {
        Err(CreateError::NoMap { problem }) => Ok(problem),
        other => Err(Failed::from(format!("{other:?}"))),
    };
    let empty = file();
    assert_eq!(refused(&empty, 2)?, "failed to fill whole buffer");
    empty.set_len(1 << 20)?;
    assert_eq!(refused(&empty, 2)?, "it has no header");
    let good = file();
    create_shared(&world(2), &hash_def(), &good)?;
    assert_eq!(refused(&good, 3)?, "it is for 2 virtual CPUs; here there are 3");
    let cut = good.metadata()?.len() - 1;
    good.set_len(cut)?;
    assert!(attach(&world(2), &good).is_err(), "a file that ends too early is refused");
    Ok(())
}

fn handles() -> Result<(), Failed> {
    let def =
        MapDef { map_type: MapType::ProgArray.id(), key_size: 4, value_size: 4, ..hash_def() };
    match create_shared(&world(2), &def, &file()) {
        Err(CreateError::Unsupported { .. }) => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

type Def = fn() -> MapDef;

/// Maps that a process uses until it is killed.
static DOOMED: &[(&str, Def)] =
    &[("hash", hash_def), ("lru", lru_def), ("lpm_trie", trie_def), ("queue", queue_def)];

fn trie_def() -> MapDef {
    let (map_type, flags) = (MapType::LpmTrie.id(), flags::BPF_F_NO_PREALLOC);
    MapDef { map_type, flags, ..hash_def() }
}

fn queue_def() -> MapDef {
    MapDef { map_type: MapType::Queue.id(), key_size: 0, ..hash_def() }
}

/// Starts a process that works with the map in a file until it is killed, and waits until
/// it does.
fn start_doomed(file: &File) -> Result<Child, Failed> {
    let mut child = Command::new(env::current_exe()?)
        .env(ROLE, UNTIL_KILLED)
        .stdin(Stdio::from(file.as_fd().try_clone_to_owned()?))
        .stdout(Stdio::piped())
        .spawn()?;
    ready(&mut child)?;
    Ok(child)
}

fn work_until_killed() {
    let world = world(2);
    let map =
        attach(&world, &File::from(io::stdin().as_fd().try_clone_to_owned().unwrap())).unwrap();
    println!("ready");
    if let Some(ring) = map.downcast::<RingBuf>() {
        loop {
            ring.consume(|_| {
                loop {
                    thread::sleep(Duration::from_secs(1));
                }
            });
        }
    }
    for number in 0.. {
        let _whatever = change(&*map, number);
    }
}

/// One change of a map, whatever comes of it; says how it went.
fn change(map: &dyn Map, number: u64) -> Result<(), Errno> {
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let key = if map.core().map_type() == MapType::LpmTrie {
        (spread % 32) | spread << 32
    } else {
        spread % 300
    };
    let key = key.to_le_bytes();
    let key = (map.core().def().key_size > 0).then_some(&key[..]);
    if number.is_multiple_of(3) {
        return sys::lookup_and_delete(map, key, 0, &mut [0; 16])
            .or_else(|_| sys::delete(map, key));
    }
    sys::update(map, key, &value(spread, number), 0)
}

/// Whoever is left works on, even if the other one held a lock.
fn kill_others(def: &Def) -> Result<(), Failed> {
    let (world, file) = (world(2), file());
    let map = create_shared(&world, &def(), &file)?;
    let start = Instant::now();
    let mut done = 0;
    for round in 0..20_u64 {
        let mut child = start_doomed(&file)?;
        for number in 0..2_000 + 100 * round {
            match change(&*map, number) {
                Ok(()) => done += 1,
                Err(Errno::ENOENT | Errno::E2BIG | Errno::ENOSPC | Errno::EINVAL) => {}
                // A lock that nobody will ever let go.
                Err(Errno::EBUSY | Errno::ENOMEM) => {}
                Err(errno) => return Err(format!("a change fails with {errno}").into()),
            }
        }
        child.kill()?;
        child.wait()?;
    }
    assert!(done > 0, "something could be changed");
    assert!(start.elapsed() < Duration::from_secs(100), "it took {:?}", start.elapsed());
    Ok(())
}

fn kill_a_consumer() -> Result<(), Failed> {
    let (world, file) = (world(2), file());
    let map = create_shared(&world, &ring_def(), &file)?;
    let ring = map.downcast::<RingBuf>().unwrap();
    let put = || ring.commit(ring.reserve(8).unwrap(), false, 0);
    put();
    let mut child = start_doomed(&file)?;
    // It takes its turn some time after it said that it is ready.
    thread::sleep(Duration::from_millis(200));
    child.kill()?;
    child.wait()?;
    put();
    let start = Instant::now();
    let walk = ring.consume(|_| ControlFlow::Continue(()));
    assert_eq!(walk.records, 0, "the one who was killed has the turn still");
    assert!(start.elapsed() < Duration::from_secs(60), "it took {:?}", start.elapsed());
    put();
    assert_eq!(ring.query(0), 3 * 16, "producers need no turn");
    Ok(())
}
