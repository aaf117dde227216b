//! `loop`.

use std::sync::Arc;

use skep_oracle::asm::{ADD, Asm, DW, JNE, R0, R1, R2, R3, R4, R7};
use skep_oracle::recorded::Case;
use skep_vm::Input;

use crate::lab::{Lab, counting, words};
use crate::section::Section;
use crate::text::{asked, returned};

/// The index of the map for answers.
const OUT: i32 = 0;

pub(crate) fn answer(section: &Section) -> Vec<String> {
    let lab = Lab::new();
    section.cases.iter().map(|case| run(&lab, case)).collect()
}

fn run(lab: &Lab, case: &Case<'_>) -> String {
    let flags = asked(case, "flags", 0);
    let mut value = [0; 256];
    value[248..].copy_from_slice(&flags.to_le_bytes());
    let out = lab.value(&value, 0);
    let mut asm = Asm::new();
    if case.asked("flags-from") == Some("map") {
        asm.map_value(R4, OUT, 248).ldx(DW, R4, R4, 0);
    } else {
        asm.lddw(R4, flags);
    }
    let (stop, result) = match case.asked("stop").and_then(|stop| stop.split_once(':')) {
        Some((stop, result)) => {
            (stop.parse().expect("an index"), result.parse().expect("a number"))
        }
        None => (-1, 0),
    };
    asm.lddw(R1, asked(case, "nr", 0)).func(R2, "body").mov(R3, 0).call(181);
    asm.map_value(R7, OUT, 0).stx(DW, R7, 0, R0).mov(R0, 0).exit();
    asm.label("body").map_value(R2, OUT, 0);
    asm.ldx(DW, R3, R2, 8).alu64(ADD, R3, 1).stx(DW, R2, 8, R3).stx(DW, R2, 16, R1);
    asm.mov(R0, 0).jmp32(JNE, R1, stop, "on").mov(R0, result).label("on").exit();
    let ran = lab
        .load("sched_cls", asm.build(), &[Arc::clone(&out)])
        .and_then(|program| lab.run(&program, &Input::packet(counting(64))));
    match ran {
        Ok(_) => {
            let words = words(&*out);
            format!("{} calls={} last={}", returned(words[0]), words[1], words[2])
        }
        Err(ended) => ended,
    }
}
