//! A program as the engines take it.

use std::sync::Arc;

use skep_vm::isa::Insn;
use skep_vm::prog::ProgType;

use crate::btf::TypeId;
use crate::core::CoreSite;
use crate::error::LoadError;

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
    /// The `.kconfig` variables that it reads and that have no value yet.
    pub(crate) unset: Vec<LoadError>,
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
