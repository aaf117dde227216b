//! Global variables: each data section becomes an array map of one entry.

use std::collections::{BTreeMap, VecDeque};

use skep_maps::MapDef;

use crate::btf::{Btf, Datasec, Linkage, Type, TypeId};
use crate::elf::{Elf, SymbolKind};
use crate::error::{LoadError, Site};

use super::resolve;
use super::{
    Data, DataKind, F_MMAPABLE, F_RDONLY_PROG, InnerTypes, MapDecl, Maps, Place, Variable, kind,
};

/// Largest value of an array map (kernel `array_map_alloc_check`: `INT_MAX`).
const MAX_SIZE: u64 = i32::MAX as u64;

pub(super) fn collect(
    elf: &Elf<'_>,
    btf: Option<&Btf>,
    (number, kind): (usize, DataKind),
    symbols: &[usize],
    budget: &mut usize,
    maps: &mut Maps,
) -> Result<(), LoadError> {
    let Some(section) = elf.sections().get(number) else {
        return Ok(());
    };
    let fail = |reason: &str| LoadError::Data {
        site: Site::section(&section.name),
        reason: reason.into(),
    };
    if section.size > MAX_SIZE {
        return Err(fail("the section is larger than 2 GiB, the limit of an array's value"));
    }
    *budget = budget
        .checked_sub(section.data.len())
        .ok_or_else(|| fail("data sections overlap in the file"))?;
    let size = u32::try_from(section.size).unwrap_or(u32::MAX);
    // BTF knows one section of a name; so does the compiler.
    let first = maps.decls.iter().all(|decl| decl.def.name != *section.name);
    let typed = btf.filter(|_| first).and_then(|btf| {
        let (id, section) = btf.by_name(&section.name).find_map(|(id, ty)| match ty {
            Type::Datasec(section) => Some((id, section)),
            _ => None,
        })?;
        Some(Typed { btf, id, section })
    });
    let def = MapDef {
        name: section.name.to_string(),
        map_type: kind::ARRAY,
        key_size: 4,
        value_size: size,
        max_entries: 1,
        flags: flags(kind, typed.as_ref()),
        ..MapDef::default()
    };
    maps.push(
        MapDecl {
            def,
            section: section.name.to_string(),
            key_type: None,
            value_type: typed.as_ref().map(|typed| typed.id),
            inner: InnerTypes::default(),
            pinning: 0,
            values: Vec::new(),
            data: Some(Data {
                kind,
                bytes: section.data.to_vec(),
                vars: variables(elf, symbols, size, typed.as_ref()),
            }),
        },
        Place::Section(number),
    )?;
    Ok(())
}

struct Typed<'a> {
    btf: &'a Btf,
    id: TypeId,
    section: &'a Datasec,
}

/// libbpf: constants are read-only for programs; sections with a variable that
/// others can see may be mapped by userspace (`map_is_mmapable`).
fn flags(kind: DataKind, typed: Option<&Typed<'_>>) -> u32 {
    let visible = typed.is_some_and(|typed| {
        typed.section.vars.iter().any(|var| {
            matches!(typed.btf.ty(var.target), Type::Var { linkage, .. } if *linkage != Linkage::Static)
        })
    });
    let read_only = if kind.is_read_only() { F_RDONLY_PROG } else { 0 };
    read_only | if visible { F_MMAPABLE } else { 0 }
}

/// Places come from symbols, types from BTF. Compilers leave the offsets in BTF zero;
/// only where a linker has filled them in do they help out for a missing symbol.
fn variables(
    elf: &Elf<'_>,
    symbols: &[usize],
    size: u32,
    typed: Option<&Typed<'_>>,
) -> Vec<Variable> {
    let mut types: BTreeMap<&str, VecDeque<(TypeId, u32)>> = BTreeMap::new();
    for var in typed.iter().flat_map(|typed| &typed.section.vars) {
        let Some(typed) = typed else { continue };
        if let Type::Var { target, .. } = *typed.btf.ty(var.target) {
            types.entry(typed.btf.name(var.target)).or_default().push_back((target, var.size));
        }
    }
    let fits = |offset: u32, len: u32| offset.checked_add(len).is_some_and(|end| end <= size);
    let mut vars = Vec::new();
    for symbol in resolve(elf, symbols) {
        let known = types.get_mut(&*symbol.name).and_then(|known| {
            // Statics of one name come in the same order in BTF and symbol table.
            known.pop_front()
        });
        if symbol.kind != SymbolKind::Object && known.is_none() {
            continue;
        }
        let len = match (symbol.size, known) {
            (0, Some((_, len))) => len.into(),
            (len, _) => len,
        };
        let (Ok(offset), Ok(len)) = (u32::try_from(symbol.value), u32::try_from(len)) else {
            continue;
        };
        if len > 0 && fits(offset, len) {
            let type_id = known.map(|(id, _)| id);
            vars.push(Variable { name: symbol.name.to_string(), offset, size: len, type_id });
        }
    }
    if let Some(typed) = typed.filter(|typed| typed.section.size > 0) {
        for var in &typed.section.vars {
            let name = typed.btf.name(var.target);
            let Type::Var { target, .. } = *typed.btf.ty(var.target) else {
                continue;
            };
            if types.get(name).is_some_and(|left| !left.is_empty()) && fits(var.offset, var.size) {
                let name = name.to_owned();
                let type_id = Some(target);
                vars.push(Variable { name, offset: var.offset, size: var.size, type_id });
            }
        }
    }
    vars.sort_by_key(|var| var.offset);
    vars
}
