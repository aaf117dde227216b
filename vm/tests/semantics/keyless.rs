//! Types without keys: queues, stacks and bloom filters.

use std::sync::Arc;

use skep_maps::{CreateError, Map, MapDef, MapType, flags, sys};
use skep_oracle::recorded::{Case, numbered};

use crate::agent::{self, PEEK, POP, PUSH};
use crate::lab::{Lab, def};
use crate::section::Section;
use crate::state::type_named;
use crate::text::{asked, asked32, hex, outcome, unhex};
use crate::{create, ops};

/// The files of these types: creation rules, access rights, then operations by state.
pub(crate) fn maps(section: &Section) -> Vec<String> {
    match section.name {
        about if about.starts_with("creation") => create::creation(section),
        about if about.starts_with("access") => access(section),
        about if about.starts_with("members") => each(section, member),
        about if about.starts_with("collisions") => each(section, collide),
        "other types" => each(section, other),
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

fn each(section: &Section, answer: fn(&Lab, &Case<'_>) -> String) -> Vec<String> {
    let lab = Lab::new();
    section.cases.iter().map(|case| answer(&lab, case)).collect()
}

fn filter(lab: &Lab, value_size: u32, max_entries: u32, map_extra: u64) -> Arc<dyn Map> {
    let plain = def(MapType::BloomFilter, 0, value_size, max_entries);
    lab.map(&MapDef { map_extra, flags: flags::BPF_F_ZERO_SEED, ..plain })
}

/// Which of many values are taken for one of a few.
fn member(lab: &Lab, case: &Case<'_>) -> String {
    let size = asked32(case, "value_size", 0);
    let map = filter(lab, size, asked32(case, "max_entries", 0), asked(case, "map_extra", 0));
    let by_program = case.asked("by") == Some("P");
    let value = |n| numbered(n, size as usize);
    for n in 0..asked(case, "put", 0) {
        let put = match by_program {
            true => agent::call(lab, &map, PUSH, &[], &value(n), 0),
            false => outcome(sys::update(&*map, None, &value(n), 0)),
        };
        assert!(put == "0" || put == "ok", "{put}");
    }
    let asked = usize::try_from(asked(case, "asked", 0)).expect("few");
    let mut maybe = vec![0; asked / 8];
    for n in 0..asked {
        let value = value(n as u64);
        let found = match by_program {
            true => agent::call(lab, &map, PEEK, &[], &value, 0).starts_with("0 "),
            false => sys::lookup(&*map, None, 0, &mut value.clone()).is_ok(),
        };
        maybe[n / 8] |= u8::from(found) << (n % 8);
    }
    format!("maybe={}", hex(&maybe))
}

/// Two values with one hash.
fn collide(lab: &Lab, case: &Case<'_>) -> String {
    let size = asked32(case, "value_size", 0);
    let map = filter(lab, size, u32::MAX, 1);
    let value = |n| numbered(n, size as usize);
    sys::update(&*map, None, &value(asked(case, "first", 0)), 0).expect("a filter takes all");
    let second = asked(case, "second", 0);
    let ask = |n| outcome(sys::lookup(&*map, None, 0, &mut value(n)));
    format!("second={} next={}", ask(second), ask(second + 1))
}

/// The helpers on maps of other types.
fn other(lab: &Lab, case: &Case<'_>) -> String {
    let map_type = type_named(case.question[0]);
    let plain = match map_type {
        MapType::Ringbuf => def(map_type, 0, 0, 4096),
        MapType::LpmTrie => MapDef { flags: flags::BPF_F_NO_PREALLOC, ..def(map_type, 8, 8, 2) },
        _ => def(map_type, 4, 8, 2),
    };
    let map = match lab.create(&plain) {
        Ok(map) => map,
        Err(error) => return create::refused(&error),
    };
    let helper = match case.question[2] {
        "push" => PUSH,
        "pop" => POP,
        "peek" => PEEK,
        other => panic!("`{other}` is no operation"),
    };
    agent::call(lab, &map, helper, &[], &[0; 8], 0)
}
