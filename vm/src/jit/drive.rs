//! Around native code: how programs and functions are entered, and what is made of exits.
#![expect(unsafe_code, reason = "native code is called")]

use std::panic::resume_unwind;
use std::sync::Arc;

use super::enter::{self, Returned, SAME_STACK};
use super::shims::{CODE, Ending, RAN};
use super::site::{Site, Why};
use super::{Mode, Native};
use crate::cpu::Cpu;
use crate::engine;
use crate::fault::{Fault, FaultKind, MemoryFault};
use crate::helpers;
use crate::ir::{Function, Link};
use crate::program::Program;
use crate::run::{MAX_DEPTH, Run, Trap};
use crate::state::{State, Target};

/// Runs a program's entry function in the current frame.
pub(crate) fn run(
    run: &mut Run<'_>,
    program: &Program,
    native: &Native,
    r1: u64,
    r2: u64,
) -> Result<u64, Box<Fault>> {
    run.state().program.set(program.id());
    let args = [run.frame_pointer(), r1, r2];
    let code = native.code.at(native.functions[0]);
    // SAFETY: the code is the entry function of a program that the caller borrows; see `call`.
    let r0 = call(run, |state, top| unsafe { enter::enter(state, code, top, args) })?;
    // The whole run ends here: it may not end with a lock or a record.
    if run.base() == 0
        && let Some(kind) = run.release()
    {
        let site = Site { insn: run.state().ended_at.get(), why: Why::Called, ahead: 0 };
        return Err(fault(run, site, kind));
    }
    Ok(r0)
}

/// Runs a program that needs no run from its start, when the frames below the first are closed;
/// [`ended`] tells why it was ended, if it was.
#[inline(always)]
pub(crate) fn run_alone(cpu: &Cpu, native: &Native, (r1, r2): (u64, u64)) -> Returned {
    let fp = cpu.stack.first_fp();
    cpu.state.open_fp.set(fp);
    let code = native.code.at(native.functions[0]);
    // SAFETY: the code is the entry function of a program that the caller borrows, and uses no
    // run; the stack belongs to the runner, which has one run at a time.
    unsafe { enter::enter(&cpu.state, code, cpu.host_stack.top(), [fp, r1, r2]) }
}

/// Whether a function can be called in the current frame without looking at depths any more.
pub(crate) fn fits(run: &Run<'_>, native: &Native, number: usize) -> bool {
    run.depth() + native.heights[number] - 1 <= MAX_DEPTH
}

/// Calls a function of a program in the current frame.
pub(crate) fn call_function(
    run: &mut Run<'_>,
    program: &Program,
    native: &Native,
    number: usize,
    args: [u64; 5],
) -> Result<u64, Trap> {
    let state = run.state();
    let before = (state.program.get(), state.body_fp.get(), state.caller_fp.get());
    state.program.set(program.id());
    let [r1, r2, r3, r4, r5] = args;
    let args = [run.frame_pointer(), r1, r2, r3, r4, r5];
    let code = native.code.at(native.functions[number]);
    // SAFETY: the code is a function of a program that the caller borrows; see `call`.
    let result = call(run, |state, top| unsafe { enter::enter_at(state, code, top, &args) });
    state.program.set(before.0);
    state.body_fp.set(before.1);
    state.caller_fp.set(before.2);
    result.map_err(Trap::Fault)
}

/// Enters native code, which gets the run: nobody uses it until `enter` returns. The stack that
/// `enter` gets belongs to the runner, which has one run at a time.
fn call(
    run: &mut Run<'_>,
    enter: impl FnOnce(&State, *mut u8) -> Returned,
) -> Result<u64, Box<Fault>> {
    let top = if run.on_host_stack { SAME_STACK } else { run.cpu.host_stack.top() };
    let outermost = !std::mem::replace(&mut run.on_host_stack, true);
    let state = run.state();
    let run_ptr: *mut Run<'_> = run;
    state.run.set(run_ptr.expose_provenance());
    let Returned { value, status } = enter(state, top);
    // SAFETY: native code has returned, and with it whatever used the run.
    let run = unsafe { &mut *run_ptr };
    if outermost {
        run.on_host_stack = false;
    }
    if status == Returned::DONE { Ok(value) } else { Err(ended(run)) }
}

