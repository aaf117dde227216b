//! Reading integers of either byte order out of bytes that nobody vouches for.

/// The byte order of an object: `bpfel` or `bpfeb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endian {
    /// Least significant byte first (`bpfel`).
    Little,
    /// Most significant byte first (`bpfeb`).
    Big,
}

impl Endian {
    /// As `skep inspect` prints it: `little` or `big`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Little => "little",
            Self::Big => "big",
        }
    }

    pub(crate) fn u16(self, bytes: &[u8], offset: usize) -> Option<u16> {
        let bytes = *bytes.get(offset..)?.first_chunk()?;
        Some(match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        })
    }

    pub(crate) fn u32(self, bytes: &[u8], offset: usize) -> Option<u32> {
        let bytes = *bytes.get(offset..)?.first_chunk()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        })
    }

    pub(crate) fn u64(self, bytes: &[u8], offset: usize) -> Option<u64> {
        let bytes = *bytes.get(offset..)?.first_chunk()?;
        Some(match self {
            Self::Little => u64::from_le_bytes(bytes),
            Self::Big => u64::from_be_bytes(bytes),
        })
    }
}

/// The part of `bytes` up to its first NUL, if that comes within `limit` bytes.
pub(crate) fn until_nul(bytes: &[u8], limit: usize) -> Option<&[u8]> {
    let end = bytes.iter().take(limit.saturating_add(1)).position(|&b| b == 0)?;
    bytes.get(..end)
}

/// A file offset or size as an index; the largest index when it does not fit,
/// which no slice holds.
pub(crate) fn index(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_past_the_end_yield_nothing() {
        let bytes = [1, 2, 3, 4];
        assert_eq!(Endian::Little.u16(&bytes, 2), Some(0x0403));
        assert_eq!(Endian::Big.u32(&bytes, 0), Some(0x0102_0304));
        assert_eq!(Endian::Big.u32(&bytes, 1), None);
        assert_eq!(Endian::Little.u64(&bytes, usize::MAX), None);
    }

    #[test]
    fn a_string_must_end_within_the_limit() {
        assert_eq!(until_nul(b"ab\0", 2), Some(&b"ab"[..]));
        assert_eq!(until_nul(b"ab\0", 1), None);
        assert_eq!(until_nul(b"ab", 9), None);
    }
}
