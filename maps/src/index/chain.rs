//! Chained hash index: its layout, and its readers, who take no lock and write nothing.
//!
//! A **chain** starts at a cell, its head: the first element. An **element** is a record of
//! cells: its link to the next one together with its generation, then its key. The
//! generation is odd while the element is free or being filled. A cache line is a **group**
//! of chains and their lock: a count that is odd while a writer has the group locked and
//! different after each change of one of its chains. So whoever has looked at the count has
//! the heads at hand.
//!
//! Elements are recycled at once, so a reader may stand on one that moves to another
//! place or another chain. It may have been led astray, past its key, or to an element
//! that is filled for its key and not in the chain yet. So what it found, or that it found
//! nothing, counts only if the group's count is what it was before the walk; otherwise it
//! walks again. While a writer holds the group the count stands still too, and that is
//! right: one change at a time becomes visible by one store, and cannot hide an element
//! that stays (a replacement takes the old one's place, see `bucket.rs`).
//!
//! What is read from an element after the walk, its value, is its own if the generation
//! still is the one that was found, and even (a sequence lock).
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
    /// The groups: a count, then for each chain its first element's id + 1, or 0.
    groups: Cells32,
    records: Cells64,
    /// The number of groups, less one.
    group_mask: u32,
    /// The number of buckets that user space sees, less one.
    bucket_mask: u32,
    elements: u32,
    key_size: usize,
    pub(super) key_words: usize,
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

/// Cells of a group: a cache line.
const LINE: usize = 16;
/// Chains of a group: all of its cells but the count.
const CHAINS: u32 = 15;
/// So many buckets of the kernel's are one group here: there are nearly four chains for one
/// of its buckets, so that most have one element at most, or nearly two when the caches
/// cannot hold them anyway.
fn buckets_of_group(buckets: u64) -> u64 {
    if buckets <= 1 << 17 { 4 } else { 8 }
}

/// A group's cells. The count has 31 bits and the lock: a reader would have to sleep through
/// 2^31 changes of one group to take them for none, as with the kernel's `seqcount_t`.
pub(crate) type Group = [AtomicU32; LINE];

/// How often a reader looks whether it was led astray, in elements.
pub(super) const LOOK_UP: u32 = 64;

impl Index {
    /// An index for up to `capacity` keys of `key_size` bytes, over `elements` elements.
    pub(crate) fn new(parts: &mut Parts<'_>, capacity: u32, elements: u32, key_size: u32) -> Self {
        let key_size = key_size as usize;
        let key_words = key_size.div_ceil(8);
        let buckets = u64::from(capacity).next_power_of_two();
        let groups = (buckets / buckets_of_group(buckets)).clamp(1, 1 << 27);
        let mask = |count: u64| u32::try_from(count - 1).expect("at most 2^32");
        Self {
            groups: parts.cells32(groups * LINE as u64),
            records: parts.cells64(u64::from(elements).saturating_mul(key_words as u64 + 1)),
            group_mask: mask(groups),
            bucket_mask: mask(buckets),
            elements,
            key_size,
            key_words,
            stride: key_words + 1,
            patience: parts.patience(),
        }
    }

    /// The number of buckets that user space sees, as many as the kernel has.
    pub(crate) fn buckets(&self) -> u32 {
        // 2^32 of them would be one less here; no map has so many.
        self.bucket_mask.saturating_add(1)
    }

    /// The number of groups.
    pub(crate) fn groups(&self) -> u32 {
        self.group_mask + 1
    }

    /// The group and the chain for a hash. The group comes from its low bits, as the bucket
    /// that user space sees; the chain from the others.
    #[inline(always)]
    pub(crate) fn chain(&self, hash: u32) -> (&Group, usize) {
        let (groups, _) = self.groups.as_chunks::<LINE>();
        let chain = ((hash >> 20) * CHAINS) >> 12;
        (&groups[(hash & self.group_mask) as usize], 1 + chain as usize)
    }

    /// The hash of the key that an element has or had.
    pub(crate) fn hash_of(&self, id: u32) -> u32 {
        let words = &self.record(id)[1..=self.key_words];
        let words = words.iter().map(|word| word.load(Ordering::Relaxed));
        hash_of_words(self.key_size, words)
    }

    /// Finds the element that has a key.
    #[inline]
    pub(crate) fn find(&self, bytes: &[u8]) -> Option<Found> {
        let key = Key::new(bytes);
        match self.key_words {
            1 => self.search(&key, |id| self.short_record(id)),
            2 => self.search(&key, |id| self.medium_record(id)),
            _ => self.search(&key, |id| self.linked(id)),
        }
    }

