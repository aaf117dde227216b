//! What functions need of each other, settled before any of them is compiled.

use super::Refusal;
use crate::helpers;
use crate::ir::{Function, Insn, Ir, Link, touches};
use crate::isa::Op;
use crate::run::MAX_DEPTH;

/// The longest function that is compiled, in instructions: some seconds' work.
const MOST_INSNS: usize = 1 << 16;

/// What is to be known of each function.
#[derive(Debug)]
pub(super) struct Plan {
    functions: Vec<FunctionPlan>,
    /// Whether ring dynptrs are made: then parts of frames may be out of reach.
    pub(super) closes_stack: bool,
}

/// What its callers and the translator must know of a function.
#[derive(Debug, Clone, Default)]
pub(super) struct FunctionPlan {
    /// How many frames deep it goes, itself included.
    pub(super) height: u64,
    /// Whether it gets a frame pointer, for itself or for what it calls.
    pub(super) takes_fp: bool,
    /// Which of r1 to r5 it gets, by register number.
    pub(super) takes: [bool; 6],
    /// Whether it is entered from Rust: it gets all of r1 to r5, wanted or not.
    pub(super) entered: bool,
    /// Whether its address is taken.
    called_back: bool,
    /// Whether it, or what it calls, may make a tail call.
    pub(super) tail_calls: bool,
    /// The functions it calls, by number.
    calls: Vec<usize>,
}

impl Plan {
    pub(super) fn of(ir: &Ir) -> Result<Self, Refusal> {
        let mut functions: Vec<FunctionPlan> =
            ir.functions.iter().map(|function| one(ir, function)).collect::<Result<_, _>>()?;
        functions[0].entered = true;
        for insn in &ir.insns {
            if let (Op::LddwFunc, Link::Function(start)) = (insn.op, insn.link) {
                let number = ir.function_index(start).expect("each target starts a function");
                functions[number].entered = true;
                functions[number].called_back = true;
            }
        }
        for number in 0..functions.len() {
            settle(ir, &mut functions, number, &mut Vec::new())?;
        }
        for function in functions.iter_mut().filter(|function| function.entered) {
            function.takes_fp = true;
            function.takes = [false, true, true, true, true, true];
        }
        // What a tail call passes on is the same for all programs.
        if functions.iter().any(|function| function.calls.contains(&0)) || functions[0].called_back
        {
            return Err(Refusal::EntryCalled);
        }
        functions[0].takes = [false, true, true, false, false, false];
        let closes_stack = calls_helper(&ir.insns, helpers::closes_stack);
        Ok(Self { functions, closes_stack })
    }

    pub(super) fn function(&self, number: usize) -> &FunctionPlan {
        &self.functions[number]
    }

    /// The functions, those called before those that call them.
    pub(super) fn callees_first(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.functions.len()).collect();
        order.sort_by_key(|&number| self.functions[number].height);
        order
    }

    pub(super) fn heights(&self) -> Vec<u64> {
        self.functions.iter().map(|function| function.height).collect()
    }
}

impl FunctionPlan {
    /// The registers it gets, in order.
    pub(super) fn args(&self) -> impl Iterator<Item = u8> {
        (1..=5).filter(|&reg| self.takes[usize::from(reg)])
    }
}

/// What can be seen from a function's own instructions.
fn one(ir: &Ir, function: &Function) -> Result<FunctionPlan, Refusal> {
    let insns = &ir.insns[function.start as usize..function.end as usize];
    if insns.len() > MOST_INSNS {
        let insn = insns[0].slot;
        return Err(Refusal::TooLong { insn, len: insns.len(), most: MOST_INSNS });
    }
    let calls = insns.iter().filter(|insn| insn.op == Op::CallLocal);
    let mut calls: Vec<usize> = calls
        .filter_map(|insn| match insn.link {
            Link::Function(start) => ir.function_index(start),
            _ => None,
        })
        .collect();
    calls.sort_unstable();
    calls.dedup();
    let tail_calls = insns.iter().any(|insn| insn.link == Link::TailCall);
    Ok(FunctionPlan {
        takes_fp: function.stack.framed || tail_calls || calls_helper(insns, helpers::needs_frame),
        tail_calls,
        calls,
        ..FunctionPlan::default()
    })
}

fn calls_helper(insns: &[Insn], is: impl Fn(u32) -> bool) -> bool {
    insns.iter().any(|insn| matches!(insn.link, Link::Helper(position) if is(position)))
}

/// Adds what follows from what a function calls, the callees first.
fn settle(
    ir: &Ir,
    functions: &mut [FunctionPlan],
    number: usize,
    path: &mut Vec<usize>,
) -> Result<(), Refusal> {
    if functions[number].height > 0 {
        return Ok(());
    }
    if path.contains(&number) || path.len() as u64 >= MAX_DEPTH {
        return Err(Refusal::Depth);
    }
    path.push(number);
    let mut height = 1;
    for callee in functions[number].calls.clone() {
        settle(ir, functions, callee, path)?;
        height = height.max(1 + functions[callee].height);
        functions[number].takes_fp |= functions[callee].takes_fp;
        functions[number].tail_calls |= functions[callee].tail_calls;
    }
    path.pop();
    functions[number].takes = live_in(ir, number, functions);
    if height > MAX_DEPTH {
        return Err(Refusal::Depth);
    }
    functions[number].height = height;
    Ok(())
}

/// Which of r1 to r5 a function may read before it writes them.
fn live_in(ir: &Ir, number: usize, functions: &[FunctionPlan]) -> [bool; 6] {
    let function = &ir.functions[number];
    let first = function.blocks.start;
    let blocks = &ir.blocks[first as usize..function.blocks.end as usize];
    let mut live = vec![0u16; blocks.len()];
    let mut changed = true;
    while changed {
        changed = false;
        for (at, block) in blocks.iter().enumerate().rev() {
            let behind = block.edges.iter().fold(0, |all, to| all | live[(to - first) as usize]);
            let insns = &ir.insns[block.start as usize..block.end as usize];
            let before = insns.iter().rev().fold(behind, |live, insn| {
                let (reads, writes) = touches(insn, |start| {
                    let callee = ir.function_index(start).expect("each target starts one");
                    functions[callee].args().fold(0, |bits, reg| bits | 1 << reg)
                });
                live & !writes | reads
            });
            changed |= before != live[at];
            live[at] = before;
        }
    }
    std::array::from_fn(|reg| reg > 0 && live[0] & 1 << reg != 0)
}
