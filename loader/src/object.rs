//! An object as the rest of skep sees it.

use std::sync::Arc;

use skep_vm::isa::Insn;
use skep_vm::prog::ProgType;

use crate::btf::{Btf, BtfExt, CoreKind, Linkage, Type, TypeId};
use crate::bytes::{Endian, until_nul};
use crate::code::Code;
use crate::core::{CoreRelocs, CoreSite};
use crate::elf::{Bind, Elf, Home, SymbolKind, reloc_name};
use crate::error::{KCONFIG, LoadError, Site};
use crate::link::{Linker, callees};
use crate::maps::{DataKind, MapDecl, Maps, Role, Variable, fill, role, round_ring};
use crate::reloc::{CodeRelocs, Target};

/// A parsed object: programs linked, maps described, nothing created.
///
/// Equal bytes give equal objects; nothing else is read.
#[derive(Debug, Clone)]
pub struct Object {
    name: String,
    license: Option<String>,
    endian: Endian,
    programs: Vec<ProgramDef>,
    maps: Vec<MapDecl>,
    btf: Option<Arc<Btf>>,
    externs: Vec<Extern>,
    relocations: Vec<Relocation>,
    core: Vec<CoreRelocation>,
}

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
    /// relative, maps are indexes into [`Object::maps`].
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
    /// The map of that index in [`Object::maps`].
    Map(usize),
    /// A byte of the value of a map that holds variables.
    Variable {
        /// Index in [`Object::maps`].
        map: usize,
        /// Offset in bytes.
        offset: u32,
    },
    /// A weak symbol that is not there: null for variables, a call that faults for
    /// functions.
    Missing,
    /// Nothing; programs that reach it have a [`ProgramDef::problem`].
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

impl Object {
    /// Parses an object and links its programs. `name` (a file's name) stands in
    /// messages only.
    ///
    /// # Errors
    /// Fails when the object as a whole is unusable: not ELF for BPF, damaged
    /// tables, malformed BTF, a map definition that makes no sense. What concerns
    /// one program is in its [`ProgramDef::problem`].
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, LoadError> {
        Self::read(name, bytes).map_err(|error| error.in_object(name))
    }

    fn read(name: &str, bytes: &[u8]) -> Result<Self, LoadError> {
        let elf = Elf::parse(bytes)?;
        let (btf, ext) = read_btf(&elf)?;
        let mut maps = Maps::collect(&elf, btf.as_ref())?;
        let mut code = Code::collect(&elf)?;
        let relocs = CodeRelocs::resolve(&elf, &code, &maps);
        let mut called = vec![false; code.functions().len()];
        for callee in callees(&code, &relocs).into_iter().flatten() {
            if let Some(called) = called.get_mut(callee) {
                *called = true;
            }
        }
        code.mark_programs(&elf, &called);
        fill(&elf, &code, &mut maps)?;
        let core = btf
            .as_ref()
            .map(|btf| CoreRelocs::collect(btf, &ext))
            .unwrap_or_default();
        let types = btf.as_ref().map(|btf| (btf, &ext));
        let mut linker = Linker::new(&elf, &code, &relocs, &core, &maps, types);
        let mut programs = Vec::new();
        for (number, function) in code.functions().iter().enumerate() {
            if function.is_program {
                programs.extend(linker.program(number));
            }
        }
        for program in &mut programs {
            program.problem = program
                .problem
                .take()
                .map(|problem| problem.in_object(name));
            for problem in &mut program.unset {
                *problem = problem.clone().in_object(name);
            }
        }
        Ok(Self {
            name: name.to_owned(),
            license: license(&elf),
            endian: elf.endian(),
            programs,
            externs: externs(&elf, &relocs, &maps, btf.as_ref()),
            relocations: relocations(&elf, &code, &relocs, &maps),
            core: core_relocations(&core),
            maps: maps.decls,
            btf: btf.map(Arc::new),
        })
    }

    /// The name that the object was parsed under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of the `license` section, if there is one.
    #[must_use]
    pub fn license(&self) -> Option<&str> {
        self.license.as_deref()
    }

    /// The byte order of code and data.
    #[must_use]
    pub fn endian(&self) -> Endian {
        self.endian
    }

    /// The programs in file order: by section, then by place.
    #[must_use]
    pub fn programs(&self) -> &[ProgramDef] {
        &self.programs
    }

    /// The maps: those of legacy sections, of `.maps`, data sections, `.kconfig`.
    /// Instructions refer to them by index in this list.
    #[must_use]
    pub fn maps(&self) -> &[MapDecl] {
        &self.maps
    }

    /// The object's types.
    #[must_use]
    pub fn btf(&self) -> Option<&Arc<Btf>> {
        self.btf.as_ref()
    }

