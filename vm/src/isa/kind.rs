//! Operations in groups: what engines that work on groups rather than on single
//! operations look at.

use super::table::isa;
use super::{Int, Op};

/// In how many bits an operation computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    /// 64.
    W64,
    /// 32; the result is zero-extended.
    W32,
}

/// Where the second operand comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The immediate.
    Imm,
    /// The source register.
    Reg,
}

/// What an atomic operation does to the cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rmw {
    Add,
    Or,
    And,
    Xor,
    Xchg,
}

/// An operation by its group. Sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `dst = dst ∘ source`.
    Alu(Alu, Width, Source),
    /// `dst = f(dst)`, told apart by the operation itself.
    Unary(Width),
    /// `dst = (cast)src`, from so many bits.
    Movsx { from: u32, width: Width },
    /// `dst = *(src + off)`.
    Load { size: u32, signed: bool },
    /// `*(dst + off) = source`.
    Store { size: u32, source: Source },
    /// Atomic `*(dst + off) ∘= src`; `fetch`: src gets the old value.
    Atomic { rmw: Rmw, size: u32, fetch: bool },
    /// `dst = load_acquire(src + off)`.
    LoadAcquire { size: u32 },
    /// `store_release(dst + off, src)`.
    StoreRelease { size: u32 },
    /// `if dst ∘ source goto target`.
    Jump(Cond, Width, Source),
    /// One of its kind, told apart by the operation itself.
    Misc,
}

macro_rules! signed {
    ($cast:literal) => {
        $cast.as_bytes()[0] == b's'
    };
}

macro_rules! bytes {
    ($word:ident) => {
        $word::BITS / 8
    };
}

macro_rules! width {
    (u64) => {
        Width::W64
    };
    (u32) => {
        Width::W32
    };
}

macro_rules! fetches {
    (keep) => {
        true
    };
    (forget) => {
        false
    };
}

macro_rules! define_kinds {
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
        /// An operation of two numbers.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Alu {
            $($aname,)*
        }

        /// A comparison of two numbers.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Cond {
            $($jname,)*
        }

        #[allow(
            clippy::cast_possible_truncation,
            reason = "32-bit operations work on the low halves"
        )]
        impl Alu {
            /// The result for two numbers.
            pub(crate) fn apply(self, width: Width, a: u64, b: u64) -> u64 {
                match (self, width) {
                    $(
                        (Self::$aname, Width::W64) => {
                            let ($aa, $ab): (u64, u64) = (a, b);
                            $asem
                        }
                        (Self::$aname, Width::W32) => {
                            let ($aa, $ab) = (a as u32, b as u32);
                            u64::from($asem)
                        }
                    )*
                }
            }
        }

        #[allow(
            clippy::cast_possible_truncation,
            reason = "32-bit comparisons work on the low halves"
        )]
        impl Cond {
            /// Whether it holds for two numbers.
            pub(crate) fn holds(self, width: Width, a: u64, b: u64) -> bool {
                match (self, width) {
                    $(
                        (Self::$jname, Width::W64) => {
                            let ($ja, $jb): (u64, u64) = (a, b);
                            $jsem
                        }
                        (Self::$jname, Width::W32) => {
                            let ($ja, $jb) = (a as u32, b as u32);
                            $jsem
                        }
                    )*
                }
            }
        }

        impl Op {
            /// The operation's group and what is common to it.
            pub(crate) const fn kind(self) -> Kind {
                match self {
                    $(
                        Self::$ai64 => Kind::Alu(Alu::$aname, Width::W64, Source::Imm),
                        Self::$ar64 => Kind::Alu(Alu::$aname, Width::W64, Source::Reg),
                        Self::$ai32 => Kind::Alu(Alu::$aname, Width::W32, Source::Imm),
                        Self::$ar32 => Kind::Alu(Alu::$aname, Width::W32, Source::Reg),
                    )*
                    $(Self::$uop => Kind::Unary(width!($uw)),)*
                    $(Self::$xop => Kind::Movsx { from: $xoff, width: width!($xw) },)*
                    $(Self::$lop => Kind::Load { size: bytes!($lw), signed: signed!($ltext) },)*
                    $(
                        Self::$sop => Kind::Store { size: bytes!($sw), source: Source::Imm },
                        Self::$sxop => Kind::Store { size: bytes!($sw), source: Source::Reg },
                    )*
                    $(
                        Self::$t64 => Kind::Atomic {
                            rmw: Rmw::$tname, size: 8, fetch: fetches!($tthen),
                        },
                        Self::$t32 => Kind::Atomic {
                            rmw: Rmw::$tname, size: 4, fetch: fetches!($tthen),
                        },
                    )*
                    $(
                        Self::$oaop => Kind::LoadAcquire { size: bytes!($ow) },
                        Self::$orop => Kind::StoreRelease { size: bytes!($ow) },
                    )*
                    $(
                        Self::$ji64 => Kind::Jump(Cond::$jname, Width::W64, Source::Imm),
                        Self::$jr64 => Kind::Jump(Cond::$jname, Width::W64, Source::Reg),
                        Self::$ji32 => Kind::Jump(Cond::$jname, Width::W32, Source::Imm),
                        Self::$jr32 => Kind::Jump(Cond::$jname, Width::W32, Source::Reg),
                    )*
                    $(Self::$mop => Kind::Misc,)*
                }
            }

            /// What a unary operation or a sign-extending move makes of a number; `None`
            /// for other operations.
            #[allow(
                clippy::cast_possible_truncation,
                reason = "32-bit operations work on the low halves"
            )]
            pub(crate) fn apply_unary(self, a: u64) -> Option<u64> {
                match self {
                    $(
                        Self::$uop => {
                            let $ua = a as $uw;
                            Some(u64::from($usem))
                        }
                    )*
                    $(
                        Self::$xop => {
                            let $xa = a as $xw;
                            Some(u64::from($xsem))
                        }
                    )*
                    _ => None,
                }
            }
        }
    };
}
isa!(define_kinds);
