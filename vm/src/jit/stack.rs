//! The host stack on which native code runs.
#![expect(unsafe_code, reason = "a stack is mapped and unmapped")]

use std::io;
use std::ptr::{self, NonNull};

use rustix::mm::{self, MapFlags, MprotectFlags, ProtFlags};

/// Size of a stack in bytes. Programs nest at most 272 functions, each with a frame of at most
/// [`MOST_FRAME`] bytes; the rest is for the Rust code that they call.
const SIZE: usize = 4 << 20;
/// What lies below it, inaccessible, in bytes: more than any frame of native code.
const GUARD: usize = 64 << 10;
/// The largest frame that a function in native code may have, in bytes.
pub(crate) const MOST_FRAME: u32 = 4 << 10;

/// A stack of its own for each runner, so that native code needs none of the caller's.
#[derive(Debug)]
pub(crate) struct HostStack {
    start: NonNull<u8>,
}

// SAFETY: the mapping is owned by this value and bound to no thread.
unsafe impl Send for HostStack {}
// SAFETY: `&self` gives nothing but an address.
unsafe impl Sync for HostStack {}

impl HostStack {
    /// How many bytes of address space one takes.
    pub(crate) const BYTES: u64 = (GUARD + SIZE) as u64;

    /// Maps one; its pages are committed when they are first used.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a null address lets the kernel choose a free range.
        let start = unsafe { mm::mmap_anonymous(ptr::null_mut(), GUARD + SIZE, prot, flags)? };
        let start = NonNull::new(start.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let stack = Self { start };
        // SAFETY: the range is part of this mapping, which nobody uses yet.
        unsafe { mm::mprotect(start.as_ptr().cast(), GUARD, MprotectFlags::empty())? };
        Ok(stack)
    }

    /// The address behind its highest byte, a multiple of 16.
    pub(crate) fn top(&self) -> *mut u8 {
        self.start.as_ptr().wrapping_add(GUARD + SIZE)
    }
}

impl Drop for HostStack {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, unmapped only here; no run is going on, for runs borrow
        // their runner, which owns this.
        let unmapped = unsafe { mm::munmap(self.start.as_ptr().cast(), GUARD + SIZE) };
        debug_assert!(unmapped.is_ok(), "a mapping can be unmapped whole");
    }
}
