//! Numbers of which not all is known: ranges, unsigned and signed, and bits known to be zero.

use crate::isa::{Alu, Cond, Width};

/// What is known of a 64-bit number: it lies in both ranges, and has none of the bits `zeros`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Num {
    pub(crate) min: u64,
    pub(crate) max: u64,
    pub(crate) smin: i64,
    pub(crate) smax: i64,
    /// Bits that are zero.
    zeros: u64,
}

impl Num {
    /// Nothing is known.
    pub(crate) const ANY: Self =
        Self { min: 0, max: u64::MAX, smin: i64::MIN, smax: i64::MAX, zeros: 0 };

    /// Exactly this number.
    pub(crate) const fn exactly(value: u64) -> Self {
        let signed = value.cast_signed();
        Self { min: value, max: value, smin: signed, smax: signed, zeros: !value }
    }

    /// `min` to `max`, unsigned.
    pub(crate) fn range(min: u64, max: u64) -> Self {
        Self { min, max, ..Self::ANY }.settled().unwrap_or(Self::ANY)
    }

    /// `min` to `max`, signed.
    pub(crate) fn signed(smin: i64, smax: i64) -> Self {
        Self { smin, smax, ..Self::ANY }.settled().unwrap_or(Self::ANY)
    }

    /// The multiples of two to the power of `align` from `min` to `max`.
    pub(crate) fn range_of_multiples(min: u64, max: u64, align: u32) -> Self {
        let zeros = (1u64 << align.min(63)) - 1;
        Self { min, max, zeros, ..Self::ANY }.settled().unwrap_or(Self::ANY)
    }

    /// Any number of so many bits.
    pub(crate) fn bits(bits: u32) -> Self {
        if bits >= 64 { Self::ANY } else { Self::range(0, (1 << bits) - 1) }
    }

    /// The number, when there is only one.
    pub(crate) fn value(self) -> Option<u64> {
        (self.min == self.max).then_some(self.min)
    }

    /// How many of the lowest bits are zero.
    pub(crate) fn trailing_zeros(self) -> u32 {
        (!self.zeros).trailing_zeros()
    }

    /// Lets each kind of knowledge sharpen the others; `None` when they contradict.
    fn settled(mut self) -> Option<Self> {
        self.max = self.max.min(!self.zeros);
        // Where the unsigned range does not cross the sign, it is a signed one, and vice versa.
        if self.min.cast_signed() <= self.max.cast_signed() {
            self.smin = self.smin.max(self.min.cast_signed());
            self.smax = self.smax.min(self.max.cast_signed());
        }
        if self.smin >= 0 || self.smax < 0 {
            self.min = self.min.max(self.smin.cast_unsigned());
            self.max = self.max.min(self.smax.cast_unsigned());
        }
        if self.min > self.max || self.smin > self.smax {
            return None;
        }
        self.zeros |= match self.max.leading_zeros() {
            64 => u64::MAX,
            0 => 0,
            leading => u64::MAX << (64 - leading),
        };
        if self.min == self.max {
            return Some(Self::exactly(self.min));
        }
        Some(self)
    }

    /// One or the other.
    pub(crate) fn join(self, other: Self) -> Self {
        Self {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            smin: self.smin.min(other.smin),
            smax: self.smax.max(other.smax),
            zeros: self.zeros & other.zeros,
        }
    }

    /// This, grown from `before`: what has moved is given up, so that growing ends.
    pub(crate) fn widened(self, before: Self) -> Self {
        let Self { mut min, mut max, mut smin, mut smax, zeros } = self.join(before);
        if min < before.min {
            min = 0;
        }
        if max > before.max {
            // Numbers of 32 bits often stay that.
            max = if max <= u64::from(u32::MAX) { u64::from(u32::MAX) } else { u64::MAX };
        }
        if smin < before.smin {
            smin = i64::MIN;
        }
        if smax > before.smax {
            smax = if max <= u64::from(u32::MAX) { i64::from(u32::MAX) } else { i64::MAX };
        }
        let grown = Self { min, max, smin, smax, zeros: zeros & before.zeros };
        // The range of 32 bits is one of zero bits, too.
        Self {
            zeros: grown.zeros & !(u64::MAX.checked_shr(max.leading_zeros()).unwrap_or(0)),
            ..grown
        }
        .settled()
        .unwrap_or(Self::ANY)
    }

