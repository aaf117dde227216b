//! From slots to a dense form: one entry per instruction, targets resolved, structure
//! checked. What passes here can be run without further checks of control flow.

use super::ProgramErrorKind as Kind;
use super::ProgramSpec;
use super::error::Mistake;
use super::stack::StackUse;
use crate::isa::{Insn, Op, Shape};

/// The most slots of a program: twice the kernel's limit of verified instructions.
const MOST_SLOTS: usize = 2_000_000;

/// A decoded program.
#[derive(Debug)]
pub(crate) struct Code {
    pub(crate) insns: Vec<Decoded>,
    /// Ascending by start; the first is the entry.
    pub(crate) functions: Vec<Function>,
}

/// One instruction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decoded {
    pub(crate) op: Op,
    pub(crate) insn: Insn,
    /// Its first slot.
    pub(crate) slot: u32,
    /// For jumps, calls of functions and function pointers: the index they lead to.
    pub(crate) target: u32,
    /// For `lddw`: both immediates.
    pub(crate) wide: u64,
}

/// A function: its instructions stand from `start` up to the next one's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Function {
    pub(crate) start: u32,
    pub(crate) stack: StackUse,
}

pub(crate) fn decode(spec: &ProgramSpec) -> Result<Code, Mistake> {
    let slots = &spec.insns;
    if slots.is_empty() {
        return Err(Mistake::new(0, Kind::Empty));
    }
    if slots.len() > MOST_SLOTS {
        let kind = Kind::TooLong { slots: slots.len(), most: MOST_SLOTS };
        return Err(Mistake::new(0, kind));
    }
    let (mut insns, index_of) = read(slots)?;
    let starts = resolve_calls(&mut insns, &index_of)?;
    let ends = starts.iter().skip(1).copied().chain([len(&insns)]);
    let extents: Vec<(u32, u32)> = starts.iter().copied().zip(ends).collect();
    for &(start, end) in &extents {
        resolve_jumps(&mut insns, &index_of, start, end)?;
    }
    let functions: Vec<Function> = extents
        .into_iter()
        .map(|(start, end)| {
            let stack = StackUse::of(&insns[start as usize..end as usize]);
            Function { start, stack }
        })
        .collect();
    Ok(Code { insns, functions })
}

/// No instruction starts at this slot.
const INSIDE: u32 = u32::MAX;

/// Decodes each slot on its own; also maps slots to indexes.
fn read(slots: &[Insn]) -> Result<(Vec<Decoded>, Vec<u32>), Mistake> {
    let mut insns = Vec::with_capacity(slots.len());
    let mut index_of = vec![INSIDE; slots.len()];
    let mut at = 0usize;
    while let Some(&insn) = slots.get(at) {
        let slot = u32::try_from(at).expect("checked against MOST_SLOTS");
        let mistake = |kind| Mistake::new(slot, kind);
        let op = insn.op().map_err(|e| Mistake::new(slot, e))?;
        index_of[at] = len(&insns);
        check(op, insn).map_err(mistake)?;
        let mut wide = 0;
        at += 1;
        if op.row().shape == Shape::Lddw {
            let Some(&second) = slots.get(at) else {
                return Err(mistake(Kind::TruncatedLddw));
            };
            let has_high = matches!(op, Op::Lddw | Op::LddwMapValue | Op::LddwMapIdxValue);
            let plain = Insn { imm: if has_high { second.imm } else { 0 }, ..Insn::default() };
            if second != plain {
                return Err(mistake(Kind::BadLddw));
            }
            wide =
                u64::from(insn.imm.cast_unsigned()) | u64::from(second.imm.cast_unsigned()) << 32;
            at += 1;
        }
        insns.push(Decoded { op, insn, slot, target: 0, wide });
    }
    Ok((insns, index_of))
}

/// What is refused in single instructions, as by the kernel's verifier (`check_alu_op`).
///
/// The verifier also refuses constant shifts by more bits than the register has; RFC 9669
/// (§4.1) masks the count, and so does skep.
fn check(op: Op, insn: Insn) -> Result<(), Kind> {
    let row = op.row();
    if row.shape.writes_dst() && insn.dst == 10 {
        return Err(Kind::FramePointerWritten);
    }
    let fetches = matches!(row.shape, Shape::Atomic) && row.key_fetches();
    if fetches && insn.src == 10 && !matches!(op, Op::AtomicCmpxchg32 | Op::AtomicCmpxchg64) {
        return Err(Kind::FramePointerWritten);
    }
    match op {
        Op::Div64Imm
        | Op::Div32Imm
        | Op::Sdiv64Imm
        | Op::Sdiv32Imm
        | Op::Mod64Imm
        | Op::Mod32Imm
        | Op::Smod64Imm
        | Op::Smod32Imm
            if insn.imm == 0 =>
        {
            Err(Kind::DivisionByZero)
        }
        Op::CallReg => Err(Kind::CallReg),
        _ => Ok(()),
    }
}

/// Finds where calls and function pointers lead; each such place starts a function.
fn resolve_calls(insns: &mut [Decoded], index_of: &[u32]) -> Result<Vec<u32>, Mistake> {
    let mut starts = vec![0];
    for decoded in insns.iter_mut() {
        if !matches!(decoded.op, Op::CallLocal | Op::LddwFunc) {
            continue;
        }
        // Both count from the slot behind their first one (kernel `find_subprog`).
        let target = i64::from(decoded.slot) + 1 + i64::from(decoded.insn.imm);
        let index = usize::try_from(target).ok().and_then(|slot| index_of.get(slot));
        decoded.target = match index {
            Some(&INSIDE) => return Err(Mistake::new(decoded.slot, Kind::CallIntoLddw { target })),
            Some(&index) => index,
            None => return Err(Mistake::new(decoded.slot, Kind::CallOut { target })),
        };
        starts.push(decoded.target);
    }
    starts.sort_unstable();
    starts.dedup();
    Ok(starts)
}

/// Finds where the jumps of a function lead; they must stay inside, and its last
/// instruction must not run on.
fn resolve_jumps(
    insns: &mut [Decoded],
    index_of: &[u32],
    start: u32,
    end: u32,
) -> Result<(), Mistake> {
    for index in start..end {
        let Decoded { op, insn, slot, .. } = insns[index as usize];
        let distance = match op.row().shape {
            Shape::JumpImm | Shape::JumpReg | Shape::Goto => i64::from(insn.off),
            Shape::GotoLong => i64::from(insn.imm),
            _ => continue,
        };
        let target = i64::from(slot) + 1 + distance;
        let to = usize::try_from(target).ok().and_then(|slot| index_of.get(slot));
        let to = *to.ok_or_else(|| Mistake::new(slot, Kind::JumpOut { target }))?;
        if to == INSIDE {
            return Err(Mistake::new(slot, Kind::JumpIntoLddw { target }));
        }
        if !(start..end).contains(&to) {
            return Err(Mistake::new(slot, Kind::JumpOutOfFunction { target }));
        }
        insns[index as usize].target = to;
    }
    let last = insns[end as usize - 1];
    if matches!(last.op, Op::Exit | Op::Ja | Op::Ja32) {
        Ok(())
    } else {
        Err(Mistake::new(last.slot, Kind::FallsThrough))
    }
}

fn len(insns: &[Decoded]) -> u32 {
    u32::try_from(insns.len()).expect("checked against MOST_SLOTS")
}
