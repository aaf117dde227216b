//! What programs may do with the values of maps that they may only read or only write.

use std::sync::Arc;

use skep_maps::flags::{BPF_F_RDONLY_PROG, BPF_F_WRONLY_PROG};
use skep_maps::{MapDef, MapType, sys};
use skep_oracle::accesses::Access;
use skep_oracle::asm::{ADD, Asm, JEQ, R0, R1, R2, R8, R10, W};
use skep_oracle::recorded::Case;

use crate::agent::LOOKUP;
use crate::lab::{Lab, def};
use crate::probe::Probe;
use crate::section::Section;
use crate::state::type_named;
use crate::text::hex;

// Indexes of maps in the program.
const MAP: i32 = 1;
const OTHER: i32 = 2;

pub(crate) fn answer(section: &Section) -> Vec<String> {
    let lab = Lab::new();
    section.cases.iter().map(|case| access(&lab, case)).collect()
}

fn access(lab: &Lab, case: &Case<'_>) -> String {
    let (name, rights) = case.question[0].split_once('/').expect("TYPE/RIGHTS");
    let flags = match rights {
        "all" => 0,
        "rdonly_prog" => BPF_F_RDONLY_PROG,
        "wronly_prog" => BPF_F_WRONLY_PROG,
        other => panic!("`{other}` are no rights"),
    };
    let direct = name == "direct";
    let map_type = if direct { MapType::Array } else { type_named(name) };
    let map = lab.map(&MapDef { flags, ..def(map_type, 4, 8, 1) });
    let mut value = vec![0x11; map.core().user_value_size()];
    sys::update(&*map, Some(&[0; 4]), &value, 0).expect("there is room");
    let other = lab.map(&def(MapType::Hash, 4, 8, 1));
    let access = Access::named(case.question[1]).expect("an access");
    let probe = Probe::new(lab, "sched_cls", &[Arc::clone(&map), other], |asm| {
        find(asm, direct);
        access.write(asm, OTHER);
    });
    match probe.and_then(|probe| probe.run_on(&[])) {
        Err(ended) => ended,
        Ok(words) => {
            let kept = if words[0] == -1 { "-".to_owned() } else { words[0].to_string() };
            sys::lookup(&*map, Some(&[0; 4]), 0, &mut value).expect("it is there");
            format!("{kept} value={}", hex(&value))
        }
    }
}

/// Makes r8 point to the value of key 0.
fn find(asm: &mut Asm, direct: bool) {
    if direct {
        asm.map_value(R8, MAP, 0);
        return;
    }
    asm.st(W, R10, -4, 0).map(R1, MAP).mov_reg(R2, R10).alu64(ADD, R2, -4);
    asm.call(LOOKUP).jmp(JEQ, R0, 0, "end").mov_reg(R8, R0);
}
