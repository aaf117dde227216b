//! What each relocated instruction refers to.
//!
//! Relocation types are not trusted, for compilers have used several for one
//! meaning: the instruction says what is wanted (a call or a 64-bit load), the
//! symbol says what is meant. Addends are implicit, in the instruction:
//!
//! | instruction | symbol | refers to |
//! |---|---|---|
//! | `lddw` | section | section + imm, in bytes |
//! | `lddw` | variable, function | symbol + imm; in gcc's objects imm includes the symbol's address |
//! | `lddw` | map | the symbol alone |
//! | `call` | section | section + 8 × (imm + 1) |
//! | `call` | function | the symbol alone (clang leaves −1 in imm, gcc the symbol's address − 1) |

use std::collections::BTreeMap;

use skep_vm::isa::Insn;

use crate::code::{Code, SLOT};
use crate::elf::{Bind, Elf, Home, Reloc, Symbol, SymbolKind, reloc_name};
use crate::encoding::{CALL, LDDW};
use crate::error::{KCONFIG, LoadError, Site};
use crate::maps::{MapIndex, Maps, Role, role};

/// What a relocated instruction refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A function of the object, as an index.
    Function(usize),
    /// A map, as an index.
    Map(usize),
    /// A byte of the value of a map that holds variables.
    Value { map: usize, offset: u32 },
    /// A weak symbol that is not there, by symbol index.
    Missing(usize),
}

/// A relocated instruction.
#[derive(Debug)]
pub(crate) struct CodeReloc {
    /// Its slot in the section.
    pub(crate) slot: usize,
    pub(crate) offset: u64,
    pub(crate) kind: u32,
    pub(crate) symbol: usize,
    pub(crate) is_call: bool,
    pub(crate) target: Result<Target, Problem>,
}

impl CodeReloc {
    /// The problem in full, when there is one.
    pub(crate) fn error(&self, elf: &Elf<'_>, section: &str) -> Option<LoadError> {
        let problem = self.target.as_ref().err()?;
        let site = Site::at(section, self.offset);
        let symbol = elf.symbols().get(self.symbol);
        let symbol = symbol.map(|symbol| Box::from(&*elf.symbol_name(symbol))).unwrap_or_default();
        Some(match problem {
            Problem::Undefined(what) => LoadError::Undefined { site, what, symbol },
            other => LoadError::Relocation {
                site,
                kind: reloc_name(self.kind),
                symbol,
                reason: other.reason(elf).into(),
            },
        })
    }
}

/// All relocated instructions by section, ordered by slot.
#[derive(Debug, Default)]
pub(crate) struct CodeRelocs(BTreeMap<usize, Vec<CodeReloc>>);

impl CodeRelocs {
    pub(crate) fn resolve(elf: &Elf<'_>, code: &Code, maps: &Maps) -> Self {
        let index = maps.index();
        let questions = index.kconfig.and_then(|map| maps.decls.get(map)?.data.as_ref());
        let questions = questions.iter().flat_map(|data| &data.vars);
        let questions = questions.map(|var| (var.name.as_str(), var.offset)).collect();
        let resolver = Resolver { elf, code, questions, index, gcc: elf.is_gcc() };
        let mut all = BTreeMap::new();
        for (number, section) in elf.sections().iter().enumerate() {
            if section.is_code() {
                let relocs = section.relocs.iter();
                let mut relocs: Vec<_> =
                    relocs.filter_map(|reloc| resolver.resolve(number, reloc)).collect();
                // An instruction has room for one reference.
                relocs.dedup_by_key(|reloc| reloc.slot);
                all.insert(number, relocs);
            }
        }
        Self(all)
    }

    /// The relocated instructions of a section from slot `start` up to `end`.
    pub(crate) fn range(&self, section: usize, start: usize, end: usize) -> &[CodeReloc] {
        let all = self.0.get(&section).map_or(&[][..], Vec::as_slice);
        let first = all.partition_point(|reloc| reloc.slot < start);
        let last = all.partition_point(|reloc| reloc.slot < end);
        all.get(first..last).unwrap_or_default()
    }

    /// All of them with their section.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &CodeReloc)> {
        self.0.iter().flat_map(|(&section, relocs)| relocs.iter().map(move |r| (section, r)))
    }
}

struct Resolver<'a> {
    elf: &'a Elf<'a>,
    code: &'a Code,
    /// Offset of each `.kconfig` variable.
    questions: BTreeMap<&'a str, u32>,
    index: MapIndex,
    /// The object comes from gcc and gas.
    gcc: bool,
}

