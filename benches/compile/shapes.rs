//! Programs of any length, in shapes of which one or the other part of a compiler may take
//! more than its share.

use std::fmt::Write as _;

/// A shape of programs.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    /// Its type's name; none for a program on plain bytes.
    pub(crate) prog_type: Option<&'static str>,
    /// Writes a program of about so many instructions.
    pub(crate) write: fn(usize) -> String,
}

const fn plain(name: &'static str, write: fn(usize) -> String) -> Shape {
    Shape { name, prog_type: None, write }
}

/// All shapes. Map 0 is an array of eight bytes per value, map 1 a hash with keys of four.
pub(crate) const SHAPES: &[Shape] = &[
    plain("straight line", straight),
    plain("diamonds, short", short_diamonds),
    plain("diamonds, long", long_diamonds),
    plain("diamonds of pointers", pointer_diamonds),
    plain("live registers", live_registers),
    plain("stack slots", stack_slots),
    plain("loops in a row", loops_in_a_row),
    plain("loops, 8 deep", |n| nested_loops(n, 8)),
    plain("loops, all nested", |n| nested_loops(n, (n / 5).min(6_000))),
    plain("loops that feed each other", fed_loops),
    plain("loop of branches", loop_of_branches),
    plain("irreducible loops", irreducible),
    plain("irreducible ladder", ladder),
    plain("back edges", back_edges),
    plain("functions", functions),
    plain("calls", calls),
    plain("loads, checked", checked_loads),
    plain("loads, unchecked", unchecked_loads),
    plain("switch", switch),
    plain("jumps to one exit", one_exit),
    plain("jump chain", jump_chain),
    plain("helper calls", helper_calls),
    plain("look-ups", lookups),
    Shape { name: "packet checks", prog_type: Some("xdp"), write: packet_checks },
];

/// Writes `body(0)`, `body(1)`, ... until there are about `len` instructions, then returns.
fn repeat(start: &str, len: usize, size: usize, mut body: impl FnMut(usize) -> String) -> String {
    let mut text = format!("{start}\n");
    for at in 0..(len / size).max(1) {
        text.push_str(&body(at));
        text.push('\n');
    }
    text.push_str("mov %r0, 0\nout:\nexit\n");
    text
}

/// All registers hold something unknown.
const UNKNOWN: &str = "mov %r0, %r2\nmov %r3, %r2\nmov %r4, %r2\nmov %r5, %r2\nmov %r6, %r2\n\
                       mov %r7, %r2\nmov %r8, %r2\nmov %r9, %r2";

fn straight(len: usize) -> String {
    const OPS: [&str; 5] = ["add", "xor", "mul", "or", "sub32"];
    repeat(UNKNOWN, len, 1, |at| {
        format!("{} %r{}, %r{}", OPS[at % OPS.len()], at % 10, (at * 7 + 3) % 10)
    })
}

fn short_diamonds(len: usize) -> String {
    repeat(UNKNOWN, len, 3, |at| {
        let (a, b) = (at % 10, (at + 3) % 10);
        format!("jgt %r{a}, %r{b}, l{at}\nadd %r{b}, {at}\nl{at}:\nxor %r{a}, %r{b}")
    })
}

fn long_diamonds(len: usize) -> String {
    repeat(UNKNOWN, len, 12, |at| {
        let arm = |by: usize| {
            let line =
                |nth: usize| format!("add %r{}, %r{}\n", (at + nth) % 10, (at + nth + by) % 10);
            (0..5).map(line).collect::<String>()
        };
        let (one, other) = (arm(1), arm(4));
        format!("jset %r{}, {at}, l{at}\n{one}ja m{at}\nl{at}:\n{other}m{at}:", at % 10)
    })
}

fn pointer_diamonds(len: usize) -> String {
    repeat("mov %r6, %r10", len, 6, |at| {
        let slot = 8 * (1 + at % 60);
        format!(
            "jset %r2, {at}, l{at}\nmov %r3, %r10\nadd %r3, -{slot}\nja m{at}\nl{at}:\n\
             mov %r3, %r6\nm{at}:\nldxdw %r4, [%r3-8]\nadd %r2, %r4"
        )
    })
}

