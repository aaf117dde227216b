//! Values with fields that belong to the kernel: which types hold them, who sees them.

use skep_oracle::accesses::Access;
use skep_oracle::asm::*;
use skep_oracle::special::{LAYOUTS, Layout, Types};
use skep_oracle::{BatchFlags, Kernel, Map, MapSpec, map_type};

use crate::agent::{Agent, LOOKUP, UPDATE};
use crate::plain_maps::flag;
use crate::probe::{Probe, SCHED_CLS};
use crate::record::{Record, check, hex, outcome};

const TYPES: [(&str, u32); 6] = [
    ("hash", map_type::HASH),
    ("array", map_type::ARRAY),
    ("percpu_hash", map_type::PERCPU_HASH),
    ("percpu_array", map_type::PERCPU_ARRAY),
    ("lru_hash", map_type::LRU_HASH),
    ("lru_percpu_hash", map_type::LRU_PERCPU_HASH),
];

/// The accesses that each field is tried with.
const TRIED: [&str; 8] = [
    "load1",
    "load4",
    "load8",
    "store1",
    "store8",
    "atomic_add8",
    "value_of_update8",
    "skb_load_bytes8",
];

#[test]
fn special_fields() {
    check(
        "special-fields",
        "`layout` lines: the fields of a value that belong to the kernel, KIND@OFFSET:SIZE.\n\
         Behind them are 8 bytes of the program's; an errno is BPF_BTF_LOAD's. `create` lines:\n\
         whether such a map can be made. Each other line is about a fresh map of 1 entry whose\n\
         value of key 0 was set to 11 in each byte by the system call. S is the system call, P\n\
         a program of type sched_cls; after updates, `value` is what the system call then\n\
         reads. `at` lines: a program accesses the value from that offset on, which is `in`\n\
         such a field, as in `rights`; `refused` is the verifier. `p`s are an address of the\n\
         kernel's.",
        |kernel, record| {
            for layout in LAYOUTS {
                let types = layout.types(kernel);
                record.note(layout.name);
                let question = format!(
                    "layout {} fields={} value_size={}",
                    layout.name,
                    layout.text(),
                    layout.size
                );
                record.case(&question, &outcome(types.as_ref().err().copied()));
                let Ok(types) = types else { continue };
                for (name, map_type) in TYPES {
                    let subject = Subject { kernel, name, map_type, layout, types: &types };
                    subject.creation(record);
                    if subject.create(0).is_ok() {
                        subject.system_calls(record);
                        subject.programs(record);
                    }
                }
            }
        },
    );
}

struct Subject<'a> {
    kernel: &'a Kernel,
    name: &'a str,
    map_type: u32,
    layout: &'a Layout,
    types: &'a Types,
}

