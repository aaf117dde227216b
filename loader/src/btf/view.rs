//! A cursor on a type, for walking the bytes of a value.
//!
//! A renderer is one `match` on [`View::shape`]: arrays and structs lead to further
//! views, everything else is a [`View::scalar`].

use crate::bytes::Endian;

use super::Btf;
use super::types::{Composite, Encoding, Enum, Int, Type, TypeId};

/// A type in its BTF. Cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    btf: &'a Btf,
    id: TypeId,
}

/// What a type is once typedefs, qualifiers and type tags are looked through.
#[derive(Debug, Clone, Copy)]
pub enum Shape<'a> {
    /// No value: `void`, a function, a forward declaration.
    Opaque,
    /// An integer.
    Int(Int),
    /// A floating-point number of `size` bytes.
    Float {
        /// Size in bytes.
        size: u32,
    },
    /// An enumeration.
    Enum(&'a Enum),
    /// A pointer, and what it points to.
    Ptr(View<'a>),
    /// An array.
    Array {
        /// The element.
        element: View<'a>,
        /// How many; 0 for a flexible array.
        len: u32,
    },
    /// A struct; walk [`View::members`].
    Struct(&'a Composite),
    /// A union; walk [`View::members`].
    Union(&'a Composite),
}

/// A value without parts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar<'a> {
    /// An unsigned number, or a pointer.
    Unsigned(u128),
    /// A signed number.
    Signed(i128),
    /// True or false.
    Bool(bool),
    /// A `float` or `double`.
    Float(f64),
    /// A constant of an enumeration; the name of the first one with that value.
    Enum(Option<&'a str>, i128),
}

/// A member of a struct or union.
#[derive(Debug, Clone, Copy)]
pub struct MemberView<'a> {
    /// The name; empty for an anonymous struct or union.
    pub name: &'a str,
    /// The type.
    pub view: View<'a>,
    /// Where it starts, in bits from the start of the struct.
    pub bit_offset: u32,
    /// The width in bits of a bitfield.
    pub bits: Option<u8>,
}

impl<'a> View<'a> {
    pub(super) fn new(btf: &'a Btf, id: TypeId) -> Self {
        Self { btf, id }
    }

    /// The type information that it is part of.
    #[must_use]
    pub fn btf(&self) -> &'a Btf {
        self.btf
    }

    /// The type's number.
    #[must_use]
    pub fn id(&self) -> TypeId {
        self.id
    }

    /// The type as written, typedefs and all.
    #[must_use]
    pub fn ty(&self) -> &'a Type {
        self.btf.ty(self.id)
    }

    /// The type's own name; empty when it has none.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.btf.name(self.id)
    }

    /// The type as C spells it: `unsigned int`, `struct event *`, `char[16]`.
    #[must_use]
    pub fn c_name(&self) -> String {
        self.btf.c_name(self.id)
    }

    /// Size of a value in bytes; `None` when it has none.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.btf.size_of(self.id)
    }

    /// What the type is.
    #[must_use]
    pub fn shape(&self) -> Shape<'a> {
        let view = |id| Self::new(self.btf, id);
        match self.btf.ty(self.btf.resolve(self.id)) {
            Type::Int(int) => Shape::Int(*int),
            Type::Float { size, .. } => Shape::Float { size: *size },
            Type::Enum(enumeration) => Shape::Enum(enumeration),
            Type::Ptr(target) => Shape::Ptr(view(*target)),
            Type::Array(array) => Shape::Array { element: view(array.element), len: array.len },
            Type::Struct(composite) => Shape::Struct(composite),
            Type::Union(composite) => Shape::Union(composite),
            Type::Var { target, .. } => view(*target).shape(),
            _ => Shape::Opaque,
        }
    }

    /// A `char`, whose arrays are text. Only the name tells: clang has no flag for it,
    /// and gcc's is set for `unsigned char` too, whose arrays are addresses and hashes.
    #[must_use]
    pub fn is_char(&self) -> bool {
        match self.shape() {
            Shape::Int(int) => int.size == 1 && self.btf.str(int.name) == "char",
            _ => false,
        }
    }

    /// The members of a struct or union, in order; none for other types.
    pub fn members(&self) -> impl ExactSizeIterator<Item = MemberView<'a>> + use<'a> {
        let members: &'a [_] = match self.shape() {
            Shape::Struct(composite) | Shape::Union(composite) => &composite.members,
            _ => &[],
        };
        let btf = self.btf;
        members.iter().map(move |member| {
            let view = Self::new(btf, member.target);
            let (mut bit_offset, mut bits) = (member.bit_offset, member.bits);
            // clang 7 and older: a bitfield is a member of an odd integer type.
            if let Shape::Int(int) = view.shape()
                && bits.is_none()
                && u32::from(int.bits) != int.size * 8
            {
                bit_offset = bit_offset.saturating_add(int.offset.into());
                bits = Some(int.bits);
            }
            MemberView { name: btf.str(member.name), view, bit_offset, bits }
        })
    }

    /// Reads a value without parts from the start of `bytes`; `None` for arrays,
    /// structs and what has no value, and when `bytes` are too few.
    #[must_use]
    pub fn scalar(&self, bytes: &[u8]) -> Option<Scalar<'a>> {
        let bits = u32::try_from(self.size()?.checked_mul(8)?).ok()?;
        self.scalar_of(read_bits(bytes, 0, bits, self.btf.endian())?, bits)
    }

    fn scalar_of(&self, raw: u128, bits: u32) -> Option<Scalar<'a>> {
        Some(match self.shape() {
            Shape::Int(int) => match int.encoding {
                Encoding::Unsigned => Scalar::Unsigned(raw),
                Encoding::Signed => Scalar::Signed(sign_extend(raw, bits)),
                Encoding::Bool => Scalar::Bool(raw != 0),
            },
            Shape::Ptr(_) => Scalar::Unsigned(raw),
            Shape::Float { size: 4 } => {
                Scalar::Float(f32::from_bits(u32::try_from(raw).ok()?).into())
            }
            Shape::Float { size: 8 } => Scalar::Float(f64::from_bits(u64::try_from(raw).ok()?)),
            Shape::Enum(enumeration) => {
                let value = match enumeration.signed {
                    true => sign_extend(raw, bits),
                    false => i128::try_from(raw).ok()?,
                };
                let same = |candidate: u64| match enumeration.signed {
                    true => i128::from(candidate.cast_signed()) == value,
                    false => i128::from(candidate) == value,
                };
                let found = enumeration.values.iter().find(|known| same(known.value));
                Scalar::Enum(found.map(|known| self.btf.str(known.name)), value)
            }
            _ => return None,
        })
    }
}

