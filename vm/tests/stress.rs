//! Programs and user space on the same maps at the same time: what must hold in the end,
//! holds.
//!
//! Each test has a few runners, each on a thread and a virtual CPU of its own, and threads
//! of user space; what they do is a function of their number, so that only the order of
//! things differs from run to run.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread;

use skep_maps::{Errno, Map, MapDef, MapType, sys};
use skep_vm::isa::assemble;
use skep_vm::{FixedHost, Input, Limits, Machine, Program, ProgramSpec, RunError, Runner, prog};

/// Runners of a test, and runs of each.
const RUNNERS: u32 = 3;
const RUNS: u64 = 200_000;

/// A machine with a CPU for each runner.
fn machine() -> Arc<Machine> {
    Machine::new(RUNNERS).expect("there is room for a machine")
}

fn create(machine: &Machine, def: &MapDef) -> Arc<dyn Map> {
    skep_maps::create(machine.world(), def).unwrap_or_else(|error| panic!("{error}"))
}

fn def(map_type: MapType, key_size: u32, value_size: u32, max_entries: u32) -> MapDef {
    MapDef {
        name: "stressed".to_owned(),
        map_type: map_type.id(),
        key_size,
        value_size,
        max_entries,
        ..MapDef::default()
    }
}

/// A program of type `syscall`, whose context is two words: the runner's number and the
/// run's.
fn load(machine: &Machine, asm: &str, maps: &[&Arc<dyn Map>]) -> Arc<Program> {
    let spec = ProgramSpec {
        name: "stress".to_owned(),
        prog_type: prog::by_name("syscall"),
        insns: assemble(asm).expect("it can be assembled"),
        maps: maps.iter().map(|map| Arc::clone(map)).collect(),
        ..ProgramSpec::default()
    };
    machine.load(spec).expect("it is well-formed")
}

/// Runs a program `RUNS` times on each runner while `user` runs on a thread of its own
/// until the runners are done; `each` gets what each run returned.
fn stress(
    machine: &Arc<Machine>,
    program: &Program,
    user: impl Fn(&AtomicBool) + Sync,
    each: impl Fn(u64) + Sync,
) {
    let running = AtomicU32::new(RUNNERS);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..RUNNERS {
            let (running, done, each) = (&running, &done, &each);
            scope.spawn(move || {
                run_on(machine, program, number, each);
                if running.fetch_sub(1, Ordering::AcqRel) == 1 {
                    done.store(true, Ordering::Release);
                }
            });
        }
        scope.spawn(|| user(&done));
    });
}

