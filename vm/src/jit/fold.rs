//! Branches that become selections: short ways round without effects.
//!
//! BPF has no conditional moves, so compilers write a branch where a processor would have
//! needed none; one that depends on data is mispredicted half the time.

use std::collections::BTreeMap;

use crate::ir::{Edges, Flow, Function, Insn, Ir, Link};
use crate::isa::{Alu, Kind, Op, Source};

/// The most instructions of an arm.
const MOST: usize = 3;

/// A branch whose arms are executed both, and their results selected from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fold {
    /// The block executed where the condition holds, if any; and where it does not.
    pub(super) taken: Option<u32>,
    pub(super) next: Option<u32>,
    /// Where both go on.
    pub(super) join: u32,
}

/// The branches of a function that become selections, by the block that they end.
#[derive(Debug, Default)]
pub(super) struct Folds {
    by_block: BTreeMap<u32, Fold>,
    arms: std::collections::BTreeSet<u32>,
}

impl Folds {
    pub(super) fn of(ir: &Ir, function: &Function, flow: &Flow) -> Self {
        let mut folds = Self::default();
        let number = |block: u32| (block - function.blocks.start) as usize;
        for block in function.blocks.clone() {
            let Edges::Two { taken, next } = ir.blocks[block as usize].edges else { continue };
            let last = ir.insns[ir.blocks[block as usize].end as usize - 1];
            let reached = flow.is_reached(number(block));
            if !reached || !matches!(last.kind(), Kind::Jump(..)) || taken == next {
                continue;
            }
            let arm = |at: u32| {
                let preds = &flow.preds[number(at)];
                let only = preds[..] == [number(block)] && at != function.blocks.start;
                let end = arm_end(ir, at)?;
                (only && end != at).then_some(end)
            };
            let fold = match (arm(taken), arm(next)) {
                (Some(a), Some(b)) if a == b => {
                    Fold { taken: Some(taken), next: Some(next), join: a }
                }
                (Some(end), _) if end == next => {
                    Fold { taken: Some(taken), next: None, join: next }
                }
                (_, Some(end)) if end == taken => {
                    Fold { taken: None, next: Some(next), join: taken }
                }
                _ => continue,
            };
            let used = |arm: Option<u32>| arm.is_some_and(|arm| folds.is_used(arm));
            if !used(fold.taken) && !used(fold.next) && !folds.arms.contains(&block) {
                folds.arms.extend(fold.taken.into_iter().chain(fold.next));
                folds.by_block.insert(block, fold);
            }
        }
        folds
    }

    fn is_used(&self, block: u32) -> bool {
        self.arms.contains(&block) || self.by_block.contains_key(&block)
    }

    /// What becomes of the branch at the end of a block.
    pub(super) fn at(&self, block: u32) -> Option<Fold> {
        self.by_block.get(&block).copied()
    }

    /// Whether a block is executed as a part of another.
    pub(super) fn is_arm(&self, block: u32) -> bool {
        self.arms.contains(&block)
    }
}

/// Where a block goes on that has few instructions, none of which has effects.
fn arm_end(ir: &Ir, block: u32) -> Option<u32> {
    let extent = &ir.blocks[block as usize];
    let Edges::One(to) = extent.edges else { return None };
    let insns = &ir.insns[extent.start as usize..extent.end as usize];
    let insns = match insns.split_last() {
        Some((last, rest)) if matches!(last.op, Op::Ja | Op::Ja32) => rest,
        _ => insns,
    };
    (insns.len() <= MOST && insns.iter().all(is_pure)).then_some(to)
}

/// Whether an instruction only computes, and that in a few cycles.
fn is_pure(insn: &Insn) -> bool {
    if insn.link == Link::Poisoned {
        return false;
    }
    match insn.kind() {
        Kind::Alu(Alu::Div | Alu::Mod | Alu::Sdiv | Alu::Smod, ..) => false,
        Kind::Alu(Alu::Mul, _, Source::Reg) => false,
        Kind::Alu(..) | Kind::Unary(_) | Kind::Movsx { .. } => true,
        Kind::Misc => matches!(insn.op, Op::Lddw),
        _ => false,
    }
}
