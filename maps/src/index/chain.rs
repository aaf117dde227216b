//! Chained hash index with lock-free readers.
//!
//! Buckets are the heads of chains of elements; an element's record holds its key,
//! the hash of it, and a link. Readers take no lock and write nothing; writers lock
//! the bucket. Elements are recycled at once, so a reader may stand on one that moves
//! to another chain. Two things keep it from going wrong:
//!
//! * Each record has a **generation**, odd while the record is being changed or free.
//!   A reader believes a key only if the generation was the same even number before
//!   and after it compared the key (a sequence lock).
//! * A chain's last link is an **end mark with the bucket's number**. A reader that
//!   arrives at another bucket's end mark was led astray and starts again.
//!
//! Everything is addressed by ids and offsets in one host segment, so that it may
//! lie in a file shared by several processes.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use skep_memory::HostSegment;

use super::pool::{Pool, Taken};
use crate::Errno;
use crate::locks::WordGuard;

/// Marks a link as the end of the chain of the bucket in its other bits.
const END: u32 = 1 << 31;
/// More elements than ids have bits for besides [`END`].
const MOST_ELEMENTS: u32 = END - 4096;
/// Elements beyond the map's capacity: a replacement is written to a new element
/// before the old one goes, also when the map is full. More writers than this at one
/// moment wait for one another.
const SPARES: u32 = 64;

/// The index of one hash map.
#[derive(Debug)]
pub(crate) struct Chains {
    segment: HostSegment,
    at: Offsets,
    buckets: u32,
    key_size: usize,
    key_words: usize,
    /// Ids in excess of the capacity are spares, so this many elements may be linked.
    pool: Pool,
    spares: Pool,
    /// Fresh elements that were taken and given back because their values found no room.
    unused: Pool,
    unused_spares: Pool,
}

/// Where the parts of the segment begin, in bytes.
#[derive(Debug)]
struct Offsets {
    heads: usize,
    locks: usize,
    links: usize,
    records: usize,
    elements: usize,
}

/// An element that a reader found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) id: u32,
    /// The element's generation while it had the key.
    pub(crate) generation: u64,
}

/// A key, padded to whole words, and its hash.
#[derive(Debug)]
pub(crate) struct Key<'k> {
    bytes: &'k [u8],
    hash: u32,
}

impl Chains {
    /// An empty index for `capacity` keys of `key_size` bytes.
    ///
    /// # Errors
    ///
    /// `E2BIG` when there would be more than 2^31 buckets, `ENOMEM` when the host
    /// gives no room (kernel `htab_map_alloc`).
    pub(crate) fn new(capacity: u32, key_size: u32, name: &str) -> Result<Self, Errno> {
        let buckets = capacity.checked_next_power_of_two().ok_or(Errno::E2BIG)?;
        if capacity > MOST_ELEMENTS {
            return Err(Errno::ENOMEM);
        }
        let key_size = key_size as usize;
        let key_words = key_size.div_ceil(8);
        let elements = (capacity + SPARES) as usize;
        let mut end = 0usize;
        let mut part = |count: usize, size: usize| {
            let start = end.next_multiple_of(64);
            end = count.checked_mul(size)?.checked_add(start)?;
            Some(start)
        };
        let mut offsets = || {
            Some(Offsets {
                heads: part(buckets as usize, 4)?,
                locks: part(buckets as usize, 4)?,
                links: part(elements, 4)?,
                records: part(elements, 8 * (2 + key_words))?,
                elements,
            })
        };
        let at = offsets().ok_or(Errno::ENOMEM)?;
        let what = format!("the index of map `{name}`");
        let segment = HostSegment::anonymous(end as u64, &what).map_err(|_| Errno::ENOMEM)?;
        let pool = Pool::new(0, capacity);
        let spares = Pool::new(capacity, capacity + SPARES);
        let (unused, unused_spares) = (Pool::new(0, 0), Pool::new(0, 0));
        Ok(Self { segment, at, buckets, key_size, key_words, pool, spares, unused, unused_spares })
    }

    /// The number of element ids, spares included: what values must have room for.
    pub(crate) fn ids(&self) -> u32 {
        u32::try_from(self.at.elements).expect("checked when it was made")
    }

    /// The number of buckets.
    pub(crate) fn buckets(&self) -> u32 {
        self.buckets
    }

