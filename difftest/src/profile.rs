//! What programs may hold, by who runs them beside skep.

use skep_vm::isa::{Op, Row, Shape};
use skep_vm::prog::{ProgType, SCHED_CLS, SOCKET_FILTER, XDP};

/// A kind of programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// For skep's engines: everything, also what no verifier takes.
    Engines,
    /// For Linux: everything that its verifier takes, and that ends there as in skep.
    Linux,
    /// For Linux without `CAP_PERFMON`. Its verifier wants every stack slot at a known
    /// address, and follows what a processor might do speculatively, too: programs are
    /// short and have no loops, or it takes a second for each and gives up.
    LinuxPlain,
    /// For rbpf 0.4: what it gets right.
    ///
    /// Left out are what it refuses: signed loads, byte swaps, atomic operations, 32-bit
    /// `goto`, `may_goto`; what it miscomputes: signed division, sign-extending moves, the
    /// 32-bit remainder of a register (by zero it keeps the upper half), 64-bit unsigned
    /// comparisons with a negative immediate (not sign-extended); and the 64-bit negation,
    /// which panics for the least number where overflow is checked.
    Rbpf,
}

impl Profile {
    /// A program type, if programs have one, for a random number.
    pub(crate) fn prog_type(self, random: u64) -> Option<&'static ProgType> {
        match self {
            Self::Rbpf => None,
            Self::Engines if random.is_multiple_of(8) => None,
            _ => Some(match random / 8 % 3 {
                0 => &SOCKET_FILTER,
                1 => &SCHED_CLS,
                _ => &XDP,
            }),
        }
    }

    /// Whether stack slots may be addressed by a register that is not constant.
    pub(crate) fn indexes_stack(self) -> bool {
        self != Self::LinuxPlain
    }

    /// Whether programs have maps, call helpers and have shapes that use them.
    pub(crate) fn has_shapes(self) -> bool {
        matches!(self, Self::Engines | Self::Linux)
    }

    /// Whether programs may be wrong.
    pub(crate) fn goes_wrong(self) -> bool {
        self == Self::Engines
    }

    /// Whether programs have loops.
    pub(crate) fn has_loops(self) -> bool {
        self != Self::LinuxPlain
    }

    /// The most statements of the main function.
    pub(crate) fn most_statements(self) -> i32 {
        match self {
            Self::LinuxPlain => 10,
            // The verifier takes longer for each branch before it.
            Self::Linux => 16,
            // Many short ones find more than a few that take long to compile.
            Self::Engines => 12,
            _ => 24,
        }
    }

    /// Whether programs may hold instructions of this row.
    pub(crate) fn has(self, row: &Row) -> bool {
        if self != Self::Rbpf {
            return true;
        }
        match row.shape {
            Shape::Movsx | Shape::Atomic | Shape::LoadAcquire | Shape::StoreRelease => false,
            Shape::GotoLong => false,
            Shape::Load => !row.text.starts_with('s'),
            Shape::Unary => row.op != Op::Neg64 && !row.mnemonic.starts_with("swap"),
            Shape::AluImm | Shape::AluReg => {
                let signed = row.mnemonic.starts_with("sdiv") || row.mnemonic.starts_with("smod");
                !signed && row.op != Op::Mod32Reg
            }
            Shape::Goto => row.op != Op::MayGoto,
            _ => true,
        }
    }

    /// Whether a jump may compare with this immediate.
    pub(crate) fn has_immediate(self, row: &Row, imm: i32) -> bool {
        let signed = row.text.starts_with('s') || row.text == "&";
        self != Self::Rbpf || row.narrow || signed || imm >= 0
    }
}
