//! Runs BPF programs: the instruction set, decoded programs, the interpreter,
//! helpers, program types and the host they see.
//!
//! * [`isa`] knows instructions, `program/` decodes programs, `interp/` runs them.
//! * `helpers/` has what programs call, [`prog`] the program types as data, `context/`
//!   makes what a program gets in r1.
//! * [`Machine`] holds maps and programs; a [`Runner`] is one virtual CPU that runs them.
//!
//! Nothing here reads a clock, a random source, the environment or a file: a [`Host`]
//! gives all that.

mod analysis;
mod context;
mod cpu;
mod dynptr;
mod engine;
mod fault;
pub mod helpers;
mod host;
mod interp;
mod ir;
pub mod isa;
#[cfg(all(feature = "jit", target_arch = "x86_64"))]
mod jit;
mod listing;
mod machine;
pub mod prog;
mod program;
mod redirect;
mod run;
mod runner;
mod stack;
mod state;

pub use analysis::{AccessReport, Explanation, LoopReport};
pub use context::{Input, InputError};
pub use engine::Engine;
pub use fault::{Fault, FaultKind, MemoryFault};
pub use host::{Clock, FixedHost, Host, StackKind, Task};
pub use interp::is_poison;
#[cfg(all(feature = "jit", target_arch = "x86_64"))]
pub use jit::Refusal;
pub use listing::{Listing, NativeExit, NativeFunction};
pub use machine::Machine;
pub use program::{Program, ProgramError, ProgramErrorKind, ProgramSpec, SourceLine};
pub use redirect::Redirect;
pub use runner::{Limits, Outcome, RunError, Runner, Stop};
