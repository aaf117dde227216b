//! Engines: ways to run programs, whose results must be the same.

mod compare;
mod observed;
mod rig;

use std::sync::Arc;

use skep_memory::MemoryError;
use skep_vm::{Machine, Program, ProgramError, ProgramSpec, Runner};

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
}

/// The interpreter, which defines what programs do.
pub const INTERP: Engine = Engine { name: "interp", runner: Runner::new, load: Machine::load };

/// All engines; the first defines what is right.
pub const ENGINES: &[Engine] = &[INTERP];
