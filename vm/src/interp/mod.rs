//! The interpreter: the definition of what programs do.
//!
//! A decoded program is lowered ([`lower`]) to operations of one size, some of which
//! stand for two or more instructions ([`fuse`]); [`exec`] runs them in one flat match.
//! [`drive`](drive::drive) is around it: it polls the limits, follows tail calls from
//! program to program, and makes faults of what went wrong.

mod drive;
mod exec;
mod fuse;
mod looks;
mod lower;
mod op;

pub(crate) use drive::{run, run_function};
pub(crate) use lower::Compiled;
pub(crate) use op::{Regs, poison_scratch};

/// What registers hold that the program has not written: not a pointer, and not 0.
/// (Every engine gives the same.)
pub(crate) const POISON: u64 = 0xbad0_bad0_bad0_bad0;

/// Whether a register holds what registers hold that the program has not written.
#[must_use]
pub fn is_poison(value: u64) -> bool {
    value == POISON
}
