//! Wake-ups of user space: a descriptor that becomes readable.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

/// Who waits for something to happen to a map or an event. Until somebody asks for the
/// descriptor there is none, and a wake-up is remembered.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    event: OnceLock<OwnedFd>,
    pending: AtomicBool,
}

impl Wake {
    /// Whether somebody has asked for the descriptor.
    pub(crate) fn has_descriptor(&self) -> bool {
        self.event.get().is_some()
    }

    /// Makes the descriptor readable.
    pub(crate) fn wake(&self) {
        self.pending.store(true, Ordering::Release);
        if let Some(event) = self.event.get() {
            // It fails only when the counter is full, and then the descriptor is
            // readable already.
            let _already_readable = rustix::io::write(event, &1u64.to_ne_bytes());
        }
    }

    /// The descriptor (an eventfd): readable when there was a wake-up since the last
    /// [`Wake::reset`].
    pub(crate) fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        if self.event.get().is_none() {
            let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            let _lost_race = self.event.set(fd);
            if self.pending.load(Ordering::Acquire) {
                self.wake();
            }
        }
        Ok(self.event.get().expect("set above").as_fd())
    }

    /// Forgets the wake-ups that there were; says whether there was one.
    pub(crate) fn reset(&self) -> bool {
        if let Some(event) = self.event.get() {
            // It fails when there is nothing to forget.
            let _was_not_set = rustix::io::read(event, &mut [0u8; 8]);
        }
        self.pending.swap(false, Ordering::AcqRel)
    }
}
