//! The mid-level form of a program, which all that runs or studies it starts from.
//!
//! ```text
//! program/decode  slots → instructions, structure checked
//! ir/resolve      maps → handles, helpers → rows, immediates whole     (this form)
//! ir/graph        basic blocks of each function, their edges
//! ir/loops        dominators and natural loops, for whom it concerns
//! interp/lower    → operations of the interpreter, one by one
//! analysis        → what is known of each access
//! jit             → native code
//! ```
//!
//! There is one [`Insn`] for each instruction, in order, so that an index means the same to
//! everyone: place of a fault, count, line of source.

mod graph;
mod insn;
mod loops;
mod resolve;
mod touches;

use crate::machine::Machine;
use crate::program::{Code, Mistake, ProgramSpec, StackUse};

pub(crate) use graph::{Block, Edges};
pub(crate) use insn::{FUNCTION_TAG, Insn, Link};
pub(crate) use loops::{Flow, Loop};
pub(crate) use touches::{is_atomic, touches};

/// A program in mid-level form.
#[derive(Debug)]
pub(crate) struct Ir {
    pub(crate) insns: Vec<Insn>,
    /// Ascending by start; the first is the entry.
    pub(crate) functions: Vec<Function>,
    /// Those of a function stand together, in the order of their instructions.
    pub(crate) blocks: Vec<Block>,
}

/// A function: its instructions stand from `start` up to `end`.
#[derive(Debug, Clone)]
pub(crate) struct Function {
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) stack: StackUse,
    /// Its blocks; the first is where it is entered.
    pub(crate) blocks: std::ops::Range<u32>,
}

impl Ir {
    pub(crate) fn new(machine: &Machine, spec: &ProgramSpec, code: &Code) -> Result<Self, Mistake> {
        let insns = resolve::resolve(machine, spec, code)?;
        let mut blocks = Vec::new();
        let ends = code.functions.iter().skip(1).map(|f| f.start);
        let ends = ends.chain([u32::try_from(insns.len()).expect("as decoded")]);
        let functions = code
            .functions
            .iter()
            .zip(ends)
            .map(|(function, end)| Function {
                start: function.start,
                end,
                stack: function.stack,
                blocks: graph::append(&insns, function.start..end, &mut blocks),
            })
            .collect();
        Ok(Self { insns, functions, blocks })
    }

    /// The function that starts at an index.
    pub(crate) fn function_at(&self, start: u32) -> Option<&Function> {
        let index = self.functions.binary_search_by_key(&start, |f| f.start).ok()?;
        Some(&self.functions[index])
    }

    /// Where a block leads that is a `goto` and nothing else.
    pub(crate) fn goto_of(&self, block: u32) -> Option<u32> {
        let Block { start, end, edges } = self.blocks[block as usize];
        let only = end - start == 1 && self.insns[start as usize].jump_target().is_some();
        match edges {
            Edges::One(to) if only => Some(to),
            _ => None,
        }
    }

    /// Which function starts at an index.
    pub(crate) fn function_index(&self, start: u32) -> Option<usize> {
        self.functions.binary_search_by_key(&start, |f| f.start).ok()
    }

    /// The function entered first.
    pub(crate) fn entry(&self) -> &Function {
        &self.functions[0]
    }
}
