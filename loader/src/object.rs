//! An object as the rest of skep sees it.

use std::sync::Arc;

use crate::btf::{Btf, BtfExt};
use crate::bytes::{Endian, until_nul};
use crate::code::Code;
use crate::core::CoreRelocs;
use crate::elf::Elf;
use crate::error::{KCONFIG, LoadError, Site};
use crate::graph::callees;
use crate::link::Linker;
use crate::listing::{CoreRelocation, Extern, Relocation, core_relocations, externs, relocations};
use crate::maps::{DataKind, MapDecl, Maps, Variable, fill, round_ring};
use crate::program::ProgramDef;
use crate::reloc::CodeRelocs;

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
        let filled = fill(&elf, &code, &mut maps)?;
        let core = btf.as_ref().map(|btf| CoreRelocs::collect(btf, &ext)).unwrap_or_default();
        let types = btf.as_ref().map(|btf| (btf, &ext));
        let mut linker = Linker::new(&elf, &code, &relocs, &core, &maps, types);
        let mut programs = Vec::new();
        for (number, function) in code.functions().iter().enumerate() {
            if function.is_program {
                programs.extend(linker.program(number));
            }
        }
        for program in &mut programs {
            program.problem = program.problem.take().map(|problem| problem.in_object(name));
            for problem in program.unset.iter_mut().chain(&mut program.more) {
                *problem = problem.clone().in_object(name);
            }
        }
        Ok(Self {
            name: name.to_owned(),
            license: license(&elf),
            endian: elf.endian(),
            programs,
            externs: externs(&elf, &relocs, &maps, btf.as_ref()),
            relocations: relocations(&elf, &code, &relocs, &filled),
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
            decl.data.iter().flat_map(move |data| data.vars.iter().map(move |var| (map, var)))
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
            let error = LoadError::NoMap { site, name: name.into(), have };
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
        let (map, var) = self.find_global(name).map_err(|e| e.in_object(&self.name))?;
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
                || name.split_once(':').is_some_and(|(s, n)| s == section && n == var.name)
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
    let Some(section) = elf.section(".BTF").filter(|section| !section.data.is_empty()) else {
        return Ok((None, BtfExt::default()));
    };
    let btf = Btf::parse(section.data)?;
    if btf.endian() != elf.endian() {
        let site = Site::section(".BTF");
        let reason = "the byte order differs from that of the object".into();
        return Err(LoadError::Btf { site, reason });
    }
    let ext = match elf.section(".BTF.ext").filter(|section| !section.data.is_empty()) {
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
