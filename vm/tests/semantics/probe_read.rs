//! Reading memory by address: `probe_read_kernel` and its kin.

use skep_maps::flags::BPF_F_RDONLY_PROG;
use skep_oracle::asm::{ADD, Asm, DW, R0, R1, R2, R3, R7};
use skep_oracle::recorded::{Case, unquote};

use crate::lab::Lab;
use crate::probe::Probe;
use crate::section::Section;
use crate::text::{asked32, hex, number, returned};

pub(crate) fn answer(section: &Section) -> Vec<String> {
    let lab = Lab::new();
    section.cases.iter().map(|case| read(&lab, case)).collect()
}

fn read(lab: &Lab, case: &Case<'_>) -> String {
    let helper = match case.question[0] {
        "probe_read_user" => 112,
        "probe_read_kernel" => 113,
        "probe_read_user_str" => 114,
        "probe_read_kernel_str" => 115,
        other => panic!("`{other}` is no helper"),
    };
    let size = i32::try_from(asked32(case, "size", 0)).expect("small");
    let source = case.asked("source").expect("a source");
    let text = unquote(source);
    let maps = text.iter().map(|text| {
        let bytes = [text, &b"\0zzzzzzzz"[..]].concat();
        lab.value(&bytes, BPF_F_RDONLY_PROG)
    });
    let maps: Vec<_> = maps.collect();
    let body = |asm: &mut Asm| {
        asm.mov_reg(R1, R7).alu64(ADD, R1, 8).mov(R2, size);
        match &text {
            Some(_) => asm.map_value(R3, 1, 0),
            None => asm.lddw(R3, number(source)),
        };
        asm.call(helper).stx(DW, R7, 0, R0);
    };
    let probe = Probe::new(lab, "sched_cls", &maps, body);
    match probe.and_then(|probe| probe.run_on(&[])) {
        Ok(words) => format!("{} dst={}", returned(words[0]), hex(&words[1].to_le_bytes())),
        Err(ended) => ended,
    }
}
