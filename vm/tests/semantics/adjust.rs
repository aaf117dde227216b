//! Helpers that move the ends of a packet, and those that copy from it.

use skep_oracle::asm::{ADD, Asm, DW, R0, R1, R2, R3, R4, R5, R6, R7, SUB, W};
use skep_oracle::recorded::Case;
use skep_vm::Input;

use crate::lab::{Lab, counting};
use crate::probe::Probe;
use crate::section::Section;
use crate::text::{asked_signed, asked32, returned};

const SKB_LOAD_BYTES: i32 = 26;
const SKB_LOAD_BYTES_RELATIVE: i32 = 68;

/// The helper that moves an end.
pub(crate) fn helper(name: &str) -> i32 {
    match name {
        "head" => 44,
        "tail" => 65,
        "meta" => 54,
        other => panic!("`{other}` is no end"),
    }
}

pub(crate) fn adjust(section: &Section) -> Vec<String> {
    let lab = Lab::new();
    section.cases.iter().map(|case| adjusted(&lab, case)).collect()
}

fn adjusted(lab: &Lab, case: &Case<'_>) -> String {
    let calls = case.question.iter().filter_map(|word| word.split_once(':'));
    let body = |asm: &mut Asm| {
        for (name, delta) in calls {
            let delta = delta.parse().expect("a number");
            asm.mov_reg(R1, R6).mov(R2, delta).call(helper(name)).stx(DW, R7, 0, R0);
        }
        asm.ldx(W, R1, R6, 0).ldx(W, R2, R6, 4).ldx(W, R3, R6, 8);
        asm.mov_reg(R4, R2).alu64_reg(SUB, R4, R1).stx(DW, R7, 8, R4);
        asm.mov_reg(R4, R1).alu64_reg(SUB, R4, R3).stx(DW, R7, 16, R4);
    };
    let probe = Probe::new(lab, "xdp", &[], body).expect("it is well-formed");
    let data = counting(asked32(case, "data_in", 0) as usize);
    let words = match probe.run(&Input::packet(data)) {
        Ok((_, words)) => words,
        Err(ended) => return ended,
    };
    let out = lab.runner.borrow().packet_out().expect("it ran on a packet");
    let [first, last] = [out.first(), out.last()].map(|byte| *byte.unwrap_or(&0));
    format!(
        "{} len={} meta={} first={first:02x} last={last:02x}",
        returned(words[0]),
        words[1],
        words[2]
    )
}

pub(crate) fn load_bytes(section: &Section) -> Vec<String> {
    let lab = Lab::new();
    section.cases.iter().map(|case| load(&lab, case)).collect()
}

fn load(lab: &Lab, case: &Case<'_>) -> String {
    let number = |name| asked_signed(case, name).map(|n| i32::try_from(n).expect("32 bits"));
    let (offset, len) = (number("offset").expect("an offset"), number("len").expect("a length"));
    let body = |asm: &mut Asm| {
        asm.mov_reg(R1, R6).mov(R2, offset).mov_reg(R3, R7).alu64(ADD, R3, 8).mov(R4, len);
        match number("start") {
            None => asm.call(SKB_LOAD_BYTES),
            Some(start) => asm.mov(R5, start).call(SKB_LOAD_BYTES_RELATIVE),
        };
        asm.stx(DW, R7, 0, R0);
    };
    let probe = Probe::new(lab, case.question[0], &[], body);
    match probe.and_then(|probe| probe.run_on(&[])) {
        Ok(words) => format!("{} byte={:02x}", returned(words[0]), words[1].to_le_bytes()[0]),
        Err(ended) => ended,
    }
}
