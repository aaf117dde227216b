//! What the generator's programs reach when they are run: every instruction, helper and
//! shape, or the test fails.
//!
//! Slots of what was not seen yet are poisoned, so that reaching one of them shows.
//! `SKEP_SEED` sets the seed, `SKEP_COVERAGE_PROGRAMS` the number of cases.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use skep_difftest::{Case, INTERP, Profile, Rig, Rng, generate, marks};
use skep_vm::FaultKind;
use skep_vm::helpers;
use skep_vm::isa::{Insn, Op, ROWS, Shape};

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
    let mut written: BTreeMap<Item, u64> = BTreeMap::new();
    for program in 0..programs {
        let case = generate(&mut Rng::new(seed.wrapping_add(program)), Profile::Engines);
        let items = items(&case);
        for (_, _, item) in &items {
            *written.entry(item.clone()).or_default() += 1;
        }
        reach(&mut rig, &case, &items, &mut reached);
    }
    let kinds = |is: fn(&Item) -> bool| reached.iter().filter(|item| is(item)).count();
    say(&format!(
        "coverage: {programs} cases reach {} instructions, {} helpers, {} shapes; seed {seed:#x}",
        kinds(|item| matches!(item, Item::Insn(_))),
        kinds(|item| matches!(item, Item::Helper(_))),
        kinds(|item| matches!(item, Item::Mark(_))),
    ));
    let missing = wanted.iter().filter(|item| !reached.contains(item));
    let missing: Vec<String> = missing
        .map(|item| format!("{item:?} ({} written)", written.get(item).unwrap_or(&0)))
        .collect();
    assert!(programs < PROGRAMS || missing.is_empty(), "not reached: {missing:#?}");
    let unknown: Vec<&Item> = written.keys().filter(|item| !wanted.contains(item)).collect();
    assert!(unknown.iter().all(|item| !matches!(item, Item::Mark(_))), "not listed: {unknown:?}");
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

/// Runs a case as often as it reaches something new.
fn reach(rig: &mut Rig, case: &Case, items: &[(usize, u32, Item)], reached: &mut BTreeSet<Item>) {
    loop {
        let new = items.iter().filter(|(_, _, item)| !reached.contains(item));
        let poisoned: Vec<(usize, u32)> = new.map(|(program, slot, _)| (*program, *slot)).collect();
        if poisoned.is_empty() {
            return;
        }
        let Ok(runs) = rig.run_around(case, MAX_INSNS, &poisoned) else { return };
        let faults = runs.iter().filter_map(|ran| ran.fault());
        let mut faults = faults.filter(|fault| matches!(fault.kind, FaultKind::Poisoned(_)));
        let Some(fault) = faults.next() else { return };
        let program = fault.program.trim_start_matches('p').parse().unwrap_or(0);
        let here = items.iter().filter(|(of, slot, _)| (*of, *slot) == (program, fault.insn));
        reached.extend(here.map(|(_, _, item)| item.clone()));
    }
}
