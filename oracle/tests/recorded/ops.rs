//! Every operation with every flag on a map in a given state, from both sides.

use skep_oracle::{Batch, BatchFlags, Errno, Kernel, Map, map_type};

use crate::agent::{Agent, DELETE, LOOKUP, LOOKUP_PERCPU, UPDATE};
use crate::record::{Record, hex, outcome};

/// How the lines of the operations are to be read.
pub(crate) const ABOUT: &str = "\
`create` lines: the attributes of BPF_MAP_CREATE that differ from the type's plain\n\
map, which stands first. Answers hold the flags that the map reports.\n\
`state` lines: a map's attributes and what was put in, by the system call. Each\n\
operation that follows is done on a fresh map in that state.\n\
S is the system call, P a program of type sched_cls (on CPU 0). P's answer is r0, or\n\
for a lookup the value; `refused` is the verifier. `flags` is, for lookup_percpu_elem,\n\
the CPU. `after` is what the map holds when the operation changed anything: KEY:VALUE\n\
of each element, sorted. Where an order depends on a hash, keys are sorted, and `some`\n\
is any key.";

/// A map in a state, made anew for each operation.
pub(crate) struct State<'a> {
    pub(crate) name: &'a str,
    pub(crate) make: &'a dyn Fn() -> Map,
    pub(crate) keys: &'a [&'a [u8]],
    /// Values to store: as they are written and as they are passed.
    pub(crate) values: &'a [(String, Vec<u8>)],
    /// The flags of updates.
    pub(crate) flags: &'a [u64],
    /// A value that the system call returned, as it is written.
    pub(crate) show: &'a dyn Fn(&[u8]) -> String,
    /// Whether keys come in an order that depends on a hash.
    pub(crate) hashed: bool,
}

/// The flags of updates, and some that no operation has.
pub(crate) const FLAGS: [u64; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 1 << 32, u64::MAX];
const FEW: [u64; 5] = [0, 1, 4, 8, 1 << 32];

/// Records every operation.
pub(crate) fn operations(kernel: &Kernel, record: &mut Record, state: &State<'_>) {
    syscall(record, state);
    program(kernel, record, state);
    batches(record, state);
    let map = (state.make)();
    record.case(&format!("{} S freeze", state.name), &outcome(map.freeze().err()));
}

impl State<'_> {
    /// Does an operation on a fresh map and records it.
    pub(crate) fn case(
        &self,
        record: &mut Record,
        question: &str,
        operation: impl FnOnce(&Map) -> String,
    ) {
        let map = (self.make)();
        // What a queue holds can only be seen by taking it out.
        let before = match is_queue(&map) {
            true => self.contents(&(self.make)()),
            false => self.contents(&map),
        };
        let mut answer = operation(&map);
        let after = self.contents(&map);
        if before != after {
            answer += &format!(" after={after}");
        }
        record.case(&format!("{} {question}", self.name), &answer);
    }

    /// Every element; the errno where the keys or a value cannot be had.
    fn contents(&self, map: &Map) -> String {
        if is_queue(map) {
            let pop = || map.lookup_and_delete(&[], 0).ok();
            let values: Vec<String> = std::iter::from_fn(pop).map(|value| hex(&value)).collect();
            return if values.is_empty() { "-".to_owned() } else { values.join(",") };
        }
        let mut keys = match map.keys() {
            Ok(keys) => keys,
            Err(errno) => return errno.to_string(),
        };
        keys.sort();
        let element = |key: &Vec<u8>| match map.lookup(key, 0) {
            Ok(value) => format!("{}:{}", hex(key), (self.show)(&value)),
            Err(errno) => format!("{}:{errno}", hex(key)),
        };
        let all: Vec<String> = keys.iter().map(element).collect();
        if all.is_empty() { "-".to_owned() } else { all.join(",") }
    }

    /// Whether `key` is one of several, whose order depends on a hash.
    fn may_be_last(&self, key: &[u8]) -> bool {
        let keys = (self.make)().keys().unwrap();
        keys.len() > 1 && keys.iter().any(|k| k == key)
    }

    fn value(&self, result: Result<Vec<u8>, Errno>) -> String {
        match result {
            Ok(value) => format!("ok value={}", (self.show)(&value)),
            Err(errno) => errno.to_string(),
        }
    }
}

