//! Maps that hold descriptors: PROG_ARRAY, ARRAY_OF_MAPS and HASH_OF_MAPS.

use skep_oracle::asm::*;
use skep_oracle::{Kernel, Map, MapSpec, ProgSpec, map_type, prog_type};

use crate::create::{Attributes, creation};
use crate::ops::{ABOUT, State, operations};
use crate::plain_maps::{flag, types};
use crate::record::{Record, check, hex, outcome};

#[test]
fn prog_array() {
    let about = format!(
        "{ABOUT}\nValues: `prog-a` and `prog-b` are programs of type sched_cls, `prog-xdp` is of\n\
         another type, `map` is a map, `none` is no open descriptor (-1). Lookups return ids."
    );
    check("prog-array", &about, |kernel, record| {
        let name = "prog_array";
        creation(kernel, record, &Attributes::new(name, map_type::PROG_ARRAY, 4, 4, 3));
        let load = |prog_type, result| {
            let insns = Asm::new().mov(R0, result).exit().build();
            kernel.load(&ProgSpec::new(prog_type, &insns)).unwrap()
        };
        let [a, b] = [1, 2].map(|result| load(prog_type::SCHED_CLS, result));
        let xdp = load(prog_type::XDP, 2);
        let map = kernel.create_map(&MapSpec::new(map_type::ARRAY, 4, 4, 1)).unwrap();
        let fds = [
            ("prog-a", a.fd()),
            ("prog-b", b.fd()),
            ("prog-xdp", xdp.fd()),
            ("map", map.fd()),
            ("none", -1),
        ];
        let ids = [(&a, "prog-a"), (&b, "prog-b"), (&xdp, "prog-xdp")]
            .map(|(prog, name)| (prog.id().unwrap(), name));
        for (state, put) in [("empty", "-"), ("one", "00000000:prog-a")] {
            let make = || {
                let array = MapSpec::new(map_type::PROG_ARRAY, 4, 4, 2);
                let array = kernel.create_map(&array).unwrap();
                if state == "one" {
                    array.update(&[0; 4], &a.fd().to_ne_bytes(), 0).unwrap();
                }
                array
            };
            let name = format!("{name}/{state}");
            record.note(&name);
            let question = format!("state {name} max_entries=2 flags=0x0 put={put}");
            record.case(&question, "ok");
            descriptors(kernel, record, &name, &make, &fds, &ids);
        }
    });
}

#[test]
fn array_of_maps() {
    of_maps("array-of-maps", "array_of_maps", map_type::ARRAY_OF_MAPS);
}

#[test]
fn hash_of_maps() {
    of_maps("hash-of-maps", "hash_of_maps", map_type::HASH_OF_MAPS);
}

