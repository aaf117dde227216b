//! Maps as an object declares them, from all the ways there are.
//!
//! [`btf_defs`] reads `.maps`, [`legacy`] the sections before it, [`data`] turns
//! global variables into maps, [`kconfig`] does so for `extern … __kconfig`;
//! [`values`] fills maps from relocations and [`special`] finds kernel-managed
//! fields.

mod btf_defs;
mod data;
mod kconfig;
mod legacy;
mod special;
mod values;

use std::collections::BTreeMap;

use skep_maps::MapDef;

use crate::btf::{Btf, TypeId};
use crate::bytes::index;
use crate::elf::{Bind, Elf, Symbol, SymbolKind};
use crate::error::{LoadError, Site};

pub use special::special_kind;
pub(crate) use values::{Filled, fill};

/// `enum bpf_map_type`, as far as loading differs by type.
pub(crate) mod kind {
    pub(crate) const ARRAY: u32 = 2;
    pub(crate) const PROG_ARRAY: u32 = 3;
    pub(crate) const PERF_EVENT_ARRAY: u32 = 4;
    pub(crate) const STACK_TRACE: u32 = 7;
    pub(crate) const CGROUP_ARRAY: u32 = 8;
    pub(crate) const ARRAY_OF_MAPS: u32 = 12;
    pub(crate) const HASH_OF_MAPS: u32 = 13;
    pub(crate) const QUEUE: u32 = 22;
    pub(crate) const STACK: u32 = 23;
    pub(crate) const RINGBUF: u32 = 27;
    pub(crate) const USER_RINGBUF: u32 = 31;
}

/// `BPF_F_RDONLY_PROG`: programs may not write.
pub(crate) const F_RDONLY_PROG: u32 = 1 << 7;
/// `BPF_F_MMAPABLE`: userspace may map the values.
pub(crate) const F_MMAPABLE: u32 = 1 << 10;

/// libbpf and the loaders before it refuse static maps, so objects that run here and
/// nowhere else would be no help.
const STATIC: &str = "static maps are not supported; remove `static`";

/// Most maps of an object; the largest known has 70.
const MAX_MAPS: usize = 4096;

/// A map that an object declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapDecl {
    /// What to create. `max_entries` is 0 where the object leaves it to the loader:
    /// for a `PERF_EVENT_ARRAY` that means the number of CPUs.
    pub def: MapDef,
    /// The ELF section it was declared in.
    pub section: String,
    /// The key's type, where BTF tells it.
    pub key_type: Option<TypeId>,
    /// The value's type, where BTF tells it; for a data section, its `DATASEC`.
    pub value_type: Option<TypeId>,
    /// For a map of maps, the types that BTF tells of its inner maps.
    pub inner: InnerTypes,
    /// `LIBBPF_PIN_*` as written; some loaders define values of their own.
    pub pinning: u32,
    /// Slots to fill at load: index in the map and what to put there.
    pub values: Vec<(u32, Init)>,
    /// Contents, when the map holds global variables.
    pub data: Option<Data>,
}

/// The types of keys and values of inner maps, where BTF tells them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InnerTypes {
    /// The key's type.
    pub key: Option<TypeId>,
    /// The value's type.
    pub value: Option<TypeId>,
}

/// What a slot of a map holds from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Init {
    /// The map of that index in [`Object::maps`](crate::Object::maps).
    Map(usize),
    /// The program of that name.
    Program(String),
}

/// Global variables, the one value of an array map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data {
    /// What the section is for.
    pub kind: DataKind,
    /// The value; bytes beyond the end are zero, so a `.bss` holds none until a
    /// variable is set.
    pub bytes: Vec<u8>,
    /// The variables by offset. Without BTF and symbols there may be none.
    pub vars: Vec<Variable>,
}

/// What a data section is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataKind {
    /// `.data`: programs read and write it.
    Data,
    /// `.rodata`: to be frozen after it is filled.
    Rodata,
    /// `.bss`: as `.data`, from zero.
    Bss,
    /// `.kconfig`: what the object asks of its kernel, to be frozen.
    Kconfig,
}

