//! The program's side of a map: a program that does one operation.

use std::sync::Arc;

use skep_maps::{Map, MapType, SpecialKind};
use skep_oracle::asm::{ADD, Asm, B, DW, JEQ, R0, R1, R2, R3, R4, R6, R7, R10, W};
use skep_vm::Input;

use crate::lab::{Lab, counting};
use crate::text::{hex, returned};

pub(crate) const LOOKUP: i32 = 1;
pub(crate) const UPDATE: i32 = 2;
pub(crate) const DELETE: i32 = 3;
pub(crate) const PUSH: i32 = 87;
pub(crate) const POP: i32 = 88;
pub(crate) const PEEK: i32 = 89;
pub(crate) const LOOKUP_PERCPU: i32 = 195;

// The places in the desk, the map through which the program gets its arguments.
const KEY: usize = 0;
const VALUE: usize = 64;
const NUMBER: usize = 320;
const RETURNED: usize = 328;
const FOUND: usize = 336;
const SIZE: usize = 640;

/// Calls `helper` on `map` and says what came of it; `number` is the flags of an
/// update or a push, the CPU of a lookup; `value` is also what the buffer of a pop or a peek
/// holds before.
pub(crate) fn call(
    lab: &Lab,
    map: &Arc<dyn Map>,
    helper: i32,
    key: &[u8],
    value: &[u8],
    number: u64,
) -> String {
    let mut bytes = [0; SIZE];
    bytes[KEY..KEY + key.len()].copy_from_slice(key);
    bytes[VALUE..VALUE + value.len()].copy_from_slice(value);
    bytes[NUMBER..NUMBER + 8].copy_from_slice(&number.to_le_bytes());
    let desk = lab.value(&bytes, 0);
    let size = found_size(&**map);
    let asm = write(&**map, helper, size);
    let ran = lab
        .load("sched_cls", asm.build(), &[Arc::clone(&desk), Arc::clone(map)])
        .and_then(|program| lab.run(&program, &Input::packet(counting(64))));
    if let Err(ended) = ran {
        return ended;
    }
    desk.user_lookup(&[0; 4], 0, &mut bytes).expect("the desk is there");
    let word = bytes[RETURNED..RETURNED + 8].try_into().expect("8 bytes");
    match (helper, i64::from_le_bytes(word)) {
        (LOOKUP | LOOKUP_PERCPU, 0) => "NULL".to_owned(),
        (LOOKUP | LOOKUP_PERCPU, _) => format!("value={}", hex(&bytes[FOUND..FOUND + size])),
        (POP | PEEK, value) => {
            format!("{} value={}", returned(value), hex(&bytes[VALUE..VALUE + size]))
        }
        (_, value) => returned(value),
    }
}

fn is_of_maps(map: &dyn Map) -> bool {
    matches!(map.core().map_type(), MapType::ArrayOfMaps | MapType::HashOfMaps)
}

/// Bytes of what a lookup finds; an inner map's values have eight.
fn found_size(map: &dyn Map) -> usize {
    if is_of_maps(map) { 8 } else { map.core().def().value_size as usize }
}

fn write(map: &dyn Map, helper: i32, size: usize) -> Asm {
    const DESK: i32 = 0;
    const MAP: i32 = 1;
    let place = |at: usize| u32::try_from(at).expect("short");
    let mut asm = Asm::new();
    asm.map(R1, MAP).map_value(R2, DESK, place(KEY));
    asm.map_value(R6, DESK, place(NUMBER)).ldx(DW, R6, R6, 0);
    match helper {
        UPDATE => asm.map_value(R3, DESK, place(VALUE)).mov_reg(R4, R6),
        PUSH => asm.map_value(R2, DESK, place(VALUE)).mov_reg(R3, R6),
        POP | PEEK => asm.map_value(R2, DESK, place(VALUE)),
        LOOKUP_PERCPU => asm.mov_reg(R3, R6),
        _ => &mut asm,
    };
    asm.call(helper).map_value(R7, DESK, place(RETURNED));
    if !matches!(helper, LOOKUP | LOOKUP_PERCPU) {
        asm.stx(DW, R7, 0, R0);
    } else {
        asm.st(DW, R7, 0, 0).jmp(JEQ, R0, 0, "end").st(DW, R7, 0, 1);
        if is_of_maps(map) {
            asm.mov_reg(R1, R0).st(W, R10, -4, 0).mov_reg(R2, R10).alu64(ADD, R2, -4);
            asm.call(LOOKUP).jmp(JEQ, R0, 0, "end");
        }
        asm.map_value(R7, DESK, place(FOUND));
        // A lock at the start of the value may not be read.
        let special = &map.core().def().special;
        let locked = special.iter().any(|field| field.kind == SpecialKind::SpinLock);
        for at in if locked { 4 } else { 0 }..i16::try_from(size).expect("short") {
            asm.ldx(B, R1, R0, at).stx(B, R7, at, R1);
        }
    }
    asm.label("end").mov(R0, 0).exit();
    asm
}
