//! LPM_TRIE: its operations, the order of its keys, and what stays of an old value.

use skep_oracle::asm::*;
use skep_oracle::{Kernel, Map, MapSpec, map_type};

use crate::create::{Attributes, creation};
use crate::keyless::made;
use crate::ops::{ABOUT, FLAGS, State, operations};
use crate::plain_maps::{access, flag};
use crate::probe::{Probe, SCHED_CLS};
use crate::record::{Record, check, hex};

const LOOKUP: i32 = 1;
const UPDATE: i32 = 2;
const DELETE: i32 = 3;

#[test]
fn lpm_trie() {
    let about = format!(
        "{ABOUT}\n\
         A key is the length in bits, four bytes, then the data. `tree` lines: prefixes\n\
         LENGTH:DATA that are put in, the n-th with value n, from 0. The lines below are about\n\
         that map: `walk` is all keys in order, `next` the key after one that may not be there,\n\
         `longest` the value that is found.\n\
         `pointer` lines: a program looks 10.0.0.0/8 up, whose value is 11, then does `steps`\n\
         on the same map and reads through the pointer that the lookup gave."
    );
    check("lpm-trie", &about, |kernel, record| {
        let name = "lpm_trie";
        let plain = Attributes::new(name, map_type::LPM_TRIE, 8, 8, 3).flags(flag::NO_PREALLOC);
        creation(kernel, record, &plain);
        limits(kernel, record);
        states(kernel, record);
        access(kernel, record, name, &spec(8, 2), &[0; 8]);
        trees(kernel, record);
        pointers(kernel, record);
    });
}

fn spec(key_size: u32, max: u32) -> MapSpec<'static> {
    MapSpec::new(map_type::LPM_TRIE, key_size, 8, max).flags(flag::NO_PREALLOC)
}

/// The ends of what is allowed, and which rule comes first where several are broken.
fn limits(kernel: &Kernel, record: &mut Record) {
    record.note("creation, limits");
    const NONE: u32 = flag::NO_PREALLOC;
    for (key_size, value_size, max_entries, flags) in [
        (4, 8, 1, NONE),
        (5, 8, 1, NONE),
        (260, 8, 1, NONE),
        (261, 8, 1, NONE),
        (8, 1, u32::MAX, NONE),
        (8, (4 << 20) - 280, 1, NONE),
        (8, (4 << 20) - 279, 1, NONE),
        (260, (4 << 20) - 280, 1, NONE),
        (260, (4 << 20) - 279, 1, NONE),
        (8, 8, 0, NONE),
        (8, 8, 1, 0),
        (8, 8, 1, flag::RDONLY_PROG),
        (8, 8, 1, NONE | flag::RDONLY_PROG),
        (8, 8, 1, NONE | flag::RDONLY | flag::WRONLY),
        (8, 8, 1, NONE | 1 << 2),
    ] {
        let spec = MapSpec::new(map_type::LPM_TRIE, key_size, value_size, max_entries);
        let question = format!(
            "create lpm_trie key_size={key_size} value_size={value_size} \
             max_entries={max_entries} flags={flags:#x}"
        );
        record.case(&question, &made(kernel, &spec.flags(flags)));
    }
}

/// A key of four bytes of data.
fn key(len: u32, data: [u8; 4]) -> [u8; 8] {
    let mut key = [0; 8];
    key[..4].copy_from_slice(&len.to_ne_bytes());
    key[4..].copy_from_slice(&data);
    key
}

