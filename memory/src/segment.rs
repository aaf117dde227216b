//! Host segments: a map's indexes, keys, links, locks and counters, outside the
//! window, addressed by offsets so that they may live in a shared file.
#![expect(unsafe_code, reason = "atomics are made from mapped memory")]

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::MemoryError;
use crate::mapping::{Mapping, page_size};

/// Zeroed memory for the host's own bookkeeping, seen only as atomics.
///
/// It is committed as it is touched. Since all of it is atomics, it may be shared
/// between threads, and, when it lies in a file, between processes.
#[derive(Debug)]
pub struct HostSegment {
    mapping: Mapping,
    len: usize,
}

impl HostSegment {
    /// `len` bytes of anonymous memory.
    ///
    /// # Errors
    ///
    /// [`MemoryError::Map`] when the host refuses; `what` says what it was for.
    pub fn anonymous(len: u64, what: &str) -> Result<Self, MemoryError> {
        Self::build(len, what, Mapping::reserve)
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
        Ok(Self { mapping: map(len).map_err(refuse)?, len })
    }

    /// `count` 32-bit cells from byte `offset` on.
    ///
    /// # Panics
    ///
    /// When they are not inside the segment or not aligned: the layout is the
    /// host's own.
    #[inline]
    #[must_use]
    pub fn cells32(&self, offset: usize, count: usize) -> &[AtomicU32] {
        self.check(offset, count, 4);
        // SAFETY: `check` found `count` aligned cells inside the mapping, which lives
        // as long as `self`; all access to it is by atomics, for which any bytes are
        // valid.
        unsafe {
            std::slice::from_raw_parts(
                self.mapping.base().as_ptr().wrapping_add(offset).cast(),
                count,
            )
        }
    }

    /// `count` 64-bit cells from byte `offset` on.
    ///
    /// # Panics
    ///
    /// As [`HostSegment::cells32`].
    #[inline]
    #[must_use]
    pub fn cells64(&self, offset: usize, count: usize) -> &[AtomicU64] {
        self.check(offset, count, 8);
        // SAFETY: as in `cells32`.
        unsafe {
            std::slice::from_raw_parts(
                self.mapping.base().as_ptr().wrapping_add(offset).cast(),
                count,
            )
        }
    }

    fn check(&self, offset: usize, count: usize, size: usize) {
        let end = count.checked_mul(size).and_then(|bytes| bytes.checked_add(offset));
        let fits = end.is_some_and(|end| end <= self.len);
        assert!(fits && offset.is_multiple_of(size), "{count} cells at {offset} of {}", self.len);
    }
}