    /// Its low 32 bits.
    pub(crate) fn low(self) -> Self {
        let most = u64::from(u32::MAX);
        if self.max <= most {
            return self;
        }
        let zeros = self.zeros | !most;
        let low = Self { min: 0, max: most, smin: 0, smax: i64::from(u32::MAX), zeros };
        low.settled().unwrap_or(Self::bits(32))
    }

    /// `self ∘ other`.
    pub(crate) fn alu(self, alu: Alu, width: Width, other: Self) -> Self {
        let (a, b) = match width {
            Width::W64 => (self, other),
            Width::W32 => (self.low(), other.low()),
        };
        if let (Some(a), Some(b)) = (a.value(), b.value()) {
            return Self::exactly(alu.apply(width, a, b));
        }
        let result = match alu {
            Alu::Add => a.add(b),
            Alu::Sub => a.sub(b),
            Alu::Mul => a.mul(b),
            Alu::And => a.and(b),
            Alu::Or => a.or(b, a.min.max(b.min)),
            Alu::Xor => a.or(b, 0),
            Alu::Mov => b,
            Alu::Lsh => a.lsh(b, width),
            Alu::Rsh => a.rsh(b, width),
            Alu::Arsh => a.arsh(b, width),
            Alu::Div => match b.value() {
                Some(by @ 1..) => Self::range(a.min / by, a.max / by),
                _ => Self::range(0, a.max),
            },
            Alu::Mod => match b.value() {
                Some(by @ 1..) => Self::range(0, a.max.min(by - 1)),
                _ => Self::range(0, a.max),
            },
            Alu::Sdiv | Alu::Smod => Self::ANY,
        };
        match width {
            Width::W64 => result,
            Width::W32 => result.low(),
        }
    }

    fn add(self, other: Self) -> Self {
        let (min, max) = match (self.min.checked_add(other.min), self.max.checked_add(other.max)) {
            (Some(min), Some(max)) => (min, max),
            _ => (0, u64::MAX),
        };
        let low = (1u64 << self.trailing_zeros().min(other.trailing_zeros()).min(63)) - 1;
        let (smin, smax) =
            match (self.smin.checked_add(other.smin), self.smax.checked_add(other.smax)) {
                (Some(smin), Some(smax)) => (smin, smax),
                _ => (i64::MIN, i64::MAX),
            };
        Self { min, max, smin, smax, zeros: low }.settled().unwrap_or(Self::ANY)
    }

    fn sub(self, other: Self) -> Self {
        let (min, max) = match (self.min.checked_sub(other.max), self.max.checked_sub(other.min)) {
            (Some(min), Some(max)) => (min, max),
            _ => (0, u64::MAX),
        };
        let low = (1u64 << self.trailing_zeros().min(other.trailing_zeros()).min(63)) - 1;
        let (smin, smax) =
            match (self.smin.checked_sub(other.smax), self.smax.checked_sub(other.smin)) {
                (Some(smin), Some(smax)) => (smin, smax),
                _ => (i64::MIN, i64::MAX),
            };
        Self { min, max, smin, smax, zeros: low }.settled().unwrap_or(Self::ANY)
    }

    fn mul(self, other: Self) -> Self {
        let low = self.trailing_zeros().saturating_add(other.trailing_zeros()).min(63);
        let zeros = (1u64 << low) - 1;
        match (self.min.checked_mul(other.min), self.max.checked_mul(other.max)) {
            (Some(min), Some(max)) => {
                Self { min, max, zeros, ..Self::ANY }.settled().unwrap_or(Self::ANY)
            }
            _ => Self { zeros, ..Self::ANY },
        }
    }

    fn and(self, other: Self) -> Self {
        let zeros = self.zeros | other.zeros;
        let max = self.max.min(other.max);
        Self { max, zeros, ..Self::ANY }.settled().unwrap_or(Self::ANY)
    }

    /// `or` and `xor`: no bit that both do not have; `min` is a lower bound.
    fn or(self, other: Self, min: u64) -> Self {
        let zeros = self.zeros & other.zeros;
        Self { min, zeros, ..Self::ANY }.settled().unwrap_or(Self::ANY)
    }

    /// A shift's count, if there is only one.
    fn count(self, width: Width) -> Option<u32> {
        let mask = match width {
            Width::W64 => 63,
            Width::W32 => 31,
        };
        u32::try_from(self.value()? & mask).ok()
    }

