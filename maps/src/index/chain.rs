//! Chained hash index: its layout, and its readers, who take no lock and write nothing.
//!
//! A **bucket** is one cell: the first element of its chain, and a count that is odd
//! while a writer has the bucket locked and different after each change. An **element**
//! is a record of cells: its link to the next one together with its generation, then its
//! key. The generation is odd while the element is free or being filled.
//!
//! Elements are recycled at once, so a reader may stand on one that moves to another
//! place or another chain. Two checks keep it from going wrong:
//!
//! * A hit counts if the element's generation was the same even number before and after
//!   the key was compared (a sequence lock): then the element had that key.
//! * A miss counts if the bucket's count is what it was before the walk. If it is not,
//!   the reader may have been led past its key, or astray, and walks again. While a
//!   writer holds the bucket the count stands still too, and that is right: one change at
//!   a time cannot hide an element that stays (a replacement takes the old one's place
//!   by one store, see `bucket.rs`).
//!
//! Everything is addressed by ids and offsets in one host segment, so that it may lie in
//! a file shared by several processes.

use super::hash::{Key, hash_of_words};
use crate::segment::{Cells64, Layout, Segment};
use crate::sync::{AtomicU64, Ordering, fence, pause};

/// The index of one hash map, without its segment and without the ids that are free.
#[derive(Debug)]
pub(crate) struct Chains {
    buckets: Cells64,
    records: Cells64,
    mask: u32,
    elements: u32,
    key_size: usize,
    key_words: usize,
    /// Cells from one record to the next.
    stride: usize,
}

/// An element that a reader found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) id: u32,
    /// The element's generation while it had the key.
    pub(crate) generation: u32,
}

/// The most elements: ids + 1 have 32 bits.
pub(crate) const MOST_ELEMENTS: u32 = u32::MAX - 1;

/// How often a reader looks whether it was led astray, in elements.
const LOOK_UP: u32 = 64;

impl Chains {
    /// Plans an index with at least `capacity` buckets, a power of two, and `elements`
    /// elements with keys of `key_size` bytes.
    pub(crate) fn plan(layout: &mut Layout, capacity: u32, elements: u32, key_size: u32) -> Self {
        let key_size = key_size as usize;
        let key_words = key_size.div_ceil(8);
        // A record of up to four cells does not lie across two cache lines.
        let stride = if key_words == 2 { 4 } else { key_words + 1 };
        let buckets = u64::from(capacity).next_power_of_two();
        Self {
            buckets: layout.cells64(buckets),
            records: layout.cells64(u64::from(elements).saturating_mul(stride as u64)),
            mask: u32::try_from(buckets - 1).expect("a capacity has 32 bits"),
            elements,
            key_size,
            key_words,
            stride,
        }
    }

    /// The number of buckets.
    pub(crate) fn buckets(&self) -> u32 {
        self.mask + 1
    }

    /// The bucket of a key.
    #[inline]
    pub(crate) fn bucket_of(&self, key: &Key<'_>) -> u32 {
        key.hash() & self.mask
    }

    /// The bucket of the key that an element has or had.
    pub(crate) fn bucket_of_element(&self, segment: &Segment, id: u32) -> u32 {
        let words = &self.record(segment, id)[1..=self.key_words];
        let words = words.iter().map(|word| word.load(Ordering::Relaxed));
        hash_of_words(self.key_size, words) & self.mask
    }

    /// Finds the element that has a key.
    #[inline]
    pub(crate) fn find(&self, segment: &Segment, key: &Key<'_>) -> Option<Found> {
        // The length of the comparison is known at compile time for the usual sizes.
        match self.key_words {
            1 => self.find_by(segment, key, |record| {
                record[1].load(Ordering::Relaxed) == key.short()[0]
            }),
            2 => self.find_by(segment, key, |record| {
                record[1].load(Ordering::Relaxed) == key.short()[0]
                    && record[2].load(Ordering::Relaxed) == key.short()[1]
            }),
            _ => self.find_by(segment, key, |record| has_key(record, key)),
        }
    }

