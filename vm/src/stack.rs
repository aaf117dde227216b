//! The guest stack of a virtual CPU.

use std::cell::Cell;
use std::sync::Arc;

use skep_memory::{Access, Backing, Grid, GuestPtr, Label, MemoryError, Span, SpanRequest, Window};

use crate::program::{FRAME_SIZE, StackUse};

/// Frames of one run: eight in each of the 34 program bodies that can nest.
const MAX_FRAMES: u32 = 8 * 34;
/// Distance from one frame to the next in bytes: as much again stays inaccessible.
const STRIDE: u32 = 2 * FRAME_SIZE;
/// The same, as the distance from one frame pointer to the next.
pub(crate) const FRAME_STRIDE: u64 = STRIDE as u64;

/// The stack frames of one runner.
///
/// Frame 0 is always accessible; deeper ones become so when they are first entered in a
/// run, and are closed when it ends.
#[derive(Debug)]
pub(crate) struct Stack {
    span: Span,
    /// Frames that are accessible now.
    open: Cell<u32>,
}

impl Stack {
    pub(crate) fn new(window: &Arc<Window>) -> Result<Self, MemoryError> {
        let grid = Grid { size: FRAME_SIZE, stride: STRIDE };
        let span = Span::new(
            window,
            SpanRequest {
                len: u64::from(MAX_FRAMES * STRIDE - FRAME_SIZE),
                align: 64,
                access: Access::None,
                label: Label::many("stack frame", grid),
                backing: Backing::Anonymous,
            },
        )?;
        let stack = Self { span, open: Cell::new(0) };
        stack.open_to(1);
        Ok(stack)
    }

    /// The frame pointer of the first frame.
    #[inline(always)]
    pub(crate) fn first_fp(&self) -> u64 {
        self.span.ptr().add(FRAME_SIZE).addr()
    }

    /// The number of the frame with this frame pointer, from 0.
    #[inline(always)]
    pub(crate) fn frame_at(&self, fp: u64) -> usize {
        usize::try_from((fp - self.first_fp()) / FRAME_STRIDE).unwrap_or(0)
    }

    /// Enters the frame with this frame pointer: makes it accessible and zero where the
    /// function may read it first.
    #[inline(always)]
    pub(crate) fn enter(&self, fp: u64, stack: StackUse) {
        if !stack.framed {
            return;
        }
        let end = self.open(fp);
        if stack.bytes > 0 {
            self.clear(end - stack.bytes, stack.bytes);
        }
    }

    /// Makes the frame with this frame pointer accessible. Returns where it ends: an
    /// offset into the span.
    #[inline(always)]
    pub(crate) fn open(&self, fp: u64) -> u32 {
        let index = u32::try_from(self.frame_at(fp)).unwrap_or(MAX_FRAMES).min(MAX_FRAMES - 1);
        if index >= self.open.get() {
            self.open_to(index + 1);
        }
        index * STRIDE + FRAME_SIZE
    }

    /// Which frame holds all of `len` bytes at `at`, if they are accessible parts of one.
    pub(crate) fn frame_of(&self, at: GuestPtr, len: u32) -> Option<usize> {
        let offset = at.offset().checked_sub(self.span.ptr().offset())?;
        let (frame, within) = (offset / STRIDE, offset % STRIDE);
        let fits = within + len <= FRAME_SIZE && frame < self.open.get();
        fits.then_some(frame as usize)
    }

    /// Takes all rights to a part of a frame from the program.
    pub(crate) fn close_part(&self, at: GuestPtr, len: u32) {
        self.set_access(at, len, Access::None);
    }

    /// Gives them back, if the frame is open.
    pub(crate) fn restore(&self, at: GuestPtr, len: u32) {
        if self.frame_of(at, len).is_some() {
            self.set_access(at, len, Access::ReadWrite);
        }
    }

    fn set_access(&self, at: GuestPtr, len: u32, access: Access) {
        let start = at.offset() - self.span.ptr().offset();
        self.span.set_access(start..start + len, access);
    }

    fn clear(&self, start: u32, bytes: u32) {
        self.span.part(start, bytes).fill(0);
    }

    #[cold]
    fn open_to(&self, count: u32) {
        for index in self.open.get()..count {
            let start = index * STRIDE;
            self.span.set_access(start..start + FRAME_SIZE, Access::ReadWrite);
        }
        self.open.set(count);
    }

    /// Closes all frames but the first.
    #[inline]
    pub(crate) fn close(&self) {
        if !self.is_closed() {
            self.close_deeper();
        }
    }

    /// Whether all frames but the first are closed.
    #[inline(always)]
    pub(crate) fn is_closed(&self) -> bool {
        self.open.get() <= 1
    }

    #[cold]
    fn close_deeper(&self) {
        while self.open.get() > 1 {
            let start = (self.open.get() - 1) * STRIDE;
            self.span.set_access(start..start + FRAME_SIZE, Access::None);
            self.open.set(self.open.get() - 1);
        }
    }
}
