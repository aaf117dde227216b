//! From decoded instructions to resolved ones: helpers found, maps turned into addresses.

use std::sync::Arc;

use skep_maps::{Map, MapType};

use super::insn::{FUNCTION_TAG, Insn, Link};
use crate::helpers;
use crate::isa::{Op, Shape};
use crate::machine::Machine;
use crate::program::{Code, Decoded, Mistake, ProgramErrorKind as Kind, ProgramSpec};

pub(super) fn resolve(
    machine: &Machine,
    spec: &ProgramSpec,
    code: &Code,
) -> Result<Vec<Insn>, Mistake> {
    let resolver = Resolver { machine, spec };
    let insns = code.insns.iter().map(|decoded| {
        let slot = decoded.slot;
        if spec.poisoned.iter().any(|(at, _)| *at == slot) {
            return Ok(Insn { link: Link::Poisoned, ..plain(decoded) });
        }
        resolver.insn(decoded).map_err(|kind| Mistake::new(slot, kind))
    });
    insns.collect()
}

fn plain(decoded: &Decoded) -> Insn {
    let Decoded { op, insn, slot, .. } = *decoded;
    Insn {
        op,
        dst: insn.dst,
        src: insn.src,
        off: insn.off,
        imm: i64::from(insn.imm).cast_unsigned(),
        slot,
        link: Link::Nothing,
    }
}

fn helper(id: u32) -> Link {
    match helpers::position(id) {
        Some(_) if id == helpers::TAIL_CALL => Link::TailCall,
        Some(position) => Link::Helper(u32::try_from(position).expect("a short table")),
        None => Link::NoHelper,
    }
}

struct Resolver<'a> {
    machine: &'a Machine,
    spec: &'a ProgramSpec,
}

impl Resolver<'_> {
    fn insn(&self, decoded: &Decoded) -> Result<Insn, Kind> {
        let row = decoded.op.row();
        let mut insn = plain(decoded);
        match row.shape {
            Shape::JumpImm | Shape::JumpReg | Shape::Goto | Shape::GotoLong => {
                insn.link = Link::Jump(decoded.target);
            }
            Shape::Call if decoded.op == Op::CallLocal => {
                insn.link = Link::Function(decoded.target);
            }
            Shape::Call => insn.link = helper(decoded.insn.imm.cast_unsigned()),
            Shape::Lddw => (insn.imm, insn.link) = self.lddw(decoded)?,
            Shape::LdAbs | Shape::LdInd => self.check_skb(row.mnemonic)?,
            _ => {}
        }
        Ok(insn)
    }

    fn lddw(&self, decoded: &Decoded) -> Result<(u64, Link), Kind> {
        let index = decoded.insn.imm;
        match decoded.op {
            Op::Lddw => Ok((decoded.wide, Link::Nothing)),
            Op::LddwFunc => {
                let target = decoded.target;
                Ok((FUNCTION_TAG | u64::from(target), Link::Function(target)))
            }
            Op::LddwMapIdx => {
                let (index, map) = self.map(index)?;
                Ok((self.handle(map)?, Link::Map(index)))
            }
            Op::LddwMapIdxValue => {
                let offset = u32::try_from(decoded.wide >> 32).expect("the upper half");
                let (index, map) = self.map(index)?;
                Ok((self.direct_value(map, offset)?, Link::MapValue { map: index, offset }))
            }
            _ => Err(Kind::UnsupportedLddw { what: decoded.op.row().mnemonic }),
        }
    }

    /// The handle of a map. Maps that hold programs are tied to the type of a program that
    /// names them.
    fn handle(&self, map: &Arc<dyn Map>) -> Result<u64, Kind> {
        let kind = self.spec.prog_type.map_or(0, |t| t.id);
        let name = || map.core().def().name.clone();
        map.claim(kind).map_err(|_| Kind::IncompatibleMap { map: name() })?;
        Ok(map.core().handle().addr())
    }

    fn map(&self, index: i32) -> Result<(u32, &Arc<dyn Map>), Kind> {
        let maps = &self.spec.maps;
        let found = u32::try_from(index).ok().and_then(|i| Some((i, maps.get(i as usize)?)));
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