fn live_registers(len: usize) -> String {
    repeat(UNKNOWN, len, 5, |at| {
        let [a, b, c, d] = [at % 10, (at + 3) % 10, (at * 7 + 1) % 10, (at * 3 + 2) % 10];
        format!(
            "jgt %r{a}, %r{b}, l{at}\nmul %r{c}, %r{d}\nmul %r{b}, %r{a}\nstxdw [%r10-8], %r{c}\n\
             l{at}:\nadd %r{a}, %r{d}"
        )
    })
}

fn stack_slots(len: usize) -> String {
    let start: String = (1..=64).map(|slot| format!("stxdw [%r10-{}], %r10\n", 8 * slot)).collect();
    repeat(&start, len, 4, |at| {
        let (one, other) = (8 * (1 + at % 64), 8 * (1 + (at * 5) % 64));
        format!(
            "jset %r2, {at}, l{at}\nstdw [%r10-{one}], {at}\nstxdw [%r10-{other}], %r10\nl{at}:\n\
             ldxdw %r3, [%r10-{one}]"
        )
    })
}

fn loops_in_a_row(len: usize) -> String {
    repeat("mov %r3, 0", len, 4, |at| {
        format!("mov %r1, 0\nl{at}:\nadd %r3, %r1\nadd %r1, 1\njlt %r1, {}, l{at}", 1 + at % 50)
    })
}

/// Counters are on the stack: in eight-byte slots, each of many loops.
fn nested_loops(len: usize, depth: usize) -> String {
    let depth = depth.max(1);
    repeat("mov %r3, 0", len, 5 * depth, |at| {
        let slot = |nth: usize| 8 * (1 + nth % 64);
        let open = (0..depth).map(|nth| format!("stdw [%r10-{}], 2\nl{at}_{nth}:\n", slot(nth)));
        let close = (0..depth).rev().map(|nth| {
            let slot = slot(nth);
            format!(
                "ldxdw %r1, [%r10-{slot}]\nadd %r1, -1\nstxdw [%r10-{slot}], %r1\n\
                 jne %r1, 0, l{at}_{nth}\n"
            )
        });
        open.chain(close).collect()
    })
}

/// What one loop counts is the next one's bound.
fn fed_loops(len: usize) -> String {
    repeat("mov %r1, 1\nand %r2, 7", len, 8, |at| {
        format!(
            "mov %r3, 0\nl{at}:\nadd %r3, 1\nadd %r4, %r3\nmov %r5, %r4\nmov %r4, %r6\n\
             mov %r6, %r5\njlt %r3, %r1, l{at}\nmov %r1, %r3"
        )
    })
}

fn loop_of_branches(len: usize) -> String {
    // A jump reaches 32,767 instructions.
    let len = len.min(32_000);
    let body = repeat(&format!("{UNKNOWN}\nagain:"), len, 4, |at| {
        let (a, b) = (at % 9, (at + 3) % 9);
        format!("jgt %r{a}, {at}, l{at}\nmov %r{b}, %r{a}\nadd %r{b}, 1\nl{at}:\nadd %r{a}, 1")
    });
    body.replace("mov %r0, 0\nout:", "add %r9, 1\njlt %r9, 3, again\nout:")
}

/// Pairs of blocks that lead to each other, entered in both.
fn irreducible(len: usize) -> String {
    repeat(UNKNOWN, len, 5, |at| {
        let (a, b) = (at % 10, (at + 3) % 10);
        format!(
            "jset %r2, {at}, m{at}\nl{at}:\nadd %r{a}, 1\nm{at}:\nadd %r{b}, 2\n\
             jlt %r{b}, 9, l{at}\nxor %r{a}, %r{b}"
        )
    })
}

/// Each block leads on and back by one, and may be entered from the start.
fn ladder(len: usize) -> String {
    // A jump reaches 32,767 instructions.
    let n = len / 5;
    let mut text = format!("{UNKNOWN}\n");
    for at in 0..n {
        let _ = writeln!(text, "jeq %r2, {at}, l{at}");
    }
    for at in 0..n {
        let back = at.saturating_sub(1);
        let _ =
            writeln!(text, "l{at}:\nadd %r{}, 1\nadd %r3, %r4\njset %r3, {at}, l{back}", at % 10);
    }
    text + "mov %r0, 0\nexit\n"
}

/// Each block leads back to another one far before it.
fn back_edges(len: usize) -> String {
    repeat(UNKNOWN, len, 2, |at| {
        format!("l{at}:\nadd %r{}, 1\njset %r3, {at}, l{}", at % 10, at / 2)
    })
}

