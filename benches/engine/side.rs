//! Those who run programs, as far as the measurement sees them.

use rustix::time::{ClockId, clock_gettime};

use crate::programs::Program;

/// Someone who runs a program on a packet of its own, which stays from run to run.
pub(crate) trait Side {
    /// Sets the mode of a program on maps.
    fn set_mode(&mut self, mode: u8) -> Result<(), String>;

    /// Empties the program's ring buffer, if it has one, and runs it so many times.
    fn run(&mut self, times: u64) -> Result<Ran, String>;

    /// Fills the program's maps.
    fn fill(&mut self, program: &Program) -> Result<(), String> {
        if program.fills > 0 {
            self.set_mode(1)?;
            self.run(program.fills)?;
            self.set_mode(0)?;
        }
        Ok(())
    }
}

/// What runs in a row gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ran {
    /// Nanoseconds of all runs together, of this thread's CPU time: what others do on a
    /// busy machine is not counted.
    pub(crate) ns: u64,
    /// The return value of the last one.
    pub(crate) retval: u32,
}

/// Nanoseconds of CPU time that this thread has had.
pub(crate) fn cpu_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}