    /// Finds the element that has a key.
    #[inline]
    pub(crate) fn find(&self, bytes: &[u8]) -> Option<Found> {
        let key = self.key(bytes);
        let bucket = self.bucket(&key);
        'again: loop {
            let mut link = self.head(bucket).load(Ordering::Acquire);
            while let Some(id) = id_of(link) {
                let record = self.record(id);
                let first = record[0].load(Ordering::Acquire);
                if hash_of(first) == key.hash {
                    let generation = record[1].load(Ordering::Acquire);
                    let same = self.key_equals(record, &key);
                    fence(Ordering::Acquire);
                    let after = record[1].load(Ordering::Relaxed);
                    if generation != after || generation % 2 == 1 {
                        continue 'again;
                    }
                    if same {
                        return Some(Found { id, generation });
                    }
                }
                link = link_of(first);
            }
            if link == 0 || link == END | bucket {
                return None;
            }
        }
    }

    /// Whether the element still is the one that was found.
    #[inline]
    pub(crate) fn still(&self, found: Found) -> bool {
        fence(Ordering::Acquire);
        self.record(found.id)[1].load(Ordering::Relaxed) == found.generation
    }

    /// Copies the key of an element out; `false` when it has gone.
    pub(crate) fn copy_key(&self, found: Found, out: &mut [u8]) -> bool {
        let words = &self.record(found.id)[2..];
        for (chunk, word) in out.chunks_mut(8).zip(words) {
            let bytes = word.load(Ordering::Relaxed).to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        self.still(found)
    }

    /// The elements of a bucket, in chain order.
    pub(crate) fn bucket_elements(&self, bucket: u32) -> Vec<Found> {
        'again: loop {
            let mut elements = Vec::new();
            let mut link = self.head(bucket).load(Ordering::Acquire);
            while let Some(id) = id_of(link) {
                let record = self.record(id);
                link = link_of(record[0].load(Ordering::Acquire));
                let generation = record[1].load(Ordering::Acquire);
                if generation % 2 == 1 || elements.len() > self.at.elements {
                    continue 'again;
                }
                elements.push(Found { id, generation });
            }
            if link == 0 || link == END | bucket {
                return elements;
            }
        }
    }

    /// The keys in a bucket; `None` behind the last one.
    pub(crate) fn bucket_keys(&self, bucket: u32) -> Option<Vec<Vec<u8>>> {
        let elements = (bucket < self.buckets).then(|| self.bucket_elements(bucket))?;
        let key = |element| {
            let mut key = vec![0; self.key_size];
            self.copy_key(element, &mut key).then_some(key)
        };
        Some(elements.into_iter().filter_map(key).collect())
    }

    /// The element that comes after the one with key `bytes`, or the first one when
    /// `bytes` is `None` or not there (kernel `htab_map_get_next_key`).
    pub(crate) fn next(&self, bytes: Option<&[u8]>, out: &mut [u8]) -> Result<(), Errno> {
        let start =
            bytes.and_then(|bytes| Some((self.bucket(&self.key(bytes)), self.find(bytes)?)));
        let mut bucket = 0;
        if let Some((own, found)) = start {
            let elements = self.bucket_elements(own);
            let behind = elements.iter().skip_while(|e| e.id != found.id).skip(1);
            for &element in behind {
                if self.copy_key(element, out) {
                    return Ok(());
                }
            }
            bucket = own + 1;
        }
        while bucket < self.buckets {
            for element in self.bucket_elements(bucket) {
                if self.copy_key(element, out) {
                    return Ok(());
                }
            }
            bucket += 1;
        }
        Err(Errno::ENOENT)
    }

    /// Locks the bucket of a key for changes.
    pub(crate) fn lock(&self, bytes: &[u8]) -> Locked<'_> {
        let hash = hash(bytes);
        let bucket = hash & (self.buckets - 1);
        let locks = self.segment.cells32(self.at.locks, self.buckets as usize);
        let guard = WordGuard::take(&locks[bucket as usize]);
        Locked { chains: self, hash, bucket, _guard: guard }
    }

    fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        debug_assert_eq!(bytes.len(), self.key_size);
        Key { bytes, hash: hash(bytes) }
    }

    fn bucket(&self, key: &Key<'_>) -> u32 {
        key.hash & (self.buckets - 1)
    }

    #[inline]
    fn head(&self, bucket: u32) -> &AtomicU32 {
        &self.segment.cells32(self.at.heads, self.buckets as usize)[bucket as usize]
    }

    fn links(&self) -> &[AtomicU32] {
        self.segment.cells32(self.at.links, self.at.elements)
    }

    /// An element's record: link and hash, generation, key words.
    #[inline]
    fn record(&self, id: u32) -> &[AtomicU64] {
        let words = 2 + self.key_words;
        self.segment.cells64(self.at.records + id as usize * words * 8, words)
    }

    #[inline]
    fn key_equals(&self, record: &[AtomicU64], key: &Key<'_>) -> bool {
        let words = key.bytes.chunks(8).map(word);
        record[2..].iter().zip(words).all(|(cell, word)| cell.load(Ordering::Relaxed) == word)
    }
}