    fn lsh(self, other: Self, width: Width) -> Self {
        let Some(count) = other.count(width) else {
            return Self::ANY;
        };
        let zeros = self.zeros << count | ((1 << count) - 1);
        if self.max.leading_zeros() >= count {
            let (min, max) = (self.min << count, self.max << count);
            return Self { min, max, zeros, ..Self::ANY }.settled().unwrap_or(Self::ANY);
        }
        Self { zeros, ..Self::ANY }.settled().unwrap_or(Self::ANY)
    }

    fn rsh(self, other: Self, width: Width) -> Self {
        match other.count(width) {
            Some(count) => {
                let zeros = !(!self.zeros >> count);
                let (min, max) = (self.min >> count, self.max >> count);
                Self { min, max, zeros, ..Self::ANY }.settled().unwrap_or(Self::ANY)
            }
            None => Self::range(0, self.max),
        }
    }

    fn arsh(self, other: Self, width: Width) -> Self {
        match (other.count(width), width) {
            (Some(count), Width::W64) => Self::signed(self.smin >> count, self.smax >> count),
            // Without a sign it is a plain shift.
            (Some(_), Width::W32) if self.max <= i32::MAX as u64 => self.rsh(other, width),
            _ => Self::ANY,
        }
    }

    /// What is known of `a` and `b` where `a cond b` holds; `None` where it cannot.
    pub(crate) fn where_holds(cond: Cond, width: Width, a: Self, b: Self) -> Option<(Self, Self)> {
        if width == Width::W32 {
            // The comparison is about the low halves: it tells of the whole numbers only
            // when these are nothing else.
            let most = match cond {
                Cond::Sgt | Cond::Sge | Cond::Slt | Cond::Sle => i32::MAX as u64,
                _ => u64::from(u32::MAX),
            };
            let fits = |num: Self| num.max <= most;
            let (low_a, low_b) = (a.low(), b.low());
            if !fits(low_a) || !fits(low_b) {
                return Some((a, b));
            }
            let (of_a, of_b) = Self::where_holds(cond, Width::W64, low_a, low_b)?;
            let whole = |num, of_low| if fits(num) { of_low } else { num };
            return Some((whole(a, of_a), whole(b, of_b)));
        }
        let (mut a, mut b) = (a, b);
        match cond {
            Cond::Eq => {
                let both = Self {
                    min: a.min.max(b.min),
                    max: a.max.min(b.max),
                    smin: a.smin.max(b.smin),
                    smax: a.smax.min(b.smax),
                    zeros: a.zeros | b.zeros,
                };
                (a, b) = (both, both);
            }
            Cond::Ne => {
                a = a.without(b);
                b = b.without(a);
            }
            Cond::Lt => {
                a.max = a.max.min(b.max.checked_sub(1)?);
                b.min = b.min.max(a.min.checked_add(1)?);
            }
            Cond::Le => {
                a.max = a.max.min(b.max);
                b.min = b.min.max(a.min);
            }
            Cond::Slt => {
                a.smax = a.smax.min(b.smax.checked_sub(1)?);
                b.smin = b.smin.max(a.smin.checked_add(1)?);
            }
            Cond::Sle => {
                a.smax = a.smax.min(b.smax);
                b.smin = b.smin.max(a.smin);
            }
            Cond::Gt | Cond::Ge | Cond::Sgt | Cond::Sge => {
                let (b, a) = Self::where_holds(mirrored(cond), width, b, a)?;
                return Some((a, b));
            }
            Cond::Set => {}
        }
        Some((a.settled()?, b.settled()?))
    }

    /// The numbers but for the only one of `other`, as far as a range can say it.
    fn without(self, other: Self) -> Self {
        let mut this = self;
        if let Some(value) = other.value() {
            if this.min == value {
                this.min = this.min.saturating_add(1);
            }
            if this.max == value {
                this.max = this.max.saturating_sub(1);
            }
            if this.smin == value.cast_signed() {
                this.smin = this.smin.saturating_add(1);
            }
            if this.smax == value.cast_signed() {
                this.smax = this.smax.saturating_sub(1);
            }
        }
        this
    }
}

/// The comparison with its sides swapped.
pub(crate) fn mirrored(cond: Cond) -> Cond {
    match cond {
        Cond::Gt => Cond::Lt,
        Cond::Ge => Cond::Le,
        Cond::Lt => Cond::Gt,
        Cond::Le => Cond::Ge,
        Cond::Sgt => Cond::Slt,
        Cond::Sge => Cond::Sle,
        Cond::Slt => Cond::Sgt,
        Cond::Sle => Cond::Sge,
        Cond::Eq | Cond::Ne | Cond::Set => cond,
    }
}

