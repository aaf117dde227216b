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
pub(super) const KEY_HEADER: usize = 4;

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