impl<'a> MemberView<'a> {
    /// Where the member starts in its struct, in bytes; for a bitfield, the byte that
    /// holds its first bit.
    #[must_use]
    pub fn offset(&self) -> u32 {
        self.bit_offset / 8
    }

    /// The member's own bytes out of those of its struct; `None` when they are too
    /// few, for bitfields and for what has no size. A flexible array has what is
    /// left of `value`.
    #[must_use]
    pub fn bytes<'b>(&self, value: &'b [u8]) -> Option<&'b [u8]> {
        if self.bits.is_some() {
            return None;
        }
        let rest = value.get(self.offset() as usize..)?;
        match self.view.shape() {
            Shape::Array { len: 0, .. } => Some(rest),
            _ => rest.get(..usize::try_from(self.view.size()?).ok()?),
        }
    }

    /// As [`View::scalar`], out of the bytes of the struct; reads bitfields too.
    #[must_use]
    pub fn scalar(&self, value: &[u8]) -> Option<Scalar<'a>> {
        match self.bits {
            None => self.view.scalar(self.bytes(value)?),
            Some(bits) => {
                let endian = self.view.btf.endian();
                let raw = read_bits(value, self.bit_offset, bits.into(), endian)?;
                self.view.scalar_of(raw, bits.into())
            }
        }
    }
}

/// Reads `bits` bits from bit `offset` on; `None` when there are not so many, or
/// more than 128 are asked for.
///
/// Bits count from the least significant one of the first byte in a little-endian
/// value, from the most significant one in a big-endian value, as compilers lay out
/// bitfields.
#[must_use]
pub fn read_bits(bytes: &[u8], offset: u32, bits: u32, endian: Endian) -> Option<u128> {
    if bits == 0 || bits > 128 {
        return None;
    }
    let first = (offset / 8) as usize;
    let skip = offset % 8;
    let count = (skip + bits).div_ceil(8) as usize;
    let window = bytes.get(first..first.checked_add(count)?)?;
    // The window holds up to 17 bytes: 136 bits. Take the outermost byte apart.
    let mask = u128::MAX >> (128 - bits);
    let value = match endian {
        Endian::Little => {
            let (low, high) = window.split_at(count.min(16));
            let base = low.iter().rev().fold(0u128, |value, &byte| value << 8 | u128::from(byte));
            let top = high.first().map_or(0, |&byte| u128::from(byte) << (128 - skip));
            base >> skip | top
        }
        Endian::Big => {
            let after = u32::try_from(count).ok()? * 8 - skip - bits;
            let (high, low) = window.split_at(count.min(16));
            let base = high.iter().fold(0u128, |value, &byte| value << 8 | u128::from(byte));
            match low.first() {
                Some(&byte) => base << (8 - after) | u128::from(byte >> after),
                None => base >> after,
            }
        }
    };
    Some(value & mask)
}

fn sign_extend(raw: u128, bits: u32) -> i128 {
    let unused = 128_u32.saturating_sub(bits).min(127);
    (raw << unused).cast_signed() >> unused
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bit by bit, the slow way.
    fn by_bits(bytes: &[u8], offset: u32, bits: u32, endian: Endian) -> u128 {
        (0..bits).fold(0, |value, n| {
            let at = offset + n;
            let byte = bytes[(at / 8) as usize];
            match endian {
                Endian::Little => value | u128::from(byte >> (at % 8) & 1) << n,
                Endian::Big => value << 1 | u128::from(byte >> (7 - at % 8) & 1),
            }
        })
    }

    #[test]
    fn bits_are_read_at_every_offset_and_width() {
        let bytes: Vec<u8> = (0..20u8).map(|n| n.wrapping_mul(73) ^ 0xa5).collect();
        for endian in [Endian::Little, Endian::Big] {
            for offset in 0..32 {
                for bits in 1..=128 {
                    let want = by_bits(&bytes, offset, bits, endian);
                    assert_eq!(read_bits(&bytes, offset, bits, endian), Some(want));
                }
            }
        }
        assert_eq!(read_bits(&bytes, 153, 8, Endian::Little), None);
        assert_eq!(read_bits(&bytes, 0, 0, Endian::Little), None);
        assert_eq!(read_bits(&bytes, u32::MAX, 128, Endian::Big), None);
    }

    #[test]
    fn a_sign_bit_is_carried_up() {
        assert_eq!(sign_extend(0b101, 3), -3);
        assert_eq!(sign_extend(0b011, 3), 3);
        assert_eq!(sign_extend(u128::MAX, 128), -1);
    }
}
