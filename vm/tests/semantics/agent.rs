//! The program's side of a map: a program that does one operation.

use std::sync::Arc;

use skep_maps::{Map, MapType, SpecialKind};
use skep_oracle::script::program::{Arg, Desk, calling};
use skep_oracle::script::{ProgramCall, Shape};
use skep_vm::Input;

use crate::lab::{Lab, counting};

pub(crate) const LOOKUP: i32 = 1;
pub(crate) const UPDATE: i32 = 2;
pub(crate) const DELETE: i32 = 3;
pub(crate) const PUSH: i32 = 87;
pub(crate) const POP: i32 = 88;
pub(crate) const PEEK: i32 = 89;
pub(crate) const LOOKUP_PERCPU: i32 = 195;

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
    let op = calling(helper).expect("a script's program can call it");
    let asks_cpu = op.args.contains(&Arg::Cpu);
    let (flags, asked_cpu) = if asks_cpu { (0, number) } else { (number, 0) };
    let shape = shape(&**map);
    let call = ProgramCall { key, value, flags, asked_cpu, ..ProgramCall::new(op, "", shape) };
    let desk = Desk::new(op, shape, value.len());
    let mut bytes = desk.fill(&call);
    let place = lab.value(&bytes, 0);
    let asm = desk.write(op, 0, 1).expect("values are short");
    let ran = lab
        .load(op.prog_type, asm.build(), &[Arc::clone(&place), Arc::clone(map)])
        .and_then(|program| lab.run(&program, &Input::packet(counting(64))));
    if let Err(ended) = ran {
        return ended;
    }
    place.user_lookup(&[0; 4], 0, &mut bytes).expect("the desk is there");
    desk.reply(&call, &bytes).to_string()
}

/// What a program finds in a map; an inner map's keys have four bytes, its values eight.
fn shape(map: &dyn Map) -> Shape {
    let def = map.core().def();
    let of_maps = matches!(map.core().map_type(), MapType::ArrayOfMaps | MapType::HashOfMaps);
    let lock = def.special.iter().find(|field| field.kind == SpecialKind::SpinLock);
    Shape {
        key_size: def.key_size,
        value_size: def.value_size,
        lock: lock.map(|field| field.offset),
        inner: of_maps.then_some((4, 8, None)),
    }
}
