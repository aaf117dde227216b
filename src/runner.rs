//! Running programs.

use std::sync::Arc;

use skep_vm::{Input, Limits, Outcome, RunError};

use crate::cpus::Cpu;
use crate::vm::Inner;
use crate::watchdog::Watched;
use crate::{Error, Output, Program, Vm};

/// Runs programs, one after the other, on one virtual CPU, which it holds until it is
/// dropped.
#[derive(Debug)]
pub struct Runner {
    vm: Vm,
    cpu: Cpu,
    runner: skep_vm::Runner,
    watched: Option<Arc<Watched>>,
}

impl Runner {
    pub(crate) fn new(vm: &Vm, cpu: Cpu) -> Result<Self, Error> {
        let runner = skep_vm::Runner::new(&vm.inner.machine, cpu.index, vm.inner.engine)?;
        let watched = vm.inner.timeout.map(Watched::new);
        Ok(Self { vm: vm.clone(), cpu, runner, watched })
    }

    /// The virtual CPU.
    #[must_use]
    pub fn cpu(&self) -> u32 {
        self.cpu.index
    }

    /// Runs a program on an input.
    ///
    /// # Errors
    ///
    /// [`Error::Input`] when the input does not fit the program, [`Error::Fault`] when
    /// the program was stopped; what it did to maps before stays.
    pub fn run(&mut self, program: &Program, input: Input) -> Result<Output, Error> {
        let vm = &self.vm.inner;
        let runner = &mut self.runner;
        let result = with_limits(vm, self.watched.as_deref(), |limits| {
            runner.run(program.get(), &input, &*vm.host, limits)
        });
        self.finish(program, result).map_err(|(error, _)| error)
    }

    /// As [`Runner::run`]; with a fault come the lines that the program had printed.
    ///
    /// # Errors
    ///
    /// As [`Runner::run`].
    pub fn run_keeping_printk(
        &mut self,
        program: &Program,
        input: &Input,
    ) -> Result<Output, (Error, Vec<String>)> {
        let vm = &self.vm.inner;
        let runner = &mut self.runner;
        let result = with_limits(vm, self.watched.as_deref(), |limits| {
            runner.run(program.get(), input, &*vm.host, limits)
        });
        self.finish(program, result)
    }

    /// Runs a program `times` times on an input that is put in place once: what a run leaves in
    /// context and packet is there in the next, as with `repeat` of `BPF_PROG_TEST_RUN`.
    /// Nothing is copied in between, so this is how long a program itself takes. Stops at the
    /// first fault. The output is the last run's, but the printed lines are those of all; the
    /// time limit is for all together.
    ///
    /// # Errors
    ///
    /// As [`Runner::run`].
    ///
    /// ```
    /// use skep::{Input, Vm, isa, prog};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let vm = Vm::builder().build()?;
    /// let insns = isa::assemble(
    ///     "ldxw %r0, [%r1+0]
    ///      add32 %r0, 1
    ///      stxw [%r1], %r0
    ///      exit",
    /// )?;
    /// let program = vm.program_from_insns("count", Some(&prog::SYSCALL), &insns, &[])?;
    /// let out = vm.runner()?.repeat(&program, Input::raw([0; 4]), 10)?;
    /// assert_eq!(out.retval, 10);
    /// # Ok(())
    /// # }
    /// ```
    pub fn repeat(&mut self, program: &Program, input: Input, times: u64) -> Result<Output, Error> {
        let vm = &self.vm.inner;
        let runner = &mut self.runner;
        let result = with_limits(vm, self.watched.as_deref(), |limits| {
            let mut outcome = runner.run(program.get(), &input, &*vm.host, limits)?;
            if times > 1 {
                let mut printk = std::mem::take(&mut outcome.printk);
                let rest = runner.repeat(program.get(), times - 1, &*vm.host, limits);
                outcome = match rest {
                    Ok(outcome) => outcome,
                    Err(RunError::Fault(fault, lines)) => {
                        printk.extend(lines);
                        return Err(RunError::Fault(fault, printk));
                    }
                    Err(error) => return Err(error),
                };
                printk.append(&mut outcome.printk);
                outcome.printk = printk;
            }
            Ok(outcome)
        });
        self.finish(program, result).map_err(|(error, _)| error)
    }

