//! Random programs on skep and on the Linux kernel.
//!
//! `SKEP_SEED` sets the seed; `SKEP_KERNEL_PROGRAMS` says how many programs the kernel
//! must have accepted before the test ends.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use skep_difftest::{
    Case, INTERP, Keep, Linux, Profile, Ran, Rig, Rng, generate, kernel_differs, marks, shrink,
};
use skep_oracle::Kernel;
use skep_vm::isa::{Op, ROWS, Shape};

use common::{number, say, seed};

const PROGRAMS: u64 = 500;
const MAX_INSNS: u64 = 1_000_000;
/// How long to look for a smaller program that goes wrong.
const SHRINKING: Duration = Duration::from_secs(20);

#[test]
fn programs_that_the_kernel_runs_end_the_same_in_skep() {
    let test = "random programs";
    let Some(kernel) = Kernel::for_test(test) else {
        return;
    };
    let linux = Linux::new(kernel);
    let mut skep = Rig::with_cpus(INTERP, linux.cpus());
    let (seed, wanted) = (seed(), number("SKEP_KERNEL_PROGRAMS", PROGRAMS));
    assert!(wanted > 0, "SKEP_KERNEL_PROGRAMS=0 compares nothing");
    let start = Instant::now();
    let (mut accepted, mut insns, mut refused) = (0, 0, BTreeMap::new());
    let (mut tried, mut seen, mut shapes) = (0, BTreeSet::new(), BTreeSet::new());
    while accepted < wanted {
        // Each program has a seed of its own, so that one can be looked at alone.
        let case = generate(&mut Rng::new(seed.wrapping_add(tried)), Profile::Linux);
        tried += 1;
        let theirs = match linux.try_run(&case) {
            Ok(answer) => answer,
            Err(errno) => {
                *refused.entry(format!("{errno:?}")).or_insert(0u64) += 1;
                let why = || linux.run(&case).map(drop);
                assert!(tried < 2 * wanted + 100, "too much is refused: {refused:?}; {:?}", why());
                continue;
            }
        };
        accepted += 1;
        insns += case.programs.iter().map(|program| program.insns.len()).sum::<usize>();
        let all = case.programs.iter().flat_map(|program| &program.insns);
        seen.extend(all.filter_map(|insn| insn.op().ok()));
        let marks = case.programs.iter().flat_map(|program| &program.marks);
        shapes.extend(marks.map(|(_, mark)| *mark));
        if let Some(wrong) = compare(&mut skep, &case, &theirs) {
            let until = Instant::now() + SHRINKING;
            let smaller = shrink(&case, Keep::StackStores, |case| {
                // Wrong in the same way: not because it now shows an address, say.
                let same = |theirs: Vec<Ran>| {
                    compare(&mut skep, case, &theirs).is_some_and(|w| places(&w) == places(&wrong))
                };
                Instant::now() < until && linux.try_run(case).is_ok_and(same)
            });
            let program = tried - 1;
            panic!("program {program} of seed {seed:#x}: {wrong}\n{case}\nshrunk:\n{smaller}");
        }
    }
    let missing = ROWS.iter().map(|row| row.op).filter(|op| !seen.contains(op) && is_written(*op));
    let missing: Vec<Op> = missing.collect();
    assert!(accepted < PROGRAMS || missing.is_empty(), "no program has {missing:?}");
    let missing = marks(Profile::Linux).into_iter().filter(|mark| !shapes.contains(mark));
    let missing: Vec<&str> = missing.collect();
    assert!(accepted < PROGRAMS || missing.is_empty(), "no program has {missing:?}");
    say(&format!(
        "{test}: {accepted} accepted by the kernel and equal, of {tried} tried; {} instructions \
         on average; seed {seed:#x}; {:.1} s; refused: {refused:?}",
        insns / usize::try_from(accepted).unwrap(),
        start.elapsed().as_secs_f64(),
    ));
}

/// What differs without the values: the beginning of each line.
fn places(difference: &str) -> Vec<&str> {
    difference.lines().map(|line| line.rsplit_once(": ").map_or(line, |(what, _)| what)).collect()
}

/// What differs between skep's runs and the kernel's.
fn compare(skep: &mut Rig, case: &Case, theirs: &[Ran]) -> Option<String> {
    match skep.run(case, MAX_INSNS) {
        Ok(ours) => kernel_differs(&ours, theirs),
        Err(why) => Some(format!("skep refuses it: {why}")),
    }
}

/// Whether random programs hold this operation: all but those about kernel functions and
/// arenas.
fn is_written(op: Op) -> bool {
    match op.row().shape {
        Shape::Lddw => {
            matches!(op, Op::Lddw | Op::LddwMapIdx | Op::LddwMapIdxValue | Op::LddwFunc)
        }
        Shape::CallBtf | Shape::CallReg | Shape::Cast => false,
        _ => true,
    }
}
