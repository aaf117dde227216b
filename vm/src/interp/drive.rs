//! Around the match: limits, tail calls, faults.

use super::exec::{Exact, Loose, Stop, Why, exec};
use super::op::Regs;
use crate::engine;
use crate::fault::{Fault, FaultKind, MemoryFault};
use crate::ir::Function;
use crate::program::Program;
use crate::run::{Run, Trap};

/// Runs a program's entry function in the current frame.
pub(crate) fn run(
    run: &mut Run<'_>,
    program: &Program,
    r1: u64,
    r2: u64,
) -> Result<u64, Box<Fault>> {
    let mut regs = Regs::unwritten();
    regs.0[1] = r1;
    regs.0[2] = r2;
    regs.0[10] = run.enter_program(program);
    drive(run, program, &mut regs, 0)
}

/// Runs a function of a program in the current frame, which is open.
pub(crate) fn run_function(
    run: &mut Run<'_>,
    program: &Program,
    function: &Function,
    args: [u64; 5],
) -> Result<u64, Trap> {
    let mut regs = Regs::unwritten();
    regs.0[1..=5].copy_from_slice(&args);
    regs.0[10] = run.frame_pointer();
    drive(run, program, &mut regs, function.start as usize).map_err(Trap::Fault)
}

/// Runs operations until the function at the bottom returns.
///
/// Most runs are over when the match is left for the first time: that is all here.
#[inline]
fn drive(
    run: &mut Run<'_>,
    program: &Program,
    regs: &mut Regs,
    start: usize,
) -> Result<u64, Box<Fault>> {
    let stop = step(run, program, regs, start)?;
    if matches!(stop.why, Why::Exit) && run.base() == 0 && run.holds_nothing() {
        return Ok(regs.0[0]);
    }
    go_on(run, program, regs, stop)
}

/// Looks at the limits and runs operations until something else is to be done.
#[inline]
fn step(
    run: &mut Run<'_>,
    program: &Program,
    regs: &mut Regs,
    pc: usize,
) -> Result<Stop, Box<Fault>> {
    match run.look_at_limits(program.compiled().len()) {
        Ok(false) => Ok(exec::<Loose>(run, program, regs, pc)),
        Ok(true) => Ok(exec::<Exact>(run, program, regs, pc)),
        Err(kind) => Err(fault(run, program, regs, pc, *kind)),
    }
}

/// Does what the match was left for, and runs on.
fn go_on(
    run: &mut Run<'_>,
    program: &Program,
    regs: &mut Regs,
    mut stop: Stop,
) -> Result<u64, Box<Fault>> {
    let base = run.base();
    loop {
        let Stop { mut pc, why } = stop;
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
            Why::Look => {
                if run.is_stopped() {
                    return Err(fault(run, program, regs, pc, FaultKind::Timeout));
                }
                run.poll_after_one();
                stop = exec::<Exact>(run, program, regs, pc);
                continue;
            }
            Why::TailCall(next) => {
                // The target takes the place of the current frame; when it returns,
                // that frame's caller, in this program, goes on.
                regs.0[0] = engine::run_tail_call(run, &next)?;
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
                return Err(fault(run, program, regs, pc, *kind));
            }
        }
        stop = step(run, program, regs, pc)?;
    }
}

#[cold]
fn fault(run: &Run<'_>, program: &Program, regs: &Regs, pc: usize, kind: FaultKind) -> Box<Fault> {
    // A part of what native code has executed before is not counted.
    let insns = run.counts().then(|| run.executed().cast_unsigned());
    Fault::at(program, pc, regs.visible().map(Some), insns, kind)
}
