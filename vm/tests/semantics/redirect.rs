//! What redirect_map and redirect return, and where the packet then goes.

use std::sync::Arc;

use skep_maps::{Descriptor, Map, MapType, XdpSocket, sys};
use skep_oracle::accesses::Access;
use skep_oracle::asm::{ADD, Asm, DW, JEQ, R0, R1, R2, R3, R7, R8, R10, W};
use skep_oracle::recorded::Case;

use crate::agent::LOOKUP;
use crate::lab::{Lab, def};
use crate::probe::Probe;
use crate::section::Section;
use crate::state::type_named;
use crate::text::{asked, outcome, returned};

const REDIRECT: i32 = 23;
const REDIRECT_MAP: i32 = 51;
// Indexes of maps in the program.
const MAP: i32 = 1;
const OTHER: i32 = 2;

pub(crate) fn answer(section: &Section) -> Vec<String> {
    let lab = Lab::new();
    if section.name == "a closed socket" {
        return closed(&lab, section);
    }
    let case = |case: &Case<'_>| match case.question[0] {
        "redirect_map" => through_map(&lab, case),
        "redirect" => to_device(&lab, case),
        "may" => may(&lab, case),
        "lookup" => lookup(&lab, case),
        "owner" => owner(&lab, case),
        other => panic!("`{other}` is no question"),
    };
    section.cases.iter().map(case).collect()
}

/// A map with one element, key 0, and the socket in it.
fn filled(lab: &Lab, name: &str) -> (Arc<dyn Map>, Option<Descriptor<XdpSocket>>) {
    let map_type = type_named(name);
    let map = lab.map(&def(map_type, 4, 4, 2));
    let world = lab.machine.world();
    let socket = (map_type == MapType::Xskmap)
        .then(|| Descriptor::open(world, XdpSocket::new(world, 0).expect("there is room")));
    let value = match map_type {
        MapType::Cpumap => 192,
        MapType::Xskmap => socket.as_ref().map_or(0, Descriptor::number),
        _ => 1,
    };
    sys::update(&*map, Some(&[0; 4]), &u32::to_le_bytes(value), 0).expect("there is room");
    (map, socket)
}

fn through_map(lab: &Lab, case: &Case<'_>) -> String {
    let (map, _socket) = filled(lab, case.question[1]);
    let (key, flags) = (asked(case, "key", 0), asked(case, "flags", 0));
    redirect_map(lab, &map, key, flags)
}

fn redirect_map(lab: &Lab, map: &Arc<dyn Map>, key: u64, flags: u64) -> String {
    let probe = Probe::new(lab, "xdp", &[Arc::clone(map)], |asm| {
        asm.ldx(DW, R2, R7, 0).ldx(DW, R3, R7, 8).map(R1, MAP).call(REDIRECT_MAP);
        asm.stx(DW, R7, 16, R0);
    });
    match probe.and_then(|probe| probe.run_on(&[key.cast_signed(), flags.cast_signed()])) {
        Ok(words) => returned(words[2]),
        Err(ended) => ended,
    }
}

fn closed(lab: &Lab, section: &Section) -> Vec<String> {
    let (map, socket) = filled(lab, "xskmap");
    let number = socket.as_ref().expect("it has one").number();
    sys::update(&*map, Some(&[1, 0, 0, 0]), &number.to_le_bytes(), 0).expect("there is room");
    let mut socket = socket;
    let mut answers = Vec::new();
    for case in &section.cases {
        if case.question[1] == "closed" {
            drop(socket.take());
        }
        answers.push(redirect_map(lab, &map, asked(case, "key", 0), asked(case, "flags", 0)));
    }
    answers
}

fn to_device(lab: &Lab, case: &Case<'_>) -> String {
    let probe = Probe::new(lab, case.question[1], &[], |asm| {
        asm.ldx(DW, R1, R7, 0).ldx(DW, R2, R7, 8).call(REDIRECT).stx(DW, R7, 16, R0);
    });
    let given = ["ifindex", "flags"].map(|name| asked(case, name, 0).cast_signed());
    match probe.and_then(|probe| probe.run_on(&given)) {
        Ok(words) => returned(words[2]),
        Err(ended) => ended,
    }
}

/// Whether a program may call a helper: in skep it finds out when it does.
fn may(lab: &Lab, case: &Case<'_>) -> String {
    let map = case.question.get(3).map_or(MapType::Array, |name| type_named(name));
    let map = lab.map(&def(map, 4, 4, 2));
    let probe = Probe::new(lab, case.question[1], &[map], |asm| {
        match case.question[2] {
            "redirect" => asm.mov(R1, 1).mov(R2, 0).call(REDIRECT),
            _ => asm.map(R1, MAP).mov(R2, 0).mov(R3, 0).call(REDIRECT_MAP),
        };
    });
    match probe.and_then(|probe| probe.run_on(&[])) {
        Ok(_) => "yes".to_owned(),
        Err(ended) => ended,
    }
}

/// What comes of the second thing that is done to a map.
fn owner(lab: &Lab, case: &Case<'_>) -> String {
    let [_, name, first, _, then] = case.question[..] else { panic!("five words") };
    let map = lab.map(&def(type_named(name), 4, 8, 2));
    let act = |step: &str| {
        if step != "element" {
            let names = Probe::new(lab, step, &[Arc::clone(&map)], |asm| {
                asm.map(R1, MAP);
            });
            return names.map_or_else(|why| why, |_| "ok".to_owned());
        }
        let insns = Asm::new().mov(R0, 2).exit().build();
        let program = lab.load("xdp", insns, &[]).expect("it returns 2");
        let value = [1, program.id()].map(u32::to_le_bytes);
        let put = sys::update(&*map, Some(&[0; 4]), value.as_flattened(), 0);
        let _ = sys::delete(&*map, Some(&[0; 4]));
        outcome(put)
    };
    assert_eq!(act(first), "ok");
    act(then)
}

/// What a program may do with the element that it looks up.
fn lookup(lab: &Lab, case: &Case<'_>) -> String {
    let (map, _socket) = filled(lab, case.question[1]);
    let other = lab.map(&def(MapType::Hash, 4, 8, 1));
    let access = Access::named(case.question[3]).expect("an access");
    let probe = Probe::new(lab, case.question[2], &[map, other], |asm| {
        asm.st(W, R10, -4, 0).map(R1, MAP).mov_reg(R2, R10).alu64(ADD, R2, -4);
        asm.call(LOOKUP).jmp(JEQ, R0, 0, "end").mov_reg(R8, R0);
        access.write(asm, OTHER);
    });
    match probe.and_then(|probe| probe.run_on(&[])) {
        Ok(words) if words[0] == -1 => "-".to_owned(),
        Ok(words) => words[0].to_string(),
        Err(ended) => ended,
    }
}
