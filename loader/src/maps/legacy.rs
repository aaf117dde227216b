//! Map definitions from before BTF: a section of fixed structs, one per symbol.
//!
//! All start with type, key size, value size and number of entries. What follows
//! depends on who compiled the object, and only the size of the struct tells:
//!
//! | bytes | further fields |
//! |---|---|
//! | 20 | flags (libbpf) |
//! | 24 | flags, inner map (kernel samples) |
//! | 28 | flags, inner map, NUMA node (kernel samples, libpcap-like tools) |
//! | 32 | inner map, pinning, id, inner id (eBPF for Windows) |
//! | 36 | flags, id, pinning, inner id, inner index (iproute2) |

use skep_maps::MapDef;

use crate::elf::{Bind, Elf, Symbol, SymbolKind};
use crate::error::LoadError;

use super::{InnerTypes, MapDecl, Maps, Place, fill_defaults, kind, resolve, slice};

/// The least that a definition holds: everything up to the flags.
const MIN_SIZE: u64 = 20;

/// More than any loader has ever defined; a larger gap means padding.
const MAX_SIZE: u64 = 64;

pub(super) fn collect(
    elf: &Elf<'_>,
    number: usize,
    symbols: &[usize],
    maps: &mut Maps,
) -> Result<(), LoadError> {
    let Some(section) = elf.sections().get(number) else {
        return Ok(());
    };
    let symbols: Vec<&Symbol> = resolve(elf, symbols)
        .filter(|symbol| match symbol.kind {
            SymbolKind::Object => true,
            // Old compilers' maps; local ones are labels.
            SymbolKind::NoType => symbol.bind != Bind::Local,
            _ => false,
        })
        .collect();
    let first = maps.decls.len();
    let mut fields = Vec::new();
    for (at, symbol) in symbols.iter().enumerate() {
        let fail = |reason: String| LoadError::map(&section.name, &symbol.name, reason);
        // An alias of the definition before it.
        if at > 0 && symbols.get(at - 1).is_some_and(|before| before.value == symbol.value) {
            continue;
        }
        if symbol.bind == Bind::Local {
            return Err(fail(super::STATIC.to_owned()));
        }
        // Old compilers write no symbol sizes: the gap to the next one tells.
        let end = symbols.get(at + 1..).unwrap_or_default().iter().map(|next| next.value);
        let end = end.chain([section.size]).find(|&end| end > symbol.value);
        let gap = end.unwrap_or(symbol.value) - symbol.value;
        let size = if symbol.size == 0 { gap } else { symbol.size }.min(MAX_SIZE);
        if size < MIN_SIZE {
            let reason = format!("its definition has {size} bytes, {MIN_SIZE} are needed");
            return Err(fail(reason));
        }
        let bytes = slice(section.data, symbol.value, size)
            .ok_or_else(|| fail("its definition leads out of the section".to_owned()))?;
        let words: Vec<u32> =
            (0..bytes.len() / 4).filter_map(|n| elf.endian().u32(bytes, n * 4)).collect();
        let read = Fields::read(&words);
        if !read.understood {
            let reason = "its definition has values beyond the fields that its size implies";
            return Err(fail(reason.to_owned()));
        }
        if read.map_type == 0 {
            return Err(fail("its definition has no type".to_owned()));
        }
        let mut def = MapDef {
            name: symbol.name.to_string(),
            map_type: read.map_type,
            key_size: read.key_size,
            value_size: read.value_size,
            max_entries: read.max_entries,
            flags: read.flags,
            numa_node: read.numa_node,
            ..MapDef::default()
        };
        fill_defaults(&mut def);
        maps.push(
            MapDecl {
                def,
                section: section.name.to_string(),
                key_type: None,
                value_type: None,
                inner: InnerTypes::default(),
                pinning: read.pinning,
                values: Vec::new(),
                data: None,
            },
            Place::Definition { section: number, offset: symbol.value, size, values: None },
        )?;
        if let Some(id) = read.id {
            maps.ids.insert(id, maps.decls.len() - 1);
        }
        fields.push(read);
    }
    link_inner(&fields, maps.decls.get_mut(first..).unwrap_or_default());
    Ok(())
}

/// Gives maps of maps the template that they name by position or id.
fn link_inner(fields: &[Fields], decls: &mut [MapDecl]) {
    for (at, outer) in fields.iter().enumerate() {
        if !matches!(outer.map_type, kind::ARRAY_OF_MAPS | kind::HASH_OF_MAPS) {
            continue;
        }
        let template = match outer.inner {
            Inner::None => None,
            Inner::Position(position) => Some(position as usize),
            Inner::Id(id) => fields.iter().position(|other| other.id == Some(id)),
        };
        let template = template.filter(|&template| template != at);
        let inner = template.and_then(|template| decls.get(template)).map(|decl| decl.def.clone());
        if let (Some(inner), Some(decl)) = (inner, decls.get_mut(at)) {
            // One level: a template that is itself a map of maps has no template yet
            // or one that creation refuses.
            decl.def.inner = Some(Box::new(MapDef { inner: None, ..inner }));
        }
    }
}

struct Fields {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    numa_node: u32,
    pinning: u32,
    id: Option<u32>,
    inner: Inner,
    /// Every field that is set means something.
    understood: bool,
}

#[derive(Default, Clone, Copy)]
enum Inner {
    #[default]
    None,
    Position(u32),
    Id(u32),
}

impl Fields {
    fn read(words: &[u32]) -> Self {
        let word = |at: usize| words.get(at).copied().unwrap_or(0);
        let base = Self {
            map_type: word(0),
            key_size: word(1),
            value_size: word(2),
            max_entries: word(3),
            flags: word(4),
            numa_node: 0,
            pinning: 0,
            id: None,
            inner: Inner::None,
            understood: true,
        };
        let of_maps = matches!(base.map_type, kind::ARRAY_OF_MAPS | kind::HASH_OF_MAPS);
        match words.len() {
            6 | 7 => Self {
                inner: Inner::Position(word(5)),
                numa_node: word(6),
                understood: of_maps || word(5) == 0,
                ..base
            },
            8 => Self {
                flags: 0,
                inner: Inner::Position(word(4)),
                pinning: word(5),
                id: Some(word(6)),
                ..base
            },
            9.. => Self {
                id: Some(word(5)),
                pinning: word(6),
                inner: match word(7) {
                    0 => Inner::None,
                    id => Inner::Id(id),
                },
                understood: words.iter().skip(9).all(|&word| word == 0),
                ..base
            },
            _ => base,
        }
    }
}