impl DataKind {
    /// Programs only read it, and userspace cannot change it after load.
    #[must_use]
    pub fn is_read_only(self) -> bool {
        matches!(self, Self::Rodata | Self::Kconfig)
    }
}

/// A global variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// The name; static variables of functions are called `function.name`.
    pub name: String,
    /// Where it is in the section, in bytes.
    pub offset: u32,
    /// Size in bytes.
    pub size: u32,
    /// Its type, where BTF tells it.
    pub type_id: Option<TypeId>,
}

/// The maps of an object and where they were found.
#[derive(Debug, Default)]
pub(crate) struct Maps {
    pub(crate) decls: Vec<MapDecl>,
    /// Parallel to `decls`.
    pub(crate) places: Vec<Place>,
    /// Variables of `.kconfig` that have no value of their own.
    pub(crate) unset: Vec<String>,
    /// Maps by the id that iproute2's definitions give them.
    ids: BTreeMap<u32, usize>,
}

/// Where a map stands in the object.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    /// A definition in a map section.
    Definition {
        section: usize,
        offset: u64,
        size: u64,
        /// Where the initial values start in the definition, in bytes.
        values: Option<u64>,
    },
    /// A whole data section.
    Section(usize),
    /// Made of undefined symbols.
    Nowhere,
}

/// What a section is to the loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Maps,
    LegacyMaps,
    Data(DataKind),
    Other,
}

