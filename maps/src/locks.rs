//! Spin locks: the `bpf_spin_lock`s in map values.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use skep_memory::GuestPtr;

use crate::sync::AtomicU32;
use crate::word_lock;

/// The spin locks that stand in map values.
///
/// The lock's state is here, in host memory, found by the guest address of the lock;
/// the bytes in the value stay zero, so that nothing a program writes can wedge the
/// host. Two locks may share a cell: their holders then wait for each other, which no
/// one can tell from a busy lock, since nobody may hold two.
#[derive(Debug)]
pub struct LockTable {
    cells: Box<[AtomicU32]>,
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
        let cells = (0..CELLS).map(|_| AtomicU32::new(0)).collect();
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
        word_lock::lock(self.cell(ptr), give_up)
    }

    /// Releases the lock at `ptr`, which the caller has taken.
    pub fn release(&self, ptr: GuestPtr) {
        word_lock::unlock(self.cell(ptr));
    }

    fn cell(&self, ptr: GuestPtr) -> &AtomicU32 {
        // Fibonacci hashing spreads neighbouring values over the cells.
        let hash = ptr.offset().wrapping_mul(0x9e37_79b9) >> (32 - CELLS.ilog2());
        &self.cells[hash as usize]
    }
}
