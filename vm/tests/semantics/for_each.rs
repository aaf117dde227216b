//! `for_each_map_elem`.

use std::sync::Arc;

use skep_maps::{CreateError, MapDef, MapType, flags, sys};
use skep_oracle::asm::{ADD, AND, Asm, DW, JNE, LSH, R0, R1, R2, R3, R4, R5, R6, R7, R10, W};
use skep_oracle::recorded::Case;
use skep_vm::Input;

use crate::lab::{Lab, counting, def, words};
use crate::section::Section;
use crate::state::{type_named, walk};
use crate::text::{asked, asked32, hex, list, returned};

pub(crate) fn answer(section: &Section) -> Vec<String> {
    let lab = Lab::new();
    section.cases.iter().map(|case| visit(&lab, case)).collect()
}

fn definition(map_type: MapType) -> MapDef {
    match map_type {
        MapType::LpmTrie => MapDef { flags: flags::BPF_F_NO_PREALLOC, ..def(map_type, 8, 8, 4) },
        MapType::Queue => def(map_type, 0, 8, 4),
        MapType::Ringbuf => def(map_type, 0, 0, 4096),
        MapType::ProgArray => def(map_type, 4, 4, 4),
        _ => def(map_type, 4, 8, 4),
    }
}

fn visit(lab: &Lab, case: &Case<'_>) -> String {
    let map_type = type_named(case.asked("type").expect("a type"));
    let map = match lab.create(&definition(map_type)) {
        Ok(map) => map,
        Err(CreateError::Unsupported { what, .. }) => return format!("unsupported: {what}"),
        Err(error) => panic!("{error}"),
    };
    let put = asked32(case, "put", 0);
    let plain = map.core().def().key_size == 4 && map.core().def().value_size == 8;
    for key in (0..put).filter(|_| plain) {
        let byte = u8::try_from(key).expect("few") * 0x11 + 0x11;
        let value = vec![byte; map.core().user_value_size()];
        sys::update(&*map, Some(&key.to_le_bytes()), &value, 0).expect("there is room");
    }
    let stop = asked32(case, "stop", 0);
    let deletes = case.question.contains(&"deletes");
    let out = lab.value(&[0; 256], 0);
    let asm = write(asked(case, "flags", 0), stop, plain, deletes);
    let ran = lab
        .load("sched_cls", asm.build(), &[Arc::clone(&out), Arc::clone(&map)])
        .and_then(|program| lab.run(&program, &Input::packet(counting(64))));
    if let Err(ended) = ran {
        return ended;
    }
    // Which elements come before the stop depends on a hash.
    let hashed = !matches!(map_type, MapType::Array | MapType::PercpuArray);
    let mut answer = calls(&words(&*out), (hashed && stop > 0).then_some(put));
    if deletes {
        answer += &format!(" left={}", walk(&*map).expect("a hash has keys").len());
    }
    answer
}

/// What was returned and the calls of the callback; their number, when only `of` how
/// many is sure.
fn calls(words: &[i64], of: Option<u32>) -> String {
    let count = usize::try_from(words[1]).expect("a count");
    let call = |n: usize| format!("{}:{}", words[2 * n], hex(&words[2 * n + 1].to_le_bytes()));
    let mut calls: Vec<String> = (1..=count).map(call).collect();
    if let Some(put) = of {
        calls = vec![format!("{} of {put}", calls.len())];
    }
    calls.sort();
    format!("{} calls={}", returned(words[0]), list(&calls))
}

fn write(flags: u64, stop: u32, plain: bool, deletes: bool) -> Asm {
    const OUT: i32 = 0;
    const MAP: i32 = 1;
    let stop = i32::try_from(stop).expect("few");
    let mut asm = Asm::new();
    asm.map(R1, MAP).func(R2, "body").mov(R3, 0).lddw(R4, flags).call(164);
    asm.map_value(R7, OUT, 0).stx(DW, R7, 0, R0).mov(R0, 0).exit();
    // Word 1 counts the calls; call n writes its key and value to words 2n and 2n+1.
    asm.label("body").map_value(R4, OUT, 0).ldx(DW, R5, R4, 8).alu64(ADD, R5, 1);
    asm.stx(DW, R4, 8, R5).mov_reg(R0, R5).alu64(AND, R5, 7).alu64(LSH, R5, 4);
    asm.alu64_reg(ADD, R4, R5).mov_reg(R6, R0);
    if plain {
        asm.ldx(W, R5, R2, 0).stx(DW, R4, 0, R5).ldx(DW, R5, R3, 0).stx(DW, R4, 8, R5);
    }
    if deletes {
        asm.ldx(W, R5, R2, 0).stx(W, R10, -4, R5);
        asm.mov_reg(R2, R10).alu64(ADD, R2, -4).call(3);
    }
    asm.mov(R0, 0).jmp(JNE, R6, stop, "on").mov(R0, 1).label("on").exit();
    asm
}
