//! HASH, ARRAY and their per-CPU kin.

use skep_oracle::btf::BtfWriter;
use skep_oracle::{Btf, Errno, Kernel, Map, MapSpec, map_type};

use crate::create::{Attributes, creation};
use crate::ops::{ABOUT, FLAGS, State, operations};
use crate::record::{Record, check, hex};

/// Flags of `BPF_MAP_CREATE`.
pub(crate) mod flag {
    pub(crate) const NO_PREALLOC: u32 = 1;
    pub(crate) const RDONLY: u32 = 1 << 3;
    pub(crate) const WRONLY: u32 = 1 << 4;
    pub(crate) const RDONLY_PROG: u32 = 1 << 7;
    pub(crate) const WRONLY_PROG: u32 = 1 << 8;
    pub(crate) const MMAPABLE: u32 = 1 << 10;
}

/// Per-CPU values are recorded for two CPUs.
const CPUS: usize = 2;

#[test]
fn hash() {
    check("hash", ABOUT, |kernel, record| {
        creation(kernel, record, &Attributes::new("hash", map_type::HASH, 4, 8, 3));
        let variants = [
            ("hash", 0, Lock::No),
            ("hash/no_prealloc", flag::NO_PREALLOC, Lock::No),
            ("hash/lock", 0, Lock::Yes),
        ];
        for (name, flags, lock) in variants {
            let shape = Shape { name, map_type: map_type::HASH, max: 2, flags, lock };
            shape.record(kernel, record, &[("empty", 0..0), ("one", 1..2), ("full", 1..3)]);
        }
        access(kernel, record, "hash", &MapSpec::new(map_type::HASH, 4, 8, 2), &[0; 4]);
    });
}

#[test]
fn array() {
    check("array", ABOUT, |kernel, record| {
        creation(kernel, record, &Attributes::new("array", map_type::ARRAY, 4, 8, 3));
        let variants = [
            ("array", 0, Lock::No),
            ("array/mmapable", flag::MMAPABLE, Lock::No),
            ("array/lock", 0, Lock::Yes),
        ];
        for (name, flags, lock) in variants {
            let shape = Shape { name, map_type: map_type::ARRAY, max: 2, flags, lock };
            shape.record(kernel, record, &[("set", 0..2)]);
        }
        access(kernel, record, "array", &MapSpec::new(map_type::ARRAY, 4, 8, 2), &[0; 4]);
    });
}

#[test]
fn percpu_hash() {
    per_cpu("percpu-hash", |kernel, record| {
        let name = "percpu_hash";
        creation(kernel, record, &Attributes::new(name, map_type::PERCPU_HASH, 4, 8, 3));
        for (name, flags) in [(name, 0), ("percpu_hash/no_prealloc", flag::NO_PREALLOC)] {
            let map_type = map_type::PERCPU_HASH;
            let shape = Shape { name, map_type, max: 2, flags, lock: Lock::No };
            shape.record(kernel, record, &[("empty", 0..0), ("one", 1..2), ("full", 1..3)]);
        }
    });
}

#[test]
fn percpu_array() {
    per_cpu("percpu-array", |kernel, record| {
        let name = "percpu_array";
        let map_type = map_type::PERCPU_ARRAY;
        creation(kernel, record, &Attributes::new(name, map_type, 4, 8, 3));
        let shape = Shape { name, map_type, max: 2, flags: 0, lock: Lock::No };
        shape.record(kernel, record, &[("set", 0..2)]);
    });
}

fn per_cpu(name: &str, topic: impl FnOnce(&Kernel, &mut Record)) {
    check(name, ABOUT, |kernel, record| {
        assert_eq!(kernel.possible_cpus(), CPUS, "per-CPU values were recorded on another machine");
        topic(kernel, record);
    });
}

/// Whether a value begins with a `bpf_spin_lock`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    Yes,
    No,
}

#[derive(Debug)]
struct Shape<'a> {
    name: &'a str,
    map_type: u32,
    max: u32,
    flags: u32,
    lock: Lock,
}

