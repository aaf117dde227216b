//! Types without keys: queues, stacks and bloom filters.

use std::sync::Arc;

use skep_maps::{CreateError, Map, MapDef, flags, sys};
use skep_oracle::recorded::Case;

use crate::agent::{self, PEEK, POP, PUSH};
use crate::lab::{Lab, def};
use crate::section::Section;
use crate::state::type_named;
use crate::text::{asked, outcome, unhex};
use crate::{create, ops};

/// The files of these types: creation rules, access rights, then operations by state.
pub(crate) fn maps(section: &Section) -> Vec<String> {
    match section.name {
        "creation" => create::creation(section),
        about if about.starts_with("access") => access(section),
        _ => ops::operations(section),
    }
}

/// What the values of these maps hold.
const VALUE: [u8; 8] = [1; 8];

/// Maps that one side may only read or only write, and frozen maps. Each map goes
/// through its operations one after another.
fn access(section: &Section) -> Vec<String> {
    let lab = Lab::new();
    let by_map = section.cases.chunk_by(|a, b| a.question[0] == b.question[0]);
    by_map
        .flat_map(|cases| {
            let map = make(&lab, cases[0].question[0]);
            cases.iter().map(|case| answer(&lab, &map, case)).collect::<Vec<_>>()
        })
        .collect()
}

fn make(lab: &Lab, name: &str) -> Result<Arc<dyn Map>, CreateError> {
    let (_, access) = name.split_once('/').expect("TYPE/ACCESS");
    let flags = match access {
        "frozen" => 0,
        "rdonly" => flags::BPF_F_RDONLY,
        "wronly" => flags::BPF_F_WRONLY,
        "rdonly_prog" => flags::BPF_F_RDONLY_PROG,
        "wronly_prog" => flags::BPF_F_WRONLY_PROG,
        other => panic!("`{other}` is no access"),
    };
    let map = lab.create(&MapDef { flags, ..def(type_named(name), 0, 8, 2) })?;
    let put = sys::update(&*map, None, &VALUE, 0);
    assert_eq!(put.is_err(), access == "rdonly", "only the read-only map cannot be filled");
    if access == "frozen" {
        sys::freeze(&*map).expect("it was not frozen");
    }
    Ok(map)
}

fn answer(lab: &Lab, map: &Result<Arc<dyn Map>, CreateError>, case: &Case<'_>) -> String {
    let map = match map {
        Ok(map) => map,
        Err(CreateError::Unsupported { what, .. }) => return format!("unsupported: {what}"),
        Err(error) => panic!("{error}"),
    };
    let key = case.asked("key").map(unhex);
    let key = key.as_deref();
    let flags = asked(case, "flags", 0);
    let mut value = VALUE;
    match (case.question[1], case.question[2]) {
        ("S", "lookup") => outcome(sys::lookup(&**map, key, flags, &mut value)),
        ("S", "get_next_key") => outcome(sys::next_key(&**map, key, &mut [])),
        ("S", "update") => outcome(sys::update(&**map, key, &value, flags)),
        ("S", "delete") => outcome(sys::delete(&**map, key)),
        ("S", "lookup_and_delete") => {
            outcome(sys::lookup_and_delete(&**map, key, flags, &mut value))
        }
        ("S", "freeze") => outcome(sys::freeze(&**map)),
        ("P", "push") => agent::call(lab, map, PUSH, &[], &value, 0),
        ("P", "pop") => agent::call(lab, map, POP, &[], &value, 0),
        ("P", "peek") => agent::call(lab, map, PEEK, &[], &value, 0),
        other => panic!("{other:?} is no operation"),
    }
}
