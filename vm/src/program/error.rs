//! Why a program cannot be loaded.

use std::fmt;

use crate::isa::DecodeError;
use crate::program::{ProgramSpec, SourceLine};

/// A program cannot be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramError {
    /// The program's name.
    pub program: String,
    /// The slot where it is wrong.
    pub insn: u32,
    /// The source line of the slot.
    pub source_line: Option<SourceLine>,
    /// What is wrong.
    pub kind: ProgramErrorKind,
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, insn, source_line, kind } = self;
        if let Some(line) = source_line {
            write!(f, "{}:{}: ", line.file, line.line)?;
        }
        write!(f, "program `{program}`, insn {insn}: {kind}")
    }
}

impl std::error::Error for ProgramError {}

/// What is wrong with a program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramErrorKind {
    /// There are no instructions.
    #[error("the program is empty")]
    Empty,
    /// More slots than skep handles.
    #[error("the program has {slots} slots; there may be {most}")]
    TooLong {
        /// How many slots there are.
        slots: usize,
        /// How many there may be.
        most: usize,
    },
    /// A slot is no instruction.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The second slot of a `lddw` is missing.
    #[error("`lddw` takes two slots; the second is missing")]
    TruncatedLddw,
    /// The second slot of a `lddw` is not what it must be.
    #[error("the second slot of `lddw` may have an immediate only, if its kind uses one")]
    BadLddw,
    /// A jump leads out of the program.
    #[error("the jump leads to insn {target}, outside of the program")]
    JumpOut {
        /// Where it leads.
        target: i64,
    },
    /// A jump leads into another function.
    #[error("the jump leads to insn {target}, outside of its function")]
    JumpOutOfFunction {
        /// Where it leads.
        target: i64,
    },
    /// A jump leads into a `lddw`.
    #[error("the jump leads into the middle of a `lddw`, to insn {target}")]
    JumpIntoLddw {
        /// Where it leads.
        target: i64,
    },
    /// A call leads out of the program.
    #[error("the call leads to insn {target}, outside of the program")]
    CallOut {
        /// Where it leads.
        target: i64,
    },
    /// A call leads into a `lddw`.
    #[error("the call leads into the middle of a `lddw`, to insn {target}")]
    CallIntoLddw {
        /// Where it leads.
        target: i64,
    },
    /// A function's last instruction lets control run on.
    #[error("control runs past the end of the function; it must end in `exit` or a jump")]
    FallsThrough,
    /// r10 is read-only.
    #[error("r10 is the frame pointer and cannot be written")]
    FramePointerWritten,
    /// Division by the constant 0.
    #[error("division by zero: the divisor is the constant 0")]
    DivisionByZero,
    /// `callx`.
    #[error("`callx` is not supported, as in the kernel: call functions directly")]
    CallReg,
    /// A map index beyond the list of maps.
    #[error("the program names map {index} of {maps}")]
    NoMap {
        /// The index.
        index: i32,
        /// How many maps there are.
        maps: usize,
    },
    /// A direct value of a map that has none.
    #[error("`{map}` has no value with a fixed address; an array of one entry has")]
    NoDirectValue {
        /// The map's name.
        map: String,
    },
    /// A direct value pointer beyond the value.
    #[error("offset {offset} is beyond the value of `{map}`, which has {size} bytes")]
    BeyondValue {
        /// The map's name.
        map: String,
        /// The offset.
        offset: u32,
        /// The size of the value.
        size: u32,
    },
    /// A `lddw` kind that needs what is not there.
    #[error("`{what}` is not supported here")]
    UnsupportedLddw {
        /// The kind.
        what: &'static str,
    },
    /// A map that holds programs belongs to another program type.
    #[error("map `{map}` belongs to programs of another type")]
    IncompatibleMap {
        /// The map's name.
        map: String,
    },
    /// `ld_abs` and `ld_ind` in a program of a type that has none.
    #[error("`{mnemonic}` belongs to socket filters and traffic control programs")]
    NoSkb {
        /// The instruction.
        mnemonic: &'static str,
    },
}

/// A mistake at a slot, before the program's name is known.
#[derive(Debug)]
pub(crate) struct Mistake {
    pub(crate) slot: u32,
    pub(crate) kind: ProgramErrorKind,
}

impl Mistake {
    pub(crate) fn new(slot: u32, kind: impl Into<ProgramErrorKind>) -> Self {
        Self { slot, kind: kind.into() }
    }

    pub(crate) fn at(self, spec: &ProgramSpec) -> ProgramError {
        ProgramError {
            program: spec.name.clone(),
            insn: self.slot,
            source_line: spec.source_line(self.slot).cloned(),
            kind: self.kind,
        }
    }
}
