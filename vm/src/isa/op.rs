//! Operations and their rows.

use super::table::isa;

/// How an instruction's fields are used. What a shape does not use must be zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `dst ∘= imm`.
    AluImm,
    /// `dst ∘= src`.
    AluReg,
    /// `dst = f(dst)`.
    Unary,
    /// `dst = (cast)src`.
    Movsx,
    /// `dst = *(src + off)`.
    Load,
    /// `*(dst + off) = imm`.
    StoreImm,
    /// `*(dst + off) = src`.
    StoreReg,
    /// Atomic operation on `*(dst + off)` with `src`.
    Atomic,
    /// `dst = load_acquire(src + off)`.
    LoadAcquire,
    /// `store_release(dst + off, src)`.
    StoreRelease,
    /// `if dst ∘ imm goto +off`.
    JumpImm,
    /// `if dst ∘ src goto +off`.
    JumpReg,
    /// `goto +off`.
    Goto,
    /// `gotol +imm`.
    GotoLong,
    /// `call imm`: the number of a helper, or a distance in slots.
    Call,
    /// `call imm`: a BTF id, of the kernel or of the module with index `off`.
    CallBtf,
    /// `callx dst`.
    CallReg,
    /// `exit`.
    Exit,
    /// `dst = imm64`: two slots.
    Lddw,
    /// `r0 = skb[imm]`.
    LdAbs,
    /// `r0 = skb[src + imm]`.
    LdInd,
    /// `dst = addr_space_cast(src, imm)`.
    Cast,
}

/// The fields of a slot that a shape uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Uses {
    pub(crate) dst: bool,
    pub(crate) src: bool,
    pub(crate) off: bool,
    pub(crate) imm: bool,
}

impl Shape {
    /// Which fields of the slot this shape uses; the field that is its key is not
    /// counted.
    pub(crate) const fn uses(self) -> Uses {
        let (dst, src, off, imm) = match self {
            Self::AluImm | Self::Lddw => (true, false, false, true),
            Self::AluReg | Self::Movsx => (true, true, false, false),
            Self::Unary | Self::CallReg => (true, false, false, false),
            Self::Load | Self::StoreReg | Self::JumpReg => (true, true, true, false),
            Self::Atomic | Self::LoadAcquire | Self::StoreRelease => (true, true, true, false),
            Self::StoreImm | Self::JumpImm => (true, false, true, true),
            Self::Goto => (false, false, true, false),
            Self::GotoLong | Self::Call | Self::LdAbs => (false, false, false, true),
            Self::CallBtf => (false, false, true, true),
            Self::Exit => (false, false, false, false),
            Self::LdInd => (false, true, false, true),
            Self::Cast => (true, true, false, true),
        };
        Uses { dst, src, off, imm }
    }

    /// Whether the instruction writes the register in `dst`.
    #[must_use]
    pub const fn writes_dst(self) -> bool {
        matches!(
            self,
            Self::AluImm
                | Self::AluReg
                | Self::Unary
                | Self::Movsx
                | Self::Load
                | Self::LoadAcquire
                | Self::Lddw
                | Self::Cast
        )
    }
}

/// The field, beside the opcode byte, that tells operations of one opcode apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// None: the opcode byte is enough.
    None,
    /// The offset field has this value.
    Off(i16),
    /// The immediate field has this value.
    Imm(i32),
    /// The source register field has this value.
    Src(u8),
}

/// A row of the instruction table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The operation.
    pub op: Op,
    /// The opcode byte.
    pub code: u8,
    /// What tells it from other operations of the same opcode byte.
    pub key: Key,
    /// How its fields are used.
    pub shape: Shape,
    /// Whether it computes in 32 bits (`w` registers).
    pub narrow: bool,
    /// Its name in assembler.
    pub mnemonic: &'static str,
    /// Its operator, cast or name in disassembly.
    pub text: &'static str,
}

macro_rules! narrow {
    (u64) => {
        false
    };
    (u32) => {
        true
    };
}

