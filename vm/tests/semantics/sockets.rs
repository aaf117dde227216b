//! Sockets in maps, and what programs find there.

use std::sync::Arc;

use skep_difftest::sockets::{self, OWN_PORT, Other, PEER_PORT};
use skep_maps::{Descriptor, Map, MapType, Resource, Socket, sys};
use skep_oracle::asm::{ADD, Asm, DW, H, JEQ, R0, R1, R2, R3, R4, R7, R8, R10, W};
use skep_oracle::recorded::Case;
use skep_oracle::sockets::{SOCK_FIELDS, named, steady_fields};

use crate::agent::{DELETE, LOOKUP, UPDATE};
use crate::lab::{Lab, def};
use crate::probe::Probe;
use crate::section::Section;
use crate::state::{type_named, walk};
use crate::text::{asked, asked32, hex, list, name, outcome, returned};

const SK_RELEASE: i32 = 86;
// Indexes of maps in programs.
const MAP: i32 = 1;
const OTHER: i32 = 2;

/// A socket of a kind.
pub(crate) fn open(lab: &Lab, kind: &str) -> Descriptor<Socket> {
    let kind = named(kind).unwrap_or_else(|| panic!("no kind {kind}"));
    sockets::open(lab.machine.world(), kind)
}

fn make(lab: &Lab, map_type: &str) -> Arc<dyn Map> {
    lab.map(&def(type_named(map_type), 4, 8, 2))
}

fn put<T: Resource>(map: &dyn Map, key: u32, socket: &Descriptor<T>, flags: u64) -> String {
    let value = u64::from(socket.number()).to_le_bytes();
    outcome(sys::update(map, Some(&key.to_le_bytes()), &value, flags))
}

pub(crate) fn kinds(section: &Section) -> Vec<String> {
    let case = |case: &Case<'_>| match (section.name, case.question[0]) {
        (_, "kind") => kind(case),
        ("kinds", map_type) => {
            let lab = Lab::new();
            let map = make(&lab, map_type);
            if case.question[1] == "xsk" {
                let other = Other { is_socket: true };
                return put(&*map, 0, &Descriptor::open(lab.machine.world(), other), 0);
            }
            put(&*map, 0, &open(&lab, case.question[1]), 0)
        }
        ("in two maps", _) => twice(case),
        ("order", _) => order(case),
        _ => closed(case),
    };
    section.cases.iter().map(case).collect()
}

/// A kind is what the recording says.
fn kind(case: &Case<'_>) -> String {
    let kind = named(case.question[1]).expect("the kind");
    let number = |name| asked32(case, name, 0);
    let says = |name| case.asked(name) == Some("true");
    let same = u32::from(kind.family) == number("family")
        && kind.socket_type == number("type")
        && kind.protocol == number("protocol")
        && kind.state == number("state")
        && kind.bound == says("bound")
        && kind.reuse_port == says("reuse_port");
    if same { "ok".to_owned() } else { format!("{kind:?}") }
}

fn twice(case: &Case<'_>) -> String {
    let lab = Lab::new();
    let [first, kind, _, then] = case.question[..] else { panic!("four words") };
    let socket = open(&lab, kind);
    let map = make(&lab, first);
    assert_eq!(put(&*map, 0, &socket, 0), "ok");
    if then.contains(':') {
        let again = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 2)];
        return again.map(|(key, flags)| put(&*map, key, &socket, flags)).join(",");
    }
    let second = make(&lab, then);
    let before = put(&*second, 0, &socket, 0);
    // It may not be there.
    let _ = sys::delete(&*second, Some(&[0; 4]));
    sys::delete(&*map, Some(&[0; 4])).expect("it is there");
    format!("{before} ; {}", put(&*second, 0, &socket, 0))
}

fn closed(case: &Case<'_>) -> String {
    let lab = Lab::new();
    let [socket, other, third] = [(); 3].map(|()| open(&lab, "tcp-reuse-listen"));
    let map_type = case.question[1];
    let map = make(&lab, map_type);
    assert_eq!(put(&*map, 0, &socket, 0), "ok");
    let second = if case.question[2] == "twice" { &socket } else { &other };
    let second = put(&*map, 1, second, 0);
    drop(socket);
    let lookup = |key: u32| match sys::lookup(&*map, Some(&key.to_le_bytes()), 0, &mut [0; 8]) {
        Ok(()) => "there".to_owned(),
        Err(errno) => name(errno),
    };
    let mut keys = walk(&*map).expect("it has keys");
    keys.sort();
    let keys = list(&keys.iter().map(|key| hex(key)).collect::<Vec<_>>());
    let lookup = [lookup(0), lookup(1)].join(",");
    let key = if map_type == "sockhash" { 7 } else { 0 };
    let update = put(&*map, key, &third, 1);
    format!("second={second} lookup={lookup} keys={keys} update={update}")
}

