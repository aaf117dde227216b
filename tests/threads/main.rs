//! Embedders' threads: programs run on all virtual CPUs while others change every map under
//! them, load programs and let them go; and none of it leaves anything behind.
//!
//! `vm/tests/stress` looks at each map type by itself; here all are used at once, through the
//! interface of embedders, with programs coming and going.

mod world;

use std::fs;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use skep::{Engine, Input, Program, Runner};

use world::{LEAVES, NOTHING, SLOTS, World};

/// Threads that run programs, each on a virtual CPU of its own.
const RUNNERS: u32 = 8;
/// How long they run, for each engine.
const WHILE: Duration = Duration::from_secs(3);
/// Cycles of loading, running, replacing and dropping before memory is looked at, and after.
const WARM_UP: usize = 60;
const CYCLES: usize = 120;

/// One test after the other: what the process takes is measured.
static ONE: Mutex<()> = Mutex::new(());

fn run(runner: &mut Runner, program: &Program, thread: u64, run: u64) -> u64 {
    let context = [thread.to_le_bytes(), run.to_le_bytes()].concat();
    match runner.run(program, Input::raw(context)) {
        Ok(output) => output.r0,
        Err(error) => panic!("thread {thread}, run {run}: {error}"),
    }
}

/// Whether a run may give this: what the program of the slot returns that it asks for.
fn is_possible(run: u64, r0: u64) -> bool {
    let slot = run % u64::from(SLOTS);
    r0 == NOTHING || (slot * LEAVES..(slot + 1) * LEAVES).contains(&r0)
}

/// What the threads of a test have done.
#[derive(Default)]
struct Done {
    runs: AtomicU64,
    jumps: AtomicU64,
    rounds: AtomicU64,
    over: AtomicBool,
}

/// Ends all threads when one of them does, whatever the reason.
struct Over<'d>(&'d Done);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Release);
    }
}

#[test]
fn threads_run_programs_while_others_change_everything() {
    let _one = ONE.lock();
    for &engine in Engine::ALL {
        let world = World::new(engine, RUNNERS);
        let done = Done::default();
        let entry = Mutex::new(world.entry());
        let runners: Vec<Runner> = thread::scope(|scope| {
            let runs = (0..u64::from(RUNNERS)).map(|thread| {
                let (world, done, entry) = (&world, &done, &entry);
                scope.spawn(move || runs(world, entry, done, thread))
            });
            let runs: Vec<_> = runs.collect();
            scope.spawn(|| programs_come_and_go(&world, &entry, &done));
            scope.spawn(|| maps_change(&world, &done));
            scope.spawn(|| records_are_read(&world, &done));
            let start = Instant::now();
            while start.elapsed() < WHILE && !done.over.load(Ordering::Acquire) {
                thread::sleep(Duration::from_millis(20));
            }
            done.over.store(true, Ordering::Release);
            runs.into_iter().map(|thread| thread.join().expect("no check failed")).collect()
        });
        let (counted, of_cpus, jumps) = world.counts();
        let runs = done.runs.into_inner();
        assert_eq!(counted, runs, "{engine}: each run is counted once");
        assert_eq!(of_cpus, runs, "{engine}: and once on its own CPU");
        assert_eq!(jumps, done.jumps.into_inner(), "{engine}: each tail call is counted once");
        let rounds = done.rounds.into_inner();
        assert!(runs > 1000 && rounds > 20 && jumps > 100, "{engine}: {runs} {rounds} {jumps}");
        println!("{engine}: {runs} runs, {jumps} tail calls, {rounds} rounds of changes");
        // All that is left are runners and a program; everything goes on.
        let entry = entry.into_inner().expect("no check failed");
        drop(world);
        thread::scope(|scope| {
            for (thread, mut runner) in (0..).zip(runners) {
                let entry = &entry;
                scope.spawn(move || {
                    for nth in 0..100 {
                        let r0 = run(&mut runner, entry, thread, nth);
                        assert!(is_possible(nth, r0), "{r0} after everything was dropped");
                    }
                });
            }
        });
    }
}

/// Runs the entry on a CPU until the test is over.
fn runs(world: &World, entry: &Mutex<Program>, done: &Done, thread: u64) -> Runner {
    let _over = Over(done);
    let cpu = u32::try_from(thread).expect("a few");
    let mut runner = world.vm.runner_on(cpu).expect("it is free");
    let (mut nth, mut jumps) = (0, 0);
    while !done.over.load(Ordering::Acquire) {
        let program = entry.lock().expect("no check failed").clone();
        for _ in 0..50 {
            let r0 = run(&mut runner, &program, thread, nth);
            assert!(is_possible(nth, r0), "run {nth}: {r0:#x}");
            jumps += u64::from(r0 != NOTHING);
            nth += 1;
        }
    }
    done.runs.fetch_add(nth, Ordering::Relaxed);
    done.jumps.fetch_add(jumps, Ordering::Relaxed);
    runner
}

