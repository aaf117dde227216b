//! Maps that one side may only read or only write, and frozen maps. Each map goes
//! through its section's operations one after another.

use std::sync::Arc;

use skep_maps::batch::{self, BatchRequest};
use skep_maps::{CreateError, Map, MapDef, MapType, flags, sys};
use skep_oracle::recorded::Case;

use crate::agent::{self, DELETE, LOOKUP, UPDATE};
use crate::lab::{Lab, def};
use crate::section::Section;
use crate::state::type_named;
use crate::text::{asked, outcome};

pub(crate) fn answer(section: &Section) -> Vec<String> {
    let lab = Lab::new();
    let mut map = None;
    let mut last = "";
    let mut answers = Vec::new();
    for case in &section.cases {
        let name = case.question[0];
        if name != last {
            last = name;
            map = Some(make(&lab, name));
        }
        let answer = match map.as_ref().expect("made above") {
            Ok(map) if case.question[1] == "S" => system_call(map, case),
            Ok(map) => program(&lab, map, case),
            Err(CreateError::Unsupported { what, .. }) => format!("unsupported: {what}"),
            Err(error) => panic!("{error}"),
        };
        answers.push(answer);
    }
    answers
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
    let plain = match type_named(name) {
        MapType::LpmTrie => {
            MapDef { flags: flags::BPF_F_NO_PREALLOC, ..def(MapType::LpmTrie, 8, 8, 2) }
        }
        map_type => def(map_type, 4, 8, 2),
    };
    let map = lab.create(&MapDef { flags: plain.flags | flags, ..plain })?;
    let put = sys::update(&*map, Some(&key(&*map)), &[1; 8], 0);
    assert_eq!(put.is_err(), access == "rdonly", "only the read-only map cannot be filled");
    if access == "frozen" {
        sys::freeze(&*map).expect("it was not frozen");
    }
    Ok(map)
}

/// A key of zeros.
fn key(map: &dyn Map) -> Vec<u8> {
    vec![0; map.core().def().key_size as usize]
}

fn system_call(map: &Arc<dyn Map>, case: &Case<'_>) -> String {
    let map = &**map;
    let mut next = key(map);
    let key = key(map);
    let key = if case.asked("key") == Some("-") { None } else { Some(&key[..]) };
    let flags = asked(case, "flags", 0);
    let mut value = [0; 8];
    match case.question[2] {
        "lookup" => outcome(sys::lookup(map, key, flags, &mut value)),
        "get_next_key" => outcome(sys::next_key(map, None, &mut next)),
        "update" => outcome(sys::update(map, key, &[2; 8], flags)),
        "lookup_and_delete" => outcome(sys::lookup_and_delete(map, key, flags, &mut value)),
        "delete" => outcome(sys::delete(map, key)),
        "freeze" => outcome(sys::freeze(map)),
        command if command.ends_with("_batch") => batches(map, command),
        other => panic!("`{other}` is no system call"),
    }
}

/// A batch of one element.
fn batches(map: &dyn Map, command: &str) -> String {
    let one = BatchRequest { count: 1, ..BatchRequest::default() };
    let done = match command {
        "lookup_batch" => batch::lookup(map, None, one),
        "update_batch" => batch::update(map, &key(map), &[2; 8], one),
        _ => batch::delete(map, &key(map), one),
    };
    outcome(done.error.map_or(Ok(()), Err))
}

fn program(lab: &Lab, map: &Arc<dyn Map>, case: &Case<'_>) -> String {
    let helper = match case.question[2] {
        "lookup" => LOOKUP,
        "update" => UPDATE,
        "delete" => DELETE,
        other => panic!("`{other}` is no operation of programs"),
    };
    agent::call(lab, map, helper, &key(&**map), &[3; 8], 0)
}