/// A bucket whose chain nobody else changes.
#[derive(Debug)]
pub(crate) struct Locked<'c> {
    chains: &'c Chains,
    hash: u32,
    bucket: u32,
    _guard: WordGuard<'c>,
}

impl Locked<'_> {
    /// Finds the element that has a key of this bucket.
    pub(crate) fn find(&self, bytes: &[u8]) -> Option<u32> {
        let key = Key { bytes, hash: self.hash };
        let mut link = self.chains.head(self.bucket).load(Ordering::Relaxed);
        while let Some(id) = id_of(link) {
            let record = self.chains.record(id);
            let first = record[0].load(Ordering::Relaxed);
            if hash_of(first) == key.hash && self.chains.key_equals(record, &key) {
                return Some(id);
            }
            link = link_of(first);
        }
        None
    }

    /// Takes a free element for a new key; `None` when the map is full.
    pub(crate) fn take(&self) -> Option<Taken> {
        take(&self.chains.pool, &self.chains.unused, self.chains.links())
    }

    /// Takes a free element that will replace another one.
    pub(crate) fn take_spare(&self) -> Taken {
        loop {
            let Chains { spares, unused_spares, .. } = self.chains;
            if let Some(taken) = take(spares, unused_spares, self.chains.links()) {
                return taken;
            }
            std::thread::yield_now();
        }
    }

    /// Gives back a fresh element that was taken and could not be used: it stays fresh.
    pub(crate) fn untake(&self, id: u32) {
        self.chains.unused.give(id, self.chains.links());
    }

    /// Gives back a fresh spare that was taken and could not be used.
    pub(crate) fn untake_spare(&self, id: u32) {
        self.chains.unused_spares.give(id, self.chains.links());
    }

    /// Puts a taken element, whose value is written, at the head of the chain.
    pub(crate) fn link(&self, id: u32, bytes: &[u8]) {
        let record = self.chains.record(id);
        let generation = record[1].load(Ordering::Relaxed) | 1;
        record[1].store(generation, Ordering::Relaxed);
        fence(Ordering::Release);
        for (cell, chunk) in record[2..].iter().zip(bytes.chunks(8)) {
            cell.store(word(chunk), Ordering::Relaxed);
        }
        let head = self.chains.head(self.bucket);
        let below = match head.load(Ordering::Relaxed) {
            0 => END | self.bucket,
            link => link,
        };
        record[0].store(u64::from(self.hash) << 32 | u64::from(below), Ordering::Relaxed);
        record[1].store(generation + 1, Ordering::Release);
        head.store(id + 1, Ordering::Release);
    }

    /// Takes an element out of the chain and frees it.
    pub(crate) fn unlink(&self, id: u32) {
        self.remove(id);
        self.chains.pool.give(id, self.chains.links());
    }

    /// Takes an element out of the chain in favour of `new`, which was a spare; from
    /// now on `old` is the spare.
    ///
    /// Which ids are spares does not matter, only how many.
    pub(crate) fn replace(&self, old: u32) {
        self.remove(old);
        self.chains.spares.give(old, self.chains.links());
    }

    fn remove(&self, id: u32) {
        let next = link_of(self.chains.record(id)[0].load(Ordering::Relaxed));
        let head = self.chains.head(self.bucket);
        let mut link = head.load(Ordering::Relaxed);
        if link == id + 1 {
            head.store(next, Ordering::Release);
        } else {
            while let Some(before) = id_of(link) {
                let record = self.chains.record(before);
                let first = record[0].load(Ordering::Relaxed);
                link = link_of(first);
                if link == id + 1 {
                    let first = u64::from(hash_of(first)) << 32 | u64::from(next);
                    record[0].store(first, Ordering::Release);
                    break;
                }
            }
        }
        // Odd: readers that still stand on it do not believe its key any more.
        let generation = &self.chains.record(id)[1];
        generation.store(generation.load(Ordering::Relaxed) + 1, Ordering::Release);
    }
}

