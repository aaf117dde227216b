//! `.maps`: a map is a variable whose struct type spells the definition.
//!
//! `__uint(key, N)` is a pointer to an array of N integers, `__type(key, T)` a
//! pointer to T, `__array(values, T)` a flexible array of pointers, and
//! `__ulong(key, N)` (for values above 32 bits) an enum with one constant N.

use std::collections::BTreeMap;

use skep_maps::MapDef;

use crate::btf::{Btf, Linkage, Shape, Type, TypeId, View};
use crate::elf::{Elf, Symbol};
use crate::error::{LoadError, Site};

use super::special::Search;
use super::{InnerTypes, MapDecl, Maps, Place, fill_defaults, has_types, kind, resolve};

pub(super) fn collect(
    elf: &Elf<'_>,
    btf: Option<&Btf>,
    number: usize,
    symbols: &[usize],
    maps: &mut Maps,
) -> Result<(), LoadError> {
    let Some(section) = elf.sections().get(number).filter(|section| section.size > 0) else {
        return Ok(());
    };
    let unreadable = |reason: &str| LoadError::Data {
        site: Site::section(&section.name),
        reason: format!("map definitions cannot be read: {reason}").into(),
    };
    let btf = btf.ok_or_else(|| unreadable("the object has no BTF; compile it with `-g`"))?;
    let datasec =
        btf.datasec(".maps").ok_or_else(|| unreadable("its BTF has no section `.maps`"))?;
    let by_name: BTreeMap<&str, &Symbol> =
        resolve(elf, symbols).map(|symbol| (&*symbol.name, symbol)).collect();
    let mut search = Search::new(btf);
    for var in &datasec.vars {
        let Type::Var { target, linkage, .. } = *btf.ty(var.target) else {
            continue;
        };
        if linkage == Linkage::Extern {
            continue;
        }
        let name = btf.name(var.target);
        let fail = |reason: String| LoadError::map(&section.name, name, reason);
        if linkage == Linkage::Static {
            return Err(fail(super::STATIC.to_owned()));
        }
        let symbol = by_name
            .get(name)
            .ok_or_else(|| fail("no symbol says where its definition is".to_owned()))?;
        let read = Definition::read(&mut search, target, Level::Outer).map_err(fail)?;
        let mut def = read.def;
        name.clone_into(&mut def.name);
        if let Some(inner) = &mut def.inner {
            inner.name = format!("{name}.inner");
        }
        let size = match symbol.size {
            0 => btf.size_of(target).unwrap_or(0),
            size => size,
        };
        maps.push(
            MapDecl {
                def,
                section: section.name.to_string(),
                key_type: read.key_type,
                value_type: read.value_type,
                inner: read.inner,
                pinning: read.pinning,
                values: Vec::new(),
                data: None,
            },
            Place::Definition { section: number, offset: symbol.value, size, values: read.values },
        )?;
    }
    Ok(())
}

/// Whether a definition stands for itself or as the template inside another.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Outer,
    Inner,
}

#[derive(Default)]
struct Definition {
    def: MapDef,
    key_type: Option<TypeId>,
    value_type: Option<TypeId>,
    inner: InnerTypes,
    pinning: u32,
    /// Where the initial values start, in bytes.
    values: Option<u64>,
}