fn states(kernel: &Kernel, record: &mut Record) {
    let keys = [
        key(8, [10, 0, 0, 0]),
        key(16, [10, 1, 0, 0]),
        key(32, [10, 1, 2, 3]),
        key(0, [0; 4]),
        // Where the paths part in the state `forked`.
        key(14, [10, 0, 0, 0]),
        // Longer than its data.
        key(33, [10, 1, 2, 3]),
        // Bits beyond the length.
        key(8, [10, 255, 255, 255]),
    ];
    for (state, max, put) in [
        ("empty", 2, &[][..]),
        ("one", 2, &[key(8, [10, 0, 0, 0])]),
        ("full", 2, &[key(8, [10, 0, 0, 0]), key(16, [10, 1, 0, 0])]),
        ("forked", 3, &[key(16, [10, 1, 0, 0]), key(16, [10, 2, 0, 0])]),
    ] {
        let value = |n: u8| [0x11 * (n + 1); 8];
        let make = || {
            let map = kernel.create_map(&spec(8, max)).unwrap();
            for (key, n) in put.iter().zip(0..) {
                map.update(key, &value(n), 0).unwrap();
            }
            map
        };
        let name = format!("lpm_trie/{state}");
        record.note(&name);
        let shown: Vec<String> =
            put.iter().zip(0..).map(|(k, n)| format!("{}:{}", hex(k), hex(&value(n)))).collect();
        let question = format!(
            "state {name} key_size=8 value_size=8 max_entries={max} flags=0x1 put={}",
            if shown.is_empty() { "-".to_owned() } else { shown.join(",") }
        );
        record.case(&question, "ok");
        let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
        let new = vec![0x77; 8];
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
                hashed: false,
            },
        );
    }
}

/// Prefixes as they stand in the lines: length and data.
type Prefixes = Vec<(u32, Vec<u8>)>;

fn trees(kernel: &Kernel, record: &mut Record) {
    let v4 = |list: &[(u32, [u8; 4])]| -> Prefixes {
        list.iter().map(|(len, data)| (*len, data.to_vec())).collect()
    };
    let mut rng = 1_u64;
    let mut random = |count: usize, size: usize, bits: u32| -> Prefixes {
        (0..count)
            .map(|_| {
                let mut data: Vec<u8> = Vec::new();
                while data.len() < size {
                    rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    // Few bits, so that prefixes share paths.
                    data.push(u8::try_from(rng >> 33 & 0xff).unwrap() & 0xc1);
                }
                rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (u32::try_from(rng >> 40).unwrap() % (bits + 1), data)
            })
            .collect()
    };
    let sets = [
        (
            "the kernel's example",
            4,
            v4(&[
                (16, [192, 168, 0, 0]),
                (24, [192, 168, 0, 0]),
                (24, [192, 168, 128, 0]),
                (24, [192, 168, 1, 0]),
            ]),
        ),
        (
            "nested",
            4,
            v4(&[
                (0, [0; 4]),
                (8, [10, 0, 0, 0]),
                (16, [10, 128, 0, 0]),
                (24, [10, 128, 128, 0]),
                (32, [10, 128, 128, 128]),
            ]),
        ),
        (
            "host bits",
            4,
            v4(&[
                (8, [10, 1, 2, 3]),
                (8, [10, 9, 9, 9]),
                (4, [15, 0, 0, 0]),
                (0, [255; 4]),
                (7, [11, 255, 0, 0]),
            ]),
        ),
        (
            "neighbours",
            4,
            v4(&[
                (32, [1, 2, 3, 4]),
                (32, [1, 2, 3, 5]),
                (32, [1, 2, 3, 6]),
                (32, [1, 2, 3, 7]),
                (31, [1, 2, 3, 6]),
            ]),
        ),
        ("one byte", 1, random(20, 1, 8)),
        ("random 4 bytes", 4, random(30, 4, 32)),
        ("random 6 bytes", 6, random(30, 6, 48)),
        ("random 7 bytes", 7, random(30, 7, 56)),
        ("random 14 bytes", 14, random(30, 14, 112)),
        ("random 16 bytes", 16, random(30, 16, 128)),
        ("random 22 bytes", 22, random(30, 22, 176)),
        ("random 23 bytes", 23, random(30, 23, 184)),
        ("random 256 bytes", 256, random(4, 256, 2048)),
    ];
    for (name, size, set) in &sets {
        tree(kernel, record, name, *size, set);
    }
}

fn text(len: u32, data: &[u8]) -> String {
    format!("{len}:{}", hex(data))
}

fn bytes((len, data): &(u32, Vec<u8>)) -> Vec<u8> {
    [&len.to_ne_bytes(), &data[..]].concat()
}

/// A key as the lines have it.
fn shown(key: &[u8]) -> String {
    text(u32::from_ne_bytes(key[..4].try_into().unwrap()), &key[4..])
}

