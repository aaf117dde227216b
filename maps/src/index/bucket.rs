//! The writers of the chained index: a locked bucket, and the changes of its chain.
//!
//! Each change becomes visible by one store, and each ends the lock. Elements that leave
//! the chain get an odd generation once no reader can come upon them anew; only then may
//! the caller give their ids back.

use super::chain::{Chains, cell, has_key, high, low};
use super::hash::Key;
use crate::segment::Segment;
use crate::sync::{AtomicU64, Ordering, fence, pause};

/// A bucket whose chain nobody else changes. Dropping it unchanged unlocks it.
#[derive(Debug)]
pub(crate) struct Bucket<'c> {
    chains: &'c Chains,
    segment: &'c Segment,
    cell: &'c AtomicU64,
    /// What the cell was before it was locked.
    before: u64,
    /// Whether a change has unlocked it.
    unlocked: bool,
}

impl Chains {
    /// Locks the bucket of a key for a change.
    #[inline]
    pub(crate) fn lock<'c>(&'c self, segment: &'c Segment, key: &Key<'_>) -> Bucket<'c> {
        self.lock_bucket(segment, self.bucket_of(key))
    }

    /// Locks a bucket for a change.
    #[inline]
    pub(crate) fn lock_bucket<'c>(&'c self, segment: &'c Segment, index: u32) -> Bucket<'c> {
        let cell = self.bucket(segment, index);
        let mut tries = 0u32;
        loop {
            let before = cell.load(Ordering::Relaxed);
            if high(before) % 2 == 0 {
                let locked = before + (1 << 32);
                let order = (Ordering::Acquire, Ordering::Relaxed);
                if cell.compare_exchange_weak(before, locked, order.0, order.1).is_ok() {
                    // Readers must see the lock before anything that is done under it.
                    fence(Ordering::Release);
                    return Bucket { chains: self, segment, cell, before, unlocked: false };
                }
            }
            pause(tries);
            tries = tries.wrapping_add(1);
        }
    }
}

impl Bucket<'_> {
    /// Finds the element that has a key of this bucket.
    #[inline]
    pub(crate) fn find(&self, key: &Key<'_>) -> Option<u32> {
        self.ids().find(|&id| has_key(self.chains.record(self.segment, id), key))
    }

    /// Whether an element is in this bucket.
    pub(crate) fn holds(&self, id: u32) -> bool {
        self.ids().any(|own| own == id)
    }

    /// Puts an element that was free, and whose value is written, at the head of the
    /// chain.
    #[inline]
    pub(crate) fn insert(mut self, id: u32, key: &Key<'_>) {
        self.fill(id, key, low(self.before));
        self.unlock(id + 1);
    }

    /// Puts an element that was free, and whose value is written, where `old` is, with
    /// the same key. `old` is free afterwards.
    #[inline]
    pub(crate) fn replace(mut self, old: u32, new: u32, key: &Key<'_>) {
        self.fill(new, key, self.link(old));
        let head = self.bypass(old, new + 1);
        self.unlock(head);
        self.retire(old);
    }

    /// Takes an element out of the chain. It is free afterwards.
    #[inline]
    pub(crate) fn remove(mut self, id: u32) {
        let head = self.bypass(id, self.link(id));
        self.unlock(head);
        self.retire(id);
    }

    fn ids(&self) -> impl Iterator<Item = u32> {
        let mut link = low(self.before);
        std::iter::from_fn(move || {
            let id = link.checked_sub(1)?;
            link = self.link(id);
            Some(id)
        })
    }

    #[inline]
    fn link(&self, id: u32) -> u32 {
        low(self.chains.record(self.segment, id)[0].load(Ordering::Relaxed))
    }

    /// Writes a free element's key and link; from then on its generation is even.
    #[inline]
    fn fill(&self, id: u32, key: &Key<'_>, link: u32) {
        let record = self.chains.record(self.segment, id);
        for (to, word) in record[1..].iter().zip(key.words()) {
            to.store(word, Ordering::Relaxed);
        }
        // Odd, or 0 for an element that never was in a chain.
        let generation = (high(record[0].load(Ordering::Relaxed)) | 1).wrapping_add(1);
        record[0].store(cell(generation, link), Ordering::Release);
    }

    /// Makes what leads to an element lead to `link`; the head of the chain is returned,
    /// to be stored when the bucket is unlocked.
    #[inline]
    fn bypass(&self, id: u32, link: u32) -> u32 {
        let head = low(self.before);
        if head == id + 1 {
            return link;
        }
        let before = self.ids().find(|&other| self.link(other) == id + 1);
        let before = before.expect("the element is in the chain");
        let first = &self.chains.record(self.segment, before)[0];
        first.store(cell(high(first.load(Ordering::Relaxed)), link), Ordering::Release);
        head
    }

    /// Marks an element that has left the chain.
    #[inline]
    fn retire(&self, id: u32) {
        let first = &self.chains.record(self.segment, id)[0];
        let now = first.load(Ordering::Relaxed);
        first.store(cell(high(now).wrapping_add(1), low(now)), Ordering::Release);
    }

    #[inline]
    fn unlock(&mut self, head: u32) {
        self.cell.store(cell(high(self.before).wrapping_add(2), head), Ordering::Release);
        self.unlocked = true;
    }
}

impl Drop for Bucket<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.unlocked {
            self.cell.store(self.before, Ordering::Release);
        }
    }
}