fn order(case: &Case<'_>) -> String {
    let lab = Lab::new();
    let socket = open(&lab, "udp-bound");
    let key_size = asked32(case, "key_size", 0);
    let map = lab.map(&def(MapType::Sockhash, key_size, 8, asked32(case, "max_entries", 0)));
    let value = u64::from(socket.number()).to_le_bytes();
    for n in case.asked("put").expect("the keys").split(',') {
        let mut key = vec![0; key_size as usize];
        key[0] = n.parse().expect("a byte");
        sys::update(&*map, Some(&key), &value, 0).expect("there is room");
    }
    let keys = walk(&*map).expect("it has keys");
    list(&keys.iter().map(|key| key[0].to_string()).collect::<Vec<_>>())
}

pub(crate) fn programs(section: &Section) -> Vec<String> {
    let case = |case: &Case<'_>| match section.name {
        "sock" if case.question[0] == "load" => load(),
        "sock" => fields(case),
        "copy" if case.question[0] == "copy" => copy(case),
        "copy" => delete(case),
        "may" => may(case),
        _ => misuse(case),
    };
    section.cases.iter().map(case).collect()
}

fn holding(lab: &Lab, map_type: &str, key: u32, socket: &Descriptor<Socket>) -> Arc<dyn Map> {
    let map = make(lab, map_type);
    assert_eq!(put(&*map, key, socket, 0), "ok");
    map
}

/// Makes r8 point to the socket of key 0.
fn find(asm: &mut Asm) {
    asm.st(W, R10, -4, 0).map(R1, MAP).mov_reg(R2, R10).alu64(ADD, R2, -4);
    asm.call(LOOKUP).jmp(JEQ, R0, 0, "end").mov_reg(R8, R0);
}

fn release(asm: &mut Asm) {
    asm.mov_reg(R1, R8).call(SK_RELEASE);
}

/// The register after a load of the last field.
fn load() -> String {
    found("unix-stream")
        .map_or_else(|ended| ended, |words| format!("{:#x}", words[SOCK_FIELDS.len() - 1]))
}

/// The fields that a program finds, and what the release returns.
fn found(kind: &str) -> Result<Vec<i64>, String> {
    let lab = Lab::new();
    let socket = open(&lab, kind);
    let map = holding(&lab, "sockmap", 0, &socket);
    let probe = Probe::new(&lab, "sched_cls", &[map], |asm| {
        find(asm);
        for (n, field) in (0..).zip(SOCK_FIELDS) {
            let width = if field.size == 2 { H } else { W };
            asm.ldx(width, R1, R8, field.offset).stx(DW, R7, 8 * n, R1);
        }
        release(asm);
        asm.stx(DW, R7, 8 * i16::try_from(SOCK_FIELDS.len()).expect("few"), R0);
    });
    probe.and_then(|probe| probe.run_on(&[]))
}

fn fields(case: &Case<'_>) -> String {
    let words = match found(case.question[1]) {
        Ok(words) => words,
        Err(ended) => return ended,
    };
    let shown = steady_fields(case.question[1]).iter().zip(&words).map(|(field, &word)| {
        let port = u16::try_from(word).unwrap_or(0);
        let text = match port {
            _ if !field.name.ends_with("port") => format!("{word:#x}"),
            OWN_PORT => "own".to_owned(),
            PEER_PORT => "peer".to_owned(),
            _ if port.swap_bytes() == PEER_PORT => "~peer".to_owned(),
            _ => format!("{word:#x}"),
        };
        format!("{}={text}", field.name)
    });
    let shown: Vec<String> = shown.collect();
    format!("{} sk_release={}", shown.join(" "), words[SOCK_FIELDS.len()])
}

/// Which of three keys of a map have sockets.
fn keys_there(map: &dyn Map) -> Vec<u32> {
    let there = |key: &u32| sys::lookup(map, Some(&key.to_le_bytes()), 0, &mut [0; 8]).is_ok();
    [0, 1, 2].into_iter().filter(there).collect()
}

