//! Random programs on all engines: each must leave behind what the interpreter does.
//!
//! `SKEP_SEED` sets the seed, `SKEP_ENGINE_PROGRAMS` the number of programs, of which a case
//! has one to three. A difference is shrunk and printed as a vector for `testdata/programs`.

mod common;

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use skep_difftest::text::{Expected, Vector, write};
use skep_difftest::{
    Case, Difference, ENGINES, Engine, INTERP, Keep, Profile, Ran, Rig, Rng, agree, generate,
    mutate, shrink,
};
use skep_vm::isa::{Insn, Op};
use skep_vm::{Machine, Program, ProgramError, ProgramSpec};

use common::{number, say, seed};

const PROGRAMS: u64 = 20_000;
const MAX_INSNS: u64 = 20_000;
/// The difference when an engine panics.
const PANICS: &str = "an engine panics";
/// How long to look for a smaller case that goes wrong.
const SHRINKING: Duration = Duration::from_secs(20);

#[test]
fn engines_agree_about_random_programs() {
    let (seed, programs) = (seed(), number("SKEP_ENGINE_PROGRAMS", PROGRAMS));
    // With one engine alone, that it agrees with itself on another machine is still to be
    // seen: what programs leave behind may not depend on what ran before.
    let mut engines = ENGINES.to_vec();
    if engines.len() == 1 {
        engines.push(INTERP);
    }
    let start = Instant::now();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    match hunt(&engines, seed, programs, &mut counts) {
        Ok(Hunted { cases, programs, insns }) => say(&format!(
            "engines: {} agree about {programs} programs in {cases} cases, {insns} instructions \
             executed; runs ended by {counts:?}; seed {seed:#x}; {:.1} s",
            ENGINES.len(),
            start.elapsed().as_secs_f64()
        )),
        Err(report) => panic!("{report}"),
    }
    for end in ["returned", "Memory", "Budget", "Argument", "CallDepth"] {
        assert!(programs < PROGRAMS || counts.contains_key(end), "no run ended with {end}");
    }
}

/// What was run.
#[derive(Debug, Default)]
struct Hunted {
    cases: u64,
    programs: u64,
    insns: u64,
}

/// Runs cases on engines until there were so many programs, or they differ: then a report.
fn hunt(
    engines: &[Engine],
    seed: u64,
    programs: u64,
    counts: &mut BTreeMap<String, u64>,
) -> Result<Hunted, String> {
    let (first, others) = engines.split_first().expect("there is an engine");
    let pair = |other: &Engine| [*first, *other].map(|engine| Rig::with_cpus(engine, 2));
    let mut pairs: Vec<[Rig; 2]> = others.iter().map(pair).collect();
    let mut hunted = Hunted::default();
    while hunted.programs < programs {
        let number = hunted.cases;
        let case = case(seed.wrapping_add(number));
        // The others take turns.
        let turn = usize::try_from(number).expect("a small number") % pairs.len();
        let runs = outcome(&mut pairs[turn], &case)
            .map_err(|difference| report(engines, &case, number, &difference))?;
        hunted.cases += 1;
        if !runs.is_empty() {
            hunted.programs += case.programs.len() as u64;
        }
        hunted.insns += runs.iter().filter_map(|ran| ran.insns).sum::<u64>();
        count(counts, &runs);
    }
    Ok(hunted)
}

/// The case of a seed. In one of four some slots are changed at random: that goes wrong in
/// ways that nobody thought of.
fn case(seed: u64) -> Case {
    let mut rng = Rng::new(seed);
    let mut case = generate(&mut rng, Profile::Engines);
    if rng.one_in(4) {
        mutate(&mut rng, case.insns_mut());
    }
    case
}

fn count(counts: &mut BTreeMap<String, u64>, runs: &[Ran]) {
    if runs.is_empty() {
        *counts.entry("refused".to_owned()).or_default() += 1;
    }
    for ran in runs {
        let end = ran.end.to_string();
        let end = match end.strip_prefix("fault ") {
            Some(fault) => fault.split(' ').next().unwrap_or_default(),
            None => "returned",
        };
        *counts.entry(end.to_owned()).or_default() += 1;
    }
}

/// What engines agree about; that one panics is a difference, too.
fn outcome(rigs: &mut [Rig], case: &Case) -> Result<Vec<Ran>, Difference> {
    let run = AssertUnwindSafe(|| agree(rigs, case, MAX_INSNS));
    panic::catch_unwind(run).unwrap_or_else(|_| Err(PANICS.to_owned()))
}

