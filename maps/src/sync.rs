//! The atomics of the lock-free parts, and how their threads wait.
//!
//! They are std's; with `--cfg loom` they are loom's, and the very same source files are
//! model-checked: every interleaving of small programs, under the memory model's weak
//! orders (`cargo xtask loom`).

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Lets some time pass in a loop that waits for another thread; `tries` counts the
/// loop's rounds. Other threads get the processor now and then, since the one that is
/// waited for may need it.
#[cfg(not(loom))]
#[inline]
pub(crate) fn pause(tries: u32) {
    if tries % 64 == 63 {
        std::thread::yield_now();
    } else {
        std::hint::spin_loop();
    }
}

/// See above; loom wants to know of every round.
#[cfg(loom)]
pub(crate) fn pause(_tries: u32) {
    loom::thread::yield_now();
}

/// A number that tends to differ between threads: where to look first in what is split
/// so that threads stay out of each other's way.
#[cfg(not(loom))]
#[inline]
pub(crate) fn shard() -> usize {
    use std::sync::atomic::AtomicUsize;

    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    OWN.with(|own| *own)
}

/// See above; in a model all threads are in each other's way.
#[cfg(loom)]
pub(crate) fn shard() -> usize {
    0
}
