//! What instructions compute at the edges of their operands.

use skep_oracle::Kernel;
use skep_oracle::asm::*;

use crate::probe::{Probe, SCHED_CLS};
use crate::record::{Record, check};

const EDGES: [i64; 14] = [
    0,
    1,
    2,
    7,
    -1,
    -7,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    -0x8000_0000,
    i64::MAX,
    i64::MIN,
    0x1234_5678_9abc_def0,
];
const SHIFTS: [i64; 12] = [0, 1, 7, 31, 32, 33, 63, 64, 65, 255, 0x1_0000_0001, -1];
const IMMEDIATES: [i64; 8] = [1, 2, 7, -1, -7, 0x7fff_ffff, -0x8000_0000, 0x1234_5678];

#[test]
fn arithmetic() {
    check(
        "arithmetic",
        "OPERATION a=A b=B,... -> R,...: `a` is the destination before, each `b` gives one\n\
         result, all 64 bits of the destination after. `reg` takes b from a register, `imm`\n\
         from the instruction. All numbers are hexadecimal.",
        |kernel, record| {
            for (class, width) in [(ALU64, "64"), (ALU32, "32")] {
                for (name, op, off) in ARITHMETIC {
                    let name = format!("{name}{width}");
                    record.note(&name);
                    let shift = matches!(op, LSH | RSH | ARSH);
                    let operands = if shift { &SHIFTS[..] } else { &EDGES[..] };
                    registers(kernel, record, &name, class | REG | op, off, operands);
                    let small = if width == "64" { &SHIFTS[..7] } else { &SHIFTS[..4] };
                    let small: Vec<i64> = small
                        .iter()
                        .copied()
                        .filter(|s| !(32..34).contains(s) || width == "64")
                        .collect();
                    let operands = if shift { &small[..] } else { &IMMEDIATES[..] };
                    immediates(kernel, record, &name, class | op, off, operands);
                }
            }
            record.note("one operand");
            let unary = [
                ("neg64", ALU64 | NEG, 0, 0),
                ("neg32", ALU32 | NEG, 0, 0),
                ("le16", ALU32 | END, 0, 16),
                ("le32", ALU32 | END, 0, 32),
                ("le64", ALU32 | END, 0, 64),
                ("be16", ALU32 | REG | END, 0, 16),
                ("be32", ALU32 | REG | END, 0, 32),
                ("be64", ALU32 | REG | END, 0, 64),
                ("bswap16", ALU64 | END, 0, 16),
                ("bswap32", ALU64 | END, 0, 32),
                ("bswap64", ALU64 | END, 0, 64),
            ];
            for (name, code, off, imm) in unary {
                single(kernel, record, name, (code, R1, 0, off, imm));
            }
            for (name, class) in [("movsx64", ALU64), ("movsx32", ALU32)] {
                for bits in [8, 16, 32] {
                    if class == ALU32 && bits == 32 {
                        continue;
                    }
                    let insn = (class | REG | MOV, R1, R1, bits, 0);
                    single(kernel, record, &format!("{name} bits={bits}"), insn);
                }
            }
        },
    );
}

