//! Slots with anything in them, through loading and a bounded run: neither panics or hangs.
//!
//! `SKEP_SEED` sets the seed, `SKEP_RANDOM_PROGRAMS` the number of programs.

mod common;

use std::collections::BTreeMap;
use std::time::Instant;

use skep_difftest::{Case, CaseMap, Fill, INTERP, MEMORY, Rig, Rng, random_insns};
use skep_maps::MapType;
use skep_vm::isa::Insn;
use skep_vm::prog::{ProgType, SCHED_CLS, SOCKET_FILTER, XDP};

use common::{number, say, seed};

const PROGRAMS: u64 = 300_000;
const MAX_INSNS: u64 = 2_000;

#[test]
fn anything_is_refused_or_stopped_or_ends() {
    let mut skep = Rig::new(INTERP);
    let (seed, programs) = (seed(), number("SKEP_RANDOM_PROGRAMS", PROGRAMS));
    let start = Instant::now();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for program in 0..programs {
        let mut rng = Rng::new(seed.wrapping_add(program));
        let case = anything(&mut rng);
        let what = match skep.run(&case, MAX_INSNS) {
            Ok(runs) => match runs[0].fault() {
                None => "run",
                Some(fault) => {
                    let insns = fault.insns.expect("the interpreter counts");
                    assert!(insns <= MAX_INSNS, "{insns} instructions: {fault}");
                    assert!((fault.insn as usize) < case.insns().len(), "{fault}");
                    assert!(!fault.to_string().is_empty());
                    "stopped"
                }
            },
            Err(refusal) => {
                let error = refusal.error;
                assert!((error.insn as usize) < case.insns().len().max(1), "{error}");
                "refused"
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
    let memory = rng.bytes(MEMORY);
    if prog_type.is_none() {
        return Case::single(prog_type, insns, memory);
    }
    let mut map = CaseMap::new(MapType::Array, 4, u32::try_from(MEMORY).expect("small"), 1);
    map.fill.push((vec![0; 4], Fill::Bytes(memory)));
    Case { maps: vec![map], ..Case::single(prog_type, insns, rng.bytes(72)) }
}
