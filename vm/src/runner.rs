//! A runner: one virtual CPU, and the guest memory that runs on it need.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use skep_memory::{GuestPtr, GuestSlice, MemoryError};

use crate::context::{ContextMemory, Input, InputError};
use crate::cpu::Cpu;
use crate::engine::{self, Engine};
use crate::fault::Fault;
use crate::host::Host;
#[cfg(all(feature = "jit", target_arch = "x86_64"))]
use crate::jit::{self, Returned};
use crate::machine::Machine;
use crate::program::Program;
use crate::redirect::Redirect;
use crate::run::{Run, Scratch};

/// Runs programs, one after the other, as one virtual CPU.
#[derive(Debug)]
pub struct Runner {
    cpu: Cpu,
    scratch: Scratch,
    /// The context of the last run, and its length if the program has no type.
    last: (GuestPtr, Option<u32>),
}

/// The limits of a run; none by default.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits<'a> {
    /// How many instructions may be executed: exactly in the interpreter; in native code a
    /// run may end up to a basic block later.
    pub max_insns: Option<u64>,
    /// When the run is to end, whatever it does.
    pub stop: Option<Stop<'a>>,
    /// Whether instructions are to be counted in native code, too.
    pub count: bool,
}

#[cfg(all(feature = "jit", target_arch = "x86_64"))]
impl Limits<'_> {
    /// Which form of native code they need.
    #[inline]
    pub(crate) fn mode(&self) -> jit::Mode {
        if self.count || self.max_insns.is_some() { jit::Mode::Counting } else { jit::Mode::Plain }
    }
}

/// Ends a run from outside: it ends, with [`FaultKind::Timeout`](crate::FaultKind::Timeout),
/// soon after `cell` holds `at`.
#[derive(Debug, Clone, Copy)]
pub struct Stop<'a> {
    /// Looked at all the time.
    pub cell: &'a AtomicU64,
    /// The number that ends the run.
    pub at: u64,
}

/// What a run gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The program's r0.
    pub r0: u64,
    /// Instructions executed; `None` in native code that does not count.
    pub insns: Option<u64>,
    /// Lines that the program printed.
    pub printk: Vec<String>,
    /// Where the packet went, when the program redirected it.
    pub redirect: Option<Box<Redirect>>,
}

/// A run could not start or did not end well.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// The input does not fit the program.
    Input(InputError),
    /// The program was stopped; the lines it had printed.
    Fault(Box<Fault>, Vec<String>),
}

impl Runner {
    /// A runner on virtual CPU `cpu`; two runners on one CPU would share its per-CPU
    /// values.
    ///
    /// # Errors
    ///
    /// [`MemoryError`] when the window has no room for its stack and packet.
    pub fn new(machine: &Arc<Machine>, cpu: u32, engine: Engine) -> Result<Self, MemoryError> {
        let cpu = Cpu::new(machine, cpu, engine)?;
        let context = ContextMemory::new(machine.world().window())?;
        let scratch = Scratch {
            context,
            packet: None,
            frames: Vec::new(),
            printk: Vec::new(),
            found: Vec::new(),
        };
        Ok(Self { cpu, scratch, last: (GuestPtr::NULL, None) })
    }

    /// The virtual CPU.
    #[must_use]
    pub fn cpu(&self) -> u32 {
        self.cpu.number
    }

    /// The machine.
    #[must_use]
    pub fn machine(&self) -> &Arc<Machine> {
        &self.cpu.machine
    }

    /// Runs a program on an input.
    ///
    /// # Errors
    ///
    /// [`RunError::Input`] when the input does not fit; [`RunError::Fault`] when the
    /// program was stopped.
    pub fn run(
        &mut self,
        program: &Program,
        input: &Input,
        host: &dyn Host,
        limits: Limits<'_>,
    ) -> Result<Outcome, RunError> {
        let prepared = self.scratch.context.prepare(program, input).map_err(RunError::Input)?;
        self.scratch.packet = prepared.packet;
        self.last = (prepared.ctx, prepared.len);
        self.enter(program, prepared.ctx, prepared.len, 1, host, limits)
    }

