//! Dominators and natural loops of a function.
//!
//! Blocks are numbered from the function's first one on. A loop here is what one header
//! dominates and some block inside leads back to; loops that are entered in several places
//! are found, too, but only as `irreducible`.

use super::{Function, Ir};

/// The control flow of a function.
#[derive(Debug)]
pub(crate) struct Flow {
    /// Reachable blocks, each before those that it leads on to (but for loops).
    pub(crate) order: Vec<usize>,
    /// Where each block stands in the order; [`usize::MAX`] for what is not reachable.
    place: Vec<usize>,
    /// Which block dominates each most closely; the first one dominates itself.
    idom: Vec<usize>,
    /// The blocks that each dominates, itself included: from its number here, in an order of
    /// their own, up to the other one.
    dominated: Vec<(usize, usize)>,
    /// Which blocks lead to each; only reachable ones.
    pub(crate) preds: Vec<Vec<usize>>,
    /// Outer loops before those inside them.
    pub(crate) loops: Vec<Loop>,
    /// The innermost loop of each block.
    pub(crate) loop_of: Vec<Option<usize>>,
    /// Whether control leads back to a block that does not dominate where it comes from.
    pub(crate) irreducible: bool,
    /// Whether loops are nested so deep that they were not told apart. There are none then, and
    /// the flow is irreducible.
    pub(crate) tangled: bool,
}

/// A natural loop.
#[derive(Debug)]
pub(crate) struct Loop {
    pub(crate) header: usize,
    /// The blocks that lead back to the header.
    pub(crate) latches: Vec<usize>,
    /// All of it, ascending, inner loops included.
    pub(crate) blocks: Vec<usize>,
    /// The loop around it.
    pub(crate) parent: Option<usize>,
}

impl Loop {
    /// Whether a block belongs to it.
    pub(crate) fn contains(&self, block: usize) -> bool {
        self.blocks.binary_search(&block).is_ok()
    }
}

const NONE: usize = usize::MAX;
/// In so many loops may each block be on average: what is kept of loops is of that size.
const MOST_NESTED: usize = 64;

impl Flow {
    pub(crate) fn of(ir: &Ir, function: &Function) -> Self {
        let first = function.blocks.start;
        let count = (function.blocks.end - first) as usize;
        let succs = |block: usize| {
            let edges = ir.blocks[first as usize + block].edges;
            edges.iter().map(move |to| (to - first) as usize)
        };
        let order = reverse_postorder(count, &succs);
        let mut place = vec![NONE; count];
        let mut preds = vec![Vec::new(); count];
        for (at, &block) in order.iter().enumerate() {
            place[block] = at;
        }
        for &block in &order {
            succs(block).for_each(|to| preds[to].push(block));
        }
        let idom = dominators(&order, &place, &preds);
        let dominated = dominated(&order, &idom);
        let mut flow = Self {
            order,
            place,
            idom,
            dominated,
            preds,
            loops: Vec::new(),
            loop_of: vec![None; count],
            irreducible: false,
            tangled: false,
        };
        flow.find_loops();
        flow
    }

    /// Whether control can come to a block.
    pub(crate) fn is_reached(&self, block: usize) -> bool {
        self.place[block] != NONE
    }

    /// Where a reachable block stands in the order.
    pub(crate) fn place_of(&self, block: usize) -> usize {
        self.place[block]
    }

    /// Whether every way to `block` leads through `over`; both are reachable.
    pub(crate) fn dominates(&self, over: usize, block: usize) -> bool {
        let (first, behind) = self.dominated[over];
        (first..behind).contains(&self.dominated[block].0)
    }

    /// How long the longest chain of blocks is of which each dominates the next.
    pub(crate) fn dominators_depth(&self) -> usize {
        let mut depths = vec![0; self.place.len()];
        for &block in self.order.iter().skip(1) {
            depths[block] = depths[self.idom[block]] + 1;
        }
        depths.into_iter().max().unwrap_or(0)
    }

    /// Whether an edge leads back: to the same block or one before it in the order.
    pub(crate) fn leads_back(&self, from: usize, to: usize) -> bool {
        self.place[to] <= self.place[from]
    }

    /// The loop with this header.
    pub(crate) fn loop_at(&self, header: usize) -> Option<usize> {
        self.loop_of[header].filter(|&number| self.loops[number].header == header)
    }

    fn find_loops(&mut self) {
        let mut latches: Vec<(usize, Vec<usize>)> = Vec::new();
        for &header in &self.order {
            let preds = self.preds[header].iter().copied();
            let back: Vec<usize> = preds.filter(|&from| self.leads_back(from, header)).collect();
            let (natural, odd): (Vec<usize>, Vec<usize>) =
                back.into_iter().partition(|&from| self.dominates(header, from));
            self.irreducible |= !odd.is_empty();
            if !natural.is_empty() {
                latches.push((header, natural));
            }
        }
        let mut left = MOST_NESTED.saturating_mul(self.place.len());
        // Headers come in order, so that an outer loop comes before those inside it.
        for (header, latches) in latches {
            let mut blocks = vec![header];
            let mut inside = std::collections::HashSet::from([header]);
            let mut open: Vec<usize> = latches.clone();
            while let Some(block) = open.pop() {
                if inside.insert(block) {
                    blocks.push(block);
                    open.extend(self.preds[block].iter().copied());
                }
            }
            let Some(rest) = left.checked_sub(blocks.len()) else {
                self.loops.clear();
                self.loop_of.fill(None);
                (self.irreducible, self.tangled) = (true, true);
                return;
            };
            left = rest;
            blocks.sort_unstable();
            let parent = self.loop_of[header];
            let number = self.loops.len();
            for &block in &blocks {
                self.loop_of[block] = Some(number);
            }
            self.loops.push(Loop { header, latches, blocks, parent });
        }
    }
}

