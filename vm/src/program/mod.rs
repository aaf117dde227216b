//! A program, ready to run: its instructions decoded once, its functions known, its
//! maps resolved.

mod decode;
mod error;
mod stack;

use std::fmt;
use std::sync::Arc;

use skep_maps::Map;

pub(crate) use decode::{Code, Decoded, Function};
pub(crate) use error::Mistake;
pub use error::{ProgramError, ProgramErrorKind};
pub(crate) use stack::{FRAME_SIZE, StackUse};

use crate::interp::Compiled;
use crate::isa::{Insn, Names, disassemble};
use crate::machine::Machine;
use crate::prog::ProgType;

/// What a program is made from.
#[derive(Debug, Clone, Default)]
pub struct ProgramSpec {
    /// The program's name, for people.
    pub name: String,
    /// Its type; `None` for one that gets plain memory as its context.
    pub prog_type: Option<&'static ProgType>,
    /// Its slots: the entry function first. Calls and jumps are relative; maps are named
    /// by `lddw` of their index in `maps` (`BPF_PSEUDO_MAP_IDX` and `_IDX_VALUE`).
    pub insns: Vec<Insn>,
    /// The maps it uses.
    pub maps: Vec<Arc<dyn Map>>,
    /// Names of functions by their first slot.
    pub functions: Vec<(u32, String)>,
    /// Source lines, ascending by slot.
    pub lines: Vec<SourceLine>,
    /// Reasons why reaching a slot is a fault, by slot.
    pub poisoned: Vec<(u32, String)>,
}

/// A source line, and the slot from which on it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLine {
    /// The first slot of the line.
    pub insn: u32,
    /// The file's name, as the compiler was given it.
    pub file: Arc<str>,
    /// The line's number, from 1.
    pub line: u32,
    /// The column, from 1; 0 when it is not known.
    pub column: u32,
    /// The line's text.
    pub text: Arc<str>,
}

/// A loaded program.
pub struct Program {
    id: u32,
    spec: ProgramSpec,
    code: Code,
    compiled: Compiled,
}

impl Program {
    pub(crate) fn new(id: u32, machine: &Machine, spec: ProgramSpec) -> Result<Self, ProgramError> {
        let code = decode::decode(&spec).map_err(|e| e.at(&spec))?;
        let compiled = Compiled::new(machine, &spec, &code).map_err(|e| e.at(&spec))?;
        Ok(Self { id, spec, code, compiled })
    }

    /// The program's id: unique in its machine, from 1.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The program's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// The program's type.
    #[must_use]
    pub fn prog_type(&self) -> Option<&'static ProgType> {
        self.spec.prog_type
    }

    /// What must agree among the programs of a program array: the type's number.
    pub(crate) fn kind(&self) -> u32 {
        self.spec.prog_type.map_or(0, |t| t.id)
    }

    /// The slots.
    #[must_use]
    pub fn insns(&self) -> &[Insn] {
        &self.spec.insns
    }

    /// The maps that it names, in the order of their indexes.
    #[must_use]
    pub fn maps(&self) -> &[Arc<dyn Map>] {
        &self.spec.maps
    }

    /// The number of instructions; a `lddw` is one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.code.insns.len()
    }

    /// Whether there are no instructions; there always are.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.code.insns.is_empty()
    }

    pub(crate) fn code(&self) -> &Code {
        &self.code
    }

    pub(crate) fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    /// The slot of an instruction.
    pub(crate) fn slot(&self, index: usize) -> u32 {
        self.code.insns.get(index).map_or(0, |insn| insn.slot)
    }

    /// The source line that a slot belongs to.
    #[must_use]
    pub fn source_line(&self, slot: u32) -> Option<&SourceLine> {
        self.spec.source_line(slot)
    }

    /// The function that a slot belongs to, when it has a name.
    #[must_use]
    pub fn function_at(&self, slot: u32) -> Option<&str> {
        let names = self.spec.functions.iter().filter(|(start, _)| *start <= slot);
        names.max_by_key(|(start, _)| *start).map(|(_, name)| name.as_str())
    }

    /// Why reaching a slot is a fault.
    pub(crate) fn poison(&self, slot: u32) -> Option<&str> {
        let found = self.spec.poisoned.iter().find(|(at, _)| *at == slot);
        found.map(|(_, why)| why.as_str())
    }

    /// The text of an instruction.
    pub(crate) fn text(&self, index: usize) -> String {
        let Some(decoded) = self.code.insns.get(index) else {
            return String::new();
        };
        let names = ProgramNames { spec: &self.spec, slot: decoded.slot };
        disassemble(decoded.op, decoded.insn, decoded.wide, &names)
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, spec, .. } = self;
        f.debug_struct("Program")
            .field("id", id)
            .field("name", &spec.name)
            .field("type", &spec.prog_type.map(|t| t.name))
            .field("insns", &spec.insns.len())
            .finish_non_exhaustive()
    }
}

impl ProgramSpec {
    pub(crate) fn source_line(&self, slot: u32) -> Option<&SourceLine> {
        let behind = self.lines.partition_point(|line| line.insn <= slot);
        self.lines.get(behind.checked_sub(1)?)
    }
}

/// Names as one instruction of a program sees them.
struct ProgramNames<'p> {
    spec: &'p ProgramSpec,
    slot: u32,
}

impl Names for ProgramNames<'_> {
    fn helper(&self, id: i32) -> Option<String> {
        Some(format!("{}#{id}", crate::helpers::by_id(id.cast_unsigned())?.name))
    }

    fn map(&self, index: i32) -> Option<String> {
        let map = self.spec.maps.get(usize::try_from(index).ok()?)?;
        Some(map.core().def().name.clone())
    }

    fn function(&self, distance: i32) -> Option<String> {
        let target = i64::from(self.slot) + 1 + i64::from(distance);
        let named = self.spec.functions.iter().find(|(start, _)| i64::from(*start) == target);
        named.map(|(_, name)| name.clone())
    }
}
