//! Host segments: a map's indexes, keys, links, locks and counters, outside the
//! window, addressed by offsets so that they may live in a shared file.
#![expect(unsafe_code, reason = "atomics are made from mapped memory")]

use std::fmt;
use std::ops::Deref;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::MemoryError;
use crate::mapping::{HUGE, Mapping, Pages, page_size};

/// Zeroed memory for the host's own bookkeeping, seen only as atomics.
///
/// It is committed as it is touched. Since all of it is atomics, it may be shared
/// between threads, and, when it lies in a file, between processes. Clones are the same
/// memory.
#[derive(Debug, Clone)]
pub struct HostSegment {
    mapping: Arc<Mapping>,
    len: usize,
}

impl HostSegment {
    /// `len` bytes of anonymous memory.
    ///
    /// # Errors
    ///
    /// [`MemoryError::Map`] when the host refuses; `what` says what it was for.
    pub fn anonymous(len: u64, what: &str) -> Result<Self, MemoryError> {
        let segment = Self::build(len, what, Mapping::reserve)?;
        if len >= HUGE {
            segment.mapping.advise(0..segment.len, Pages::Huge);
        }
        Ok(segment)
    }

    /// `len` bytes of `file` from byte `offset` on, a multiple of the page size, shared
    /// with all who map them. The file must be that long.
    ///
    /// # Errors
    ///
    /// [`MemoryError::Map`] when the host refuses; `what` says what it was for.
    pub fn file(file: impl AsFd, offset: u64, len: u64, what: &str) -> Result<Self, MemoryError> {
        Self::build(len, what, |len| Mapping::shared_file(file, offset, len))
    }

    fn build(
        bytes: u64,
        what: &str,
        map: impl FnOnce(usize) -> std::io::Result<Mapping>,
    ) -> Result<Self, MemoryError> {
        let refuse = |source| MemoryError::Map { bytes, what: what.to_owned(), source };
        let len = usize::try_from(bytes.max(1))
            .ok()
            .and_then(|len| len.checked_next_multiple_of(page_size()))
            .filter(|&len| isize::try_from(len).is_ok())
            .ok_or_else(|| refuse(std::io::ErrorKind::OutOfMemory.into()))?;
        Ok(Self { mapping: Arc::new(map(len).map_err(refuse)?), len })
    }

    /// `count` 32-bit cells from byte `offset` on.
    ///
    /// # Panics
    ///
    /// When they are not inside the segment or not aligned: the layout is the
    /// host's own.
    #[must_use]
    pub fn cells32(&self, offset: usize, count: usize) -> Cells<AtomicU32> {
        self.cells(offset, count)
    }

    /// `count` 64-bit cells from byte `offset` on.
    ///
    /// # Panics
    ///
    /// As [`HostSegment::cells32`].
    #[must_use]
    pub fn cells64(&self, offset: usize, count: usize) -> Cells<AtomicU64> {
        self.cells(offset, count)
    }

    fn cells<A: Cell>(&self, offset: usize, count: usize) -> Cells<A> {
        let size = size_of::<A>();
        let end = count.checked_mul(size).and_then(|bytes| bytes.checked_add(offset));
        let fits = end.is_some_and(|end| end <= self.len);
        assert!(fits && offset.is_multiple_of(size), "{count} cells at {offset} of {}", self.len);
        // SAFETY: `offset` is inside the mapping, or at its end.
        let first = unsafe { self.mapping.base().add(offset) };
        Cells { first: first.cast(), count, _mapping: Arc::clone(&self.mapping) }
    }
}

/// A run of atomics in a host segment, as a slice of them; it keeps the segment mapped.
pub struct Cells<A> {
    first: NonNull<A>,
    count: usize,
    _mapping: Arc<Mapping>,
}

/// The atomics that a segment can be seen as: any bytes are valid for them.
trait Cell: Sync {}
impl Cell for AtomicU32 {}
impl Cell for AtomicU64 {}

impl<A: Cell> Deref for Cells<A> {
    type Target = [A];

    #[inline(always)]
    fn deref(&self) -> &[A] {
        // SAFETY: `HostSegment::cells` found `count` aligned cells inside the mapping, which
        // lives as long as `self`; all access to it is by atomics, for which any bytes
        // are valid.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.count) }
    }
}

// SAFETY: cells are a shared reference to atomics in memory that is bound to no thread.
unsafe impl<A: Cell> Send for Cells<A> {}
// SAFETY: as above.
unsafe impl<A: Cell> Sync for Cells<A> {}

impl<A> fmt::Debug for Cells<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cells").field("count", &self.count).finish_non_exhaustive()
    }
}
