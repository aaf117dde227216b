//! Which element ids are free.

use crate::segment::{Cells32, Cells64, Parts};
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence, pause, thread_number};

/// The free ids of a map, in its segment. All methods may be called from any thread.
///
/// Ids that were given back lie on lock-free stacks, last in, first out; behind them are
/// the ids that were never used. There are several stacks, each on a cache line of its
/// own, and a thread begins with its own one, so that threads stay out of each other's
/// way; it takes from the others' when its own is empty.
///
/// Besides, there are **spares**: ids in excess of the map's capacity, for replacements,
/// which put a new element in before the old one goes, also when the map is full.
#[derive(Debug)]
pub(crate) struct Pool {
    /// The top of each stack, and at the end the first id that was never used.
    tops: Cells64,
    /// For each id that is on a stack, the id + 1 of the one below.
    links: Cells32,
    /// The spares, as id + 1; 0 where one is in use.
    spares: Cells32,
    shards: usize,
    spare_count: usize,
    /// Spares from the first on that belong to the thread with the same number.
    owned: usize,
    capacity: u32,
}

/// Cells between two tops, or two spares: a cache line.
const LINE64: usize = 8;
const LINE32: usize = 16;

/// So many ids that were never used go to a thread at a time.
const BLOCK: u32 = 16;

/// More stacks help nobody.
const MOST_SHARDS: u32 = 8;

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
        let shards = threads.clamp(1, MOST_SHARDS).next_power_of_two() as usize;
        let spare_count = spares as usize;
        Self {
            tops: parts.cells64(((shards + 1) * LINE64) as u64),
            links: parts.cells32(u64::from(capacity) + u64::from(spares)),
            spares: parts.cells32((spare_count * LINE32) as u64),
            shards,
            spare_count,
            owned: if is_shared { 0 } else { spare_count / 2 },
            capacity,
        }
    }

    /// Makes all ids free, in new cells.
    pub(crate) fn fill(&self) {
        for (slot, id) in (self.capacity..).take(self.spare_count).enumerate() {
            self.spare(slot).store(id + 1, Ordering::Relaxed);
        }
    }

    /// Takes a free id; `None` when all are taken.
    #[inline]
    pub(crate) fn take(&self) -> Option<u32> {
        let own = thread_number() & (self.shards - 1);
        let taken = self
            .pop(own)
            .or_else(|| self.take_unused(own))
            .or_else(|| (1..self.shards).find_map(|n| self.pop((own + n) & (self.shards - 1))));
        // Whatever the new owner writes comes after the old one's last word.
        fence(Ordering::Release);
        taken
    }

    /// Gives an id back.
    #[inline]
    pub(crate) fn give(&self, id: u32) {
        self.push(thread_number() & (self.shards - 1), id, id);
    }

    /// Puts ids that are linked from `first` to `last` on a stack.
    #[inline]
    fn push(&self, stack: usize, first: u32, last: u32) {
        let top = self.top(stack);
        let mut old = top.load(Ordering::Relaxed);
        loop {
            self.links[last as usize].store(low(old), Ordering::Relaxed);
            let new = changed(old) | u64::from(first + 1);
            match top.compare_exchange_weak(old, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => old = now,
            }
        }
    }

    /// Takes a spare; waits while more threads replace than there are spares.
    #[inline]
    pub(crate) fn take_spare(&self) -> Spare {
        let own = thread_number();
        if own < self.owned {
            // Nobody else touches this slot: no atomic exchange is needed.
            let held = self.spare(own);
            if let Some(id) = held.load(Ordering::Relaxed).checked_sub(1) {
                held.store(0, Ordering::Relaxed);
                fence(Ordering::Release);
                return Spare { id, slot: own };
            }
        }
        let mut slot = self.owned;
        for tries in 0.. {
            let held = self.spare(slot);
            if held.load(Ordering::Relaxed) != 0 {
                let id = held.swap(0, Ordering::Acquire);
                if let Some(id) = id.checked_sub(1) {
                    fence(Ordering::Release);
                    return Spare { id, slot };
                }
            }
            slot = if slot + 1 < self.spare_count { slot + 1 } else { self.owned };
            pause(tries);
        }
        unreachable!("a loop without an end")
    }

    /// Puts a spare back, or in its place the id that it replaced.
    ///
    /// Which ids are spares does not matter, only how many.
    #[inline]
    pub(crate) fn put_spare(&self, spare: Spare, id: u32) {
        self.spare(spare.slot).store(id + 1, Ordering::Release);
    }

    fn pop(&self, stack: usize) -> Option<u32> {
        let top = self.top(stack);
        let mut old = top.load(Ordering::Acquire);
        while let Some(id) = low(old).checked_sub(1) {
            let below = self.links[id as usize].load(Ordering::Relaxed);
            let new = changed(old) | u64::from(below);
            match top.compare_exchange_weak(old, new, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return Some(id),
                Err(now) => old = now,
            }
        }
        None
    }

    /// Takes ids that were never used: one for the caller, more for the stack of its thread,
    /// so that neighbours in memory belong to one thread.
    fn take_unused(&self, stack: usize) -> Option<u32> {
        let unused = self.top(self.shards);
        let mut next = unused.load(Ordering::Relaxed);
        let (first, end) = loop {
            let first = u32::try_from(next).expect("at most the capacity");
            let end = self.capacity.min(first.saturating_add(BLOCK) / BLOCK * BLOCK);
            if first >= self.capacity {
                return None;
            }
            let order = Ordering::Relaxed;
            match unused.compare_exchange_weak(next, u64::from(end), order, order) {
                Ok(_) => break (first, end),
                Err(now) => next = now,
            }
        };
        for id in first + 1..end - 1 {
            self.links[id as usize].store(id + 2, Ordering::Relaxed);
        }
        if first + 1 < end {
            self.push(stack, first + 1, end - 1);
        }
        Some(first)
    }

    /// A stack's top: an id + 1, 0 when it is empty; above it a count of changes, so that
    /// a top that went and came back is not taken for the old one.
    fn top(&self, stack: usize) -> &AtomicU64 {
        &self.tops[stack * LINE64]
    }

    fn spare(&self, slot: usize) -> &AtomicU32 {
        &self.spares[slot * LINE32]
    }
}