    /// Symbols that the object uses and does not define, in file order.
    #[must_use]
    pub fn externs(&self) -> &[Extern] {
        &self.externs
    }

    /// The relocations of code and of map definitions, by section and place.
    #[must_use]
    pub fn relocations(&self) -> &[Relocation] {
        &self.relocations
    }

    /// The CO-RE relocations, by section name and place.
    #[must_use]
    pub fn core_relocations(&self) -> &[CoreRelocation] {
        &self.core
    }

    /// The global variables with the index of their map, by map and offset.
    pub fn globals(&self) -> impl Iterator<Item = (usize, &Variable)> {
        self.maps.iter().enumerate().flat_map(|(map, decl)| {
            decl.data
                .iter()
                .flat_map(move |data| data.vars.iter().map(move |var| (map, var)))
        })
    }

    /// Sets how many entries a map gets; rings are rounded up to a power of two of
    /// pages, as libbpf does.
    ///
    /// # Errors
    /// [`LoadError::NoMap`], whose help lists the maps there are.
    pub fn set_max_entries(&mut self, name: &str, max_entries: u32) -> Result<(), LoadError> {
        let Some(decl) = self.maps.iter_mut().find(|decl| decl.def.name == name) else {
            let have = list(self.maps.iter().map(|decl| decl.def.name.as_str()));
            let site = Site::default();
            let error = LoadError::NoMap {
                site,
                name: name.into(),
                have,
            };
            return Err(error.in_object(&self.name));
        };
        decl.def.max_entries = max_entries;
        round_ring(&mut decl.def);
        Ok(())
    }

    /// Sets a global variable of any data section, or a `.kconfig` value, by name or
    /// as `section:name`. `bytes` are in the object's byte order.
    ///
    /// # Errors
    /// [`LoadError::NoGlobal`] and [`LoadError::AmbiguousGlobal`], whose help lists
    /// the variables there are, and [`LoadError::GlobalSize`].
    pub fn set_global(&mut self, name: &str, bytes: &[u8]) -> Result<(), LoadError> {
        let (map, var) = self
            .find_global(name)
            .map_err(|e| e.in_object(&self.name))?;
        let var = var.clone();
        let Some(decl) = self.maps.get_mut(map) else {
            return Ok(());
        };
        if bytes.len() != var.size as usize {
            let error = LoadError::GlobalSize {
                site: Site::section(&decl.section),
                name: var.name.into(),
                want: var.size,
                got: bytes.len(),
            };
            return Err(error.in_object(&self.name));
        }
        let Some(data) = &mut decl.data else {
            return Ok(());
        };
        let start = var.offset as usize;
        let end = start + bytes.len();
        if data.bytes.len() < end {
            data.bytes.resize(end, 0);
        }
        if let Some(place) = data.bytes.get_mut(start..end) {
            place.copy_from_slice(bytes);
        }
        if data.kind == DataKind::Kconfig {
            self.answer(&var.name);
        }
        Ok(())
    }

    /// A `.kconfig` value has been given: programs that waited for it may load.
    fn answer(&mut self, name: &str) {
        let about = |error: &LoadError| matches!(error, LoadError::Undefined { what: KCONFIG, symbol, .. } if **symbol == *name);
        for program in &mut self.programs {
            program.unset.retain(|error| !about(error));
            if program.problem.as_ref().is_some_and(about) {
                program.problem = program.unset.first().cloned();
            }
        }
    }

    fn find_global(&self, name: &str) -> Result<(usize, &Variable), LoadError> {
        let matches = |(map, var): &(usize, &Variable)| {
            let section = self.maps.get(*map).map_or("", |decl| &decl.section);
            var.name == name
                || name
                    .split_once(':')
                    .is_some_and(|(s, n)| s == section && n == var.name)
        };
        let mut found = self.globals().filter(matches);
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => Err(LoadError::NoGlobal {
                site: Site::default(),
                name: name.into(),
                have: list(self.globals().map(|(_, var)| var.name.as_str())),
            }),
            (Some(_), Some(_)) => {
                let full = self.globals().filter(matches).map(|(map, var)| {
                    let section = self.maps.get(map).map_or("", |decl| &decl.section);
                    format!("{section}:{}", var.name)
                });
                let full: Vec<String> = full.collect();
                Err(LoadError::AmbiguousGlobal {
                    site: Site::default(),
                    name: name.into(),
                    have: list(full.iter().map(String::as_str)),
                })
            }
        }
    }
}

