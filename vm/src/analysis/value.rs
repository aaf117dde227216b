//! What a register or a slot of the stack may hold.

use skep_memory::Access;

use super::num::Num;
use crate::program::FRAME_SIZE;

/// Offsets beyond this are not followed: what so large a number is added to counts as a
/// number from there on, and no sum of offsets overflows.
const MOST_OFFSET: i64 = 1 << 29;

/// What is known of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value {
    /// A number, or something of which nothing better is known.
    Num(Num),
    /// A pointer.
    Pointer(Pointer),
    /// A pointer or 0. All values with the same mark are 0, or none is.
    Nullable(Pointer, Mark),
    /// The end of the packet.
    PacketEnd,
    /// The handle of one of the program's maps, by index.
    Map(u32),
    /// The handle of a map that was found in one of the program's maps.
    Inner(u32),
    /// The same, or 0.
    NullableInner(u32, Mark),
    /// A function, by its first instruction.
    Function(u32),
}

/// Tells values apart of which it is known that they are the same; 0 for none.
pub(crate) type Mark = u32;

/// A pointer into some region: `fixed` bytes, and as many more as `var` says, from its origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pointer {
    pub(crate) region: Region,
    pub(crate) fixed: i64,
    /// Least and most of the rest.
    pub(crate) var: (i64, i64),
    /// The rest is a multiple of two to the power of this.
    pub(crate) align: u32,
    /// The same for pointers with the same rest; 0 when it is 0, [`Pointer::LOST`] when it
    /// is like no other.
    pub(crate) mark: Mark,
}

/// Where a pointer points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Region {
    /// The function's own stack frame; its origin is the frame's end.
    Frame,
    /// The context.
    Context,
    /// The packet, from `data` on.
    Packet,
    /// The packet's metadata, from `data_meta` on.
    Meta,
    /// A value of one of the program's maps, by index.
    Value(u32),
    /// A value of a map that was found in one of the program's maps.
    InnerValue(u32),
    /// A record of a ring buffer of so many bytes.
    Record(u32),
    /// Memory of a caller: bytes from the first to before the second are accessible.
    Lent(i64, i64, Access),
}

impl Value {
    /// Nothing is known.
    pub(crate) const ANY: Self = Self::Num(Num::ANY);

    pub(crate) const fn exactly(value: u64) -> Self {
        Self::Num(Num::exactly(value))
    }

    /// The number that it is, or any when it is a pointer.
    pub(crate) fn num(self) -> Num {
        match self {
            Self::Num(num) => num,
            // The window ends at 4 GiB, and nothing lies in its first and last 64 KiB.
            Self::Pointer(pointer) | Self::Nullable(pointer, _) => {
                if pointer.is_near() {
                    Num::bits(32)
                } else {
                    Num::ANY
                }
            }
            Self::PacketEnd | Self::Map(_) | Self::Inner(_) | Self::NullableInner(..) => {
                Num::bits(32)
            }
            Self::Function(_) => Num::ANY,
        }
    }

    pub(crate) fn pointer(self) -> Option<Pointer> {
        match self {
            Self::Pointer(pointer) => Some(pointer),
            _ => None,
        }
    }

    /// The mark that tells which values are 0 together with this one.
    pub(crate) fn null_mark(self) -> Option<Mark> {
        match self {
            Self::Nullable(_, mark) | Self::NullableInner(_, mark) => Some(mark),
            _ => None,
        }
    }

    /// What it is when it is not 0.
    pub(crate) fn not_null(self) -> Self {
        match self {
            Self::Nullable(pointer, _) => Self::Pointer(pointer),
            Self::NullableInner(map, _) => Self::Inner(map),
            other => other,
        }
    }
}

impl Pointer {
    /// The mark of a rest that no other pointer has.
    pub(crate) const LOST: Mark = u32::MAX;

    /// A pointer to a region's origin.
    pub(crate) const fn to(region: Region) -> Self {
        Self { region, fixed: 0, var: (0, 0), align: 63, mark: 0 }
    }

    /// Least and most distance from the origin.
    pub(crate) fn span(&self) -> (i64, i64) {
        (self.fixed + self.var.0, self.fixed + self.var.1)
    }

    /// Whether it is less than 64 KiB away from its origin: then it is a number of 32 bits and
    /// not 0.
    pub(crate) fn is_near(&self) -> bool {
        const NEAR: i64 = 64 << 10;
        let (least, most) = self.span();
        -NEAR < least && most < NEAR
    }

    /// The distance from the origin, when there is only one.
    pub(crate) fn offset(&self) -> Option<i64> {
        let (least, most) = self.span();
        (least == most).then_some(least)
    }

    /// Further on by a constant.
    pub(crate) fn moved(self, by: i64) -> Option<Self> {
        let fixed = self
            .fixed
            .checked_add(by)
            .filter(|fixed| fixed.unsigned_abs() <= MOST_OFFSET.unsigned_abs())?;
        Some(Self { fixed, ..self })
    }

    /// Further on by a number; `mark` stands for the sum of it and the rest.
    pub(crate) fn moved_by(self, num: Num, mark: Mark) -> Option<Self> {
        if let Some(by) = num.value() {
            return self.moved(by.cast_signed());
        }
        if num.smin < -MOST_OFFSET || num.smax > MOST_OFFSET {
            return None;
        }
        let (least, most) = self.span();
        let var = (least + num.smin, most + num.smax);
        if var.0 < -MOST_OFFSET || var.1 > MOST_OFFSET {
            return None;
        }
        let align = self.alignment().min(num.trailing_zeros());
        Some(Self { region: self.region, fixed: 0, var, align, mark })
    }

    /// The distance from the origin is a multiple of two to the power of this.
    pub(crate) fn alignment(&self) -> u32 {
        self.align.min(self.fixed.trailing_zeros())
    }

    /// One or the other; `mark` stands for the rest where they differ.
    pub(crate) fn join(self, other: Self, mark: Mark) -> Option<Self> {
        if self == other {
            return Some(self);
        }
        let region = self.region.join(other.region)?;
        let align = self.alignment().min(other.alignment());
        let same_rest = self.mark == other.mark && self.mark != Self::LOST;
        if same_rest && self.fixed == other.fixed {
            let var = (self.var.0.min(other.var.0), self.var.1.max(other.var.1));
            return Some(Self { region, var, align: self.align.min(other.align), ..self });
        }
        let (a, b) = (self.span(), other.span());
        Some(Self { region, fixed: 0, var: (a.0.min(b.0), a.1.max(b.1)), align, mark })
    }
}

impl Region {
    fn join(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Lent(a, b, access), Self::Lent(c, d, other)) => {
                let access = if access.allows(other) { other } else { access };
                Some(Self::Lent(a.max(c), b.min(d), access))
            }
            (a, b) => (a == b).then_some(a),
        }
    }

    /// The bytes of a stack frame, from its end.
    pub(crate) const FRAME: (i64, i64) = (-(FRAME_SIZE as i64), 0);

    /// To which multiple the origin is aligned, as a power of two.
    pub(crate) fn origin_alignment(self) -> u32 {
        match self {
            Self::Frame | Self::Context => 6,
            Self::Value(_) | Self::InnerValue(_) | Self::Record(_) => 3,
            Self::Packet | Self::Meta | Self::Lent(..) => 0,
        }
    }
}

impl Pointer {
    /// The same without a mark that means something elsewhere only.
    pub(crate) fn unmarked(self) -> Self {
        let mark = if self.var == (0, 0) { 0 } else { Self::LOST };
        Self { mark, ..self }
    }
}
