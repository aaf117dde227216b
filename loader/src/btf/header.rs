//! The header of `.BTF`: byte order, and where types and strings are.

use crate::bytes::Endian;
use crate::error::{LoadError, Site};

const MAGIC: u16 = 0xeb9f;

/// The header and the two areas it points to.
pub(super) struct Header<'a> {
    pub(super) endian: Endian,
    pub(super) types: &'a [u8],
    pub(super) types_at: usize,
    pub(super) strings: &'a str,
}

impl<'a> Header<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, LoadError> {
        let error = |at: usize, reason: &str| LoadError::Btf {
            site: Site::at(".BTF", at as u64),
            reason: reason.into(),
        };
        let endian = magic(bytes).ok_or_else(|| error(0, "no BTF magic number"))?;
        if bytes.get(2) != Some(&1) {
            return Err(error(2, "not version 1"));
        }
        let word = |at| endian.u32(bytes, at).ok_or_else(|| error(at, "truncated header"));
        let header_len = word(4)?;
        if header_len < 24 {
            return Err(error(4, "the header is shorter than 24 bytes"));
        }
        let area = |at: usize, what: &str| {
            let start = u64::from(header_len) + u64::from(word(at)?);
            let end = start + u64::from(word(at + 4)?);
            usize::try_from(start)
                .ok()
                .zip(usize::try_from(end).ok())
                .and_then(|(start, end)| Some((start, bytes.get(start..end)?)))
                .ok_or_else(|| error(at, &format!("the {what} lead out of the section")))
        };
        let (types_at, types) = area(8, "types")?;
        let (strings_at, strings) = area(16, "strings")?;
        if strings.first() != Some(&0) || strings.last() != Some(&0) {
            return Err(error(strings_at, "the strings do not start and end with a zero byte"));
        }
        let strings = str::from_utf8(strings)
            .map_err(|e| error(strings_at + e.valid_up_to(), "the strings are not UTF-8"))?;
        Ok(Self { endian, types, types_at, strings })
    }
}

/// For each byte of the strings, the offset of the next zero byte. Names may share
/// bytes: looking for the end of each again would take quadratic time.
pub(super) fn ends(strings: &str) -> Vec<u32> {
    let mut end = 0;
    let bytes = strings.bytes().enumerate().rev();
    let mut ends: Vec<u32> = bytes
        .map(|(at, byte)| {
            if byte == 0 {
                // The header limits the section to 32 bits.
                end = u32::try_from(at).unwrap_or(u32::MAX);
            }
            end
        })
        .collect();
    ends.reverse();
    ends
}

/// The byte order that makes the magic number right.
pub(super) fn magic(bytes: &[u8]) -> Option<Endian> {
    [Endian::Little, Endian::Big].into_iter().find(|endian| endian.u16(bytes, 0) == Some(MAGIC))
}
