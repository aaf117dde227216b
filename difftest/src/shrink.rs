//! Makes a case that went wrong easier to read.

use std::collections::BTreeMap;

use skep_vm::isa::{Insn, Op, Shape};

use crate::case::{Case, instructions};

/// What may be taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Anything.
    Nothing,
    /// Not stores to the stack: without them the program would read what was on the stack
    /// before, which the kernel does not define.
    StackStores,
}

/// Takes away what is not needed for a case to stay wrong: inputs, programs, instructions,
/// what maps hold, bytes of packets.
pub fn shrink(case: &Case, keep: Keep, mut is_wrong: impl FnMut(&Case) -> bool) -> Case {
    let mut best = case.clone();
    loop {
        let before = best.clone();
        inputs(&mut best, &mut is_wrong);
        for program in 0..best.programs.len() {
            instructions_of(&mut best, program, keep, &mut is_wrong);
        }
        fills(&mut best, &mut is_wrong);
        if keep == Keep::Nothing {
            for program in 0..best.programs.len() {
                squeeze(&mut best, program, &mut is_wrong);
            }
        }
        if best == before {
            return best;
        }
    }
}

fn attempt(best: &mut Case, smaller: Case, is_wrong: &mut impl FnMut(&Case) -> bool) -> bool {
    let better = smaller != *best && is_wrong(&smaller);
    if better {
        *best = smaller;
    }
    better
}

fn inputs(best: &mut Case, is_wrong: &mut impl FnMut(&Case) -> bool) {
    for input in (0..best.inputs.len()).rev() {
        if best.inputs.len() > 1 {
            let mut smaller = best.clone();
            smaller.inputs.remove(input);
            attempt(best, smaller, is_wrong);
        }
    }
    for input in 0..best.inputs.len() {
        let mut smaller = best.clone();
        smaller.inputs[input].samples.clear();
        attempt(best, smaller, is_wrong);
        let mut smaller = best.clone();
        smaller.inputs[input].data.fill(0);
        attempt(best, smaller, is_wrong);
    }
}

fn fills(best: &mut Case, is_wrong: &mut impl FnMut(&Case) -> bool) {
    for map in 0..best.maps.len() {
        for fill in (0..best.maps[map].fill.len()).rev() {
            let mut smaller = best.clone();
            smaller.maps[map].fill.remove(fill);
            attempt(best, smaller, is_wrong);
        }
    }
}

/// Replaces instructions by `goto +0`: first many at once, in the end one by one.
fn instructions_of(
    best: &mut Case,
    program: usize,
    keep: Keep,
    is_wrong: &mut impl FnMut(&Case) -> bool,
) {
    let mut chunk = best.programs[program].insns.len().next_power_of_two() / 2;
    while chunk > 0 {
        let starts: Vec<usize> =
            instructions(&best.programs[program].insns).map(|(at, ..)| at).collect();
        for range in starts.chunks(chunk) {
            let mut smaller = best.clone();
            let insns = &mut smaller.programs[program].insns;
            for &at in range {
                let end = (at + slots(insns[at])).min(insns.len());
                if !keeps(insns[at], keep) {
                    insns[at..end].fill(nothing());
                }
            }
            attempt(best, smaller, is_wrong);
        }
        chunk /= 2;
    }
}

/// Takes out `goto +0`: many at once, in the end one by one, for each counts as an
/// instruction.
fn squeeze(best: &mut Case, program: usize, is_wrong: &mut impl FnMut(&Case) -> bool) {
    let is_nothing = |&at: &usize, insns: &[Insn]| insns[at] == nothing();
    let mut chunk = best.programs[program].insns.len().next_power_of_two();
    while chunk > 0 {
        let mut first = 0;
        loop {
            let insns = &best.programs[program].insns;
            let slots: Vec<usize> =
                (first..insns.len()).filter(|at| is_nothing(at, insns)).take(chunk).collect();
            let Some(&last) = slots.last() else { break };
            let mut smaller = best.clone();
            smaller.programs[program].insns = without(insns, &slots);
            if !attempt(best, smaller, is_wrong) {
                first = last + 1;
            }
        }
        chunk /= 2;
    }
}

/// The program without some slots; jumps lead where they led.
fn without(insns: &[Insn], gone: &[usize]) -> Vec<Insn> {
    let mut moved = BTreeMap::new();
    let mut kept = Vec::new();
    let mut at = 0;
    while at < insns.len() {
        moved.insert(at, kept.len());
        let end = (at + slots(insns[at])).min(insns.len());
        if gone.binary_search(&at).is_err() {
            kept.extend((at..end).map(|slot| (slot, insns[slot])));
        }
        at = end;
    }
    moved.insert(insns.len(), kept.len());
    let target = |from: usize, distance: i64| {
        let to = usize::try_from(i64::try_from(from).ok()? + 1 + distance).ok()?;
        let (to, from) = (i64::try_from(*moved.get(&to)?).ok()?, *moved.get(&from)?);
        Some(to - i64::try_from(from).ok()? - 1)
    };
    let mut result = Vec::with_capacity(kept.len());
    for (slot, mut insn) in kept {
        let shape = if moved.contains_key(&slot) { insn.op().ok() } else { None };
        match shape.map(|op| (op, op.row().shape)) {
            Some((_, Shape::JumpImm | Shape::JumpReg | Shape::Goto)) => {
                let distance = target(slot, insn.off.into()).and_then(|d| i16::try_from(d).ok());
                insn.off = distance.unwrap_or(insn.off);
            }
            Some((Op::CallLocal | Op::LddwFunc | Op::Ja32, _)) => {
                let distance = target(slot, insn.imm.into()).and_then(|d| i32::try_from(d).ok());
                insn.imm = distance.unwrap_or(insn.imm);
            }
            _ => {}
        }
        result.push(insn);
    }
    result
}

/// `goto +0`
fn nothing() -> Insn {
    Op::Ja.row().encode(Insn::default())
}

fn slots(insn: Insn) -> usize {
    match insn.op() {
        Ok(op) if op.row().shape == Shape::Lddw => 2,
        _ => 1,
    }
}

fn keeps(insn: Insn, keep: Keep) -> bool {
    let Ok(op) = insn.op() else {
        return false;
    };
    let stores = matches!(op.row().shape, Shape::StoreImm | Shape::StoreReg) && insn.dst == 10;
    stores && keep == Keep::StackStores || op == Op::Exit || insn == nothing()
}
