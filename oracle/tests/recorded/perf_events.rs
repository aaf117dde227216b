//! PERF_EVENT_ARRAY: its system calls, and what closing descriptors takes out of it.

use skep_oracle::perf::{DUMMY, PerfEvent, PerfSpec};
use skep_oracle::{Kernel, Map, MapSpec, map_type};

use crate::create::{Attributes, creation};
use crate::ops::{ABOUT, State, operations};
use crate::perf_output::{Output, descriptor};
use crate::probe::SCHED_CLS;
use crate::record::{check, hex, returned};

const PRESERVE_ELEMS: u32 = 1 << 11;

#[test]
fn perf_event_array() {
    let about = format!(
        "{ABOUT}\nValues: `event-0` and `event-1` are events for the output of programs on CPUs 0\n\
         and 1, `counter` is one that counts, on CPU 0, `inherited` one that children of the\n\
         thread inherit, `map` is a map, `none` is no open descriptor (-1).\n\
         `close` lines: a map is open as A and, again, as B; B sets elements 0; then `closed`\n\
         is closed. The answer is what a program's output to element 0 then gives."
    );
    check("perf-event-array", &about, |kernel, record| {
        let name = "perf_event_array";
        creation(kernel, record, &Attributes::new(name, map_type::PERF_EVENT_ARRAY, 4, 4, 3));
        let event = |spec: &PerfSpec| kernel.open_event(spec).unwrap();
        let outputs = [0, 1].map(|cpu| event(&PerfSpec::output(cpu, 1)));
        let counter = event(&PerfSpec { config: DUMMY, ..PerfSpec::output(0, 0) });
        let inherited =
            event(&PerfSpec { config: DUMMY, cpu: None, inherit: true, ..PerfSpec::output(0, 0) });
        let map = kernel.create_map(&MapSpec::new(map_type::ARRAY, 4, 4, 1)).unwrap();
        let fds = [
            ("event-0", outputs[0].fd()),
            ("event-1", outputs[1].fd()),
            ("counter", counter.fd()),
            ("inherited", inherited.fd()),
            ("map", map.fd()),
            ("none", -1),
        ];
        for (state, flags, put) in [
            ("empty", 0, "-"),
            ("one", 0, "00000000:event-0"),
            ("preserved", PRESERVE_ELEMS, "00000000:event-0"),
        ] {
            let make = || {
                let array = array(kernel, flags);
                if put != "-" {
                    array.update(&[0; 4], &descriptor(&outputs[0]), 0).unwrap();
                }
                array
            };
            let name = format!("{name}/{state}");
            record.note(&name);
            record.case(&format!("state {name} max_entries=2 flags={flags:#x} put={put}"), "ok");
            let values = fds.map(|(name, fd)| (name.to_owned(), fd.to_ne_bytes().to_vec()));
            let keys: Vec<[u8; 4]> = [0_u32, 1, 2].iter().map(|key| key.to_ne_bytes()).collect();
            let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
            let state = State {
                name: &name,
                make: &make,
                keys: &keys,
                values: &values,
                flags: &[0, 1, 2, 3, 4, 8],
                show: &hex,
                hashed: false,
            };
            operations(kernel, record, &state);
        }
        record.note("close");
        for flags in [0, PRESERVE_ELEMS] {
            for closed in ["nothing", "A", "B", "event"] {
                let answer = close(kernel, flags, closed);
                record.case(&format!("close flags={flags:#x} closed={closed}"), &answer);
            }
        }
    });
}

fn array(kernel: &Kernel, flags: u32) -> Map {
    let spec = MapSpec::new(map_type::PERF_EVENT_ARRAY, 4, 4, 2).flags(flags);
    kernel.create_map(&spec).unwrap()
}

/// Outputs to an element after a descriptor was closed.
fn close(kernel: &Kernel, flags: u32, closed: &str) -> String {
    let a = array(kernel, flags);
    let b = a.reopen().unwrap();
    let event: PerfEvent = kernel.open_event(&PerfSpec::output(0, 1)).unwrap();
    let output = Output::new(kernel, SCHED_CLS, &a).unwrap();
    b.update(&[0; 4], &descriptor(&event), 0).unwrap();
    match closed {
        "A" => drop(a),
        "B" => drop(b),
        // The buffer stays mapped for as long as the event is in the map; without a
        // mapping there is no room.
        "event" => drop(event),
        _ => {}
    }
    returned(output.call(kernel, 0, 0, 8))
}
