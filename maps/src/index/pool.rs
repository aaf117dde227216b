//! Which element ids are free.

use crate::segment::{Cells32, Cells64, Layout, Segment};
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence, pause, shard};

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
    capacity: u32,
}

/// Cells between two tops, or two spares: a cache line.
const LINE64: usize = 8;
const LINE32: usize = 16;

/// More stacks help nobody.
const MOST_SHARDS: u32 = 8;

impl Pool {
    /// Plans a pool of the ids `0..capacity` and `spares` more, for about `threads`
    /// threads.
    pub(crate) fn plan(layout: &mut Layout, capacity: u32, spares: u32, threads: u32) -> Self {
        let shards = threads.clamp(1, MOST_SHARDS) as usize;
        let spare_count = spares as usize;
        Self {
            tops: layout.cells64(((shards + 1) * LINE64) as u64),
            links: layout.cells32(u64::from(capacity) + u64::from(spares)),
            spares: layout.cells32((spare_count * LINE32) as u64),
            shards,
            spare_count,
            capacity,
        }
    }

    /// Makes all ids of a new segment free.
    pub(crate) fn fill(&self, segment: &Segment) {
        for (slot, id) in (self.capacity..).take(self.spare_count).enumerate() {
            self.spare(segment, slot).store(id + 1, Ordering::Relaxed);
        }
    }

    /// Takes a free id; `None` when all are taken.
    #[inline]
    pub(crate) fn take(&self, segment: &Segment) -> Option<u32> {
        let own = shard() % self.shards;
        let taken = self
            .pop(segment, own)
            .or_else(|| self.take_unused(segment))
            .or_else(|| (1..self.shards).find_map(|n| self.pop(segment, (own + n) % self.shards)));
        // Whatever the new owner writes comes after the old one's last word.
        fence(Ordering::Release);
        taken
    }

    /// Gives an id back.
    #[inline]
    pub(crate) fn give(&self, segment: &Segment, id: u32) {
        let top = self.top(segment, shard() % self.shards);
        let links = segment.cells32(self.links);
        let mut old = top.load(Ordering::Relaxed);
        loop {
            links[id as usize].store(low(old), Ordering::Relaxed);
            let new = changed(old) | u64::from(id + 1);
            match top.compare_exchange_weak(old, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => old = now,
            }
        }
    }

    /// Takes a spare; waits while more threads replace than there are spares.
    #[inline]
    pub(crate) fn take_spare(&self, segment: &Segment) -> Spare {
        let mut slot = shard() % self.spare_count;
        for tries in 0.. {
            let held = self.spare(segment, slot);
            if held.load(Ordering::Relaxed) != 0 {
                let id = held.swap(0, Ordering::Acquire);
                if let Some(id) = id.checked_sub(1) {
                    fence(Ordering::Release);
                    return Spare { id, slot };
                }
            }
            slot = (slot + 1) % self.spare_count;
            pause(tries);
        }
        unreachable!("a loop without an end")
    }

    /// Puts a spare back, or in its place the id that it replaced.
    ///
    /// Which ids are spares does not matter, only how many.
    #[inline]
    pub(crate) fn put_spare(&self, segment: &Segment, spare: Spare, id: u32) {
        self.spare(segment, spare.slot).store(id + 1, Ordering::Release);
    }

    fn pop(&self, segment: &Segment, stack: usize) -> Option<u32> {
        let top = self.top(segment, stack);
        let links = segment.cells32(self.links);
        let mut old = top.load(Ordering::Acquire);
        while let Some(id) = low(old).checked_sub(1) {
            let below = links[id as usize].load(Ordering::Relaxed);
            let new = changed(old) | u64::from(below);
            match top.compare_exchange_weak(old, new, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return Some(id),
                Err(now) => old = now,
            }
        }
        None
    }

    fn take_unused(&self, segment: &Segment) -> Option<u32> {
        let unused = self.top(segment, self.shards);
        let mut next = unused.load(Ordering::Relaxed);
        while next < u64::from(self.capacity) {
            match unused.compare_exchange_weak(next, next + 1, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Some(low(next)),
                Err(now) => next = now,
            }
        }
        None
    }

    /// A stack's top: an id + 1, 0 when it is empty; above it a count of changes, so that
    /// a top that went and came back is not taken for the old one.
    fn top<'s>(&self, segment: &'s Segment, stack: usize) -> &'s AtomicU64 {
        &segment.cells64(self.tops)[stack * LINE64]
    }

    fn spare<'s>(&self, segment: &'s Segment, slot: usize) -> &'s AtomicU32 {
        &segment.cells32(self.spares)[slot * LINE32]
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

    fn pool(capacity: u32, spares: u32) -> (Pool, Segment) {
        let mut layout = Layout::default();
        let pool = Pool::plan(&mut layout, capacity, spares, 4);
        let segment = Segment::new(&layout, "t", None).expect("small");
        pool.fill(&segment);
        (pool, segment)
    }

    #[test]
    fn every_id_is_taken_once_and_freed_ids_come_first() {
        let (pool, segment) = pool(3, 1);
        let all: Vec<u32> = (0..3).filter_map(|_| pool.take(&segment)).collect();
        assert_eq!(all, [0, 1, 2]);
        assert_eq!(pool.take(&segment), None);
        pool.give(&segment, 2);
        pool.give(&segment, 1);
        assert_eq!(pool.take(&segment), Some(1));
        assert_eq!(pool.take(&segment), Some(2));
        assert_eq!(pool.take(&segment), None);
    }

    #[test]
    fn a_replaced_id_is_the_next_spare() {
        let (pool, segment) = pool(3, 1);
        let spare = pool.take_spare(&segment);
        assert_eq!(spare.id, 3);
        pool.put_spare(&segment, spare, 0);
        assert_eq!(pool.take_spare(&segment).id, 0);
    }

    #[test]
    fn threads_never_share_an_id_and_none_is_lost() {
        let (pool, segment) = pool(8, 2);
        let owners: Vec<AtomicU32> = (0..10).map(|_| AtomicU32::new(0)).collect();
        std::thread::scope(|scope| {
            for thread in 1..=4 {
                let (owners, pool, segment) = (&owners, &pool, &segment);
                let own = move |id: u32| {
                    let before = owners[id as usize].swap(thread, Ordering::Relaxed);
                    assert_eq!(before, 0, "id {id} has two owners");
                    owners[id as usize].store(0, Ordering::Relaxed);
                };
                scope.spawn(move || {
                    for _ in 0..20_000 {
                        let spare = pool.take_spare(segment);
                        own(spare.id);
                        let id = spare.id;
                        pool.put_spare(segment, spare, id);
                        if let Some(id) = pool.take(segment) {
                            own(id);
                            pool.give(segment, id);
                        }
                    }
                });
            }
        });
        let rest = std::iter::from_fn(|| pool.take(&segment)).count();
        assert_eq!(rest, 8, "no id was lost");
    }
}