fn reverse_postorder<I: Iterator<Item = usize>>(
    count: usize,
    succs: &impl Fn(usize) -> I,
) -> Vec<usize> {
    let mut seen = vec![false; count];
    let mut order = Vec::with_capacity(count);
    let mut stack: Vec<(usize, Vec<usize>)> = vec![(0, succs(0).collect())];
    seen[0] = true;
    while let Some((block, rest)) = stack.last_mut() {
        match rest.pop() {
            Some(next) if !seen[next] => {
                seen[next] = true;
                let successors = succs(next).collect();
                stack.push((next, successors));
            }
            Some(_) => {}
            None => {
                order.push(*block);
                stack.pop();
            }
        }
    }
    order.reverse();
    order
}

/// Immediate dominators, by going round until nothing changes (Cooper, Harvey and Kennedy).
fn dominators(order: &[usize], place: &[usize], preds: &[Vec<usize>]) -> Vec<usize> {
    let mut idom = vec![NONE; place.len()];
    idom[order[0]] = order[0];
    let mut changed = true;
    while changed {
        changed = false;
        for &block in &order[1..] {
            let mut known = preds[block].iter().copied().filter(|&pred| idom[pred] != NONE);
            let Some(mut common) = known.next() else { continue };
            for mut other in known {
                while common != other {
                    if place[common] > place[other] {
                        common = idom[common];
                    } else {
                        other = idom[other];
                    }
                }
            }
            changed |= idom[block] != common;
            idom[block] = common;
        }
    }
    idom
}

/// What each block dominates, as a range of numbers that are given so that each is one.
fn dominated(order: &[usize], idom: &[usize]) -> Vec<(usize, usize)> {
    let mut sizes = vec![1; idom.len()];
    for &block in order[1..].iter().rev() {
        sizes[idom[block]] += sizes[block];
    }
    // Where the next block goes that each dominates.
    let mut next = vec![0; idom.len()];
    let mut ranges = vec![(0, 0); idom.len()];
    for (nth, &block) in order.iter().enumerate() {
        let first = if nth == 0 { 0 } else { next[idom[block]] };
        if nth > 0 {
            next[idom[block]] += sizes[block];
        }
        next[block] = first + 1;
        ranges[block] = (first, first + sizes[block]);
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::assemble;
    use crate::machine::Machine;
    use crate::program::ProgramSpec;

    fn flow(asm: &str) -> Flow {
        let machine = Machine::new(1).expect("memory");
        let insns = assemble(asm).expect("right");
        let program = machine.load(ProgramSpec { insns, ..ProgramSpec::default() });
        let program = program.expect("valid");
        Flow::of(program.ir(), program.ir().entry())
    }

    #[test]
    fn loops_are_found_with_what_is_inside_them() {
        let flow = flow(
            "mov %r1, 0
             outer:
             mov %r2, 0
             inner:
             add %r2, 1
             jlt %r2, 5, inner
             add %r1, 1
             jlt %r1, 5, outer
             exit",
        );
        let shape: Vec<_> =
            flow.loops.iter().map(|l| (l.header, l.blocks.clone(), l.parent)).collect();
        assert_eq!(shape, [(1, vec![1, 2, 3], None), (2, vec![2], Some(0))]);
        assert_eq!(flow.loop_of, [None, Some(0), Some(1), Some(0), None]);
        assert!(!flow.irreducible);
    }

    #[test]
    fn loops_that_are_nested_too_deep_are_not_told_apart() {
        let nested = |depth: usize| {
            let open = (0..depth).map(|at| format!("l{at}:\nadd %r1, 1\n"));
            let close = (0..depth).rev().map(|at| format!("jeq %r1, {at}, l{at}\n"));
            flow(&format!("mov %r1, 0\n{}exit", open.chain(close).collect::<String>()))
        };
        let few = nested(60);
        assert!(few.loops.len() == 60 && !few.irreducible);
        assert_eq!(few.dominators_depth(), 120);
        let many = nested(1000);
        assert!(many.loops.is_empty() && many.irreducible && many.tangled);
    }

    #[test]
    fn a_loop_with_two_entries_is_no_loop() {
        let flow = flow(
            "jeq %r1, 0, b
             a:
             add %r1, 1
             b:
             add %r1, 2
             jlt %r1, 9, a
             exit",
        );
        assert!(flow.irreducible);
        assert!(flow.loops.is_empty());
    }
}
