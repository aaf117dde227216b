//! Disassembly in the kernel's and LLVM's syntax: `r0 = *(u32 *)(r2 + 8)`.

use super::Insn;
use super::op::{Key, Op, Row, Shape};

/// Names for the numbers in instructions, where the caller knows them.
pub trait Names {
    /// The name of a helper.
    fn helper(&self, _id: i32) -> Option<String> {
        None
    }

    /// The name of the map with this index in the program's list.
    fn map(&self, _index: i32) -> Option<String> {
        None
    }

    /// The name of the function `distance` slots behind the end of the instruction.
    fn function(&self, _distance: i32) -> Option<String> {
        None
    }
}

impl Names for () {}

/// The text of an instruction. `wide` is the 64-bit immediate of a `lddw`, whose
/// upper half stands in the second slot; other operations ignore it.
///
/// Numbers are decimal, jump targets are distances in slots from the next
/// instruction.
#[must_use]
pub fn disassemble(op: Op, insn: Insn, wide: u64, names: &dyn Names) -> String {
    let row = op.row();
    let Row { text, narrow, .. } = *row;
    let reg = if narrow { 'w' } else { 'r' };
    let Insn { dst, src, off, imm, .. } = insn;
    match row.shape {
        Shape::AluImm => format!("{reg}{dst} {text} {imm}"),
        Shape::AluReg => format!("{reg}{dst} {text} {reg}{src}"),
        Shape::Unary => format!("{reg}{dst} = {text}{reg}{dst}"),
        Shape::Movsx => format!("{reg}{dst} = ({text}){reg}{src}"),
        Shape::Load => format!("r{dst} = *({text} *)({})", memory(src, off)),
        Shape::StoreImm => format!("*({text} *)({}) = {imm}", memory(dst, off)),
        Shape::StoreReg => format!("*({text} *)({}) = r{src}", memory(dst, off)),
        Shape::Atomic => atomic(row, insn),
        Shape::LoadAcquire => format!("r{dst} = load_acquire(({text} *)({}))", memory(src, off)),
        Shape::StoreRelease => format!("store_release(({text} *)({}), r{src})", memory(dst, off)),
        Shape::JumpImm => format!("if {reg}{dst} {text} {imm} goto {off:+}"),
        Shape::JumpReg => format!("if {reg}{dst} {text} {reg}{src} goto {off:+}"),
        Shape::Goto => format!("{text} {off:+}"),
        Shape::GotoLong => format!("{text} {imm:+}"),
        Shape::Call if op == Op::CallHelper => {
            format!("call {}", names.helper(imm).unwrap_or_else(|| imm.to_string()))
        }
        Shape::Call => {
            format!("call {}", names.function(imm).unwrap_or_else(|| format!("{imm:+}")))
        }
        Shape::CallBtf => format!("call kfunc#{imm}"),
        Shape::CallReg => format!("{text} r{dst}"),
        Shape::Exit => text.to_owned(),
        Shape::Lddw => lddw(op, insn, wide, names),
        Shape::LdAbs => format!("r0 = *({text} *)skb[{imm}]"),
        Shape::LdInd => format!("r0 = *({text} *)skb[r{src} {}]", signed(imm)),
        Shape::Cast => format!("r{dst} = {text}(r{src}, {}, {})", imm >> 16, imm & 0xffff),
    }
}

fn lddw(op: Op, insn: Insn, wide: u64, names: &dyn Names) -> String {
    let Insn { dst, imm, .. } = insn;
    let text = op.row().text;
    let map = || names.map(imm).unwrap_or_else(|| imm.to_string());
    match op {
        Op::LddwMapIdx => format!("r{dst} = map[{}]", map()),
        Op::LddwMapIdxValue => format!("r{dst} = map[{}][0] + {}", map(), wide >> 32),
        Op::LddwMapValue => format!("r{dst} = {text}[{imm}] + {}", wide >> 32),
        Op::LddwFunc => {
            let name = names.function(imm);
            format!("r{dst} = {text}[{}]", name.unwrap_or_else(|| format!("{imm:+}")))
        }
        Op::LddwMapFd | Op::LddwBtfId => format!("r{dst} = {text}[{imm}]"),
        _ => format!("r{dst} = {} ll", wide.cast_signed()),
    }
}

