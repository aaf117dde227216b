//! `strtol`, `strtoul` and `strncmp`.

use skep_maps::flags::BPF_F_RDONLY_PROG;
use skep_oracle::asm::{ADD, Asm, B, DW, R0, R1, R2, R3, R4, R7, R10};
use skep_oracle::recorded::{Case, unquote};

use crate::lab::Lab;
use crate::probe::Probe;
use crate::section::Section;
use crate::text::{asked, returned};

/// What the result holds before the call.
const BEFORE: i64 = 0x5a5a;

pub(crate) fn strtol(section: &Section) -> Vec<String> {
    let lab = Lab::new();
    section.cases.iter().map(|case| number(&lab, case)).collect()
}

fn quoted(case: &Case<'_>, name: &str) -> Vec<u8> {
    case.asked(name).and_then(unquote).expect("a quoted text")
}

/// Writes bytes to the stack and their address to r1.
fn store(asm: &mut Asm, bytes: &[u8]) {
    for (at, &byte) in (-80..).zip(bytes) {
        asm.st(B, R10, at, i32::from(byte));
    }
    asm.mov_reg(R1, R10).alu64(ADD, R1, -80);
}

fn number(lab: &Lab, case: &Case<'_>) -> String {
    let signed = case.question[0] == "strtol";
    let mut text = quoted(case, "text");
    let len = usize::try_from(asked(case, "len", text.len() as u64)).expect("short");
    text.resize(len.max(text.len()), 0);
    let body = |asm: &mut Asm| {
        asm.st(DW, R10, -8, i32::try_from(BEFORE).expect("small"));
        store(asm, &text);
        asm.mov(R2, i32::try_from(len).expect("short")).lddw(R3, asked(case, "flags", 0));
        asm.mov_reg(R4, R10).alu64(ADD, R4, -8).call(if signed { 105 } else { 106 });
        asm.stx(DW, R7, 0, R0).ldx(DW, R1, R10, -8).stx(DW, R7, 8, R1);
    };
    let probe = Probe::new(lab, "sched_cls", &[], body);
    match probe.and_then(|probe| probe.run_on(&[])) {
        Ok(words) => {
            let result = match words[1] {
                BEFORE => "-".to_owned(),
                result if signed => result.to_string(),
                result => result.cast_unsigned().to_string(),
            };
            format!("{} result={result}", returned(words[0]))
        }
        Err(ended) => ended,
    }
}

pub(crate) fn strncmp(section: &Section) -> Vec<String> {
    let lab = Lab::new();
    section.cases.iter().map(|case| compare(&lab, case)).collect()
}

fn compare(lab: &Lab, case: &Case<'_>) -> String {
    let constant = lab.value(&quoted(case, "b"), BPF_F_RDONLY_PROG);
    let size = i32::try_from(asked(case, "size", 0)).expect("short");
    let body = |asm: &mut Asm| {
        store(asm, &quoted(case, "a"));
        asm.mov(R2, size).map_value(R3, 1, 0).call(182).stx(DW, R7, 0, R0);
    };
    let probe = Probe::new(lab, "sched_cls", &[constant], body);
    match probe.and_then(|probe| probe.run_on(&[])) {
        Ok(words) => words[0].to_string(),
        Err(ended) => ended,
    }
}
