//! Types as compilers write them, in the form that the kernel takes.
//!
//! Compilers leave to the loader what a linker would know: the sizes of data sections and
//! where variables stand in them. libbpf fills them in; programs do not need them, so here
//! sections lose their variables, and keep their number.

const MAGIC: [u8; 2] = [0x9f, 0xeb];
const KIND_INT: u32 = 1;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_ENUM64: u32 = 19;
/// Linkage of what another object defines.
const EXTERN: u32 = 2;
/// Words of the header and of what all types have.
const HEADER: usize = 6;
const COMMON: usize = 3;

/// The types of an object, of this machine's byte order, as the kernel takes them: with the
/// same numbers, but for the contents of data sections, and functions and variables of other
/// objects. `None` when they are malformed.
#[must_use]
pub fn loadable(blob: &[u8]) -> Option<Vec<u8>> {
    let (head, _) = blob.as_chunks::<4>();
    let word = |at: usize| head.get(at).map(|&bytes| u32::from_le_bytes(bytes));
    if blob.get(..2)? != MAGIC {
        return None;
    }
    let header_len = word(1)?;
    let part = |offset: u32, len: u32| {
        let start = usize::try_from(header_len.checked_add(offset)?).ok()?;
        blob.get(start..start.checked_add(usize::try_from(len).ok()?)?)
    };
    let types = part(word(2)?, word(3)?)?;
    let strings = part(word(4)?, word(5)?)?;
    let types = retyped(types)?;
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).ok();
    let header =
        [word(0)?, 4 * u32::try_from(HEADER).ok()?, 0, len(&types)?, len(&types)?, len(strings)?];
    let mut out: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    out.extend(types);
    out.extend_from_slice(strings);
    Some(out)
}

fn retyped(types: &[u8]) -> Option<Vec<u8>> {
    let words: Vec<u32> = types.as_chunks::<4>().0.iter().map(|&w| u32::from_le_bytes(w)).collect();
    let mut out = Vec::with_capacity(words.len());
    let mut at = 0;
    while at < words.len() {
        let common = words.get(at..at + COMMON)?;
        let (kind, vlen) = (common[1] >> 24 & 0x1f, common[1] & 0xffff);
        let more = match kind {
            KIND_INT | KIND_VAR | KIND_DECL_TAG => 1,
            KIND_ARRAY => 3,
            KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => 3 * vlen,
            KIND_ENUM | KIND_FUNC_PROTO => 2 * vlen,
            _ => 0,
        };
        let behind = at + COMMON + usize::try_from(more).ok()?;
        let rest = words.get(at + COMMON..behind)?;
        at = behind;
        match kind {
            KIND_FUNC if vlen == EXTERN => out.extend(nothing()),
            KIND_DATASEC => out.extend(nothing()),
            KIND_VAR if rest.first() == Some(&EXTERN) => {
                out.extend_from_slice(common);
                out.push(1);
            }
            _ => {
                out.extend_from_slice(common);
                out.extend_from_slice(rest);
            }
        }
    }
    Some(out.into_iter().flat_map(u32::to_le_bytes).collect())
}

/// A structure without members.
fn nothing() -> [u32; COMMON] {
    [0, KIND_STRUCT << 24, 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bytes_are_too_strange() {
        let mut blob = vec![0x9f, 0xeb, 1, 0];
        for word in [24u32, 0, 24, 24, 2] {
            blob.extend(word.to_le_bytes());
        }
        // A section with one variable of size 0.
        for word in [1, KIND_DATASEC << 24 | 1, 0, 1, 0, 0] {
            blob.extend(u32::to_le_bytes(word));
        }
        blob.extend([0, b'm']);
        let cleaned = loadable(&blob).expect("well-formed");
        assert_eq!(cleaned.len(), 24 + 12 + 2);
        assert_eq!(cleaned[24 + 4..24 + 8], (KIND_STRUCT << 24).to_le_bytes());
        for len in 0..blob.len() {
            assert_eq!(loadable(&blob[..len]), None, "{len}");
        }
        for at in 0..blob.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut broken = blob.clone();
                broken[at] = value;
                let _ = loadable(&broken);
            }
        }
    }
}
