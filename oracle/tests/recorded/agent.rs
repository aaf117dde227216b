//! The program's side of a map: programs that do one operation each.

use skep_oracle::script::program::{Arg, ProgramOp, calling};
use skep_oracle::script::{self, ProgramCall, Reply, Shape};
use skep_oracle::{Kernel, Map, map_type};

pub(crate) const LOOKUP: i32 = 1;
pub(crate) const UPDATE: i32 = 2;
pub(crate) const DELETE: i32 = 3;
pub(crate) const PUSH: i32 = 87;
pub(crate) const POP: i32 = 88;
pub(crate) const PEEK: i32 = 89;
pub(crate) const LOOKUP_PERCPU: i32 = 195;

/// The longest value that a program is given.
const MOST_BYTES: usize = 64;

/// A program that calls one helper on one map.
#[derive(Debug)]
pub(crate) struct Agent {
    program: script::Agent,
    op: &'static ProgramOp,
    shape: Shape,
}

impl Agent {
    /// A program that calls `helper` on `map`; the verifier may refuse it.
    pub(crate) fn new(kernel: &Kernel, map: &Map, helper: i32) -> script::Outcome<Self> {
        let op = calling(helper).unwrap();
        let info = map.info();
        let of_maps = matches!(info.map_type, map_type::ARRAY_OF_MAPS | map_type::HASH_OF_MAPS);
        let shape = Shape {
            key_size: info.key_size,
            value_size: info.value_size,
            lock: (info.name == "lock").then_some(0),
            inner: of_maps.then_some((4, 8, None)),
        };
        let program = script::Agent::new(kernel, map, op, shape, MOST_BYTES)?;
        Ok(Self { program, op, shape })
    }

    /// Calls the helper: `number` is the flags of an update or a push, the CPU of a lookup;
    /// `value` is also what the buffer of a pop or a peek holds before.
    pub(crate) fn call(&self, key: &[u8], value: &[u8], number: u64) -> Reply {
        let asks_cpu = self.op.args.contains(&Arg::Cpu);
        let (flags, asked_cpu) = if asks_cpu { (0, number) } else { (number, 0) };
        let call = ProgramCall::new(self.op, "", self.shape);
        self.program.call(&ProgramCall { key, value, flags, asked_cpu, ..call }).unwrap()
    }
}
