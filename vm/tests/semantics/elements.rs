//! What a pointer into a map sees when its element changes hands; buckets of a batch;
//! owners of program arrays.

use std::sync::Arc;

use skep_maps::batch::{self, BatchRequest};
use skep_maps::flags::BPF_F_NO_PREALLOC;
use skep_maps::{CreateError, Errno, Map, MapDef, MapType, sys};
use skep_oracle::asm::{ADD, Asm, DW, JEQ, R0, R1, R2, R3, R4, R7, R8, R10, W};
use skep_oracle::recorded::Case;
use skep_vm::Program;

use crate::lab::{Lab, def};
use crate::ops::batch_outcome;
use crate::probe::Probe;
use crate::section::Section;
use crate::state::{lock, type_named};
use crate::text::{asked32, hex, outcome};

const LOOKUP: i32 = 1;
const UPDATE: i32 = 2;
const DELETE: i32 = 3;
/// The map's index in the program.
const MAP: i32 = 1;

pub(crate) fn answer(section: &Section) -> Vec<String> {
    let lab = Lab::new();
    let answer = |case: &Case<'_>| match case.question[0] {
        "prog_array" if case.asked("owner").is_some() => owner(&lab, case),
        "prog_array" => reowned(&lab),
        _ if case.question.contains(&"reused") => reused(&lab, case),
        "hash" if case.asked("elements").is_some() => buckets(&lab, case),
        _ => pointer(&lab, case),
    };
    section.cases.iter().map(answer).collect()
}

fn pointer(lab: &Lab, case: &Case<'_>) -> String {
    let name = case.question[0];
    let flags = if name.ends_with("/no_prealloc") { BPF_F_NO_PREALLOC } else { 0 };
    let special = if name.ends_with("/lock") { lock() } else { Vec::new() };
    let map = match lab.create(&MapDef { flags, special, ..def(type_named(name), 4, 8, 16) }) {
        Ok(map) => map,
        Err(CreateError::Unsupported { what, .. }) => return format!("unsupported: {what}"),
        Err(error) => panic!("{error}"),
    };
    let flags = i32::try_from(asked32(case, "update_flags", 0)).expect("small");
    let body = |asm: &mut Asm| {
        update(asm, 1, 11, 0);
        key(asm, 1);
        asm.call(LOOKUP).jmp(JEQ, R0, 0, "end").mov_reg(R8, R0);
        for step in case.asked("steps").expect("steps").split(',') {
            let words: Vec<&str> = step.split(':').collect();
            let number = |at: usize| words[at].parse().expect("a number");
            match words[0] {
                "update" => update(asm, number(1), number(2), flags),
                _ => {
                    key(asm, number(1));
                    asm.call(DELETE);
                }
            }
        }
        asm.ldx(W, R1, R8, 4).stx(DW, R7, 0, R1);
    };
    let probe = Probe::new(lab, "sched_cls", &[map], body);
    match probe.and_then(|probe| probe.run_on(&[])) {
        Ok(words) => format!("sees={}", words[0]),
        Err(ended) => ended,
    }
}

fn key(asm: &mut Asm, key: i32) {
    asm.st(W, R10, -4, key).map(R1, MAP).mov_reg(R2, R10).alu64(ADD, R2, -4);
}

fn update(asm: &mut Asm, number: i32, value: i32, flags: i32) {
    asm.st(W, R10, -16, 0).st(W, R10, -12, value);
    key(asm, number);
    asm.mov_reg(R3, R10).alu64(ADD, R3, -16).mov(R4, flags).call(UPDATE);
}

