//! Which engine runs what.

use std::fmt;
use std::sync::Arc;

#[cfg(all(feature = "jit", target_arch = "x86_64"))]
use crate::cpu::Cpu;
use crate::fault::{Fault, FaultKind};
use crate::interp::{self, POISON};
use crate::ir::{FUNCTION_TAG, Insn};
use crate::isa::Op;
#[cfg(all(feature = "jit", target_arch = "x86_64"))]
use crate::jit::{Mode, Native};
use crate::program::Program;
use crate::run::{Run, Trap};
#[cfg(all(feature = "jit", target_arch = "x86_64"))]
use crate::runner::Limits;

/// How programs are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Engine {
    /// The interpreter, which defines what programs do.
    Interp,
    /// Native code. Programs that cannot be compiled run in the interpreter.
    #[cfg(all(feature = "jit", target_arch = "x86_64"))]
    Jit,
}

impl Engine {
    /// All engines of this build.
    pub const ALL: &[Self] = &[
        Self::Interp,
        #[cfg(all(feature = "jit", target_arch = "x86_64"))]
        Self::Jit,
    ];

    /// The engine's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interp => "interp",
            #[cfg(all(feature = "jit", target_arch = "x86_64"))]
            Self::Jit => "jit",
        }
    }
}

/// The fastest engine of this build.
impl Default for Engine {
    fn default() -> Self {
        *Self::ALL.last().unwrap_or(&Self::Interp)
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Runs a program from its start with what [`arguments`] gave.
#[inline]
pub(crate) fn run(
    run: &mut Run<'_>,
    program: &Program,
    (r1, r2): (u64, u64),
) -> Result<u64, Box<Fault>> {
    run_entry(run, program, r1, r2)
}

/// What a program gets in r1 and r2: its context and, if it has no type, the context's length.
#[inline]
pub(crate) fn arguments(ctx: u64, len: Option<u32>) -> (u64, u64) {
    (ctx, len.map_or(POISON, u64::from))
}

/// The native code of a program, if it needs no [`Run`] and these are limits for it. `native`
/// gives it, if it is wanted.
#[cfg(all(feature = "jit", target_arch = "x86_64"))]
#[inline(always)]
pub(crate) fn alone<'p>(
    cpu: &Cpu,
    limits: &Limits<'_>,
    native: impl FnOnce() -> Option<&'p Native>,
) -> Option<&'p Native> {
    if cpu.engine != Engine::Jit || limits.mode() != Mode::Plain {
        return None;
    }
    native().filter(|native| !native.needs_run())
}

/// Runs a program's entry function in the current frame.
fn run_entry(run: &mut Run<'_>, program: &Program, r1: u64, r2: u64) -> Result<u64, Box<Fault>> {
    #[cfg(all(feature = "jit", target_arch = "x86_64"))]
    if run.cpu.engine == Engine::Jit
        && run.holds_nothing()
        && let Ok(native) = program.native(run.mode())
    {
        return crate::jit::run(run, program, native, r1, r2);
    }
    interp::run(run, program, r1, r2)
}

/// Runs the target of a tail call to its end in the current frame; gives its r0.
pub(crate) fn run_tail_call(run: &mut Run<'_>, next: &Arc<Program>) -> Result<u64, Box<Fault>> {
    let body = run.enter_tail_call();
    let ctx = run.ctx();
    let r0 = run_entry(run, next, ctx, POISON)?;
    run.leave_tail_call(body);
    Ok(r0)
}

/// Calls a function of `program` from a helper, as a callback; `function` is what a
/// `lddw` of it gave.
pub(crate) fn call_function(
    run: &mut Run<'_>,
    program: &Program,
    function: u64,
    args: [u64; 5],
) -> Result<u64, Trap> {
    let start = u32::try_from(function ^ FUNCTION_TAG).ok();
    let found = start.and_then(|start| program.ir().function_at(start));
    let Some(function) = found else {
        let problem = format!("{function:#x} is no function of the program");
        return Err(Trap::new(FaultKind::Helper(problem)));
    };
    run.enter_callback(function).map_err(Trap::new)?;
    let result = run_callback(run, program, function, args);
    run.leave_callback();
    result
}

fn run_callback(
    run: &mut Run<'_>,
    program: &Program,
    function: &crate::ir::Function,
    args: [u64; 5],
) -> Result<u64, Trap> {
    #[cfg(all(feature = "jit", target_arch = "x86_64"))]
    if run.cpu.engine == Engine::Jit
        && let Ok(native) = program.native(run.mode())
        && let Some(number) = crate::jit::takes(run, program, native, function)
    {
        return crate::jit::call_function(run, program, native, number, args);
    }
    interp::run_function(run, program, function, args)
}

/// What an instruction is called that skep does not have.
pub(crate) fn unsupported(insn: &Insn) -> &'static str {
    match insn.op {
        Op::CallKfunc => "call of a kernel function",
        Op::CallReg => "callx",
        Op::AddrSpaceCast => "addr_space_cast",
        _ => "unresolved relocation",
    }
}
