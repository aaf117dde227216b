//! Programs as the assembler reads them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use skep_vm::isa::{Insn, Op, Shape};

use crate::case::{functions, instructions};

/// The program, one instruction on each line, labels before those that jumps lead to.
pub(super) fn program(insns: &[Insn]) -> String {
    let mut labels: BTreeMap<i64, String> = BTreeMap::new();
    for (at, insn, op, _) in instructions(insns) {
        if let Some(target) = target(at, insn, op) {
            labels.entry(target).or_insert_with(|| format!("l{target}"));
        }
    }
    for start in functions(insns).into_iter().skip(1) {
        labels.insert(start.into(), format!("f{start}"));
    }
    let mut text = String::new();
    for (at, insn, op, wide) in instructions(insns) {
        if let Some(label) = i64::try_from(at).ok().and_then(|at| labels.get(&at)) {
            let _ = writeln!(text, "  {label}:");
        }
        let target = target(at, insn, op).and_then(|target| labels.get(&target));
        let line = match op {
            Some(op) => line(op, insn, wide, target.map_or("?", String::as_str)),
            None => format!("{insn:?}"),
        };
        let _ = writeln!(text, "    {line}");
    }
    text
}

fn target(at: usize, insn: Insn, op: Option<Op>) -> Option<i64> {
    let op = op?;
    let distance = match op.row().shape {
        Shape::JumpImm | Shape::JumpReg | Shape::Goto => i64::from(insn.off),
        Shape::GotoLong => i64::from(insn.imm),
        _ if matches!(op, Op::CallLocal | Op::LddwFunc) => i64::from(insn.imm),
        _ => return None,
    };
    Some(i64::try_from(at).ok()? + 1 + distance)
}

fn line(op: Op, insn: Insn, wide: u64, label: &str) -> String {
    let name = op.row().mnemonic;
    let Insn { dst, src, off, imm, .. } = insn;
    match op.row().shape {
        Shape::AluImm => format!("{name} %r{dst}, {imm}"),
        Shape::AluReg | Shape::Movsx => format!("{name} %r{dst}, %r{src}"),
        Shape::Unary | Shape::CallReg => format!("{name} %r{dst}"),
        Shape::Load | Shape::LoadAcquire => format!("{name} %r{dst}, [%r{src}{off:+}]"),
        Shape::StoreImm => format!("{name} [%r{dst}{off:+}], {imm}"),
        Shape::StoreReg | Shape::StoreRelease => format!("{name} [%r{dst}{off:+}], %r{src}"),
        Shape::Atomic => format!("lock {name} [%r{dst}{off:+}], %r{src}"),
        Shape::JumpImm => format!("{name} %r{dst}, {imm}, {label}"),
        Shape::JumpReg => format!("{name} %r{dst}, %r{src}, {label}"),
        Shape::Goto | Shape::GotoLong => format!("{name} {label}"),
        Shape::Call if op == Op::CallLocal => format!("{name} {label}"),
        Shape::Call | Shape::CallBtf | Shape::LdAbs => format!("{name} {imm}"),
        Shape::Exit => name.to_owned(),
        Shape::LdInd => format!("{name} %r{src}, {imm}"),
        Shape::Cast => format!("{name} %r{dst}, %r{src}, {imm}"),
        Shape::Lddw => match op {
            Op::Lddw => format!("{name} %r{dst}, {wide:#x}"),
            Op::LddwFunc => format!("{name} %r{dst}, {label}"),
            Op::LddwMapIdxValue | Op::LddwMapValue => {
                format!("{name} %r{dst}, {imm}, {}", wide >> 32)
            }
            _ => format!("{name} %r{dst}, {imm}"),
        },
    }
}
