//! In place of `maps/src/sync.rs`: the atomics that loom watches.

pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Waiting threads say so, or loom would try to wait for ever.
pub(crate) fn pause(_tries: u32) {
    loom::thread::yield_now();
}

/// All threads are in each other's way.
pub(crate) fn thread_number() -> usize {
    0
}
