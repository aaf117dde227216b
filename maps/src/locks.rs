//! Spin locks: the `bpf_spin_lock`s in map values, and the maps' own.

use std::collections::BTreeMap;
use std::hint;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock};
use std::thread;

use skep_memory::GuestPtr;

/// The spin locks that stand in map values.
///
/// The lock's state is here, in host memory, found by the guest address of the lock;
/// the bytes in the value stay zero, so that nothing a program writes can wedge the
/// host. Two locks may share a cell: their holders then wait for each other, which no
/// one can tell from a busy lock, since nobody may hold two.
#[derive(Debug)]
pub struct LockTable {
    cells: Box<[SpinLock]>,
    /// Where locks stand, by the address of the first of each range.
    ranges: RwLock<BTreeMap<u32, LockRange>>,
}

/// Locks at equal distances, from an address on.
#[derive(Debug, Clone, Copy)]
struct LockRange {
    stride: u32,
    count: u32,
}

const CELLS: usize = 4096;

impl LockTable {
    pub(crate) fn new() -> Self {
        let cells = (0..CELLS).map(|_| SpinLock::default()).collect();
        Self { cells, ranges: RwLock::default() }
    }

    /// Whether a lock stands at `ptr`.
    #[must_use]
    pub fn is_lock(&self, ptr: GuestPtr) -> bool {
        let ranges = self.ranges.read().unwrap_or_else(PoisonError::into_inner);
        let Some((&first, range)) = ranges.range(..=ptr.offset()).next_back() else {
            return false;
        };
        let distance = ptr.offset() - first;
        distance.is_multiple_of(range.stride) && distance / range.stride < range.count
    }

    /// Says that `count` locks stand `stride` bytes apart from `first` on.
    pub(crate) fn add(&self, first: GuestPtr, stride: u32, count: u32) {
        let mut ranges = self.ranges.write().unwrap_or_else(PoisonError::into_inner);
        ranges.insert(first.offset(), LockRange { stride, count });
    }

    /// Forgets the locks from `first` on.
    pub(crate) fn remove(&self, first: GuestPtr) {
        self.ranges.write().unwrap_or_else(PoisonError::into_inner).remove(&first.offset());
    }

    /// Takes the lock at `ptr`. While it is held by somebody else, `give_up` is asked
    /// from time to time; `false` when it said so.
    #[must_use]
    pub fn acquire(&self, ptr: GuestPtr, give_up: impl FnMut() -> bool) -> bool {
        self.cell(ptr).lock_or(give_up)
    }

    /// Releases the lock at `ptr`, which the caller has taken.
    pub fn release(&self, ptr: GuestPtr) {
        self.cell(ptr).unlock();
    }

    fn cell(&self, ptr: GuestPtr) -> &SpinLock {
        // Fibonacci hashing spreads neighbouring values over the cells.
        let hash = ptr.offset().wrapping_mul(0x9e37_79b9) >> (32 - CELLS.ilog2());
        &self.cells[hash as usize]
    }
}

/// A spin lock over one word, which may stand in shared memory.
#[derive(Debug, Default)]
pub(crate) struct SpinLock(AtomicU32);

impl SpinLock {
    fn lock_or(&self, give_up: impl FnMut() -> bool) -> bool {
        lock_word(&self.0, give_up)
    }

    fn unlock(&self) {
        self.0.store(0, Ordering::Release);
    }
}

fn lock_word(word: &AtomicU32, mut give_up: impl FnMut() -> bool) -> bool {
    let mut tries = 0u32;
    while word.compare_exchange_weak(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
        tries += 1;
        if tries.is_multiple_of(64) {
            if give_up() {
                return false;
            }
            thread::yield_now();
        } else {
            hint::spin_loop();
        }
    }
    true
}

/// A taken lock word; released when dropped.
#[derive(Debug)]
pub(crate) struct WordGuard<'a>(&'a AtomicU32);

impl<'a> WordGuard<'a> {
    /// Takes the lock in `word`, waiting for the holder, who never waits himself.
    #[inline]
    pub(crate) fn take(word: &'a AtomicU32) -> Self {
        let taken = lock_word(word, || false);
        debug_assert!(taken, "nobody gives up");
        Self(word)
    }
}

impl Drop for WordGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}
