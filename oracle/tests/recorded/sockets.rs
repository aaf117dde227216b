//! Maps of sockets: SOCKMAP, SOCKHASH and REUSEPORT_SOCKARRAY.

use std::cell::RefCell;

use skep_oracle::sockets::{self, KINDS, Kind, Socket};
use skep_oracle::{Kernel, Map, MapSpec, map_type};

use crate::create::{Attributes, creation};
use crate::fd_maps::as_inner;
use crate::ops::{ABOUT, FLAGS, State, operations};
use crate::record::{Record, check, hex, outcome};

const TYPES: [(&str, u32); 3] = [
    ("sockmap", map_type::SOCKMAP),
    ("sockhash", map_type::SOCKHASH),
    ("reuseport_sockarray", map_type::REUSEPORT_SOCKARRAY),
];

#[test]
fn sockmap() {
    states("sockmap", map_type::SOCKMAP, "tcp-listen");
}

#[test]
fn sockhash() {
    states("sockhash", map_type::SOCKHASH, "tcp-listen");
}

#[test]
fn reuseport_sockarray() {
    states("reuseport_sockarray", map_type::REUSEPORT_SOCKARRAY, "tcp-reuse-listen");
}

/// The sockets of a recording. Each operation is done with new ones under the old
/// descriptors: what a map has held keeps traces of it.
struct Sockets {
    open: RefCell<Vec<(&'static str, &'static Kind, Socket)>>,
}

impl Sockets {
    fn new(names: &[(&'static str, &str)]) -> Self {
        let open = |&(name, kind): &(&'static str, &str)| {
            let kind = sockets::named(kind).unwrap();
            (name, kind, sockets::open(kind).unwrap())
        };
        Self { open: RefCell::new(names.iter().map(open).collect()) }
    }

    fn renew(&self) {
        for (_, kind, socket) in self.open.borrow_mut().iter_mut() {
            socket.renew(kind).unwrap();
        }
    }

    fn fd(&self, name: &str) -> i32 {
        self.open.borrow().iter().find(|(own, ..)| *own == name).unwrap().2.fd()
    }

    /// Who has a cookie.
    fn show(&self, value: &[u8]) -> String {
        let Ok(bytes) = value.try_into() else { return hex(value) };
        let cookie = u64::from_ne_bytes(bytes);
        let open = self.open.borrow();
        let found = open.iter().find(|(.., socket)| socket.cookie() == Ok(cookie));
        found.map_or_else(|| hex(value), |(name, ..)| (*name).to_owned())
    }
}

fn states(name: &'static str, map_type: u32, kind: &'static str) {
    let about = format!(
        "{ABOUT}\nValues: `a` and `b` are sockets of kind {kind} (see `sockets`), `fresh` is one\n\
         that is not connected, `map` the descriptor of a map, `none` is no open descriptor\n\
         (1048576), `far` is 2147483648, `minus` is -1, and `huge`, where there is room,\n\
         4294967296. Lookups return cookies, which are shown as the sockets' names."
    );
    check(&name.replace('_', "-"), &about, |kernel, record| {
        creation(kernel, record, &Attributes::new(name, map_type, 4, 4, 3));
        as_inner(kernel, record, name, &MapSpec::new(map_type, 4, 4, 3));
        let sockets = Sockets::new(&[("a", kind), ("b", kind), ("fresh", "tcp-new")]);
        let map = kernel.create_map(&MapSpec::new(map_type::ARRAY, 4, 4, 1)).unwrap();
        for value_size in [8, 4] {
            let words: [(&str, u64); 8] = [
                ("a", fd_word(sockets.fd("a"))),
                ("b", fd_word(sockets.fd("b"))),
                ("fresh", fd_word(sockets.fd("fresh"))),
                ("map", fd_word(map.fd())),
                ("none", 1 << 20),
                ("far", 1 << 31),
                ("minus", u64::MAX),
                ("huge", 1 << 32),
            ];
            let values: Vec<(String, Vec<u8>)> = words
                .iter()
                .filter(|(name, _)| value_size == 8 || *name != "huge")
                .map(|(name, word)| {
                    ((*name).to_owned(), word.to_ne_bytes()[..value_size as usize].to_vec())
                })
                .collect();
            for (state, put) in [("empty", &[][..]), ("one", &["a"]), ("full", &["a", "b"])] {
                let make = || {
                    sockets.renew();
                    let map = kernel.create_map(&MapSpec::new(map_type, 4, value_size, 2)).unwrap();
                    for (key, name) in (0_u32..).zip(put) {
                        let value = &values.iter().find(|(own, _)| own == name).unwrap().1;
                        map.update(&key.to_ne_bytes(), value, 0).unwrap();
                    }
                    map
                };
                let variant = if value_size == 8 { "" } else { "/fd" };
                let name = format!("{name}{variant}/{state}");
                record.note(&name);
                let put: Vec<String> = (0_u32..)
                    .zip(put)
                    .map(|(k, n)| format!("{}:{n}", hex(&k.to_ne_bytes())))
                    .collect();
                let put = if put.is_empty() { "-".to_owned() } else { put.join(",") };
                let question =
                    format!("state {name} value_size={value_size} max_entries=2 put={put}");
                record.case(&question, "ok");
                let keys = [0_u32, 1, 2, u32::MAX].map(u32::to_ne_bytes);
                let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
                let state = State {
                    name: &name,
                    make: &make,
                    keys: &keys,
                    values: &values,
                    flags: &FLAGS,
                    show: &|value| sockets.show(value),
                    hashed: map_type == map_type::SOCKHASH,
                };
                operations(kernel, record, &state);
            }
        }
    });
}

fn fd_word(fd: i32) -> u64 {
    u64::from(fd.cast_unsigned())
}

#[test]
fn kinds() {
    check(
        "sockets",
        "`kind` lines: what a kind of socket is. TYPE KIND: whether a map of the type takes it,\n\
         by an update of a fresh map. `then` lines: a socket that is in a map of the first type\n\
         is put into one of the second, or again into the same; after `;` what comes of it\n\
         when it has been deleted from the first. `closed` lines: what is left in a map of 2\n\
         elements that holds a socket twice, or a socket and another, when it is closed: how\n\
         the second went in, what lookups of both keys say, the keys of a walk, and an update\n\
         of a key with another socket. `order` lines: the keys of a SOCKHASH with so many entries, in\n\
         the order of a walk, after a socket was put under each of the keys in turn.",
        |kernel, record| {
            record.note("kinds");
            for kind in KINDS {
                if sockets::open(kind).is_err() {
                    continue;
                }
                let question = format!(
                    "kind {} family={} type={} protocol={} state={} bound={} reuse_port={}",
                    kind.name,
                    kind.family,
                    kind.socket_type,
                    kind.protocol,
                    kind.state,
                    kind.bound,
                    kind.reuse_port
                );
                record.case(&question, "ok");
                for (name, map_type) in TYPES {
                    let socket = sockets::open(kind).unwrap();
                    let map = make(kernel, map_type);
                    let answer = outcome(put(&map, 0, &socket, 0));
                    record.case(&format!("{name} {}", kind.name), &answer);
                }
            }
            twice(kernel, record);
            closed(kernel, record);
            order(kernel, record);
        },
    );
}

fn make(kernel: &Kernel, map_type: u32) -> Map {
    kernel.create_map(&MapSpec::new(map_type, 4, 8, 2)).unwrap()
}

fn put(map: &Map, key: u32, socket: &Socket, flags: u64) -> Option<skep_oracle::Errno> {
    map.update(&key.to_ne_bytes(), &fd_word(socket.fd()).to_ne_bytes(), flags).err()
}

/// Whether a socket can be in two maps.
fn twice(kernel: &Kernel, record: &mut Record) {
    record.note("in two maps");
    for kind in ["tcp-reuse-listen", "udp-reuse-bound"] {
        for (first, first_type) in TYPES {
            for (second, second_type) in TYPES {
                let socket = sockets::open(sockets::named(kind).unwrap()).unwrap();
                let maps = [make(kernel, first_type), make(kernel, second_type)];
                assert_eq!(put(&maps[0], 0, &socket, 0), None);
                let then = put(&maps[1], 0, &socket, 0);
                let _ = maps[1].delete(&[0; 4]);
                maps[0].delete(&[0; 4]).unwrap();
                let after = outcome(put(&maps[1], 0, &socket, 0));
                let question = format!("{first} {kind} then {second}");
                record.case(&question, &format!("{} ; {after}", outcome(then)));
            }
            let socket = sockets::open(sockets::named(kind).unwrap()).unwrap();
            let map = make(kernel, first_type);
            assert_eq!(put(&map, 0, &socket, 0), None);
            let again = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 2)]
                .map(|(key, flags)| outcome(put(&map, key, &socket, flags)));
            let question = format!("{first} {kind} then 0:0,0:1,0:2,1:0,1:2");
            record.case(&question, &again.join(","));
        }
    }
}

