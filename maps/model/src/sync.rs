//! In place of `maps/src/sync.rs`: atomics that loom watches.
//!
//! Loom explores the other order of two accesses when one of them writes, but it compares
//! a write with the last access alone. A thread that loads a cell before it stores to it
//! hides from loom that another thread has loaded it, too. So each access here first adds
//! to a count of its cell, which makes loom try every order of all accesses; being
//! relaxed, the count orders nothing in the program itself.

pub(crate) use loom::sync::atomic::{Ordering, fence};

macro_rules! watched {
    ($name:ident $int:ident) => {
        /// An atomic of which every order of accesses is explored.
        #[derive(Debug)]
        pub(crate) struct $name {
            accesses: loom::sync::atomic::AtomicU32,
            value: loom::sync::atomic::$name,
        }

        #[allow(dead_code, reason = "each width has its own use")]
        impl $name {
            pub(crate) fn new(value: $int) -> Self {
                Self {
                    accesses: loom::sync::atomic::AtomicU32::new(0),
                    value: loom::sync::atomic::$name::new(value),
                }
            }

            fn watched(&self) -> &loom::sync::atomic::$name {
                self.accesses.fetch_add(1, Ordering::Relaxed);
                &self.value
            }

            pub(crate) fn load(&self, order: Ordering) -> $int {
                self.watched().load(order)
            }

            pub(crate) fn store(&self, value: $int, order: Ordering) {
                self.watched().store(value, order);
            }

            pub(crate) fn swap(&self, value: $int, order: Ordering) -> $int {
                self.watched().swap(value, order)
            }

            pub(crate) fn compare_exchange_weak(
                &self,
                current: $int,
                new: $int,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$int, $int> {
                self.watched().compare_exchange_weak(current, new, success, failure)
            }
        }
    };
}
watched!(AtomicU32 u32);
watched!(AtomicU64 u64);

/// Waiting threads say so, or loom would try to wait for ever.
pub(crate) fn pause(_tries: u32) {
    loom::thread::yield_now();
}

/// The same.
pub(crate) fn back_off(tries: u32) -> u32 {
    loom::thread::yield_now();
    tries
}

/// Nobody waits for so long.
pub(crate) fn nap() {
    loom::thread::yield_now();
}

/// All threads are in each other's way.
pub(crate) fn thread_number() -> usize {
    0
}