#[test]
fn atomics() {
    check(
        "atomics",
        "OPERATION memory=M src=S r0=C -> memory, src and r0 after, all 64 bits of each, in\n\
         hexadecimal. The 32-bit forms work on the low four bytes of memory.",
        |kernel, record| {
            let operations = [
                ("add", i32::from(ADD)),
                ("or", i32::from(OR)),
                ("and", i32::from(AND)),
                ("xor", i32::from(XOR)),
                ("fetch_add", i32::from(ADD) | FETCH),
                ("fetch_or", i32::from(OR) | FETCH),
                ("fetch_and", i32::from(AND) | FETCH),
                ("fetch_xor", i32::from(XOR) | FETCH),
                ("xchg", XCHG),
                ("cmpxchg", CMPXCHG),
            ];
            for (width, size) in [("64", DW), ("32", W)] {
                for (name, op) in operations {
                    let name = format!("{name}{width}");
                    record.note(&name);
                    let body = |asm: &mut Asm| {
                        asm.ldx(DW, R1, R7, 8).ldx(DW, R0, R7, 16);
                        asm.atomic(size, R7, 0, R1, op).stx(DW, R7, 24, R1).stx(DW, R7, 32, R0);
                    };
                    let probe = Probe::new(kernel, SCHED_CLS, body).unwrap();
                    for (memory, src) in pairs() {
                        let compares: &[i64] = if op == CMPXCHG {
                            &[memory, memory ^ 1, memory ^ (1 << 40), -1]
                        } else {
                            &[0x55]
                        };
                        for &r0 in compares {
                            let words = probe.run_on(&[memory, src, r0]);
                            record.case(
                                &format!("{name} memory={memory:x} src={src:x} r0={r0:x}"),
                                &format!(
                                    "memory={:x} src={:x} r0={:x}",
                                    words[0], words[3], words[4]
                                ),
                            );
                        }
                    }
                }
            }
        },
    );
}

fn pairs() -> [(i64, i64); 6] {
    [
        (0, 1),
        (-1, 1),
        (0xffff_ffff, 1),
        (0x7fff_ffff_7fff_ffff, 1),
        (0x1234_5678_9abc_def0, 0x0f0f_0f0f_f0f0_f0f0),
        (0x1111_1111_8000_0000, -1),
    ]
}

fn line(record: &mut Record, question: &str, results: &[i64]) {
    let results: Vec<String> = results.iter().map(|r| format!("{r:x}")).collect();
    record.case(question, &results.join(","));
}

fn list(operands: &[i64]) -> String {
    operands.iter().map(|b| format!("{b:x}")).collect::<Vec<_>>().join(",")
}

fn registers(kernel: &Kernel, record: &mut Record, name: &str, code: u8, off: i16, bs: &[i64]) {
    let body = |asm: &mut Asm| {
        asm.ldx(DW, R1, R7, 0).ldx(DW, R2, R7, 8);
        asm.insn(code, R1, R2, off, 0).stx(DW, R7, 16, R1);
    };
    let probe = Probe::new(kernel, SCHED_CLS, body).unwrap();
    for a in EDGES {
        let results: Vec<i64> = bs.iter().map(|&b| probe.run_on(&[a, b])[2]).collect();
        line(record, &format!("{name} reg a={a:x} b={}", list(bs)), &results);
    }
}

fn immediates(kernel: &Kernel, record: &mut Record, name: &str, code: u8, off: i16, bs: &[i64]) {
    let probes: Vec<Probe> = bs
        .iter()
        .map(|&b| {
            let body = |asm: &mut Asm| {
                asm.ldx(DW, R1, R7, 0);
                asm.insn(code, R1, 0, off, i32::try_from(b).unwrap()).stx(DW, R7, 16, R1);
            };
            Probe::new(kernel, SCHED_CLS, body).unwrap()
        })
        .collect();
    for a in EDGES {
        let results: Vec<i64> = probes.iter().map(|probe| probe.run_on(&[a])[2]).collect();
        line(record, &format!("{name} imm a={a:x} b={}", list(bs)), &results);
    }
}

fn single(kernel: &Kernel, record: &mut Record, name: &str, insn: (u8, u8, u8, i16, i32)) {
    let (code, dst, src, off, imm) = insn;
    let body = |asm: &mut Asm| {
        asm.ldx(DW, R1, R7, 0).insn(code, dst, src, off, imm).stx(DW, R7, 16, R1);
    };
    let probe = Probe::new(kernel, SCHED_CLS, body).unwrap();
    let results: Vec<i64> = EDGES.iter().map(|&a| probe.run_on(&[a])[2]).collect();
    line(record, &format!("{name} a={}", list(&EDGES)), &results);
}
