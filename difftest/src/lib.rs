//! Compares what skep makes of random programs with what others make of them: the Linux
//! kernel, and rbpf.
//!
//! [`generate`] writes programs that are right; [`mutate`] makes them subtly wrong.
//! [`Skep`] and [`Linux`] run them. All randomness comes from a seed that the tests
//! print; `SKEP_SEED` gives it to them again.
//!
//! [`maps`] answers map scripts on skep; [`lab`] is a machine to try things on, and
//! [`sockets`] has what maps of sockets hold.

mod case;
mod code;
mod generate;
pub mod lab;
mod layout;
mod linux;
pub mod maps;
mod mutate;
mod profile;
mod rng;
mod shrink;
mod skep;
pub mod sockets;

pub use case::{Answer, Case};
pub use generate::generate;
pub use layout::{DATA, MEMORY, OUT};
pub use linux::{Linux, Refused};
pub use mutate::{calls_out, mutate, random_insns};
pub use profile::Profile;
pub use rng::Rng;
pub use shrink::shrink;
pub use skep::{NoAnswer, Skep};