fn tree(kernel: &Kernel, record: &mut Record, name: &str, size: u32, set: &Prefixes) {
    record.note(&format!("tree: {name}"));
    let map = kernel.create_map(&spec(4 + size, 64)).unwrap();
    for (prefix, n) in set.iter().zip(0_u64..) {
        map.update(&bytes(prefix), &n.to_ne_bytes(), 0).unwrap();
    }
    let list: Vec<String> = set.iter().map(|(len, data)| text(*len, data)).collect();
    record.case(&format!("tree key_size={} put={}", 4 + size, list.join(",")), "ok");
    let keys: Vec<String> = map.keys().unwrap().iter().map(|key| shown(key)).collect();
    record.case("walk", &format!("keys={}", keys.join(",")));
    for (len, data) in set.iter().take(12) {
        let all = 8 * size;
        let mut other = data.clone();
        *other.last_mut().unwrap() ^= 1;
        other[0] ^= 0x40;
        for asked in
            [(*len, data.clone()), (len / 2, data.clone()), (all, data.clone()), (all, other)]
        {
            let next = match map.get_next_key(&bytes(&asked)) {
                Ok(key) => format!("next={}", shown(&key)),
                Err(errno) => errno.to_string(),
            };
            let longest = match map.lookup(&bytes(&asked), 0) {
                Ok(value) => u64::from_ne_bytes(value.try_into().unwrap()).to_string(),
                Err(errno) => errno.to_string(),
            };
            let asked = text(asked.0, &asked.1);
            record.case(&format!("next key={asked}"), &next);
            record.case(&format!("longest key={asked}"), &longest);
        }
    }
}

/// What a program does to an element, by length and first byte.
#[derive(Debug, Clone, Copy)]
enum Step {
    Update(i32, u8, i32),
    Delete(i32, u8),
}

fn pointers(kernel: &Kernel, record: &mut Record) {
    use Step::{Delete, Update};

    record.note("pointers");
    let sets: [&[Step]; 7] = [
        &[Update(8, 10, 22)],
        &[Update(8, 10, 22), Update(8, 10, 33), Update(8, 10, 44)],
        &[Update(8, 10, 22), Update(8, 11, 33)],
        &[Delete(8, 10)],
        &[Delete(8, 10), Update(8, 11, 33)],
        &[Delete(8, 10), Update(8, 10, 33)],
        // The element becomes a place where paths part, and an element again.
        &[Update(9, 10, 22), Update(16, 10, 33), Delete(8, 10), Update(8, 10, 44)],
    ];
    for steps in sets {
        let map = kernel.create_map(&spec(8, 16)).unwrap();
        let body = |asm: &mut Asm| {
            step(asm, &map, Update(8, 10, 11));
            element(asm, &map, 8, 10);
            asm.call(LOOKUP).jmp(JEQ, R0, 0, "end").mov_reg(R8, R0);
            for &one in steps {
                step(asm, &map, one);
            }
            asm.ldx(W, R1, R8, 0).stx(DW, R7, 0, R1);
        };
        let probe = Probe::new(kernel, SCHED_CLS, body).unwrap();
        let words = kernel.on_cpu(0, || probe.run_on(&[])).unwrap();
        let shown: Vec<String> = steps
            .iter()
            .map(|step| match step {
                Update(len, byte, value) => format!("update:{len}:{byte}:{value}"),
                Delete(len, byte) => format!("delete:{len}:{byte}"),
            })
            .collect();
        let question = format!("pointer steps={}", shown.join(","));
        record.case(&question, &format!("sees={}", words[0]));
    }
}

/// The map in r1 and a key in r2.
fn element(asm: &mut Asm, map: &Map, len: i32, byte: u8) {
    asm.st(W, R10, -8, len).st(W, R10, -4, i32::from(byte));
    asm.map(R1, map.fd()).mov_reg(R2, R10).alu64(ADD, R2, -8);
}

fn step(asm: &mut Asm, map: &Map, step: Step) {
    match step {
        Step::Update(len, byte, value) => {
            asm.st(W, R10, -16, value).st(W, R10, -12, 0);
            element(asm, map, len, byte);
            asm.mov_reg(R3, R10).alu64(ADD, R3, -16).mov(R4, 0).call(UPDATE);
        }
        Step::Delete(len, byte) => {
            element(asm, map, len, byte);
            asm.call(DELETE);
        }
    }
}
