//! Runs BPF programs: the instruction set, decoded programs, the interpreter,
//! helpers, program types and the host they see.

pub mod isa;
pub mod prog;
