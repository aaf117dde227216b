//! Cases as text: what is committed of those that an engine once got wrong.
//!
//! ```text
//! # why it is here
//! budget 100000
//! undefined
//! map array key 4 value 16 entries 2 [flags 0x80] [extra 3] [inner 0] [lock 8] [frozen]
//! fill 00000000 = 0102030405060708
//! program xdp
//!     mov %r0, 2
//!     exit
//! end
//! input 000102030405060708090a0b0c0d
//! sample 3 0102
//! expect r0 0x2 insns 2
//! ```
//!
//! `undefined` stands in cases of which Linux may make anything: it does not zero stacks.
//!
//! Maps and programs are numbered in their order. `fill` is of the map before it, its value
//! bytes (zeros at the end are left away), `map N` or `program N`; `sample` and `expect`, and
//! `printk`, are of the input before them. An input that is expected to end in a fault has
//! `expect fault KIND at pPROGRAM:SLOT insns N`.

mod asm;
mod read;
mod write;

pub use read::{ReadError, read};
pub use write::write;

use crate::case::Case;

/// A case as it is committed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vector {
    /// What it is about: the comment at the top.
    pub about: String,
    /// How many instructions each run may execute.
    pub budget: u64,
    /// Whether Linux, if it takes the programs, may come to something else.
    pub undefined: bool,
    /// The case.
    pub case: Case,
    /// What each run is expected to come to.
    pub expected: Vec<Expected>,
}

/// What a run is expected to come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// The end as [`End`](crate::End) prints it.
    pub end: String,
    /// Instructions executed.
    pub insns: u64,
    /// Lines printed.
    pub printk: Vec<String>,
}

impl Expected {
    /// What a run of an engine that counts came to.
    #[must_use]
    pub fn of(ran: &crate::Ran) -> Self {
        Self { end: ran.end.to_string(), insns: ran.insns.unwrap_or(0), printk: ran.printk.clone() }
    }
}
