//! Programs that are not quite right, and programs that are hardly right at all.

use skep_vm::isa::{Insn, Op, ROWS, Row, Shape};

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
        if rng.one_in(500) {
            insns.push(Insn::from_le_bytes(rng.bits().to_le_bytes()));
            continue;
        }
        let row = rng.pick(ROWS);
        if is_rare(row) && !rng.one_in(20) {
            continue;
        }
        let fields = fields(rng, row, insns.len(), len);
        insns.push(row.encode(fields));
        if row.shape == Shape::Lddw {
            let imm = match row.op {
                Op::Lddw => rng.imm(),
                Op::LddwMapIdxValue => rng.between(0, 255),
                _ => 0,
            };
            insns.push(Insn { imm, ..Insn::default() });
        }
    }
    insns.push(Op::Exit.row().encode(Insn::default()));
    insns
}

/// Whether an instruction is refused in most programs.
fn is_rare(row: &Row) -> bool {
    matches!(row.op, Op::CallReg | Op::LddwMapFd | Op::LddwMapValue | Op::LddwBtfId)
        || matches!(row.shape, Shape::LdAbs | Shape::LdInd)
}

fn fields(rng: &mut Rng, row: &Row, at: usize, len: usize) -> Insn {
    let (mut dst, mut src) = (register(rng), register(rng));
    let ahead = i32::try_from(len - at).expect("a short program");
    let near = rng.between(0, ahead) - i32::from(rng.one_in(8)) * 3;
    let mut off = small(rng);
    let accesses = matches!(
        row.shape,
        Shape::Load
            | Shape::LoadAcquire
            | Shape::StoreImm
            | Shape::StoreReg
            | Shape::StoreRelease
            | Shape::Atomic
    );
    // Most accesses are of the stack, where they do not fault.
    if accesses && !rng.one_in(4) {
        let loads = matches!(row.shape, Shape::Load | Shape::LoadAcquire);
        let (base, other) = if loads { (&mut src, &mut dst) } else { (&mut dst, &mut src) };
        (*base, *other) = (10, *other % 10);
        off = -8 * i16::try_from(1 + rng.below(64)).expect("small");
    }
    if matches!(row.shape, Shape::JumpImm | Shape::JumpReg | Shape::Goto) {
        off = i16::try_from(near).expect("a short program");
    }
    if row.shape.writes_dst() && !rng.one_in(100) {
        dst %= 10;
    }
    let imm = match row.shape {
        Shape::GotoLong => near,
        Shape::Call if row.op == Op::CallLocal => near,
        Shape::Call => rng.between(0, 220),
        Shape::Lddw if row.op == Op::LddwFunc => near,
        Shape::Lddw if row.op != Op::Lddw => 0,
        Shape::AluImm if !rng.one_in(4) => rng.between(1, 31),
        _ => rng.imm(),
    };
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
