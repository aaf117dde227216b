//! What LRU maps keep: the same random uses of a map in skep and in the Linux kernel, on
//! several CPUs, must give the same results and leave the same keys.
//!
//! `SKEP_SEED` sets the seed; `SKEP_LRU_MAPS` says how many maps are tried.

#![expect(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use skep_difftest::Rng;
use skep_maps::{Map, MapDef, Source, World, sys};
use skep_memory::Window;
use skep_oracle::asm::{Asm, JEQ, R0, R1, R2, R7};
use skep_oracle::{Errno, Kernel, MapSpec, Prog, ProgSpec, TestRun, map_type, prog_type};

use common::{number, say, seed};

const MAPS: u64 = 60;
const STEPS: u64 = 300;
const NO_COMMON_LRU: u32 = 1 << 1;

/// The same map twice, and a program that looks a key up in the kernel's.
struct Pair<'k> {
    kernel: &'k Kernel,
    theirs: skep_oracle::Map,
    lookup: Prog,
    key: skep_oracle::Map,
    ours: Arc<dyn Map>,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Update { key: u32, flags: u64 },
    Delete { key: u32 },
    ProgramLookup { key: u32 },
    UserLookup { key: u32 },
}

impl<'k> Pair<'k> {
    fn new(kernel: &'k Kernel, world: &Arc<World>, map_type: u32, max: u32, flags: u32) -> Self {
        let spec = MapSpec::new(map_type, 4, 8, max).flags(flags);
        let theirs = kernel.create_map(&spec).unwrap();
        let key = kernel.create_map(&MapSpec::new(map_type::ARRAY, 4, 4, 1)).unwrap();
        let mut asm = Asm::new();
        asm.map(R1, theirs.fd()).map_value(R2, key.fd(), 0).call(1);
        asm.mov(R7, 0).jmp(JEQ, R0, 0, "end").mov(R7, 1);
        let insns = asm.label("end").mov_reg(R0, R7).exit().build();
        let lookup = kernel.load(&ProgSpec::new(prog_type::SCHED_CLS, &insns)).unwrap();
        let def = MapDef {
            map_type,
            key_size: 4,
            value_size: 8,
            max_entries: max,
            flags,
            ..MapDef::default()
        };
        let ours = skep_maps::create(world, &def).unwrap();
        Self { kernel, theirs, lookup, key, ours }
    }

    /// Does a step on both, on the CPU that this thread runs on.
    fn step(&self, step: Step, cpu: u32) -> (String, String) {
        let text = |result: Result<(), i32>| match result {
            Ok(()) => "ok".to_owned(),
            Err(errno) => format!("errno {errno}"),
        };
        let theirs = |result: Result<(), Errno>| text(result.map_err(|errno| errno.0));
        let ours = |result: Result<(), skep_maps::Errno>| text(result.map_err(|e| e.number()));
        match step {
            Step::Update { key, flags } => {
                let (key, value) = (key.to_le_bytes(), vec![7; self.theirs.value_len()]);
                let one = Source::Host(&value[..8]);
                (
                    theirs(self.theirs.update(&key, &value, flags)),
                    ours(self.ours.update(&key, one, flags, cpu)),
                )
            }
            Step::Delete { key } => {
                let key = key.to_le_bytes();
                (theirs(self.theirs.delete(&key)), ours(self.ours.delete(&key)))
            }
            Step::UserLookup { key } => {
                let key = key.to_le_bytes();
                let mut out = vec![0; self.ours.core().user_value_size()];
                (
                    theirs(self.theirs.lookup(&key, 0).map(drop)),
                    ours(sys::lookup(&*self.ours, Some(&key), 0, &mut out)),
                )
            }
            Step::ProgramLookup { key } => {
                let key = key.to_le_bytes();
                self.key.update(&[0; 4], &key, 0).unwrap();
                let ran = self.lookup.test_run(&TestRun::new().data_in(&[0; 64]));
                let found = ran.ok().unwrap().retval == 1;
                let own = self.ours.lookup(&key, cpu).is_some();
                (found.to_string(), own.to_string())
            }
        }
    }

    fn contents(&self) -> (BTreeSet<Vec<u8>>, BTreeSet<Vec<u8>>) {
        let theirs = self.theirs.keys().unwrap();
        (theirs.into_iter().collect(), sys::keys(&*self.ours).into_iter().collect())
    }
}

fn random_step(rng: &mut Rng, keys: u64) -> Step {
    let key = u32::try_from(rng.below(keys)).unwrap();
    match rng.below(12) {
        0..6 => Step::Update { key, flags: if rng.one_in(4) { 1 + rng.below(2) } else { 0 } },
        6..10 => Step::ProgramLookup { key },
        10 => Step::UserLookup { key },
        _ => Step::Delete { key },
    }
}

#[test]
fn the_same_keys_stay_as_in_the_kernel() {
    let test = "LRU maps";
    let Some(kernel) = Kernel::for_test(test) else {
        return;
    };
    let cpus = u32::try_from(kernel.possible_cpus()).unwrap();
    let world = World::new(Window::reserve().unwrap(), cpus).unwrap();
    let (seed, maps) = (seed(), number("SKEP_LRU_MAPS", MAPS));
    let mut steps = 0;
    for nth in 0..maps {
        let mut rng = Rng::new(seed.wrapping_add(nth));
        let map_type = [map_type::LRU_HASH, map_type::LRU_PERCPU_HASH][usize::from(rng.one_in(3))];
        let flags = if rng.one_in(3) { NO_COMMON_LRU } else { 0 };
        let limit = [6, 20, 70, 600][usize::try_from(rng.below(4)).unwrap()];
        let max = 1 + u32::try_from(rng.below(limit)).unwrap();
        let keys = 1 + u64::from(max) * (1 + rng.below(3));
        let pair = Pair::new(&kernel, &world, map_type, max, flags);
        let mut log = Vec::new();
        while (log.len() as u64) < STEPS + 4 * u64::from(max) {
            let cpu = u32::try_from(rng.below(u64::from(cpus))).unwrap();
            let burst = 1 + rng.below(40);
            pair.kernel
                .on_cpu(cpu as usize, || {
                    for _ in 0..burst {
                        let step = random_step(&mut rng, keys);
                        let (theirs, ours) = pair.step(step, cpu);
                        log.push((cpu, step));
                        assert_eq!(ours, theirs, "map {nth} of seed {seed:#x}: {log:?}");
                    }
                })
                .unwrap();
            let (theirs, ours) = pair.contents();
            let tail = &log[log.len().saturating_sub(40)..];
            assert_eq!(
                ours,
                theirs,
                "skep, kernel: map {nth} of seed {seed:#x}: type {map_type}, max {max}, flags \
                 {flags:#x}, step {}: {tail:?}",
                log.len()
            );
        }
        steps += log.len();
    }
    say(&format!(
        "{test}: {maps} maps, {steps} steps, the same keys as in the kernel; seed {seed:#x}"
    ));
}
