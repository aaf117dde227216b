//! QUEUE and STACK, and what all types without keys have in common.

use skep_oracle::{Kernel, Map, MapSpec, map_type};

use crate::agent::{Agent, PEEK, POP, PUSH};
use crate::create::{Attributes, creation};
use crate::ops::{ABOUT, FLAGS, State, operations};
use crate::plain_maps::flag;
use crate::record::{Record, check, hex, outcome};

/// How the lines of types without keys are to be read.
pub(crate) const WITHOUT_KEYS: &str = "\
P's push, pop and peek are the helpers of that name. Their answer is r0; pop's and peek's\n\
also what the buffer then holds, which held `value` before.";

#[test]
fn queue() {
    record_type("queue", map_type::QUEUE);
}

#[test]
fn stack() {
    record_type("stack", map_type::STACK);
}

fn record_type(name: &str, map_type: u32) {
    let about = format!(
        "{ABOUT}\n{WITHOUT_KEYS}\n\
         `after` is what pops take one after the other."
    );
    check(name, &about, |kernel, record| {
        creation(kernel, record, &Attributes::new(name, map_type, 0, 8, 3));
        limits(kernel, record, name, map_type);
        let values: [&[u8]; 2] = [&[0x11; 8], &[0x22; 8]];
        for (state, count) in [("empty", 0), ("one", 1), ("full", 2)] {
            let spec = MapSpec::new(map_type, 0, 8, 2);
            filled(kernel, record, &format!("{name}/{state}"), &spec, &values[..count]);
        }
        let odd: [&[u8]; 2] = [&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], &[0x22; 11]];
        let spec = MapSpec::new(map_type, 0, 11, 2);
        filled(kernel, record, &format!("{name}/odd_size"), &spec, &odd);
        access(kernel, record, name, &MapSpec::new(map_type, 0, 8, 2));
    });
}

/// Which rule comes first where several are broken.
pub(crate) fn limits(kernel: &Kernel, record: &mut Record, name: &str, map_type: u32) {
    record.note("creation, two rules broken at a time");
    for (key_size, value_size, max_entries, flags) in [
        (0, 8 << 20, 0, 0),
        (4, 8 << 20, 1, 0),
        (0, 8 << 20, 1, flag::NO_PREALLOC),
        (0, (4 << 20) + 1, 1, 0),
        (0, u32::MAX, u32::MAX, 0),
    ] {
        let spec = MapSpec::new(map_type, key_size, value_size, max_entries).flags(flags);
        let question = format!(
            "create {name} key_size={key_size} value_size={value_size} \
             max_entries={max_entries} flags={flags:#x}"
        );
        record.case(&question, &made(kernel, &spec));
    }
}

/// Whether a map can be made, and the flags that it reports.
pub(crate) fn made(kernel: &Kernel, spec: &MapSpec<'_>) -> String {
    match kernel.create_map(spec) {
        Ok(map) => format!("ok flags={:#x}", map.info().flags),
        Err(errno) => errno.to_string(),
    }
}

/// Every operation on a map into which values were put.
pub(crate) fn filled(
    kernel: &Kernel,
    record: &mut Record,
    name: &str,
    spec: &MapSpec<'_>,
    values: &[&[u8]],
) {
    let make = || {
        let map = kernel.create_map(spec).unwrap();
        for value in values {
            map.update(&[], value, 0).unwrap();
        }
        map
    };
    record.note(name);
    let put: Vec<String> = values.iter().map(|value| format!("-:{}", hex(value))).collect();
    let question = format!(
        "state {name} key_size=0 value_size={} max_entries={} flags={:#x} put={}",
        spec.value_size,
        spec.max_entries,
        spec.flags,
        if put.is_empty() { "-".to_owned() } else { put.join(",") }
    );
    record.case(&question, "ok");
    let new = vec![0x77; spec.value_size as usize];
    let state = State {
        name,
        make: &make,
        keys: &[&[0; 4]],
        values: &[(hex(&new), new)],
        flags: &FLAGS,
        show: &hex,
        hashed: false,
    };
    operations(kernel, record, &state);
    programs(kernel, record, &state);
}

/// Pushes, pops and peeks of programs.
fn programs(kernel: &Kernel, record: &mut Record, state: &State<'_>) {
    let calls: [(&str, i32, &[u64]); 3] =
        [("push", PUSH, state.flags), ("pop", POP, &[0]), ("peek", PEEK, &[0])];
    for (name, helper, numbers) in calls {
        if Agent::new(kernel, &(state.make)(), helper).is_err() {
            record.case(&format!("{} P {name}", state.name), "refused");
            continue;
        }
        for (shown, value) in state.values {
            for &number in numbers {
                let mut question = format!("P {name} value={shown}");
                if helper == PUSH {
                    question += &format!(" flags={number:#x}");
                }
                state.case(record, &question, |map| {
                    let agent = Agent::new(kernel, map, helper).unwrap();
                    kernel.on_cpu(0, || agent.call(&[], value, number)).unwrap().to_string()
                });
            }
        }
    }
}

/// Maps that one side may only read or only write, and frozen maps.
pub(crate) fn access(kernel: &Kernel, record: &mut Record, name: &str, spec: &MapSpec<'_>) {
    record
        .note("access; each map held a value when it could be put, `frozen` ones were then frozen");
    let value = vec![1; spec.value_size as usize];
    for (access, flags) in [
        ("frozen", 0),
        ("rdonly", flag::RDONLY),
        ("wronly", flag::WRONLY),
        ("rdonly_prog", flag::RDONLY_PROG),
        ("wronly_prog", flag::WRONLY_PROG),
    ] {
        let map = kernel.create_map(&spec.clone().flags(flags)).unwrap();
        // Fails for the map that may only be read.
        let _ = map.update(&[], &value, 0);
        if access == "frozen" {
            map.freeze().unwrap();
        }
        let name = format!("{name}/{access}");
        syscalls(record, &name, &map, &value);
        for (operation, helper) in [("push", PUSH), ("peek", PEEK), ("pop", POP)] {
            let answer = match Agent::new(kernel, &map, helper) {
                Err(_) => "refused".to_owned(),
                Ok(agent) => agent.call(&[], &value, 0).to_string(),
            };
            record.case(&format!("{name} P {operation}"), &answer);
        }
        record.case(&format!("{name} S freeze"), &outcome(map.freeze().err()));
    }
}

fn syscalls(record: &mut Record, name: &str, map: &Map, value: &[u8]) {
    let mut case = |question: &str, errno: Option<skep_oracle::Errno>| {
        record.case(&format!("{name} S {question}"), &outcome(errno));
    };
    case("lookup", map.lookup_with(&[], value, 0).err());
    case("lookup flags=8", map.lookup_with(&[], value, 8).err());
    case("lookup key=00000000", map.lookup_with(&[0; 4], value, 0).err());
    case("get_next_key", map.get_next_key(&[]).err());
    case("update", map.update(&[], value, 0).err());
    case("update flags=8", map.update(&[], value, 8).err());
    case("update key=00000000", map.update(&[0; 4], value, 0).err());
    case("lookup_and_delete", map.lookup_and_delete(&[], 0).err());
    case("lookup_and_delete flags=4", map.lookup_and_delete(&[], 4).err());
    case("delete", map.delete(&[]).err());
}