impl Subject<'_> {
    fn create(&self, flags: u32) -> Result<Map, skep_oracle::Errno> {
        let (btf, key, value) = self.types;
        let spec = MapSpec::new(self.map_type, 4, self.layout.size, 1).flags(flags);
        self.kernel.create_map(&spec.btf(btf, *key, *value))
    }

    fn filled(&self) -> Map {
        let map = self.create(0).unwrap();
        map.update(&[0; 4], &vec![0x11; map.value_len()], 0).unwrap();
        map
    }

    fn case(&self, record: &mut Record, question: &str, answer: &str) {
        record.case(&format!("{} {question}", self.name), answer);
    }

    fn creation(&self, record: &mut Record) {
        for flags in [0, flag::RDONLY_PROG, flag::WRONLY_PROG] {
            let answer = outcome(self.create(flags).err());
            self.case(record, &format!("create flags={flags:#x}"), &answer);
        }
    }

    fn system_calls(&self, record: &mut Record) {
        let key = &[0; 4];
        let value = |map: &Map| self.show(&map.lookup(key, 0).unwrap());
        let map = self.filled();
        self.case(record, "S lookup", &format!("ok value={}", value(&map)));
        for flags in [0, 4] {
            let map = self.filled();
            let new = vec![0xff; map.value_len()];
            let answer = outcome(map.update(key, &new, flags).err());
            let question = format!("S update value=ff flags={flags:#x}");
            self.case(record, &question, &format!("{answer} value={}", value(&map)));
        }
        let map = self.filled();
        let answer = match map.lookup_and_delete(key, 0) {
            Ok(value) => format!("ok value={}", self.show(&value)),
            Err(errno) => errno.to_string(),
        };
        self.case(record, "S lookup_and_delete", &answer);
        let map = self.filled();
        let batch = map.lookup_batch(&[], 1, BatchFlags::default());
        let values = self.show(&batch.values[..batch.count as usize * map.value_len()]);
        self.case(record, "S lookup_batch", &format!("{} value={values}", outcome(batch.errno)));
        self.case(record, "S freeze", &outcome(self.filled().freeze().err()));
    }

    fn programs(&self, record: &mut Record) {
        let map = self.filled();
        let size = self.layout.size as usize;
        let answer = match Agent::new(self.kernel, &map, UPDATE) {
            Err(_) => "refused".to_owned(),
            Ok(agent) => {
                let call = || agent.call(&[0; 4], &vec![0xff; size], 0);
                let answer = self.kernel.on_cpu(0, call).unwrap();
                format!("{answer} value={}", self.show(&map.lookup(&[0; 4], 0).unwrap()))
            }
        };
        self.case(record, "P update value=ff flags=0x0", &answer);
        // The first byte of each field, its last, and what lies behind.
        let mut offsets: Vec<u32> = self
            .layout
            .fields
            .iter()
            .flat_map(|(_, offset, size)| [*offset, offset + size - 1, offset + size])
            .collect();
        offsets.dedup();
        for at in offsets {
            let accesses = TRIED.iter().filter_map(|name| Access::named(name));
            for access in accesses.filter(|access| at + access.size <= self.layout.size) {
                let answer = self.access(at, access);
                let inside = self.layout.fields.iter().find(|(_, o, s)| (*o..o + s).contains(&at));
                let kind = inside.map_or("-", |(kind, ..)| kind);
                self.case(record, &format!("at={at} in={kind} {}", access.name), &answer);
            }
        }
    }

    /// A value in hexadecimal; a list's head that points to itself, wherever the kernel
    /// has put it, is written as `p`s.
    fn show(&self, value: &[u8]) -> String {
        let mut text = hex(value);
        for &(_, offset, size) in self.layout.fields.iter().filter(|(k, ..)| *k == "list_head") {
            let (start, end) = (offset as usize, (offset + size) as usize);
            let (next, prev) = value[start..end].split_at(8);
            if next == prev && next[7] == 0xff {
                text.replace_range(2 * start..2 * end, &"p".repeat(2 * size as usize));
            }
        }
        text
    }

    fn access(&self, at: u32, access: &Access) -> String {
        let map = self.filled();
        let other = self.kernel.create_map(&MapSpec::new(map_type::HASH, 4, 8, 1)).unwrap();
        let probe = Probe::new(self.kernel, SCHED_CLS, |asm| {
            asm.st(W, R10, -4, 0).map(R1, map.fd()).mov_reg(R2, R10).alu64(ADD, R2, -4);
            asm.call(LOOKUP).jmp(JEQ, R0, 0, "end").mov_reg(R8, R0);
            asm.alu64(ADD, R8, at.cast_signed());
            access.write(asm, other.fd());
        });
        match probe {
            Err(_) => "refused".to_owned(),
            Ok(probe) => {
                let words = self.kernel.on_cpu(0, || probe.run_on(&[])).unwrap();
                let kept = if words[0] == -1 { "-".to_owned() } else { words[0].to_string() };
                format!("{kept} value={}", self.show(&map.lookup(&[0; 4], 0).unwrap()))
            }
        }
    }
}
