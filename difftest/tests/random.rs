//! Slots with anything in them, through loading and a bounded run: neither panics or hangs.
//!
//! `SKEP_SEED` sets the seed, `SKEP_RANDOM_PROGRAMS` the number of programs.

mod common;

use std::collections::BTreeMap;
use std::time::Instant;

use skep_difftest::{Case, MEMORY, NoAnswer, Rng, Skep, random_insns};
use skep_vm::isa::Insn;
use skep_vm::prog::{ProgType, SCHED_CLS, SOCKET_FILTER, XDP};

use common::{number, say, seed};

const PROGRAMS: u64 = 300_000;
const MAX_INSNS: u64 = 2_000;

#[test]
fn anything_is_refused_or_stopped_or_ends() {
    let mut skep = Skep::new(MAX_INSNS);
    let (seed, programs) = (seed(), number("SKEP_RANDOM_PROGRAMS", PROGRAMS));
    let start = Instant::now();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for program in 0..programs {
        let mut rng = Rng::new(seed.wrapping_add(program));
        let case = anything(&mut rng);
        let what = match skep.run(&case) {
            Ok(_) => "run",
            Err(NoAnswer::Refused(error)) => {
                assert!((error.insn as usize) < case.insns.len().max(1), "{error}");
                "refused"
            }
            Err(NoAnswer::Stopped(fault)) => {
                assert!(fault.insns <= MAX_INSNS, "{} instructions: {fault}", fault.insns);
                assert!((fault.insn as usize) < case.insns.len(), "{fault}");
                assert!(!fault.to_string().is_empty());
                "stopped"
            }
        };
        *counts.entry(what).or_default() += 1;
    }
    let seconds = start.elapsed().as_secs_f64();
    say(&format!("random slots: {programs}; {counts:?}; seed {seed:#x}; {seconds:.1} s"));
    for what in ["run", "refused", "stopped"] {
        assert!(counts.contains_key(what), "no program was {what}");
    }
}

fn anything(rng: &mut Rng) -> Case {
    const TYPES: [Option<&ProgType>; 4] =
        [None, Some(&SOCKET_FILTER), Some(&SCHED_CLS), Some(&XDP)];
    let insns = if rng.one_in(20) {
        let bytes = rng.bytes(8 * 16);
        let len = 8 * usize::try_from(rng.below(17)).expect("below 17");
        Insn::parse_le(&bytes[..len]).expect("whole slots")
    } else {
        random_insns(rng)
    };
    let prog_type = *rng.pick(&TYPES);
    Case { prog_type, insns, memory: rng.bytes(MEMORY), packet: rng.bytes(72) }
}