/// A spare that is in use, and where it belongs.
#[derive(Debug)]
pub(crate) struct Spare {
    pub(crate) id: u32,
    slot: usize,
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
fn low(top: u64) -> u32 {
    top as u32
}

/// The upper half of the next value of a top.
fn changed(top: u64) -> u64 {
    ((top >> 32).wrapping_add(1)) << 32
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::home::Home;
    use crate::segment::build;

    fn pool(capacity: u32, spares: u32) -> Pool {
        let pool =
            build(&Home::private(), "t", |parts| Pool::new(parts, capacity, spares, 4, true));
        let pool = pool.expect("small");
        pool.fill();
        pool
    }

    #[test]
    fn every_id_is_taken_once_and_freed_ids_come_first() {
        let pool = pool(3, 1);
        let all: Vec<u32> = (0..3).filter_map(|_| pool.take()).collect();
        assert_eq!(all, [0, 1, 2]);
        assert_eq!(pool.take(), None);
        pool.give(2);
        pool.give(1);
        assert_eq!(pool.take(), Some(1));
        assert_eq!(pool.take(), Some(2));
        assert_eq!(pool.take(), None);
    }

    #[test]
    fn a_replaced_id_is_the_next_spare() {
        let pool = pool(3, 1);
        let spare = pool.take_spare();
        assert_eq!(spare.id, 3);
        pool.put_spare(spare, 0);
        assert_eq!(pool.take_spare().id, 0);
    }

    #[test]
    fn threads_never_share_an_id_and_none_is_lost() {
        let pool = pool(8, 2);
        let owners: Vec<AtomicU32> = (0..10).map(|_| AtomicU32::new(0)).collect();
        std::thread::scope(|scope| {
            for thread in 1..=4 {
                let (owners, pool) = (&owners, &pool);
                let own = move |id: u32| {
                    let before = owners[id as usize].swap(thread, Ordering::Relaxed);
                    assert_eq!(before, 0, "id {id} has two owners");
                    owners[id as usize].store(0, Ordering::Relaxed);
                };
                scope.spawn(move || {
                    for _ in 0..20_000 {
                        let spare = pool.take_spare();
                        own(spare.id);
                        let id = spare.id;
                        pool.put_spare(spare, id);
                        if let Some(id) = pool.take() {
                            own(id);
                            pool.give(id);
                        }
                    }
                });
            }
        });
        let rest = std::iter::from_fn(|| pool.take()).count();
        assert_eq!(rest, 8, "no id was lost");
    }
}
