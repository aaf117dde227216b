//! Accesses by pointers that lead anywhere: made by loops over instructions, pointers and
//! displacements.

use super::canary::{FAR, LEN, SLOP};
use super::rig::{Case, Places, Words};
use crate::isa::{Insn, Op, ROWS, Row, Shape, assemble};
use crate::prog::{ProgType, SCHED_CLS, XDP};

/// Displacements.
const OFFS: [i16; 7] = [0, i16::MIN, i16::MAX, -8, -1, 3, 8];

/// All instructions that access memory.
fn accesses() -> Vec<&'static Row> {
    let is_access = |row: &&Row| {
        use Shape::{Atomic, Load, LoadAcquire, StoreImm, StoreReg, StoreRelease};
        matches!(row.shape, Load | StoreImm | StoreReg | Atomic | LoadAcquire | StoreRelease)
    };
    ROWS.iter().filter(is_access).collect()
}

/// An access at `r7 + off`, with r8 as its operand, and its result in r0.
fn access(row: &Row, base: u8, off: i16) -> Vec<Insn> {
    let fields = match row.shape {
        Shape::Load | Shape::LoadAcquire => Insn { dst: 0, src: base, off, ..Insn::default() },
        Shape::StoreImm => Insn { dst: base, off, imm: -0x1357_9bdf, ..Insn::default() },
        _ => Insn { dst: base, src: 8, off, ..Insn::default() },
    };
    let mut insns = vec![row.encode(fields)];
    let cmpxchg = matches!(row.op, Op::AtomicCmpxchg64 | Op::AtomicCmpxchg32);
    if row.shape == Shape::Atomic && !cmpxchg {
        // What was there, if it is fetched.
        insns.extend(assemble("mov %r0, %r8").expect("it is right"));
    }
    insns
}

fn case(
    name: String,
    prog_type: Option<&'static ProgType>,
    parts: &[&[Insn]],
    inputs: &[Words],
) -> Case {
    Case { name, prog_type, insns: parts.concat(), inputs: inputs.to_vec() }
}

fn asm(text: &str) -> Vec<Insn> {
    assemble(text).unwrap_or_else(|error| panic!("{error}"))
}

fn operand(number: usize) -> u64 {
    0x0102_0304_0506_0708u64.wrapping_mul(number as u64 | 1)
}

/// Pointers as inputs, each with another operand.
fn inputs(pointers: &[u64]) -> Vec<Words> {
    pointers.iter().enumerate().map(|(number, &pointer)| [pointer, operand(number)]).collect()
}

/// Addresses at which something begins or ends: the window, what is accessible in it, its slop,
/// the canaries, and where numbers wrap.
fn edges(places: Places) -> [u64; 16] {
    let len = places.window;
    let before = SLOP.wrapping_neg();
    [
        0,
        len,
        before,
        before.wrapping_sub(LEN),
        len + SLOP,
        len + SLOP + LEN,
        FAR,
        FAR.wrapping_add(LEN),
        SLOP,
        len - SLOP,
        1 << 31,
        1 << 32,
        (1 << 32) + SLOP,
        2 << 32,
        1 << 63,
        places.window / 2,
    ]
}

/// Pointers that are good but for bits above.
fn good_pointers_with_garbage(places: Places) -> impl Iterator<Item = u64> {
    let Places { window, stack, context, packet, value, direct, record } = places;
    let good = [stack, context, packet, value, direct, record];
    let upper = |bits: u64| bits << 32;
    let garbage = [
        0,
        window,
        1 << 32,
        1 << 33,
        1 << 47,
        1 << 63,
        upper(0xff),
        upper(0xffff_ffff),
        upper(FAR >> 32),
        upper(0xdead_beef),
    ];
    good.into_iter().flat_map(move |good| garbage.map(|garbage| good.wrapping_add(garbage)))
}