/// The fault of a run that native code has ended.
#[cold]
pub(crate) fn ended(run: &mut Run<'_>) -> Box<Fault> {
    let kind = match run.ending.take().map(|ending| *ending) {
        Some(Ending::Panic(panic)) => resume_unwind(panic),
        Some(Ending::Trap(Trap::Fault(fault))) => return fault,
        Some(Ending::Trap(Trap::Kind(kind))) => Some(*kind),
        None => None,
    };
    let program = current(run);
    let native = program.native(run.mode()).expect("it was running");
    let site =
        native.code.offset_of(run.state().trapped_at.get()).and_then(|at| native.sites.at(at));
    let site = *site.expect("each exit has a site");
    let kind = kind.unwrap_or_else(|| why(run, &program, site));
    fault(run, site, kind)
}

/// The program that is running.
fn current(run: &Run<'_>) -> Arc<Program> {
    // Not by the runner's cache, which would keep the program, and its maps, for longer.
    run.cpu.machine.program(run.state().program.get()).expect("whoever runs a program holds it")
}

/// What is wrong at a site.
fn why(run: &Run<'_>, program: &Program, site: Site) -> FaultKind {
    let insn = &program.ir().insns[site.insn as usize];
    match site.why {
        Why::Denied { size, wanted, atomic } => {
            let size = u64::from(size);
            let addr = run.state().pointer.get().wrapping_add_signed(i64::from(insn.off));
            let why = run.view.denied(addr, size, wanted).why;
            let place = run.window().describe(addr, size);
            FaultKind::Memory(MemoryFault { addr, size, wanted, why, atomic, place })
        }
        Why::Stopped => FaultKind::Timeout,
        Why::Budget => FaultKind::Budget { limit: run.limits.max_insns.unwrap_or(u64::MAX) },
        Why::Called | Why::Impossible => match insn.link {
            Link::NoHelper => helpers::missing(low(insn.imm)),
            _ => FaultKind::Unsupported(engine::unsupported(insn)),
        },
    }
}

/// The low half of a number.
fn low(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).expect("it has 32 bits")
}

#[cold]
fn fault(run: &Run<'_>, site: Site, kind: FaultKind) -> Box<Fault> {
    let program = current(run);
    let insn = program.ir().insns[site.insn as usize];
    let mut registers = [None; 11];
    if let Why::Denied { wanted, .. } = site.why {
        let base = if wanted == skep_memory::Access::Read { insn.src } else { insn.dst };
        registers[usize::from(base)] = Some(run.state().pointer.get());
    }
    let insns = (run.mode() == Mode::Counting)
        .then(|| (run.state().executed.get() - i64::from(site.ahead)).cast_unsigned());
    Fault::at(&program, site.insn as usize, registers, insns, kind)
}

/// Makes a tail call for native code, in the frame of [`State::caller_fp`].
///
/// [`State::caller_fp`]: crate::state::State::caller_fp
pub(super) fn tail_call(
    run: &mut Run<'_>,
    ctx: u64,
    map: u64,
    index: u64,
) -> Result<Returned, Trap> {
    let Some(next) = run.tail_call(ctx, map, index)? else {
        return Ok(Returned { value: 0, status: Returned::DONE });
    };
    // A dynptr that holds a record has taken a part of the frame away, on which native code
    // does not reckon.
    match next.native(run.mode()) {
        Ok(native) if run.holds_nothing() => {
            run.state().body_fp.set(run.state().caller_fp.get());
            run.state().program.set(next.id());
            let code = native.code.at(native.functions[0]) as u64;
            remember(run, next.id(), code);
            Ok(Returned { value: code, status: CODE })
        }
        _ => {
            let r0 = engine::run_tail_call(run, &next).map_err(Trap::Fault)?;
            Ok(Returned { value: r0, status: RAN })
        }
    }
}

/// Lets native code find a target by itself from now on; the runner's cache holds it.
fn remember(run: &Run<'_>, id: u32, code: u64) {
    let mark = if run.mode() == Mode::Counting { Target::COUNTING } else { 0 };
    if let Some(place) = run.cpu.targets.get(id as usize % Target::COUNT) {
        place.set(Target { id: u64::from(id) | mark, code });
    }
}

/// The number of the function, and whether native code can take it in the current frame.
pub(crate) fn takes(
    run: &Run<'_>,
    program: &Program,
    native: &Native,
    function: &Function,
) -> Option<usize> {
    let number = program.ir().function_index(function.start)?;
    fits(run, native, number).then_some(number)
}
