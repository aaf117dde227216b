//! From the mid-level form to the interpreter's operations, one for each instruction.

use super::fuse::fuse;
use super::looks;
use super::op::{Code, Op, Reg};
use crate::ir::{Insn, Ir, Link};
use crate::program::{FRAME_SIZE, StackUse};

/// A program in the interpreter's form.
#[derive(Debug)]
pub(crate) struct Compiled {
    /// One operation for each instruction, at the same index.
    pub(super) ops: Vec<Op>,
    /// At each index, an operation for as many instructions from there on as can be run
    /// at once.
    pub(super) fused: Vec<Op>,
}

impl Compiled {
    pub(crate) fn new(ir: &Ir) -> Self {
        let ops: Vec<Op> = ir.insns.iter().map(|insn| lower(ir, insn)).collect();
        let mut fused = fuse(&ops);
        looks::place(ir, &mut fused);
        Self { ops, fused }
    }
}

fn lower(ir: &Ir, insn: &Insn) -> Op {
    let mut op = Op {
        code: Code::of(insn.op),
        dst: Reg::new(insn.dst),
        src: Reg::new(insn.src),
        off: i32::from(insn.off),
        imm: insn.imm,
    };
    match insn.link {
        Link::Jump(target) => op.off = target.cast_signed(),
        Link::Function(target) if insn.op == crate::isa::Op::CallLocal => {
            op.off = target.cast_signed();
            op.imm = pack(ir.function_at(target).map(|function| function.stack));
        }
        Link::Helper(position) => op.off = position.cast_signed(),
        Link::TailCall => op.code = Code::TailCall,
        Link::NoHelper => op.code = Code::NoHelper,
        Link::Poisoned => op.code = Code::Poisoned,
        Link::Nothing | Link::Function(_) | Link::Map(_) | Link::MapValue { .. } => {}
    }
    op
}

/// Marks a function with a frame in the immediate of a call.
const FRAMED: u64 = 1 << 32;

/// What a function uses of its frame, as the immediate of a call.
fn pack(stack: Option<StackUse>) -> u64 {
    let StackUse { bytes, framed } = stack.unwrap_or(StackUse { bytes: FRAME_SIZE, framed: true });
    u64::from(bytes) | if framed { FRAMED } else { 0 }
}

/// The same, taken apart.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "the low half is what counts")]
pub(super) fn unpack(imm: u64) -> StackUse {
    StackUse { bytes: imm as u32, framed: imm & FRAMED != 0 }
}
