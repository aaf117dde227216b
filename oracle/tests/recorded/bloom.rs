//! BLOOM_FILTER: its operations, and which values it takes for which.

use skep_oracle::recorded::numbered;
use skep_oracle::script::Reply;
use skep_oracle::{Kernel, Map, MapSpec, map_type};

use crate::agent::{Agent, PEEK, POP, PUSH};
use crate::create::{Attributes, creation};
use crate::keyless::{WITHOUT_KEYS, access, filled, limits, made};
use crate::ops::ABOUT;
use crate::plain_maps::flag;
use crate::record::{Record, check, hex, outcome};

const ZERO_SEED: u32 = 1 << 6;
/// How many values are asked for.
const ASKED: usize = 256;

#[test]
fn bloom_filter() {
    let about = format!(
        "{ABOUT}\n{WITHOUT_KEYS}\n\
         Value number N of `member` and `collide` lines is (N+1) * 0x9e3779b97f4a7c15, eight\n\
         bytes, again and again, each time rotated left by 7 bits more. `member`: the first\n\
         `put` values were put in, then the first `asked` are asked for, by the side given;\n\
         bit N of `maybe` is set where value N may be in. `collide`: of two values only the\n\
         first was put in; then the second is asked for, and the one after it."
    );
    check("bloom-filter", &about, |kernel, record| {
        let name = "bloom_filter";
        creation(kernel, record, &Attributes::new(name, map_type::BLOOM_FILTER, 0, 8, 3));
        limits(kernel, record, name, map_type::BLOOM_FILTER);
        hashes(kernel, record);
        let plain = MapSpec::new(map_type::BLOOM_FILTER, 0, 8, 2).flags(ZERO_SEED);
        for (state, values) in
            [("empty", &[][..]), ("one", &[&[0x77; 8][..]]), ("zeros", &[&[0; 8]])]
        {
            filled(kernel, record, &format!("{name}/{state}"), &plain, values);
        }
        access(kernel, record, name, &MapSpec::new(map_type::BLOOM_FILTER, 0, 8, 2));
        members(kernel, record);
        collisions(kernel, record);
        others(kernel, record);
    });
}

/// Numbers of hashes.
fn hashes(kernel: &Kernel, record: &mut Record) {
    record.note("creation, numbers of hashes");
    for map_extra in (0..=17).chain([0x1f, 0x100, u64::MAX]) {
        let spec = MapSpec::new(map_type::BLOOM_FILTER, 0, 8, 3);
        let spec = MapSpec { map_extra, ..spec };
        let question = " key_size=0 value_size=8 max_entries=3 flags=0x0";
        let question = format!("create bloom_filter{question} map_extra={map_extra}");
        record.case(&question, &made(kernel, &spec));
    }
}

fn members(kernel: &Kernel, record: &mut Record) {
    record.note("members");
    for size in
        [1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 15, 16, 20, 24, 25, 28, 31, 36, 48, 61, 64, 100]
    {
        for (most, map_extra, put) in [(10, 0, 30), (1, 1, 12), (40, 3, 60)] {
            let by = if size % 2 == 0 && size <= 64 { "P" } else { "S" };
            let map = filter(kernel, size, most, map_extra);
            let (push, peek) = (agent(kernel, &map, PUSH), agent(kernel, &map, PEEK));
            for n in 0..put {
                let value = numbered(n, size as usize);
                match by {
                    "P" => assert_eq!(push.call(&[], &value, 0), Reply::Returned(0)),
                    _ => map.update(&[], &value, 0).unwrap(),
                }
            }
            let found = |n| {
                let value = numbered(n, size as usize);
                match by {
                    "P" => matches!(peek.call(&[], &value, 0), Reply::Filled(0, _)),
                    _ => map.lookup_with(&[], &value, 0).is_ok(),
                }
            };
            let question = format!(
                "member value_size={size} max_entries={most} map_extra={map_extra} put={put} \
                 asked={ASKED} by={by}"
            );
            record.case(&question, &format!("maybe={}", maybe(found)));
        }
    }
    record.note("members, other numbers of hashes");
    for map_extra in 1..=15 {
        let (size, put) = (8, 2 + 80 / map_extra);
        let map = filter(kernel, size, 1, map_extra);
        for n in 0..put {
            map.update(&[], &numbered(n, size as usize), 0).unwrap();
        }
        let found = |n| map.lookup_with(&[], &numbered(n, size as usize), 0).is_ok();
        let question = format!(
            "member value_size={size} max_entries=1 map_extra={map_extra} put={put} \
             asked={ASKED} by=S"
        );
        record.case(&question, &format!("maybe={}", maybe(found)));
    }
}

/// Bit N is set where value number N is found.
fn maybe(found: impl Fn(u64) -> bool) -> String {
    let mut bits = [0; ASKED / 8];
    for n in 0..ASKED {
        bits[n / 8] |= u8::from(found(n as u64)) << (n % 8);
    }
    hex(&bits)
}

/// Values that have the same 32 bits of hash.
fn collisions(kernel: &Kernel, record: &mut Record) {
    record.note("collisions in a filter of 2^32 bits");
    for (size, first, second) in [
        (4, 8466, 28138),
        (5, 56992, 103_736),
        (7, 112_116, 148_624),
        (8, 31347, 111_683),
        (12, 10146, 27036),
        (13, 5495, 6308),
        (31, 6216, 17681),
        (100, 9317, 31065),
    ] {
        let map = filter(kernel, size, u32::MAX, 1);
        map.update(&[], &numbered(first, size as usize), 0).unwrap();
        let ask = |n| outcome(map.lookup_with(&[], &numbered(n, size as usize), 0).err());
        let question = format!("collide value_size={size} first={first} second={second}");
        record.case(&question, &format!("second={} next={}", ask(second), ask(second + 1)));
    }
}

fn filter(kernel: &Kernel, value_size: u32, max_entries: u32, map_extra: u64) -> Map {
    let spec = MapSpec::new(map_type::BLOOM_FILTER, 0, value_size, max_entries).flags(ZERO_SEED);
    kernel.create_map(&MapSpec { map_extra, ..spec }).unwrap()
}

fn agent(kernel: &Kernel, map: &Map, helper: i32) -> Agent {
    Agent::new(kernel, map, helper).unwrap()
}

/// The helpers on maps of other types.
fn others(kernel: &Kernel, record: &mut Record) {
    record.note("other types");
    let spec = |map_type| MapSpec::new(map_type, 4, 8, 2);
    for (name, spec) in [
        ("hash", spec(map_type::HASH)),
        ("array", spec(map_type::ARRAY)),
        ("percpu_hash", spec(map_type::PERCPU_HASH)),
        ("percpu_array", spec(map_type::PERCPU_ARRAY)),
        ("lpm_trie", MapSpec::new(map_type::LPM_TRIE, 8, 8, 2).flags(flag::NO_PREALLOC)),
        ("ringbuf", MapSpec::new(map_type::RINGBUF, 0, 0, 4096)),
    ] {
        let map = kernel.create_map(&spec).unwrap();
        for (operation, helper) in [("push", PUSH), ("pop", POP), ("peek", PEEK)] {
            let answer = match Agent::new(kernel, &map, helper) {
                Err(_) => "refused",
                Ok(_) => "taken",
            };
            record.case(&format!("{name} P {operation}"), answer);
        }
    }
}
