//! Which registers instructions read and write.

use super::insn::{Insn, Link};
use crate::helpers;
use crate::isa::{Alu, Kind, Op, Source};

/// Which registers an instruction reads and writes, as bits; `args_of` says what the function
/// that starts at an index reads.
pub(crate) fn touches(insn: &Insn, args_of: impl Fn(u32) -> u16) -> (u16, u16) {
    const ARGS: u16 = 0b11_1110;
    const R0: u16 = 1;
    let (dst, src) = (1u16 << insn.dst, 1u16 << insn.src);
    if matches!(insn.link, Link::Poisoned | Link::NoHelper) {
        return (0, 0);
    }
    match insn.kind() {
        Kind::Alu(Alu::Mov, _, Source::Imm) => (0, dst),
        Kind::Alu(Alu::Mov, _, Source::Reg) | Kind::Movsx { .. } => (src, dst),
        Kind::Alu(_, _, Source::Imm) | Kind::Unary(_) => (dst, dst),
        Kind::Alu(_, _, Source::Reg) => (dst | src, dst),
        Kind::Load { .. } | Kind::LoadAcquire { .. } => (src, dst),
        Kind::Store { source: Source::Imm, .. } => (dst, 0),
        Kind::Store { source: Source::Reg, .. } | Kind::StoreRelease { .. } => (dst | src, 0),
        Kind::Atomic { fetch, .. } => (dst | src, if fetch { src } else { 0 }),
        Kind::Jump(_, _, Source::Imm) => (dst, 0),
        Kind::Jump(_, _, Source::Reg) => (dst | src, 0),
        Kind::Misc => match insn.op {
            Op::AtomicCmpxchg64 | Op::AtomicCmpxchg32 => (dst | src | R0, R0),
            Op::CallHelper => match insn.link {
                Link::Helper(position) => (helper_args(position), R0 | ARGS),
                _ => (0b1110, R0 | ARGS),
            },
            Op::CallLocal => match insn.link {
                Link::Function(start) => (args_of(start), R0 | ARGS),
                _ => (ARGS, R0 | ARGS),
            },
            Op::Exit => (R0, 0),
            Op::LdAbsB | Op::LdAbsH | Op::LdAbsW => (1 << 6, R0 | ARGS),
            Op::LdIndB | Op::LdIndH | Op::LdIndW => (1 << 6 | src, R0 | ARGS),
            Op::Lddw
            | Op::LddwMapFd
            | Op::LddwMapValue
            | Op::LddwBtfId
            | Op::LddwFunc
            | Op::LddwMapIdx
            | Op::LddwMapIdxValue => (0, dst),
            _ => (0, 0),
        },
    }
}

/// Whether an instruction is an atomic access.
pub(crate) fn is_atomic(insn: &Insn) -> bool {
    matches!(
        insn.kind(),
        Kind::Atomic { .. } | Kind::LoadAcquire { .. } | Kind::StoreRelease { .. }
    ) || matches!(insn.op, Op::AtomicCmpxchg64 | Op::AtomicCmpxchg32)
}

/// Which of r1 to r5 a helper gets, as bits.
fn helper_args(position: u32) -> u16 {
    let count = helpers::at(position as usize).args.len();
    (1..=count).fold(0, |bits, reg| bits | 1 << reg)
}
