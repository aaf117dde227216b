//! Chained hash index: its layout, and its readers, who take no lock and write nothing.
//!
//! A **bucket** is one cell: the first element of its chain. An **element** is a record of
//! cells: its link to the next one together with its generation, then its key. The
//! generation is odd while the element is free or being filled. Buckets are spread over a
//! few **stripes**; a stripe is a count that is odd while a writer has it locked and
//! different after each change of one of its buckets.
//!
//! Elements are recycled at once, so a reader may stand on one that moves to another
//! place or another chain. It may have been led astray, past its key, or to an element
//! that is filled for its key and not in the chain yet. So what it found, or that it found
//! nothing, counts only if the stripe's count is what it was before the walk; otherwise it
//! walks again. While a writer holds the stripe the count stands still too, and that is
//! right: one change at a time becomes visible by one store, and cannot hide an element
//! that stays (a replacement takes the old one's place, see `bucket.rs`).
//!
//! What is read from an element after the walk, its value, is its own if the generation
//! still is the one that was found (a sequence lock).
//!
//! Everything is addressed by ids and offsets in one host segment, so that it may lie in
//! a file shared by several processes. What they write there is not trusted: a link that
//! leads nowhere ends a chain, and one that leads back ends it when there were more
//! elements than there are.

use super::hash::{Key, hash_of_words};
use crate::patience::Patience;
use crate::segment::{Cells32, Cells64, Parts};
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence, pause};

/// The index of one hash map: which element has which key.
#[derive(Debug)]
pub(crate) struct Index {
    /// For each bucket, the first element's id + 1, or 0.
    heads: Cells32,
    stripes: Cells64,
    records: Cells64,
    /// The number of buckets, less one.
    mask: u32,
    /// The number of stripes, less one.
    stripe_mask: u32,
    elements: u32,
    key_size: usize,
    key_words: usize,
    /// Cells from one record to the next.
    stride: usize,
    pub(super) patience: Patience,
}

/// An element that a reader found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) id: u32,
    /// The element's generation while it had the key.
    pub(crate) generation: u32,
}

/// The most stripes: threads seldom meet on one, and all of them fit into a small cache.
const MOST_STRIPES: u64 = 256;

/// Cells from one stripe to the next: a cache line.
const LINE: usize = 8;

/// So many buckets, as a power of two, are one bucket of the kernel's: most chains then
/// have one element at most.
const SPLIT: u32 = 1;

/// How often a reader looks whether it was led astray, in elements.
pub(super) const LOOK_UP: u32 = 64;

impl Index {
    /// An index for up to `capacity` keys of `key_size` bytes, over `elements` elements.
    pub(crate) fn new(parts: &mut Parts<'_>, capacity: u32, elements: u32, key_size: u32) -> Self {
        let key_size = key_size as usize;
        let key_words = key_size.div_ceil(8);
        // A record of up to four cells does not lie across two cache lines.
        let stride = if key_words == 2 { 4 } else { key_words + 1 };
        let buckets = (u64::from(capacity).next_power_of_two() << SPLIT).min(1 << 31);
        let stripes = buckets.min(MOST_STRIPES);
        let mask = |count: u64| u32::try_from(count - 1).expect("at most 2^31");
        Self {
            heads: parts.cells32(buckets),
            stripes: parts.cells64(stripes * LINE as u64),
            records: parts.cells64(u64::from(elements).saturating_mul(stride as u64)),
            mask: mask(buckets),
            stripe_mask: mask(stripes),
            elements,
            key_size,
            key_words,
            stride,
            patience: parts.patience(),
        }
    }

    /// The number of buckets that user space sees, as many as the kernel has: what stands
    /// in two here is one there.
    pub(crate) fn buckets(&self) -> u32 {
        (self.mask >> SPLIT) + 1
    }

    /// The bucket of a key.
    #[inline]
    pub(crate) fn bucket_of(&self, key: &Key<'_>) -> u32 {
        key.hash() & self.mask
    }

    /// The bucket of the key that an element has or had.
    pub(crate) fn bucket_of_element(&self, id: u32) -> u32 {
        let words = &self.record(id)[1..=self.key_words];
        let words = words.iter().map(|word| word.load(Ordering::Relaxed));
        hash_of_words(self.key_size, words) & self.mask
    }

    /// Finds the element that has a key.
    #[inline]
    pub(crate) fn find(&self, bytes: &[u8]) -> Option<Found> {
        let key = Key::new(bytes);
        // Lengths that are known at compile time make the usual keys cheap.
        match self.key_words {
            1 => self.search(&key, |id| self.records.get(id as usize * 2..id as usize * 2 + 2)),
            2 => self.search(&key, |id| self.records.get(id as usize * 4..id as usize * 4 + 3)),
            _ => self.search(&key, |id| self.linked(id)),
        }
    }

