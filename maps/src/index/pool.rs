//! Which element ids are free.

use crate::patience::Patience;
use crate::segment::{Cells32, Cells64, Parts};
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence, pause, thread_number};

/// The free ids of a map, in its segment. All methods may be called from any thread.
///
/// Ids are split into shards, each on a cache line of its own: a lock-free stack of ids
/// that were given back, last in, first out, and a share of those that were never used.
/// A thread begins with its own shard, so that threads stay out of each other's way, also
/// in the memory that belongs to the ids; it takes from the others when its own is empty.
///
/// Besides, there are **spares**: ids in excess of the map's capacity, for replacements,
/// which put a new element in before the old one goes, also when the map is full.
#[derive(Debug)]
pub(crate) struct Pool {
    /// For each shard, the top of its stack, and how many ids of its share were ever used:
    /// from the lowest on in the lower half, from the highest in the upper half.
    shards: Cells64,
    /// For each id that is on a stack, the id + 1 of the one below.
    links: Cells32,
    /// The spares, as id + 1; 0 where one is in use.
    spares: Cells32,
    /// The number of shards less one; a power of two less one.
    shard_mask: usize,
    spare_count: usize,
    /// Spares from the first on that belong to the thread with the same number.
    owned: usize,
    capacity: u32,
    patience: Patience,
}

/// Cells of a shard.
const TOP: usize = 0;
const USED: usize = 1;

/// Cells between two shards, or two spares: a cache line.
const LINE64: usize = 8;
const LINE32: usize = 16;

/// More shards help nobody.
const MOST_SHARDS: u32 = 16;

impl Pool {
    /// A pool of the ids `0..capacity` and `spares` more, for about `threads` threads. Some
    /// of the first threads of a process have spares of their own, unless other processes
    /// use the pool too.
    pub(crate) fn new(
        parts: &mut Parts<'_>,
        capacity: u32,
        spares: u32,
        threads: u32,
        is_shared: bool,
    ) -> Self {
        // Twice as many as threads, whose numbers may not be the lowest ones.
        let shards = threads.saturating_mul(2).clamp(1, MOST_SHARDS).next_power_of_two() as usize;
        let spare_count = spares as usize;
        Self {
            shards: parts.cells64((shards * LINE64) as u64),
            links: parts.cells32(u64::from(capacity) + u64::from(spares)),
            spares: parts.cells32((spare_count * LINE32) as u64),
            shard_mask: shards - 1,
            spare_count,
            owned: if is_shared { 0 } else { spare_count / 2 },
            capacity,
            patience: parts.patience(),
        }
    }

    /// Makes all ids free, in new cells.
    pub(crate) fn fill(&self) {
        for (slot, id) in (self.capacity..).take(self.spare_count).enumerate() {
            self.spare(slot).store(id + 1, Ordering::Relaxed);
        }
    }

    /// Takes a free id; `None` when all are taken.
    #[inline(always)]
    pub(crate) fn take(&self) -> Option<u32> {
        let own = thread_number() & self.shard_mask;
        let taken = self.pop(own).or_else(|| self.take_elsewhere(own));
        // Whatever the new owner writes comes after the old one's last word.
        fence(Ordering::Release);
        taken
    }

    /// Takes an id that was never used, or from another shard.
    #[cold]
    fn take_elsewhere(&self, own: usize) -> Option<u32> {
        self.take_unused(own, Side::Own).or_else(|| {
            let mut others = (1..=self.shard_mask).map(|n| (own + n) & self.shard_mask);
            others
                .find_map(|shard| self.pop(shard).or_else(|| self.take_unused(shard, Side::Other)))
        })
    }

    /// Gives an id back.
    #[inline(always)]
    pub(crate) fn give(&self, id: u32) {
        let top = self.cell(thread_number() & self.shard_mask, TOP);
        let mut old = top.load(Ordering::Relaxed);
        loop {
            self.links[id as usize].store(low(old), Ordering::Relaxed);
            let new = changed(old) | u64::from(id + 1);
            match top.compare_exchange_weak(old, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => old = now,
            }
        }
    }

    /// Takes a spare; waits while more threads replace than there are spares. `None` when
    /// none of them comes back.
    #[inline(always)]
    pub(crate) fn take_spare(&self) -> Option<Spare> {
        let own = thread_number();
        if own < self.owned {
            // Nobody else touches this slot: no atomic exchange is needed.
            let held = self.spare(own);
            if let Some(id) = held.load(Ordering::Relaxed).checked_sub(1) {
                held.store(0, Ordering::Relaxed);
                fence(Ordering::Release);
                return Some(Spare { id, slot: narrow(own) });
            }
        }
        self.take_common_spare()
    }

