//! Maps that packets are redirected through: DEVMAP, DEVMAP_HASH, CPUMAP and XSKMAP.

use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketType};
use skep_oracle::asm::*;
use skep_oracle::{Kernel, Map, MapSpec, Prog, ProgSpec, map_type};

use crate::create::{Attributes, creation};
use crate::fd_maps::as_inner;
use crate::ops::{ABOUT, FLAGS, State, operations};
use crate::probe::{SCHED_CLS, Type, XDP, XDP_CPUMAP, XDP_DEVMAP};
use crate::record::{Record, check, hex};

/// The loopback device, in every network namespace.
pub(crate) const LO: u32 = 1;
/// No device has this number.
pub(crate) const NO_DEVICE: u32 = 0x7fff_ffff;

#[test]
fn devmap() {
    devices("devmap", map_type::DEVMAP);
}

#[test]
fn devmap_hash() {
    devices("devmap_hash", map_type::DEVMAP_HASH);
}

/// What a value is followed by in `/prog` states.
const WITH_PROGRAM: &str = "\
`/prog` states have values of 8 bytes: behind the `+` is a program: `devmap-a`, `devmap-b`\n\
and `cpumap-a` have those attach types, `xdp` has none, `cls` is of type sched_cls; `map`\n\
is the descriptor of a map, `bad` one that is not open, `minus` is -1, and nothing is 0.\n\
Lookups return ids.";

fn devices(name: &str, map_type: u32) {
    let about = format!(
        "{ABOUT}\nValues are numbers of devices: `lo` is 1, `zero` is 0, `none` is 2147483647, which no\n\
         device has. {WITH_PROGRAM}"
    );
    check(&name.replace('_', "-"), &about, |kernel, record| {
        creation(kernel, record, &Attributes::new(name, map_type, 4, 4, 3));
        as_inner(kernel, record, name, &MapSpec::new(map_type, 4, 4, 3));
        let programs = Programs::new(kernel);
        let numbers = [("lo", LO), ("zero", 0), ("none", NO_DEVICE)];
        for (value_size, words) in [
            (4, &["lo", "zero", "none"][..]),
            (
                8,
                &[
                    "lo",
                    "lo+devmap-a",
                    "lo+devmap-b",
                    "lo+cpumap-a",
                    "lo+xdp",
                    "lo+cls",
                    "lo+map",
                    "lo+bad",
                    "lo+minus",
                    "zero",
                    "zero+devmap-a",
                    "zero+minus",
                    "none",
                    "none+devmap-a",
                ],
            ),
        ] {
            let subject = Subject {
                kernel,
                name,
                map_type,
                max_entries: 2,
                value_size,
                numbers: &numbers,
                words,
                programs: &programs,
                keys: &[0, 1, 2, u32::MAX],
            };
            subject.record(record, "empty", &[]);
            subject.record(record, "one", &[(0, "lo")]);
            // Keys that share a bucket of a hash: the second comes first in it. Programs
            // would see the ids of programs, which are others each time.
            let other = if name == "devmap" { 1 } else { 2 };
            subject.record(record, "full", &[(0, "lo"), (other, "lo")]);
        }
    });
}

#[test]
fn cpumap() {
    let about = format!("{ABOUT}\nValues are sizes of queues, by number. {WITH_PROGRAM}");
    check("cpumap", &about, |kernel, record| {
        let name = "cpumap";
        assert_eq!(kernel.possible_cpus(), 2, "CPU maps were recorded with two CPUs");
        creation(kernel, record, &Attributes::new(name, map_type::CPUMAP, 4, 4, 3));
        as_inner(kernel, record, name, &MapSpec::new(map_type::CPUMAP, 4, 4, 3));
        let programs = Programs::new(kernel);
        let numbers = [
            ("192", 192),
            ("1", 1),
            ("0", 0),
            ("16384", 16_384),
            ("16385", 16_385),
            ("max", u32::MAX),
        ];
        for (value_size, words) in [
            (4, &["192", "1", "0", "16384", "16385", "max"][..]),
            (
                8,
                &[
                    "192",
                    "192+cpumap-a",
                    "192+cpumap-b",
                    "192+devmap-a",
                    "192+xdp",
                    "192+cls",
                    "192+map",
                    "192+bad",
                    "192+minus",
                    "0",
                    "0+cpumap-a",
                    "0+xdp",
                    "16385+cpumap-a",
                ],
            ),
        ] {
            let subject = Subject {
                kernel,
                name,
                map_type: map_type::CPUMAP,
                max_entries: 3,
                value_size,
                numbers: &numbers,
                words,
                programs: &programs,
                // A CPU that there is, one that the map has no room for, one that is not.
                keys: &[0, 1, 2, 3, u32::MAX],
            };
            subject.record(record, "empty", &[]);
            let second = if value_size == 4 { "1" } else { "192+cpumap-a" };
            subject.record(record, "two", &[(0, "192"), (1, second)]);
        }
    });
}