fn run_on(machine: &Arc<Machine>, program: &Program, number: u32, each: &impl Fn(u64)) {
    let mut runner = Runner::new(machine, number).expect("there is room for a runner");
    let host = FixedHost::default();
    for run in 0..RUNS {
        let context = [u64::from(number).to_le_bytes(), run.to_le_bytes()].concat();
        let limits = Limits { max_insns: None, expired: &mut || false };
        match runner.run(program, &Input::raw(context), &host, limits) {
            Ok(outcome) => each(outcome.r0),
            Err(RunError::Fault(fault, _)) => panic!("{fault}"),
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// The key at r10-4: the run's number below `keys`, by masking.
fn key(keys: u32) -> String {
    format!(
        "mov %r6, %r1\nldxdw %r7, [%r6+8]\nand %r7, {}\nstxw [%r10-4], %r7\n\
         mov %r2, %r10\nadd %r2, -4\n",
        keys - 1
    )
}

fn word(map: &dyn Map, key: u32) -> Result<Vec<u64>, Errno> {
    let mut value = vec![0; map.core().user_value_size()];
    sys::lookup(map, Some(&key.to_le_bytes()), 0, &mut value)?;
    Ok(value.as_chunks::<8>().0.iter().map(|&word| u64::from_le_bytes(word)).collect())
}

#[test]
fn atomic_adds_to_an_array_are_all_counted() {
    let machine = machine();
    let array = create(&machine, &def(MapType::Array, 4, 8, 4));
    let asm = format!(
        "{}lddw map_idx %r1, 0\ncall 1\njeq %r0, 0, out\nmov %r1, 1\nlock add [%r0], %r1\n\
         out:\nmov %r0, 0\nexit",
        key(4)
    );
    let program = load(&machine, &asm, &[&array]);
    let reads = |done: &AtomicBool| {
        let mut last = 0;
        while !done.load(Ordering::Acquire) {
            let now = word(&*array, 0).expect("it is always there")[0];
            assert!(now >= last, "a count never goes down");
            last = now;
        }
    };
    stress(&machine, &program, reads, |_| ());
    let sum: u64 = (0..4).map(|key| word(&*array, key).expect("it is there")[0]).sum();
    assert_eq!(sum, RUNS * u64::from(RUNNERS));
}

#[test]
fn keys_of_a_hash_are_inserted_and_deleted_once() {
    let machine = machine();
    // Fewer places than keys, so that it is full at times.
    let hash = create(&machine, &def(MapType::Hash, 4, 8, 6));
    // Inserts the key; if it is there already, deletes it. 1: inserted, 2: deleted.
    let asm = format!(
        "{}stxdw [%r10-16], %r7\nlddw map_idx %r1, 0\nmov %r3, %r10\nadd %r3, -16\nmov %r4, 1\n\
         call 2\njeq %r0, 0, inserted\nlddw map_idx %r1, 0\nmov %r2, %r10\nadd %r2, -4\ncall 3\n\
         jeq %r0, 0, deleted\nmov %r0, 0\nja out\ninserted:\nmov %r0, 1\nja out\n\
         deleted:\nmov %r0, 2\nout:\nexit",
        key(8)
    );
    let program = load(&machine, &asm, &[&hash]);
    let counts = [const { AtomicU64::new(0) }; 3];
    let taken = AtomicU64::new(0);
    let user = |done: &AtomicBool| {
        let mut value = [0; 8];
        while !done.load(Ordering::Acquire) {
            for key in 0..8_u32 {
                let bytes = key.to_le_bytes();
                match sys::lookup_and_delete(&*hash, Some(&bytes), 0, &mut value) {
                    Ok(()) => {
                        assert_eq!(u64::from_le_bytes(value), key.into(), "the value is the key's");
                        taken.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(errno) => assert_eq!(errno, Errno::ENOENT),
                }
                let keys = sys::keys(&*hash);
                let distinct: BTreeSet<&Vec<u8>> = keys.iter().collect();
                assert_eq!(distinct.len(), keys.len(), "no key is there twice");
            }
        }
    };
    stress(&machine, &program, user, |r0| {
        let which = usize::try_from(r0).expect("0 to 2");
        counts[which].fetch_add(1, Ordering::Relaxed);
    });
    let [_, inserted, deleted] = counts.map(AtomicU64::into_inner);
    let left = sys::keys(&*hash).len() as u64;
    assert_eq!(inserted, deleted + taken.into_inner() + left, "each insertion is deleted once");
    assert!(inserted > 0 && deleted > 0, "both happened: {inserted}, {deleted}");
    // No element was lost: the map can be filled again.
    for key in 0..8_u32 {
        let _deleted_or_absent = sys::delete(&*hash, Some(&key.to_le_bytes()));
    }
    for key in 100..106_u32 {
        sys::update(&*hash, Some(&key.to_le_bytes()), &[0; 8], 0).expect("there is room for six");
    }
    let full = sys::update(&*hash, Some(&200_u32.to_le_bytes()), &[0; 8], 0);
    assert_eq!(full, Err(Errno::E2BIG), "and for no more");
}

#[test]
fn replaced_values_of_a_hash_are_seen_whole() {
    let machine = machine();
    let hash = create(&machine, &def(MapType::Hash, 4, 64, 4));
    // A value is one number eight times.
    let stores: String = (0..8).map(|at| format!("stxdw [%r10{}], %r7\n", at * 8 - 80)).collect();
    let asm = format!(
        "mov %r6, %r1\nldxdw %r7, [%r6+8]\nmov %r8, %r7\nand %r8, 3\nstxw [%r10-4], %r8\n{stores}\
         mov %r2, %r10\nadd %r2, -4\nlddw map_idx %r1, 0\nmov %r3, %r10\nadd %r3, -80\n\
         mov %r4, 0\ncall 2\nexit"
    );
    let program = load(&machine, &asm, &[&hash]);
    let reads = |done: &AtomicBool| {
        while !done.load(Ordering::Acquire) {
            for key in 0..4 {
                let Ok(words) = word(&*hash, key) else {
                    continue;
                };
                assert!(words.iter().all(|word| *word == words[0]), "torn: {words:?}");
            }
        }
    };
    stress(&machine, &program, reads, |r0| assert_eq!(r0, 0, "the map is never too full"));
    assert_eq!(sys::keys(&*hash).len(), 4);
}

#[test]
fn each_cpu_counts_in_its_own_value_of_a_percpu_hash() {
    let machine = machine();
    let hash = create(&machine, &def(MapType::PercpuHash, 4, 8, 4));
    // Looks the key up, inserts it with NOEXIST if it is not there, and looks again.
    let asm = format!(
        "{}lddw map_idx %r1, 0\ncall 1\njne %r0, 0, there\nstdw [%r10-16], 0\n\
         lddw map_idx %r1, 0\nmov %r2, %r10\nadd %r2, -4\nmov %r3, %r10\nadd %r3, -16\n\
         mov %r4, 1\ncall 2\nlddw map_idx %r1, 0\nmov %r2, %r10\nadd %r2, -4\ncall 1\n\
         jne %r0, 0, there\nmov %r0, 1\nexit\nthere:\nldxdw %r1, [%r0]\nadd %r1, 1\n\
         stxdw [%r0], %r1\nmov %r0, 0\nexit",
        key(4)
    );
    let program = load(&machine, &asm, &[&hash]);
    let reads = |done: &AtomicBool| {
        while !done.load(Ordering::Acquire) {
            let keys = sys::keys(&*hash);
            assert!(keys.len() <= 4, "there are four keys at most");
        }
    };
    stress(&machine, &program, reads, |r0| assert_eq!(r0, 0, "the key is there at last"));
    let mut of_cpu = [0; RUNNERS as usize];
    for key in 0..4 {
        for (sum, value) in of_cpu.iter_mut().zip(word(&*hash, key).expect("it is there")) {
            *sum += value;
        }
    }
    assert_eq!(of_cpu, [RUNS; RUNNERS as usize]);
}

#[test]
fn records_of_a_ring_come_whole_and_in_the_order_of_their_producer() {
    let machine = machine();
    let ring = create(&machine, &def(MapType::Ringbuf, 0, 0, 4096));
    // A record is the context; every fourth is discarded. 1: submitted, 2: no room.
    let asm = "mov %r6, %r1\nlddw map_idx %r1, 0\nmov %r2, 16\nmov %r3, 0\ncall 131\n\
               jne %r0, 0, reserved\nmov %r0, 2\nexit\nreserved:\n\
               ldxdw %r1, [%r6]\nstxdw [%r0], %r1\nldxdw %r7, [%r6+8]\nstxdw [%r0+8], %r7\n\
               and %r7, 3\nmov %r1, %r0\nmov %r2, 0\njeq %r7, 3, discard\ncall 132\n\
               mov %r0, 1\nexit\ndiscard:\ncall 133\nmov %r0, 0\nexit";
    let program = load(&machine, asm, &[&ring]);
    let buffer = ring.downcast::<skep_maps::RingBuf>().expect("it is a ring");
    let (submitted, dropped) = (AtomicU64::new(0), AtomicU64::new(0));
    let consumed = AtomicU64::new(0);
    let consume = |done: &AtomicBool| {
        let mut next = [0; RUNNERS as usize];
        loop {
            let last = done.load(Ordering::Acquire);
            let walk = buffer.consume(|record| {
                let (runner, run) = (record.get::<u64>(0), record.get::<u64>(8));
                let expected = &mut next[usize::try_from(runner).expect("a runner")];
                assert!(run >= *expected, "runner {runner}: {run} after {expected}");
                assert_ne!(run % 4, 3, "it was discarded");
                *expected = run + 1;
                ControlFlow::Continue(())
            });
            consumed.fetch_add(walk.records, Ordering::Relaxed);
            if last && buffer.query(0) == 0 {
                return;
            }
        }
    };
    stress(&machine, &program, consume, |r0| match r0 {
        1 => drop(submitted.fetch_add(1, Ordering::Relaxed)),
        2 => drop(dropped.fetch_add(1, Ordering::Relaxed)),
        _ => {}
    });
    assert_eq!(consumed.into_inner(), submitted.into_inner(), "no record is lost or doubled");
    assert_eq!(buffer.dropped(), dropped.into_inner());
}

#[test]
fn slots_of_a_prog_array_change_while_programs_jump_through_them() {
    let machine = machine();
    let array = create(&machine, &def(MapType::ProgArray, 4, 4, 1));
    let leaves: Vec<Arc<Program>> =
        [10, 20].map(|r0| load(&machine, &format!("mov %r0, {r0}\nexit"), &[])).into();
    let asm = "lddw map_idx %r2, 0\nmov %r3, 0\ncall 12\nmov %r0, 30\nexit";
    let program = load(&machine, asm, &[&array]);
    let counts = [const { AtomicU64::new(0) }; 3];
    let user = |done: &AtomicBool| {
        let key = [0; 4];
        while !done.load(Ordering::Acquire) {
            for leaf in &leaves {
                sys::update(&*array, Some(&key), &leaf.id().to_le_bytes(), 0).expect("it fits");
                thread::yield_now();
            }
            sys::delete(&*array, Some(&key)).expect("it is there");
            thread::yield_now();
        }
    };
    stress(&machine, &program, user, |r0| {
        assert!(matches!(r0, 10 | 20 | 30), "{r0} is no program's");
        counts[usize::try_from(r0 / 10 - 1).expect("0 to 2")].fetch_add(1, Ordering::Relaxed);
    });
    let sum: u64 = counts.map(AtomicU64::into_inner).iter().sum();
    assert_eq!(sum, RUNS * u64::from(RUNNERS));
    let weak: Vec<_> = leaves.iter().map(Arc::downgrade).collect();
    drop(leaves);
    sys::update(&*array, Some(&[0; 4]), &program.id().to_le_bytes(), 0).expect("it fits");
    let gone = weak.iter().filter(|program| program.upgrade().is_none()).count();
    assert_eq!(gone, 2, "programs that are nowhere any more go");
}

#[test]
fn an_inner_map_stays_for_a_run_that_found_it() {
    let machine = machine();
    let inner = def(MapType::Array, 4, 8, 1);
    let outer =
        MapDef { inner: Some(Box::new(inner.clone())), ..def(MapType::HashOfMaps, 4, 4, 4) };
    let outer = create(&machine, &outer);
    // Looks an inner map up and adds to its value; 1 when there is none.
    let asm = "stw [%r10-4], 0\nmov %r2, %r10\nadd %r2, -4\nlddw map_idx %r1, 0\ncall 1\n\
               jne %r0, 0, inner\nmov %r0, 1\nexit\ninner:\nmov %r1, %r0\nmov %r2, %r10\n\
               add %r2, -4\ncall 1\njne %r0, 0, value\nmov %r0, 2\nexit\nvalue:\n\
               mov %r1, 1\nlock add [%r0], %r1\nmov %r0, 0\nexit";
    let program = load(&machine, asm, &[&outer]);
    let (added, counted) = (AtomicU64::new(0), AtomicU64::new(0));
    // There is one from the start, however late the user comes.
    let first = create(&machine, &inner);
    let id = first.core().id().to_le_bytes();
    sys::update(&*outer, Some(&[0; 4]), &id, 0).expect("it is like the template");
    let user = |done: &AtomicBool| {
        let mut kept = vec![Arc::clone(&first)];
        let mut round = 0_u32;
        while !done.load(Ordering::Acquire) {
            let map = create(&machine, &inner);
            let id = map.core().id().to_le_bytes();
            sys::update(&*outer, Some(&[0; 4]), &id, 0).expect("it is like the template");
            kept.push(map);
            round += 1;
            if round.is_multiple_of(8) {
                // Maps of which only the outer one and runs know; they are not counted.
                sys::delete(&*outer, Some(&[0; 4])).expect("it is there");
                let map = create(&machine, &inner);
                let id = map.core().id().to_le_bytes();
                sys::update(&*outer, Some(&[0; 4]), &id, 0).expect("it is like the template");
            }
            thread::yield_now();
        }
        let sum: u64 = kept.iter().map(|map| word(&**map, 0).expect("it is there")[0]).sum();
        counted.store(sum, Ordering::Relaxed);
    };
    stress(&machine, &program, user, |r0| match r0 {
        0 => drop(added.fetch_add(1, Ordering::Relaxed)),
        1 => {}
        other => panic!("an inner map has a value: {other}"),
    });
    let (added, counted) = (added.into_inner(), counted.into_inner());
    assert!(counted <= added, "{counted} are in maps that are kept, {added} were added");
    assert!(counted > 0, "programs used the inner maps");
    assert_eq!(sys::keys(&*outer).len(), 1);
}
