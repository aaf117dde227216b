//! Access rights and the words that guest memory is read and written in.
//!
//! The shadow's format is defined here and nowhere else: one byte per guest byte,
//! [`Access::None`] is 0 (so that untouched, lazily mapped shadow pages deny
//! everything), [`Access::Read`] has the low bit set, [`Access::Write`] the high bit,
//! [`Access::ReadWrite`] all bits. A load of N bytes is allowed when N shadow bytes have
//! their low bit set: one load and one comparison for any width. A store is allowed when
//! they have their high bit set; nearly all memory that is stored to may be read, too, so
//! they are compared with all ones first.

/// What programs may do with a guest byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    None,
    /// Load it.
    Read,
    /// Store it.
    Write,
    /// Load and store it.
    ReadWrite,
}

impl Access {
    /// The shadow byte that grants this access.
    #[must_use]
    pub const fn shadow(self) -> u8 {
        match self {
            Self::None => 0x00,
            Self::Read => 0x01,
            Self::Write => 0x80,
            Self::ReadWrite => 0xff,
        }
    }

    /// The access that a shadow byte grants.
    #[must_use]
    pub const fn of_shadow(byte: u8) -> Self {
        match byte {
            0xff => Self::ReadWrite,
            b if b & 0x01 != 0 => Self::Read,
            b if b & 0x80 != 0 => Self::Write,
            _ => Self::None,
        }
    }

    /// Whether this access includes `wanted`.
    #[must_use]
    pub const fn allows(self, wanted: Self) -> bool {
        match wanted {
            Self::None => true,
            Self::Read => matches!(self, Self::Read | Self::ReadWrite),
            Self::Write => matches!(self, Self::Write | Self::ReadWrite),
            Self::ReadWrite => matches!(self, Self::ReadWrite),
        }
    }
}

mod sealed {
    pub trait Sealed {}
}

/// An unsigned integer that guest memory is read and written in: `u8`, `u16`,
/// `u32` or `u64`, little-endian.
pub trait Word: sealed::Sealed + Copy + Eq + std::fmt::Debug + 'static {
    /// Its size in bytes.
    const SIZE: u32;

    /// Zero-extends to 64 bits.
    fn widen(self) -> u64;

    /// Keeps the low bits.
    fn narrow(wide: u64) -> Self;

    /// Whether shadow bytes, read as one word, allow a load.
    fn readable(shadow: Self) -> bool;

    /// Whether shadow bytes, read as one word, allow a store.
    fn writable(shadow: Self) -> bool;

    /// Whether shadow bytes, read as one word, allow a load and a store.
    fn read_writable(shadow: Self) -> bool;
}

macro_rules! words {
    ($($ty:ident)*) => { $(
        impl sealed::Sealed for $ty {}

        impl Word for $ty {
            const SIZE: u32 = $ty::BITS / 8;

            #[inline(always)]
            fn widen(self) -> u64 {
                u64::from(self)
            }

            #[inline(always)]
            #[allow(clippy::cast_possible_truncation, reason = "narrowing is what it is for")]
            fn narrow(wide: u64) -> Self {
                wide as $ty
            }

            #[inline(always)]
            fn readable(shadow: Self) -> bool {
                const LOW_BITS: $ty = $ty::MAX / 0xff;
                shadow & LOW_BITS == LOW_BITS
            }

            #[inline(always)]
            fn writable(shadow: Self) -> bool {
                const HIGH_BITS: $ty = $ty::MAX / 0xff * 0x80;
                shadow & HIGH_BITS == HIGH_BITS
            }

            #[inline(always)]
            fn read_writable(shadow: Self) -> bool {
                shadow == $ty::MAX
            }
        }
    )* };
}
words! { u8 u16 u32 u64 }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shadow_byte_grants_what_it_was_made_from() {
        for access in ALL {
            assert_eq!(Access::of_shadow(access.shadow()), access);
        }
    }

    const ALL: [Access; 4] = [Access::None, Access::Read, Access::Write, Access::ReadWrite];

    #[test]
    fn a_word_may_be_what_all_its_bytes_may_be() {
        for (first, others) in ALL.into_iter().flat_map(|a| ALL.map(|b| (a, b))) {
            let mut bytes = [others.shadow(); 4];
            bytes[1] = first.shadow();
            let word = u32::from_le_bytes(bytes);
            let all = |wanted| first.allows(wanted) && others.allows(wanted);
            assert_eq!(u32::readable(word), all(Access::Read), "{first:?} {others:?}");
            assert_eq!(u32::writable(word), all(Access::Write), "{first:?} {others:?}");
            assert_eq!(u32::read_writable(word), all(Access::ReadWrite), "{first:?} {others:?}");
        }
    }

    #[test]
    fn one_denied_byte_denies_the_word() {
        for bad in 0..8 {
            let mut bytes = [Access::ReadWrite.shadow(); 8];
            bytes[bad] = Access::Read.shadow();
            assert!(u64::readable(u64::from_le_bytes(bytes)));
            assert!(!u64::writable(u64::from_le_bytes(bytes)));
            bytes[bad] = Access::None.shadow();
            assert!(!u64::readable(u64::from_le_bytes(bytes)));
            assert!(!u64::writable(u64::from_le_bytes(bytes)));
        }
    }
}
