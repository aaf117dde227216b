//! Engines: ways to run programs, whose results must be the same.

mod compare;
mod observed;
mod rig;

use std::sync::Arc;

use skep_memory::MemoryError;
use skep_vm::{Engine as Kind, Machine, Program, ProgramError, ProgramSpec, Runner};

pub(crate) use compare::hex;
pub use compare::{Difference, agree, compare, longest_block, same};
pub use observed::{Contents, End, Ran};
pub use rig::{Refusal, Rig};
pub(crate) use rig::{is_queue, shows};

/// How an engine's runner is made, for a CPU.
pub type MakeRunner = fn(&Arc<Machine>, u32) -> Result<Runner, MemoryError>;
/// How an engine loads a program.
pub type Load = fn(&Machine, ProgramSpec) -> Result<Arc<Program>, ProgramError>;

/// A way to run programs.
#[derive(Debug, Clone, Copy)]
pub struct Engine {
    /// What reports call it.
    pub name: &'static str,
    /// Makes a runner.
    pub runner: MakeRunner,
    /// Loads a program.
    pub load: Load,
    /// Whether it counts instructions, and so keeps to a budget.
    pub counts: bool,
}

/// The interpreter, which defines what programs do.
pub const INTERP: Engine = Engine {
    name: "interp",
    runner: |machine, cpu| Runner::new(machine, cpu, Kind::Interp),
    load: Machine::load,
    counts: true,
};

/// The engine of this build that is not the interpreter, as it is by default.
pub const JIT: Engine = Engine {
    name: "jit",
    runner: |machine, cpu| Runner::new(machine, cpu, Kind::default()),
    load: Machine::load,
    counts: false,
};

/// The same, when it counts.
pub const JIT_COUNTING: Engine = Engine { name: "jit, counting", counts: true, ..JIT };

/// All engines; the first defines what is right.
pub const ENGINES: &[Engine] = &[INTERP, JIT, JIT_COUNTING];
