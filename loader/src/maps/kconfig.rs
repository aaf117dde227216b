//! `extern … __kconfig`: what an object asks about the kernel it runs on.
//!
//! The variables are undefined symbols; the loader lays them out in a map called
//! `.kconfig` and fills in what it knows.

use std::collections::BTreeSet;

use skep_maps::MapDef;

use crate::btf::{Btf, Type, TypeId};
use crate::bytes::Endian;
use crate::elf::{Bind, Elf, Home};
use crate::error::LoadError;

use super::{
    Data, DataKind, F_MMAPABLE, F_RDONLY_PROG, InnerTypes, MapDecl, Maps, Place, Variable, kind,
};

const SECTION: &str = ".kconfig";

/// Most bytes that all variables may take: a page, which is more than libbpf's
/// own users have ever needed.
const MAX_SIZE: u64 = 4096;

/// The kernel whose behaviour skep has: 6.12.0, as `KERNEL_VERSION` encodes it.
const KERNEL_VERSION: u64 = 6 << 16 | 12 << 8;

pub(super) fn collect(elf: &Elf<'_>, btf: &Btf, maps: &mut Maps) -> Result<(), LoadError> {
    let found = btf.by_name(SECTION).find_map(|(id, ty)| match ty {
        Type::Datasec(section) => Some((id, section)),
        _ => None,
    });
    let Some((id, section)) = found else {
        return Ok(());
    };
    let undefined = elf.symbols().iter().filter(|symbol| symbol.place == Home::Undefined);
    let weak: BTreeSet<&str> =
        undefined.filter(|symbol| symbol.bind == Bind::Weak).map(|symbol| &*symbol.name).collect();
    let mut vars: Vec<(u64, u64, &str, TypeId)> = Vec::new();
    for var in &section.vars {
        let Type::Var { target, .. } = *btf.ty(var.target) else {
            continue;
        };
        let name = btf.name(var.target);
        let size = btf.size_of(target).filter(|&size| size > 0 && size <= MAX_SIZE);
        let Some(size) = size else {
            let reason = "its type has no size, or more than 4096 bytes";
            return Err(LoadError::map(SECTION, name, reason));
        };
        vars.push((alignment(btf, target), size, name, target));
    }
    // libbpf's order: by alignment and size, both descending, then by name.
    vars.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.cmp(&a.1)).then(a.2.cmp(b.2)));
    let mut data = Data { kind: DataKind::Kconfig, bytes: Vec::new(), vars: Vec::new() };
    let mut end = 0u64;
    for (align, size, name, target) in vars {
        let offset = end.next_multiple_of(align);
        end = offset + size;
        if end > MAX_SIZE {
            return Err(LoadError::map(SECTION, name, "all variables together exceed 4096 bytes"));
        }
        let (Ok(offset), Ok(size)) = (u32::try_from(offset), u32::try_from(size)) else {
            continue;
        };
        data.bytes.resize(offset as usize, 0);
        match known(name) {
            Some(value) => data.bytes.extend(encode(value, size, btf.endian())),
            None if weak.contains(name) => {}
            None => maps.unset.push(name.to_owned()),
        }
        data.bytes.resize((offset + size) as usize, 0);
        data.vars.push(Variable { name: name.to_owned(), offset, size, type_id: Some(target) });
    }
    if data.vars.is_empty() {
        return Ok(());
    }
    let def = MapDef {
        name: SECTION.to_owned(),
        map_type: kind::ARRAY,
        key_size: 4,
        value_size: u32::try_from(end).unwrap_or(u32::MAX),
        max_entries: 1,
        // As libbpf makes it: its variables are not static.
        flags: F_RDONLY_PROG | F_MMAPABLE,
        ..MapDef::default()
    };
    maps.push(
        MapDecl {
            def,
            section: SECTION.to_owned(),
            key_type: None,
            value_type: Some(id),
            inner: InnerTypes::default(),
            pinning: 0,
            values: Vec::new(),
            data: Some(data),
        },
        Place::Nowhere,
    )?;
    Ok(())
}

/// What skep's kernel answers; `None` for the build options of a kernel that does
/// not exist.
fn known(name: &str) -> Option<u64> {
    match name {
        "LINUX_KERNEL_VERSION" => Some(KERNEL_VERSION),
        // Both are true of every 6.12 kernel on the machines skep runs on.
        "LINUX_HAS_BPF_COOKIE" | "LINUX_HAS_SYSCALL_WRAPPER" => Some(1),
        _ => None,
    }
}

fn alignment(btf: &Btf, id: TypeId) -> u64 {
    match btf.ty(btf.resolve(id)) {
        Type::Array(array) => alignment(btf, array.element),
        _ => btf.size_of(id).filter(|size| matches!(size, 1 | 2 | 4)).unwrap_or(8),
    }
}

fn encode(value: u64, size: u32, endian: Endian) -> Vec<u8> {
    let size = size as usize;
    match endian {
        Endian::Little => value.to_le_bytes().into_iter().take(size).collect(),
        Endian::Big => value.to_be_bytes().into_iter().skip(8usize.saturating_sub(size)).collect(),
    }
}
