//! Which loops must look whether the run is to end.
//!
//! A loop of which it is known that it soon ends need not. What is executed between two looks
//! is bounded: by [`LOOP`] instructions for a loop, and for a function, with what it calls, by
//! a number that is passed on to its callers.

use crate::analysis::Facts;
use crate::ir::{Flow, Ir, Link};
use crate::isa::Op;

/// So many instructions may a loop execute without a look: a tenth of a millisecond, some
/// milliseconds when each misses all caches.
const LOOP: u64 = 1 << 16;
/// What a call of a helper counts for. Those that call back look themselves.
const HELPER: u64 = 64;

/// Which loops of a program look, by function and number.
#[derive(Debug)]
pub(super) struct Pace {
    looks: Vec<Vec<bool>>,
    /// What each function executes at most without a look.
    costs: Vec<u64>,
}

impl Pace {
    /// Callees must come before callers in `order`.
    pub(super) fn of(ir: &Ir, facts: &Facts, order: &[usize]) -> Self {
        let count = ir.functions.len();
        let mut pace = Self { looks: vec![Vec::new(); count], costs: vec![LOOP; count] };
        for &number in order {
            pace.add(ir, facts, number);
        }
        pace
    }

    fn add(&mut self, ir: &Ir, facts: &Facts, number: usize) {
        let function = &facts.functions[number];
        let flow = &function.flow;
        // Inner loops first: each is then worth what it executes.
        let mut costs = vec![0u64; flow.loops.len()];
        let mut outside = 0;
        for &block in &flow.order {
            let cost = self.block_cost(ir, number, block);
            match flow.loop_of[block] {
                Some(number) => costs[number] = costs[number].saturating_add(cost),
                None => outside += cost,
            }
        }
        let mut looks = vec![true; flow.loops.len()];
        for at in (0..flow.loops.len()).rev() {
            let rounds = function.rounds[at].and_then(|rounds| rounds.checked_add(1));
            let all = rounds.map_or(u64::MAX, |rounds| costs[at].saturating_mul(rounds));
            looks[at] = all > LOOP;
            let worth = if looks[at] { costs[at] } else { all };
            match flow.loops[at].parent {
                Some(parent) => costs[parent] = costs[parent].saturating_add(worth),
                None => outside = outside.saturating_add(worth),
            }
        }
        self.looks[number] = looks;
        self.costs[number] = outside;
    }

    fn block_cost(&self, ir: &Ir, number: usize, block: usize) -> u64 {
        let extent = &ir.blocks[ir.functions[number].blocks.start as usize + block];
        let insns = &ir.insns[extent.start as usize..extent.end as usize];
        let calls = insns.iter().map(|insn| match (insn.op, insn.link) {
            (Op::CallLocal, Link::Function(start)) => {
                ir.function_index(start).map_or(LOOP, |callee| self.costs[callee])
            }
            (Op::CallHelper, _) => HELPER,
            _ => 1,
        });
        calls.fold(0, u64::saturating_add)
    }

    /// Whether control must look at the time where it goes from one block to another; numbers
    /// of blocks are the function's own.
    pub(super) fn looks(&self, number: usize, flow: &Flow, from: usize, to: usize) -> bool {
        if !flow.leads_back(from, to) {
            return false;
        }
        match flow.loop_at(to) {
            Some(this) if flow.loops[this].contains(from) => self.looks[number][this],
            _ => true,
        }
    }
}
