//! From decoded instructions to the interpreter's operations: helpers found, maps
//! turned into addresses.

use std::sync::Arc;

use skep_maps::{Map, MapType};

use super::FUNCTION_TAG;
use super::fuse::fuse;
use super::op::{Code, Op, Reg};
use crate::helpers;
use crate::isa::{self, Shape};
use crate::machine::Machine;
use crate::program::{Code as Decoded, FRAME_SIZE, Mistake, ProgramErrorKind as Kind, ProgramSpec};

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
    pub(crate) fn new(
        machine: &Machine,
        spec: &ProgramSpec,
        code: &Decoded,
    ) -> Result<Self, Mistake> {
        let lowering = Lowering { machine, spec, code };
        let ops: Result<Vec<Op>, Mistake> = code
            .insns
            .iter()
            .map(|decoded| {
                let slot = decoded.slot;
                if spec.poisoned.iter().any(|(at, _)| *at == slot) {
                    return Ok(plain(Code::Poisoned));
                }
                lowering.op(decoded).map_err(|kind| Mistake::new(slot, kind))
            })
            .collect();
        let ops = ops?;
        let fused = fuse(&ops);
        Ok(Self { ops, fused })
    }
}

fn plain(code: Code) -> Op {
    Op { code, dst: Reg::R0, src: Reg::R0, off: 0, imm: 0 }
}

/// Finds a helper; its place in the table goes into `off`.
fn helper(op: &mut Op, id: u32) {
    match helpers::position(id) {
        Some(_) if id == helpers::TAIL_CALL => op.code = Code::TailCall,
        Some(position) => op.off = i32::try_from(position).expect("a short table"),
        None => op.code = Code::NoHelper,
    }
}

struct Lowering<'a> {
    machine: &'a Machine,
    spec: &'a ProgramSpec,
    code: &'a Decoded,
}

impl Lowering<'_> {
    fn op(&self, decoded: &crate::program::Decoded) -> Result<Op, Kind> {
        let insn = decoded.insn;
        let row = decoded.op.row();
        let target = decoded.target.cast_signed();
        let mut op = Op {
            code: Code::of(decoded.op),
            dst: Reg::new(insn.dst),
            src: Reg::new(insn.src),
            off: i32::from(insn.off),
            imm: i64::from(insn.imm).cast_unsigned(),
        };
        match row.shape {
            Shape::JumpImm | Shape::JumpReg | Shape::Goto | Shape::GotoLong => op.off = target,
            Shape::Call if decoded.op == isa::Op::CallLocal => {
                op.off = target;
                let function = self.code.function(decoded.target);
                op.imm = u64::from(function.map_or(FRAME_SIZE, |f| f.stack.bytes));
            }
            Shape::Call => helper(&mut op, insn.imm.cast_unsigned()),
            Shape::Lddw => op.imm = self.lddw(decoded)?,
            Shape::LdAbs | Shape::LdInd => self.check_skb(row.mnemonic)?,
            _ => {}
        }
        Ok(op)
    }

    /// The handle of a map. Maps that hold programs are tied to the type of a program that
    /// names them.
    fn handle(&self, map: &Arc<dyn Map>) -> Result<u64, Kind> {
        let kind = self.spec.prog_type.map_or(0, |t| t.id);
        let name = || map.core().def().name.clone();
        map.claim(kind).map_err(|_| Kind::IncompatibleMap { map: name() })?;
        Ok(map.core().handle().addr())
    }

    fn lddw(&self, decoded: &crate::program::Decoded) -> Result<u64, Kind> {
        let index = decoded.insn.imm;
        match decoded.op {
            isa::Op::Lddw => Ok(decoded.wide),
            isa::Op::LddwFunc => Ok(FUNCTION_TAG | u64::from(decoded.target)),
            isa::Op::LddwMapIdx => self.handle(self.map(index)?),
            isa::Op::LddwMapIdxValue => {
                let offset = u32::try_from(decoded.wide >> 32).expect("the upper half");
                self.direct_value(self.map(index)?, offset)
            }
            _ => Err(Kind::UnsupportedLddw { what: decoded.op.row().mnemonic }),
        }
    }

    fn map(&self, index: i32) -> Result<&Arc<dyn Map>, Kind> {
        let maps = &self.spec.maps;
        let found = usize::try_from(index).ok().and_then(|index| maps.get(index));
        found.ok_or(Kind::NoMap { index, maps: maps.len() })
    }

    /// The address of a byte of an array's only value (kernel `array_map_direct_value_addr`).
    fn direct_value(&self, map: &Arc<dyn Map>, offset: u32) -> Result<u64, Kind> {
        let def = map.core().def();
        let name = || def.name.clone();
        let is_array = map.core().map_type() == MapType::Array && def.max_entries == 1;
        let value = if is_array { map.lookup(&0u32.to_le_bytes(), 0) } else { None };
        let Some(value) = value else {
            return Err(Kind::NoDirectValue { map: name() });
        };
        if offset >= def.value_size {
            return Err(Kind::BeyondValue { map: name(), offset, size: def.value_size });
        }
        debug_assert!(std::ptr::eq(
            Arc::as_ptr(map.core().world()),
            Arc::as_ptr(self.machine.world())
        ));
        Ok(value.add(offset).addr())
    }

    fn check_skb(&self, mnemonic: &'static str) -> Result<(), Kind> {
        match self.spec.prog_type {
            Some(t) if t.legacy_loads => Ok(()),
            _ => Err(Kind::NoSkb { mnemonic }),
        }
    }
}
