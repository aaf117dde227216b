//! Pieces of the window that the host owns and lends to programs.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use crate::mapping::{HUGE, Pages, page_size};
use crate::region::Label;
use crate::window::memfd;
use crate::{Access, GuestPtr, GuestSlice, MemoryError, Window};

/// What memory stands behind a span.
#[derive(Debug, Clone, Copy)]
pub enum Backing<'f> {
    /// Private zero pages.
    Anonymous,
    /// Zero pages that appear twice, one copy right behind the other, so that what
    /// runs over the end continues at the start. The span is twice as long as asked
    /// for; the length must be a multiple of the page size.
    Mirrored,
    /// A part of a file that is long enough, shared with all who map it.
    File(FilePart<'f>),
    /// The same, as in `Mirrored`.
    MirroredFile(FilePart<'f>),
}

/// Where in a file memory lies.
#[derive(Debug, Clone, Copy)]
pub struct FilePart<'f> {
    /// The file.
    pub file: &'f File,
    /// From which byte on: a multiple of the page size.
    pub offset: u64,
}

/// What is asked of a window.
#[derive(Debug, Clone)]
pub struct SpanRequest<'f> {
    /// Length in bytes, at least 1.
    pub len: u64,
    /// Alignment in bytes, a power of two. Mirrored and file memory is at least page-aligned.
    pub align: u32,
    /// The rights of all its bytes at first.
    pub access: Access,
    /// What it is for.
    pub label: Label,
    /// What stands behind it.
    pub backing: Backing<'f>,
}

/// A piece of the window; the piece is free again when this is dropped.
#[derive(Debug)]
pub struct Span {
    window: Arc<Window>,
    start: u32,
    len: u32,
    private: bool,
}

impl Span {
    /// Takes a piece of the window. Its bytes are zero, or the file's.
    ///
    /// # Errors
    ///
    /// [`MemoryError::Full`] when no free range is long enough, [`MemoryError::Map`]
    /// when the host refuses to map a file.
    pub fn new(window: &Arc<Window>, request: SpanRequest<'_>) -> Result<Self, MemoryError> {
        let SpanRequest { len, align, access, label, backing } = request;
        let page = page_size() as u64;
        let (len, align) = match backing {
            Backing::Anonymous => (len.max(1), u64::from(align.max(1))),
            Backing::Mirrored | Backing::MirroredFile(_) => {
                (len.next_multiple_of(page).saturating_mul(2), page.max(u64::from(align)))
            }
            Backing::File(_) => (len.max(1).next_multiple_of(page), page.max(u64::from(align))),
        };
        let refused =
            |source| MemoryError::Map { bytes: len, what: label.what.to_string(), source };
        let start = window.take(len, align, label.clone())?;
        let private = matches!(backing, Backing::Anonymous);
        let len32 = u32::try_from(len).expect("`take` refuses longer ones");
        let span = Self { window: Arc::clone(window), start, len: len32, private };
        let (first, half, end) = span.halves();
        match backing {
            Backing::Anonymous if len >= HUGE => window.advise(first..end, Pages::Huge),
            Backing::Anonymous => {}
            Backing::Mirrored => {
                let file = memfd("skep-ring").map_err(refused)?;
                file.set_len(half - first).map_err(refused)?;
                window.place_file(first..half, &file, 0).map_err(refused)?;
                window.place_file(half..end, &file, 0).map_err(refused)?;
            }
            Backing::MirroredFile(FilePart { file, offset }) => {
                window.place_file(first..half, file, offset).map_err(refused)?;
                window.place_file(half..end, file, offset).map_err(refused)?;
            }
            Backing::File(FilePart { file, offset }) => {
                window.place_file(first..end, file, offset).map_err(refused)?;
            }
        }
        // Free memory is inaccessible already (M3); saying so again would commit its shadow.
        if access != Access::None {
            span.set_access(0..len32, access);
        }
        Ok(span)
    }

    fn halves(&self) -> (u64, u64, u64) {
        let (start, len) = (u64::from(self.start), u64::from(self.len));
        (start, start + len / 2, start + len)
    }

    /// The guest pointer to its first byte.
    #[inline]
    #[must_use]
    pub fn ptr(&self) -> GuestPtr {
        GuestPtr::new(self.start)
    }

    /// Its length in bytes; twice the requested one when mirrored.
    #[inline]
    #[must_use]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether it has no bytes; it never is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The window it is a piece of.
    #[inline]
    #[must_use]
    pub fn window(&self) -> &Arc<Window> {
        &self.window
    }

    /// Whether `ptr` points into it.
    #[inline]
    #[must_use]
    pub fn contains(&self, ptr: u64) -> bool {
        ptr.wrapping_sub(u64::from(self.start)) < u64::from(self.len)
    }

    /// All of it, for the host.
    #[inline]
    #[must_use]
    pub fn slice(&self) -> GuestSlice<'_> {
        GuestSlice::of_span(self.window.view(), self.start, self.len)
    }

    /// `len` bytes from `offset` on, for the host.
    ///
    /// # Panics
    ///
    /// When they are not all inside the span.
    #[inline]
    #[must_use]
    pub fn part(&self, offset: u32, len: u32) -> GuestSlice<'_> {
        self.slice().part(offset, len)
    }

    /// Sets what programs may do with the bytes of `range`, offsets from its start.
    ///
    /// # Panics
    ///
    /// When the range is not inside the span.
    #[inline]
    pub fn set_access(&self, range: Range<u32>, access: Access) {
        assert!(range.start <= range.end && range.end <= self.len, "a range of the span");
        let start = u64::from(self.start);
        self.window
            .set_access(start + u64::from(range.start)..start + u64::from(range.end), access);
    }

    /// Sets the rights of bytes that repeat: of each `period` bytes from the span's start
    /// on, as far as they all lie inside, those of `open` get the rights that stand there.
    ///
    /// Long spans share the pages of the pattern, so that rights take no memory of their
    /// own; they should start at a page.
    ///
    /// # Panics
    ///
    /// When `open` is not inside the period, or the period is 0.
    pub fn set_pattern(&self, period: u32, open: &[(Range<u32>, Access)]) {
        assert!(period > 0 && open.iter().all(|(r, _)| r.start <= r.end && r.end <= period));
        let shared = self.window.set_pattern(self.start, self.len, period, open);
        for at in (shared..self.len).step_by(period as usize) {
            for (range, access) in open.iter().filter(|(range, _)| range.end <= self.len - at) {
                self.set_access(at + range.start..at + range.end, *access);
            }
        }
    }

    /// Lets the host back it with small pages only: for memory of which little is touched.
    pub fn use_small_pages(&self) {
        let (start, _, end) = self.halves();
        self.window.advise(start..end, Pages::Small);
    }

    /// Renames it, for later faults.
    pub fn relabel(&self, label: Label) {
        self.window.relabel(self.start, label);
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.set_access(0..self.len, Access::None);
        let (start, _, end) = self.halves();
        if self.private {
            if end - start >= HUGE {
                self.window.advise(start..end, Pages::Small);
            }
            self.window.zero(start..end);
        } else if self.window.place_zeros(start..end).is_err() {
            // The host would not give fresh pages: keep the range rather than lend
            // somebody else's bytes again (M3).
            return;
        }
        self.window.give(self.start);
    }
}