/// Tells a section's role by its name, as libbpf does, and by the looser names that
/// older loaders accept.
pub(crate) fn role(name: &str) -> Role {
    let is = |base: &str| {
        name.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    if name == ".maps" {
        Role::Maps
    } else if name == "maps" || name.starts_with("maps/") || name.ends_with("/maps") {
        Role::LegacyMaps
    } else if is(".data") {
        Role::Data(DataKind::Data)
    } else if is(".rodata") {
        Role::Data(DataKind::Rodata)
    } else if is(".bss") {
        Role::Data(DataKind::Bss)
    } else {
        Role::Other
    }
}

impl Maps {
    /// Collects all maps: legacy ones, those of `.maps` in the order of their BTF,
    /// data sections in file order, `.kconfig`.
    pub(crate) fn collect(elf: &Elf<'_>, btf: Option<&Btf>) -> Result<Self, LoadError> {
        let mut maps = Self::default();
        // Sections that share bytes would multiply what a small file makes us hold.
        let mut budget: usize = elf.sections().iter().map(|s| s.data.len()).max().unwrap_or(0);
        budget = budget.saturating_mul(2).saturating_add(1 << 20);
        let by_section = symbols_by_section(elf);
        let none = Vec::new();
        let sections = || {
            elf.sections().iter().enumerate().map(|(number, section)| {
                let symbols = by_section.get(&number).unwrap_or(&none);
                (number, section, symbols.as_slice(), role(&section.name))
            })
        };
        for (number, section, symbols, role) in sections() {
            if role == Role::LegacyMaps && !section.is_code() {
                legacy::collect(elf, number, symbols, &mut maps)?;
            }
        }
        for (number, _, symbols, role) in sections() {
            if role == Role::Maps {
                btf_defs::collect(elf, btf, number, symbols, &mut maps)?;
            }
        }
        for (number, section, symbols, role) in sections() {
            if let Role::Data(kind) = role
                && section.is_alloc()
                && section.size > 0
            {
                data::collect(elf, btf, (number, kind), symbols, &mut budget, &mut maps)?;
            }
        }
        if let Some(btf) = btf {
            kconfig::collect(elf, btf, &mut maps)?;
        }
        Ok(maps)
    }

    pub(crate) fn push(&mut self, decl: MapDecl, place: Place) -> Result<(), LoadError> {
        if self.decls.len() == MAX_MAPS {
            let reason = format!("more than {MAX_MAPS} maps in the object");
            return Err(LoadError::limit(Site::section(&decl.section), reason));
        }
        self.decls.push(decl);
        self.places.push(place);
        Ok(())
    }

    /// Looks maps up by where they stand.
    pub(crate) fn index(&self) -> MapIndex {
        let mut map_index = MapIndex::default();
        for (number, place) in self.places.iter().enumerate() {
            match *place {
                Place::Definition { section, offset, size, .. } => {
                    map_index.definitions.insert((section, offset), (number, size));
                }
                Place::Section(section) => {
                    map_index.data.insert(section, number);
                }
                Place::Nowhere => map_index.kconfig = Some(number),
            }
        }
        map_index
    }
}

/// Symbols of each section, as indexes, ordered by offset.
fn symbols_by_section(elf: &Elf<'_>) -> BTreeMap<usize, Vec<usize>> {
    let mut sections: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (number, symbol) in elf.symbols().iter().enumerate() {
        if let Some(section) = symbol.section()
            && symbol.kind != SymbolKind::Section
            && !symbol.name.is_empty()
        {
            sections.entry(section).or_default().push(number);
        }
    }
    for symbols in sections.values_mut() {
        symbols.sort_by_key(|&number| {
            let symbol = elf.symbols().get(number);
            symbol.map(|symbol| (symbol.value, symbol.bind == Bind::Local))
        });
    }
    sections
}

/// The symbols behind a list of indexes.
fn resolve<'e>(elf: &'e Elf<'_>, symbols: &[usize]) -> impl Iterator<Item = &'e Symbol> {
    symbols.iter().filter_map(|&number| elf.symbols().get(number))
}

/// From places to maps.
#[derive(Debug, Default)]
pub(crate) struct MapIndex {
    definitions: BTreeMap<(usize, u64), (usize, u64)>,
    data: BTreeMap<usize, usize>,
    pub(crate) kconfig: Option<usize>,
}

impl MapIndex {
    /// The map whose definition covers that byte.
    pub(crate) fn definition(&self, section: usize, offset: u64) -> Option<usize> {
        let range = (section, 0)..=(section, offset);
        let (&(_, start), &(number, size)) = self.definitions.range(range).next_back()?;
        (offset - start < size.max(1)).then_some(number)
    }

    /// The map made from that data section.
    pub(crate) fn data(&self, section: usize) -> Option<usize> {
        self.data.get(&section).copied()
    }
}

/// Sizes that libbpf, or the loaders that read the same objects, fill in where an
/// object says nothing and only one value can be right.
pub(crate) fn fill_defaults(def: &mut MapDef) {
    let word = |size: &mut u32| {
        if *size == 0 {
            *size = 4;
        }
    };
    match def.map_type {
        kind::PERF_EVENT_ARRAY | kind::PROG_ARRAY | kind::CGROUP_ARRAY | kind::ARRAY_OF_MAPS => {
            word(&mut def.key_size);
            word(&mut def.value_size);
        }
        kind::HASH_OF_MAPS => word(&mut def.value_size),
        kind::STACK_TRACE => word(&mut def.key_size),
        _ => {}
    }
    round_ring(def);
}

/// Whether libbpf tells the kernel the type of a map's values. It does not where the kernel
/// takes none; then no field of them is special. (Of those types, these are the ones whose
/// values can have any size.)
pub(crate) fn has_types(map_type: u32) -> bool {
    !matches!(map_type, kind::QUEUE | kind::STACK)
}

/// Rounds a ring buffer up to a power of two of pages, as libbpf does before it
/// creates one; the kernel takes nothing else.
pub(crate) fn round_ring(def: &mut MapDef) {
    const PAGE: u32 = 4096;
    if matches!(def.map_type, kind::RINGBUF | kind::USER_RINGBUF) {
        // What cannot be rounded is left for map creation to refuse.
        let rounded = def.max_entries.max(PAGE).checked_next_power_of_two();
        def.max_entries = rounded.unwrap_or(def.max_entries);
    }
}

/// The bytes of a section from `offset` on, at most `size` of them.
fn slice(data: &[u8], offset: u64, size: u64) -> Option<&[u8]> {
    let start = index(offset);
    data.get(start..start.checked_add(index(size))?)
}
