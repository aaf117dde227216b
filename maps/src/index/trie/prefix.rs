//! Prefixes as big-endian words.

/// Bits of the length, at the top of the first word.
pub(super) const LEN_BITS: u32 = 16;
/// Bits of data in the first word.
pub(super) const FIRST_BITS: u32 = 64 - LEN_BITS;
/// The first word without the length.
const DATA: u64 = u64::MAX >> LEN_BITS;
/// Words of the longest prefix there is: 256 bytes and the length.
pub(super) const MOST_WORDS: usize = 33;
/// Bytes of a key before the data: the length, in the byte order of the machine.
const KEY_HEADER: usize = 4;

/// How many words a prefix takes, whose key has `key_size` bytes.
pub(super) fn words(key_size: usize) -> usize {
    (key_size - KEY_HEADER + (LEN_BITS / 8) as usize).div_ceil(8)
}

/// A prefix in `W` words: its length in bits, then its data, as one string of bits from
/// the top of the first word on. Data beyond the length is kept, and means nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prefix<const W: usize> {
    words: [u64; W],
}

/// A prefix of any length.
pub(crate) type AnyPrefix = Prefix<MOST_WORDS>;

impl<const W: usize> Prefix<W> {
    /// The prefix in a key (`struct bpf_lpm_trie_key_u8`); `None` when it says that it is
    /// longer than its data.
    #[inline]
    pub(crate) fn new(key: &[u8]) -> Option<Self> {
        let (len, data) = key.split_first_chunk::<KEY_HEADER>()?;
        let len = u64::from(u32::from_le_bytes(*len));
        if len > 8 * data.len() as u64 {
            return None;
        }
        let mut words = [0; W];
        words[0] = len << FIRST_BITS;
        if let Ok(bytes) = <[u8; 4]>::try_from(data) {
            words[0] |= u64::from(u32::from_be_bytes(bytes)) << 16;
            return Some(Self { words });
        }
        // The data are shifted by the length: each word has the end of one chunk and the
        // beginning of the next.
        let mut at = 0;
        for chunk in data.chunks(8) {
            let chunk = big_endian(chunk);
            words[at] |= chunk >> LEN_BITS;
            at += 1;
            if let Some(word) = words.get_mut(at) {
                *word = chunk << FIRST_BITS;
            }
        }
        Some(Self { words })
    }

    /// From the words that [`Prefix::words`] gave; those that are missing are zero.
    pub(super) fn from_words(from: impl Iterator<Item = u64>) -> Self {
        let mut words = [0; W];
        words.iter_mut().zip(from).for_each(|(word, from)| *word = from);
        Self { words }
    }

    /// Its words.
    #[inline]
    pub(super) fn words(&self) -> &[u64; W] {
        &self.words
    }

    /// Its length in bits.
    #[inline]
    pub(super) fn len(&self) -> u32 {
        len_of(self.words[0])
    }

    /// The same data with another length.
    pub(super) fn with_len(mut self, len: u32) -> Self {
        self.words[0] = self.words[0] & DATA | u64::from(len) << (FIRST_BITS);
        self
    }

    /// Bit `index` of its data; 0 beyond them.
    #[inline]
    pub(super) fn bit(&self, index: u32) -> usize {
        if W == 1 {
            // Up to 48 bits of data, then zeros.
            return usize::from((self.words[0] << LEN_BITS << index) >> 63 != 0);
        }
        let at = LEN_BITS + index;
        let word = self.words.get((at / 64) as usize).copied().unwrap_or(0);
        usize::from((word << (at % 64)) >> 63 != 0)
    }

    /// Whether the first `len` bits of its data, as far as they are in the first word, are
    /// those of the prefix with this first word.
    #[inline]
    pub(super) fn begins(&self, first: u64, len: u32) -> bool {
        let differ = (first ^ self.words[0]) << LEN_BITS;
        let known = if W == 1 { len } else { len.min(FIRST_BITS) };
        // Twice, since `len` may be 0.
        differ >> 1 >> (63 - known) == 0
    }

    /// Whether the first `len` bits of its data, more than the first word has, are those of
    /// the words that `other` gives by number. The first `done` words, at least one, are
    /// known to be the same; counts those that are the same as a whole.
    #[inline]
    pub(super) fn goes_on(&self, other: impl Fn(usize) -> u64, len: u32, done: &mut usize) -> bool {
        let end = (LEN_BITS + len) as usize;
        while *done < end / 64 {
            if other(*done) != self.words[*done] {
                return false;
            }
            *done += 1;
        }
        let bits = end % 64;
        bits == 0 || (other(*done) ^ self.words[*done]) >> (64 - bits) == 0
    }