/// Names as people read them; after twenty the rest is counted.
fn list<'a>(names: impl Iterator<Item = &'a str>) -> Box<str> {
    const MOST: usize = 20;
    let names: Vec<&str> = names.collect();
    let mut text = names.get(..MOST).unwrap_or(&names).join("`, `");
    if !text.is_empty() {
        text = format!("`{text}`");
    }
    if names.len() > MOST {
        text = format!("{text} and {} more", names.len() - MOST);
    }
    text.into()
}

fn read_btf(elf: &Elf<'_>) -> Result<(Option<Btf>, BtfExt), LoadError> {
    let Some(section) = elf
        .section(".BTF")
        .filter(|section| !section.data.is_empty())
    else {
        return Ok((None, BtfExt::default()));
    };
    let btf = Btf::parse(section.data)?;
    if btf.endian() != elf.endian() {
        let site = Site::section(".BTF");
        let reason = "the byte order differs from that of the object".into();
        return Err(LoadError::Btf { site, reason });
    }
    let ext = match elf
        .section(".BTF.ext")
        .filter(|section| !section.data.is_empty())
    {
        Some(section) => BtfExt::parse(section.data, &btf)?,
        None => BtfExt::default(),
    };
    Ok((Some(btf), ext))
}

fn license(elf: &Elf<'_>) -> Option<String> {
    let data = elf.section("license")?.data;
    let text = until_nul(data, data.len()).unwrap_or(data);
    Some(String::from_utf8_lossy(text).into_owned())
}

fn externs(elf: &Elf<'_>, relocs: &CodeRelocs, maps: &Maps, btf: Option<&Btf>) -> Vec<Extern> {
    let mut called = vec![false; elf.symbols().len()];
    for (_, reloc) in relocs.iter() {
        if reloc.is_call
            && let Some(called) = called.get_mut(reloc.symbol)
        {
            *called = true;
        }
    }
    let kconfig = maps.decls.iter().filter_map(|decl| decl.data.as_ref());
    let kconfig: Vec<&str> = kconfig
        .filter(|data| data.kind == DataKind::Kconfig)
        .flat_map(|data| data.vars.iter().map(|var| var.name.as_str()))
        .collect();
    let undefined = elf.symbols().iter().zip(called).filter(|(symbol, _)| {
        symbol.place == Home::Undefined
            && symbol.bind != Bind::Local
            && symbol.kind != SymbolKind::Section
            && !symbol.name.is_empty()
    });
    undefined
        .map(|(symbol, called)| {
            let found = btf.and_then(|btf| {
                btf.by_name(&symbol.name).find_map(|(id, ty)| match ty {
                    Type::Func {
                        linkage: Linkage::Extern,
                        ..
                    } => Some((id, true)),
                    Type::Var {
                        target,
                        linkage: Linkage::Extern,
                        ..
                    } => Some((*target, false)),
                    _ => None,
                })
            });
            let is_function = found.map_or(called, |(_, is_function)| is_function);
            Extern {
                name: Arc::clone(&symbol.name),
                kind: match is_function {
                    true => ExternKind::Function,
                    false if kconfig.contains(&&*symbol.name) => ExternKind::Kconfig,
                    false => ExternKind::Variable,
                },
                weak: symbol.bind == Bind::Weak,
                type_id: found.map(|(id, _)| id),
            }
        })
        .collect()
}

fn relocations(elf: &Elf<'_>, code: &Code, relocs: &CodeRelocs, maps: &Maps) -> Vec<Relocation> {
    let name = |section: usize| {
        elf.sections()
            .get(section)
            .map_or_else(|| "".into(), |s| Arc::clone(&s.name))
    };
    let symbol = |number: usize| {
        elf.symbols()
            .get(number)
            .map_or_else(|| "".into(), |symbol| elf.symbol_name(symbol))
    };
    let function = |number: usize| {
        code.functions()
            .get(number)
            .map_or_else(|| "".into(), |f| Arc::clone(&f.name))
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
    // Those in map definitions have been checked when the maps were filled.
    let places = maps.index();
    for (number, section) in elf.sections().iter().enumerate() {
        if role(&section.name) != Role::Maps {
            continue;
        }
        for reloc in &section.relocs {
            let Some(target) = elf.symbols().get(reloc.symbol) else {
                continue;
            };
            let definition = target
                .section()
                .and_then(|home| places.definition(home, target.value));
            all.push(Relocation {
                section: name(number),
                offset: reloc.offset,
                kind: reloc_name(reloc.kind),
                symbol: symbol(reloc.symbol),
                target: match definition {
                    Some(map) => Reference::Map(map),
                    None => Reference::Function(symbol(reloc.symbol)),
                },
            });
        }
    }
    all
}

fn core_relocations(core: &CoreRelocs) -> Vec<CoreRelocation> {
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