impl Shape<'_> {
    fn record(
        &self,
        kernel: &Kernel,
        record: &mut Record,
        states: &[(&str, std::ops::Range<u32>)],
    ) {
        for (state, range) in states {
            let types = types(kernel);
            let create = || {
                let spec = MapSpec::new(self.map_type, 4, 8, self.max).flags(self.flags);
                let spec = match self.lock {
                    Lock::Yes => MapSpec { name: "lock", ..spec.btf(&types.0, types.1, types.2) },
                    Lock::No => spec,
                };
                kernel.create_map(&spec).unwrap()
            };
            // The n-th element's value is n+1 in every byte, on CPU 1 with the top bit.
            let value = |n: u32, map: &Map| -> Vec<u8> {
                let byte = u8::try_from(0x11 * (n + 1)).unwrap();
                (0..map.value_len()).map(|i| if i < 8 { byte } else { byte | 0x80 }).collect()
            };
            let make = || {
                let map = create();
                for n in range.clone() {
                    map.update(&n.to_ne_bytes(), &value(n, &map), 0).unwrap();
                }
                map
            };
            let put: Vec<String> = range
                .clone()
                .map(|n| format!("{}:{}", hex(&n.to_ne_bytes()), hex(&value(n, &create()))))
                .collect();
            let name = format!("{}/{state}", self.name);
            record.note(&name);
            let question = format!(
                "state {name} key_size=4 value_size=8 max_entries={} flags={:#x} lock={} put={}",
                self.max,
                self.flags,
                if self.lock == Lock::Yes { "0" } else { "-" },
                if put.is_empty() { "-".to_owned() } else { put.join(",") }
            );
            record.case(&question, "ok");
            let hashed = matches!(self.map_type, map_type::HASH | map_type::PERCPU_HASH);
            let keys: &[u32] = if hashed { &[1, 3] } else { &[0, 1, 2, u32::MAX] };
            let keys: Vec<[u8; 4]> = keys.iter().map(|key| key.to_ne_bytes()).collect();
            let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
            let new = value(6, &create());
            operations(
                kernel,
                record,
                &State {
                    name: &name,
                    make: &make,
                    keys: &keys,
                    values: &[(hex(&new), new)],
                    flags: &FLAGS,
                    show: &hex,
                    hashed,
                },
            );
        }
    }
}

/// Types of a value that begins with a lock: blob, key, value.
pub(crate) fn types(kernel: &Kernel) -> (Btf, u32, u32) {
    let mut types = BtfWriter::new();
    let int = types.int("int", 4);
    let lock = types.structure("bpf_spin_lock", 4, &[("val", int, 0)]);
    let value = types.structure("value", 8, &[("lock", lock, 0), ("n", int, 4)]);
    (kernel.load_btf(&types.blob()).unwrap(), int, value)
}

/// Maps that one side may only read or only write, and frozen maps.
pub(crate) fn access(
    kernel: &Kernel,
    record: &mut Record,
    name: &str,
    spec: &MapSpec<'_>,
    key: &[u8],
) {
    use crate::agent::{Agent, DELETE, LOOKUP, UPDATE};
    use crate::record::outcome;

    record.note("access; `frozen` maps were frozen when they held element 0");
    for (access, flags) in [
        ("frozen", 0),
        ("rdonly", flag::RDONLY),
        ("wronly", flag::WRONLY),
        ("rdonly_prog", flag::RDONLY_PROG),
        ("wronly_prog", flag::WRONLY_PROG),
    ] {
        let map = kernel.create_map(&spec.clone().flags(spec.flags | flags)).unwrap();
        // Fails for the map that may only be read.
        let _ = map.update(key, &[1; 8], 0);
        if access == "frozen" {
            map.freeze().unwrap();
        }
        let mut case = |question: &str, errno: Option<Errno>| {
            record.case(&format!("{name}/{access} S {question}"), &outcome(errno));
        };
        let batch = skep_oracle::BatchFlags::default();
        case("lookup", map.lookup(key, 0).err());
        case("lookup flags=8", map.lookup(key, 8).err());
        case("get_next_key", map.get_next_key(&[]).err());
        case("lookup_batch", map.lookup_batch(&[], 1, batch).errno);
        case("update", map.update(key, &[2; 8], 0).err());
        case("update flags=8", map.update(key, &[2; 8], 8).err());
        case("update key=-", map.update(&[], &[2; 8], 0).err());
        case("update_batch", map.update_batch(key, &[2; 8], 1, batch).errno);
        case("lookup_and_delete", map.lookup_and_delete(key, 0).err());
        case("delete", map.delete(key).err());
        case("delete_batch", map.delete_batch(key, 1, batch).errno);
        for (operation, helper) in [("lookup", LOOKUP), ("update", UPDATE), ("delete", DELETE)] {
            let answer = match Agent::new(kernel, &map, helper) {
                Err(_) => "refused".to_owned(),
                Ok(agent) => agent.call(key, &[3; 8], 0).to_string(),
            };
            record.case(&format!("{name}/{access} P {operation}"), &answer);
        }
        record.case(&format!("{name}/{access} S freeze"), &outcome(map.freeze().err()));
    }
}
