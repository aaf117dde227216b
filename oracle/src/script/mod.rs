//! Map scripts: what a map does over a sequence of operations, as data.
//!
//! A file of `testdata/maps` holds cases; `testdata/maps/README.md` says how they are
//! written. [`Script`] reads a file, [`answers`] asks the questions of one case of a
//! [`Backend`]: the running kernel ([`Linux`]), skep, or a model.
//!
//! A new operation of programs is a row in [`program`], a new operation of the system call
//! an arm in `system` and, unless it is made of others, a method of [`Backend`].

mod agent;
mod backend;
mod expand;
mod linux;
pub mod program;
mod run;
mod step;
mod syntax;
mod system;
pub mod types;

pub use agent::Agent;
pub use backend::{
    Backend, BatchCommand, BatchRequest, Failure, Info, Outcome, ProgramCall, Reply, Shape,
};
pub use linux::Linux;
pub use run::answers;
pub use step::{Args, Call, EventDecl, EventKind, MapDecl, ProgDecl, Side, Step};
pub use syntax::{Case, Line, Script, SyntaxError};