fn of_maps(file: &str, name: &str, map_type: u32) {
    let about = format!(
        "{ABOUT}\nThe template is an ARRAY of 2 values of 8 bytes (with BPF_F_INNER_MAP 0x1000\n\
         in `inner_map` states). Values: `inner-a` and `inner-b` are like the template, their\n\
         value 0 is aa and bb in each byte; `longer` has 3 entries, `wider` values of 16\n\
         bytes, `flagged` BPF_F_MMAPABLE, `hash` is a HASH, `prog` is a program, `none` is no\n\
         open descriptor (-1). Lookups by the system call return ids; P's lookup gives value\n\
         0 of the inner map."
    );
    check(file, &about, |kernel, record| {
        let inner = |flags: u32, max: u32, value: u32, byte: u8| {
            let spec = MapSpec::new(map_type::ARRAY, 4, value, max).flags(flags);
            let map = kernel.create_map(&spec).unwrap();
            map.update(&[0; 4], &vec![byte; value as usize], 0).unwrap();
            map
        };
        let template = inner(0, 2, 8, 0);
        creation(kernel, record, &Attributes::new(name, map_type, 4, 4, 3).inner(&template));
        templates(kernel, record, name, map_type);

        let insns = Asm::new().mov(R0, 0).exit().build();
        let prog = kernel.load(&ProgSpec::new(prog_type::XDP, &insns)).unwrap();
        let hash = kernel.create_map(&MapSpec::new(map_type::HASH, 4, 8, 2)).unwrap();
        for (state, flags, put) in [
            ("empty", 0, &[][..]),
            ("one", 0, &["inner-a"]),
            ("full", 0, &["inner-a", "inner-b"]),
            ("inner_map", 0x1000, &["inner-a"]),
        ] {
            let maps = [
                ("inner-a", inner(flags, 2, 8, 0xaa)),
                ("inner-b", inner(flags, 2, 8, 0xbb)),
                ("longer", inner(flags, 3, 8, 0)),
                ("wider", inner(flags, 2, 16, 0)),
                ("flagged", inner(flags | flag::MMAPABLE, 2, 8, 0)),
            ];
            let fd = |name: &str| maps.iter().find(|(n, _)| *n == name).unwrap().1.fd();
            let mut fds: Vec<(&str, i32)> = maps.iter().map(|(n, m)| (*n, m.fd())).collect();
            fds.extend([("hash", hash.fd()), ("prog", prog.fd()), ("none", -1)]);
            let ids: Vec<_> = maps.iter().map(|(n, m)| (m.info().id, *n)).collect();
            let template = inner(flags, 2, 8, 0);
            let make = || {
                let outer = MapSpec::new(map_type, 4, 4, 2).inner(&template);
                let outer = kernel.create_map(&outer).unwrap();
                for (key, &name) in (0_u32..).zip(put) {
                    outer.update(&key.to_ne_bytes(), &fd(name).to_ne_bytes(), 0).unwrap();
                }
                outer
            };
            let name = format!("{name}/{state}");
            record.note(&name);
            let put: Vec<String> =
                (0_u32..).zip(put).map(|(k, n)| format!("{}:{n}", hex(&k.to_ne_bytes()))).collect();
            let put = if put.is_empty() { "-".to_owned() } else { put.join(",") };
            let question = format!("state {name} max_entries=2 inner_flags={flags:#x} put={put}");
            record.case(&question, "ok");
            descriptors(kernel, record, &name, &make, &fds, &ids);
        }
    });
}

/// Whether a type can be a template, and what must then be equal; sizes are those of the
/// type's plain map.
pub(crate) fn as_inner(kernel: &Kernel, record: &mut Record, name: &str, plain: &MapSpec<'_>) {
    record.note("templates");
    let MapSpec { map_type, key_size, value_size, max_entries, .. } = *plain;
    let template = kernel.create_map(plain).unwrap();
    let outer = MapSpec::new(map_type::ARRAY_OF_MAPS, 4, 4, 1).inner(&template);
    let outer = match kernel.create_map(&outer) {
        Ok(outer) => outer,
        Err(errno) => {
            let question = format!("create array_of_maps template={name}");
            record.case(&question, &errno.to_string());
            return;
        }
    };
    let template = format!("{name},{key_size},{value_size},{max_entries},0x0");
    let other_value = if value_size == 4 { 8 } else { 4 };
    for (value, max, flags) in [
        (value_size, max_entries, 0),
        (value_size, max_entries + 1, 0),
        (other_value, max_entries, 0),
        (value_size, max_entries, flag::RDONLY),
        (value_size, max_entries, 1 << 2),
    ] {
        let spec = MapSpec::new(map_type, key_size, value, max).flags(flags);
        let answer = match kernel.create_map(&spec) {
            Ok(inner) => outcome(outer.update(&[0; 4], &inner.fd().to_ne_bytes(), 0).err()),
            // The type has no such map.
            Err(_) => continue,
        };
        let question = format!(
            "array_of_maps template={template} S update \
             inner={name},{key_size},{value},{max},{flags:#x}"
        );
        record.case(&question, &answer);
    }
}

fn descriptors(
    kernel: &Kernel,
    record: &mut Record,
    name: &str,
    make: &dyn Fn() -> Map,
    fds: &[(&str, i32)],
    ids: &[(u32, &str)],
) {
    let values: Vec<(String, Vec<u8>)> =
        fds.iter().map(|(name, fd)| ((*name).to_owned(), fd.to_ne_bytes().to_vec())).collect();
    let show = |value: &[u8]| {
        let id = u32::from_ne_bytes(value.try_into().unwrap());
        let found = ids.iter().find(|(i, _)| *i == id);
        found.map_or_else(|| format!("id-{id}"), |(_, name)| (*name).to_owned())
    };
    let hashed = make().info().map_type == map_type::HASH_OF_MAPS;
    let keys: Vec<[u8; 4]> = [0_u32, 1, 2].iter().map(|key| key.to_ne_bytes()).collect();
    let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
    let keys = &keys[..];
    let flags = &[0, 1, 2, 3, 4, 8];
    let values = &values[..];
    operations(kernel, record, &State { name, make, keys, values, flags, show: &show, hashed });
}

