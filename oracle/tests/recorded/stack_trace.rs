//! STACK_TRACE: its system calls, and how programs put call stacks in.
//!
//! Addresses differ from boot to boot, so what is recorded is what holds of any stack.

use skep_maps::jhash::jhash2;
use skep_oracle::asm::*;
use skep_oracle::{Errno, Kernel, Map, MapSpec, Prog, ProgSpec, TestRun, map_type, prog_type};

use crate::create::{Attributes, creation};
use crate::ops::{ABOUT, FLAGS, State, operations};
use crate::record::{Record, check, hex, returned};

const GET_STACKID: i32 = 27;
const GET_STACK: i32 = 67;

#[test]
fn stack_trace() {
    let about = format!(
        "{ABOUT}\nValues: `stack` is two addresses of the kernel, which a program has put in by\n\
         get_stackid; there is one bucket, so that its id is 0."
    );
    check("stack-trace", &about, |kernel, record| {
        let name = "stack_trace";
        creation(kernel, record, &Attributes::new(name, map_type::STACK_TRACE, 4, 8, 3));
        for value_size in [16, 24, 1008, 1016, 1024, 4064, 4072] {
            for flags in [0, 1 << 5] {
                let spec = MapSpec::new(map_type::STACK_TRACE, 4, value_size, 1).flags(flags);
                let answer = match kernel.create_map(&spec) {
                    Ok(map) => format!("ok flags={:#x}", map.info().flags),
                    Err(errno) => errno.to_string(),
                };
                let question =
                    format!("create {name} value_size={value_size} max_entries=1 flags={flags:#x}");
                record.case(&question, &answer);
            }
        }
        for max_entries in [(1 << 31) + 1, u32::MAX] {
            let spec = MapSpec::new(map_type::STACK_TRACE, 4, 8, max_entries);
            let answer = crate::record::outcome(kernel.create_map(&spec).err());
            record.case(&format!("create {name} max_entries={max_entries}"), &answer);
        }
        for (state, put) in [("empty", "-"), ("one", "00000000:stack")] {
            let make = || {
                let map = map(kernel, 1, 2);
                if state == "one" {
                    assert_eq!(Stacks::new(kernel, &map).id(0), 0);
                }
                map
            };
            let name = format!("{name}/{state}");
            record.note(&name);
            let question =
                format!("state {name} value_size=16 max_entries=1 flags=0x0 lock=- put={put}");
            record.case(&question, "ok");
            operations(
                kernel,
                record,
                &State {
                    name: &name,
                    make: &make,
                    keys: &[&[0; 4], &[1, 0, 0, 0], &[0xff; 4]],
                    values: &[(hex(&[0x77; 16]), vec![0x77; 16])],
                    flags: &FLAGS,
                    show: &|value| if value[7] == 0xff { "stack".to_owned() } else { hex(value) },
                    hashed: false,
                },
            );
        }
    });
}

fn map(kernel: &Kernel, max: u32, depth: u32) -> Map {
    kernel.create_map(&MapSpec::new(map_type::STACK_TRACE, 4, 8 * depth, max)).unwrap()
}

/// A program that puts its stack into a map.
struct Stacks<'k> {
    kernel: &'k Kernel,
    prog: Prog,
    desk: Map,
}

/// The flags of a call come from a map, so that all calls are from one place.
fn desk(kernel: &Kernel) -> Map {
    kernel.create_map(&MapSpec::new(map_type::ARRAY, 4, 16 + 1024, 1)).unwrap()
}

fn load(kernel: &Kernel, asm: &Asm) -> Prog {
    kernel.load(&ProgSpec::new(prog_type::RAW_TRACEPOINT, &asm.build())).unwrap()
}

/// Runs a program with `flags` in word 0 of its desk; the desk afterwards.
fn call(kernel: &Kernel, prog: &Prog, desk: &Map, flags: u64) -> Vec<u8> {
    let mut value = [0xff; 16 + 1024];
    value[..8].copy_from_slice(&flags.to_ne_bytes());
    desk.update(&[0; 4], &value, 0).unwrap();
    kernel.on_cpu(0, || prog.test_run(&TestRun::new()).ok().unwrap()).unwrap();
    desk.lookup(&[0; 4], 0).unwrap()
}

fn outcome(desk: &[u8]) -> i64 {
    i64::from_ne_bytes(desk[8..16].try_into().unwrap())
}

impl<'k> Stacks<'k> {
    fn new(kernel: &'k Kernel, map: &Map) -> Self {
        let desk = desk(kernel);
        let mut asm = Asm::new();
        asm.map_value(R7, desk.fd(), 0).ldx(DW, R3, R7, 0).map(R2, map.fd()).call(GET_STACKID);
        asm.stx(DW, R7, 8, R0).mov(R0, 0).exit();
        Self { kernel, prog: load(kernel, &asm), desk }
    }

    fn id(&self, flags: u64) -> i64 {
        outcome(&call(self.kernel, &self.prog, &self.desk, flags))
    }
}