/// Takes an element; one that was given back unused is still fresh.
fn take(pool: &Pool, unused: &Pool, links: &[AtomicU32]) -> Option<Taken> {
    let fresh = |taken| Taken { fresh: true, ..taken };
    pool.take(links).or_else(|| unused.take(links).map(fresh))
}

fn id_of(link: u32) -> Option<u32> {
    if link & END == 0 { link.checked_sub(1) } else { None }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is the link")]
fn link_of(first: u64) -> u32 {
    first as u32
}

fn hash_of(first: u64) -> u32 {
    (first >> 32) as u32
}

/// Up to eight bytes as a word, the missing ones zero.
#[inline]
fn word(chunk: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes[..chunk.len()].copy_from_slice(chunk);
    u64::from_le_bytes(bytes)
}

/// A fast hash with a fixed seed, so that runs are repeatable: 64-bit words folded by
/// 128-bit multiplication.
#[inline]
fn hash(bytes: &[u8]) -> u32 {
    const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = SEED ^ bytes.len() as u64;
    for chunk in bytes.chunks(8) {
        state = fold(state ^ word(chunk), 0xd6e8_feb8_6659_fd93);
    }
    hash_of(fold(state, SEED))
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    (wide >> 64) as u64 ^ wide as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(chains: &Chains, key: u32) -> Option<u32> {
        let bytes = key.to_le_bytes();
        let bucket = chains.lock(&bytes);
        let taken = bucket.take()?;
        bucket.link(taken.id, &bytes);
        Some(taken.id)
    }

    #[test]
    fn what_is_linked_is_found_and_what_is_unlinked_is_not() {
        let chains = Chains::new(100, 4, "t").expect("small");
        for key in 0..100u32 {
            assert!(insert(&chains, key).is_some());
        }
        assert_eq!(insert(&chains, 100), None, "full");
        for key in (0..100u32).step_by(2) {
            let bytes = key.to_le_bytes();
            let bucket = chains.lock(&bytes);
            bucket.unlink(bucket.find(&bytes).expect("there"));
        }
        for key in 0..100u32 {
            assert_eq!(chains.find(&key.to_le_bytes()).is_some(), key % 2 == 1, "{key}");
        }
    }

    #[test]
    fn iteration_sees_each_key_once() {
        let chains = Chains::new(50, 4, "t").expect("small");
        for key in 0..50u32 {
            insert(&chains, key * 7);
        }
        let (mut seen, mut key) = (Vec::new(), None::<[u8; 4]>);
        let mut next = [0; 4];
        while chains.next(key.as_ref().map(|k| &k[..]), &mut next).is_ok() {
            seen.push(u32::from_le_bytes(next));
            key = Some(next);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..50).map(|k| k * 7).collect::<Vec<_>>());
    }

    #[test]
    fn readers_never_miss_a_key_that_stays_while_others_churn() {
        let chains = Chains::new(64, 8, "t").expect("small");
        let key = |n: u64| n.to_le_bytes();
        let stays: Vec<u64> = (0..16).collect();
        for &n in &stays {
            let bucket = chains.lock(&key(n));
            let id = bucket.take().expect("room").id;
            bucket.link(id, &key(n));
        }
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for thread in 0..2u64 {
                let (chains, done) = (&chains, &done);
                scope.spawn(move || {
                    for round in 0..30_000u64 {
                        let churning = key(1000 + thread * 64 + round % 20);
                        let bucket = chains.lock(&churning);
                        match bucket.find(&churning) {
                            Some(id) => bucket.unlink(id),
                            None => {
                                if let Some(taken) = bucket.take() {
                                    bucket.link(taken.id, &churning);
                                }
                            }
                        }
                    }
                    done.store(true, Ordering::Relaxed);
                });
            }
            let (chains, done, stays) = (&chains, &done, &stays);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    for &n in stays {
                        let found = chains.find(&key(n)).expect("it was never removed");
                        let mut copy = [0; 8];
                        assert!(chains.copy_key(found, &mut copy));
                        assert_eq!(u64::from_le_bytes(copy), n);
                    }
                }
            });
        });
    }
}
