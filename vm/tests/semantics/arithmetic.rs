//! What instructions compute at the edges of their operands.

use skep_oracle::asm::{
    ADD, ALU32, ALU64, AND, ARITHMETIC, Asm, CMPXCHG, DW, END, FETCH, MOV, NEG, OR, R0, R1, R2, R7,
    REG, W, XCHG, XOR,
};
use skep_oracle::recorded::Case;

use crate::lab::Lab;
use crate::probe::Probe;
use crate::section::Section;

/// Names, opcodes and immediates.
const UNARY: [(&str, u8, i32); 11] = [
    ("neg64", ALU64 | NEG, 0),
    ("neg32", ALU32 | NEG, 0),
    ("le16", ALU32 | END, 16),
    ("le32", ALU32 | END, 32),
    ("le64", ALU32 | END, 64),
    ("be16", ALU32 | REG | END, 16),
    ("be32", ALU32 | REG | END, 32),
    ("be64", ALU32 | REG | END, 64),
    ("bswap16", ALU64 | END, 16),
    ("bswap32", ALU64 | END, 32),
    ("bswap64", ALU64 | END, 64),
];

pub(crate) fn arithmetic(section: &Section) -> Vec<String> {
    let lab = Lab::new();
    section.cases.iter().map(|case| compute(&lab, case)).collect()
}

/// Numbers are bits, in hexadecimal.
fn number(text: &str) -> i64 {
    u64::from_str_radix(text, 16).expect("hexadecimal").cast_signed()
}

fn numbers(case: &Case<'_>, name: &str) -> Vec<i64> {
    case.asked(name).expect("operands").split(',').map(number).collect()
}

fn compute(lab: &Lab, case: &Case<'_>) -> String {
    let name = case.question[0];
    let results = match case.question[1] {
        "reg" => binary(lab, name, case, Operand::Register),
        "imm" => binary(lab, name, case, Operand::Immediate),
        _ => unary(lab, name, case),
    };
    let results: Vec<String> = results.iter().map(|result| format!("{result:x}")).collect();
    results.join(",")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operand {
    Register,
    Immediate,
}

fn binary(lab: &Lab, name: &str, case: &Case<'_>, operand: Operand) -> Vec<i64> {
    let (plain, width) = name.split_at(name.len() - 2);
    let class = if width == "64" { ALU64 } else { ALU32 };
    let found = ARITHMETIC.iter().find(|(own, ..)| *own == plain);
    let &(_, op, off) = found.unwrap_or_else(|| panic!("no operation {name}"));
    let a = numbers(case, "a")[0];
    let run = |b: i64| {
        let body = |asm: &mut Asm| {
            asm.ldx(DW, R1, R7, 0).ldx(DW, R2, R7, 8);
            match operand {
                Operand::Register => asm.insn(class | REG | op, R1, R2, off, 0),
                Operand::Immediate => {
                    asm.insn(class | op, R1, 0, off, i32::try_from(b).expect("32 bits"))
                }
            };
            asm.stx(DW, R7, 16, R1);
        };
        let probe = Probe::new(lab, "sched_cls", &[], body).expect("it is well-formed");
        probe.run_on(&[a, b]).expect("it runs")[2]
    };
    numbers(case, "b").into_iter().map(run).collect()
}

fn unary(lab: &Lab, name: &str, case: &Case<'_>) -> Vec<i64> {
    let bits = case.asked("bits").map(|bits| bits.parse().expect("a width"));
    let body = |asm: &mut Asm| {
        asm.ldx(DW, R1, R7, 0);
        match (name, bits) {
            ("movsx64", Some(bits)) => asm.insn(ALU64 | REG | MOV, R1, R1, bits, 0),
            ("movsx32", Some(bits)) => asm.insn(ALU32 | REG | MOV, R1, R1, bits, 0),
            _ => {
                let found = UNARY.iter().find(|(own, ..)| *own == name);
                let &(_, code, imm) = found.unwrap_or_else(|| panic!("no operation {name}"));
                asm.insn(code, R1, 0, 0, imm)
            }
        };
        asm.stx(DW, R7, 16, R1);
    };
    let probe = Probe::new(lab, "sched_cls", &[], body).expect("it is well-formed");
    let run = |a| probe.run_on(&[a]).expect("it runs")[2];
    numbers(case, "a").into_iter().map(run).collect()
}

pub(crate) fn atomics(section: &Section) -> Vec<String> {
    let lab = Lab::new();
    section.cases.iter().map(|case| atomic(&lab, case)).collect()
}

fn atomic(lab: &Lab, case: &Case<'_>) -> String {
    let name = case.question[0];
    let (plain, width) = name.split_at(name.len() - 2);
    let size = if width == "64" { DW } else { W };
    let op = match plain {
        "add" => i32::from(ADD),
        "or" => i32::from(OR),
        "and" => i32::from(AND),
        "xor" => i32::from(XOR),
        "fetch_add" => i32::from(ADD) | FETCH,
        "fetch_or" => i32::from(OR) | FETCH,
        "fetch_and" => i32::from(AND) | FETCH,
        "fetch_xor" => i32::from(XOR) | FETCH,
        "xchg" => XCHG,
        "cmpxchg" => CMPXCHG,
        other => panic!("no operation {other}"),
    };
    let body = |asm: &mut Asm| {
        asm.ldx(DW, R1, R7, 8).ldx(DW, R0, R7, 16);
        asm.atomic(size, R7, 0, R1, op).stx(DW, R7, 24, R1).stx(DW, R7, 32, R0);
    };
    let probe = Probe::new(lab, "sched_cls", &[], body).expect("it is well-formed");
    let given = ["memory", "src", "r0"].map(|name| numbers(case, name)[0]);
    let words = probe.run_on(&given).expect("it runs");
    format!("memory={:x} src={:x} r0={:x}", words[0], words[3], words[4])
}
