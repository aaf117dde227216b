//! Integer operations of the instruction set that `u32` and `u64` share.

use skep_memory::Word;

/// What the semantics column of the table needs beyond the inherent methods of
/// unsigned integers.
pub(crate) trait Int: Word {
    /// The same bits as a signed integer.
    type Signed: Ord;

    /// The same bits as a signed integer.
    fn signed(self) -> Self::Signed;

    /// Shifts left by the low bits of `count` (RFC 9669 §4.1: masked, so a shift by
    /// the width is a shift by 0).
    fn lsh(self, count: Self) -> Self;

    /// Shifts right, filling with zeros; `count` is masked.
    fn rsh(self, count: Self) -> Self;

    /// Shifts right, filling with the sign; `count` is masked.
    fn arsh(self, count: Self) -> Self;

    /// Signed division, truncating: by 0 it is 0, and MIN / -1 is MIN.
    fn sdiv(self, divisor: Self) -> Self;

    /// Signed remainder with the sign of the dividend: by 0 it is the dividend.
    fn smod(self, divisor: Self) -> Self;

    /// Sign-extends the low `bits` bits.
    fn sign_extend(self, bits: u32) -> Self;
}

macro_rules! ints {
    ($($unsigned:ident $signed:ident)*) => { $(
        #[allow(
            clippy::cast_possible_truncation,
            reason = "shift counts are masked to the width; the low bits are all that counts"
        )]
        impl Int for $unsigned {
            type Signed = $signed;

            #[inline(always)]
            fn signed(self) -> $signed {
                self.cast_signed()
            }

            #[inline(always)]
            fn lsh(self, count: Self) -> Self {
                self.wrapping_shl(count as u32)
            }

            #[inline(always)]
            fn rsh(self, count: Self) -> Self {
                self.wrapping_shr(count as u32)
            }

            #[inline(always)]
            fn arsh(self, count: Self) -> Self {
                self.signed().wrapping_shr(count as u32).cast_unsigned()
            }

            #[inline(always)]
            fn sdiv(self, divisor: Self) -> Self {
                if divisor == 0 {
                    return 0;
                }
                self.signed().wrapping_div(divisor.signed()).cast_unsigned()
            }

            #[inline(always)]
            fn smod(self, divisor: Self) -> Self {
                if divisor == 0 {
                    return self;
                }
                self.signed().wrapping_rem(divisor.signed()).cast_unsigned()
            }

            #[inline(always)]
            fn sign_extend(self, bits: u32) -> Self {
                let unused = $unsigned::BITS - bits;
                ((self << unused).signed() >> unused).cast_unsigned()
            }
        }
    )* };
}
ints! { u32 i32 u64 i64 }