    #[inline(always)]
    fn search<'s>(
        &'s self,
        key: &Key<'_>,
        record: impl Fn(u32) -> Option<&'s [AtomicU64]>,
    ) -> Option<Found> {
        let (group, chain) = self.chain(key.hash());
        let (count, head) = (&group[0], &group[chain]);
        let mut tries = 0;
        'again: loop {
            let start = count.load(Ordering::Acquire);
            let mut link = head.load(Ordering::Acquire);
            let mut steps = 0u32;
            while let Some(id) = link.checked_sub(1)
                && let Some(record) = record(id)
            {
                let first = record[0].load(Ordering::Acquire);
                if key.stands_in(record) {
                    fence(Ordering::Acquire);
                    if count.load(Ordering::Relaxed) == start {
                        return Some(Found { id, generation: high(first) });
                    }
                    if !self.goes_on(&mut tries) {
                        return None;
                    }
                    continue 'again;
                }
                link = low(first);
                steps += 1;
                if steps.is_multiple_of(LOOK_UP)
                    && (count.load(Ordering::Relaxed) != start || steps > self.elements)
                {
                    break;
                }
            }
            fence(Ordering::Acquire);
            if count.load(Ordering::Relaxed) == start || !self.goes_on(&mut tries) {
                return None;
            }
        }
    }

    /// Whether a reader that was led astray may try again, after a pause.
    #[cold]
    fn goes_on(&self, tries: &mut u32) -> bool {
        let lasts = self.patience.lasts(*tries);
        pause(*tries);
        *tries = tries.wrapping_add(1);
        lasts
    }

    /// Whether the element still is the one that was found. What was read from it before
    /// is then its own.
    #[inline]
    pub(crate) fn still(&self, found: Found) -> bool {
        fence(Ordering::Acquire);
        let now = high(self.record(found.id)[0].load(Ordering::Relaxed));
        // One that was just leaving, as the odd generation says, may be filled anew by now.
        now == found.generation && now.is_multiple_of(2)
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

    /// The elements of a group at one moment, in an order that stays the same while nothing
    /// changes.
    pub(crate) fn group_elements(&self, number: u32) -> Vec<Found> {
        let (groups, _) = self.groups.as_chunks::<LINE>();
        let [count, heads @ ..] = &groups[number as usize];
        let mut elements = Vec::new();
        for tries in 0.. {
            let start = count.load(Ordering::Acquire);
            for head in heads {
                let mut link = head.load(Ordering::Acquire);
                while let Some(id) = link.checked_sub(1)
                    && let Some(record) = self.linked(id)
                {
                    let first = record[0].load(Ordering::Acquire);
                    elements.push(Found { id, generation: high(first) });
                    link = low(first);
                    if elements.len() > self.elements as usize {
                        break;
                    }
                }
            }
            fence(Ordering::Acquire);
            let same = count.load(Ordering::Relaxed) == start;
            // Under a writer's hands there may be an element that is just going.
            if same && elements.iter().all(|found| found.generation % 2 == 0) {
                break;
            }
            elements.clear();
            if !self.patience.lasts(tries) {
                break;
            }
            pause(tries);
        }
        elements
    }

    /// The keys in a bucket that user space sees; `None` behind the last one.
    pub(crate) fn bucket_keys(&self, number: u32) -> Option<Vec<Vec<u8>>> {
        let elements = (number < self.buckets()).then(|| {
            let mut elements = self.group_elements(number & self.group_mask);
            elements.retain(|element| self.hash_of(element.id) & self.bucket_mask == number);
            elements
        })?;
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
            let own = Key::new(bytes).hash() & self.group_mask;
            let elements = self.group_elements(own);
            let mut behind = elements.iter().skip_while(|e| e.id != found.id).skip(1);
            if behind.any(|&element| self.copy_key(element, out)) {
                return true;
            }
            number = own + 1;
        }
        (number..self.groups()).any(|number| {
            let elements = self.group_elements(number);
            elements.into_iter().any(|element| self.copy_key(element, out))
        })
    }

    /// How many elements there are, by walking all groups.
    pub(crate) fn count(&self) -> u64 {
        (0..self.groups()).map(|number| self.group_elements(number).len() as u64).sum()
    }

    /// As [`Index::linked`], for keys of one word: lengths that are known at compile time make
    /// the usual keys cheap.
    #[inline(always)]
    pub(super) fn short_record(&self, id: u32) -> Option<&[AtomicU64]> {
        let start = id as usize * 2;
        self.records.get(start..start + 2)
    }

    /// The same for keys of two words.
    #[inline(always)]
    pub(super) fn medium_record(&self, id: u32) -> Option<&[AtomicU64]> {
        let start = id as usize * 3;
        self.records.get(start..start + 3)
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
