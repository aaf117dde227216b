//! Every operation with every flag on maps in given states, from both sides.

use std::sync::Arc;

use skep_maps::batch::{self, Batch, BatchRequest};
use skep_maps::{Errno, Map, sys};
use skep_oracle::recorded::Case;

use crate::agent::{self, DELETE, LOOKUP, LOOKUP_PERCPU, PEEK, POP, PUSH, UPDATE};
use crate::lab::Lab;
use crate::section::Section;
use crate::state::{State, walk};
use crate::text::{asked, asked32, hex, list, name, outcome, unhex};
use crate::{access, create, perf};

/// The files of map types: creation rules, then operations by state.
pub(crate) fn maps(section: &Section) -> Vec<String> {
    match section.name {
        "templates" => create::templates(section),
        about if about.starts_with("creation") => create::creation(section),
        "close" => perf::close(section),
        about if about.starts_with("access") => access::answer(section),
        _ => operations(section),
    }
}

pub(crate) fn operations(section: &Section) -> Vec<String> {
    let lab = Lab::new();
    let state = State::new(&lab, section);
    section
        .cases
        .iter()
        .map(|case| match case.question[0] {
            "state" => "ok".to_owned(),
            _ => operation(&state, case),
        })
        .collect()
}

/// Does an operation on a fresh map and says what the map holds if that changed.
fn operation(state: &State<'_>, case: &Case<'_>) -> String {
    let map = state.make();
    if case.question[2] == "freeze" {
        return outcome(sys::freeze(&*map));
    }
    let before = state.contents(&*map);
    let answer = match case.question[1] {
        "S" => system_call(state, &map, case),
        _ => program(state, &map, case),
    };
    let after = state.contents(&*map);
    if before == after { answer } else { format!("{answer} after={after}") }
}

fn system_call(state: &State<'_>, map: &Arc<dyn Map>, case: &Case<'_>) -> String {
    let map = &**map;
    let key = case.asked("key").filter(|key| *key != "-").map(unhex);
    let key = key.as_deref();
    let flags = asked(case, "flags", 0);
    let mut value = vec![0; map.core().user_value_size()];
    match case.question[2] {
        "lookup" => match sys::lookup(map, key, flags, &mut value) {
            Ok(()) => format!("ok value={}", state.show(&value)),
            Err(errno) => name(errno),
        },
        "lookup_and_delete" => match sys::lookup_and_delete(map, key, flags, &mut value) {
            Ok(()) => format!("ok value={}", state.show(&value)),
            Err(errno) => name(errno),
        },
        "update" => {
            let new = state.bytes(case.asked("value").expect("a value"));
            // The system call reads as many bytes as the map's values have.
            outcome(sys::update(map, key, &new[..value.len()], flags))
        }
        "delete" if flags == 0 => outcome(sys::delete(map, key)),
        "get_next_key" if flags == 0 => next_key(state, map, key),
        "delete" | "get_next_key" => "takes no flags".to_owned(),
        "walk" => match walk(map) {
            Ok(mut keys) => {
                assert_eq!(sorted(keys.clone()), sorted(sys::keys(map)), "both list all keys");
                if state.is_hashed() {
                    keys.sort();
                }
                format!("ok keys={}", list(&keys.iter().map(|key| hex(key)).collect::<Vec<_>>()))
            }
            Err(errno) => name(errno),
        },
        command if command.ends_with("_batch") => batches(state, map, case),
        other => panic!("`{other}` is no system call"),
    }
}

/// A batch command, what it did and the elements that it read.
fn batches(state: &State<'_>, map: &dyn Map, case: &Case<'_>) -> String {
    let request = BatchRequest {
        count: asked32(case, "count", 0),
        elem_flags: asked(case, "elem_flags", 0),
        flags: asked(case, "flags", 0),
    };
    let place = case.asked("in_batch").map(|_| asked32(case, "in_batch", 0).to_le_bytes());
    let place = place.as_ref().map(|place| &place[..]);
    let keys = unhex(case.asked("keys").unwrap_or("-"));
    let read = match case.question[2] {
        "lookup_batch" => batch::lookup(map, place, request),
        "lookup_and_delete_batch" => batch::lookup_and_delete(map, place, request),
        "update_batch" => {
            let value = state.bytes(case.asked("value").expect("a value"));
            let values = value.repeat(request.count as usize);
            return batch_outcome(&batch::update(map, &keys, &values, request));
        }
        "delete_batch" => return batch_outcome(&batch::delete(map, &keys, request)),
        other => panic!("`{other}` is no batch command"),
    };
    let outcome = batch_outcome(&read);
    if read.keys.is_empty() {
        return outcome;
    }
    let (key_size, value_size) = (map.core().def().key_size as usize, map.core().user_value_size());
    let elements = read.keys.chunks(key_size).zip(read.values.chunks(value_size));
    let mut elements: Vec<String> =
        elements.map(|(key, value)| format!("{}:{}", hex(key), state.show(value))).collect();
    if state.is_hashed() {
        elements.sort();
        return format!("{outcome} elements={}", elements.join(","));
    }
    format!("{outcome} out_batch={} elements={}", hex(&read.next), elements.join(","))
}

/// How a batch command ended, and how many elements it processed.
pub(crate) fn batch_outcome(batch: &Batch) -> String {
    format!("{} count={}", outcome(batch.error.map_or(Ok(()), Err)), batch.count)
}

fn sorted(mut keys: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    keys.sort();
    keys
}

/// The next key; of a hash, whether there must be or may be one.
fn next_key(state: &State<'_>, map: &dyn Map, key: Option<&[u8]>) -> String {
    let mut next = vec![0; map.core().def().key_size as usize];
    let result = sys::next_key(map, key, &mut next);
    let keys = walk(map).unwrap_or_default();
    let some = state.is_hashed() && keys.contains(&next);
    let may_be_last = some_of_several(state, &keys, key);
    match result {
        Ok(()) if may_be_last && some => "some or ENOENT".to_owned(),
        Err(Errno::ENOENT) if may_be_last => "some or ENOENT".to_owned(),
        Ok(()) if some => "ok next=some".to_owned(),
        Ok(()) => format!("ok next={}", hex(&next)),
        Err(errno) => name(errno),
    }
}

/// Whether `key` is one of several whose order depends on a hash.
fn some_of_several(state: &State<'_>, keys: &[Vec<u8>], key: Option<&[u8]>) -> bool {
    state.is_hashed() && keys.len() > 1 && keys.iter().any(|own| Some(own.as_slice()) == key)
}

fn program(state: &State<'_>, map: &Arc<dyn Map>, case: &Case<'_>) -> String {
    let helper = match case.question[2] {
        "lookup" => LOOKUP,
        "update" => UPDATE,
        "delete" => DELETE,
        "lookup_percpu" => LOOKUP_PERCPU,
        "push" => PUSH,
        "pop" => POP,
        "peek" => PEEK,
        other => panic!("`{other}` is no operation of programs"),
    };
    // A refused program has no key; any will do.
    let key = unhex(case.asked("key").unwrap_or("00000000"));
    let value = case.asked("value").map(|value| state.bytes(value)).unwrap_or_default();
    agent::call(state.lab, map, helper, &key, &value, asked(case, "flags", 0))
}