#[test]
fn get_stackid() {
    check(
        "get-stackid",
        "A map for stacks of `depth` addresses, at most `max_entries` of them, and what is done\n\
         in order. `get:FLAGS` calls get_stackid where the kernel's stack has 7 addresses and\n\
         the user's has 1: the answer is an errno, or `hash` when the id is the low bits of jhash2 of\n\
         the addresses in the map, then how many of these there are. Stacks of which another\n\
         number is skipped differ. `keys` counts the ids in the map, `delete` deletes the\n\
         last one got, `lookup` answers whether that one is there.\n\
         `get_stack` lines: get_stack(ctx, buffer, size, flags) into a buffer of ones; the\n\
         answer is r0, `full` for all of the size and `part` for less, and whether the buffer\n\
         then begins with an address, with a zero or with ones.",
        |kernel, record| {
            ids(kernel, record);
            stacks(kernel, record);
        },
    );
}

fn ids(kernel: &Kernel, record: &mut Record) {
    record.note("get_stackid");
    for (max, depth, steps) in [
        (1, 2, "get:0,get:0,keys,lookup,delete,lookup,keys,get:0"),
        (65536, 1, "get:0,get:1,get:2,get:3,keys"),
        (65536, 3, "get:0,get:1,get:2,get:3,keys"),
        (65536, 127, "get:255,get:254,get:128,keys"),
        // All stacks have the same bucket.
        (1, 2, "get:0,get:1,get:0,get:2,keys"),
        (1, 2, "get:0,get:0x200,get:0x201,get:0x201,delete,get:0x201"),
        // The element that a reused id had is free only afterwards.
        (1, 2, "get:0,get:0x400,get:0x401,keys,delete,get:0x401,get:0x400"),
        (1, 2, "get:0,get:0x601,delete,get:0x601,get:0x601"),
        // The user's stack.
        (65536, 1, "get:0x100,get:0,keys"),
        (65536, 1, "get:0x1ff"),
        // Flags.
        (1, 2, "get:0x800,get:0x1000,get:0x100000000,get:0x8000000000000000,keys"),
        (1, 2, "get:0xfff,get:0xffffffffffffffff,keys"),
    ] {
        let map = map(kernel, max, depth);
        let program = Stacks::new(kernel, &map);
        let mut last = 0;
        let answers: Vec<String> =
            steps.split(',').map(|step| perform(&map, &program, &mut last, step)).collect();
        let question = format!("stackid depth={depth} max_entries={max} do={steps}");
        record.case(&question, &answers.join(","));
    }
}

fn number(text: &str) -> u64 {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).unwrap(),
        None => text.parse().unwrap(),
    }
}

fn perform(map: &Map, program: &Stacks<'_>, last: &mut u32, step: &str) -> String {
    let outcome = |errno: Option<Errno>| crate::record::outcome(errno);
    match step.split_once(':') {
        Some(("get", flags)) => {
            let id = program.id(number(flags));
            let Ok(got) = u32::try_from(id) else { return returned(id) };
            *last = got;
            let value = map.lookup(&got.to_ne_bytes(), 0).unwrap();
            let ips: Vec<u64> =
                value.as_chunks::<8>().0.iter().map(|&ip| u64::from_ne_bytes(ip)).collect();
            let count = ips.iter().take_while(|&&ip| ip != 0).count();
            let mask = map.info().max_entries.next_power_of_two() - 1;
            let words = value[..8 * count].as_chunks::<4>().0.iter();
            let words: Vec<u32> = words.map(|&word| u32::from_ne_bytes(word)).collect();
            assert!(ips[count..].iter().all(|&ip| ip == 0), "it is zero behind the stack");
            let hash = if jhash2(&words, 0) & mask == got { "hash" } else { "another" };
            format!("{hash}:{count}")
        }
        _ => match step {
            "keys" => map.keys().unwrap().len().to_string(),
            "delete" => outcome(map.delete(&last.to_ne_bytes()).err()),
            _ => outcome(map.lookup(&last.to_ne_bytes(), 0).err()),
        },
    }
}

fn stacks(kernel: &Kernel, record: &mut Record) {
    record.note("get_stack");
    for size in [0, 1, 7, 8, 12, 16, 32, 56, 64, 1016, 1024] {
        let desk = desk(kernel);
        let mut asm = Asm::new();
        asm.map_value(R7, desk.fd(), 0).ldx(DW, R4, R7, 0).map_value(R2, desk.fd(), 16);
        asm.mov(R3, size).call(GET_STACK).stx(DW, R7, 8, R0).mov(R0, 0).exit();
        let prog = load(kernel, &asm);
        let flags: &[u64] = match size {
            8 | 12 | 32 => &[
                0,
                1,
                6,
                7,
                8,
                0xff,
                0x100,
                0x1ff,
                0x200,
                0x400,
                0x800,
                0x900,
                0x1000,
                1 << 32,
                u64::MAX,
            ],
            _ => &[0, 1, 0xff, 0x100, 0x200],
        };
        for &flags in flags {
            let desk = call(kernel, &prog, &desk, flags);
            let result = outcome(&desk);
            let whole = usize::try_from(size).unwrap();
            let answer = match usize::try_from(result) {
                Ok(len) if len == whole => "full".to_owned(),
                Ok(0) => "0".to_owned(),
                Ok(len) => {
                    assert!(desk[16 + len..16 + whole].iter().all(|&byte| byte == 0));
                    "part".to_owned()
                }
                Err(_) => returned(result),
            };
            let first = &desk[16..16 + whole.clamp(1, 8)];
            let first = match first {
                first if first.iter().all(|&byte| byte == 0xff) => "ones",
                first if first.iter().all(|&byte| byte == 0) => "zero",
                _ => "address",
            };
            let question = format!("get_stack size={size} flags={flags:#x}");
            record.case(&question, &format!("{answer} {first}"));
        }
    }
}
