//! The instruction set: RFC 9669 and what Linux adds to it.
//!
//! [`Insn`] is a slot, bit for bit; [`Op`] is what it does. All knowledge of single
//! instructions stands in `table.rs`.

mod asm;
mod decode;
mod insn;
mod int;
mod kind;
mod op;
mod table;
mod text;

pub use asm::{AsmError, assemble};
pub use decode::DecodeError;
pub use insn::Insn;
pub(crate) use int::Int;
pub(crate) use kind::{Alu, Cond, Kind, Rmw, Source, Width};
pub use op::{Key, Op, ROWS, Row, Shape};
pub(crate) use table::isa;
pub use text::{Names, disassemble};
