//! What an object refers to, as lists for people: undefined symbols, relocations and
//! what they came to, CO-RE relocations.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::btf::{Btf, CoreKind, Linkage, Type, TypeId};
use crate::code::Code;
use crate::core::CoreRelocs;
use crate::elf::{Bind, Elf, Home, Symbol, SymbolKind, reloc_name};
use crate::maps::{DataKind, Filled, Init, Maps};
use crate::reloc::{CodeRelocs, Target};

/// A symbol that the object uses and does not define.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extern {
    /// The name.
    pub name: Arc<str>,
    /// What it is.
    pub kind: ExternKind,
    /// Whether it may stay undefined.
    pub weak: bool,
    /// Its `FUNC` or variable type, where BTF tells it.
    pub type_id: Option<TypeId>,
}

/// What an undefined symbol is, as BTF or its use tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExternKind {
    /// A function: a kfunc, or one of another object.
    Function,
    /// A variable of the kernel (`__ksym`).
    Variable,
    /// A question about the kernel (`__kconfig`).
    Kconfig,
}

impl ExternKind {
    /// As `skep inspect` prints it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Variable => "variable",
            Self::Kconfig => "kconfig",
        }
    }
}

/// A relocation and what it came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relocation {
    /// The section that is patched.
    pub section: Arc<str>,
    /// Where, in bytes.
    pub offset: u64,
    /// The type, as LLVM calls it.
    pub kind: &'static str,
    /// The symbol, or the section that a section symbol stands for.
    pub symbol: Arc<str>,
    /// What it refers to.
    pub target: Reference,
}

/// What a relocation refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// A function of that name.
    Function(Arc<str>),
    /// The map of that index in [`Object::maps`](crate::Object::maps).
    Map(usize),
    /// A byte of the value of a map that holds variables.
    Variable {
        /// Index in [`Object::maps`](crate::Object::maps).
        map: usize,
        /// Offset in bytes.
        offset: u32,
    },
    /// A weak symbol that is not there: null for variables, a call that faults for
    /// functions.
    Missing,
    /// Nothing; programs that reach it have a [`ProgramDef::problem`](crate::ProgramDef::problem).
    Unresolved,
}

/// A CO-RE relocation as it stands in the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreRelocation {
    /// The section of the instruction.
    pub section: Arc<str>,
    /// The instruction in its section, in slots.
    pub insn: u32,
    /// What it asks.
    pub kind: CoreKind,
    /// The root type of the access; [`Btf::c_name`] names it.
    pub type_id: TypeId,
    /// The access string: `0:1:2`.
    pub access: Arc<str>,
}

/// The symbol is for someone else to define.
pub(crate) fn is_extern(symbol: &Symbol) -> bool {
    symbol.place == Home::Undefined
        && symbol.bind != Bind::Local
        && symbol.kind != SymbolKind::Section
        && !symbol.name.is_empty()
}

pub(crate) fn externs(
    elf: &Elf<'_>,
    relocs: &CodeRelocs,
    maps: &Maps,
    btf: Option<&Btf>,
) -> Vec<Extern> {
    let mut called = vec![false; elf.symbols().len()];
    for (_, reloc) in relocs.iter() {
        if reloc.is_call
            && let Some(called) = called.get_mut(reloc.symbol)
        {
            *called = true;
        }
    }
    let kconfig = maps.decls.iter().filter_map(|decl| decl.data.as_ref());
    let kconfig: BTreeSet<&str> = kconfig
        .filter(|data| data.kind == DataKind::Kconfig)
        .flat_map(|data| data.vars.iter().map(|var| var.name.as_str()))
        .collect();
    let undefined = elf.symbols().iter().zip(called).filter(|(symbol, _)| is_extern(symbol));
    let types = btf.map(extern_types).unwrap_or_default();
    undefined
        .map(|(symbol, called)| {
            let found = types.get(&*symbol.name);
            let is_function = found.map_or(called, |&(_, is_function)| is_function);
            Extern {
                name: Arc::clone(&symbol.name),
                kind: match is_function {
                    true => ExternKind::Function,
                    false if kconfig.contains(&*symbol.name) => ExternKind::Kconfig,
                    false => ExternKind::Variable,
                },
                weak: symbol.bind == Bind::Weak,
                type_id: found.map(|&(id, _)| id),
            }
        })
        .collect()
}

/// The type of each symbol that BTF calls `extern`, and whether it is a function.
fn extern_types(btf: &Btf) -> BTreeMap<&str, (TypeId, bool)> {
    let mut types = BTreeMap::new();
    for (id, ty) in btf.types() {
        let found = match ty {
            Type::Func { linkage: Linkage::Extern, .. } => (id, true),
            Type::Var { target, linkage: Linkage::Extern, .. } => (*target, false),
            _ => continue,
        };
        types.entry(btf.name(id)).or_insert(found);
    }
    types
}

pub(crate) fn relocations(
    elf: &Elf<'_>,
    code: &Code,
    relocs: &CodeRelocs,
    filled: &[Filled],
) -> Vec<Relocation> {
    let name = |section: usize| {
        elf.sections().get(section).map_or_else(|| "".into(), |s| Arc::clone(&s.name))
    };
    let symbol = |number: usize| {
        elf.symbols().get(number).map_or_else(|| "".into(), |symbol| elf.symbol_name(symbol))
    };
    let function = |number: usize| {
        code.functions().get(number).map_or_else(|| "".into(), |f| Arc::clone(&f.name))
    };
    let mut all: Vec<Relocation> = relocs
        .iter()
        .map(|(section, reloc)| Relocation {
            section: name(section),
            offset: reloc.offset,
            kind: reloc_name(reloc.kind),
            symbol: symbol(reloc.symbol),
            target: match reloc.target {
                Ok(Target::Function(number)) => Reference::Function(function(number)),
                Ok(Target::Map(map)) => Reference::Map(map),
                Ok(Target::Value { map, offset }) => Reference::Variable { map, offset },
                Ok(Target::Missing(_)) => Reference::Missing,
                Err(_) => Reference::Unresolved,
            },
        })
        .collect();
    all.extend(filled.iter().map(|filled| Relocation {
        section: name(filled.section),
        offset: filled.reloc.offset,
        kind: reloc_name(filled.reloc.kind),
        symbol: symbol(filled.reloc.symbol),
        target: match &filled.init {
            Init::Map(map) => Reference::Map(*map),
            Init::Program(name) => Reference::Function(name.as_str().into()),
        },
    }));
    all
}

pub(crate) fn core_relocations(core: &CoreRelocs) -> Vec<CoreRelocation> {
    let mut all: Vec<CoreRelocation> = Vec::new();
    for (section, relo) in core.iter() {
        let section = match all.last() {
            Some(last) if &*last.section == section => Arc::clone(&last.section),
            _ => section.into(),
        };
        all.push(CoreRelocation {
            section,
            insn: u32::try_from(relo.slot).unwrap_or(u32::MAX),
            kind: relo.kind,
            type_id: relo.type_id,
            access: Arc::clone(&relo.access),
        });
    }
    all
}
