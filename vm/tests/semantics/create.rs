//! Which attributes a map may be made from.

use skep_maps::flags::{BPF_F_NO_PREALLOC, BPF_F_RDONLY, BPF_F_WRONLY};
use skep_maps::{CreateError, MapDef, MapType, sys};
use skep_oracle::recorded::{Case, unquote};

use crate::lab::{Lab, def};
use crate::section::Section;
use crate::state::{lock, type_named};
use crate::text::{asked, asked32, name, outcome};

/// `create` lines: the plain map first, then attributes that differ from it.
pub(crate) fn creation(section: &Section) -> Vec<String> {
    let lab = Lab::new();
    let first = &section.cases[0];
    let map_type = type_named(first.question[1]);
    let size = |name| asked32(first, name, 0);
    let mut plain = MapDef {
        flags: size("flags"),
        ..def(map_type, size("key_size"), size("value_size"), size("max_entries"))
    };
    if matches!(map_type, MapType::ArrayOfMaps | MapType::HashOfMaps) {
        plain.inner = Some(Box::new(def(MapType::Array, 4, 8, 2)));
    }
    section.cases.iter().map(|case| create(&lab, &plain, case)).collect()
}

fn create(lab: &Lab, plain: &MapDef, case: &Case<'_>) -> String {
    let mut def = MapDef {
        key_size: asked32(case, "key_size", plain.key_size),
        value_size: asked32(case, "value_size", plain.value_size),
        max_entries: asked32(case, "max_entries", plain.max_entries),
        flags: asked32(case, "flags", plain.flags),
        numa_node: asked32(case, "numa_node", 0),
        map_extra: asked(case, "map_extra", 0),
        ..plain.clone()
    };
    if let Some(name) = case.asked("name") {
        let bytes = unquote(name).expect("a quoted name");
        def.name = String::from_utf8(bytes).expect("names are text");
    }
    match (case.asked("key_type"), case.asked("value_type")) {
        (None, None) | (Some("void"), Some("void")) => {}
        // Types themselves are the loader's; maps see what of them is special.
        (Some("int"), Some("locked")) if (def.key_size, def.value_size) == (4, 8) => {
            def.special = lock();
        }
        _ => return "knows no types".to_owned(),
    }
    match lab.create(&def) {
        Ok(map) => {
            let fd_flags = BPF_F_RDONLY | BPF_F_WRONLY;
            format!("ok flags={:#x}", map.core().def().flags & !fd_flags)
        }
        Err(error) => refused(&error),
    }
}

/// The errno, or that skep lacks what is asked for.
pub(crate) fn refused(error: &CreateError) -> String {
    match error {
        CreateError::Unsupported { what, .. } => format!("unsupported: {what}"),
        error => name(error.errno()),
    }
}

/// Which maps can be the template of inner maps, and what must be equal between both.
pub(crate) fn templates(section: &Section) -> Vec<String> {
    let lab = Lab::new();
    section
        .cases
        .iter()
        .map(|case| match case.question[0] {
            "create" => template(&lab, case),
            _ => equal(&lab, case),
        })
        .collect()
}

fn template(lab: &Lab, case: &Case<'_>) -> String {
    let outer = def(type_named(case.question[1]), 4, 4, 1);
    let nested = |map_type| {
        let inner = Some(Box::new(def(MapType::Array, 4, 8, 1)));
        MapDef { inner, ..def(map_type, 4, 4, 1) }
    };
    let inner = match case.asked("template").expect("a template") {
        "-" => None,
        "array-with-lock" => Some(MapDef { special: lock(), ..def(MapType::Array, 4, 8, 1) }),
        "lpm_trie" => Some(MapDef { flags: BPF_F_NO_PREALLOC, ..def(MapType::LpmTrie, 8, 8, 1) }),
        "ringbuf" => Some(def(MapType::Ringbuf, 0, 0, 4096)),
        "prog_array" => Some(def(MapType::ProgArray, 4, 4, 1)),
        "array_of_maps" => Some(nested(MapType::ArrayOfMaps)),
        "hash_of_maps" => Some(nested(MapType::HashOfMaps)),
        keyless @ ("queue" | "stack" | "bloom_filter") => Some(def(type_named(keyless), 0, 8, 1)),
        simple => Some(def(type_named(simple), 4, 8, 1)),
    };
    match lab.create(&MapDef { inner: inner.map(Box::new), ..outer }) {
        Ok(_) => "ok".to_owned(),
        Err(error) => refused(&error),
    }
}

/// TYPE template=DEF S update inner=DEF, where DEF is type,key,value,max,flags.
fn equal(lab: &Lab, case: &Case<'_>) -> String {
    let parse = |name| {
        let words: Vec<&str> = case.asked(name).expect("a definition").split(',').collect();
        let number = |at: usize| u32::try_from(crate::text::number(words[at])).expect("short");
        MapDef { flags: number(4), ..def(type_named(words[0]), number(1), number(2), number(3)) }
    };
    let outer = def(type_named(case.question[0]), 4, 4, 1);
    let outer = lab.map(&MapDef { inner: Some(Box::new(parse("template"))), ..outer });
    let inner = lab.map(&parse("inner"));
    outcome(sys::update(&*outer, Some(&[0; 4]), &inner.core().id().to_le_bytes(), 0))
}