/// Whether a map gives its values only one after the other.
fn is_queue(map: &Map) -> bool {
    matches!(map.info().map_type, map_type::QUEUE | map_type::STACK)
}

fn syscall(record: &mut Record, state: &State<'_>) {
    let null: &[&[u8]] = &[&[]];
    let keys = [null, state.keys].concat();
    for key in &keys {
        for flags in FEW {
            let question = format!("S lookup key={} flags={flags:#x}", hex(key));
            state.case(record, &question, |map| state.value(map.lookup(key, flags)));
        }
    }
    for key in &keys {
        for (nth, (name, value)) in state.values.iter().enumerate() {
            // All flags with the first value, none with the others.
            let flags = if nth == 0 { state.flags } else { &state.flags[..1] };
            for &flags in flags {
                let question = format!("S update key={} value={name} flags={flags:#x}", hex(key));
                state.case(record, &question, |map| outcome(map.update(key, value, flags).err()));
            }
        }
    }
    for key in &keys {
        for flags in [0, 1, 4] {
            let question = format!("S delete key={} flags={flags:#x}", hex(key));
            state.case(record, &question, |map| outcome(map.delete_with(key, flags).err()));
        }
    }
    for key in &keys {
        for flags in [0, 1] {
            let question = format!("S get_next_key key={} flags={flags:#x}", hex(key));
            let last = state.hashed && flags == 0 && state.may_be_last(key);
            state.case(record, &question, |map| match map.get_next_key_with(key, flags) {
                _ if last => "some or ENOENT".to_owned(),
                Ok(_) if state.hashed => "ok next=some".to_owned(),
                Ok(next) => format!("ok next={}", hex(&next)),
                Err(errno) => errno.to_string(),
            });
        }
    }
    for key in &keys {
        for flags in FEW {
            let question = format!("S lookup_and_delete key={} flags={flags:#x}", hex(key));
            state.case(record, &question, |map| state.value(map.lookup_and_delete(key, flags)));
        }
    }
    state.case(record, "S walk", |map| match map.keys() {
        Ok(mut keys) => {
            if state.hashed {
                keys.sort();
            }
            let keys: Vec<String> = keys.iter().map(|key| hex(key)).collect();
            format!("ok keys={}", if keys.is_empty() { "-".to_owned() } else { keys.join(",") })
        }
        Err(errno) => errno.to_string(),
    });
}

fn program(kernel: &Kernel, record: &mut Record, state: &State<'_>) {
    let operations: [(&str, i32, &[u64]); 4] = [
        ("lookup", LOOKUP, &[0]),
        ("update", UPDATE, state.flags),
        ("delete", DELETE, &[0]),
        ("lookup_percpu", LOOKUP_PERCPU, &[0, 1, 2, 0xffff_ffff, 1 << 32]),
    ];
    for (name, helper, numbers) in operations {
        if Agent::new(kernel, &(state.make)(), helper).is_err() {
            record.case(&format!("{} P {name}", state.name), "refused");
            continue;
        }
        let none = [(String::new(), Vec::new())];
        let values = if helper == UPDATE { state.values } else { &none };
        for key in state.keys {
            for (shown, value) in values {
                for &number in numbers {
                    let mut question = format!("P {name} key={}", hex(key));
                    if helper == UPDATE {
                        question += &format!(" value={shown}");
                    }
                    if numbers.len() > 1 {
                        question += &format!(" flags={number:#x}");
                    }
                    state.case(record, &question, |map| {
                        let agent = Agent::new(kernel, map, helper).unwrap();
                        let call = || agent.call(key, &value[..value.len().min(64)], number);
                        kernel.on_cpu(0, call).unwrap().to_string()
                    });
                }
            }
        }
    }
}

