//! Engines: ways to run programs, whose results must be the same.

mod compare;
mod observed;
mod rig;

use std::sync::Arc;

use skep_vm::{
    Host, Input, Limits, Machine, Outcome, Program, ProgramError, ProgramSpec, RunError, Runner,
};

pub(crate) use compare::hex;
pub use compare::{Difference, agree, compare, longest_block, same};
pub use observed::{Contents, End, Ran};
pub use rig::{Refusal, Rig};
pub(crate) use rig::{is_queue, shows};

/// How an engine loads a program.
pub type Load = fn(&Machine, ProgramSpec) -> Result<Arc<Program>, ProgramError>;
/// How an engine runs a program.
pub type Run =
    fn(&mut Runner, &Program, &Input, &dyn Host, Limits<'_>) -> Result<Outcome, RunError>;

/// A way to run programs.
#[derive(Debug, Clone, Copy)]
pub struct Engine {
    /// What reports call it.
    pub name: &'static str,
    /// Loads a program.
    pub load: Load,
    /// Runs a program once on an input.
    pub run: Run,
}

/// The interpreter, which defines what programs do.
pub const INTERP: Engine = Engine { name: "interp", load: Machine::load, run: Runner::run };

/// All engines; the first defines what is right.
pub const ENGINES: &[Engine] = &[INTERP];
