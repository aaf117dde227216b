//! Programs and user space on the same maps at the same time: what must hold in the end,
//! holds.
//!
//! Each test has a few runners, each on a thread and a virtual CPU of its own, and threads
//! of user space; what they do is a function of their number, so that only the order of
//! things differs from run to run.

mod hash;
mod lru;
mod queue;
mod records;
mod references;
mod trie;
mod values;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use skep_maps::{Errno, Map, MapDef, MapType, sys};
use skep_vm::isa::assemble;
use skep_vm::{
    Engine, FixedHost, Input, Limits, Machine, Program, ProgramSpec, RunError, Runner, prog,
};

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
    load_as(machine, "syscall", asm, maps)
}

/// The same of another type.
fn load_as(machine: &Machine, prog_type: &str, asm: &str, maps: &[&Arc<dyn Map>]) -> Arc<Program> {
    let spec = ProgramSpec {
        name: "stress".to_owned(),
        prog_type: prog::by_name(prog_type),
        insns: assemble(asm).expect("it can be assembled"),
        maps: maps.iter().map(|map| Arc::clone(map)).collect(),
        ..ProgramSpec::default()
    };
    machine.load(spec).expect("it is well-formed")
}

/// The turns that user space has had, and whether it is to go on.
#[derive(Debug, Default)]
struct Turns {
    taken: AtomicU64,
    /// Whether the runners are done.
    done: AtomicBool,
    /// Whether user space is: a failed check has ended it.
    gone: AtomicBool,
}

impl Turns {
    /// Begins a turn; `false` when the runners are done.
    fn go_on(&self) -> bool {
        self.taken.fetch_add(1, Ordering::AcqRel);
        !self.done.load(Ordering::Acquire)
    }

    /// Waits until user space has had a few turns more, however busy the machine is.
    fn wait(&self) {
        let wanted = self.taken.load(Ordering::Acquire) + 3;
        while self.taken.load(Ordering::Acquire) < wanted && !self.gone.load(Ordering::Acquire) {
            thread::sleep(Duration::from_micros(50));
        }
    }
}

/// Notes when user space ends, whatever the reason.
struct Gone<'t>(&'t Turns);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.gone.store(true, Ordering::Release);
    }
}

/// Ends user space when the last runner ends, whatever the reason.
struct Last<'t> {
    running: &'t AtomicU32,
    turns: &'t Turns,
}

impl Drop for Last<'_> {
    fn drop(&mut self) {
        if self.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.turns.done.store(true, Ordering::Release);
        }
    }
}

/// Runs a program `RUNS` times on each runner while `user` runs on a thread of its own
/// until the runners are done; `each` gets what each run returned.
fn stress(
    machine: &Arc<Machine>,
    program: &Program,
    user: impl Fn(&Turns) + Sync,
    each: impl Fn(u64) + Sync,
) {
    let running = AtomicU32::new(RUNNERS);
    let turns = Turns::default();
    thread::scope(|scope| {
        for number in 0..RUNNERS {
            let (running, turns, each) = (&running, &turns, &each);
            scope.spawn(move || {
                let _last = Last { running, turns };
                run_on(machine, program, number, turns, each);
            });
        }
        scope.spawn(|| {
            let _gone = Gone(&turns);
            user(&turns);
        });
    });
}

fn run_on(
    machine: &Arc<Machine>,
    program: &Program,
    number: u32,
    turns: &Turns,
    each: &impl Fn(u64),
) {
    let mut runner =
        Runner::new(machine, number, Engine::default()).expect("there is room for a runner");
    let host = FixedHost::default();
    for run in 0..RUNS {
        if run % (RUNS / 16) == 1 {
            turns.wait();
        }
        let context = [u64::from(number).to_le_bytes(), run.to_le_bytes()].concat();
        let limits = Limits::default();
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
