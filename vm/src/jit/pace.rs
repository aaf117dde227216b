//! Where native code must look whether the run is to end.
//!
//! Between two looks at most [`MOST`] is executed, by weight, whatever loops, calls and tail
//! calls that is: but for the last instruction, and for twice as much where functions return
//! to their callers. So
//!
//! * a loop looks each time round, unless it is known to weigh no more than that with all its
//!   rounds and the loops inside it;
//! * on the ways through a function weights are added up, a loop that does not look counting
//!   as a whole: control looks before what would make them too heavy, a call or a loop mostly;
//! * a function passes on to its callers what it may execute without a look;
//! * a program that has executed more than its share looks before a tail call.
//!
//! Helpers look themselves when they are done, but for those that native code calls directly.

use std::collections::BTreeSet;

use super::plan::Plan;
use crate::analysis::{Facts, KnownMap, Region, access_of};
use crate::helpers;
use crate::ir::{Flow, Insn, Ir, Link};
use crate::isa::Op;
use crate::program::Program;
use crate::run::MAX_TAIL_CALLS;

/// So much may be executed without a look: a tenth of a millisecond for instructions that
/// compute, some milliseconds when each touches a page that nobody has touched before.
const MOST: u64 = 1 << 16;
/// What an access weighs that may miss all caches, and find no page.
const FAR: u64 = 32;
/// What must lie in a map for that, in bytes: of fewer there are few pages.
const LARGE: u64 = 4 << 20;
/// What a call of Rust code weighs.
const CALL: u64 = 64;
/// So many bytes are copied for each unit.
const COPIED: u64 = 8;
/// What entering a frame weighs, which is zeroed.
const FRAME: u64 = 32;

/// Where a program looks.
#[derive(Debug)]
pub(super) struct Pace {
    functions: Vec<Looks>,
    /// Before these instructions.
    before: BTreeSet<u32>,
}

/// Where a function looks.
#[derive(Debug, Clone, Default)]
struct Looks {
    /// At the way back to each loop's header, by number.
    back: Vec<bool>,
    /// At the ways into the loop.
    into: Vec<bool>,
    /// What it executes at most without a look.
    most: u64,
}

/// What is needed to weigh a function.
struct Scale<'a> {
    program: &'a Program,
    ir: &'a Ir,
    facts: &'a Facts,
    number: usize,
}

impl Pace {
    pub(super) fn of(program: &Program, facts: &Facts, plan: &Plan) -> Self {
        let ir = program.ir();
        let mut pace =
            Self { functions: vec![Looks::default(); ir.functions.len()], before: BTreeSet::new() };
        for number in plan.callees_first() {
            let scale = Scale { program, ir, facts, number };
            let (back, weights) = pace.loops(&scale);
            pace.functions[number].back = back;
            pace.functions[number].into = vec![false; weights.len()];
            pace.add_up(&scale, &weights);
        }
        pace
    }

    /// Which loops look each time round, and what the others weigh, as wholes.
    fn loops(&self, scale: &Scale<'_>) -> (Vec<bool>, Vec<u64>) {
        let function = &scale.facts.functions[scale.number];
        let flow = &function.flow;
        let mut weights = vec![0u64; flow.loops.len()];
        for &block in &flow.order {
            if let Some(this) = flow.loop_of[block] {
                let insns = scale.insns(block);
                let sum = insns.map(|index| self.weight(scale, index)).fold(0, u64::saturating_add);
                weights[this] = weights[this].saturating_add(sum);
            }
        }
        let mut back = vec![true; weights.len()];
        // Inner loops come behind those around them.
        for this in (0..weights.len()).rev() {
            let rounds = function.rounds[this].and_then(|rounds| rounds.checked_add(1));
            let all = rounds.map_or(u64::MAX, |rounds| weights[this].saturating_mul(rounds));
            back[this] = all > MOST;
            if !back[this] {
                weights[this] = all;
            }
            if let Some(parent) = flow.loops[this].parent {
                weights[parent] = weights[parent].saturating_add(weights[this]);
            }
        }
        (back, weights)
    }