fn functions(len: usize) -> String {
    let count = (len / 7).max(1);
    let mut text = String::new();
    for at in 0..count {
        let _ = writeln!(text, "mov %r1, {at}\ncall local f{at}");
    }
    text.push_str("mov %r0, 0\nexit\n");
    for at in 0..count {
        let _ = writeln!(text, "f{at}:\nmov %r0, %r1\nmul %r0, {at}\nstxdw [%r10-8], %r0\nexit");
    }
    text
}

/// Eight functions that call each other many times.
fn calls(len: usize) -> String {
    let each = (len / 7 / 2).max(1);
    let mut text = String::new();
    for depth in 0..8 {
        let _ = writeln!(text, "f{depth}:");
        for at in 0..each {
            if depth < 7 {
                let _ = writeln!(text, "mov %r1, {at}\ncall local f{}", depth + 1);
            }
        }
        text.push_str("mov %r0, 0\nexit\n");
    }
    text
}

fn checked_loads(len: usize) -> String {
    repeat("mov %r6, %r1\nmov %r7, 0", len, 3, |at| {
        format!("ldxdw %r3, [%r6+{}]\nadd %r7, %r3\nadd %r6, %r3", at % 64)
    })
}

fn unchecked_loads(len: usize) -> String {
    repeat("mov %r7, 0", len, 3, |at| {
        let slot = 8 * (1 + at % 64);
        format!("stxdw [%r10-{slot}], %r7\nldxdw %r3, [%r10-{slot}]\nadd %r7, %r3")
    })
}

/// Comparisons that lead to many places.
fn switch(len: usize) -> String {
    // A jump reaches 32,767 instructions.
    let count = (len / 4).clamp(1, 8_000);
    let mut text = String::from("mov %r3, 0\n");
    for at in 0..count {
        let _ = writeln!(text, "jeq %r2, {at}, l{at}");
    }
    for at in 0..count {
        let _ = writeln!(text, "l{at}:\nadd %r3, {at}\nmul %r3, %r2\nja32 out");
    }
    text + "out:\nmov %r0, %r3\nexit\n"
}

fn one_exit(len: usize) -> String {
    // A jump reaches 32,767 instructions.
    repeat("mov %r0, 1", len, 2, |at| {
        let place = at / 8_000;
        let land = if at % 8_000 == 7_999 {
            format!("\nja p{place}\no{place}:\nmov %r0, %r2\nexit\np{place}:")
        } else {
            String::new()
        };
        let to = if at / 8_000 == usize::MAX { "out".to_owned() } else { format!("o{place}") };
        format!("add %r2, %r0\njeq %r2, {at}, {to}{land}")
    })
    .replace("mov %r0, 0\nout:", &format!("ja out\no{}:\nout:\nmov %r0, 0", len / 2 / 8_000))
}

/// Jumps from one to the next, now ahead, now back.
fn jump_chain(len: usize) -> String {
    repeat("mov %r0, 0", len, 4, |at| {
        format!("ja a{at}\nb{at}:\nja c{at}\na{at}:\nja b{at}\nc{at}:\nja d{at}\nd{at}:")
    })
}

fn helper_calls(len: usize) -> String {
    repeat("mov %r6, 0", len, 2, |_| "call 5\nadd %r6, %r0".to_owned())
}

fn lookups(len: usize) -> String {
    repeat("stw [%r10-4], 0", len, 8, |at| {
        format!(
            "lddw map_idx %r1, {}\nmov %r2, %r10\nadd %r2, -4\ncall 1\njeq %r0, 0, l{at}\n\
             mov %r1, 1\nstxdw [%r0], %r1\nl{at}:",
            at % 2
        )
    })
}

/// Each check is of another place of the packet, which nothing is known of before.
fn packet_checks(len: usize) -> String {
    repeat("mov %r6, %r1\nldxw %r7, [%r6+4]\nmov %r9, 0", len, 8, |at| {
        format!(
            "ldxw %r2, [%r6+0]\nmov %r3, %r9\nand %r3, 255\nadd %r2, %r3\nmov %r4, %r2\n\
             add %r4, {}\njgt %r4, %r7, l{at}\nldxb %r9, [%r2]\nl{at}:",
            1 + at % 8
        )
    })
}