/// Pointers at some distances from all edges, and good ones with garbage above.
pub(super) fn pointers(places: Places, distances: &[i64]) -> Vec<u64> {
    let near = edges(places).into_iter();
    let near = near.flat_map(|edge| distances.iter().map(move |&by| edge.wrapping_add_signed(by)));
    // In the middle of what lies beyond the window, and first: who gets there is told by the
    // canaries, others by a signal.
    let half = LEN / 2;
    let beyond = [places.window + SLOP + half, (SLOP + half).wrapping_neg(), FAR + half, half];
    beyond.into_iter().chain(near).chain(good_pointers_with_garbage(places)).collect()
}

/// Loads the pointer into r7, the operand into r8.
const TAKE: &str = "ldxdw %r7, [%r1+0]\nldxdw %r8, [%r1+8]\nmov %r0, 0";

/// Each access by pointers of which nothing is known.
pub(super) fn by_any_pointer(places: Places) -> Vec<Case> {
    let (take, exit) = (asm(TAKE), asm("exit"));
    let all: Vec<i64> = (-8..=8).collect();
    let (all, some) = (inputs(&pointers(places, &all)), inputs(&pointers(places, &[-8, -1])));
    let mut cases = Vec::new();
    for row in accesses() {
        for off in OFFS {
            let name = format!("{} at any pointer{off:+}", row.mnemonic);
            let inputs = if off == 0 { &all } else { &some };
            cases.push(case(name, None, &[&take, &access(row, 7, off), &exit], inputs));
        }
    }
    cases
}

/// Good pointers: their names, types of program, and code that takes one into r7, the distance
/// into r6 and the operand into r8. All leave 64 bytes or more there, or less in values.
const GOOD: [(&str, Option<&ProgType>, &str); 13] = [
    ("stack", None, "stdw [%r10-64], 1\nmov %r7, %r10\nadd %r7, -64"),
    ("context", None, "mov %r7, %r1"),
    (
        "value",
        None,
        "stw [%r10-4], 1\nlddw map_idx %r1, 0\nmov %r2, %r10\nadd %r2, -4\ncall 1\n\
         jne %r0, 0, +1\nexit\nmov %r7, %r0",
    ),
    ("direct value", None, "lddw map_idx_value %r7, 1, 8"),
    (
        "hash value",
        None,
        "stdw [%r10-8], 1\nstdw [%r10-24], 5\nstdw [%r10-16], 6\nlddw map_idx %r1, 2\n\
         mov %r2, %r10\nadd %r2, -8\nmov %r3, %r10\nadd %r3, -24\nmov %r4, 0\ncall 2\n\
         lddw map_idx %r1, 2\nmov %r2, %r10\nadd %r2, -8\ncall 1\njne %r0, 0, +1\nexit\n\
         mov %r7, %r0",
    ),
    (
        "inner value",
        None,
        "stw [%r10-4], 0\nlddw map_idx %r1, 7\nmov %r2, %r10\nadd %r2, -4\ncall 1\n\
         jne %r0, 0, +1\nexit\nmov %r1, %r0\nmov %r2, %r10\nadd %r2, -4\ncall 1\n\
         jne %r0, 0, +1\nexit\nmov %r7, %r0",
    ),
    (
        "record",
        None,
        "lddw map_idx %r1, 8\nmov %r2, 64\nmov %r3, 0\ncall 131\njne %r0, 0, +1\nexit\n\
         mov %r9, %r0\nmov %r7, %r0\nstdw [%r7+0], 0",
    ),
    (
        "caller's frame",
        None,
        "stdw [%r10-64], 1\nmov %r1, %r10\nadd %r1, -64\nmov %r2, %r6\nmov %r3, %r8\n\
         call local 1\nexit\nmov %r7, %r1\nmov %r6, %r2\nmov %r8, %r3",
    ),
    (
        "callback's context",
        None,
        "stxdw [%r10-64], %r6\nstxdw [%r10-56], %r8\nmov %r1, 1\nlddw func %r2, back\n\
         mov %r3, %r10\nadd %r3, -64\nmov %r4, 0\ncall 181\nmov %r0, 0\nexit\nback:\n\
         mov %r7, %r2\nldxdw %r6, [%r7+0]\nldxdw %r8, [%r7+8]",
    ),
    (
        "found value in a callback",
        None,
        "lddw map_idx_value %r4, 1, 0\nstxdw [%r4+0], %r6\nstxdw [%r4+8], %r8\n\
         lddw map_idx %r1, 1\nlddw func %r2, back\nmov %r3, 0\nmov %r4, 0\ncall 164\n\
         mov %r0, 0\nexit\nback:\nmov %r7, %r3\nldxdw %r6, [%r7+0]\nldxdw %r8, [%r7+8]",
    ),
    (
        "packet",
        Some(&XDP),
        "ldxw %r7, [%r1+0]\nldxw %r3, [%r1+4]\nmov %r4, %r7\nadd %r4, 16\njle %r4, %r3, +2\n\
         mov %r0, 0\nexit\nldxdw %r6, [%r7+0]\nldxdw %r8, [%r7+8]",
    ),
    (
        "xdp_md",
        Some(&XDP),
        "mov %r7, %r1\nldxw %r3, [%r1+0]\nldxdw %r6, [%r3+0]\nldxdw %r8, [%r3+8]",
    ),
    (
        "__sk_buff",
        Some(&SCHED_CLS),
        "mov %r7, %r1\nldxw %r3, [%r1+76]\nldxdw %r6, [%r3+0]\nldxdw %r8, [%r3+8]",
    ),
];

