//! Guest pointers.

use std::fmt;

/// A guest pointer: an offset in bytes from the start of the window.
///
/// Programs hold it in a 64-bit register, zero-extended; 32-bit context fields
/// such as `xdp_md.data` hold it as it is. A `GuestPtr` says nothing about whether
/// the byte may be accessed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GuestPtr(u32);

impl GuestPtr {
    /// The null pointer; nothing near it is ever accessible.
    pub const NULL: Self = Self(0);

    /// The pointer at `offset` bytes from the start of the window.
    #[inline]
    #[must_use]
    pub const fn new(offset: u32) -> Self {
        Self(offset)
    }

    /// The pointer as a program's register holds it.
    #[inline]
    #[must_use]
    pub const fn addr(self) -> u64 {
        self.0 as u64
    }

    /// The offset from the start of the window, as a 32-bit context field holds it.
    #[inline]
    #[must_use]
    pub const fn offset(self) -> u32 {
        self.0
    }

    /// The pointer `bytes` further on, wrapping within 32 bits as guest arithmetic does.
    #[inline]
    #[must_use]
    pub const fn add(self, bytes: u32) -> Self {
        Self(self.0.wrapping_add(bytes))
    }
}

impl fmt::Debug for GuestPtr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for GuestPtr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}