/// The comparison that holds where this one does not; `jset` has none.
pub(crate) fn negated(cond: Cond) -> Option<Cond> {
    Some(match cond {
        Cond::Eq => Cond::Ne,
        Cond::Ne => Cond::Eq,
        Cond::Gt => Cond::Le,
        Cond::Ge => Cond::Lt,
        Cond::Lt => Cond::Ge,
        Cond::Le => Cond::Gt,
        Cond::Sgt => Cond::Sle,
        Cond::Sge => Cond::Slt,
        Cond::Slt => Cond::Sge,
        Cond::Sle => Cond::Sgt,
        Cond::Set => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALUS: [Alu; 14] = [
        Alu::Add,
        Alu::Sub,
        Alu::Mul,
        Alu::Div,
        Alu::Sdiv,
        Alu::Or,
        Alu::And,
        Alu::Lsh,
        Alu::Rsh,
        Alu::Mod,
        Alu::Smod,
        Alu::Xor,
        Alu::Mov,
        Alu::Arsh,
    ];
    const CONDS: [Cond; 11] = [
        Cond::Eq,
        Cond::Gt,
        Cond::Ge,
        Cond::Set,
        Cond::Ne,
        Cond::Sgt,
        Cond::Sge,
        Cond::Lt,
        Cond::Le,
        Cond::Slt,
        Cond::Sle,
    ];

    fn holds(num: Num, value: u64) -> bool {
        (num.min..=num.max).contains(&value)
            && (num.smin..=num.smax).contains(&value.cast_signed())
            && value & num.zeros == 0
    }

    /// Numbers at the edges, where mistakes are.
    fn number() -> impl Strategy<Value = u64> {
        let near =
            prop::sample::select(vec![0u64, 1 << 7, 1 << 15, 1 << 31, 1 << 32, 1 << 63, u64::MAX]);
        let near = (near, -3i64..=3).prop_map(|(at, by)| at.wrapping_add_signed(by));
        prop_oneof![near, any::<u64>(), 0u64..5000]
    }

    /// Some numbers, and what is known of all of them.
    fn known() -> impl Strategy<Value = (Num, u64)> {
        prop::collection::vec(number(), 1..4).prop_map(|numbers| {
            let each = numbers.iter().map(|&number| Num::exactly(number));
            (each.reduce(Num::join).expect("one or more"), numbers[0])
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn results_are_among_those_foretold(
            (a, x) in known(),
            (b, y) in known(),
            alu in prop::sample::select(ALUS.to_vec()),
            wide: bool,
        ) {
            let width = if wide { Width::W64 } else { Width::W32 };
            let (known, found) = (a.alu(alu, width, b), alu.apply(width, x, y));
            prop_assert!(holds(known, found), "{x:#x} {alu:?} {y:#x} = {found:#x}, not in {known:x?}");
        }

        #[test]
        fn where_a_comparison_holds_both_sides_are_among_those_foretold(
            (a, x) in known(),
            (b, y) in known(),
            cond in prop::sample::select(CONDS.to_vec()),
            wide: bool,
        ) {
            let width = if wide { Width::W64 } else { Width::W32 };
            if cond.holds(width, x, y) {
                let known = Num::where_holds(cond, width, a, b);
                let fits = known.is_some_and(|(a, b)| holds(a, x) && holds(b, y));
                prop_assert!(fits, "{x:#x} {cond:?} {y:#x}: {known:x?}");
            }
            if let Some(not) = negated(cond) {
                prop_assert_eq!(cond.holds(width, x, y), !not.holds(width, x, y));
            }
            prop_assert_eq!(cond.holds(width, x, y), mirrored(cond).holds(width, y, x));
        }

        #[test]
        fn growing_ends_and_keeps_all((a, x) in known(), (b, y) in known(), (c, z) in known()) {
            let one = b.widened(a);
            prop_assert!(holds(one, x) && holds(one, y), "{one:x?}");
            let mut last = one;
            for _ in 0..8 {
                last = c.widened(last);
            }
            prop_assert!(holds(last, z));
            prop_assert_eq!(c.widened(last), last);
            prop_assert!(holds(a.low(), x & u64::from(u32::MAX)));
        }
    }
}
