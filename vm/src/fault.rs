//! Faults: what stops a run, with its place.

use std::fmt;

use skep_memory::{Access, Place, Relation, Why};

use crate::program::{Program, SourceLine};

/// A run was stopped. What it did to maps before stays; what it held is released.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The program that was running: after a tail call, the one called.
    pub program: String,
    /// The function within the program, when its name is known.
    pub function: Option<String>,
    /// The slot of the instruction.
    pub insn: u32,
    /// The instruction's text.
    pub text: String,
    /// The source line of the instruction.
    pub source_line: Option<SourceLine>,
    /// r0 to r10 before the instruction, as far as they are known: the interpreter knows all,
    /// native code the pointer of a denied access.
    pub registers: [Option<u64>; 11],
    /// How many instructions were executed, this one included; `None` in native code that
    /// does not count.
    pub insns: Option<u64>,
    /// What went wrong.
    pub kind: FaultKind,
}

impl Fault {
    /// The fault of a program at an instruction, by its index. When the instruction's
    /// relocation failed, that is what is wrong.
    pub(crate) fn at(
        program: &Program,
        index: usize,
        registers: [Option<u64>; 11],
        insns: Option<u64>,
        kind: FaultKind,
    ) -> Box<Self> {
        let insn = program.slot(index);
        let poison = program.poison(insn).map(|why| FaultKind::Poisoned(why.to_owned()));
        Box::new(Self {
            program: program.name().to_owned(),
            function: program.function_at(insn).map(str::to_owned),
            insn,
            text: program.text(index),
            source_line: program.source_line(insn).cloned(),
            registers,
            insns,
            kind: poison.unwrap_or(kind),
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, function, insn, text, source_line, kind, .. } = self;
        if let Some(line) = source_line {
            write!(f, "{}:{}: ", line.file, line.line)?;
        }
        write!(f, "program `{program}`, ")?;
        if let Some(function) = function.as_ref().filter(|function| *function != program) {
            write!(f, "function `{function}`, ")?;
        }
        write!(f, "insn {insn}: {text}: {kind}")
    }
}

impl std::error::Error for Fault {}

/// What stopped a run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultKind {
    /// A load, store or helper argument touched memory that the program may not.
    #[error("{0}")]
    Memory(MemoryFault),
    /// More than eight functions deep.
    #[error("the call is nested more than 8 frames deep")]
    CallDepth,
    /// The run executed as many instructions as it may.
    #[error("the run has executed {limit} instructions, all that it may")]
    Budget {
        /// The limit.
        limit: u64,
    },
    /// The run took as long as it may.
    #[error("the run exceeds its time limit")]
    Timeout,
    /// There is no such helper, or skep does not have it.
    #[error("{0}")]
    Helper(String),
    /// A helper was given what it does not take.
    #[error("`{helper}` argument {argument}: {problem}")]
    Argument {
        /// The helper's name.
        helper: &'static str,
        /// The argument's number, from 1.
        argument: u32,
        /// What is wrong with it.
        problem: String,
    },
    /// `ld_abs` or `ld_ind` without the context in r6.
    #[error("the instruction reads the packet of the context in r6, which r6 does not hold")]
    NoContextInR6,
    /// The run ended while it held a lock.
    #[error("the program exits with a bpf_spin_lock held")]
    LockHeld,
    /// A lock was taken while one was held.
    #[error("the program takes a bpf_spin_lock while it holds one")]
    LockTwice,
    /// A lock was released that was not held.
    #[error("the program releases a bpf_spin_lock that it does not hold")]
    LockNotHeld,
    /// A helper was called while a lock was held.
    #[error("`{helper}` cannot be called while a bpf_spin_lock is held")]
    CallUnderLock {
        /// The helper's name.
        helper: &'static str,
    },
    /// The run ended with a record of a ring buffer neither submitted nor discarded.
    #[error("the program exits with {count} ring buffer record(s) neither submitted nor discarded")]
    RecordHeld {
        /// How many records.
        count: usize,
    },
    /// The run ended with a dynptr of a ring buffer neither submitted nor discarded.
    #[error("the program exits with {count} ring buffer dynptr(s) neither submitted nor discarded")]
    DynptrHeld {
        /// How many dynptrs.
        count: usize,
    },
    /// The run ended with sockets that it looked up and did not release.
    #[error("the program exits with {count} socket(s) not released")]
    SocketHeld {
        /// How many.
        count: usize,
    },
    /// An instruction that skep does not have.
    #[error("skep does not support `{0}` yet")]
    Unsupported(&'static str),
    /// A relocation of this instruction could not be resolved.
    #[error("{0}")]
    Poisoned(String),
}

impl FaultKind {
    /// What the program's author can do about it.
    #[must_use]
    pub fn help(&self) -> Option<&'static str> {
        Some(match self {
            Self::Memory(fault) => return fault.help(),
            Self::CallDepth => "call fewer functions inside one another; the kernel allows 8, too",
            Self::Budget { .. } => "allow more with --max-insns, or look for a loop without end",
            Self::Timeout => "allow more with --timeout, or look for a loop without end",
            Self::Helper(_) => "`skep features` lists the helpers that there are",
            Self::Argument { .. } => "see bpf-helpers(7) for what the helper takes",
            Self::LockHeld | Self::CallUnderLock { .. } => {
                "call bpf_spin_unlock first, on each path"
            }
            Self::LockTwice => "a program can hold one lock at a time",
            Self::LockNotHeld => "unlock the lock that bpf_spin_lock took",
            Self::RecordHeld { .. } => {
                "call bpf_ringbuf_submit or bpf_ringbuf_discard on each path"
            }
            Self::DynptrHeld { .. } => {
                "call bpf_ringbuf_submit_dynptr or bpf_ringbuf_discard_dynptr on each path, even \
                 when bpf_ringbuf_reserve_dynptr has failed"
            }
            Self::SocketHeld { .. } => "call bpf_sk_release on each path",
            Self::Unsupported(_) | Self::Poisoned(_) | Self::NoContextInR6 => return None,
        })
    }
}