macro_rules! define {
    (
        alu { $($aname:ident $abits:literal $aoff:literal $amn:literal $atext:literal
                [$ai64:ident $ar64:ident $ai32:ident $ar32:ident] |$aa:ident, $ab:ident| $asem:expr;)* }
        unary { $($uop:ident $uw:ident $ucode:literal $ukey:literal $umn:literal $utext:literal
                |$ua:ident| $usem:expr;)* }
        movsx { $($xop:ident $xw:ident $xcode:literal $xoff:literal $xmn:literal $xtext:literal
                |$xa:ident| $xsem:expr;)* }
        load { $($lop:ident $lw:ident $lcode:literal $lmn:literal $ltext:literal
                |$lv:ident| $lsem:expr;)* }
        store { $($sw:ident $stext:literal [$sop:ident $scode:literal $smn:literal]
                [$sxop:ident $sxcode:literal $sxmn:literal];)* }
        atomic { $($tname:ident $timm:literal $tmn:literal $ttext:literal [$t64:ident $t32:ident]
                $tmethod:ident $tthen:ident;)* }
        ordered { $($ow:ident $otext:literal [$oaop:ident $oacode:literal $oamn:literal]
                [$orop:ident $orcode:literal $ormn:literal];)* }
        jump { $($jname:ident $jbits:literal $jmn:literal $jtext:literal
                [$ji64:ident $jr64:ident $ji32:ident $jr32:ident] |$ja:ident, $jb:ident| $jsem:expr;)* }
        misc { $($mop:ident $mcode:literal ($mkey:ident $mval:literal) $mshape:ident $mmn:literal
                $mtext:literal;)* }
    ) => {
        /// An operation of the instruction set, down to width and source kind: one
        /// variant per row of the table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[allow(missing_docs, reason = "the table is their documentation")]
        pub enum Op {
            $($ai64, $ar64, $ai32, $ar32,)*
            $($uop,)* $($xop,)* $($lop,)* $($sop, $sxop,)* $($t64, $t32,)* $($oaop, $orop,)*
            $($ji64, $jr64, $ji32, $jr32,)*
            $($mop,)*
        }

        /// All rows, in the order of [`Op`].
        pub static ROWS: &[Row] = &[
            $(
                row(Op::$ai64, $abits | 0x07, Key::Off($aoff), Shape::AluImm, false, $amn, $atext),
                row(Op::$ar64, $abits | 0x0f, Key::Off($aoff), Shape::AluReg, false, $amn, $atext),
                row(Op::$ai32, $abits | 0x04, Key::Off($aoff), Shape::AluImm, true, concat!($amn, "32"), $atext),
                row(Op::$ar32, $abits | 0x0c, Key::Off($aoff), Shape::AluReg, true, concat!($amn, "32"), $atext),
            )*
            $(row(Op::$uop, $ucode, Key::Imm($ukey), Shape::Unary, narrow!($uw), $umn, $utext),)*
            $(row(Op::$xop, $xcode, Key::Off($xoff), Shape::Movsx, narrow!($xw), $xmn, $xtext),)*
            $(row(Op::$lop, $lcode, Key::None, Shape::Load, false, $lmn, $ltext),)*
            $(
                row(Op::$sop, $scode, Key::None, Shape::StoreImm, false, $smn, $stext),
                row(Op::$sxop, $sxcode, Key::None, Shape::StoreReg, false, $sxmn, $stext),
            )*
            $(
                row(Op::$t64, 0xdb, Key::Imm($timm), Shape::Atomic, false, $tmn, $ttext),
                row(Op::$t32, 0xc3, Key::Imm($timm), Shape::Atomic, true, concat!($tmn, "32"), $ttext),
            )*
            $(
                row(Op::$oaop, $oacode, Key::Imm(0x100), Shape::LoadAcquire, false, $oamn, $otext),
                row(Op::$orop, $orcode, Key::Imm(0x110), Shape::StoreRelease, false, $ormn, $otext),
            )*
            $(
                row(Op::$ji64, $jbits | 0x05, Key::None, Shape::JumpImm, false, $jmn, $jtext),
                row(Op::$jr64, $jbits | 0x0d, Key::None, Shape::JumpReg, false, $jmn, $jtext),
                row(Op::$ji32, $jbits | 0x06, Key::None, Shape::JumpImm, true, concat!($jmn, "32"), $jtext),
                row(Op::$jr32, $jbits | 0x0e, Key::None, Shape::JumpReg, true, concat!($jmn, "32"), $jtext),
            )*
            $(row(Op::$mop, $mcode, key!($mkey $mval), Shape::$mshape, false, $mmn, $mtext),)*
        ];
    };
}

macro_rules! key {
    (None $value:literal) => {
        Key::None
    };
    ($kind:ident $value:literal) => {
        Key::$kind($value)
    };
}

isa!(define);

const fn row(
    op: Op,
    code: u8,
    key: Key,
    shape: Shape,
    narrow: bool,
    mnemonic: &'static str,
    text: &'static str,
) -> Row {
    Row { op, code, key, shape, narrow, mnemonic, text }
}

impl Row {
    /// Whether an atomic operation writes the old value to a register.
    pub(crate) fn key_fetches(&self) -> bool {
        matches!(self.key, Key::Imm(imm) if imm & 1 == 1)
    }
}

impl Op {
    /// The operation's row.
    #[inline]
    #[must_use]
    pub fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_the_order_of_their_operations() {
        for (index, row) in ROWS.iter().enumerate() {
            assert_eq!(row.op as usize, index, "{row:?}");
        }
    }

    #[test]
    fn no_encoding_is_given_twice() {
        for (index, row) in ROWS.iter().enumerate() {
            for other in &ROWS[..index] {
                let keys_differ = match (row.key, other.key) {
                    (Key::Off(a), Key::Off(b)) => a != b,
                    (Key::Imm(a), Key::Imm(b)) => a != b,
                    (Key::Src(a), Key::Src(b)) => a != b,
                    _ => false,
                };
                assert!(row.code != other.code || keys_differ, "{row:?} and {other:?}");
            }
        }
    }

    #[test]
    fn no_mnemonic_names_two_operations_of_one_shape() {
        for (index, row) in ROWS.iter().enumerate() {
            for other in &ROWS[..index] {
                let same = row.mnemonic == other.mnemonic && row.shape == other.shape;
                assert!(!same, "{row:?} and {other:?}");
            }
        }
    }
}
