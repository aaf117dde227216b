//! The interpreter's operations and registers.

use std::ops::{Index, IndexMut};

use super::POISON;
use crate::isa::isa;

/// A register number; a type of its own so that register accesses need no bounds check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Reg {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

impl Reg {
    const ALL: [Self; 11] = [
        Self::R0,
        Self::R1,
        Self::R2,
        Self::R3,
        Self::R4,
        Self::R5,
        Self::R6,
        Self::R7,
        Self::R8,
        Self::R9,
        Self::R10,
    ];

    /// The register with a number that decoding has checked.
    pub(super) fn new(number: u8) -> Self {
        *Self::ALL.get(usize::from(number)).unwrap_or(&Self::R0)
    }
}

/// The registers of a running function: r0 to r10, and five that do not exist, so that
/// any four bits are an index.
#[derive(Debug, Clone)]
pub(crate) struct Regs(pub(crate) [u64; 16]);

impl Index<Reg> for Regs {
    type Output = u64;

    #[inline(always)]
    fn index(&self, reg: Reg) -> &u64 {
        &self.0[reg as usize]
    }
}

impl IndexMut<Reg> for Regs {
    #[inline(always)]
    fn index_mut(&mut self, reg: Reg) -> &mut u64 {
        &mut self.0[reg as usize]
    }
}

impl Regs {
    /// Registers that the program has not written.
    #[inline]
    pub(crate) fn unwritten() -> Self {
        Self([POISON; 16])
    }

    /// r0 to r10.
    pub(crate) fn visible(&self) -> [u64; 11] {
        let [r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10, ..] = self.0;
        [r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10]
    }

    /// The register that a fused operation names in the low four bits of `bits`.
    #[inline(always)]
    pub(super) fn third(&mut self, bits: u64) -> &mut u64 {
        &mut self.0[(bits & 15) as usize]
    }
}

/// After a call, r1 to r5 hold nothing.
#[inline(always)]
pub(crate) fn poison_scratch(regs: &mut Regs) {
    regs.0[1..=5].fill(POISON);
}

macro_rules! define_code {
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
        /// What an operation does: the instruction set's operations, then the
        /// interpreter's own.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u16)]
        pub(super) enum Code {
            $($ai64, $ar64, $ai32, $ar32,)*
            $($uop,)* $($xop,)* $($lop,)* $($sop, $sxop,)* $($t64, $t32,)* $($oaop, $orop,)*
            $($ji64, $jr64, $ji32, $jr32,)*
            $($mop,)*
            /// `call 12`.
            TailCall,
            /// A helper that skep does not have.
            NoHelper,
            /// An instruction with an unresolved relocation.
            Poisoned,
            /// Before the instruction that stands here, the limits are looked at; see `looks.rs`.
            Look,
            // Several instructions at once; see `fuse.rs`.
            /// `dst = src; dst += imm`, and so on.
            MovAdd64Imm,
            MovAnd64Imm,
            MovLsh64Imm,
            MovRsh64Imm,
            MovAdd32Imm,
            MovAnd32Imm,
            MovLsh32Imm,
            MovRsh32Imm,
            /// `dst = imm; exit`.
            MovImmExit,
            /// `dst = src; dst += third`.
            MovAdd64Reg,
            /// `dst = src; dst <<= off; dst |= third`.
            MovLshOr64,
            MovLshOr32,
            /// `fourth = src; fourth += third; dst = *(fourth + off)`.
            IndexedB,
            IndexedH,
            IndexedW,
            IndexedDw,
            /// `if dst == imm goto past; goto off`.
            Jeq64ImmElse,
            Jeq64RegElse,
            Jeq32ImmElse,
            /// `dst += low half of imm; if dst ∘ high half of imm goto off`.
            AddJne64Imm,
            AddJeq64Imm,
            /// `dst += low half of imm; if dst == high half of imm goto past; goto off`.
            AddJeq64ImmElse,
        }

        impl Code {
            /// The code of an operation of the instruction set.
            pub(super) fn of(op: crate::isa::Op) -> Self {
                use crate::isa::Op;
                match op {
                    $(Op::$ai64 => Self::$ai64, Op::$ar64 => Self::$ar64,
                      Op::$ai32 => Self::$ai32, Op::$ar32 => Self::$ar32,)*
                    $(Op::$uop => Self::$uop,)*
                    $(Op::$xop => Self::$xop,)*
                    $(Op::$lop => Self::$lop,)*
                    $(Op::$sop => Self::$sop, Op::$sxop => Self::$sxop,)*
                    $(Op::$t64 => Self::$t64, Op::$t32 => Self::$t32,)*
                    $(Op::$oaop => Self::$oaop, Op::$orop => Self::$orop,)*
                    $(Op::$ji64 => Self::$ji64, Op::$jr64 => Self::$jr64,
                      Op::$ji32 => Self::$ji32, Op::$jr32 => Self::$jr32,)*
                    $(Op::$mop => Self::$mop,)*
                }
            }
        }
    };
}
isa!(define_code);

/// One operation: 16 bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Op {
    pub(super) code: Code,
    pub(super) dst: Reg,
    pub(super) src: Reg,
    /// A displacement, or the index that a jump leads to.
    pub(super) off: i32,
    /// An immediate, sign-extended; fused operations pack more here.
    pub(super) imm: u64,
}

impl Op {
    /// The index that a jump leads to.
    #[inline(always)]
    pub(super) fn target(&self) -> usize {
        self.off.cast_unsigned() as usize
    }
}