/// A denied access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryFault {
    /// The address of the access.
    pub addr: u64,
    /// Its size in bytes.
    pub size: u64,
    /// What it would have done: loaded, stored, or both for an atomic operation.
    pub wanted: Access,
    /// Why it was denied.
    pub why: Why,
    /// Whether it was an atomic operation.
    pub atomic: bool,
    /// What is nearest.
    pub place: Option<Place>,
}

impl MemoryFault {
    fn help(&self) -> Option<&'static str> {
        match (self.why, self.place.as_ref().map(|place| place.relation)) {
            (Why::Misaligned, _) => Some("align the variable to its size"),
            _ if self.addr < NULL_PAGES => Some("compare the pointer with NULL before it is used"),
            (Why::Byte(Access::Read), _) => Some("write to memory that is the program's own"),
            (Why::Byte(Access::Write), _) => {
                Some("keep what is to be read again in memory that may be read")
            }
            (_, Some(Relation::Past(_) | Relation::Before(_))) => {
                Some("check the bounds before the access")
            }
            _ => None,
        }
    }
}

/// Nothing below this address is ever accessible: what points there is a null pointer,
/// with an offset perhaps.
const NULL_PAGES: u64 = 64 << 10;

impl fmt::Display for MemoryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { addr, size, wanted, why, atomic, place } = self;
        let what = match (atomic, wanted) {
            (true, _) => "atomic operation",
            (false, Access::Read) => "load",
            (false, _) => "store",
        };
        write!(f, "{size}-byte {what} ")?;
        match (why, place) {
            (Why::Misaligned, _) => {
                write!(f, "at {addr:#x}, which is not a multiple of {size}")
            }
            _ if *addr < NULL_PAGES => write!(f, "through a null pointer ({addr:#x})"),
            (Why::Byte(Access::Read), Some(place)) => write!(f, "to read-only memory, {place}"),
            (Why::Byte(Access::Write), Some(place)) => {
                let preposition = if *atomic { "to" } else { "from" };
                write!(f, "{preposition} write-only memory, {place}")
            }
            (Why::Byte(_), Some(place)) if matches!(place.relation, Relation::Inside(_)) => {
                write!(f, "{place}, which programs may not access")
            }
            (Why::Byte(_), Some(place)) => place.fmt(f),
            (Why::Outside, _) => write!(f, "at {addr:#x}, which is no pointer"),
            (Why::Byte(_), None) => write!(f, "at {addr:#x}, which is outside every object"),
        }
    }
}