    /// Adds up weights on the ways through a function, and lets it look where they become too
    /// much.
    fn add_up(&mut self, scale: &Scale<'_>, weights: &[u64]) {
        let flow = &scale.facts.functions[scale.number].flow;
        // The outermost loop around each that does not look.
        let mut quiet: Vec<Option<usize>> = Vec::with_capacity(weights.len());
        for (this, around) in flow.loops.iter().enumerate() {
            let outer = around.parent.and_then(|parent| quiet[parent]);
            quiet.push(outer.or((!self.functions[scale.number].back[this]).then_some(this)));
        }
        let quiet = |block: usize| flow.loop_of[block].and_then(|this| quiet[this]);
        // Behind each block; and what it was at most.
        let mut behind = vec![0u64; flow.loop_of.len()];
        let mut most = scale.entry();
        for &block in &flow.order {
            let preds = flow.preds[block].iter();
            let before = preds.filter(|&&pred| !flow.leads_back(pred, block));
            let before = before.map(|&pred| behind[pred]).max().unwrap_or(0);
            let mut sum = if block == 0 { scale.entry() } else { before };
            match quiet(block) {
                Some(this) if flow.loops[this].header == block => {
                    if sum.saturating_add(weights[this]) > MOST {
                        self.functions[scale.number].into[this] = true;
                        sum = 0;
                    }
                    sum = sum.saturating_add(weights[this]);
                }
                Some(this) => sum = behind[flow.loops[this].header],
                None => {
                    for index in scale.insns(block) {
                        let limit = match scale.ir.insns[index as usize].link {
                            Link::TailCall => MOST / u64::from(MAX_TAIL_CALLS),
                            _ => MOST,
                        };
                        let weight = self.weight(scale, index);
                        if sum.saturating_add(weight) > limit && sum > 0 {
                            self.before.insert(index);
                            sum = 0;
                        }
                        sum = sum.saturating_add(weight);
                        most = most.max(sum);
                    }
                }
            }
            most = most.max(sum);
            behind[block] = sum;
        }
        self.functions[scale.number].most = most;
    }

    fn weight(&self, scale: &Scale<'_>, index: u32) -> u64 {
        let insn = &scale.ir.insns[index as usize];
        match (insn.op, insn.link) {
            (Op::CallLocal, Link::Function(start)) => {
                let callee = scale.ir.function_index(start);
                callee.map_or(1, |callee| 1 + self.functions[callee].most)
            }
            (Op::CallHelper, _) => scale.call(index, insn),
            (Op::LdAbsB | Op::LdAbsH | Op::LdAbsW | Op::LdIndB | Op::LdIndH | Op::LdIndW, _) => {
                CALL
            }
            _ if access_of(insn).is_some() => scale.access(index),
            _ => 1,
        }
    }

    /// Whether control must look where it goes from one block to another; numbers of blocks
    /// are the function's own.
    pub(super) fn looks(&self, number: usize, flow: &Flow, from: usize, to: usize) -> bool {
        let this = flow.loop_at(to);
        let inside = this.is_some_and(|this| flow.loops[this].contains(from));
        let looks = &self.functions[number];
        match this {
            Some(this) if inside => flow.leads_back(from, to) && looks.back[this],
            Some(this) => flow.leads_back(from, to) || looks.into[this],
            None => flow.leads_back(from, to),
        }
    }

    /// Whether control must look before an instruction.
    pub(super) fn looks_before(&self, index: u32) -> bool {
        self.before.contains(&index)
    }
}

impl Scale<'_> {
    /// The instructions of a block.
    fn insns(&self, block: usize) -> std::ops::Range<u32> {
        let extent = &self.ir.blocks[self.ir.functions[self.number].blocks.start as usize + block];
        extent.start..extent.end
    }

    /// What the function's entry weighs.
    fn entry(&self) -> u64 {
        if self.ir.functions[self.number].stack.framed { FRAME } else { 1 }
    }

    /// What a helper that native code may call directly weighs.
    fn call(&self, index: u32, insn: &Insn) -> u64 {
        let copies = matches!(insn.link, Link::Helper(position) if helpers::copies_value(position));
        let value = match self.facts.call(index).map(|call| call.map) {
            Some(KnownMap::This(map)) if copies => {
                let map = self.program.maps().get(map as usize);
                map.map_or(0, |map| map.core().def().value_size)
            }
            _ => 0,
        };
        CALL + u64::from(value) / COPIED
    }

    /// What an access weighs.
    fn access(&self, index: u32) -> u64 {
        let region = self.facts.access(index).and_then(|proof| proof.base.pointer());
        let size = match region.map(|pointer| pointer.region) {
            Some(Region::Value(map)) => {
                let def = self.program.maps().get(map as usize).map(|map| map.core().def());
                def.map_or(u64::MAX, |def| u64::from(def.value_size) * u64::from(def.max_entries))
            }
            Some(Region::InnerValue(map)) => {
                let outer = self.program.maps().get(map as usize).map(|map| map.core().def());
                let inner = outer.and_then(|outer| outer.inner.as_deref());
                // Each of them may be another one.
                inner.map_or(u64::MAX, |def| {
                    let count = outer.map_or(1, |outer| u64::from(outer.max_entries));
                    let each = u64::from(def.value_size) * u64::from(def.max_entries);
                    each.saturating_mul(count)
                })
            }
            Some(Region::Record(bytes)) => u64::from(bytes),
            Some(_) => 0,
            None => u64::MAX,
        };
        if size > LARGE { FAR } else { 1 }
    }
}
