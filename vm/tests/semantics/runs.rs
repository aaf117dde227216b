//! Runs of other program types, and what lasts from one repetition to the next.

use skep_oracle::asm::{ADD, Asm, B, DW, JGT, R0, R1, R2, R3, R6, R7, SUB, W};
use skep_oracle::recorded::Case;
use skep_vm::Input;

use crate::adjust::helper;
use crate::lab::{Lab, counting};
use crate::probe::Probe;
use crate::section::Section;
use crate::text::{asked, asked_signed, hex, list};

pub(crate) fn answer(section: &Section) -> Vec<String> {
    let lab = Lab::new();
    let answer = |case: &Case<'_>| match section.name {
        "types" => types(&lab, case),
        name if name.starts_with("repetitions") => repeated(&lab, case),
        name if name.starts_with("ctx_out") => context_out(&lab),
        _ => reads(&lab, case),
    };
    section.cases.iter().map(answer).collect()
}

/// A program of each type that returns 0.
fn types(lab: &Lab, case: &Case<'_>) -> String {
    let insns = Asm::new().mov(R0, 0).exit().build();
    let program = match lab.load(case.question[0], insns, &[]) {
        Ok(program) => program,
        Err(refused) => return refused,
    };
    let size = |name| case.asked(name).map(|size| size.parse().expect("a size"));
    let input = match (size("data_in"), size("ctx_in")) {
        (Some(size), _) => Input::packet(counting(size)),
        (None, Some(size)) => Input::raw(vec![0; size]),
        (None, None) => Input::none(),
    };
    lab.run(&program, &input).map_or_else(|ended| ended, |_| "ok".to_owned())
}

/// A program that returns the low half of 8 bytes of its context.
fn reads(lab: &Lab, case: &Case<'_>) -> String {
    let words = case.question[2..].iter().map(|word| word.split('=').next().unwrap_or_default());
    for word in words {
        if word != "ctx_in" {
            return format!("takes no {word}");
        }
    }
    let at = i16::try_from(asked_signed(case, "reads").expect("an offset")).expect("16 bits");
    let insns = Asm::new().ldx(DW, R0, R1, at).exit().build();
    let program = lab.load(case.question[0], insns, &[]).expect("it is well-formed");
    let context: Vec<u8> = (0..10_000).flat_map(|n: u64| (n + 1).to_le_bytes()).collect();
    let input = match case.asked("ctx_in") {
        None | Some("NULL") => Input::none(),
        Some(size) => Input::raw(&context[..size.parse().expect("a size")]),
    };
    match lab.run(&program, &input) {
        Ok(outcome) => format!("ok retval={}", outcome.r0),
        Err(ended) if ended.starts_with("fault") => ended,
        Err(errno) => format!("{errno} retval=0"),
    }
}

fn repeated(lab: &Lab, case: &Case<'_>) -> String {
    if case.question[0] == "xdp" { adjusts(lab, case) } else { adds(lab, case) }
}

/// Runs a probe as often as the case says.
fn repeat(lab: &Lab, probe: &Probe<'_>, case: &Case<'_>) {
    probe.run(&Input::packet(counting(64))).expect("it runs");
    for _ in 1..asked(case, "repeat", 1) {
        lab.run_again(&probe.program).expect("it runs again");
    }
}

/// Adds 1 to the mark, to `cb[0]` and to the packet's first byte.
fn adds(lab: &Lab, case: &Case<'_>) -> String {
    let prog_type = case.question[0];
    let body = |asm: &mut Asm| {
        asm.ldx(W, R1, R6, 8).alu64(ADD, R1, 1).stx(W, R6, 8, R1);
        asm.ldx(W, R1, R6, 48).alu64(ADD, R1, 1).stx(W, R6, 48, R1);
        if prog_type == "sched_cls" {
            asm.ldx(W, R1, R6, 76).ldx(W, R2, R6, 80).mov_reg(R3, R1).alu64(ADD, R3, 1);
            asm.jmp_reg(JGT, R3, R2, "end").ldx(B, R3, R1, 0).alu64(ADD, R3, 1);
            asm.stx(B, R1, 0, R3);
        }
    };
    let probe = Probe::new(lab, prog_type, &[], body).expect("it is well-formed");
    repeat(lab, &probe, case);
    let runner = lab.runner.borrow();
    let (context, packet) = (runner.context_out(), runner.packet_out().expect("a packet"));
    let word = |at: usize| u32::from_le_bytes(context[at..at + 4].try_into().expect("4 bytes"));
    let first = hex(&packet[..1]);
    format!("ok mark={} cb[0]={} len={} first={first}", word(8), word(48), word(0))
}

/// Moves an end of the packet.
fn adjusts(lab: &Lab, case: &Case<'_>) -> String {
    let (name, delta) = case.question[2].split_once(':').expect("NAME:DELTA");
    let body = |asm: &mut Asm| {
        asm.mov_reg(R1, R6).mov(R2, delta.parse().expect("a number")).call(helper(name));
        asm.ldx(W, R1, R6, 0).ldx(W, R2, R6, 4).alu64_reg(SUB, R2, R1);
        asm.stx(DW, R7, 0, R2);
    };
    let probe = Probe::new(lab, "xdp", &[], body).expect("it is well-formed");
    repeat(lab, &probe, case);
    let out = lab.runner.borrow().packet_out().expect("a packet");
    let (seen, first) = (probe.answers()[0], hex(&out[..1]));
    format!("ok seen.len={seen} out.size={} first={first}", out.len())
}

/// OFFSET:WORD of what is not zero in the context afterwards.
fn context_out(lab: &Lab) -> String {
    let probe = Probe::new(lab, "socket_filter", &[], |_| ()).expect("it is well-formed");
    probe.run(&Input::packet(counting(64)).set("mark", 0)).expect("it runs");
    let context = lab.runner.borrow().context_out();
    let words = context.as_chunks::<4>().0.iter().map(|&word| u32::from_le_bytes(word));
    let words = (0..).step_by(4).zip(words).filter(|&(_, word)| word != 0);
    list(&words.map(|(at, word)| format!("{at}:{word}")).collect::<Vec<_>>())
}