#[test]
fn xskmap() {
    let about = format!(
        "{ABOUT}\nValues: `xsk-a` and `xsk-b` are AF_XDP sockets, bound to nothing; `tcp` is a TCP\n\
         socket, `map` the descriptor of a map, `prog` of a program, `none` is no open\n\
         descriptor (-1)."
    );
    check("xskmap", &about, |kernel, record| {
        let name = "xskmap";
        creation(kernel, record, &Attributes::new(name, map_type::XSKMAP, 4, 4, 3));
        as_inner(kernel, record, name, &MapSpec::new(map_type::XSKMAP, 4, 4, 3));
        let [a, b] = [(); 2].map(|()| xsk());
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let programs = Programs::new(kernel);
        let sockets = [
            ("xsk-a", a.as_raw_fd()),
            ("xsk-b", b.as_raw_fd()),
            ("tcp", tcp.as_raw_fd()),
            ("map", programs.fd("map")),
            ("prog", programs.fd("xdp")),
            ("none", -1),
        ];
        let numbers = sockets.map(|(name, fd)| (name, fd.cast_unsigned()));
        let words = sockets.map(|(name, _)| name);
        let subject = Subject {
            kernel,
            name,
            map_type: map_type::XSKMAP,
            max_entries: 2,
            value_size: 4,
            numbers: &numbers,
            words: &words,
            programs: &programs,
            keys: &[0, 1, 2, u32::MAX],
        };
        subject.record(record, "empty", &[]);
        subject.record(record, "one", &[(0, "xsk-a")]);
        subject.record(record, "full", &[(0, "xsk-a"), (1, "xsk-b")]);
    });
}

/// An AF_XDP socket without rings.
pub(crate) fn xsk() -> OwnedFd {
    const AF_XDP: AddressFamily = AddressFamily::from_raw(44);
    rustix::net::socket(AF_XDP, SocketType::RAW, None).unwrap()
}

/// Programs that such maps take, or do not.
struct Programs {
    named: Vec<(&'static str, Prog)>,
    map: Map,
}

impl Programs {
    fn new(kernel: &Kernel) -> Self {
        let load = |ty: Type, result| {
            let insns = Asm::new().mov(R0, result).exit().build();
            let spec = ProgSpec::new(ty.id, &insns).expected_attach_type(ty.attach);
            kernel.load(&spec).unwrap()
        };
        let named = vec![
            ("devmap-a", load(XDP_DEVMAP, 1)),
            ("devmap-b", load(XDP_DEVMAP, 2)),
            ("cpumap-a", load(XDP_CPUMAP, 1)),
            ("cpumap-b", load(XDP_CPUMAP, 2)),
            ("xdp", load(XDP, 2)),
            ("cls", load(SCHED_CLS, 0)),
        ];
        Self { named, map: kernel.create_map(&MapSpec::new(map_type::ARRAY, 4, 4, 1)).unwrap() }
    }

    fn fd(&self, name: &str) -> i32 {
        match name {
            "map" => self.map.fd(),
            "bad" => 1 << 20,
            "minus" => -1,
            _ => self.named.iter().find(|(n, _)| *n == name).unwrap().1.fd(),
        }
    }

    fn name(&self, id: u32) -> String {
        let found = self.named.iter().find(|(_, prog)| prog.id().unwrap() == id);
        found.map_or_else(|| format!("id-{id}"), |(name, _)| (*name).to_owned())
    }
}

struct Subject<'a> {
    kernel: &'a Kernel,
    name: &'a str,
    map_type: u32,
    max_entries: u32,
    value_size: u32,
    numbers: &'a [(&'a str, u32)],
    words: &'a [&'a str],
    programs: &'a Programs,
    keys: &'a [u32],
}

impl Subject<'_> {
    fn bytes(&self, word: &str) -> Vec<u8> {
        let (number, program) = word.split_once('+').unwrap_or((word, ""));
        let number = self.numbers.iter().find(|(name, _)| *name == number).unwrap().1;
        let fd = if program.is_empty() { 0 } else { self.programs.fd(program) };
        let bytes = [number.to_ne_bytes(), fd.to_ne_bytes()].concat();
        bytes[..self.value_size as usize].to_vec()
    }

    fn show(&self, value: &[u8]) -> String {
        let word = |at: usize| u32::from_ne_bytes(value[at..at + 4].try_into().unwrap());
        let number = self.numbers.iter().find(|(_, number)| *number == word(0));
        let number = number.map_or_else(|| word(0).to_string(), |(name, _)| (*name).to_owned());
        match if value.len() > 4 { word(4) } else { 0 } {
            0 => number,
            id => format!("{number}+{}", self.programs.name(id)),
        }
    }

    fn record(&self, record: &mut Record, state: &str, put: &[(u32, &str)]) {
        let Self { kernel, max_entries, value_size, .. } = *self;
        let make = || {
            let spec = MapSpec::new(self.map_type, 4, value_size, max_entries);
            let map = kernel.create_map(&spec).unwrap();
            for (key, word) in put {
                map.update(&key.to_ne_bytes(), &self.bytes(word), 0).unwrap();
            }
            map
        };
        let variant = if value_size == 4 { "" } else { "/prog" };
        let name = format!("{}{variant}/{state}", self.name);
        record.note(&name);
        let put: Vec<String> =
            put.iter().map(|(key, word)| format!("{}:{word}", hex(&key.to_ne_bytes()))).collect();
        let put = if put.is_empty() { "-".to_owned() } else { put.join(",") };
        let question =
            format!("state {name} value_size={value_size} max_entries={max_entries} put={put}");
        record.case(&question, "ok");
        let values: Vec<(String, Vec<u8>)> =
            self.words.iter().map(|word| ((*word).to_owned(), self.bytes(word))).collect();
        let keys: Vec<[u8; 4]> = self.keys.iter().map(|key| key.to_ne_bytes()).collect();
        let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
        let state = State {
            name: &name,
            make: &make,
            keys: &keys,
            values: &values,
            flags: &FLAGS,
            show: &|value| self.show(value),
            hashed: false,
        };
        operations(kernel, record, &state);
    }
}
