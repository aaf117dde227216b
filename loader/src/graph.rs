//! Which functions refer to which.

use std::collections::BTreeSet;

use crate::code::{Code, Function, SLOT};
use crate::encoding::{CALL, LDDW, PSEUDO_CALL, PSEUDO_FUNC};
use crate::reloc::{CodeReloc, CodeRelocs, Target};

/// Which functions each function calls or takes the address of.
pub(crate) fn callees(code: &Code, relocs: &CodeRelocs) -> Vec<Vec<usize>> {
    let functions = code.functions().iter();
    functions
        .map(|function| {
            let relocs = relocs.range(function.section, function.start, function.end);
            let by_reloc = relocs.iter().filter_map(|reloc| match reloc.target {
                Ok(Target::Function(callee)) => Some((reloc.slot, callee)),
                _ => None,
            });
            let by_code = unrelocated(code, function, relocs).into_iter();
            let by_code = by_code.filter_map(|(at, callee)| Some((function.start + at, callee?)));
            let mut uses: Vec<(usize, usize)> = by_reloc.chain(by_code).collect();
            // In the order of first use.
            uses.sort_unstable();
            let mut seen = BTreeSet::new();
            let mut all: Vec<usize> = uses.into_iter().map(|(_, callee)| callee).collect();
            all.retain(|&callee| seen.insert(callee));
            all
        })
        .collect()
}

/// Calls and function addresses that the assembler has resolved itself, within their
/// section: the slot in the function, and the callee where a function starts there.
pub(crate) fn unrelocated(
    code: &Code,
    function: &Function,
    relocs: &[CodeReloc],
) -> Vec<(usize, Option<usize>)> {
    let body = code.body(function);
    let mut calls = Vec::new();
    let mut relocs = relocs.iter().peekable();
    let mut at = 0;
    while let Some(insn) = body.get(at) {
        let slot = function.start + at;
        while relocs.next_if(|reloc| reloc.slot < slot).is_some() {}
        let relocated = relocs.peek().is_some_and(|reloc| reloc.slot == slot);
        let refers = matches!((insn.code, insn.src), (CALL, PSEUDO_CALL) | (LDDW, PSEUDO_FUNC));
        if refers && !relocated {
            let target = slot as i64 + 1 + i64::from(insn.imm);
            let target = u64::try_from(target).ok().and_then(|slot| slot.checked_mul(SLOT));
            let callee = target.and_then(|offset| code.at(function.section, offset));
            calls.push((at, callee));
        }
        at += if insn.code == LDDW { 2 } else { 1 };
    }
    calls
}
