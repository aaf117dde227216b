//! Writes random programs and compares what runs of them leave behind: in skep's engines
//! with each other, in skep and the Linux kernel, in skep and rbpf.
//!
//! [`generate`] writes cases, [`mutate`] makes programs subtly wrong. A [`Rig`] runs them on
//! an engine, [`Linux`] on the kernel; [`shrink`] takes away what is not needed, and
//! [`text`] writes down what is left. All randomness comes from a seed that the tests
//! print; `SKEP_SEED` gives it to them again.
//!
//! [`maps`] answers map scripts on skep; [`lab`] is a machine to try things on, and
//! [`sockets`] has what maps of sockets hold.

mod case;
mod code;
mod engine;
mod generate;
pub mod lab;
mod layout;
mod linux;
pub mod maps;
mod mutate;
mod profile;
mod rng;
mod shrink;
pub mod sockets;
pub mod text;

pub use case::{Case, CaseInput, CaseMap, CaseProgram, Fill, functions};
pub use engine::{
    Contents, Difference, ENGINES, End, Engine, INTERP, JIT, JIT_COUNTING, Load, MakeRunner, Ran,
    Refusal, Rig, agree, compare, longest_block, same,
};
pub use generate::{generate, marks};
pub use layout::{DATA, MEMORY, OUT};
pub use linux::{Linux, Refused, kernel_differs};
pub use mutate::{calls_out, mutate, random_insns};
pub use profile::Profile;
pub use rng::Rng;
pub use shrink::{Keep, shrink};
