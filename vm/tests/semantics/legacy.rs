//! The legacy packet loads, `ld_abs` and `ld_ind`.

use skep_oracle::asm::{ADD, Asm, B, DW, H, R0, R1, R6, R7, R8, W};
use skep_oracle::recorded::Case;
use skep_vm::Input;

use crate::lab::{Lab, counting};
use crate::probe::Probe;
use crate::section::Section;
use crate::text::asked_signed;

const LD_ABS: u8 = 0x20;
const LD_IND: u8 = 0x40;

/// What the program returns when the load does not end it.
const AFTER: i32 = 77;

pub(crate) fn answer(section: &Section) -> Vec<String> {
    let lab = Lab::new();
    let answer = |case: &Case<'_>| match section.name {
        "registers" => register(&lab, case),
        name if name.starts_with("in a sub-program") => subprogram(&lab, case),
        _ => load(&lab, case),
    };
    section.cases.iter().map(answer).collect()
}

fn end(asm: &mut Asm) {
    asm.stx(DW, R7, 0, R0).mov(R0, AFTER).exit();
}

fn imm(case: &Case<'_>) -> i32 {
    i32::try_from(asked_signed(case, "imm").expect("an offset")).expect("32 bits")
}

fn load(lab: &Lab, case: &Case<'_>) -> String {
    let size = match case.asked("size").expect("a size") {
        "b" => B,
        "h" => H,
        "w" => W,
        _ => DW,
    };
    let body = |asm: &mut Asm| {
        match asked_signed(case, "src") {
            None => asm.insn(LD_ABS | size, 0, 0, 0, imm(case)),
            Some(src) => asm.lddw(R8, src.cast_unsigned()).insn(LD_IND | size, 0, R8, 0, imm(case)),
        };
        end(asm);
    };
    ran(Probe::returning(lab, case.question[0], &[], body))
}

fn ran(probe: Result<Probe<'_>, String>) -> String {
    match probe.and_then(|probe| probe.run(&Input::packet(counting(64)))) {
        Ok((outcome, words)) if outcome.r0 == AFTER.unsigned_abs().into() => {
            format!("{:x}", words[0])
        }
        Ok((outcome, _)) => format!("ends retval={}", outcome.r0),
        Err(ended) => ended,
    }
}

/// Which registers the load leaves, and which it needs.
fn register(lab: &Lab, case: &Case<'_>) -> String {
    let question = case.question[1..].join(" ");
    if let Some(register) = question.strip_prefix("ld_abs then r") {
        let register = register.parse().expect("a number");
        let body = |asm: &mut Asm| {
            asm.mov_reg(R7, R7).mov(register, 5).insn(LD_ABS | B, 0, 0, 0, 0);
            asm.mov_reg(R0, register).exit();
        };
        let probe = Probe::returning(lab, case.question[0], &[], body);
        return match probe.and_then(|probe| probe.run(&Input::packet(counting(64)))) {
            Ok((outcome, _)) => match outcome.r0 {
                5 => "kept, 5".to_owned(),
                other => format!("lost, {other:#x}"),
            },
            Err(ended) => ended,
        };
    }
    let body = |asm: &mut Asm| {
        match question.as_str() {
            "ld_abs without the context in r6" => asm.mov(R6, 0).insn(LD_ABS | B, 0, 0, 0, 0),
            "ld_abs dst=1" => asm.insn(LD_ABS | B, R1, 0, 0, 0),
            "ld_abs src=1" => asm.insn(LD_ABS | B, 0, R1, 0, 0),
            "ld_abs off=1" => asm.insn(LD_ABS | B, 0, 0, 1, 0),
            "ld_abs dst=1 ind" => asm.mov(R8, 0).insn(LD_IND | B, R1, R8, 0, 0),
            "ld_abs off=1 ind" => asm.mov(R8, 0).insn(LD_IND | B, 0, R8, 1, 0),
            other => panic!("`{other}` is no question"),
        };
        asm.exit();
    };
    ran(Probe::returning(lab, case.question[0], &[], body))
}

/// A load that fails in a sub-program ends the sub-program.
fn subprogram(lab: &Lab, case: &Case<'_>) -> String {
    let mut asm = Asm::new();
    asm.call_sub("sub").alu64(ADD, R0, 1000).exit();
    asm.label("sub").mov_reg(R6, R1).insn(LD_ABS | B, 0, 0, 0, imm(case)).exit();
    let program = lab.load(case.question[0], asm.build(), &[]);
    match program.and_then(|program| lab.run(&program, &Input::packet(counting(64)))) {
        Ok(outcome) => format!("retval={}", outcome.r0),
        Err(ended) => ended,
    }
}
