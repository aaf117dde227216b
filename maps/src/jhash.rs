//! The kernel's general hash of bytes (`include/linux/jhash.h`): Bob Jenkins' lookup3,
//! which he put into the public domain.
//!
//! Three words are mixed with twelve bytes at a time; what is left over, at most twelve
//! bytes, goes through a last round that makes every bit of it count.

/// What all three words begin with, besides length and seed (`JHASH_INITVAL`).
const START: u32 = 0xdead_beef;

/// The hash of bytes (kernel `jhash`). Of no bytes it is a constant plus the seed.
#[inline]
#[must_use]
pub fn jhash(bytes: &[u8], seed: u32) -> u32 {
    let mut state = State::new(bytes.len(), seed);
    let mut rest = bytes;
    while let Some((block, more)) = rest.split_first_chunk::<12>().filter(|(_, m)| !m.is_empty()) {
        state.add(words(block));
        state.mix();
        rest = more;
    }
    if !rest.is_empty() {
        let mut last = [0; 12];
        last[..rest.len()].copy_from_slice(rest);
        state.add(words(&last));
        state.finish();
    }
    state.2
}

/// The hash of whole words (kernel `jhash2`): on a little-endian machine the same as
/// [`jhash`] of their bytes.
#[inline]
#[must_use]
pub fn jhash2(words: &[u32], seed: u32) -> u32 {
    let mut state = State::new(size_of_val(words), seed);
    let mut rest = words;
    while let Some((&block, more)) = rest.split_first_chunk::<3>().filter(|(_, m)| !m.is_empty()) {
        state.add(block);
        state.mix();
        rest = more;
    }
    if !rest.is_empty() {
        let mut last = [0; 3];
        last[..rest.len()].copy_from_slice(rest);
        state.add(last);
        state.finish();
    }
    state.2
}

/// Twelve bytes as little-endian words.
#[inline]
fn words(block: &[u8; 12]) -> [u32; 3] {
    let word =
        |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    [word(0), word(4), word(8)]
}

/// The three words `a`, `b` and `c` of the algorithm.
struct State(u32, u32, u32);

impl State {
    #[inline]
    fn new(len: usize, seed: u32) -> Self {
        // The kernel's length is a u32 too, so longer input wraps there as here.
        #[expect(clippy::cast_possible_truncation, reason = "wraps, as in the kernel")]
        let start = START.wrapping_add(len as u32).wrapping_add(seed);
        Self(start, start, start)
    }

    #[inline]
    fn add(&mut self, words: [u32; 3]) {
        self.0 = self.0.wrapping_add(words[0]);
        self.1 = self.1.wrapping_add(words[1]);
        self.2 = self.2.wrapping_add(words[2]);
    }

    /// `__jhash_mix`: reversible, so that nothing of what came before is lost.
    #[inline]
    fn mix(&mut self) {
        let Self(a, b, c) = self;
        for (turn, step) in [4, 6, 8, 16, 19, 4].into_iter().enumerate() {
            // The three words take turns: x -= z, x ^= z <<< step, z += y.
            let (x, y, z) = match turn % 3 {
                0 => (&mut *a, &mut *b, &mut *c),
                1 => (&mut *b, &mut *c, &mut *a),
                _ => (&mut *c, &mut *a, &mut *b),
            };
            *x = x.wrapping_sub(*z) ^ z.rotate_left(step);
            *z = z.wrapping_add(*y);
        }
    }

    /// `__jhash_final`: every bit of the words reaches every bit of `c`.
    #[inline]
    fn finish(&mut self) {
        let Self(a, b, c) = self;
        for (turn, step) in [14, 11, 25, 16, 4, 14, 24].into_iter().enumerate() {
            // In turns: x ^= y, x -= y <<< step.
            let (x, y) = match turn % 3 {
                0 => (&mut *c, &mut *b),
                1 => (&mut *a, &mut *c),
                _ => (&mut *b, &mut *a),
            };
            *x = (*x ^ *y).wrapping_sub(y.rotate_left(step));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_the_algorithms_author_come_out() {
        let text = b"Four score and seven years ago";
        assert_eq!(jhash(b"", 0), 0xdead_beef);
        assert_eq!(jhash(b"", 0xdead_beef), 0xbd5b_7dde);
        assert_eq!(jhash(text, 0), 0x1777_0551);
        assert_eq!(jhash(text, 1), 0xcd62_8161);
    }

    #[test]
    fn values_that_a_kernel_took_for_each_other_have_the_same_hash() {
        // A filter of one hash and 2^32 bits held the first of each pair and found the
        // second; see testdata/semantics/bloom-filter.txt.
        let pairs: [(&[u8], &[u8]); 3] = [
            (&[0x8f, 0xea, 0x85, 0x0c], &[0x47, 0xd8, 0x34, 0x90]),
            (&[0x35, 0x3f, 0x72, 0xa5, 0x0b], &[0xad, 0xd9, 0xe2, 0x2d, 0xae]),
            (
                &[0xd8, 0xe2, 0x17, 0xc7, 0x64, 0x46, 0xfd, 0xb6, 0x5b, 0x6c, 0xf1, 0x8b, 0x63],
                &[0x89, 0xf1, 0xa3, 0x06, 0x7e, 0xd8, 0x2a, 0x2d, 0x96, 0xc4, 0xf8, 0x51, 0x03],
            ),
        ];
        for (first, second) in pairs {
            assert_eq!(jhash(first, 0), jhash(second, 0), "{first:x?} {second:x?}");
        }
    }

    #[test]
    fn words_hash_as_their_bytes() {
        let words: Vec<u32> = (1..20u32).map(|n| n.wrapping_mul(0x9e37_79b9)).collect();
        for len in 0..words.len() {
            let bytes: Vec<u8> = words[..len].iter().flat_map(|word| word.to_le_bytes()).collect();
            assert_eq!(jhash2(&words[..len], 7), jhash(&bytes, 7), "{len} words");
        }
    }
}
