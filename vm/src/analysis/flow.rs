//! Goes through a function until nothing more is learnt.

use super::Setting;
use super::induction::{Induction, join_mark};
use super::state::State;
use crate::ir::{Edges, Flow, Function, Ir, Link};
use crate::isa::{Kind, Op};

/// So often may what is known at a loop's header change before it is widened.
const PATIENCE: u32 = 3;
/// So often, for each block, before the function is given up.
const VISITS: usize = 40;

/// What is known in a function.
#[derive(Debug)]
pub(super) struct Known {
    /// Before each block, by the function's own numbers; `None` where control never comes.
    pub(super) before: Vec<Option<State>>,
    /// How often each loop goes round at most, by number.
    pub(super) rounds: Vec<Option<u64>>,
}

/// A pass over one function.
struct Pass<'p, 's> {
    setting: &'p mut Setting<'s>,
    ir: &'p Ir,
    function: &'p Function,
    flow: &'p Flow,
    inductions: Vec<Induction>,
    /// Behind each block: what is known where it goes on to, in the order of its edges.
    behind: Vec<Vec<(usize, Option<State>)>>,
    before: Vec<Option<State>>,
    rounds: Vec<Option<u64>>,
}

/// Finds what is known in a function that is entered with `entry`; `None` when that does not
/// end in good time.
pub(super) fn known(
    setting: &mut Setting<'_>,
    ir: &Ir,
    function: &Function,
    flow: &Flow,
    entry: &State,
) -> Option<Known> {
    let count = flow.loop_of.len();
    let inductions = (0..flow.loops.len()).map(|at| Induction::of(ir, function, flow, at));
    let mut pass = Pass {
        inductions: inductions.collect(),
        setting,
        ir,
        function,
        flow,
        behind: vec![Vec::new(); count],
        before: vec![None; count],
        rounds: vec![None; flow.loops.len()],
    };
    let mut changes = vec![0u32; count];
    let mut dirty: std::collections::BTreeSet<usize> = [0].into();
    let mut visits = 0;
    // Always the first in the order: what comes before a loop settles before the loop does.
    while let Some(place) = dirty.pop_first() {
        visits += 1;
        if visits > VISITS * count + 1000 {
            return None;
        }
        let block = flow.order[place];
        let widens = changes[block] >= PATIENCE;
        let Some(state) = pass.arriving(block, entry, widens) else { continue };
        let same = pass.before[block].as_ref() == Some(&state);
        if same && changes[block] > 0 {
            continue;
        }
        changes[block] += 1;
        pass.before[block] = Some(state);
        for to in pass.leave(block) {
            dirty.insert(flow.place_of(to));
        }
    }
    Some(Known { before: pass.before, rounds: pass.rounds })
}

impl Pass<'_, '_> {
    /// What is known before a block, from what is known behind those that lead to it.
    fn arriving(&mut self, block: usize, entry: &State, widens: bool) -> Option<State> {
        let start = self.ir.blocks[self.function.blocks.start as usize + block].start;
        let mark = |place: u32| join_mark(start, place);
        let is_here = |old: u32| old >> 7 == join_mark(start, 0) >> 7;
        let flow = self.flow;
        let mut from_outside = (block == 0).then(|| entry.clone());
        let mut from_inside = None;
        let add = |sum: &mut Option<State>, state: &State| {
            let mut state = state.clone();
            state.retire(is_here);
            *sum = Some(match sum.take() {
                Some(sum) => sum.join(&state, &mark),
                None => state,
            });
        };
        let header = flow.loop_at(block);
        for &pred in &flow.preds[block] {
            let back = header.is_some_and(|number| flow.loops[number].contains(pred));
            for (to, state) in &self.behind[pred] {
                if *to == block
                    && let Some(state) = state
                {
                    add(if back { &mut from_inside } else { &mut from_outside }, state);
                }
            }
        }
        let Some(outside) = from_outside else {
            return from_inside;
        };
        let mut all = match &from_inside {
            Some(inside) => outside.join(inside, &mark),
            None => outside.clone(),
        };
        let before = self.before[block].take();
        if let Some(before) = &before
            && widens
            && (header.is_some() || flow.irreducible)
        {
            all.widen(before);
        }
        self.before[block] = before;
        if let Some(number) = header {
            let induction = &self.inductions[number];
            self.rounds[number] = induction.rounds(&outside);
            if let Some(rounds) = self.rounds[number] {
                induction.settle(&mut all, &outside, rounds, mark);
            }
        }
        Some(all)
    }

    /// Goes through a block; gives the blocks that must be looked at again.
    fn leave(&mut self, block: usize) -> Vec<usize> {
        let first = self.function.blocks.start as usize;
        let extent = &self.ir.blocks[first + block];
        let Some(mut state) = self.before[block].clone() else { return Vec::new() };
        for index in extent.start..extent.end {
            let insn = &self.ir.insns[index as usize];
            if matches!(insn.link, Link::Poisoned | Link::NoHelper) {
                break;
            }
            self.setting.step(&mut state, index, insn);
        }
        let last = &self.ir.insns[extent.end as usize - 1];
        let number = |to: u32| to as usize - first;
        let behind = match extent.edges {
            Edges::None => Vec::new(),
            Edges::One(to) => vec![(number(to), Some(state))],
            Edges::Two { taken, next } => {
                debug_assert!(matches!(last.kind(), Kind::Jump(..)) || last.op == Op::MayGoto);
                let if_taken = self.setting.branch(&state, last, true);
                let if_not = self.setting.branch(&state, last, false);
                vec![(number(taken), if_taken), (number(next), if_not)]
            }
        };
        let changed = behind
            .iter()
            .enumerate()
            .filter(|(at, new)| self.behind[block].get(*at).is_none_or(|old| old != *new));
        let changed = changed.map(|(_, (to, _))| *to).collect();
        self.behind[block] = behind;
        changed
    }
}