fn batches(record: &mut Record, state: &State<'_>) {
    type Read = fn(&Map, &[u8], u32, BatchFlags) -> Batch;
    let reads: [(&str, Read); 2] = [
        ("lookup_batch", Map::lookup_batch),
        ("lookup_and_delete_batch", Map::lookup_and_delete_batch),
    ];
    let none = BatchFlags::default();
    for (name, read) in reads {
        for (count, flags) in [
            (0, none),
            (8, none),
            (8, BatchFlags { elem: 1, batch: 0 }),
            (8, BatchFlags { elem: 4, batch: 0 }),
            (8, BatchFlags { elem: 8, batch: 0 }),
            (8, BatchFlags { elem: 0, batch: 1 }),
        ] {
            let question = format!(
                "S {name} count={count} elem_flags={:#x} flags={:#x}",
                flags.elem, flags.batch
            );
            state.case(record, &question, |map| {
                read_text(state, map, &read(map, &[], count, flags))
            });
        }
        if !state.hashed {
            for (from, count) in [(0_u32, 1), (0, 2), (1, 1), (1, 8), (2, 1), (u32::MAX, 1)] {
                let question = format!("S {name} in_batch={from} count={count}");
                state.case(record, &question, |map| {
                    let batch = read(map, &from.to_ne_bytes(), count, none);
                    read_text(state, map, &batch)
                });
            }
        } else {
            for from in [1_u32, 2, 3, 4, u32::MAX] {
                let question = format!("S {name} in_batch={from} count=0");
                state.case(record, &question, |map| {
                    read_text(state, map, &read(map, &from.to_ne_bytes(), 0, none))
                });
            }
            for from in [4_u32, u32::MAX] {
                let question = format!("S {name} in_batch={from} count=8");
                state.case(record, &question, |map| {
                    read_text(state, map, &read(map, &from.to_ne_bytes(), 8, none))
                });
            }
        }
    }
    let (value, keys) = (&state.values[0].1, state.keys.concat());
    for count in (0..=state.keys.len()).filter(|&count| count != 3) {
        for (elem, flags) in [(0, 0), (1, 0), (2, 0), (4, 0), (8, 0), (0, 1)] {
            if count != 2 && (elem, flags) != (0, 0) {
                continue;
            }
            let flags = BatchFlags { elem, batch: flags };
            let n = u32::try_from(count).unwrap();
            let question = format!(
                "S update_batch keys={} value={} count={n} elem_flags={elem:#x} flags={:#x}",
                hex(&keys),
                state.values[0].0,
                flags.batch
            );
            let values = value.repeat(count);
            state.case(record, &question, |map| {
                write_text(&map.update_batch(&keys, &values, n, flags))
            });
            let question = format!(
                "S delete_batch keys={} count={n} elem_flags={elem:#x} flags={:#x}",
                hex(&keys),
                flags.batch
            );
            state.case(record, &question, |map| write_text(&map.delete_batch(&keys, n, flags)));
        }
    }
}

fn write_text(batch: &Batch) -> String {
    format!("{} count={}", outcome(batch.errno), batch.count)
}

/// The outcome and the elements that the batch holds.
fn read_text(state: &State<'_>, map: &Map, batch: &Batch) -> String {
    let key_size = map.info().key_size as usize;
    let count = batch.count as usize;
    let mut text = write_text(batch);
    if count == 0 || batch.keys.len() < count * key_size || key_size == 0 {
        return text;
    }
    if !matches!(batch.errno, None | Some(Errno::ENOENT)) {
        return text;
    }
    let mut elements: Vec<String> = batch
        .keys
        .chunks(key_size)
        .zip(batch.values.chunks(map.value_len()))
        .take(count)
        .map(|(key, value)| format!("{}:{}", hex(key), (state.show)(value)))
        .collect();
    if state.hashed {
        elements.sort();
    } else {
        text += &format!(" out_batch={}", hex(&batch.out_batch));
    }
    text + &format!(" elements={}", elements.join(","))
}
