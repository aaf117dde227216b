//! The writers of the chained index: a locked bucket, and the changes of its chain.
//!
//! Each change becomes visible by one store, and each ends the lock. Elements that leave
//! the chain get an odd generation, once no reader can come upon them anew; only then may
//! the caller give their ids back.

use super::chain::{Index, LOOK_UP, cell, high, low};
use super::hash::Key;
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence, pause};

/// A bucket whose chain nobody else changes. Dropping it unchanged unlocks it.
#[derive(Debug)]
pub(crate) struct Bucket<'c> {
    index: &'c Index,
    head: &'c AtomicU32,
    stripe: &'c AtomicU64,
    /// What the stripe was before it was locked.
    before: u64,
    /// Whether a change has unlocked it.
    unlocked: bool,
}

impl Index {
    /// Locks the bucket of a key for a change; `None` when whoever has it locked does not
    /// let it go.
    #[inline]
    pub(crate) fn lock(&self, key: &Key<'_>) -> Option<Bucket<'_>> {
        self.lock_bucket(self.bucket_of(key))
    }

    /// The same for a bucket. The caller holds no other one.
    #[inline]
    pub(crate) fn lock_bucket(&self, bucket: u32) -> Option<Bucket<'_>> {
        let (head, stripe) = (self.head(bucket), self.stripe(bucket));
        let before = try_lock(stripe).or_else(|| self.wait(stripe))?;
        // Readers must see the lock before anything that is done under it.
        fence(Ordering::Release);
        Some(Bucket { index: self, head, stripe, before, unlocked: false })
    }

    #[cold]
    fn wait(&self, stripe: &AtomicU64) -> Option<u64> {
        let mut tries = 0u32;
        loop {
            if let Some(before) = try_lock(stripe) {
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

/// Locks a stripe that is not locked; gives what it was before.
#[inline]
fn try_lock(stripe: &AtomicU64) -> Option<u64> {
    let before = stripe.load(Ordering::Relaxed);
    let (locked, taken, failed) = (before | 1, Ordering::Acquire, Ordering::Relaxed);
    let is_free = before.is_multiple_of(2);
    (is_free && stripe.compare_exchange_weak(before, locked, taken, failed).is_ok())
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
    #[inline]
    pub(crate) fn find(&self, key: &Key<'_>) -> Option<Place> {
        self.position(|_, record| key.stands_in(record))
    }

    /// Finds an element by its id.
    pub(crate) fn find_id(&self, id: u32) -> Option<Place> {
        self.position(|own, _| own == id)
    }

    /// Puts an element that was free, and whose value is written, at the head of the
    /// chain.
    #[inline]
    pub(crate) fn insert(mut self, id: u32, key: &Key<'_>) {
        self.fill(id, key, self.head.load(Ordering::Relaxed));
        self.head.store(id + 1, Ordering::Release);
        self.unlock();
    }

    /// Puts an element that was free, and whose value is written, where `old` is, with
    /// the same key. `old` is free afterwards.
    #[inline]
    pub(crate) fn replace(mut self, old: Place, new: u32, key: &Key<'_>) {
        self.fill(new, key, old.link);
        self.bypass(old, new + 1);
        self.retire(old.id);
        self.unlock();
    }

    /// Takes an element out of the chain. It is free afterwards.
    #[inline]
    pub(crate) fn remove(mut self, place: Place) {
        self.bypass(place, place.link);
        self.retire(place.id);
        self.unlock();
    }

    #[inline]
    fn position(&self, is_it: impl Fn(u32, &[AtomicU64]) -> bool) -> Option<Place> {
        let (mut before, mut link) = (0, self.head.load(Ordering::Relaxed));
        let mut steps = 0u32;
        while let Some(id) = link.checked_sub(1)
            && let Some(record) = self.index.linked(id)
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
    #[inline]
    fn fill(&self, id: u32, key: &Key<'_>, link: u32) {
        let record = self.index.record(id);
        key.write_to(record);
        // Odd, or 0 for an element that never was in a chain.
        let generation = (high(record[0].load(Ordering::Relaxed)) | 1).wrapping_add(1);
        record[0].store(cell(generation, link), Ordering::Release);
    }

    /// Makes what leads to an element lead to `link`, by one store.
    #[inline]
    fn bypass(&self, place: Place, link: u32) {
        let Some(before) = place.before.checked_sub(1) else {
            self.head.store(link, Ordering::Release);
            return;
        };
        let first = &self.index.record(before)[0];
        first.store(cell(high(first.load(Ordering::Relaxed)), link), Ordering::Release);
    }

    /// Marks an element that has left the chain.
    #[inline]
    fn retire(&self, id: u32) {
        let first = &self.index.record(id)[0];
        let now = first.load(Ordering::Relaxed);
        first.store(cell(high(now).wrapping_add(1), low(now)), Ordering::Release);
    }

    #[inline]
    fn unlock(&mut self) {
        self.stripe.store(self.before.wrapping_add(2), Ordering::Release);
        self.unlocked = true;
    }
}

impl Drop for Bucket<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.unlocked {
            self.stripe.store(self.before, Ordering::Release);
        }
    }
}
