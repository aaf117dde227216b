//! A program as the engines take it.

use std::sync::Arc;

use skep_vm::isa::Insn;
use skep_vm::prog::ProgType;

use crate::btf::TypeId;
use crate::code::SLOT;
use crate::core::CoreSite;
use crate::error::{LoadError, Site};

/// A program, complete in itself.
#[derive(Debug, Clone)]
pub struct ProgramDef {
    /// The name of its entry function.
    pub name: Arc<str>,
    /// The ELF section, as written.
    pub section: Arc<str>,
    /// The type that the section's name says, if it says one.
    pub prog_type: Option<&'static ProgType>,
    /// Whether it is to be loaded unless someone says otherwise: a section that
    /// starts with `?` is not (libbpf `SEC("?…")`).
    pub autoload: bool,
    /// The entry function and then every function that it reaches, each once. All
    /// references are in the kernel's encoding: calls and function addresses are
    /// relative, maps are indexes into [`Object::maps`](crate::Object::maps).
    pub insns: Vec<Insn>,
    /// The functions, ordered by start.
    pub funcs: Vec<Func>,
    /// Source lines, ordered by instruction; empty without BTF.
    pub lines: Vec<Line>,
    /// Places that CO-RE relocations touch, function by function.
    pub core: Vec<CoreSite>,
    /// Why the program cannot be loaded, when it cannot; instructions that could
    /// not be relocated are as the compiler left them.
    pub problem: Option<LoadError>,
    /// What else is wrong with its references.
    pub(crate) more: Vec<LoadError>,
    /// The `.kconfig` variables that it reads and that have no value yet.
    pub(crate) unset: Vec<LoadError>,
}

impl ProgramDef {
    /// All that keeps it from being loaded, as far as it was found: [`ProgramDef::problem`]
    /// first.
    pub fn problems(&self) -> impl Iterator<Item = &LoadError> {
        let unset = self.unset.iter().filter(|unset| self.problem.as_ref() != Some(*unset));
        self.problem.iter().chain(&self.more).chain(unset)
    }

    /// The instruction of the program, in slots, that stands at a place of the object;
    /// `None` when none does.
    #[must_use]
    pub fn insn_at(&self, site: &Site) -> Option<u32> {
        let slot = u32::try_from(site.offset()? / SLOT).ok()?;
        let ends = self.funcs.iter().skip(1).map(|func| func.start);
        let ends = ends.chain([u32::try_from(self.insns.len()).ok()?]);
        let mut funcs = self.funcs.iter().zip(ends);
        funcs.find_map(|(func, end)| {
            let at = func.start.checked_add(slot.checked_sub(func.slot)?)?;
            (*func.section == *site.section_name() && at < end).then_some(at)
        })
    }

    /// The source line of an instruction.
    #[must_use]
    pub fn line_at(&self, insn: u32) -> Option<&Line> {
        let behind = self.lines.partition_point(|line| line.insn <= insn);
        self.lines.get(behind.checked_sub(1)?)
    }
}

/// A function of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Func {
    /// The name.
    pub name: Arc<str>,
    /// Its first instruction in the program, in slots.
    pub start: u32,
    /// Its `FUNC` type, where BTF tells it.
    pub type_id: Option<TypeId>,
    /// The ELF section that it stands in.
    pub section: Arc<str>,
    /// Its first instruction there, in slots.
    pub slot: u32,
}

/// The source line of an instruction and of those after it, up to the next entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The instruction in the program, in slots.
    pub insn: u32,
    /// The source file as the compiler was given it.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1; 0 when not known.
    pub column: u32,
    /// The line's text as it stood in the source.
    pub text: Arc<str>,
}
