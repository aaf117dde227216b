//! The hash of keys, and keys as words.

use crate::sync::{AtomicU64, Ordering};

/// The most words of a key that is kept on the stack.
const SHORT: usize = 2;

/// A key as little-endian words, the last one padded with zeros, and its hash.
#[derive(Debug)]
pub(crate) struct Key<'k> {
    bytes: &'k [u8],
    /// The first words; all of them when the key is short.
    short: [u64; SHORT],
    hash: u32,
}

impl<'k> Key<'k> {
    /// A key of any length.
    #[inline(always)]
    pub(crate) fn new(bytes: &'k [u8]) -> Self {
        let mut short = [0; SHORT];
        let hash = match bytes.len() {
            4 => {
                short[0] = u64::from(u32::from_le_bytes(array(bytes)));
                finish(mix(SEED ^ 4, short[0]))
            }
            8 => {
                short[0] = u64::from_le_bytes(array(bytes));
                finish(mix(SEED ^ 8, short[0]))
            }
            16 => {
                short = [word(&bytes[..8]), word(&bytes[8..])];
                finish(mix(mix(SEED ^ 16, short[0]), short[1]))
            }
            len => {
                for (to, chunk) in short.iter_mut().zip(bytes.chunks(8)) {
                    *to = word(chunk);
                }
                let words = bytes.chunks(8).map(word);
                finish(words.fold(SEED ^ len as u64, mix))
            }
        };
        Self { bytes, short, hash }
    }

    /// The hash, the same for equal keys in every process.
    #[inline]
    pub(crate) fn hash(&self) -> u32 {
        self.hash
    }

    /// The key's words.
    #[inline]
    pub(super) fn words(&self) -> impl Iterator<Item = u64> {
        self.bytes.chunks(8).map(word)
    }

    /// Whether the cells behind the first one hold the key.
    #[inline(always)]
    pub(crate) fn stands_in(&self, record: &[AtomicU64]) -> bool {
        // Without a loop for the usual sizes.
        let same = |at: usize| record[1 + at].load(Ordering::Relaxed) == self.short[at];
        match record.len() {
            2 => same(0),
            3 => same(0) && same(1),
            _ => {
                let mut cells = record[1..].iter().map(|cell| cell.load(Ordering::Relaxed));
                self.words().all(|word| cells.next() == Some(word))
            }
        }
    }

    /// Writes the key to the cells behind the first one.
    #[inline(always)]
    pub(crate) fn write_to(&self, record: &[AtomicU64]) {
        match record.len() {
            2 => record[1].store(self.short[0], Ordering::Relaxed),
            3 => {
                record[1].store(self.short[0], Ordering::Relaxed);
                record[2].store(self.short[1], Ordering::Relaxed);
            }
            _ => {
                for (cell, word) in record[1..].iter().zip(self.words()) {
                    cell.store(word, Ordering::Relaxed);
                }
            }
        }
    }
}

/// The hash of a key of `len` bytes that is given as words.
pub(crate) fn hash_of_words(len: usize, words: impl Iterator<Item = u64>) -> u32 {
    finish(words.fold(SEED ^ len as u64, mix))
}

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// Folds a word into the state by a 128-bit multiplication. The seed is fixed, so that
/// runs are repeatable.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
fn mix(state: u64, word: u64) -> u64 {
    let wide = u128::from(state ^ word) * u128::from(0xd6e8_feb8_6659_fd93_u64);
    (wide >> 64) as u64 ^ wide as u64
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
fn finish(state: u64) -> u32 {
    (state >> 32) as u32 ^ state as u32
}

/// Up to eight bytes as a word, the missing ones zero.
#[inline]
pub(crate) fn word(chunk: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes[..chunk.len()].copy_from_slice(chunk);
    u64::from_le_bytes(bytes)
}

#[inline]
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the length was matched")
}
