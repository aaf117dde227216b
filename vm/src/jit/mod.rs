//! Native code by Cranelift, with the sandbox kept.
//!
//! ```text
//! plan        what functions call and need of each other; what cannot be compiled
//! effort      what takes the compiler too long
//! pace, fold  where code looks at the time; branches that become selections
//! translate/  mid-level form → Cranelift's, function by function, with a check per access
//! link        machine code → one piece: calls bound, traps turned into exits, sites listed
//! code        executable memory, writable or executable, never both
//! enter       the way in from Rust, and the way out when a run is ended
//! shims       what native code calls in Rust
//! listing     what people see of it
//! drive       runs programs and makes faults of exits
//! ```
//!
//! Invariants of native code:
//!
//! * **N1** Every access to guest memory is to `base + p + d`, where `p` is a number of 32
//!   bits (or masked to the window's length, where that is shorter) or a frame pointer that
//!   the host gave, and `d` is less than 64 KiB: inside the window and the slop around it
//!   (M1). No result of the analysis takes part in this: `escape/` tries it with one that
//!   lies.
//! * **N2** `r15` holds the run's [`State`](crate::state::State) from entry to exit.
//! * **N3** No frame of Rust lies between an exit and the entry it returns to.

mod code;
mod drive;
mod effort;
mod enter;
#[cfg(test)]
mod escape;
mod fold;
mod link;
mod listing;
mod pace;
mod plan;
mod shims;
mod site;
mod stack;
mod translate;

use std::fmt;

use skep_maps::MapType;

use crate::analysis::{Facts, KnownMap};
use crate::helpers;
use crate::ir::Link;
use crate::program::Program;

pub(crate) use drive::{call_function, ended, run, run_alone, takes};
pub(crate) use enter::{Returned, exit};
pub(crate) use shims::{Ending, HelperFn, NativeHelper, native_helper};
pub(crate) use stack::HostStack;

use code::Code;
use pace::Pace;
use plan::Plan;
use site::Sites;

/// What native code does beside running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nothing.
    Plain,
    /// It counts instructions, and looks at the limit of them.
    Counting,
}

/// What is known of a program when its functions are translated.
#[derive(Clone, Copy)]
struct Whole<'a> {
    program: &'a Program,
    plan: &'a Plan,
    facts: &'a Facts,
    pace: &'a Pace,
    mode: Mode,
    /// Whether a run may come to hold something that it must give up again, or a lock.
    acquires: bool,
    /// Whether it may come to hold a lock, under which helpers cannot be called.
    locks: bool,
}

/// A program in native code.
#[derive(Debug)]
pub(crate) struct Native {
    code: Code,
    /// Where each function starts, by its number.
    functions: Vec<usize>,
    /// How many frames deep each function goes, itself included.
    heights: Vec<u64>,
    sites: Sites,
    /// Whether it calls Rust code that needs the run. Where it does not, there need be none.
    needs_run: bool,
}

/// Why a program runs in the interpreter instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The host maps no executable memory.
    #[error("the host does not let memory be executable: {0}")]
    NoExecutableMemory(String),
    /// The processor or build has no native engine.
    #[error("the processor is not supported: {0}")]
    Processor(String),
    /// A function is too long for the compiler.
    #[error("function at insn {insn} has {len} instructions; {most} are compiled at most")]
    TooLong {
        /// Its first instruction.
        insn: u32,
        /// How many it has.
        len: usize,
        /// The limit.
        most: usize,
    },
    /// A function's control flow would keep the compiler busy for too long.
    #[error("function at insn {insn} has {what}, for which the compiler takes too long")]
    Tangled {
        /// Its first instruction.
        insn: u32,
        /// What it has.
        what: String,
    },
    /// Functions call each other in a circle, or too deep.
    #[error("functions are nested more than 8 deep, or call themselves")]
    Depth,
    /// The entry function is called by the program itself.
    #[error("the program calls its own entry function")]
    EntryCalled,
    /// The compiler refused.
    #[error("function at insn {insn}: {problem}")]
    Compiler {
        /// The function's first instruction.
        insn: u32,
        /// What it said.
        problem: String,
    },
    /// A check is not where the linker can turn it into an exit.
    #[error("function at insn {insn}: a check at {offset:#x} has an unexpected form")]
    Trap {
        /// The function's first instruction.
        insn: u32,
        /// Where in its code.
        offset: u32,
    },
}

impl Native {
    /// Whether it needs a [`Run`](crate::run::Run), for the Rust code that it calls.
    pub(crate) fn needs_run(&self) -> bool {
        self.needs_run
    }

    /// Compiles a program.
    pub(crate) fn compile(program: &Program, mode: Mode) -> Result<Self, Refusal> {
        let plan = Plan::of(program.ir())?;
        let facts = Facts::of(program);
        effort::check(program.ir(), &facts)?;
        let pace = Pace::of(program, &facts, &plan);
        let acquires = acquires(program, &facts);
        let locks =
            program.ir().insns.iter().any(
                |insn| matches!(insn.link, Link::Helper(position) if helpers::locks(position)),
            );
        let whole =
            Whole { program, plan: &plan, facts: &facts, pace: &pace, mode, acquires, locks };
        let isa = translate::isa()?;
        let mut linker = link::Linker::new(program);
        let mut needs_run = false;
        for number in 0..program.ir().functions.len() {
            let function = translate::function(isa, whole, number)?;
            needs_run |= function.needs_run;
            linker.add(function)?;
        }
        let (bytes, functions, sites) = linker.finish()?;
        let code = Code::new(&bytes).map_err(|e| Refusal::NoExecutableMemory(e.to_string()))?;
        Ok(Self { code, functions, heights: plan.heights(), sites, needs_run })
    }
}

/// Whether something in a program may make a run hold something.
fn acquires(program: &Program, facts: &Facts) -> bool {
    let sockets = |index: u32| {
        let def = facts.call(index).and_then(|call| match call.map {
            KnownMap::This(map) => Some(program.maps().get(map as usize)?.core().def()),
            KnownMap::In(map) => program.maps().get(map as usize)?.core().def().inner.as_deref(),
        });
        let sockets = [MapType::Sockmap.id(), MapType::Sockhash.id()];
        def.is_none_or(|def| sockets.contains(&def.map_type))
    };
    (0..).zip(&program.ir().insns).any(|(index, insn)| match insn.link {
        Link::Helper(position) if helpers::looks_up(position) => sockets(index),
        Link::Helper(position) => helpers::acquires(position),
        _ => false,
    })
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Counting => "counting",
        })
    }
}