fn atomic(row: &Row, insn: Insn) -> String {
    let Insn { dst, src, off, .. } = insn;
    let Row { text, op, .. } = *row;
    let at = memory(dst, off);
    let (reg, cast, wide) = match row.code {
        0xdb => ('r', "u64", true),
        _ => ('w', "u32", false),
    };
    match row.key {
        _ if matches!(op, Op::AtomicCmpxchg32 | Op::AtomicCmpxchg64) => {
            format!("{reg}0 = {text}({at}, {reg}0, {reg}{src})")
        }
        _ if matches!(op, Op::AtomicXchg32 | Op::AtomicXchg64) => {
            let name = if wide { "xchg_64" } else { "xchg32_32" };
            format!("{reg}{src} = {name}({at}, {reg}{src})")
        }
        Key::Imm(imm) if imm & 1 == 1 => {
            format!("{reg}{src} = {text}(({cast} *)({at}), {reg}{src})")
        }
        _ => format!("lock *({cast} *)({at}) {text} {reg}{src}"),
    }
}

fn memory(reg: u8, off: i16) -> String {
    format!("r{reg} {}", signed(i32::from(off)))
}

fn signed(value: i32) -> String {
    let sign = if value < 0 { '-' } else { '+' };
    format!("{sign} {}", value.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::super::assemble;
    use super::*;

    fn text(asm: &str) -> String {
        let insns = assemble(asm).expect("the test's assembler is right");
        let op = insns[0].op().expect("what was assembled decodes");
        let high = insns.get(1).map_or(0, |i| i.imm);
        let wide = u64::from(insns[0].imm.cast_unsigned()) | u64::from(high.cast_unsigned()) << 32;
        disassemble(op, insns[0], wide, &())
    }

    #[test]
    fn each_shape_reads_as_llvm_writes_it() {
        let cases = [
            ("mov %r1, -5", "r1 = -5"),
            ("add32 %r1, %r2", "w1 += w2"),
            ("neg %r3", "r3 = -r3"),
            ("be16 %r3", "r3 = be16 r3"),
            ("movsx832 %r1, %r2", "w1 = (s8)w2"),
            ("ldxw %r0, [%r2+8]", "r0 = *(u32 *)(r2 + 8)"),
            ("ldxsh %r0, [%r2-8]", "r0 = *(s16 *)(r2 - 8)"),
            ("stb [%r10-1], 7", "*(u8 *)(r10 - 1) = 7"),
            ("stxdw [%r10-8], %r1", "*(u64 *)(r10 - 8) = r1"),
            ("lock add [%r1], %r2", "lock *(u64 *)(r1 + 0) += r2"),
            ("lock fetch or32 [%r1+4], %r2", "w2 = atomic_fetch_or((u32 *)(r1 + 4), w2)"),
            ("lock xchg32 [%r1], %r2", "w2 = xchg32_32(r1 + 0, w2)"),
            ("lock cmpxchg [%r1], %r2", "r0 = cmpxchg_64(r1 + 0, r0, r2)"),
            ("load_acqw %r1, [%r2]", "r1 = load_acquire((u32 *)(r2 + 0))"),
            ("store_relb [%r2], %r3", "store_release((u8 *)(r2 + 0), r3)"),
            ("jsgt32 %r1, -1, +3", "if w1 s> -1 goto +3"),
            ("jset %r1, %r2, -2", "if r1 & r2 goto -2"),
            ("ja +1", "goto +1"),
            ("ja32 -1", "gotol -1"),
            ("may_goto +2", "may_goto +2"),
            ("call 12", "call 12"),
            ("call local +3", "call +3"),
            ("lddw %r1, 0x100000000", "r1 = 4294967296 ll"),
            ("lddw map_idx %r1, 2", "r1 = map[2]"),
            ("lddw map_idx_value %r1, 2, 8", "r1 = map[2][0] + 8"),
            ("ldabsh 12", "r0 = *(u16 *)skb[12]"),
            ("ldindb %r7, 14", "r0 = *(u8 *)skb[r7 + 14]"),
            ("addr_space_cast %r1, %r2, 65536", "r1 = addr_space_cast(r2, 1, 0)"),
            ("exit", "exit"),
        ];
        for (asm, llvm) in cases {
            assert_eq!(text(asm), llvm, "{asm}");
        }
    }
}
