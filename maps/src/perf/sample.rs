//! A sample in the buffer of a perf event.

use super::ring::Ring;

/// A sample's raw data, in the buffer itself. The buffer is not overwritten while its
/// reader looks at it, but for samples of more than 64 KiB: what is read then is bytes,
/// whatever they are.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'r> {
    ring: &'r Ring,
    pos: u64,
    len: usize,
}

impl<'r> Sample<'r> {
    /// The sample whose length stands at `pos`, if that agrees with the `len` bytes of the
    /// record behind its header.
    pub(super) fn at(ring: &'r Ring, pos: u64, len: u64) -> Option<Self> {
        let mut own = [0; 4];
        ring.read(pos, &mut own);
        let own = u32::from_le_bytes(own);
        let agrees = len.checked_sub(4) == Some(own.into());
        agrees.then_some(Self { ring, pos: pos + 4, len: own as usize })
    }

    /// How many bytes it has, padding included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies its bytes from `offset` on out.
    ///
    /// # Panics
    ///
    /// When they do not all lie inside it.
    pub fn read(&self, offset: usize, out: &mut [u8]) {
        let inside = offset.checked_add(out.len()).is_some_and(|end| end <= self.len);
        assert!(inside, "{} bytes at {offset} of a sample of {} bytes", out.len(), self.len);
        self.ring.read(self.pos + offset as u64, out);
    }

    /// Copies it into a new vector.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        self.read(0, &mut bytes);
        bytes
    }
}
