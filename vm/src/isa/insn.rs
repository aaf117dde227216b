//! One instruction slot as it stands in memory, bit for bit.

use std::fmt;

/// One 8-byte instruction slot (RFC 9669 §3): every bit pattern is a value of
/// this type, so that decoding and encoding lose nothing.
///
/// A 64-bit immediate (`lddw`) takes two slots; the second has `code` 0 and
/// carries the upper half in `imm`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Insn {
    /// The opcode byte: class, size or operation, mode or source.
    pub code: u8,
    /// Destination register number, 0–15 (only 0–10 exist).
    pub dst: u8,
    /// Source register number, or a sub-code of `call` and `lddw`; 0–15.
    pub src: u8,
    /// Signed 16-bit offset: a displacement in bytes or a jump in slots.
    pub off: i16,
    /// Signed 32-bit immediate.
    pub imm: i32,
}

impl Insn {
    /// Size of a slot in bytes.
    pub const SIZE: usize = 8;

    /// Reads a little-endian slot (the layout of `bpfel` objects).
    #[must_use]
    pub const fn from_le_bytes(b: [u8; 8]) -> Self {
        Self {
            code: b[0],
            dst: b[1] & 0xf,
            src: b[1] >> 4,
            off: i16::from_le_bytes([b[2], b[3]]),
            imm: i32::from_le_bytes([b[4], b[5], b[6], b[7]]),
        }
    }

    /// Reads a big-endian slot (`bpfeb` objects): byte order and the order of
    /// the two register nibbles are swapped.
    #[must_use]
    pub const fn from_be_bytes(b: [u8; 8]) -> Self {
        Self {
            code: b[0],
            dst: b[1] >> 4,
            src: b[1] & 0xf,
            off: i16::from_be_bytes([b[2], b[3]]),
            imm: i32::from_be_bytes([b[4], b[5], b[6], b[7]]),
        }
    }

    /// Writes the little-endian slot; the inverse of [`Insn::from_le_bytes`].
    #[must_use]
    pub const fn to_le_bytes(self) -> [u8; 8] {
        let off = self.off.to_le_bytes();
        let imm = self.imm.to_le_bytes();
        let regs = (self.dst & 0xf) | (self.src << 4);
        [self.code, regs, off[0], off[1], imm[0], imm[1], imm[2], imm[3]]
    }

    /// Reads a run of little-endian slots; `None` when the length is not a
    /// multiple of eight.
    #[must_use]
    pub fn parse_le(bytes: &[u8]) -> Option<Vec<Self>> {
        let (slots, rest) = bytes.as_chunks::<8>();
        rest.is_empty().then(|| slots.iter().map(|&slot| Self::from_le_bytes(slot)).collect())
    }
}

impl fmt::Debug for Insn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, dst, src, off, imm } = self;
        write!(f, "Insn({code:#04x} dst {dst} src {src} off {off} imm {imm:#x})")
    }
}
