//! Address space from the host: the only place that maps and unmaps.
#![expect(unsafe_code, reason = "mmap and munmap")]

use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::ptr::{self, NonNull};

use rustix::mm::{self, Advice, MapFlags, ProtFlags};

/// A private reservation of address space, readable and writable, unmapped when
/// dropped. Pages are committed when first written.
///
/// Its pages can be replaced ([`Mapping::place_file`]), but the whole range stays
/// mapped readable and writable from creation to drop.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is plain memory, owned by this value and bound to no thread.
unsafe impl Send for Mapping {}
// SAFETY: methods on `&Mapping` hand out addresses and ask the kernel to replace
// pages, which it does atomically per page; accesses are the callers' affair (M2).
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Reserves `len` bytes (a multiple of the page size) of zero memory.
    pub(crate) fn reserve(len: usize) -> io::Result<Self> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a null address lets the kernel choose a free range, so that no
        // existing mapping is touched.
        let base = unsafe { mm::mmap_anonymous(ptr::null_mut(), len, rw(), flags)? };
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, len })
    }

    /// Maps `len` bytes of a file from `offset` on, shared with all who map them.
    pub(crate) fn shared_file(file: impl AsFd, offset: u64, len: usize) -> io::Result<Self> {
        let flags = MapFlags::SHARED;
        // SAFETY: as in `reserve`.
        let base = unsafe { mm::mmap(ptr::null_mut(), len, rw(), flags, file.as_fd(), offset)? };
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, len })
    }

    /// The first byte.
    #[inline(always)]
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Replaces `range` by what `file` has from `offset` on; `Private` pages are copied
    /// when first written, `Shared` ones are the file's own.
    pub(crate) fn place_file(
        &self,
        range: Range<usize>,
        file: impl AsFd,
        offset: u64,
        sharing: Sharing,
    ) -> io::Result<()> {
        let flags = match sharing {
            Sharing::Shared => MapFlags::SHARED,
            Sharing::Private => MapFlags::PRIVATE | MapFlags::NORESERVE,
        };
        let (at, len) = self.part(range)?;
        // SAFETY: `part` checked that the range lies in this mapping, which nobody
        // else owns; MAP_FIXED replaces just these pages.
        unsafe { mm::mmap(at, len, rw(), flags | MapFlags::FIXED, file.as_fd(), offset)? };
        Ok(())
    }

    /// Replaces `range` by fresh zero pages.
    pub(crate) fn place_zeros(&self, range: Range<usize>) -> io::Result<()> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        let (at, len) = self.part(range)?;
        // SAFETY: as in `place_file`.
        unsafe { mm::mmap_anonymous(at, len, rw(), flags)? };
        Ok(())
    }

    /// Gives the pages of `range`, private anonymous ones, back to the host; they
    /// read as zeros afterwards.
    pub(crate) fn discard(&self, range: Range<usize>) -> io::Result<()> {
        let (at, len) = self.part(range)?;
        // SAFETY: `part` checked the range; the pages stay mapped and become zero.
        unsafe { mm::madvise(at, len, Advice::LinuxDontNeed)? };
        Ok(())
    }

    /// Says whether private pages of `range` should be huge ones. It is advice: a host
    /// without them goes on as before.
    pub(crate) fn advise(&self, range: Range<usize>, pages: Pages) {
        let advice = match pages {
            Pages::Huge => Advice::LinuxHugepage,
            Pages::Small => Advice::LinuxNoHugepage,
        };
        let Ok((at, len)) = self.part(range) else { return };
        // SAFETY: `part` checked the range; what it holds stays as it is.
        let _only_advice = unsafe { mm::madvise(at, len, advice) };
    }

    fn part(&self, range: Range<usize>) -> io::Result<(*mut std::ffi::c_void, usize)> {
        if range.start > range.end || range.end > self.len {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok((self.base.as_ptr().wrapping_add(range.start).cast(), range.end - range.start))
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by a constructor and is unmapped only here.
        let unmapped = unsafe { mm::munmap(self.base.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok(), "a mapping can be unmapped whole");
    }
}

/// From this size on, memory that is used at random is worth huge pages: a look-up among
/// a million keys takes a quarter of the time.
pub(crate) const HUGE: u64 = 4 << 20;

/// Sizes of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pages {
    /// Those that the host maps by default.
    Small,
    /// Transparent huge pages.
    Huge,
}

/// Who sees writes to the pages of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Everyone who maps the file.
    Shared,
    /// Nobody else.
    Private,
}

fn rw() -> ProtFlags {
    ProtFlags::READ | ProtFlags::WRITE
}

/// The host's page size in bytes.
pub(crate) fn page_size() -> usize {
    rustix::param::page_size()
}
