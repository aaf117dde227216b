//! A piece of guest memory as the host sees it.

use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::view::View;
use crate::{GuestPtr, Word};

/// A range of guest memory that lies inside the window, for the host to read and
/// write whatever its access rights.
///
/// Programs on other threads may change it at any time, so it gives copies and
/// typed loads, never a `&[u8]`. Offsets outside the slice panic: they are the
/// host's own, not a program's.
#[derive(Debug, Clone, Copy)]
pub struct GuestSlice<'w> {
    view: View<'w>,
    start: u32,
    len: u32,
}

impl<'w> GuestSlice<'w> {
    /// `len` bytes at `ptr`, or `None` when they are not all inside the window.
    #[inline]
    #[must_use]
    pub fn new(view: View<'w>, ptr: GuestPtr, len: u32) -> Option<Self> {
        (ptr.addr() + u64::from(len) <= view.len()).then_some(Self {
            view,
            start: ptr.offset(),
            len,
        })
    }

    /// A span's bytes, which are inside its window. If they were not, accesses would panic.
    #[inline]
    pub(crate) fn of_span(view: View<'w>, start: u32, len: u32) -> Self {
        debug_assert!(u64::from(start) + u64::from(len) <= view.len());
        Self { view, start, len }
    }

    /// The guest pointer to its first byte.
    #[inline]
    #[must_use]
    pub fn ptr(&self) -> GuestPtr {
        GuestPtr::new(self.start)
    }

    /// Its length in bytes.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The `len` bytes from `offset` on.
    ///
    /// # Panics
    ///
    /// When they are not all inside this slice.
    #[inline]
    #[must_use]
    pub fn part(&self, offset: u32, len: u32) -> Self {
        assert!(
            u64::from(offset) + u64::from(len) <= u64::from(self.len),
            "{len} bytes at {offset} of a guest slice of {} bytes",
            self.len
        );
        // An empty part may begin behind the window's last byte.
        Self { view: self.view, start: self.start.wrapping_add(offset), len }
    }

    /// Reads a word at `offset`.
    ///
    /// # Panics
    ///
    /// When it is not inside this slice.
    #[inline]
    #[must_use]
    pub fn get<W: Word>(&self, offset: u32) -> W {
        self.view.peek(self.part(offset, W::SIZE).start)
    }

    /// Writes a word at `offset`.
    ///
    /// # Panics
    ///
    /// When it is not inside this slice.
    #[inline]
    pub fn set<W: Word>(&self, offset: u32, word: W) {
        self.view.poke(self.part(offset, W::SIZE).start, word);
    }

    /// The 32-bit cell at `offset`, for atomic operations.
    ///
    /// # Panics
    ///
    /// When it is not inside this slice or not aligned in the window.
    #[inline]
    #[must_use]
    pub fn cell32(&self, offset: u32) -> &'w AtomicU32 {
        self.view.cell32(self.part(offset, 4).start)
    }

    /// The 64-bit cell at `offset`, for atomic operations.
    ///
    /// # Panics
    ///
    /// When it is not inside this slice or not aligned in the window.
    #[inline]
    #[must_use]
    pub fn cell64(&self, offset: u32) -> &'w AtomicU64 {
        self.view.cell64(self.part(offset, 8).start)
    }

    /// Copies the slice out; words of eight bytes, and half a word at the end, are read whole.
    ///
    /// # Panics
    ///
    /// When `out` has another length.
    #[inline]
    pub fn read(&self, out: &mut [u8]) {
        assert_eq!(out.len(), self.len(), "a buffer of the slice's length");
        // Behind the last byte it may wrap: a slice may end where 32-bit pointers do.
        let mut at = self.start;
        let (words, tail) = out.as_chunks_mut::<8>();
        for word in words {
            *word = self.view.peek::<u64>(at).to_le_bytes();
            at = at.wrapping_add(8);
        }
        let (half, tail) = tail.as_chunks_mut::<4>();
        for half in half {
            *half = self.view.peek::<u32>(at).to_le_bytes();
            at = at.wrapping_add(4);
        }
        for byte in tail {
            *byte = self.view.peek(at);
            at = at.wrapping_add(1);
        }
    }

    /// Copies the slice into a new vector.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len()];
        self.read(&mut bytes);
        bytes
    }

    /// Copies bytes in; words of eight bytes, and half a word at the end, are written whole.
    ///
    /// # Panics
    ///
    /// When `bytes` has another length.
    #[inline(always)]
    pub fn write(&self, bytes: &[u8]) {
        assert_eq!(bytes.len(), self.len(), "as many bytes as the slice has");
        // As in `read`.
        let mut at = self.start;
        let (words, tail) = bytes.as_chunks::<8>();
        for word in words {
            self.view.poke(at, u64::from_le_bytes(*word));
            at = at.wrapping_add(8);
        }
        let (half, tail) = tail.as_chunks::<4>();
        for half in half {
            self.view.poke(at, u32::from_le_bytes(*half));
            at = at.wrapping_add(4);
        }
        for &byte in tail {
            self.view.poke(at, byte);
            at = at.wrapping_add(1);
        }
    }

    /// Copies another guest slice in, front to back.
    ///
    /// # Panics
    ///
    /// When it has another length.
    #[inline]
    pub fn copy_from(&self, other: GuestSlice<'_>) {
        assert_eq!(other.len, self.len, "two slices of one length");
        let mut at = 0;
        while at + 8 <= self.len {
            self.view.poke(self.start + at, other.view.peek::<u64>(other.start + at));
            at += 8;
        }
        if at + 4 <= self.len {
            self.view.poke(self.start + at, other.view.peek::<u32>(other.start + at));
            at += 4;
        }
        while at < self.len {
            self.view.poke(self.start + at, other.view.peek::<u8>(other.start + at));
            at += 1;
        }
    }

    /// Sets every byte.
    #[inline]
    pub fn fill(&self, byte: u8) {
        self.view.fill_memory(u64::from(self.start), u64::from(self.len), byte);
    }
}
