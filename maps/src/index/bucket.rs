//! The writers of the chained index: a locked bucket, and the changes of its chain.
//!
//! Each change becomes visible by one store, and each ends the lock. Elements that leave
//! the chain get an odd generation, once no reader can come upon them anew; only then may
//! the caller give their ids back.

use super::chain::{Index, LOOK_UP, cell, high, low};
use super::hash::Key;
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence, pause};

/// A chain that nobody else changes, as its group is locked. Dropping it unchanged unlocks
/// it.
#[derive(Debug)]
pub(crate) struct Bucket<'c> {
    index: &'c Index,
    head: &'c AtomicU32,
    count: &'c AtomicU32,
    /// What the count was before the group was locked.
    before: u32,
    /// Whether a change has unlocked it.
    unlocked: bool,
}

impl Index {
    /// Locks the chain of a key for a change; `None` when whoever has it locked does not let
    /// it go. The caller holds no other one.
    #[inline(always)]
    pub(crate) fn lock(&self, key: &Key<'_>) -> Option<Bucket<'_>> {
        self.lock_hash(key.hash())
    }

    /// The same for the chain of keys with a hash.
    #[inline(always)]
    pub(crate) fn lock_hash(&self, hash: u32) -> Option<Bucket<'_>> {
        let (group, chain) = self.chain(hash);
        let (count, head) = (&group[0], &group[chain]);
        let before = try_lock(count).or_else(|| self.wait(count))?;
        // Readers must see the lock before anything that is done under it.
        fence(Ordering::Release);
        Some(Bucket { index: self, head, count, before, unlocked: false })
    }

    #[cold]
    fn wait(&self, count: &AtomicU32) -> Option<u32> {
        let mut tries = 0u32;
        loop {
            if let Some(before) = try_lock(count) {
                return Some(before);
            }
            if !self.patience.lasts(tries) {
                return None;
            }
            pause(tries);
            tries = tries.wrapping_add(1);
        }
    }
}

/// Locks a group that is not locked; gives what its count was before.
#[inline(always)]
fn try_lock(count: &AtomicU32) -> Option<u32> {
    let before = count.load(Ordering::Relaxed);
    let (locked, taken, failed) = (before | 1, Ordering::Acquire, Ordering::Relaxed);
    let is_free = before.is_multiple_of(2);
    (is_free && count.compare_exchange_weak(before, locked, taken, failed).is_ok())
        .then_some(before)
}

/// Where in the chain of a locked bucket an element is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) id: u32,
    /// The element before it, as id + 1; 0 for none.
    before: u32,
    /// What the element's link is.
    link: u32,
}

impl Bucket<'_> {
    /// Finds the element that has a key of this bucket.
    #[inline(always)]
    pub(crate) fn find(&self, key: &Key<'_>) -> Option<Place> {
        let index = self.index;
        let found = |_, record: &[AtomicU64]| key.stands_in(record);
        match index.key_words {
            1 => self.position(|id| index.short_record(id), found),
            2 => self.position(|id| index.medium_record(id), found),
            _ => self.position(|id| index.linked(id), found),
        }
    }

    /// Finds an element by its id.
    pub(crate) fn find_id(&self, id: u32) -> Option<Place> {
        self.position(|id| self.index.linked(id), |own, _| own == id)
    }

    /// Puts an element that was free, and whose value is written, at the head of the
    /// chain.
    #[inline(always)]
    pub(crate) fn insert(mut self, id: u32, key: &Key<'_>) {
        self.fill(id, key, self.head.load(Ordering::Relaxed));
        self.head.store(id + 1, Ordering::Release);
        self.unlock();
    }

    /// Puts an element that was free, and whose value is written, where `old` is, with
    /// the same key. `old` is free afterwards.
    #[inline(always)]
    pub(crate) fn replace(mut self, old: Place, new: u32, key: &Key<'_>) {
        self.fill(new, key, old.link);
        self.bypass(old, new + 1);
        self.retire(old.id);
        self.unlock();
    }

    /// Takes an element out of the chain. It is free afterwards.
    #[inline(always)]
    pub(crate) fn remove(mut self, place: Place) {
        self.bypass(place, place.link);
        self.retire(place.id);
        self.unlock();
    }

    #[inline(always)]
    fn position<'r>(
        &self,
        record: impl Fn(u32) -> Option<&'r [AtomicU64]>,
        is_it: impl Fn(u32, &[AtomicU64]) -> bool,
    ) -> Option<Place> {
        let (mut before, mut link) = (0, self.head.load(Ordering::Relaxed));
        let mut steps = 0u32;
        while let Some(id) = link.checked_sub(1)
            && let Some(record) = record(id)
        {
            let next = low(record[0].load(Ordering::Relaxed));
            if is_it(id, record) {
                return Some(Place { id, before, link: next });
            }
            (before, link) = (link, next);
            // There are no more elements in a chain than there are, unless it was made a ring.
            steps = steps.wrapping_add(1);
            if steps.is_multiple_of(LOOK_UP) && steps > self.index.elements() {
                break;
            }
        }
        None
    }

    /// Writes a free element's key and link; from then on its generation is even.
    #[inline(always)]
    fn fill(&self, id: u32, key: &Key<'_>, link: u32) {
        let record = self.index.record(id);
        key.write_to(record);
        // Odd, or 0 for an element that never was in a chain.
        let generation = (high(record[0].load(Ordering::Relaxed)) | 1).wrapping_add(1);
        record[0].store(cell(generation, link), Ordering::Release);
    }

    /// Makes what leads to an element lead to `link`, by one store.
    #[inline(always)]
    fn bypass(&self, place: Place, link: u32) {
        let Some(before) = place.before.checked_sub(1) else {
            self.head.store(link, Ordering::Release);
            return;
        };
        let first = &self.index.record(before)[0];
        first.store(cell(high(first.load(Ordering::Relaxed)), link), Ordering::Release);
    }

    /// Marks an element that has left the chain.
    #[inline(always)]
    fn retire(&self, id: u32) {
        let first = &self.index.record(id)[0];
        let now = first.load(Ordering::Relaxed);
        first.store(cell(high(now).wrapping_add(1), low(now)), Ordering::Release);
    }

    #[inline(always)]
    fn unlock(&mut self) {
        self.count.store(self.before.wrapping_add(2), Ordering::Release);
        self.unlocked = true;
    }
}

impl Drop for Bucket<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.unlocked {
            self.count.store(self.before, Ordering::Release);
        }
    }
}