impl Definition {
    fn read(search: &mut Search<'_>, id: TypeId, level: Level) -> Result<Self, String> {
        let btf = search.btf();
        let view = btf.view(id);
        if !matches!(view.shape(), Shape::Struct(_)) {
            return Err(format!("`{}` is not a struct", view.c_name()));
        }
        let mut this = Self::default();
        for member in view.members() {
            let number = || number(member.name, member.view);
            match member.name {
                "type" => this.def.map_type = narrow("type", number()?)?,
                "max_entries" => this.def.max_entries = narrow("max_entries", number()?)?,
                "map_flags" => this.def.flags = narrow("map_flags", number()?)?,
                "numa_node" => this.def.numa_node = narrow("numa_node", number()?)?,
                "pinning" => this.pinning = narrow("pinning", number()?)?,
                "map_extra" => this.def.map_extra = number()?,
                "key_size" => {
                    let size = narrow("key_size", number()?)?;
                    agree("key", &mut this.def.key_size, size)?;
                }
                "value_size" => {
                    let size = narrow("value_size", number()?)?;
                    agree("value", &mut this.def.value_size, size)?;
                }
                "key" => {
                    let (id, size) = typed("key", member.view)?;
                    agree("key", &mut this.def.key_size, size)?;
                    this.key_type = Some(id);
                }
                "value" => {
                    let (id, size) = typed("value", member.view)?;
                    agree("value", &mut this.def.value_size, size)?;
                    this.value_type = Some(id);
                }
                "values" if level == Level::Inner => {
                    return Err("maps of maps of maps are not supported".to_owned());
                }
                "values" => {
                    this.values = Some(member.offset().into());
                    this.read_values(search, member.view)?;
                }
                // libbpf ignores what it does not know unless asked to be strict.
                _ => {}
            }
        }
        if this.def.map_type == 0 {
            return Err("its definition has no `type`".to_owned());
        }
        fill_defaults(&mut this.def);
        if let (Some(value), true) = (this.value_type, has_types(this.def.map_type)) {
            this.def.special = search.find(value)?;
        }
        Ok(this)
    }

    /// `__array(values, T)`: the template of inner maps, or the type of programs.
    fn read_values(&mut self, search: &mut Search<'_>, view: View<'_>) -> Result<(), String> {
        let wrong = || "`values` is not a flexible array of pointers".to_owned();
        let Shape::Array { element, len: 0 } = view.shape() else {
            return Err(wrong());
        };
        let Shape::Ptr(target) = element.shape() else {
            return Err(wrong());
        };
        let of_maps = matches!(self.def.map_type, kind::ARRAY_OF_MAPS | kind::HASH_OF_MAPS);
        let btf = search.btf();
        match btf.ty(btf.resolve(target.id())) {
            Type::Struct(_) if of_maps => {
                let inner = Self::read(search, target.id(), Level::Inner)
                    .map_err(|reason| format!("inner map: {reason}"))?;
                self.inner = InnerTypes { key: inner.key_type, value: inner.value_type };
                self.def.inner = Some(Box::new(inner.def));
            }
            Type::FuncProto(_) if self.def.map_type == kind::PROG_ARRAY => {}
            Type::Struct(_) => return Err("only maps of maps hold maps".to_owned()),
            Type::FuncProto(_) => return Err("only program arrays hold programs".to_owned()),
            _ => return Err("`values` points to neither a map nor a function".to_owned()),
        }
        agree("value", &mut self.def.value_size, 4)
    }
}

/// The N of `__uint(name, N)` or `__ulong(name, N)`.
fn number(name: &str, view: View<'_>) -> Result<u64, String> {
    match view.shape() {
        Shape::Ptr(target) => match target.shape() {
            Shape::Array { len, .. } => Ok(len.into()),
            _ => Err(format!("`{name}` is not a number: it points to `{}`", target.c_name())),
        },
        Shape::Enum(enumeration) if enumeration.values.len() == 1 => {
            Ok(enumeration.values.first().map_or(0, |constant| constant.value))
        }
        _ => Err(format!("`{name}` is not a number but `{}`", view.c_name())),
    }
}

fn narrow(name: &str, value: u64) -> Result<u32, String> {
    u32::try_from(value).map_err(|_| format!("`{name}` of {value:#x} does not fit 32 bits"))
}

/// The T of `__type(name, T)`, and its size in bytes.
fn typed(name: &str, view: View<'_>) -> Result<(TypeId, u32), String> {
    let Shape::Ptr(target) = view.shape() else {
        return Err(format!("`{name}` is not a type but `{}`", view.c_name()));
    };
    match target.size().map(u32::try_from) {
        Some(Ok(size)) => Ok((target.id(), size)),
        _ => Err(format!("the {name} type `{}` has no size", target.c_name())),
    }
}

/// A size that is told twice must be the same both times.
fn agree(what: &str, size: &mut u32, new: u32) -> Result<(), String> {
    if *size != 0 && *size != new {
        return Err(format!("conflicting {what} sizes of {size} and {new} bytes"));
    }
    *size = new;
    Ok(())
}
