//! Programs that are not quite right, and programs that are hardly right at all.

use skep_vm::isa::{Insn, Key, Op, ROWS, Row, Shape};

use crate::rng::Rng;

/// Changes a few slots of a program at random.
pub fn mutate(rng: &mut Rng, insns: &mut [Insn]) {
    for _ in 0..=rng.below(2) {
        let at = index(rng, insns.len());
        let slot = &mut insns[at];
        match rng.below(8) {
            0 | 1 => {
                let bits = u64::from_le_bytes(slot.to_le_bytes()) ^ 1 << rng.below(64);
                *slot = Insn::from_le_bytes(bits.to_le_bytes());
            }
            2 => slot.dst = register(rng),
            3 => slot.src = register(rng),
            4 => slot.imm = rng.imm(),
            5 => slot.off = slot.off.wrapping_add(small(rng)),
            6 => *slot = rng.pick(ROWS).encode(*slot),
            _ => {
                let other = index(rng, insns.len());
                insns.swap(at, other);
            }
        }
    }
    for slot in insns {
        // Linux does not look at this one unused field; skep, after the RFC, does.
        if is_kin(slot, Op::Exit) {
            slot.off = 0;
        }
    }
}

/// Whether a program calls helpers or kernel functions, or names objects other than its
/// maps: such ones are not given to the kernel, where they could do harm.
#[must_use]
pub fn calls_out(insns: &[Insn]) -> bool {
    let mut slots = insns.iter();
    while let Some(slot) = slots.next() {
        match slot.op() {
            Ok(Op::CallHelper | Op::CallKfunc) => return true,
            Ok(Op::Lddw | Op::LddwMapIdx | Op::LddwMapIdxValue | Op::LddwFunc) => {
                slots.next();
            }
            Ok(op) if op.row().shape == Shape::Lddw => return true,
            // What skep cannot decode, the kernel might.
            Err(_) if is_kin(slot, Op::CallHelper) || is_kin(slot, Op::LddwMapFd) => return true,
            _ => {}
        }
    }
    false
}

fn is_kin(slot: &Insn, op: Op) -> bool {
    slot.code == op.row().code
}

/// Slots of which most are instructions, with operands that are likely to do something;
/// the last is `exit`.
pub fn random_insns(rng: &mut Rng) -> Vec<Insn> {
    let len = 1 + index(rng, 40);
    let mut insns = Vec::with_capacity(len + 2);
    while insns.len() < len {
        if rng.one_in(200) {
            insns.push(Insn::from_le_bytes(rng.bits().to_le_bytes()));
            continue;
        }
        let row = rng.pick(ROWS);
        let fields = fields(rng, row, insns.len(), len);
        insns.push(row.encode(fields));
        if row.shape == Shape::Lddw {
            let imm = if row.key == Key::Src(0) { rng.imm() } else { rng.between(0, 8) };
            insns.push(Insn { imm, ..Insn::default() });
        }
    }
    insns.push(Op::Exit.row().encode(Insn::default()));
    insns
}

fn fields(rng: &mut Rng, row: &Row, at: usize, len: usize) -> Insn {
    let dst = register(rng);
    let src = if rng.one_in(6) { 10 } else { register(rng) };
    let ahead = i32::try_from(len - at).expect("a short program");
    let near = rng.between(0, ahead) - i32::from(rng.one_in(8)) * 3;
    let near16 = i16::try_from(near).expect("a short program");
    let off = match row.shape {
        Shape::JumpImm | Shape::JumpReg | Shape::Goto => near16,
        _ => small(rng),
    };
    let imm = match row.shape {
        Shape::GotoLong => near,
        Shape::Call if row.op == Op::CallLocal => near,
        Shape::Call => rng.between(0, 220),
        Shape::Lddw if row.op == Op::LddwFunc => near,
        Shape::Lddw if row.key != Key::Src(0) => i32::from(rng.one_in(4)),
        Shape::AluImm if rng.one_in(2) => rng.between(1, 31),
        _ => rng.imm(),
    };
    let dst = if row.shape.writes_dst() && dst == 10 { 0 } else { dst };
    Insn { code: 0, dst, src, off, imm }
}

/// A register, r10 among them.
fn register(rng: &mut Rng) -> u8 {
    u8::try_from(rng.below(11)).expect("below 11")
}

/// A displacement: some bytes up or down.
fn small(rng: &mut Rng) -> i16 {
    *rng.pick(&[-600, -512, -64, -32, -16, -8, -4, -2, -1, 0, 1, 2, 3, 4, 8, 16, 256])
}

fn index(rng: &mut Rng, len: usize) -> usize {
    usize::try_from(rng.below(len as u64)).expect("an index")
}
