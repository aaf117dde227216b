//! Fusing: sequences that compilers often write become one operation.
//!
//! Each index gets the best operation for what starts there, whatever starts elsewhere,
//! so that jumps may lead into the middle of a sequence. A fused operation does just what
//! its instructions do, one after the other, and leaves the same registers behind, also
//! when its load faults.

use super::op::{Code, Op};

/// The fused operation for each index of `ops`.
pub(super) fn fuse(ops: &[Op]) -> Vec<Op> {
    let fused = ops.iter().enumerate().map(|(index, &op)| match ops[index..] {
        [a, b, c, ..] => three(index, a, b, c).or_else(|| two(index, a, b)).unwrap_or(a),
        [a, b] => two(index, a, b).unwrap_or(a),
        _ => op,
    });
    fused.collect()
}

/// The operation for three instructions from `index` on.
fn three(index: usize, a: Op, b: Op, c: Op) -> Option<Op> {
    let moves_wide = a.code == Code::Mov64Reg && b.dst == a.dst && b.src != a.dst;
    let indexed = match c.code {
        Code::LdxB => Some(Code::IndexedB),
        Code::LdxH => Some(Code::IndexedH),
        Code::LdxW => Some(Code::IndexedW),
        Code::LdxDw => Some(Code::IndexedDw),
        _ => None,
    };
    if let Some(code) = indexed
        && moves_wide
        && b.code == Code::Add64Reg
        && c.src == a.dst
    {
        let imm = b.src as u64 | (a.dst as u64) << 4;
        return Some(Op { code, dst: c.dst, src: a.src, off: c.off, imm });
    }
    let ors = match (a.code, b.code, c.code) {
        (Code::Mov64Reg, Code::Lsh64Imm, Code::Or64Reg) => Some(Code::MovLshOr64),
        (Code::Mov32Reg, Code::Lsh32Imm, Code::Or32Reg) => Some(Code::MovLshOr32),
        _ => None,
    };
    if let Some(code) = ors
        && b.dst == a.dst
        && c.dst == a.dst
        && c.src != a.dst
    {
        let off = i32::try_from(b.imm).ok()?;
        return Some(Op { code, dst: a.dst, src: a.src, off, imm: c.src as u64 });
    }
    let latch = a.code == Code::Add64Imm && b.code == Code::Jeq64Imm && b.dst == a.dst;
    if latch && c.code == Code::Ja && b.target() == index + 3 {
        let imm = pack(a.imm, b.imm);
        return Some(Op { code: Code::AddJeq64ImmElse, off: c.off, imm, ..a });
    }
    None
}

/// The operation for two instructions from `index` on.
fn two(index: usize, a: Op, b: Op) -> Option<Op> {
    let same_dst = a.dst == b.dst;
    let moved = match (a.code, b.code) {
        (Code::Mov64Reg, Code::Add64Imm) => Some(Code::MovAdd64Imm),
        (Code::Mov64Reg, Code::And64Imm) => Some(Code::MovAnd64Imm),
        (Code::Mov64Reg, Code::Lsh64Imm) => Some(Code::MovLsh64Imm),
        (Code::Mov64Reg, Code::Rsh64Imm) => Some(Code::MovRsh64Imm),
        (Code::Mov32Reg, Code::Add32Imm) => Some(Code::MovAdd32Imm),
        (Code::Mov32Reg, Code::And32Imm) => Some(Code::MovAnd32Imm),
        (Code::Mov32Reg, Code::Lsh32Imm) => Some(Code::MovLsh32Imm),
        (Code::Mov32Reg, Code::Rsh32Imm) => Some(Code::MovRsh32Imm),
        _ => None,
    };
    if let Some(code) = moved.filter(|_| same_dst) {
        return Some(Op { code, imm: b.imm, ..a });
    }
    let jumps_over = match a.code {
        Code::Jeq64Imm => Some(Code::Jeq64ImmElse),
        Code::Jeq64Reg => Some(Code::Jeq64RegElse),
        Code::Jeq32Imm => Some(Code::Jeq32ImmElse),
        _ => None,
    };
    if let Some(code) = jumps_over
        && b.code == Code::Ja
        && a.target() == index + 2
    {
        return Some(Op { code, off: b.off, ..a });
    }
    match (a.code, b.code) {
        (Code::Mov64Imm, Code::Exit) => Some(Op { code: Code::MovImmExit, ..a }),
        (Code::Mov32Imm, Code::Exit) => {
            Some(Op { code: Code::MovImmExit, imm: a.imm & u64::from(u32::MAX), ..a })
        }
        (Code::Mov64Reg, Code::Add64Reg) if same_dst && b.src != a.dst => {
            Some(Op { code: Code::MovAdd64Reg, imm: b.src as u64, ..a })
        }
        (Code::Add64Imm, Code::Jne64Imm) if same_dst => {
            Some(Op { code: Code::AddJne64Imm, off: b.off, imm: pack(a.imm, b.imm), ..a })
        }
        (Code::Add64Imm, Code::Jeq64Imm) if same_dst => {
            Some(Op { code: Code::AddJeq64Imm, off: b.off, imm: pack(a.imm, b.imm), ..a })
        }
        _ => None,
    }
}

/// Two sign-extended 32-bit numbers in one.
fn pack(low: u64, high: u64) -> u64 {
    low & u64::from(u32::MAX) | high << 32
}