/// What the other CPUs have in an element that was another key's before.
fn reused(lab: &Lab, case: &Case<'_>) -> String {
    let name = case.question[0];
    let flags = if name.ends_with("/no_prealloc") { BPF_F_NO_PREALLOC } else { 0 };
    let map = lab.map(&MapDef { flags, ..def(type_named(name), 4, 8, 1) });
    let mut value = vec![0xff; map.core().user_value_size()];
    sys::update(&*map, Some(&1_u32.to_le_bytes()), &value, 0).expect("there is room");
    sys::delete(&*map, Some(&1_u32.to_le_bytes())).expect("it is there");
    let probe = Probe::new(lab, "sched_cls", &[Arc::clone(&map)], |asm| update(asm, 2, 5, 0));
    if let Err(ended) = probe.and_then(|probe| probe.run_on(&[])) {
        return ended;
    }
    sys::lookup(&*map, Some(&2_u32.to_le_bytes()), 0, &mut value).expect("it was stored");
    format!("value={}", hex(&value))
}

/// Buckets with more elements than a batch has room for.
fn buckets(lab: &Lab, case: &Case<'_>) -> String {
    let filled = |keys: &[u32]| {
        let map = lab.map(&def(MapType::Hash, 4, 8, 8));
        for key in keys {
            sys::update(&*map, Some(&key.to_le_bytes()), &[1; 8], 0).expect("there is room");
        }
        map
    };
    let read = |map: &dyn Map, count| {
        batch::lookup(map, None, BatchRequest { count, ..BatchRequest::default() })
    };
    let count = asked32(case, "count", 0);
    if !case.question.contains(&"in-one-bucket") {
        let batch = read(&*filled(&[0, 1, 2, 3, 4, 5, 6, 7]), count);
        let whole = batch.error.is_none() && (1..=7).contains(&batch.count);
        return if whole { "ok, whole buckets up to 7 elements" } else { "otherwise" }.to_owned();
    }
    let maps = (1..).map(|second| filled(&[0, second]));
    let mut shared = maps.filter(|map| read(&**map, 1).error == Some(Errno::ENOSPC));
    batch_outcome(&read(&*shared.next().expect("some two keys share a bucket"), count))
}

fn plain(lab: &Lab, prog_type: &str) -> Arc<Program> {
    let insns = Asm::new().mov(R0, 0).exit().build();
    lab.load(prog_type, insns, &[]).expect("it returns 0")
}

fn user(lab: &Lab, prog_type: &str, array: &Arc<dyn Map>) -> Result<Arc<Program>, String> {
    let insns = Asm::new().map(R2, 0).mov(R3, 0).call(12).mov(R0, 0).exit().build();
    lab.load(prog_type, insns, &[Arc::clone(array)])
}

fn insert(array: &dyn Map, slot: u32, program: &Program) -> String {
    outcome(sys::update(array, Some(&slot.to_le_bytes()), &program.id().to_le_bytes(), 0))
}

/// Which programs a program array takes once it has an owner.
fn owner(lab: &Lab, case: &Case<'_>) -> String {
    let word = |name| case.asked(name).expect("a word");
    let array = lab.map(&def(MapType::ProgArray, 4, 4, 2));
    let _first = if word("by") == "use" {
        user(lab, word("owner"), &array).expect("the array has no owner")
    } else {
        let program = plain(lab, word("owner"));
        assert_eq!(insert(&*array, 0, &program), "ok", "the array has no owner");
        program
    };
    let inserted = insert(&*array, 1, &plain(lab, word("then")));
    let used = match user(lab, word("then"), &array) {
        Ok(_) => "ok",
        Err(error) if error.contains("belongs to programs of another type") => "EINVAL",
        Err(error) => panic!("{error}"),
    };
    format!("insert:{inserted} use:{used}")
}

/// An array keeps its owner when it is empty again.
fn reowned(lab: &Lab) -> String {
    let array = lab.map(&def(MapType::ProgArray, 4, 4, 2));
    let put = |prog_type| {
        let inserted = insert(&*array, 0, &plain(lab, prog_type));
        if inserted == "ok" {
            sys::delete(&*array, Some(&[0; 4])).expect("it is there");
        }
        inserted
    };
    format!("{},{}", put("xdp"), put("sched_cls"))
}
