//! The instruction set.

mod insn;

pub use insn::Insn;
