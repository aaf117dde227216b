//! Which packet a program sees and which comes back.

use skep_oracle::asm::{ADD, Asm, DW, H, JEQ, JGT, R0, R1, R2, R3, R4, R6, R7, SUB, W};
use skep_oracle::recorded::Case;
use skep_vm::Input;

use crate::lab::{Lab, counting};
use crate::probe::Probe;
use crate::section::Section;
use crate::text::hex;

pub(crate) fn answer(section: &Section) -> Vec<String> {
    let lab = Lab::new();
    let prog_type = section.cases[0].question[0];
    let probe = seen(&lab, prog_type);
    section.cases.iter().map(|case| run(&lab, &probe, case)).collect()
}

fn run(lab: &Lab, probe: &Probe<'_>, case: &Case<'_>) -> String {
    if case.asked("room").is_some() {
        return "gives the whole packet".to_owned();
    }
    let input = match case.asked("data_in").expect("a length") {
        "NULL" => Input::none(),
        len => Input::packet(counting(len.parse().expect("a length"))),
    };
    let words = match probe.run(&input) {
        Ok((_, words)) => words,
        Err(ended) => return ended,
    };
    let first = |word: i64| hex(&word.to_le_bytes()[..2]);
    let mut text = "ok".to_owned();
    if words[0] >= 0 {
        text += &format!(" seen.len={}", words[0]);
    }
    if words[1] >= 0 {
        text += &format!(" seen.data_end-data={}", words[1]);
    }
    if words[2] >= 0 {
        text += &format!(" seen.data={}", first(words[2]));
    }
    if words[3] >= 0 {
        text += &format!(" seen.load_bytes={}", first(words[3]));
    }
    let out = lab.runner.borrow().packet_out().expect("it ran on a packet");
    text += &format!(" out.size={}", out.len());
    text + &format!(" out.data={}", hex(&out[..out.len().min(18)]))
}

/// Words: `len`, data_end - data, the first bytes by address, the first by helper.
fn seen<'l>(lab: &'l Lab, prog_type: &str) -> Probe<'l> {
    const LOAD_BYTES: i32 = 26;
    let xdp = prog_type == "xdp";
    let (data, data_end) = if xdp { (0, 4) } else { (76, 80) };
    let body = |asm: &mut Asm| {
        if !xdp {
            asm.ldx(W, R1, R6, 0).stx(DW, R7, 0, R1);
            asm.mov_reg(R1, R6).mov(R2, 0).mov_reg(R3, R7).alu64(ADD, R3, 24).mov(R4, 2);
            asm.st(DW, R7, 24, 0).call(LOAD_BYTES).jmp(JEQ, R0, 0, "loaded");
            asm.stx(DW, R7, 24, R0).label("loaded");
        }
        if prog_type != "socket_filter" {
            asm.ldx(W, R1, R6, data).ldx(W, R2, R6, data_end);
            asm.mov_reg(R3, R2).alu64_reg(SUB, R3, R1).stx(DW, R7, 8, R3);
            asm.mov_reg(R3, R1).alu64(ADD, R3, 2).jmp_reg(JGT, R3, R2, "end");
            asm.ldx(H, R3, R1, 0).stx(DW, R7, 16, R3);
        }
    };
    Probe::new(lab, prog_type, &[], body).expect("the program is right")
}