/// Loads new programs, puts them in the place of others, and lets those go.
fn programs_come_and_go(world: &World, entry: &Mutex<Program>, done: &Done) {
    let _over = Over(done);
    let mut round = 0;
    while !done.over.load(Ordering::Acquire) {
        for slot in 0..SLOTS {
            let leaf = world.leaf(slot, round);
            world.programs.set_program(slot, &leaf).expect("it fits");
        }
        if round % 3 == 0 {
            let gone = u32::try_from(round).expect("a few") % SLOTS;
            world.programs.delete(&gone).expect("it is there");
        }
        let new = world.entry();
        let old = std::mem::replace(&mut *entry.lock().expect("no check failed"), new);
        drop(old);
        round += 1;
        done.rounds.fetch_add(1, Ordering::Relaxed);
    }
}

/// Updates and deletes entries, and replaces maps of maps.
fn maps_change(world: &World, done: &Done) {
    let _over = Over(done);
    let mut round = 0_u64;
    while !done.over.load(Ordering::Acquire) {
        for key in 0..64_u32 {
            let _full = world.hash.update(&key, &world::of_key(key), 0);
            let _evicts = world.lru.update(&(key + 1000), &world::of_key(key + 1000), 0);
            if (u64::from(key) + round).is_multiple_of(5) {
                let _absent = world.hash.delete(&key);
            }
        }
        for (key, value) in world.hash.iter::<u32, u64>() {
            assert_eq!(value, world::of_key(key), "the value is the key's");
        }
        world.replace_inner(round);
        round += 1;
    }
}

/// Reads what the programs send: of each thread in its order.
fn records_are_read(world: &World, done: &Done) {
    let _over = Over(done);
    let mut ring = world.ring.ring_buffer().expect("it is one");
    let mut last = [0; RUNNERS as usize];
    while !done.over.load(Ordering::Acquire) {
        ring.consume(|record| {
            let thread: u64 = record.get(0).expect("it has 16 bytes");
            let run: u64 = record.get(8).expect("it has 16 bytes");
            let last = &mut last[usize::try_from(thread).expect("a few")];
            assert!(*last <= run, "{run} after {last}");
            *last = run;
            ControlFlow::Continue(())
        });
        thread::sleep(Duration::from_millis(1));
    }
}

/// What the process takes.
#[derive(Debug, Clone, Copy)]
struct Taken {
    resident: usize,
    mappings: usize,
    executable: usize,
    descriptors: usize,
    threads: usize,
}

fn taken() -> Taken {
    let statm = fs::read_to_string("/proc/self/statm").expect("there is one");
    let resident: Option<usize> = statm.split(' ').nth(1).and_then(|word| word.parse().ok());
    let maps = fs::read_to_string("/proc/self/maps").expect("there are some");
    let is_executable = |line: &&str| line.split(' ').nth(1).is_some_and(|p| p.contains('x'));
    Taken {
        resident: 4096 * resident.expect("a number of pages"),
        mappings: maps.lines().count(),
        executable: maps.lines().filter(is_executable).count(),
        descriptors: fs::read_dir("/proc/self/fd").expect("there are some").count(),
        threads: fs::read_dir("/proc/self/task").expect("there are some").count(),
    }
}

/// Makes a machine, or keeps to one, loads, runs on two threads while all is replaced, and
/// drops.
fn cycle(world: &World) {
    let entry = world.entry();
    let leaf = world.leaf(0, 0);
    world.programs.set_program(0, &leaf).expect("it fits");
    drop(leaf);
    thread::scope(|scope| {
        for thread in 0..2 {
            let entry = &entry;
            scope.spawn(move || {
                let mut runner = world.vm.runner().expect("a CPU is free");
                for nth in 0..20 {
                    let r0 = run(&mut runner, entry, thread, nth);
                    assert!(is_possible(nth, r0), "{r0}");
                }
            });
        }
        for slot in 0..SLOTS {
            world.programs.set_program(slot, &world.leaf(slot, 1)).expect("it fits");
        }
        world.replace_inner(1);
    });
    for slot in 0..SLOTS {
        world.programs.delete(&slot).expect("it is there");
    }
}

/// Where memory, mappings and descriptors were before and after many cycles.
#[expect(clippy::print_stdout, reason = "what was taken is worth knowing")]
fn grows(what: &str, mut cycle: impl FnMut()) {
    (0..WARM_UP).for_each(|_| cycle());
    let before = taken();
    (0..CYCLES).for_each(|_| cycle());
    let mut after = taken();
    // A thread that was joined may take a little longer to be gone.
    for _ in 0..100 {
        if after.threads <= before.threads {
            break;
        }
        thread::sleep(Duration::from_millis(10));
        after = taken();
    }
    println!("{what}: {before:?}, after {CYCLES} cycles more {after:?}");
    assert!(after.executable <= before.executable, "{what}: native code stays mapped");
    assert!(after.descriptors <= before.descriptors, "{what}: descriptors stay open");
    assert!(after.threads <= before.threads, "{what}: threads stay");
    // The allocator's arenas come and go with threads.
    assert!(after.mappings <= before.mappings + 8, "{what}: mappings stay");
    let grown = after.resident.saturating_sub(before.resident);
    assert!(grown < 1 << 20, "{what}: {grown} bytes in {CYCLES} cycles");
}

#[test]
fn cycles_of_loading_running_replacing_and_dropping_leave_nothing() {
    let _one = ONE.lock();
    for &engine in Engine::ALL {
        let world = World::new(engine, 2);
        grows(&format!("{engine}, one machine"), || cycle(&world));
        drop(world);
        grows(&format!("{engine}, new machines"), || cycle(&World::new(engine, 2)));
    }
}