    #[inline]
    fn find_by(
        &self,
        segment: &Segment,
        key: &Key<'_>,
        has_key: impl Fn(&[AtomicU64]) -> bool,
    ) -> Option<Found> {
        let bucket = self.bucket(segment, self.bucket_of(key));
        let mut tries = 0;
        'again: loop {
            let start = bucket.load(Ordering::Acquire);
            let (mut link, mut steps) = (low(start), 0u32);
            while let Some(id) = link.checked_sub(1) {
                let record = self.record(segment, id);
                let first = record[0].load(Ordering::Acquire);
                if has_key(record) {
                    fence(Ordering::Acquire);
                    let generation = high(first);
                    let after = high(record[0].load(Ordering::Relaxed));
                    if generation == after && generation % 2 == 0 {
                        return Some(Found { id, generation });
                    }
                    pause(tries);
                    tries = tries.wrapping_add(1);
                    continue 'again;
                }
                link = low(first);
                steps += 1;
                if steps % LOOK_UP == 0 && high(bucket.load(Ordering::Relaxed)) != high(start) {
                    continue 'again;
                }
            }
            fence(Ordering::Acquire);
            if high(bucket.load(Ordering::Relaxed)) == high(start) {
                return None;
            }
        }
    }

    /// Whether the element still is the one that was found. What was read from it before
    /// is then its own.
    #[inline]
    pub(crate) fn still(&self, segment: &Segment, found: Found) -> bool {
        fence(Ordering::Acquire);
        high(self.record(segment, found.id)[0].load(Ordering::Relaxed)) == found.generation
    }

    /// Copies the key of an element out; `false` when it has gone.
    pub(crate) fn copy_key(&self, segment: &Segment, found: Found, out: &mut [u8]) -> bool {
        let words = &self.record(segment, found.id)[1..];
        for (chunk, word) in out.chunks_mut(8).zip(words) {
            let bytes = word.load(Ordering::Relaxed).to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        self.still(segment, found)
    }

    /// The elements of a bucket at one moment, in chain order.
    pub(crate) fn bucket_elements(&self, segment: &Segment, index: u32) -> Vec<Found> {
        let bucket = self.bucket(segment, index);
        for tries in 0.. {
            let start = bucket.load(Ordering::Acquire);
            let mut elements = Vec::new();
            let mut link = low(start);
            while let Some(id) = link.checked_sub(1) {
                let first = self.record(segment, id)[0].load(Ordering::Acquire);
                elements.push(Found { id, generation: high(first) });
                link = low(first);
                if elements.len() > self.elements as usize {
                    break;
                }
            }
            fence(Ordering::Acquire);
            let same = high(bucket.load(Ordering::Relaxed)) == high(start);
            // A bucket that a writer holds may have an element that is just going.
            if same && elements.iter().all(|found| found.generation % 2 == 0) {
                return elements;
            }
            pause(tries);
        }
        unreachable!("a loop without an end")
    }

    /// The keys in a bucket; `None` behind the last one.
    pub(crate) fn bucket_keys(&self, segment: &Segment, index: u32) -> Option<Vec<Vec<u8>>> {
        let elements = (index <= self.mask).then(|| self.bucket_elements(segment, index))?;
        let key = |element| {
            let mut key = vec![0; self.key_size];
            self.copy_key(segment, element, &mut key).then_some(key)
        };
        Some(elements.into_iter().filter_map(key).collect())
    }

    /// The element that comes after the one with key `bytes`, or the first one when
    /// `bytes` is `None` or not there (kernel `htab_map_get_next_key`). `false` behind the
    /// last one.
    pub(crate) fn next(&self, segment: &Segment, bytes: Option<&[u8]>, out: &mut [u8]) -> bool {
        let start = bytes.and_then(|bytes| {
            let key = Key::new(bytes);
            Some((self.bucket_of(&key), self.find(segment, &key)?))
        });
        let mut bucket = 0;
        if let Some((own, found)) = start {
            let elements = self.bucket_elements(segment, own);
            let mut behind = elements.iter().skip_while(|e| e.id != found.id).skip(1);
            if behind.any(|&element| self.copy_key(segment, element, out)) {
                return true;
            }
            if own == self.mask {
                return false;
            }
            bucket = own + 1;
        }
        (bucket..=self.mask).any(|bucket| {
            let elements = self.bucket_elements(segment, bucket);
            elements.into_iter().any(|element| self.copy_key(segment, element, out))
        })
    }

    #[inline]
    pub(super) fn bucket<'s>(&self, segment: &'s Segment, index: u32) -> &'s AtomicU64 {
        &segment.cells64(self.buckets)[index as usize]
    }

    /// An element's record: link and generation, then the words of its key.
    #[inline]
    pub(super) fn record<'s>(&self, segment: &'s Segment, id: u32) -> &'s [AtomicU64] {
        let start = id as usize * self.stride;
        &segment.cells64(self.records)[start..=start + self.key_words]
    }
}

/// Whether a record has a key.
#[inline]
pub(super) fn has_key(record: &[AtomicU64], key: &Key<'_>) -> bool {
    record[1..].iter().zip(key.words()).all(|(cell, word)| cell.load(Ordering::Relaxed) == word)
}

/// A bucket's first element, or an element's link: an id + 1, 0 for none.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
pub(super) fn low(cell: u64) -> u32 {
    cell as u32
}

/// A bucket's count, or an element's generation.
#[inline]
pub(super) fn high(cell: u64) -> u32 {
    (cell >> 32) as u32
}

/// Both in one cell.
#[inline]
pub(super) fn cell(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}
