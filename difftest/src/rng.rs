//! Random numbers that are the same on every machine.

/// SplitMix64: 64 bits of state, every seed as good as any other. Before that come choices that
/// somebody else made, if there are any.
#[derive(Debug, Clone)]
pub struct Rng {
    state: u64,
    /// Bytes to be used before anything is random, the last first.
    choices: Vec<u8>,
}

/// Where arithmetic goes wrong, if it does.
const EDGES: [i64; 16] = [
    0,
    1,
    2,
    -1,
    -2,
    i64::MIN,
    i64::MAX,
    0x7fff_ffff,
    -0x8000_0000,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    -0x1_0000_0000,
    0x80,
    0xffff,
    0x1234_5678_9abc_def0,
];

impl Rng {
    /// The generator with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed, choices: Vec::new() }
    }

    /// The generator that makes choices by these bytes, a byte for one of up to 256 things, and
    /// is random when none are left: so that a change of one byte is a change of one choice.
    #[must_use]
    pub fn with_choices(bytes: &[u8]) -> Self {
        let seed =
            bytes.iter().fold(0, |sum: u64, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        Self { state: seed, choices: bytes.iter().rev().copied().collect() }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        if let Some(rest) = self.choices.len().checked_sub(8) {
            let word = self.choices.split_off(rest);
            return word.into_iter().fold(0, |word, byte| word << 8 | u64::from(byte));
        }
        self.choices.clear();
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        match self.choices.pop() {
            Some(byte) if limit <= 256 => u64::from(byte) % limit,
            Some(byte) => {
                self.choices.push(byte);
                self.bits() % limit
            }
            None => self.bits() % limit,
        }
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: i32, high: i32) -> i32 {
        let span = i64::from(high) - i64::from(low) + 1;
        let step = self.below(span.cast_unsigned()).cast_signed();
        i32::try_from(i64::from(low) + step).expect("between two i32")
    }

    /// True in one of `n` cases.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of the items.
    ///
    /// # Panics
    /// When there is none.
    pub fn pick<'t, T>(&mut self, items: &'t [T]) -> &'t T {
        let at = self.below(items.len() as u64);
        &items[usize::try_from(at).expect("an index")]
    }

    /// A number at which arithmetic may go wrong, near one, or any.
    pub fn value(&mut self) -> u64 {
        let edge = *self.pick(&EDGES);
        match self.below(4) {
            0 => self.bits(),
            1 => edge.wrapping_add(i64::from(self.between(-3, 3))).cast_unsigned(),
            _ => edge.cast_unsigned(),
        }
    }

    /// The like for an immediate.
    pub fn imm(&mut self) -> i32 {
        let [a, b, c, d, ..] = self.value().to_le_bytes();
        i32::from_le_bytes([a, b, c, d])
    }

    /// `len` bytes made of such values.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let words = std::iter::repeat_with(|| self.value().to_le_bytes());
        words.flatten().take(len).collect()
    }
}
