//! What must have a case: each operation on each type of map in each state, and each
//! helper.

use std::collections::BTreeSet;

use libtest_mimic::{Failed, Trial};
use skep_maps::MapType;
use skep_vm::helpers;

use crate::section::{Section, sections};
use crate::system;

/// One trial for each table.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("coverage: every_map_type_has_its_states", states),
        Trial::test("coverage: every_operation_has_a_case", operations),
        Trial::test("coverage: every_flag_of_updates_has_a_case", flags),
        Trial::test("coverage: every_helper_is_called", all_helpers),
    ]
}

/// The file that is about a type of map, and the states that it can be in: an array is
/// never empty, and never less than full.
const TYPES: &[(MapType, &str, &[&str])] = &[
    (MapType::Hash, "hash", &["hash/empty", "hash/one", "hash/full"]),
    (
        MapType::PercpuHash,
        "percpu-hash",
        &["percpu_hash/empty", "percpu_hash/one", "percpu_hash/full"],
    ),
    (MapType::Array, "array", &["array/set"]),
    (MapType::PercpuArray, "percpu-array", &["percpu_array/set"]),
    (MapType::ProgArray, "prog-array", &["prog_array/empty", "prog_array/one"]),
    (
        MapType::PerfEventArray,
        "perf-event-array",
        &["perf_event_array/empty", "perf_event_array/one", "perf_event_array/preserved"],
    ),
    (
        MapType::ArrayOfMaps,
        "array-of-maps",
        &["array_of_maps/empty", "array_of_maps/one", "array_of_maps/full"],
    ),
    (
        MapType::HashOfMaps,
        "hash-of-maps",
        &["hash_of_maps/empty", "hash_of_maps/one", "hash_of_maps/full"],
    ),
    (MapType::StackTrace, "stack-trace", &["stack_trace/empty", "stack_trace/one"]),
    (MapType::Ringbuf, "ringbuf", &["ringbuf"]),
    (MapType::UserRingbuf, "user-ringbuf", &["user_ringbuf"]),
];

/// Operations of the system call, and of programs.
const SYSTEM_CALLS: &[&str] =
    &["lookup", "update", "delete", "get_next_key", "lookup_and_delete", "walk", "freeze"];
const PROGRAM_CALLS: &[&str] = &["lookup", "update", "delete", "lookup_percpu"];

/// The flags of updates: ANY, NOEXIST, EXIST and LOCK.
const FLAGS: &[&str] = &["flags=0x0", "flags=0x1", "flags=0x2", "flags=0x4"];

fn fail_unless_empty(missing: &[String]) -> Result<(), Failed> {
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!("no case is recorded for {}", missing.join(", ")).into())
}

/// All sections about operations on a type's states.
fn of_states(file: &'static str, states: &[&str]) -> Vec<Section> {
    sections(file).into_iter().filter(|section| states.contains(&section.name)).collect()
}

fn states() -> Result<(), Failed> {
    let mut missing: Vec<String> = MapType::ALL
        .iter()
        .filter(|t| t.is_supported() && !TYPES.iter().any(|(own, ..)| own == *t))
        .map(|t| format!("map type {t}"))
        .collect();
    for &(_, file, states) in TYPES {
        let found = of_states(file, states);
        let has = |name: &str| found.iter().any(|section| section.name == name);
        missing.extend(states.iter().filter(|name| !has(name)).map(|name| (*name).to_owned()));
    }
    fail_unless_empty(&missing)
}

/// Whether a section has a case of an operation with these words.
fn has(section: &Section, side: &str, operation: &str, words: &[&str]) -> bool {
    section.cases.iter().any(|case| {
        case.question.get(1) == Some(&side)
            && case.question.get(2) == Some(&operation)
            && words.iter().all(|word| case.question.contains(word))
    })
}

fn operations() -> Result<(), Failed> {
    let mut missing = Vec::new();
    for &(_, file, states) in TYPES {
        for section in of_states(file, states) {
            let calls = SYSTEM_CALLS.iter().map(|call| ("S", *call));
            let calls = calls.chain(PROGRAM_CALLS.iter().map(|call| ("P", *call)));
            for (side, call) in calls.filter(|(side, call)| !has(&section, side, call, &[])) {
                missing.push(format!("{} {side} {call}", section.name));
            }
        }
    }
    fail_unless_empty(&missing)
}

fn flags() -> Result<(), Failed> {
    let mut missing = Vec::new();
    for &(_, file, states) in TYPES {
        for section in of_states(file, states) {
            for flag in FLAGS {
                let refused = section.cases.iter().any(|case| {
                    case.question[1..] == ["P", "update"] && case.answer == ["refused"]
                });
                let sides = if refused { &["S"][..] } else { &["S", "P"] };
                for side in sides.iter().filter(|side| !has(&section, side, "update", &[flag])) {
                    missing.push(format!("{} {side} update {flag}", section.name));
                }
            }
        }
    }
    fail_unless_empty(&missing)
}

/// Helpers that a recording is about, by the word that its questions or answers have.
fn recorded() -> BTreeSet<&'static str> {
    let mut names = BTreeSet::new();
    for &(file, _) in crate::FAMILIES {
        for section in sections(file) {
            for case in &section.cases {
                let words = case.question.iter().chain(&case.answer);
                names.extend(words.filter_map(|word| word.split([':', '=']).next()));
                if case.question.get(1) == Some(&"P") {
                    names.extend(case.question.get(2).copied());
                }
            }
        }
    }
    names
}

/// The word that stands for a helper in the recordings, where it is not the helper's name.
const WORDS: &[(&str, &str)] = &[
    ("map_lookup_elem", "lookup"),
    ("map_update_elem", "update"),
    ("map_delete_elem", "delete"),
    ("map_lookup_percpu_elem", "lookup_percpu"),
    ("for_each_map_elem", "for_each"),
    ("tail_call", "leaf"),
    ("xdp_adjust_head", "head"),
    ("xdp_adjust_tail", "tail"),
    ("xdp_adjust_meta", "meta"),
    ("perf_event_output", "output"),
    ("ringbuf_reserve", "reserve"),
    ("ringbuf_submit", "submit"),
    ("ringbuf_discard", "discard"),
    ("ringbuf_output", "output"),
    ("ringbuf_query", "query"),
    ("trace_vprintk", "vprintk"),
    ("get_stackid", "stackid"),
    ("user_ringbuf_drain", "drain"),
    ("dynptr_from_mem", "from_mem"),
    ("dynptr_read", "read"),
    ("dynptr_write", "write"),
    ("dynptr_data", "data"),
    // All lines about dynptrs of ring buffers use them.
    ("ringbuf_reserve_dynptr", "reserve"),
    ("ringbuf_submit_dynptr", "submit"),
    ("ringbuf_discard_dynptr", "discard"),
];

fn all_helpers() -> Result<(), Failed> {
    let mut called = recorded();
    called.extend(system::called());
    let missing: Vec<String> = helpers::all()
        .iter()
        .filter(|helper| {
            let word = WORDS.iter().find(|(name, _)| *name == helper.name);
            !called.contains(word.map_or(helper.name, |(_, word)| word))
        })
        .map(|helper| format!("helper {}", helper.name))
        .collect();
    fail_unless_empty(&missing)
}
