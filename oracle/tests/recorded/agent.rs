//! The program's side of a map: programs that do one operation each.

use skep_oracle::asm::*;
use skep_oracle::{Kernel, Map, MapSpec, Prog, ProgSpec, Rejection, TestRun, map_type, prog_type};

use crate::probe::counting;
use crate::record::{hex, returned};

pub(crate) const LOOKUP: i32 = 1;
pub(crate) const UPDATE: i32 = 2;
pub(crate) const DELETE: i32 = 3;
pub(crate) const PUSH: i32 = 87;
pub(crate) const POP: i32 = 88;
pub(crate) const PEEK: i32 = 89;
pub(crate) const LOOKUP_PERCPU: i32 = 195;

// The places in the desk, the map through which a program gets its arguments.
const KEY: u32 = 0;
const VALUE: u32 = 64;
const NUMBER: u32 = 320;
const RETURNED: u32 = 328;
const FOUND: u32 = 336;
const DESK: u32 = 640;

/// A program that calls one helper on one map.
#[derive(Debug)]
pub(crate) struct Agent {
    prog: Prog,
    desk: Map,
    value_size: usize,
    helper: i32,
}

/// What a call gave: r0, for a lookup the value at r0, and for a pop or a peek r0 and what
/// its buffer holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Returned(i64),
    Null,
    Value(Vec<u8>),
    Filled(i64, Vec<u8>),
}

impl Agent {
    /// A program that calls `helper` on `map`; the verifier may refuse it.
    pub(crate) fn new(kernel: &Kernel, map: &Map, helper: i32) -> Result<Self, Rejection> {
        let desk = kernel.create_map(&MapSpec::new(map_type::ARRAY, 4, DESK, 1)).unwrap();
        let finds = matches!(helper, LOOKUP | LOOKUP_PERCPU);
        let of_maps =
            matches!(map.info().map_type, map_type::ARRAY_OF_MAPS | map_type::HASH_OF_MAPS);
        let value_size = if of_maps { 8 } else { map.info().value_size as usize };
        let mut asm = Asm::new();
        asm.map(R1, map.fd()).map_value(R2, desk.fd(), KEY);
        asm.map_value(R6, desk.fd(), NUMBER).ldx(DW, R6, R6, 0);
        match helper {
            UPDATE => asm.map_value(R3, desk.fd(), VALUE).mov_reg(R4, R6),
            PUSH => asm.map_value(R2, desk.fd(), VALUE).mov_reg(R3, R6),
            POP | PEEK => asm.map_value(R2, desk.fd(), VALUE),
            LOOKUP_PERCPU => asm.mov_reg(R3, R6),
            _ => &mut asm,
        };
        asm.call(helper).map_value(R7, desk.fd(), RETURNED);
        if finds {
            asm.st(DW, R7, 0, 0).jmp(JEQ, R0, 0, "end").st(DW, R7, 0, 1);
            if of_maps {
                asm.mov_reg(R1, R0).st(W, R10, -4, 0).mov_reg(R2, R10).alu64(ADD, R2, -4);
                asm.call(LOOKUP).jmp(JEQ, R0, 0, "end");
            }
            asm.map_value(R7, desk.fd(), FOUND);
            // A lock at the start of the value may not be read.
            for at in (0..i16::try_from(value_size).unwrap())
                .filter(|&at| map.info().name != "lock" || at >= 4)
            {
                asm.ldx(B, R1, R0, at).stx(B, R7, at, R1);
            }
        } else {
            asm.stx(DW, R7, 0, R0);
        }
        let insns = asm.label("end").mov(R0, 0).exit().build();
        let prog = kernel.load(&ProgSpec::new(prog_type::SCHED_CLS, &insns))?;
        Ok(Self { prog, desk, value_size, helper })
    }

    /// Calls the helper: `number` is the flags of an update or a push, the CPU of a lookup;
    /// `value` is also what the buffer of a pop or a peek holds before.
    pub(crate) fn call(&self, key: &[u8], value: &[u8], number: u64) -> Answer {
        let mut desk = vec![0; DESK as usize];
        let mut put = |at: u32, bytes: &[u8]| {
            desk[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
        };
        put(KEY, key);
        put(VALUE, value);
        put(NUMBER, &number.to_ne_bytes());
        self.desk.update(&[0; 4], &desk, 0).unwrap();
        self.prog.test_run(&TestRun::new().data_in(&counting(64))).ok().unwrap();
        let desk = self.desk.lookup(&[0; 4], 0).unwrap();
        let at = RETURNED as usize;
        let returned = i64::from_ne_bytes(desk[at..at + 8].try_into().unwrap());
        let bytes = |at: u32| desk[at as usize..at as usize + self.value_size].to_vec();
        match (self.helper, returned) {
            (LOOKUP | LOOKUP_PERCPU, 0) => Answer::Null,
            (LOOKUP | LOOKUP_PERCPU, _) => Answer::Value(bytes(FOUND)),
            (POP | PEEK, _) => Answer::Filled(returned, bytes(VALUE)),
            _ => Answer::Returned(returned),
        }
    }
}

impl Answer {
    /// The answer as it is written.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Returned(value) => returned(*value),
            Self::Null => "NULL".to_owned(),
            Self::Value(value) => format!("value={}", hex(value)),
            Self::Filled(value, buffer) => format!("{} value={}", returned(*value), hex(buffer)),
        }
    }
}