    #[inline(always)]
    fn search<'s>(
        &'s self,
        key: &Key<'_>,
        record: impl Fn(u32) -> Option<&'s [AtomicU64]>,
    ) -> Option<Found> {
        let bucket = self.bucket_of(key);
        let (head, stripe) = (self.head(bucket), self.stripe(bucket));
        let mut tries = 0;
        'again: loop {
            let start = stripe.load(Ordering::Acquire);
            let mut link = head.load(Ordering::Acquire);
            let mut steps = 0u32;
            while let Some(id) = link.checked_sub(1)
                && let Some(record) = record(id)
            {
                let first = record[0].load(Ordering::Acquire);
                if key.stands_in(record) {
                    fence(Ordering::Acquire);
                    let generation = high(first);
                    let after = high(record[0].load(Ordering::Relaxed));
                    let unchanged = stripe.load(Ordering::Relaxed) == start;
                    if unchanged && generation == after && generation.is_multiple_of(2) {
                        return Some(Found { id, generation });
                    }
                    if !self.patience.lasts(tries) {
                        return None;
                    }
                    pause(tries);
                    tries = tries.wrapping_add(1);
                    continue 'again;
                }
                link = low(first);
                steps += 1;
                if steps.is_multiple_of(LOOK_UP)
                    && (stripe.load(Ordering::Relaxed) != start || steps > self.elements)
                {
                    break;
                }
            }
            fence(Ordering::Acquire);
            if stripe.load(Ordering::Relaxed) == start || !self.patience.lasts(tries) {
                return None;
            }
            tries = tries.wrapping_add(1);
        }
    }

    /// Whether the element still is the one that was found. What was read from it before
    /// is then its own.
    #[inline]
    pub(crate) fn still(&self, found: Found) -> bool {
        fence(Ordering::Acquire);
        high(self.record(found.id)[0].load(Ordering::Relaxed)) == found.generation
    }

    /// Copies the key of an element out; `false` when it has gone.
    pub(crate) fn copy_key(&self, found: Found, out: &mut [u8]) -> bool {
        let words = &self.record(found.id)[1..];
        for (chunk, word) in out.chunks_mut(8).zip(words) {
            let bytes = word.load(Ordering::Relaxed).to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        self.still(found)
    }

    /// The elements of a bucket that user space sees, in an order that stays the same while
    /// nothing changes.
    pub(crate) fn bucket_elements(&self, number: u32) -> Vec<Found> {
        let mut elements = Vec::new();
        for part in 0..1 << SPLIT {
            self.add_chain(number << SPLIT | part, &mut elements);
        }
        elements
    }

    /// Adds the elements of a chain at one moment.
    fn add_chain(&self, bucket: u32, elements: &mut Vec<Found>) {
        let (head, stripe) = (self.head(bucket), self.stripe(bucket));
        let before = elements.len();
        for tries in 0.. {
            let start = stripe.load(Ordering::Acquire);
            let mut link = head.load(Ordering::Acquire);
            while let Some(id) = link.checked_sub(1)
                && let Some(record) = self.linked(id)
            {
                let first = record[0].load(Ordering::Acquire);
                elements.push(Found { id, generation: high(first) });
                link = low(first);
                if elements.len() - before > self.elements as usize {
                    break;
                }
            }
            fence(Ordering::Acquire);
            let same = stripe.load(Ordering::Relaxed) == start;
            // Under a writer's hands there may be an element that is just going.
            if same && elements[before..].iter().all(|found| found.generation % 2 == 0) {
                return;
            }
            elements.truncate(before);
            if !self.patience.lasts(tries) {
                return;
            }
            pause(tries);
        }
    }

    /// The keys in a bucket; `None` behind the last one.
    pub(crate) fn bucket_keys(&self, number: u32) -> Option<Vec<Vec<u8>>> {
        let elements = (number < self.buckets()).then(|| self.bucket_elements(number))?;
        let key = |element| {
            let mut key = vec![0; self.key_size];
            self.copy_key(element, &mut key).then_some(key)
        };
        Some(elements.into_iter().filter_map(key).collect())
    }

    /// The key after `bytes` in the index's order, or the first one when `bytes` is `None` or
    /// not there (kernel `htab_map_get_next_key`); `false` behind the last one.
    pub(crate) fn next(&self, bytes: Option<&[u8]>, out: &mut [u8]) -> bool {
        let mut number = 0;
        if let Some(bytes) = bytes
            && let Some(found) = self.find(bytes)
        {
            let own = self.bucket_of(&Key::new(bytes)) >> SPLIT;
            let elements = self.bucket_elements(own);
            let mut behind = elements.iter().skip_while(|e| e.id != found.id).skip(1);
            if behind.any(|&element| self.copy_key(element, out)) {
                return true;
            }
            number = own + 1;
        }
        (number..self.buckets()).any(|number| {
            let elements = self.bucket_elements(number);
            elements.into_iter().any(|element| self.copy_key(element, out))
        })
    }

    /// How many elements there are, by walking all buckets.
    pub(crate) fn count(&self) -> u64 {
        (0..self.buckets()).map(|number| self.bucket_elements(number).len() as u64).sum()
    }

    #[inline(always)]
    pub(super) fn head(&self, bucket: u32) -> &AtomicU32 {
        &self.heads[bucket as usize]
    }

    #[inline(always)]
    pub(super) fn stripe(&self, bucket: u32) -> &AtomicU64 {
        &self.stripes[(bucket & self.stripe_mask) as usize * LINE]
    }

    /// The record of an element that a link leads to; `None` when it leads nowhere.
    #[inline(always)]
    pub(super) fn linked(&self, id: u32) -> Option<&[AtomicU64]> {
        let start = id as usize * self.stride;
        self.records.get(start..start + self.key_words + 1)
    }

    /// How many elements there can be in a chain.
    pub(super) fn elements(&self) -> u32 {
        self.elements
    }

    /// An element's record: link and generation, then the words of its key.
    #[inline(always)]
    pub(super) fn record(&self, id: u32) -> &[AtomicU64] {
        let start = id as usize * self.stride;
        &self.records[start..=start + self.key_words]
    }
}

/// An element's link: an id + 1, 0 for none.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
pub(super) fn low(cell: u64) -> u32 {
    cell as u32
}

/// An element's generation.
#[inline]
pub(super) fn high(cell: u64) -> u32 {
    (cell >> 32) as u32
}

/// Both in one cell.
#[inline]
pub(super) fn cell(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}
