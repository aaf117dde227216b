//! Makes a case that went wrong easier to read.

use skep_vm::isa::{Insn, Op, Shape};

use crate::case::Case;

/// Replaces instructions by `goto +0`, as long as the case stays wrong.
///
/// Stores to the stack stay: without them the program would read what was on the stack
/// before, which nobody defines.
pub fn shrink(case: &Case, mut is_wrong: impl FnMut(&Case) -> bool) -> Case {
    let mut best = case.clone();
    loop {
        let before = best.insns.clone();
        let mut at = 0;
        while at < best.insns.len() {
            let len = slots(best.insns[at]);
            if !keeps(best.insns[at]) {
                let mut smaller = best.clone();
                let end = (at + len).min(best.insns.len());
                smaller.insns[at..end].fill(nothing());
                if is_wrong(&smaller) {
                    best = smaller;
                }
            }
            at += len;
        }
        if best.insns == before {
            return best;
        }
    }
}

/// `goto +0`
pub(crate) fn nothing() -> Insn {
    Op::Ja.row().encode(Insn::default())
}

fn slots(insn: Insn) -> usize {
    match insn.op() {
        Ok(op) if op.row().shape == Shape::Lddw => 2,
        _ => 1,
    }
}

fn keeps(insn: Insn) -> bool {
    let Ok(op) = insn.op() else {
        return false;
    };
    let stores = matches!(op.row().shape, Shape::StoreImm | Shape::StoreReg) && insn.dst == 10;
    stores || op == Op::Exit || insn == nothing()
}
