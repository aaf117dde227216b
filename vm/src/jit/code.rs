//! Executable memory.
#![expect(unsafe_code, reason = "executable memory is mapped and unmapped")]

use std::io;
use std::ptr::{self, NonNull};

use rustix::mm::{self, MapFlags, MprotectFlags, ProtFlags};

/// Machine code: readable and executable, written once before.
#[derive(Debug)]
pub(crate) struct Code {
    start: NonNull<u8>,
    len: usize,
    mapped: usize,
}

// SAFETY: the mapping is owned by this value, bound to no thread, and never written again.
unsafe impl Send for Code {}
// SAFETY: as above.
unsafe impl Sync for Code {}

impl Code {
    /// Maps a copy of `bytes` as code. Pages are writable first and then executable, never
    /// both.
    pub(crate) fn new(bytes: &[u8]) -> io::Result<Self> {
        let mapped = bytes.len().max(1).next_multiple_of(rustix::param::page_size());
        let (prot, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: a null address lets the kernel choose a free range.
        let start = unsafe { mm::mmap_anonymous(ptr::null_mut(), mapped, prot, flags)? };
        let start = NonNull::new(start.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let code = Self { start, len: bytes.len(), mapped };
        // SAFETY: the mapping is new, writable and at least as long.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), start.as_ptr(), bytes.len()) };
        let prot = MprotectFlags::READ | MprotectFlags::EXEC;
        // SAFETY: the range is this mapping; nobody has a reference to it yet.
        unsafe { mm::mprotect(start.as_ptr().cast(), mapped, prot)? };
        Ok(code)
    }

    /// The address of the byte at `offset`.
    pub(crate) fn at(&self, offset: usize) -> *const u8 {
        self.start.as_ptr().wrapping_add(offset)
    }

    /// Where an address lies in it.
    pub(crate) fn offset_of(&self, address: usize) -> Option<usize> {
        let offset = address.checked_sub(self.start.as_ptr() as usize)?;
        (offset <= self.len).then_some(offset)
    }

    /// All of it.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `len` bytes are mapped, readable, initialised and never written again.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, unmapped only here; whoever runs the code holds the
        // program that owns it.
        let unmapped = unsafe { mm::munmap(self.start.as_ptr().cast(), self.mapped) };
        debug_assert!(unmapped.is_ok(), "a mapping can be unmapped whole");
    }
}
