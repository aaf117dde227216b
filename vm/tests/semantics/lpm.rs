//! LPM_TRIE: which prefix is found, the order of keys, and what stays of an old value.

use std::sync::Arc;

use skep_maps::flags::BPF_F_NO_PREALLOC;
use skep_maps::{Map, MapDef, MapType, sys};
use skep_oracle::asm::{ADD, Asm, DW, JEQ, R0, R1, R2, R3, R4, R7, R8, R10, W};
use skep_oracle::recorded::Case;

use crate::lab::{Lab, def};
use crate::ops;
use crate::probe::Probe;
use crate::section::Section;
use crate::state::walk;
use crate::text::{asked32, hex, name, unhex};

/// The file of the type: what all types have, then trees and pointers.
pub(crate) fn maps(section: &Section) -> Vec<String> {
    match section.name {
        about if about.starts_with("tree") => trees(section),
        "pointers" => {
            let lab = Lab::new();
            section.cases.iter().map(|case| pointer(&lab, case)).collect()
        }
        _ => ops::maps(section),
    }
}

fn trie(lab: &Lab, key_size: u32, max_entries: u32) -> Arc<dyn Map> {
    let plain = def(MapType::LpmTrie, key_size, 8, max_entries);
    lab.map(&MapDef { flags: BPF_F_NO_PREALLOC, ..plain })
}

/// A key from `LENGTH:DATA`.
fn key(text: &str) -> Vec<u8> {
    let (len, data) = text.split_once(':').expect("LENGTH:DATA");
    let len: u32 = len.parse().expect("a length");
    [&len.to_le_bytes(), &unhex(data)[..]].concat()
}

fn shown(key: &[u8]) -> String {
    let (len, data) = key.split_first_chunk::<4>().expect("a length");
    format!("{}:{}", u32::from_le_bytes(*len), hex(data))
}

fn trees(section: &Section) -> Vec<String> {
    let lab = Lab::new();
    let tree = &section.cases[0];
    let map = trie(&lab, asked32(tree, "key_size", 0), 64);
    for (prefix, n) in tree.asked("put").expect("prefixes").split(',').zip(0_u64..) {
        sys::update(&*map, Some(&key(prefix)), &n.to_le_bytes(), 0).expect("there is room");
    }
    section.cases.iter().map(|case| ask(&*map, case)).collect()
}

fn ask(map: &dyn Map, case: &Case<'_>) -> String {
    let key = || key(case.asked("key").expect("a key"));
    match case.question[0] {
        "tree" => "ok".to_owned(),
        "walk" => {
            let keys = walk(map).expect("the walk ends");
            format!("keys={}", keys.iter().map(|key| shown(key)).collect::<Vec<_>>().join(","))
        }
        "next" => {
            let mut next = vec![0; map.core().def().key_size as usize];
            match sys::next_key(map, Some(&key()), &mut next) {
                Ok(()) => format!("next={}", shown(&next)),
                Err(errno) => name(errno),
            }
        }
        "longest" => {
            let mut value = [0; 8];
            match sys::lookup(map, Some(&key()), 0, &mut value) {
                Ok(()) => u64::from_le_bytes(value).to_string(),
                Err(errno) => name(errno),
            }
        }
        other => panic!("`{other}` is no question"),
    }
}

/// The map's index in the program.
const MAP: i32 = 1;
const LOOKUP: i32 = 1;
const UPDATE: i32 = 2;
const DELETE: i32 = 3;

/// What a pointer into the map sees after some steps.
fn pointer(lab: &Lab, case: &Case<'_>) -> String {
    let body = |asm: &mut Asm| {
        step(asm, "update:8:10:11");
        element(asm, 8, 10);
        asm.call(LOOKUP).jmp(JEQ, R0, 0, "end").mov_reg(R8, R0);
        case.asked("steps").expect("steps").split(',').for_each(|one| step(asm, one));
        asm.ldx(W, R1, R8, 0).stx(DW, R7, 0, R1);
    };
    let probe = Probe::new(lab, "sched_cls", &[trie(lab, 8, 16)], body);
    match probe.and_then(|probe| probe.run_on(&[])) {
        Ok(words) => format!("sees={}", words[0]),
        Err(ended) => ended,
    }
}

/// The map in r1 and a key in r2.
fn element(asm: &mut Asm, len: i32, byte: i32) {
    asm.st(W, R10, -8, len).st(W, R10, -4, byte);
    asm.map(R1, MAP).mov_reg(R2, R10).alu64(ADD, R2, -8);
}

/// `update:LENGTH:BYTE:VALUE` or `delete:LENGTH:BYTE`.
fn step(asm: &mut Asm, step: &str) {
    let words: Vec<&str> = step.split(':').collect();
    let number = |at: usize| words[at].parse().expect("a number");
    if words[0] == "update" {
        asm.st(W, R10, -16, number(3)).st(W, R10, -12, 0);
        element(asm, number(1), number(2));
        asm.mov_reg(R3, R10).alu64(ADD, R3, -16).mov(R4, 0).call(UPDATE);
    } else {
        element(asm, number(1), number(2));
        asm.call(DELETE);
    }
}