/// What is done with a good pointer in r7 and a distance in r6.
const FORMS: [&str; 11] = [
    "add %r7, %r6",
    "sub %r7, %r6",
    "add32 %r7, %r6",
    "or %r7, %r6",
    "lsh %r6, 32\nadd %r7, %r6",
    "and %r6, 0xffff\nadd %r7, %r6",
    "and %r6, 7\nadd %r7, %r6",
    "movsx1664 %r6, %r6\nadd %r7, %r6",
    "movsx3264 %r6, %r6\nsub %r7, %r6",
    "mov32 %r6, %r6\nadd %r7, %r6",
    "mul %r6, 8\nadd %r7, %r6",
];

/// How many accesses there are for each pointer and form: they take turns.
const TURNS: usize = 4;

/// Distances that lead from good pointers to edges, canaries, and round in 32 bits.
fn distances(places: Places) -> Vec<u64> {
    let Places { window, stack, context, packet, value, direct, record } = places;
    let mut all: Vec<u64> = [
        0i64,
        1,
        -1,
        8,
        -8,
        56,
        57,
        64,
        -64,
        448,
        -448,
        512,
        -512,
        0x7fff,
        -0x8000,
        0xffff,
        0x10000,
        -0x10000,
        i64::from(i32::MAX),
        i64::from(i32::MIN),
        i64::MAX,
        i64::MIN,
    ]
    .map(i64::cast_unsigned)
    .to_vec();
    all.extend([1 << 32, (1 << 32) - 8, (1 << 32) + 8, 0xdead_beef << 32, window, window - 8]);
    for from in [stack, context, packet, value, direct, record] {
        let half = LEN / 2;
        for to in [FAR + half, window + SLOP + half, (SLOP + half).wrapping_neg()] {
            all.push(to.wrapping_sub(from));
        }
    }
    all
}

/// Accesses by pointers that were good once.
pub(super) fn from_good_pointers(places: Places) -> Vec<Case> {
    let rows = accesses();
    let inputs = inputs(&distances(places));
    let mut cases = Vec::new();
    let mut turn = 0;
    for (base, prog_type, take) in GOOD {
        // Packet programs find both in their packet, the others in their context.
        let first =
            if prog_type.is_none() { "ldxdw %r6, [%r1+0]\nldxdw %r8, [%r1+8]\n" } else { "" };
        let take = asm(&format!("mov %r0, 0\n{first}{take}"));
        let end = asm(match base {
            "record" => "mov %r6, %r0\nmov %r1, %r9\nmov %r2, 0\ncall 132\nmov %r0, %r6\nexit",
            _ => "exit",
        });
        for form in FORMS {
            let moved = asm(&format!("{form}\nmov %r0, 0"));
            for _ in 0..TURNS {
                // Neither number divides the other list's length: all combinations have a turn.
                let (row, off) = (rows[turn * 5 % rows.len()], OFFS[turn % OFFS.len()]);
                turn += 1;
                let name =
                    format!("{} at {base} ({}) {off:+}", row.mnemonic, form.replace('\n', "; "));
                cases.push(case(
                    name,
                    prog_type,
                    &[&take, &moved, &access(row, 7, off), &end],
                    &inputs,
                ));
            }
        }
    }
    cases
}

