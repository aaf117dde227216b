//! A program, ready to run: its instructions decoded once, its functions known, its
//! maps resolved.

mod decode;
mod error;
mod stack;

use std::fmt;
use std::sync::{Arc, OnceLock};

use skep_maps::Map;

pub(crate) use decode::{Code, Decoded};
pub(crate) use error::Mistake;
pub use error::{ProgramError, ProgramErrorKind};
pub(crate) use stack::{FRAME_SIZE, StackUse};

use crate::engine::Engine;
use crate::interp::Compiled;
use crate::ir::Ir;
use crate::isa::{Insn, Names, disassemble};
#[cfg(all(feature = "jit", target_arch = "x86_64"))]
use crate::jit::{Mode, Native, Refusal};
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
    ir: Ir,
    compiled: Compiled,
    window_len: u64,
    /// Native code: plain and counting.
    #[cfg(all(feature = "jit", target_arch = "x86_64"))]
    natives: [OnceLock<Result<Native, Refusal>>; 2],
}

impl Program {
    pub(crate) fn new(id: u32, machine: &Machine, spec: ProgramSpec) -> Result<Self, ProgramError> {
        let code = decode::decode(&spec).map_err(|e| e.at(&spec))?;
        let ir = Ir::new(machine, &spec, &code).map_err(|e| e.at(&spec))?;
        let compiled = Compiled::new(&ir);
        let window_len = machine.world().window().len();
        Ok(Self {
            id,
            spec,
            ir,
            compiled,
            window_len,
            #[cfg(all(feature = "jit", target_arch = "x86_64"))]
            natives: [const { OnceLock::new() }; 2],
        })
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
        self.ir.insns.len()
    }

    /// Whether there are no instructions; there always are.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ir.insns.is_empty()
    }

    /// Why the program runs in the interpreter when another engine is asked for; `None` when
    /// it does not.
    #[must_use]
    pub fn why_interpreted(&self, wanted: Engine) -> Option<String> {
        match wanted {
            Engine::Interp => None,
            #[cfg(all(feature = "jit", target_arch = "x86_64"))]
            Engine::Jit => self.compile().err().map(|refusal| refusal.to_string()),
        }
    }

    /// Makes native code of the program now, rather than when it first runs.
    ///
    /// # Errors
    ///
    /// [`Refusal`] when it cannot be; the program runs in the interpreter then.
    #[cfg(all(feature = "jit", target_arch = "x86_64"))]
    pub fn compile(&self) -> Result<(), Refusal> {
        self.native(Mode::Plain).map(|_| ()).map_err(Clone::clone)
    }

    /// The program in native code, which is made when it is first asked for; or why it
    /// cannot be.
    #[cfg(all(feature = "jit", target_arch = "x86_64"))]
    #[inline]
    pub(crate) fn native(&self, mode: Mode) -> Result<&Native, &Refusal> {
        let cell = &self.natives[usize::from(mode == Mode::Counting)];
        cell.get_or_init(|| Native::compile(self, mode)).as_ref()
    }

    /// The program in native code that does not count, if it has been made.
    #[cfg(all(feature = "jit", target_arch = "x86_64"))]
    #[inline]
    pub(crate) fn native_made(&self) -> Option<&Native> {
        self.natives[0].get()?.as_ref().ok()
    }

    /// Length in bytes of the window that the program runs in.
    #[cfg(all(feature = "jit", target_arch = "x86_64"))]
    pub(crate) fn window_len(&self) -> u64 {
        self.window_len
    }

    pub(crate) fn ir(&self) -> &Ir {
        &self.ir
    }

    pub(crate) fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    /// The slot of an instruction.
    pub(crate) fn slot(&self, index: usize) -> u32 {
        self.ir.insns.get(index).map_or(0, |insn| insn.slot)
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
        let Some(&crate::ir::Insn { op, slot, .. }) = self.ir.insns.get(index) else {
            return String::new();
        };
        let raw = |slot: u32| self.spec.insns.get(slot as usize).copied().unwrap_or_default();
        let (insn, second) = (raw(slot), raw(slot + 1));
        let wide =
            u64::from(insn.imm.cast_unsigned()) | u64::from(second.imm.cast_unsigned()) << 32;
        disassemble(op, insn, wide, &ProgramNames { spec: &self.spec, slot })
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
