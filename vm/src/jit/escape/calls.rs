//! Calls that are handed pointers that lead anywhere: to keys, values, records, strings, maps,
//! contexts; tail calls; loads from the packet.

use super::cases::pointers;
use super::rig::{Case, Places};
use crate::isa::assemble;
use crate::prog::{ProgType, SCHED_CLS, XDP};

/// Calls of helpers: the number, the type of the program, and arguments: `wild` is the input's
/// pointer, `wide` its operand, `held` points to it, `ctx` is the context, `key` 64 bytes of
/// stack; `mN` is a map, others are numbers.
const CALLS: [(u32, Option<&ProgType>, &str); 78] = [
    // Look-ups, updates and deletions: keys of sizes with code of their own and without.
    (1, None, "m0 wild"),
    (1, None, "m1 wild"),
    (1, None, "m2 wild"),
    (1, None, "m3 wild"),
    (1, None, "m4 wild"),
    (1, None, "m5 wild"),
    (1, None, "m6 wild"),
    (1, None, "m7 wild"),
    (1, None, "m11 wild"),
    (1, None, "m12 wild"),
    (1, None, "wild key"),
    (1, None, "wild wild"),
    (2, None, "m0 wild key 0"),
    (2, None, "m0 key wild 0"),
    (2, None, "m2 wild key 0"),
    (2, None, "m2 key wild 0"),
    (2, None, "m2 wild wild 0"),
    (2, None, "m3 wild key 0"),
    (2, None, "m3 key wild 0"),
    (2, None, "m4 key wild 0"),
    (2, None, "m5 wild wild 0"),
    (2, None, "m6 key wild 0"),
    (2, None, "m11 wild key 0"),
    (2, None, "m12 key wild 0"),
    (2, None, "m2 key key wild"),
    (2, None, "wild key key 0"),
    (3, None, "m2 wild"),
    (3, None, "m3 wild"),
    (3, None, "m5 wild"),
    (3, None, "m11 wild"),
    (3, None, "wild key"),
    // Keys that lead beyond arrays.
    (1, None, "m0 held"),
    (1, None, "m1 held"),
    (1, None, "m6 held"),
    (1, None, "m7 held"),
    (2, None, "m0 held key 0"),
    (2, None, "m6 held held 0"),
    (3, None, "m2 held"),
    (195, None, "m6 held wide"),
    (195, None, "m6 wild 1"),
    (195, None, "m12 wild wild"),
    (87, None, "m9 wild 0"),
    (88, None, "m9 wild"),
    (89, None, "m9 wild"),
    (87, None, "wild key 0"),
    // Memory and its size.
    (4, None, "wild 16 key"),
    (4, None, "key 16 wild"),
    (4, None, "key wild wild"),
    (45, None, "key 16 wild"),
    (113, None, "key 8 wild"),
    (115, None, "wild 64 wild"),
    (16, None, "wild 16"),
    (6, None, "wild 8 1 2 3"),
    (6, None, "wild wide 1 2 3"),
    (105, None, "wild 8 0 key"),
    (106, None, "key 8 0 wild"),
    (182, None, "wild 8 key"),
    (182, None, "key 8 wild"),
    (165, None, "wild 16 key key 8"),
    (165, None, "key 16 wild key 8"),
    (165, None, "key 16 key wild 8"),
    // Records and rings.
    (130, None, "m8 wild 16 0"),
    (130, None, "m8 key wild 0"),
    (131, None, "m8 wild 0"),
    (131, None, "wild 16 0"),
    (132, None, "wild 0"),
    (133, None, "wild 0"),
    (134, None, "m8 wild"),
    (197, None, "wild 16 0 key"),
    (197, None, "key 16 0 wild"),
    (198, None, "m8 16 0 wild"),
    (201, None, "wild 8 key 0 0"),
    // Others.
    (93, None, "wild"),
    (86, None, "wild"),
    (26, Some(&SCHED_CLS), "ctx wild key 8"),
    (26, Some(&SCHED_CLS), "ctx 0 wild 8"),
    (44, Some(&XDP), "ctx wild"),
    (65, Some(&XDP), "ctx wild"),
];