/// What is left when a socket is closed.
fn closed(kernel: &Kernel, record: &mut Record) {
    record.note("closed");
    for (name, map_type) in TYPES {
        let kind = sockets::named("tcp-reuse-listen").unwrap();
        for holds in ["twice", "and another"] {
            let [socket, other, third] = [(); 3].map(|()| sockets::open(kind).unwrap());
            let map = make(kernel, map_type);
            put(&map, 0, &socket, 0);
            let second = put(&map, 1, if holds == "twice" { &socket } else { &other }, 0);
            drop(socket);
            let lookup = |key: u32| match map.lookup(&key.to_ne_bytes(), 0) {
                Ok(_) => "there".to_owned(),
                Err(errno) => errno.to_string(),
            };
            let mut keys = map.keys().unwrap();
            keys.sort();
            let keys: Vec<String> = keys.iter().map(|key| hex(key)).collect();
            let keys = if keys.is_empty() { "-".to_owned() } else { keys.join(",") };
            let answer = format!(
                "second={} lookup={},{} keys={keys} update={}",
                outcome(second),
                lookup(0),
                lookup(1),
                outcome(put(&map, if map_type == map_type::SOCKHASH { 7 } else { 0 }, &third, 1))
            );
            record.case(&format!("closed {name} {holds}"), &answer);
        }
    }
}

/// In which order keys come, which depends on no seed.
fn order(kernel: &Kernel, record: &mut Record) {
    record.note("order");
    for max_entries in [1, 2, 3, 8, 64] {
        for key_size in [1_u32, 4, 8, 13] {
            let spec = MapSpec::new(map_type::SOCKHASH, key_size, 8, max_entries);
            let map = kernel.create_map(&spec).unwrap();
            let socket = sockets::open(sockets::named("udp-bound").unwrap()).unwrap();
            let value = fd_word(socket.fd()).to_ne_bytes();
            let mut put = Vec::new();
            // One of them twice.
            for n in (0..max_entries.min(12)).chain([0]) {
                let mut key = vec![0; key_size as usize];
                key[0] = u8::try_from(n).unwrap();
                map.update(&key, &value, 0).unwrap();
                put.push(n.to_string());
            }
            let walk: Vec<String> =
                map.keys().unwrap().iter().map(|key| key[0].to_string()).collect();
            let question = format!(
                "order max_entries={max_entries} key_size={key_size} put={}",
                put.join(",")
            );
            record.case(&question, &walk.join(","));
        }
    }
}
