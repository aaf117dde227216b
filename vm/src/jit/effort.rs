//! What takes the compiler too long.
//!
//! Most functions are compiled in a time that grows with their length: 50,000 instructions in
//! half a second to two. But parts of the compiler go through all loops around an instruction,
//! all blocks that dominate it, or all ranges of a register, for each of them anew. Where that
//! would take many seconds, or minutes, the function is refused.

use super::Refusal;
use crate::analysis::Facts;
use crate::ir::{Flow, Function, Ir};

/// Instructions of all loops of a function, those of inner loops counted again.
const MOST_IN_LOOPS: usize = 500_000;
/// Loops of a function.
const MOST_LOOPS: usize = 5_000;
/// Instructions of a function with loops that are entered in several places.
const MOST_IRREDUCIBLE: usize = 4_000;
/// Blocks that one after the other dominate a block, where so many lead to one.
const MOST_DOMINATORS: usize = 12_500;
const MANY_WAYS: usize = 4_000;

/// Refuses programs that would take too long.
pub(super) fn check(ir: &Ir, facts: &Facts) -> Result<(), Refusal> {
    for (function, facts) in ir.functions.iter().zip(&facts.functions) {
        if let Some(what) = problem(ir, function, &facts.flow) {
            return Err(Refusal::Tangled { insn: ir.insns[function.start as usize].slot, what });
        }
    }
    Ok(())
}

/// What it is of which a function has too much.
fn problem(ir: &Ir, function: &Function, flow: &Flow) -> Option<String> {
    let len = (function.end - function.start) as usize;
    let in_loops = || flow.loops.iter().map(|this| in_blocks(ir, function, &this.blocks)).sum();
    if flow.tangled || MOST_IN_LOOPS < in_loops() {
        return Some("deeply nested loops".to_owned());
    }
    if flow.irreducible && len > MOST_IRREDUCIBLE {
        return Some(format!("{len} instructions, and loops that are entered in several places"));
    }
    if flow.loops.len() > MOST_LOOPS {
        return Some(format!("{} loops", flow.loops.len()));
    }
    let ways = flow.preds.iter().map(Vec::len).max().unwrap_or(0);
    if ways > MANY_WAYS && flow.dominators_depth() > MOST_DOMINATORS {
        return Some(format!("{ways} jumps to one place"));
    }
    None
}

/// How many instructions blocks of a function have.
fn in_blocks(ir: &Ir, function: &Function, blocks: &[usize]) -> usize {
    let len = |block: &usize| {
        let extent = &ir.blocks[function.blocks.start as usize + block];
        (extent.end - extent.start) as usize
    };
    blocks.iter().map(len).sum()
}