    /// How many bits it has in common with the prefix that has these words, no more than
    /// either has (kernel `longest_prefix_match`).
    #[inline]
    pub(super) fn common(&self, other: impl Iterator<Item = u64>) -> u32 {
        let mut most = self.len();
        for ((own, other), n) in self.words.iter().zip(other).zip(0..) {
            let mut differ = own ^ other;
            if n == 0 {
                most = most.min(len_of(other));
                differ &= DATA;
            }
            if differ != 0 {
                return most.min(64 * n + differ.leading_zeros() - LEN_BITS);
            }
        }
        most
    }

    /// Writes it as a key.
    pub(super) fn write(&self, key: &mut [u8]) {
        let (len, data) = key.split_at_mut(KEY_HEADER);
        len.copy_from_slice(&self.len().to_le_bytes());
        let words = self.words.iter().flat_map(|word| word.to_be_bytes());
        data.iter_mut().zip(words.skip((LEN_BITS / 8) as usize)).for_each(|(to, from)| *to = from);
    }
}

/// The length in a first word.
#[inline]
pub(super) fn len_of(first: u64) -> u32 {
    u32::from(u16::try_from(first >> (FIRST_BITS)).expect("sixteen bits are left"))
}

/// Up to eight bytes from the top of a word on.
#[inline]
fn big_endian(bytes: &[u8]) -> u64 {
    match <[u8; 8]>::try_from(bytes) {
        Ok(bytes) => u64::from_be_bytes(bytes),
        Err(_) => (0..)
            .step_by(8)
            .zip(bytes)
            .fold(0, |word, (shift, &byte)| word | u64::from(byte) << (FIRST_BITS + 8 - shift)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A key of `size` bytes of data.
    fn key(len: u32, data: &[u8]) -> Vec<u8> {
        [&len.to_le_bytes(), data].concat()
    }

    fn bit(data: &[u8], index: usize) -> usize {
        data.get(index / 8).map_or(0, |byte| usize::from(byte >> (7 - index % 8) & 1))
    }

    fn check<const W: usize>(a: &[u8], b: &[u8], lens: (u32, u32)) {
        let [a_key, b_key] = [key(lens.0, a), key(lens.1, b)];
        let [first, second] = [&a_key, &b_key].map(|k| Prefix::<W>::new(k).expect("not too long"));
        assert_eq!((first.len(), second.len()), lens);
        (0..=8 * a.len()).for_each(|n| {
            assert_eq!(first.bit(u32::try_from(n).expect("few")), bit(a, n), "bit {n}");
        });
        let same = (0..8 * a.len()).take_while(|&n| bit(a, n) == bit(b, n)).count();
        let same = u32::try_from(same).expect("few");
        assert_eq!(first.common(second.words().iter().copied()), same.min(lens.0).min(lens.1));
        for len in 0..=lens.0 {
            let begins = first.begins(second.words()[0], len);
            assert_eq!(begins, len.min(FIRST_BITS) <= same, "{len} bits");
            if !begins || len <= FIRST_BITS {
                continue;
            }
            for known in 1..=(LEN_BITS + same.min(len)) / 64 {
                let mut done = known as usize;
                let goes_on = first.goes_on(|n| second.words()[n], len, &mut done);
                assert_eq!(goes_on, len <= same, "{len} bits, {known} words known");
                assert_eq!(done, (LEN_BITS + same.min(len)) as usize / 64);
            }
        }
        let mut out = vec![0xee; a_key.len()];
        first.write(&mut out);
        assert_eq!(out, a_key);
    }

    proptest! {
        #[test]
        fn bits_are_those_of_the_data(
            (a, b, lens) in (1..40usize).prop_flat_map(|size| {
                let bytes = || proptest::collection::vec(prop_oneof![Just(0), Just(0x80), any::<u8>()], size);
                let len = || 0..=8 * u32::try_from(size).expect("small");
                (bytes(), bytes(), (len(), len()))
            }),
        ) {
            check::<MOST_WORDS>(&a, &b, lens);
            match words(KEY_HEADER + a.len()) {
                1 => check::<1>(&a, &b, lens),
                2 => check::<2>(&a, &b, lens),
                3 => check::<3>(&a, &b, lens),
                _ => {}
            }
        }
    }

    #[test]
    fn a_length_beyond_the_data_is_none() {
        assert!(Prefix::<1>::new(&key(33, &[0; 4])).is_none());
        assert!(Prefix::<1>::new(&key(32, &[0; 4])).is_some());
        assert!(Prefix::<MOST_WORDS>::new(&key(2048, &[0; 256])).is_some());
        assert!(Prefix::<MOST_WORDS>::new(&key(2049, &[0; 256])).is_none());
        assert!(Prefix::<MOST_WORDS>::new(&key(u32::MAX, &[0; 256])).is_none());
    }
}