    /// Guest memory for a packet of `len` bytes, to be filled and then run on with
    /// [`Runner::run_staged`]: no copy is made.
    ///
    /// # Errors
    ///
    /// [`InputError::PacketTooLong`].
    pub fn stage_packet(&mut self, len: usize) -> Result<GuestSlice<'_>, InputError> {
        self.scratch.context.stage(len)
    }

    /// Runs a packet program on the `len` bytes that stand in the memory that
    /// [`Runner::stage_packet`] gave, with fields of its context set.
    ///
    /// # Errors
    ///
    /// As [`Runner::run`].
    pub fn run_staged(
        &mut self,
        program: &Program,
        len: usize,
        fields: &[(String, u64)],
        host: &dyn Host,
        limits: Limits<'_>,
    ) -> Result<Outcome, RunError> {
        let prepared = self.scratch.context.prepare_staged(program, len, fields);
        let prepared = prepared.map_err(RunError::Input)?;
        self.scratch.packet = prepared.packet;
        self.last = (prepared.ctx, prepared.len);
        self.enter(program, prepared.ctx, prepared.len, 1, host, limits)
    }

    /// Runs a program `times` times on the context that the last run left: no input is
    /// copied, what the program wrote is still there (as `BPF_PROG_TEST_RUN` does with
    /// `repeat`). Stops at the first fault. The outcome is the last run's; the printed
    /// lines are all runs', and the limits hold for each run but the time, which is for
    /// all together.
    ///
    /// # Errors
    ///
    /// As [`Runner::run`], but for the input.
    #[inline]
    pub fn repeat(
        &mut self,
        program: &Program,
        times: u64,
        host: &dyn Host,
        limits: Limits<'_>,
    ) -> Result<Outcome, RunError> {
        let (ctx, len) = self.last;
        self.enter(program, ctx, len, times, host, limits)
    }

    /// Enters a program `times` times.
    #[inline]
    fn enter(
        &mut self,
        program: &Program,
        ctx: GuestPtr,
        len: Option<u32>,
        times: u64,
        host: &dyn Host,
        limits: Limits<'_>,
    ) -> Result<Outcome, RunError> {
        let args = engine::arguments(ctx.addr(), len);
        #[cfg(all(feature = "jit", target_arch = "x86_64"))]
        {
            let Returned { value: r0, status } = match times {
                1 => self.enter_alone(program, args, &limits),
                _ => self.repeat_alone(program, args, times, &limits),
            };
            match status {
                // Made here, and not where it would have to be handed back through memory.
                Returned::DONE => return Ok(Outcome { r0, ..Outcome::default() }),
                Returned::ENDED => return Err(self.fault(host, ctx, limits)),
                _ => {}
            }
        }
        self.enter_with_run(program, ctx, args, times, host, limits)
    }

    /// Enters a program in native code that needs no run; gives [`Returned::NEEDS_RUN`] when
    /// it needs one.
    #[cfg(all(feature = "jit", target_arch = "x86_64"))]
    #[inline(never)]
    fn enter_alone(
        &mut self,
        program: &Program,
        args: (u64, u64),
        limits: &Limits<'_>,
    ) -> Returned {
        // Mostly all is as it was at the last run, and then nothing is called but the code.
        if self.cpu.is_fresh()
            && let Some(native) = engine::alone(&self.cpu, limits, || program.native_made())
        {
            self.cpu.state.set_stop(limits.stop);
            return jit::run_alone(&self.cpu, native, args);
        }
        self.repeat_alone(program, args, 1, limits)
    }

    /// As [`Runner::enter_alone`], `times` times in a row.
    #[cfg(all(feature = "jit", target_arch = "x86_64"))]
    #[inline(never)]
    fn repeat_alone(
        &mut self,
        program: &Program,
        args: (u64, u64),
        times: u64,
        limits: &Limits<'_>,
    ) -> Returned {
        self.cpu.refresh();
        let native = || program.native(jit::Mode::Plain).ok();
        let Some(native) = engine::alone(&self.cpu, limits, native) else {
            return Returned { value: 0, status: Returned::NEEDS_RUN };
        };
        self.cpu.state.set_stop(limits.stop);
        let mut last = Returned { value: 0, status: Returned::DONE };
        for _ in 0..times {
            self.cpu.stack.close();
            last = jit::run_alone(&self.cpu, native, args);
            if last.status != Returned::DONE {
                break;
            }
        }
        last
    }

    /// What ended native code that needed no run.
    #[cfg(all(feature = "jit", target_arch = "x86_64"))]
    #[cold]
    fn fault(&mut self, host: &dyn Host, ctx: GuestPtr, limits: Limits<'_>) -> RunError {
        let mut run = Run::new(&self.cpu, &mut self.scratch, host, ctx, limits);
        RunError::Fault(jit::ended(&mut run), Vec::new())
    }

    #[inline(never)]
    fn enter_with_run(
        &mut self,
        program: &Program,
        ctx: GuestPtr,
        args: (u64, u64),
        times: u64,
        host: &dyn Host,
        limits: Limits<'_>,
    ) -> Result<Outcome, RunError> {
        self.cpu.refresh();
        self.cpu.state.set(ctx.addr(), limits.max_insns, limits.stop);
        let (result, insns, redirect) = {
            let mut run = Run::new(&self.cpu, &mut self.scratch, host, ctx, limits);
            let mut result = Ok(0);
            for _ in 0..times {
                run.restart();
                result = engine::run(&mut run, program, args);
                if result.is_err() {
                    break;
                }
            }
            // A fault leaves what the run held; an exit has nothing left.
            run.release();
            let insns = run.counts().then(|| run.executed().cast_unsigned());
            let redirect = result.as_ref().ok().and_then(|r0| run.redirected(program, *r0));
            (result, insns, redirect)
        };
        self.scratch.found.clear();
        let lines = &mut self.scratch.printk;
        let printk = if lines.is_empty() { Vec::new() } else { std::mem::take(lines) };
        match result {
            Ok(r0) => Ok(Outcome { r0, insns, printk, redirect }),
            Err(fault) => Err(RunError::Fault(fault, printk)),
        }
    }

    /// The packet after the last run; `None` when it had none.
    #[must_use]
    pub fn packet_out(&self) -> Option<Vec<u8>> {
        self.scratch.packet.map(|packet| self.scratch.context.packet_out(packet))
    }

    /// The context's bytes after the last run, as `BPF_PROG_TEST_RUN` gives them: no
    /// guest pointers, and of a `__sk_buff` the fields that can be set.
    #[must_use]
    pub fn context_out(&self) -> Vec<u8> {
        self.scratch.context.context_out(self.scratch.packet)
    }
}
