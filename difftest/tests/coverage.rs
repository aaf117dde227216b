//! What the generator's programs reach when they are run: every instruction, helper and
//! shape, or the test fails; and every shape that is wrong goes wrong.
//!
//! Slots of what was not seen yet are poisoned, so that reaching one of them shows.
//! `SKEP_SEED` sets the seed, `SKEP_COVERAGE_PROGRAMS` the number of cases.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use skep_difftest::{Case, INTERP, Profile, Ran, Rig, Rng, generate, marks};
use skep_vm::helpers;
use skep_vm::isa::{Insn, Op, ROWS, Shape};
use skep_vm::{Fault, FaultKind};

use common::{number, say, seed};

const PROGRAMS: u64 = 8_000;
const MAX_INSNS: u64 = 20_000;

/// What a program may reach.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    Insn(String),
    Helper(String),
    Mark(&'static str),
}

#[test]
fn programs_reach_all_instructions_helpers_and_shapes() {
    let (seed, programs) = (seed(), number("SKEP_COVERAGE_PROGRAMS", PROGRAMS));
    let mut rig = Rig::with_cpus(INTERP, 2);
    let wanted = wanted();
    let mut reached = BTreeSet::new();
    let mut faulted: BTreeMap<&str, u64> = BTreeMap::new();
    let mut written: BTreeMap<Item, u64> = BTreeMap::new();
    for program in 0..programs {
        let case = generate(&mut Rng::new(seed.wrapping_add(program)), Profile::Engines);
        let items = items(&case);
        for (_, _, item) in &items {
            *written.entry(item.clone()).or_default() += 1;
        }
        let runs = reach(&mut rig, &case, &items, &mut reached);
        for fault in runs.iter().filter_map(Ran::fault) {
            if let Some(mark) = mark_at(&case, fault) {
                *faulted.entry(mark).or_default() += 1;
            }
        }
    }
    let kinds = |is: fn(&Item) -> bool| reached.iter().filter(|item| is(item)).count();
    let rarest = faulted.iter().filter(|(mark, _)| mark.ends_with(", wrong"));
    let rarest = rarest.min_by_key(|(_, count)| **count);
    say(&format!(
        "coverage: {programs} cases reach {} instructions, {} helpers, {} shapes, and fault least \
         often in {rarest:?}; seed {seed:#x}",
        kinds(|item| matches!(item, Item::Insn(_))),
        kinds(|item| matches!(item, Item::Helper(_))),
        kinds(|item| matches!(item, Item::Mark(_))),
    ));
    let missing = wanted.iter().filter(|item| !reached.contains(item));
    let missing: Vec<String> = missing
        .map(|item| format!("{item:?} ({} written)", written.get(item).unwrap_or(&0)))
        .collect();
    assert!(programs < PROGRAMS || missing.is_empty(), "not reached: {missing:#?}");
    // A wrong shape that never goes wrong would show nothing.
    let harmless = wanted.iter().filter_map(|item| match item {
        Item::Mark(mark) if mark.ends_with(", wrong") => Some(*mark),
        _ => None,
    });
    let harmless: Vec<&str> =
        harmless.filter(|mark| !faulted.contains_key(mark) && !ENDS_WELL.contains(mark)).collect();
    assert!(programs < PROGRAMS || harmless.is_empty(), "never a fault: {harmless:#?}");
    let unknown: Vec<&Item> = written.keys().filter(|item| !wanted.contains(item)).collect();
    assert!(unknown.iter().all(|item| !matches!(item, Item::Mark(_))), "not listed: {unknown:?}");
}

/// Wrong shapes that end well: stack that was not written is 0, and a chain of tail calls ends.
const ENDS_WELL: [&str; 2] = ["stack: a slot in parts, wrong", "tail call: to itself, wrong"];

/// What the generator noted last before the slot of a fault.
fn mark_at(case: &Case, fault: &Fault) -> Option<&'static str> {
    let program = &case.programs[program_of(fault)];
    let before = program.marks.iter().filter(|(slot, _)| *slot <= fault.insn);
    before.max_by_key(|(slot, _)| *slot).map(|(_, mark)| *mark)
}

/// The program of the case that faulted.
fn program_of(fault: &Fault) -> usize {
    fault.program.trim_start_matches('p').parse().expect("the programs are p0, p1 and so on")
}

/// All that programs must reach.
fn wanted() -> BTreeSet<Item> {
    // Programs hold no others: what is no instruction of programs that load, and kernel
    // functions, which skep has none of.
    let row = |op: Op| match op.row().shape {
        Shape::Lddw => matches!(op, Op::Lddw | Op::LddwMapIdx | Op::LddwMapIdxValue | Op::LddwFunc),
        Shape::CallBtf | Shape::CallReg | Shape::Cast => false,
        _ => true,
    };
    let insns = ROWS.iter().filter(|r| row(r.op)).map(|r| Item::Insn(format!("{:?}", r.op)));
    let helpers = helpers::all().iter().map(|helper| Item::Helper(helper.name.to_owned()));
    insns.chain(helpers).chain(marks(Profile::Engines).into_iter().map(Item::Mark)).collect()
}

/// The items of a case, with the program and slot of each.
fn items(case: &Case) -> Vec<(usize, u32, Item)> {
    let mut items = Vec::new();
    for (index, program) in case.programs.iter().enumerate() {
        let mut slots = (0u32..).zip(&program.insns);
        while let Some((slot, insn)) = slots.next() {
            let Ok(op) = insn.op() else { continue };
            if op.row().shape == Shape::Lddw {
                slots.next();
            }
            items.push((index, slot, Item::Insn(format!("{op:?}"))));
            items.extend(helper(op, *insn).map(|name| (index, slot, Item::Helper(name))));
        }
        items.extend(program.marks.iter().map(|(slot, mark)| (index, *slot, Item::Mark(mark))));
    }
    items
}

fn helper(op: Op, insn: Insn) -> Option<String> {
    let id = u32::try_from(insn.imm).ok().filter(|_| op == Op::CallHelper)?;
    helpers::by_id(id).map(|helper| helper.name.to_owned())
}

/// Runs a case as often as it reaches something new; the last runs reach nothing new.
fn reach(
    rig: &mut Rig,
    case: &Case,
    items: &[(usize, u32, Item)],
    reached: &mut BTreeSet<Item>,
) -> Vec<Ran> {
    loop {
        let new = items.iter().filter(|(_, _, item)| !reached.contains(item));
        let poisoned: Vec<(usize, u32)> = new.map(|(program, slot, _)| (*program, *slot)).collect();
        let runs = rig.run_around(case, MAX_INSNS, &poisoned).expect("it loads");
        let faults = runs.iter().filter_map(|ran| ran.fault());
        let mut faults = faults.filter(|fault| matches!(fault.kind, FaultKind::Poisoned(_)));
        let Some(fault) = faults.next() else { return runs };
        let program = program_of(fault);
        let here = items.iter().filter(|(of, slot, _)| (*of, *slot) == (program, fault.insn));
        reached.extend(here.map(|(_, _, item)| item.clone()));
    }
}
