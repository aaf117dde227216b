//! Initial values: relocations inside `.maps` say which slot holds which map or
//! program.
//!
//! The relocation type has been 1, 2 and (gcc) 12 over the years; the place and the
//! symbol say all.

use crate::code::Code;
use crate::elf::{Elf, Home, Reloc, Section, SymbolKind, reloc_name};
use crate::error::{LoadError, Site};

use super::{Init, Maps, Place, Role, kind, role};

/// Size of a pointer in a definition, in bytes.
const SLOT: u64 = 8;

/// A relocation in a map definition and what it puts there.
#[derive(Debug)]
pub(crate) struct Filled {
    pub(crate) section: usize,
    pub(crate) reloc: Reloc,
    pub(crate) init: Init,
}

/// Fills `values` of the maps in `maps`.
pub(crate) fn fill(elf: &Elf<'_>, code: &Code, maps: &mut Maps) -> Result<Vec<Filled>, LoadError> {
    let index = maps.index();
    let mut filled = Vec::new();
    for (number, section) in elf.sections().iter().enumerate() {
        if role(&section.name) != Role::Maps {
            continue;
        }
        check_zero(number, section, maps)?;
        for reloc in &section.relocs {
            let Some(symbol) = elf.symbols().get(reloc.symbol) else {
                continue;
            };
            let fail = |reason: String| LoadError::Relocation {
                site: Site::at(&section.name, reloc.offset),
                kind: reloc_name(reloc.kind),
                symbol: Box::from(&*elf.symbol_name(symbol)),
                reason: reason.into(),
            };
            let map = index
                .definition(number, reloc.offset)
                .ok_or_else(|| fail("it is outside every map definition".to_owned()))?;
            let (Some(decl), Some(&Place::Definition { offset, values, .. })) =
                (maps.decls.get(map), maps.places.get(map))
            else {
                continue;
            };
            let name = &decl.def.name;
            let at = values
                .and_then(|values| reloc.offset.checked_sub(offset.checked_add(values)?))
                .filter(|at| at % SLOT == 0)
                .ok_or_else(|| fail(format!("it is not in the `values` of map `{name}`")))?;
            let slot = u32::try_from(at / SLOT)
                .map_err(|_| fail(format!("the slot of map `{name}` is out of range")))?;
            let Home::Section(home) = symbol.place else {
                return Err(fail(format!("map `{name}` holds a symbol that is not defined")));
            };
            // A section symbol leaves the offset to the word that is patched.
            let word = elf.endian().u64(section.data, crate::bytes::index(reloc.offset));
            let target = match symbol.kind {
                SymbolKind::Section => symbol.value.wrapping_add(word.unwrap_or(0)),
                _ => symbol.value,
            }
            .wrapping_add_signed(reloc.addend);
            let init = match decl.def.map_type {
                kind::PROG_ARRAY => {
                    let function = code
                        .at(home, target)
                        .and_then(|function| code.functions().get(function))
                        .filter(|function| function.is_program);
                    let function = function
                        .ok_or_else(|| fail(format!("map `{name}` holds what is no program")))?;
                    Init::Program(function.name.to_string())
                }
                _ => Init::Map(
                    index
                        .definition(home, target)
                        .ok_or_else(|| fail(format!("map `{name}` holds what is no map")))?,
                ),
            };
            filled.push(Filled { section: number, reloc: *reloc, init: init.clone() });
            if let Some(decl) = maps.decls.get_mut(map) {
                decl.values.push((slot, init));
            }
        }
    }
    by_section_name(elf, code, maps);
    Ok(filled)
}

/// iproute2's convention: the program of section `2/5` goes to slot 5 of the program
/// array whose id is 2.
fn by_section_name(elf: &Elf<'_>, code: &Code, maps: &mut Maps) {
    for function in code.functions().iter().filter(|function| function.is_program) {
        let section = elf.sections().get(function.section).map_or("", |section| &section.name);
        let Some((id, slot)) = section.split_once('/') else {
            continue;
        };
        let (Ok(id), Ok(slot)) = (id.parse::<u32>(), slot.parse::<u32>()) else {
            continue;
        };
        let decl = maps.ids.get(&id).and_then(|&map| maps.decls.get_mut(map));
        if let Some(decl) = decl.filter(|decl| decl.def.map_type == kind::PROG_ARRAY) {
            decl.values.push((slot, Init::Program(function.name.to_string())));
        }
    }
}

/// A definition says everything by its types: a byte that is set outside `values`
/// was meant to say something that no loader reads.
fn check_zero(number: usize, section: &Section<'_>, maps: &Maps) -> Result<(), LoadError> {
    let mut relocs = section.relocs.iter().peekable();
    for (offset, _) in (0u64..).zip(section.data).filter(|&(_, &byte)| byte != 0) {
        while relocs.next_if(|reloc| reloc.offset.saturating_add(SLOT) <= offset).is_some() {}
        if relocs.peek().is_some_and(|reloc| reloc.offset <= offset) {
            continue;
        }
        let map = maps.index().definition(number, offset).and_then(|map| maps.decls.get(map));
        let name = map.map_or("?", |decl| &decl.def.name);
        let reason = format!("its definition is initialised at {}+{offset:#x}", section.name);
        return Err(LoadError::map(&section.name, name, reason));
    }
    Ok(())
}