    /// Guest memory for a packet of `len` bytes: fill it, then run on it. Nothing is
    /// copied.
    ///
    /// # Errors
    ///
    /// [`Error::Input`] when the packet is too long.
    pub fn packet_buffer(&mut self, len: usize) -> Result<PacketBuffer<'_>, Error> {
        self.runner.stage_packet(len)?;
        Ok(PacketBuffer { runner: self, len, fields: Vec::new() })
    }

    fn finish(
        &self,
        program: &Program,
        result: Result<Outcome, RunError>,
    ) -> Result<Output, (Error, Vec<String>)> {
        match result {
            Ok(outcome) => Ok(self.output(program, outcome)),
            Err(RunError::Input(error)) => Err((Error::Input(error), Vec::new())),
            Err(RunError::Fault(fault, printk)) => Err((Error::Fault(fault), printk)),
            Err(other) => unreachable!("a run has no other errors: {other:?}"),
        }
    }

    fn output(&self, program: &Program, outcome: Outcome) -> Output {
        let retval = u32::try_from(outcome.r0 & u64::from(u32::MAX)).unwrap_or(0);
        Output {
            retval,
            r0: outcome.r0,
            insns: outcome.insns,
            printk: outcome.printk,
            packet: self.runner.packet_out(),
            ctx: self.runner.context_out(),
            redirect: outcome.redirect.map(|redirect| *redirect),
            action: Output::action_of(program.prog_type(), retval),
        }
    }
}

/// A packet in guest memory that is being filled.
#[derive(Debug)]
pub struct PacketBuffer<'r> {
    runner: &'r mut Runner,
    len: usize,
    fields: Vec<(String, u64)>,
}

impl PacketBuffer<'_> {
    /// Writes bytes of the packet from `offset` on.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] when they do not all lie inside the packet.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        let len = self.len;
        let outside = || Error::Value {
            what: format!("packet of {len} bytes"),
            problem: format!("{} bytes at offset {offset} are not all inside", bytes.len()),
        };
        let end = offset.checked_add(bytes.len()).filter(|&end| end <= len);
        let (Some(_), Ok(at), Ok(count)) = (end, u32::try_from(offset), u32::try_from(bytes.len()))
        else {
            return Err(outside());
        };
        self.runner.runner.stage_packet(len)?.part(at, count).write(bytes);
        Ok(())
    }

    /// Sets a field of the context.
    #[must_use]
    pub fn set(mut self, field: impl Into<String>, value: u64) -> Self {
        self.fields.push((field.into(), value));
        self
    }

    /// Runs a packet program on it.
    ///
    /// # Errors
    ///
    /// As [`Runner::run`].
    pub fn run(self, program: &Program) -> Result<Output, Error> {
        let Self { runner, len, fields } = self;
        let vm = Arc::clone(&runner.vm.inner);
        let inner = &mut runner.runner;
        let result = with_limits(&vm, runner.watched.as_deref(), |limits| {
            inner.run_staged(program.get(), len, &fields, &*vm.host, limits)
        });
        runner.finish(program, result).map_err(|(error, _)| error)
    }
}

/// Runs with the machine's limits.
#[inline]
fn with_limits<T>(vm: &Inner, watched: Option<&Watched>, run: impl FnOnce(Limits<'_>) -> T) -> T {
    let limits = Limits { max_insns: vm.max_insns, stop: None, count: vm.count };
    match watched {
        Some(watched) => watched.during(|stop| run(Limits { stop: Some(stop), ..limits })),
        None => run(limits),
    }
}