/// Which maps can be the template of inner maps.
fn templates(kernel: &Kernel, record: &mut Record, name: &str, outer: u32) {
    record.note("templates");
    let plain = kernel.create_map(&MapSpec::new(map_type::ARRAY, 4, 8, 1)).unwrap();
    let (btf, int, value) = types(kernel);
    let of_maps =
        |map_type| kernel.create_map(&MapSpec::new(map_type, 4, 4, 1).inner(&plain)).unwrap();
    let lpm = MapSpec::new(map_type::LPM_TRIE, 8, 8, 1).flags(flag::NO_PREALLOC);
    let lock = MapSpec::new(map_type::ARRAY, 4, 8, 1).btf(&btf, int, value);
    let simple = |map_type| kernel.create_map(&MapSpec::new(map_type, 4, 8, 1)).unwrap();
    let keyless = |map_type| kernel.create_map(&MapSpec::new(map_type, 0, 8, 1)).unwrap();
    let candidates = [
        ("hash", simple(map_type::HASH)),
        ("array", simple(map_type::ARRAY)),
        ("array-with-lock", kernel.create_map(&lock).unwrap()),
        ("percpu_hash", simple(map_type::PERCPU_HASH)),
        ("percpu_array", simple(map_type::PERCPU_ARRAY)),
        ("lru_hash", simple(map_type::LRU_HASH)),
        ("lru_percpu_hash", simple(map_type::LRU_PERCPU_HASH)),
        ("lpm_trie", kernel.create_map(&lpm).unwrap()),
        ("queue", keyless(map_type::QUEUE)),
        ("stack", keyless(map_type::STACK)),
        ("bloom_filter", keyless(map_type::BLOOM_FILTER)),
        ("ringbuf", kernel.create_map(&MapSpec::new(map_type::RINGBUF, 0, 0, 4096)).unwrap()),
        ("prog_array", kernel.create_map(&MapSpec::new(map_type::PROG_ARRAY, 4, 4, 1)).unwrap()),
        ("array_of_maps", of_maps(map_type::ARRAY_OF_MAPS)),
        ("hash_of_maps", of_maps(map_type::HASH_OF_MAPS)),
    ];
    for (template, map) in &candidates {
        let spec = MapSpec::new(outer, 4, 4, 1).inner(map);
        let answer = outcome(kernel.create_map(&spec).err());
        record.case(&format!("create {name} template={template}"), &answer);
    }
    let answer = outcome(kernel.create_map(&MapSpec::new(outer, 4, 4, 1)).err());
    record.case(&format!("create {name} template=-"), &answer);

    // What must be equal between a template and an inner map.
    let spec = |key, value, max, flags| MapSpec::new(map_type::HASH, key, value, max).flags(flags);
    let template = kernel.create_map(&spec(4, 8, 2, 0)).unwrap();
    let outer = kernel.create_map(&MapSpec::new(outer, 4, 4, 1).inner(&template)).unwrap();
    for (key, value, max, flags) in [
        (4, 8, 2, 0),
        (4, 8, 3, 0),
        (8, 8, 2, 0),
        (4, 4, 2, 0),
        (4, 8, 2, flag::NO_PREALLOC),
        (4, 8, 2, flag::RDONLY),
        (4, 8, 2, flag::RDONLY_PROG),
    ] {
        let inner = kernel.create_map(&spec(key, value, max, flags)).unwrap();
        let answer = outcome(outer.update(&[0; 4], &inner.fd().to_ne_bytes(), 0).err());
        let question = format!(
            "{name} template=hash,4,8,2,0x0 S update inner=hash,{key},{value},{max},{flags:#x}"
        );
        record.case(&question, &answer);
    }
}