/// Accesses by pointers that stand in the program, which the compiler can reckon with.
pub(super) fn by_constants(places: Places) -> Vec<Case> {
    let rows = accesses();
    let exit = asm("exit");
    let constants = pointers(places, &[-8, -1, 0]);
    let one = |(number, &constant): (usize, &u64)| {
        let take = asm(&format!("lddw %r7, {constant:#x}\nldxdw %r8, [%r1+8]\nmov %r0, 0"));
        let (row, off) = (rows[number * 5 % rows.len()], OFFS[number % OFFS.len()]);
        let name = format!("{} at {constant:#x}{off:+}", row.mnemonic);
        case(name, None, &[&take, &access(row, 7, off), &exit], &[[0, operand(number)]])
    };
    constants.iter().enumerate().map(one).collect()
}

/// Accesses by frame pointers at all ends of frames, in the first, the second and the last
/// function that can be nested.
pub(super) fn in_frames() -> Vec<Case> {
    const OFFS: [i16; 22] = [
        i16::MIN,
        -1537,
        -1536,
        -1032,
        -1024,
        -1017,
        -1016,
        -520,
        -513,
        -512,
        -511,
        -505,
        -8,
        -7,
        -4,
        -2,
        -1,
        0,
        8,
        512,
        513,
        i16::MAX,
    ];
    let rows = accesses();
    let take = asm("ldxdw %r8, [%r1+8]\nmov %r0, 0");
    let call = asm("mov %r1, %r8\ncall local 1\nexit\nmov %r8, %r1");
    let exit = asm("exit");
    let mut cases = Vec::new();
    let mut turn = 0;
    for depth in [1, 2, 8] {
        for off in OFFS {
            for _ in 0..6 {
                let row = rows[turn * 5 % rows.len()];
                turn += 1;
                let name = format!("{} in frame {depth} at {off}", row.mnemonic);
                let calls = call.repeat(depth - 1);
                let zero = asm("mov %r0, 0");
                let parts: [&[Insn]; 5] = [&take, &calls, &zero, &access(row, 10, off), &exit];
                cases.push(case(name, None, &parts, &[[0, operand(turn)]]));
            }
        }
    }
    cases
}

/// Loops that walk out of what they started in. The analysis may know the first strides.
pub(super) fn in_loops(places: Places) -> Vec<Case> {
    let inputs = inputs(&distances(places));
    let mut cases = Vec::new();
    for (base, prog_type, take) in GOOD.iter().filter(|(_, prog_type, _)| prog_type.is_none()) {
        for step in ["add %r7, 8", "add %r7, %r6", "sub %r7, 1", "add32 %r7, %r6"] {
            for end in ["jne %r5, 40, again", "jeq %r5, 40, +1\nja again", "jlt %r5, 40, again"] {
                let text = format!(
                    "mov %r0, 0\nldxdw %r6, [%r1+0]\nldxdw %r8, [%r1+8]\n{take}\nmov %r5, 0\n\
                     mov %r0, 0\nagain:\nldxb %r4, [%r7+0]\nadd %r0, %r4\nstxb [%r7+0], %r8\n\
                     {step}\nadd %r5, 1\n{end}\nexit"
                );
                let name = format!("a loop ({step}; {end}) from {base}").replace('\n', "; ");
                cases.push(case(name, *prog_type, &[&asm(&text)], &inputs));
            }
        }
    }
    cases
}