fn copy(case: &Case<'_>) -> String {
    let lab = Lab::new();
    let socket = open(&lab, "tcp-listen");
    let source = holding(&lab, case.question[1], 0, &socket);
    let target = holding(&lab, case.question[2], 1, &socket);
    let key = i32::try_from(asked(case, "key", 0)).expect("a small key");
    let flags = asked(case, "flags", 0);
    let probe = Probe::new(&lab, "sched_cls", &[source, Arc::clone(&target)], |asm| {
        find(asm);
        asm.st(W, R10, -4, key).map(R1, OTHER);
        asm.mov_reg(R2, R10).alu64(ADD, R2, -4).mov_reg(R3, R8).lddw(R4, flags);
        asm.call(UPDATE).stx(DW, R7, 0, R0);
        release(asm);
    });
    match probe.and_then(|probe| probe.run_on(&[])) {
        Ok(words) => {
            let keys: Vec<String> = keys_there(&*target).iter().map(u32::to_string).collect();
            format!("{} keys={}", returned(words[0]), keys.join(","))
        }
        Err(ended) => ended,
    }
}

fn delete(case: &Case<'_>) -> String {
    let lab = Lab::new();
    let socket = open(&lab, "tcp-listen");
    let map = holding(&lab, case.question[1], 1, &socket);
    let key = i32::try_from(asked(case, "key", 0)).expect("a small key");
    let probe = Probe::new(&lab, "sched_cls", &[Arc::clone(&map)], |asm| {
        asm.st(W, R10, -4, key).map(R1, MAP);
        asm.mov_reg(R2, R10).alu64(ADD, R2, -4).call(DELETE).stx(DW, R7, 0, R0);
    });
    match probe.and_then(|probe| probe.run_on(&[])) {
        Ok(words) => {
            let keys = keys_there(&*map);
            let keys: Vec<String> = keys.iter().map(|key| hex(&key.to_le_bytes())).collect();
            format!("{} keys={}", returned(words[0]), list(&keys))
        }
        Err(ended) => ended,
    }
}

/// Whether a program may: in skep it finds out when it does.
fn may(case: &Case<'_>) -> String {
    let lab = Lab::new();
    let prog_type = case.question[1].trim_end_matches("/egress");
    let socket = open(&lab, "tcp-listen");
    let map = holding(&lab, case.question[3], 0, &socket);
    let probe = Probe::new(&lab, prog_type, &[map], |asm| match case.question[2] {
        "lookup" => {
            find(asm);
            release(asm);
        }
        "update" => {
            find(asm);
            asm.map(R1, MAP).mov_reg(R2, R10).alu64(ADD, R2, -4).mov_reg(R3, R8);
            asm.mov(R4, 0).call(UPDATE);
            release(asm);
        }
        _ => {
            asm.st(W, R10, -4, 0).map(R1, MAP).mov_reg(R2, R10).alu64(ADD, R2, -4);
            asm.call(DELETE);
        }
    });
    match probe.and_then(|probe| probe.run_on(&[])) {
        Ok(_) => "yes".to_owned(),
        Err(ended) => ended,
    }
}

fn misuse(case: &Case<'_>) -> String {
    let lab = Lab::new();
    let socket = open(&lab, "tcp-listen");
    let map = holding(&lab, "sockmap", 0, &socket);
    let probe = Probe::new(&lab, "sched_cls", &[map], |asm| match &case.question[..] {
        ["kept"] => find(asm),
        ["released", "twice"] => {
            find(asm);
            release(asm);
            release(asm);
        }
        ["read", "when", "released"] => {
            find(asm);
            release(asm);
            asm.ldx(W, R1, R8, 4);
        }
        ["released", "from", ..] => {
            find(asm);
            asm.alu64(ADD, R8, 4);
            release(asm);
        }
        ["stored", "to"] => {
            find(asm);
            asm.st(W, R8, 4, 0);
            release(asm);
        }
        _ => {
            asm.st(DW, R10, -8, 0).map(R1, MAP).mov_reg(R2, R10).alu64(ADD, R2, -4);
            asm.mov_reg(R3, R10).alu64(ADD, R3, -8).mov(R4, 0).call(UPDATE);
        }
    });
    match probe.and_then(|probe| probe.run_on(&[])) {
        Ok(_) => "taken".to_owned(),
        Err(ended) => ended,
    }
}
