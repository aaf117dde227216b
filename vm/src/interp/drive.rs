//! Around the match: limits, tail calls, faults.

use std::sync::Arc;

use super::FUNCTION_TAG;
use super::exec::{Exact, Loose, Stop, Why, exec};
use super::op::Regs;
use crate::fault::{Fault, FaultKind, MemoryFault};
use crate::program::Program;
use crate::run::{Run, Trap};

/// Runs a program from its start with its context in r1 and, if it has no type, the
/// context's length in r2.
pub(crate) fn run(
    run: &mut Run<'_>,
    program: &Program,
    ctx: u64,
    len: Option<u32>,
) -> Result<u64, Box<Fault>> {
    let frame_pointer = run.enter_program(program);
    let mut regs = Regs::unwritten();
    regs.0[1] = ctx;
    if let Some(len) = len {
        regs.0[2] = u64::from(len);
    }
    regs.0[10] = frame_pointer;
    drive(run, program, &mut regs, 0)
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
    let found = start.and_then(|start| program.code().function(start));
    let Some(function) = found else {
        let problem = format!("{function:#x} is no function of the program");
        return Err(Trap::new(FaultKind::Helper(problem)));
    };
    let frame_pointer = run.enter_callback(function).map_err(Trap::new)?;
    let mut regs = Regs::unwritten();
    regs.0[1..=5].copy_from_slice(&args);
    regs.0[10] = frame_pointer;
    let result = drive(run, program, &mut regs, function.start as usize).map_err(Trap::Fault);
    run.leave_callback();
    result
}

/// Runs operations until the function at the bottom returns.
fn drive(
    run: &mut Run<'_>,
    program: &Program,
    regs: &mut Regs,
    start: usize,
) -> Result<u64, Box<Fault>> {
    let base = run.base();
    let mut pc = start;
    loop {
        let exact = run.look_at_limits(program.compiled().len());
        let exact = exact.map_err(|kind| fault(run, program, regs, pc, *kind))?;
        let stop = if exact {
            exec::<Exact>(run, program, regs, pc)
        } else {
            exec::<Loose>(run, program, regs, pc)
        };
        let Stop { pc: at, why } = stop;
        pc = at;
        match why {
            Why::Exit => {
                // The whole run ends here: it may not end with a lock or a record.
                if base == 0
                    && let Some(kind) = run.release()
                {
                    return Err(fault(run, program, regs, pc, kind));
                }
                return Ok(regs.0[0]);
            }
            Why::Poll => {}
            Why::TailCall(next) => {
                // The target takes the place of the current frame; when it returns,
                // that frame's caller, in this program, goes on.
                tail_call(run, &next, regs)?;
                debug_assert_eq!(run.base(), base);
                match run.pop_frame(regs) {
                    Some(back) => pc = back,
                    None => return Ok(regs.0[0]),
                }
            }
            Why::Denied { addr, size, wanted, atomic } => {
                let denied = run.view.denied(addr, u64::from(size), wanted);
                let kind = FaultKind::Memory(MemoryFault {
                    addr,
                    size: u64::from(size),
                    wanted,
                    why: denied.why,
                    atomic,
                    place: run.window().describe(addr, u64::from(size)),
                });
                return Err(fault(run, program, regs, pc, kind));
            }
            Why::Trap(Trap::Fault(inner)) => return Err(inner),
            Why::Trap(Trap::Kind(kind)) => {
                let kind = poison(program, pc).unwrap_or(*kind);
                return Err(fault(run, program, regs, pc, kind));
            }
        }
    }
}

/// Runs the target of a tail call to its end; r0 is its result.
fn tail_call(run: &mut Run<'_>, next: &Arc<Program>, regs: &mut Regs) -> Result<(), Box<Fault>> {
    let body = run.enter_tail_call(next);
    let ctx = run.ctx();
    let mut inner = Regs::unwritten();
    inner.0[1] = ctx;
    inner.0[10] = body.frame_pointer;
    let r0 = drive(run, next, &mut inner, 0)?;
    run.leave_tail_call(body);
    regs.0[0] = r0;
    Ok(())
}

/// The fault of reaching an instruction whose relocation failed.
fn poison(program: &Program, pc: usize) -> Option<FaultKind> {
    Some(FaultKind::Poisoned(program.poison(program.slot(pc))?.to_owned()))
}

#[cold]
fn fault(run: &Run<'_>, program: &Program, regs: &Regs, pc: usize, kind: FaultKind) -> Box<Fault> {
    let insn = program.slot(pc);
    Box::new(Fault {
        program: program.name().to_owned(),
        function: program.function_at(insn).map(str::to_owned),
        insn,
        text: program.text(pc),
        source_line: program.source_line(insn).cloned(),
        registers: regs.visible(),
        insns: run.executed().cast_unsigned(),
        kind,
    })
}