    /// The same of those that belong to nobody.
    #[cold]
    fn take_common_spare(&self) -> Option<Spare> {
        let mut slot = self.owned;
        for tries in 0.. {
            let held = self.spare(slot);
            if held.load(Ordering::Relaxed) != 0 {
                let id = held.swap(0, Ordering::Acquire);
                if let Some(id) = id.checked_sub(1).filter(|&id| self.has(id)) {
                    fence(Ordering::Release);
                    return Some(Spare { id, slot: narrow(slot) });
                }
            }
            if !self.patience.lasts(tries) {
                break;
            }
            slot = if slot + 1 < self.spare_count { slot + 1 } else { self.owned };
            pause(tries);
        }
        None
    }

    /// Puts a spare back, or in its place the id that it replaced.
    ///
    /// Which ids are spares does not matter, only how many.
    #[inline]
    pub(crate) fn put_spare(&self, spare: Spare, id: u32) {
        self.spare(spare.slot as usize).store(id + 1, Ordering::Release);
    }

    #[inline(always)]
    fn pop(&self, shard: usize) -> Option<u32> {
        let top = self.cell(shard, TOP);
        let mut old = top.load(Ordering::Acquire);
        // A top that is no id ends the stack.
        while let Some(id) = low(old).checked_sub(1)
            && let Some(link) = self.links.get(id as usize)
        {
            let below = link.load(Ordering::Relaxed);
            let new = changed(old) | u64::from(below);
            match top.compare_exchange_weak(old, new, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return Some(id),
                Err(now) => old = now,
            }
        }
        None
    }

    /// Takes an id that was never used from a shard's share of them: its own threads take
    /// the lowest, the others the highest, so that their memory is apart.
    fn take_unused(&self, shard: usize, side: Side) -> Option<u32> {
        let before = |shards: usize| {
            let ids = u64::from(self.capacity) * shards as u64 / (self.shard_mask as u64 + 1);
            low(ids)
        };
        let (start, end) = (before(shard), before(shard + 1));
        let cell = self.cell(shard, USED);
        let mut used = cell.load(Ordering::Relaxed);
        loop {
            let (from_start, from_end) = (low(used), low(used >> 32));
            if from_start.saturating_add(from_end) >= end - start {
                return None;
            }
            let share = end - start;
            let (place, step) = match side {
                Side::Own => (from_start, 1),
                Side::Other => (share - 1 - from_end, 1 << 32),
            };
            let id = start + scatter(place, share);
            let order = Ordering::Relaxed;
            match cell.compare_exchange_weak(used, used + step, order, order) {
                Ok(_) => return Some(id),
                Err(now) => used = now,
            }
        }
    }

    /// Whether there is such an id.
    fn has(&self, id: u32) -> bool {
        (id as usize) < self.links.len()
    }

    /// A cell of a shard. The top is an id + 1, 0 when the stack is empty; above it stands a
    /// count of changes, so that a top that went and came back is not taken for the old one.
    fn cell(&self, shard: usize, cell: usize) -> &AtomicU64 {
        &self.shards[shard * LINE64 + cell]
    }

    fn spare(&self, slot: usize) -> &AtomicU32 {
        &self.spares[slot * LINE32]
    }
}

/// The ids of a share in the order in which they are taken: neighbours in time are not
/// neighbours in memory, so that two threads that take one each do not share a cache line.
fn scatter(place: u32, share: u32) -> u32 {
    const APART: u32 = 16;
    const BLOCK: u32 = APART * APART;
    let rest = share % BLOCK;
    let Some(place) = place.checked_sub(rest) else { return place };
    let (block, row, column) = (place / BLOCK, place / APART % APART, place % APART);
    rest + block * BLOCK + column * APART + row
}

/// Who takes an id.
#[derive(Debug, Clone, Copy)]
enum Side {
    /// A thread of the shard.
    Own,
    /// Another thread, whose own shard has none.
    Other,
}

/// A spare that is in use, and where it belongs.
#[derive(Debug)]
pub(crate) struct Spare {
    pub(crate) id: u32,
    slot: u32,
}

/// The number of a spare's slot; there are few.
#[expect(clippy::cast_possible_truncation, reason = "there are few slots")]
fn narrow(slot: usize) -> u32 {
    slot as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
fn low(top: u64) -> u32 {
    top as u32
}

/// The upper half of the next value of a top.
fn changed(top: u64) -> u64 {
    ((top >> 32).wrapping_add(1)) << 32
}
