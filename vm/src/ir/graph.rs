//! Basic blocks: where control comes together and where it parts.

use std::ops::Range;

use super::insn::{Insn, Link};
use crate::isa::{Kind, Op};

/// Instructions that are executed one after the other: `start` up to `end`.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) edges: Edges,
}

/// Where control goes from the end of a block. Numbers are those of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edges {
    /// Out of the function; or nowhere, because the last instruction faults.
    None,
    /// On to a block: the next one, or where a `goto` leads.
    One(u32),
    /// To `taken` when the last instruction's condition holds, else to `next`.
    Two { taken: u32, next: u32 },
}

impl Edges {
    /// The successors: none, one or two; the same one twice is given twice.
    pub(crate) fn iter(self) -> impl Iterator<Item = u32> {
        let (a, b) = match self {
            Self::None => (None, None),
            Self::One(to) => (Some(to), None),
            Self::Two { taken, next } => (Some(next), Some(taken)),
        };
        a.into_iter().chain(b)
    }
}

/// Appends the blocks of the function `extent`; gives their numbers.
pub(super) fn append(insns: &[Insn], extent: Range<u32>, blocks: &mut Vec<Block>) -> Range<u32> {
    let (start, end) = (extent.start, extent.end);
    let body = &insns[start as usize..end as usize];
    // Which instructions lead a block; later the number of the block each is in.
    let mut leads = vec![false; body.len()];
    leads[0] = true;
    for (at, insn) in body.iter().enumerate() {
        if let Some(target) = insn.jump_target() {
            leads[(target - start) as usize] = true;
        }
        if ends_block(insn)
            && let Some(next) = leads.get_mut(at + 1)
        {
            *next = true;
        }
    }
    let first = number(blocks.len());
    let mut block_of = Vec::with_capacity(body.len());
    for (index, &lead) in (start..end).zip(&leads) {
        if lead {
            blocks.push(Block { start: index, end: index, edges: Edges::None });
        }
        let last = blocks.last_mut().expect("the first instruction leads");
        last.end = index + 1;
        block_of.push(number(blocks.len()) - 1);
    }
    let numbers = first..number(blocks.len());
    for block in &mut blocks[first as usize..] {
        let last = insns[block.end as usize - 1];
        let next = || block_of[(block.end - start) as usize];
        block.edges = match last.jump_target().map(|to| block_of[(to - start) as usize]) {
            Some(to) if is_goto(last.op) => Edges::One(to),
            Some(taken) => Edges::Two { taken, next: next() },
            None if leaves(&last) => Edges::None,
            None => Edges::One(next()),
        };
    }
    numbers
}

fn is_goto(op: Op) -> bool {
    matches!(op, Op::Ja | Op::Ja32)
}

/// Whether nothing of the function is executed behind an instruction.
fn leaves(insn: &Insn) -> bool {
    insn.op == Op::Exit
        || matches!(insn.link, Link::Poisoned | Link::NoHelper)
        || matches!(insn.op, Op::CallKfunc | Op::CallReg | Op::AddrSpaceCast)
}

fn ends_block(insn: &Insn) -> bool {
    matches!(insn.kind(), Kind::Jump(..)) || insn.jump_target().is_some() || leaves(insn)
}

fn number(count: usize) -> u32 {
    u32::try_from(count).expect("no more than instructions")
}
