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

/// A way to run programs.
#[derive(Debug, Clone, Copy)]
pub struct Engine {
    /// What reports call it.
    pub name: &'static str,
    /// Loads a program.
    pub load: fn(&Machine, ProgramSpec) -> Result<Arc<Program>, ProgramError>,
    /// Runs a program once on an input.
    pub run: fn(&mut Runner, &Program, &Input, &dyn Host, Limits<'_>) -> Result<Outcome, RunError>,
}

/// The interpreter, which defines what programs do.
pub const INTERP: Engine = Engine { name: "interp", load: Machine::load, run: Runner::run };

/// All engines; the first defines what is right.
pub const ENGINES: &[Engine] = &[INTERP];