/// Shrinks a case on which engines differ; machines of their own show whether it depends on
/// what ran before.
fn report(engines: &[Engine], case: &Case, number: u64, difference: &Difference) -> String {
    let rigs = || engines.iter().map(|engine| Rig::with_cpus(*engine, 2)).collect::<Vec<Rig>>();
    let differs = |case: &Case| outcome(&mut rigs(), case).err();
    if differs(case).is_none() {
        return format!("case {number}, only after others: {difference}\n{case}");
    }
    let until = Instant::now() + SHRINKING;
    let panics = difference == PANICS;
    let mut again = rigs();
    let smaller = shrink(case, Keep::Nothing, |case| {
        let found = if Instant::now() < until { outcome(&mut again, case).err() } else { None };
        if found.as_deref() == Some(PANICS) {
            // What a panic leaves behind is not to be relied on.
            again = rigs();
        }
        found.is_some_and(|found| (found == PANICS) == panics)
    });
    let expected = Rig::with_cpus(INTERP, 2).run(&smaller, MAX_INSNS).unwrap_or_default();
    let vector = Vector {
        about: format!("Case {number}: {}", differs(&smaller).unwrap_or_default()),
        budget: MAX_INSNS,
        undefined: false,
        case: smaller,
        expected: expected.iter().map(Expected::of).collect(),
    };
    format!("case {number}: {difference}\n{}", write(&vector))
}

/// Mistakes of engines: an operation, and what they take it for.
const MISTAKES: [(Op, Op); 12] = [
    // A bound is off by one.
    (Op::Jgt64Imm, Op::Jge64Imm),
    // The upper half of a register counts, or does not.
    (Op::Jge32Imm, Op::Jge64Imm),
    (Op::Jeq64Imm, Op::Jeq32Imm),
    (Op::Add32Reg, Op::Add64Reg),
    (Op::Mov32Reg, Op::Mov64Reg),
    (Op::Movsx8to64, Op::Movsx8to32),
    // Signs are lost.
    (Op::Jsge64Imm, Op::Jge64Imm),
    (Op::LdxsW, Op::LdxW),
    (Op::Arsh32Imm, Op::Rsh32Imm),
    // Too little is stored, or nothing.
    (Op::StxW, Op::StxH),
    (Op::StDw, Op::Ja),
    // An atomic operation forgets what was there.
    (Op::AtomicFetchAdd64, Op::AtomicAdd64),
];

/// An engine that makes mistake `N`.
const fn wrong<const N: usize>() -> Engine {
    Engine { name: "wrong", load: load_wrong::<N>, ..INTERP }
}

fn load_wrong<const N: usize>(
    machine: &Machine,
    mut spec: ProgramSpec,
) -> Result<Arc<Program>, ProgramError> {
    let (right, wrong) = MISTAKES[N];
    for insn in spec.insns.iter_mut().filter(|insn| insn.op() == Ok(right)) {
        let fields = if wrong == Op::Ja { Insn::default() } else { *insn };
        *insn = wrong.row().encode(fields);
    }
    machine.load(spec)
}

#[test]
fn wrong_engines_are_found() {
    let engines = [
        wrong::<0>(),
        wrong::<1>(),
        wrong::<2>(),
        wrong::<3>(),
        wrong::<4>(),
        wrong::<5>(),
        wrong::<6>(),
        wrong::<7>(),
        wrong::<8>(),
        wrong::<9>(),
        wrong::<10>(),
        wrong::<11>(),
    ];
    let mut needed = Vec::new();
    for (engine, (right, wrong)) in engines.into_iter().zip(MISTAKES) {
        let mut rigs = [Rig::with_cpus(INTERP, 2), Rig::with_cpus(engine, 2)];
        let differs = |case: &u64| {
            agree(&mut rigs, &self::case(seed().wrapping_add(*case)), MAX_INSNS).is_err()
        };
        let case = (0..3000).find(differs);
        let case = case.unwrap_or_else(|| panic!("{right:?} for {wrong:?} is not found"));
        needed.push(case + 1);
    }
    say(&format!("engines: of {} mistakes each is found after {needed:?} cases", needed.len()));
}

#[test]
fn a_case_that_goes_wrong_is_made_small() {
    let engines = [INTERP, wrong::<0>()];
    let found = hunt(&engines, seed(), 2000, &mut BTreeMap::new());
    let report = found.expect_err("it is wrong in 2000 programs");
    let vector = &report[report.find("# SPDX").expect("it ends in a vector")..];
    let vector = skep_difftest::text::read(vector).expect("it can be read");
    let insns: usize = vector.case.programs.iter().map(|program| program.insns.len()).sum();
    assert!(insns <= 40, "{insns} slots are left:\n{report}");
    let mut rigs = engines.map(|engine| Rig::with_cpus(engine, 2));
    assert!(agree(&mut rigs, &vector.case, vector.budget).is_err(), "it is still wrong");
}
