//! Call stacks: ids, and copies of them.

use std::sync::Arc;

use skep_maps::jhash::jhash2;
use skep_maps::{Errno, Map, MapType, sys};
use skep_oracle::asm::{Asm, DW, R0, R2, R3, R4, R7};
use skep_oracle::recorded::Case;
use skep_vm::{FixedHost, Input};

use crate::lab::{Lab, def, set};
use crate::section::Section;
use crate::state::walk;
use crate::text::{asked, asked32, number, outcome, returned};

const GET_STACKID: i32 = 27;
const GET_STACK: i32 = 67;

// The places of a program's maps.
const DESK: i32 = 0;
const STACKS: i32 = 1;

pub(crate) fn answer(section: &Section) -> Vec<String> {
    let answer = |case: &Case<'_>| match case.question[0] {
        "stackid" => stackid(case),
        _ => get_stack(case),
    };
    section.cases.iter().map(answer).collect()
}

/// A program that calls a helper with the flags in word 0 of its desk.
struct Program {
    lab: Lab,
    desk: Arc<dyn Map>,
    program: Arc<skep_vm::Program>,
}

impl Program {
    fn new(lab: Lab, asm: &Asm, maps: &[Arc<dyn Map>]) -> Self {
        let desk = lab.value(&[0; 16 + 1024], 0);
        let maps = [&[Arc::clone(&desk)], maps].concat();
        let program = lab.load("raw_tracepoint", asm.build(), &maps).expect("it is well-formed");
        Self { lab, desk, program }
    }

    /// The desk after a call, or what ended the run.
    fn call(&self, flags: u64) -> Result<Vec<u8>, String> {
        let mut desk = vec![0xff; 16 + 1024];
        desk[..8].copy_from_slice(&flags.to_le_bytes());
        set(&*self.desk, &desk);
        self.lab.run(&self.program, &Input::none())?;
        self.desk.user_lookup(&[0; 4], 0, &mut desk).expect("the desk is there");
        Ok(desk)
    }
}

/// What the helper returned.
fn result(desk: &[u8]) -> i64 {
    i64::from_le_bytes(desk[8..16].try_into().expect("8 bytes"))
}

fn stackid(case: &Case<'_>) -> String {
    let lab = Lab::new();
    let sizes = (8 * asked32(case, "depth", 0), asked32(case, "max_entries", 0));
    let map = lab.map(&def(MapType::StackTrace, 4, sizes.0, sizes.1));
    let mut asm = Asm::new();
    asm.map_value(R7, DESK, 0).ldx(DW, R3, R7, 0).map(R2, STACKS).call(GET_STACKID);
    asm.stx(DW, R7, 8, R0).mov(R0, 0).exit();
    let program = Program::new(lab, &asm, &[Arc::clone(&map)]);
    let mut last = 0;
    let steps = case.asked("do").expect("steps").split(',');
    steps.map(|step| perform(&*map, &program, &mut last, step)).collect::<Vec<_>>().join(",")
}

fn perform(map: &dyn Map, program: &Program, last: &mut u32, step: &str) -> String {
    let lookup = |id: u32| {
        let mut value = vec![0; map.core().user_value_size()];
        sys::lookup(map, Some(&id.to_le_bytes()), 0, &mut value).map(|()| value)
    };
    match step.split_once(':') {
        Some((_, flags)) => {
            let desk = match program.call(number(flags)) {
                Ok(desk) => desk,
                Err(ended) => return ended,
            };
            let Ok(id) = u32::try_from(result(&desk)) else { return returned(result(&desk)) };
            *last = id;
            let value = lookup(id).expect("it is there");
            let addresses = value.as_chunks::<8>().0.iter().map(|&ip| u64::from_le_bytes(ip));
            let count = addresses.take_while(|&ip| ip != 0).count();
            let words = value[..8 * count].as_chunks::<4>().0.iter();
            let words: Vec<u32> = words.map(|&word| u32::from_le_bytes(word)).collect();
            let mask = map.core().def().max_entries.next_power_of_two() - 1;
            let hash = if jhash2(&words, 0) & mask == id { "hash" } else { "another" };
            format!("{hash}:{count}")
        }
        None => match step {
            "keys" => walk(map).expect("there are ids").len().to_string(),
            "delete" => outcome(sys::delete(map, Some(&last.to_le_bytes()))),
            _ => outcome(lookup(*last).map(drop)),
        },
    }
}

fn get_stack(case: &Case<'_>) -> String {
    let size = asked(case, "size", 0);
    let mut asm = Asm::new();
    asm.map_value(R7, DESK, 0).ldx(DW, R4, R7, 0).map_value(R2, DESK, 16);
    asm.lddw(R3, size).call(GET_STACK).stx(DW, R7, 8, R0).mov(R0, 0).exit();
    let program = Program::new(Lab::new(), &asm, &[]);
    let desk = match program.call(asked(case, "flags", 0)) {
        Ok(desk) => desk,
        Err(ended) => return ended,
    };
    let answer = match u64::try_from(result(&desk)) {
        Ok(len) if len == size => "full".to_owned(),
        Ok(0) => "0".to_owned(),
        Ok(_) => "part".to_owned(),
        Err(_) => returned(result(&desk)),
    };
    let first = match desk[16..24].try_into().map(u64::from_le_bytes) {
        Ok(u64::MAX) => "ones",
        Ok(word) if word & 0xff == 0 => "zero",
        _ => "address",
    };
    format!("{answer} {first}")
}

/// Without a stack there is nothing to find, and nothing to copy.
pub(crate) fn no_stack() -> Result<(), libtest_mimic::Failed> {
    let lab = Lab::hosted(FixedHost::default());
    let map = lab.map(&def(MapType::StackTrace, 4, 16, 4));
    let insns = skep_vm::isa::assemble(
        "lddw map_idx %r2, 0\nmov %r3, 0\ncall 27\nmov %r6, %r0\nmov %r1, 0\nmov %r2, %r10\n\
         add %r2, -16\nmov %r3, 16\nmov %r4, 0\ncall 67\nlsh %r0, 32\nneg %r6\nor %r0, %r6\nexit",
    )?;
    let program = lab.load("raw_tracepoint", insns, &[map])?;
    let r0 = lab.run(&program, &Input::none())?.r0;
    let expected = u64::try_from(Errno::EFAULT.number())?;
    if r0 == expected { Ok(()) } else { Err(format!("{r0:#x}, not {expected:#x}").into()) }
}