/// Tail calls: their arguments, as above.
const TAIL_CALLS: [&str; 5] =
    ["ctx m10 0", "ctx m10 wild", "ctx wild 0", "wild m10 0", "ctx m0 wild"];

/// Loads from the packet: context in r6, then one of these.
const LEGACY: [&str; 9] = [
    "ldindw %r7, 0",
    "ldindh %r7, 0x7fffffff",
    "ldindb %r7, -1",
    "ldindw %r7, -0x80000000",
    "ldabsw 0x7fffffff",
    "ldabsh -0x100000",
    "ldabsb -0x200000",
    "ldabsw 62",
    "mov %r6, %r7\nldabsw 0",
];

/// Takes context, pointer and operand into r6, r7 and r8, and fills 64 bytes of stack; below
/// them stands the pointer again.
fn begin(prog_type: Option<&ProgType>) -> String {
    let data = match prog_type {
        None => "mov %r9, %r1",
        Some(t) if t.id == XDP.id => "ldxw %r9, [%r1+0]",
        Some(_) => "ldxw %r9, [%r1+76]",
    };
    let fill = (1..=8).map(|at| format!("stdw [%r10-{}], {at}\n", at * 8)).collect::<String>();
    format!(
        "mov %r6, %r1\n{data}\nldxdw %r7, [%r9+0]\nldxdw %r8, [%r9+8]\nmov %r0, 0\n{fill}\
         stxdw [%r10-72], %r7\n"
    )
}

/// The code for an argument.
fn argument(number: usize, text: &str) -> String {
    let to = format!("%r{number}");
    match text {
        "wild" => format!("mov {to}, %r7\n"),
        "wide" => format!("mov {to}, %r8\n"),
        "ctx" => format!("mov {to}, %r6\n"),
        "key" => format!("mov {to}, %r10\nadd {to}, -64\n"),
        "held" => format!("mov {to}, %r10\nadd {to}, -72\n"),
        _ => match text.strip_prefix('m') {
            Some(map) => format!("lddw map_idx {to}, {map}\n"),
            None => format!("mov {to}, {text}\n"),
        },
    }
}

fn arguments(text: &str) -> String {
    (1..).zip(text.split(' ')).map(|(number, text)| argument(number, text)).collect()
}

/// Calls of helpers, tail calls, loads from the packet.
pub(super) fn helpers(places: Places) -> Vec<Case> {
    let pointers = pointers(places, &[-8, -1, 0, 4]);
    let inputs: Vec<_> = pointers.iter().map(|&pointer| [pointer, pointer]).collect();
    let case = |name: String, prog_type, text: &str| {
        let insns = assemble(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        Case { name, prog_type, insns, inputs: inputs.clone() }
    };
    let calls = CALLS.iter().map(|&(id, prog_type, args)| {
        let text = begin(prog_type) + &arguments(args);
        case(format!("helper {id} on {args}"), prog_type, &format!("{text}call {id}\nexit"))
    });
    // What a look-up has found is written to.
    let found = CALLS.iter().filter(|(id, ..)| *id == 1).map(|&(id, prog_type, args)| {
        let text = begin(prog_type) + &arguments(args);
        let text = format!(
            "{text}call {id}\njne %r0, 0, +1\nexit\nstxw [%r0+0], %r8\nldxw %r0, [%r0+4]\nexit"
        );
        case(format!("what helper {id} finds on {args}"), prog_type, &text)
    });
    let tail_calls = TAIL_CALLS.iter().map(|args| {
        let text = begin(None) + &arguments(args) + "call 12\nmov %r0, 1\nexit";
        case(format!("a tail call on {args}"), None, &text)
    });
    // The same from another function.
    let deeper = TAIL_CALLS.iter().map(|args| {
        let text = begin(None)
            + "mov %r1, %r6\ncall local deeper\nexit\ndeeper:\n"
            + &begin(None)
            + &arguments(args)
            + "call 12\nmov %r0, 1\nexit";
        case(format!("a tail call from a function on {args}"), None, &text)
    });
    let legacy = LEGACY.iter().map(|load| {
        let text = format!("{}{load}\nexit", begin(Some(&SCHED_CLS)));
        case(format!("{load} of the packet"), Some(&SCHED_CLS), &text)
    });
    calls.chain(found).chain(tail_calls).chain(deeper).chain(legacy).collect()
}