impl Resolver<'_> {
    /// `None` for entries that mean nothing.
    fn resolve(&self, section: usize, reloc: &Reloc) -> Option<CodeReloc> {
        let slot = crate::bytes::index(reloc.offset / SLOT);
        let insn = self.code.insns(section).get(slot).copied();
        let wanted = insn.is_some_and(|insn| matches!(insn.code, CALL | LDDW));
        // R_BPF_NONE was the only type of LLVM 3.7, so it may mean something.
        if reloc.kind == 0 && !wanted {
            return None;
        }
        let target = self.target(section, reloc, insn);
        Some(CodeReloc {
            slot,
            offset: reloc.offset,
            kind: reloc.kind,
            symbol: reloc.symbol,
            is_call: insn.is_some_and(|insn| insn.code == CALL),
            target,
        })
    }

    fn target(&self, section: usize, reloc: &Reloc, insn: Option<Insn>) -> Result<Target, Problem> {
        let insn = insn
            .filter(|_| reloc.offset.is_multiple_of(SLOT))
            .ok_or("its place is not an instruction")?;
        let symbol = self.elf.symbols().get(reloc.symbol).ok_or("the symbol is missing")?;
        let by_section = symbol.kind == SymbolKind::Section;
        match (insn.code, symbol.place) {
            (CALL, Home::Section(home)) => {
                let addend = match by_section {
                    true => (i64::from(insn.imm) + 1) * SLOT.cast_signed(),
                    false => 0,
                };
                let offset = symbol.value.wrapping_add_signed(addend.wrapping_add(reloc.addend));
                self.function(home, offset)
            }
            (CALL, Home::Undefined) => match symbol.bind {
                Bind::Weak => Ok(Target::Missing(reloc.symbol)),
                _ => Err(Problem::Undefined("function")),
            },
            (LDDW, Home::Section(home)) => {
                let slot = crate::bytes::index(reloc.offset / SLOT);
                let second = self.code.insns(section).get(slot + 1);
                if second.is_none_or(|second| second.code != 0) {
                    return Err("the 64-bit load has no second slot".into());
                }
                let addend = self.addend(home, symbol, insn).wrapping_add(reloc.addend);
                self.address(home, symbol.value.wrapping_add_signed(addend))
            }
            (LDDW, Home::Undefined) => self.variable(reloc.symbol),
            (CALL | LDDW, Home::Absolute) => Err("the symbol is an absolute number".into()),
            (CALL | LDDW, Home::Common) => {
                Err("the symbol is common storage; compile with `-fno-common`".into())
            }
            (code, _) => Err(Problem::Instruction(code)),
        }
    }

    /// What the immediate of a 64-bit load adds to its symbol.
    fn addend(&self, home: usize, symbol: &Symbol, insn: Insn) -> i64 {
        let imm = i64::from(insn.imm);
        if symbol.kind == SymbolKind::Section {
            return imm;
        }
        let role = self.elf.sections().get(home).map(|section| role(&section.name));
        if matches!(role, Some(Role::Maps | Role::LegacyMaps)) {
            return 0;
        }
        match i64::try_from(symbol.value) {
            // gas before 2.41 adds the symbol's address twice.
            Ok(value) if self.gcc && imm >= value => imm - value,
            _ => imm,
        }
    }

    fn function(&self, section: usize, offset: u64) -> Result<Target, Problem> {
        self.code
            .at(section, offset)
            .map(Target::Function)
            .ok_or(Problem::NoFunction { section, offset })
    }

    /// What stands at a byte of a section.
    fn address(&self, home: usize, offset: u64) -> Result<Target, Problem> {
        let section = self.elf.sections().get(home).ok_or("the section is missing")?;
        if section.is_code() {
            return self.function(home, offset);
        }
        if let Some(map) = self.index.data(home) {
            // One past the end is a valid address in C.
            return match u32::try_from(offset).ok().filter(|_| offset <= section.size) {
                Some(offset) => Ok(Target::Value { map, offset }),
                None => Err(Problem::OutsideData { section: home, offset }),
            };
        }
        match role(&section.name) {
            Role::Maps | Role::LegacyMaps => self
                .index
                .definition(home, offset)
                .map(Target::Map)
                .ok_or(Problem::NoMap { section: home, offset }),
            _ if section.name.starts_with(".addr_space.") => {
                Err("variables in arenas are not supported yet".into())
            }
            _ => Err(Problem::NotData { section: home }),
        }
    }

    /// An undefined variable: a question to the kernel, or a kernel symbol.
    fn variable(&self, number: usize) -> Result<Target, Problem> {
        let symbol = self.elf.symbols().get(number).ok_or("the symbol is missing")?;
        if let (Some(map), Some(&offset)) = (self.index.kconfig, self.questions.get(&*symbol.name))
        {
            return Ok(Target::Value { map, offset });
        }
        match symbol.bind {
            Bind::Weak => Ok(Target::Missing(number)),
            _ => Err(Problem::Undefined("variable")),
        }
    }
}

/// Why a relocation cannot be resolved; [`CodeReloc::error`] adds the place. Small,
/// for an object can hold millions of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    Undefined(&'static str),
    Other(&'static str),
    Instruction(u8),
    NoFunction { section: usize, offset: u64 },
    NoMap { section: usize, offset: u64 },
    OutsideData { section: usize, offset: u64 },
    NotData { section: usize },
}

impl Problem {
    fn reason(&self, elf: &Elf<'_>) -> String {
        let name = |section: usize| elf.sections().get(section).map_or("", |s| &*s.name);
        match *self {
            Self::Undefined(what) => format!("the {what} is not defined in the object"),
            Self::Other(reason) => reason.to_owned(),
            Self::Instruction(code) => {
                format!("instruction {code:#04x} is neither a call nor a 64-bit load")
            }
            Self::NoFunction { section, offset } => {
                format!("no function starts at {}+{offset:#x}", name(section))
            }
            Self::NoMap { section, offset } => {
                format!("no map is defined at {}+{offset:#x}", name(section))
            }
            Self::OutsideData { section, offset } => {
                format!("offset {offset:#x} is outside section `{}`", name(section))
            }
            Self::NotData { section } => {
                format!("section `{}` holds neither code, maps nor variables", name(section))
            }
        }
    }
}

impl From<&'static str> for Problem {
    fn from(reason: &'static str) -> Self {
        Self::Other(reason)
    }
}

/// A strong `.kconfig` variable without a value, as the error of the program that
/// reads it.
pub(crate) fn unset(section: &str, slot: usize, name: &str) -> LoadError {
    LoadError::Undefined {
        site: Site::at(section, slot as u64 * SLOT),
        what: KCONFIG,
        symbol: name.into(),
    }
}
