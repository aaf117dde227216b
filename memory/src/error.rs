//! What goes wrong with memory: for people ([`MemoryError`]) and for accesses
//! ([`Denied`]).

use crate::Access;

/// Memory could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// The host refused to reserve address space for a window.
    #[error(
        "the host refuses to reserve {bytes} bytes of address space for guest memory; \
         raise `ulimit -v` or vm.overcommit_memory"
    )]
    Reserve {
        /// How many bytes were asked for in the last attempt.
        bytes: u64,
        /// What the host said.
        source: std::io::Error,
    },
    /// The window has no free range of that size.
    #[error("guest memory is full: no {bytes} free bytes left for {what}")]
    Full {
        /// How many bytes were asked for.
        bytes: u64,
        /// What they were for.
        what: String,
    },
    /// The host refused to map memory.
    #[error("the host refuses to map {bytes} bytes for {what}")]
    Map {
        /// How many bytes were asked for.
        bytes: u64,
        /// What they were for.
        what: String,
        /// What the host said.
        source: std::io::Error,
    },
}

/// A program's access was denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denied {
    /// The 64-bit address of the first byte.
    pub addr: u64,
    /// How many bytes the access covers.
    pub size: u64,
    /// What was wanted: [`Access::Read`], [`Access::Write`], or for atomic operations
    /// [`Access::ReadWrite`].
    pub wanted: Access,
    /// The address of the first byte that was in the way.
    pub first: u64,
    /// Why.
    pub why: Why,
}

/// Why an access was denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The byte is outside the window.
    Outside,
    /// The byte grants only this much.
    Byte(Access),
    /// An atomic access at an address that is not a multiple of its size.
    Misaligned,
}
