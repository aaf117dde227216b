//! A case: programs with the maps and inputs that they run on.

use std::fmt;

use skep_maps::{MapDef, MapType};
use skep_vm::isa::{Insn, Op, Shape, disassemble};
use skep_vm::prog::ProgType;

/// Programs, their maps, and what they are run on, one input after the other; what the maps
/// hold stays from one run to the next.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Case {
    /// The first is run; the others are there for tail calls.
    pub programs: Vec<CaseProgram>,
    /// The maps, by the index that programs name them with.
    pub maps: Vec<CaseMap>,
    /// What the first program is run on.
    pub inputs: Vec<CaseInput>,
}

/// A program of a case.
#[derive(Debug, Clone, Default)]
pub struct CaseProgram {
    /// Its type; `None` for one that gets its input's address in r1.
    pub prog_type: Option<&'static ProgType>,
    /// Its slots.
    pub insns: Vec<Insn>,
    /// What the generator wanted with a slot, for the report on what it wrote.
    pub marks: Vec<(u32, &'static str)>,
}

impl PartialEq for CaseProgram {
    fn eq(&self, other: &Self) -> bool {
        let id = |program: &Self| program.prog_type.map(|t| t.id);
        id(self) == id(other) && self.insns == other.insns
    }
}

/// A map of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseMap {
    /// What it is made from.
    pub def: MapDef,
    /// What stands in it before the first run.
    pub fill: Vec<(Vec<u8>, Fill)>,
    /// Whether user space loses the right to write it then (`BPF_MAP_FREEZE`).
    pub frozen: bool,
}

/// What a map holds at a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fill {
    /// Bytes; those of one CPU are repeated for the others.
    Bytes(Vec<u8>),
    /// A map of the case.
    Map(usize),
    /// A program of the case.
    Program(usize),
}

/// What a run gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaseInput {
    /// The packet, or the bytes that r1 points to.
    pub data: Vec<u8>,
    /// Samples put into user ring buffers before the run, by map.
    pub samples: Vec<(usize, Vec<u8>)>,
}

impl Case {
    /// A case of one program without maps, run once.
    #[must_use]
    pub fn single(prog_type: Option<&'static ProgType>, insns: Vec<Insn>, data: Vec<u8>) -> Self {
        Self {
            programs: vec![CaseProgram { prog_type, insns, marks: Vec::new() }],
            maps: Vec::new(),
            inputs: vec![CaseInput { data, samples: Vec::new() }],
        }
    }

    /// The slots of the program that is run.
    ///
    /// # Panics
    /// When there is no program.
    pub fn insns_mut(&mut self) -> &mut Vec<Insn> {
        &mut self.programs[0].insns
    }

    /// The slots of the program that is run.
    ///
    /// # Panics
    /// When there is no program.
    #[must_use]
    pub fn insns(&self) -> &[Insn] {
        &self.programs[0].insns
    }
}

impl CaseMap {
    /// A map without flags that is empty.
    ///
    /// # Panics
    /// When there is no such type.
    #[must_use]
    pub fn new(map_type: MapType, key_size: u32, value_size: u32, max_entries: u32) -> Self {
        let def = MapDef {
            map_type: map_type.id(),
            key_size,
            value_size,
            max_entries,
            ..MapDef::default()
        };
        Self { def, fill: Vec::new(), frozen: false }
    }

    /// Its type.
    ///
    /// # Panics
    /// When skep does not know the type.
    #[must_use]
    pub fn map_type(&self) -> MapType {
        MapType::from_id(self.def.map_type).expect("cases have maps of types that there are")
    }
}

/// The slots of a program with the instructions that start there; the second halves of
/// `lddw` are left out.
pub(crate) fn instructions(insns: &[Insn]) -> impl Iterator<Item = (usize, Insn, Option<Op>, u64)> {
    let mut slots = insns.iter().enumerate();
    std::iter::from_fn(move || {
        let (at, &insn) = slots.next()?;
        let op = insn.op().ok();
        let mut wide = u64::from(insn.imm.cast_unsigned());
        if op.is_some_and(|op| op.row().shape == Shape::Lddw)
            && let Some((_, high)) = slots.next()
        {
            wide |= u64::from(high.imm.cast_unsigned()) << 32;
        }
        Some((at, insn, op, wide))
    })
}

/// First slots of a program's functions, ascending: where calls and function pointers lead.
#[must_use]
pub fn functions(insns: &[Insn]) -> Vec<u32> {
    let mut starts = vec![0];
    for (at, insn, op, _) in instructions(insns) {
        if matches!(op, Some(Op::CallLocal | Op::LddwFunc)) {
            let start = i64::try_from(at).unwrap_or(i64::MAX) + 1 + i64::from(insn.imm);
            starts.extend(u32::try_from(start).ok());
        }
    }
    starts.sort_unstable();
    starts.dedup();
    starts
}

impl fmt::Display for Case {
    /// The listing, to be read beside a difference.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, map) in self.maps.iter().enumerate() {
            let MapDef { key_size, value_size, max_entries, .. } = map.def;
            let map_type = map.map_type();
            writeln!(f, "map {index}: {map_type} {key_size} {value_size} {max_entries}")?;
        }
        for (index, program) in self.programs.iter().enumerate() {
            writeln!(f, "program {index}: {}", program.prog_type.map_or("raw", |t| t.name))?;
            for (at, insn, op, wide) in instructions(&program.insns) {
                match op {
                    Some(op) => writeln!(f, "{at:4}: {}", disassemble(op, insn, wide, &()))?,
                    None => writeln!(f, "{at:4}: {insn:?}")?,
                }
            }
        }
        for input in &self.inputs {
            writeln!(f, "input {:x?}", input.data)?;
        }
        Ok(())
    }
}
