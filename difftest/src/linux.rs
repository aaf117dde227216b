//! Runs cases on the kernel.

use skep_oracle::{Errno, Kernel, Map, MapSpec, Prog, ProgSpec, TestRun, map_type};

use crate::case::{Answer, Case};
use crate::layout::MEMORY;

/// The kernel, with a map for the memory of programs.
#[derive(Debug)]
pub struct Linux {
    kernel: Kernel,
    map: Map,
}

/// The verifier did not take a program.
#[derive(Debug)]
pub struct Refused {
    /// What it says last.
    pub reason: String,
}

impl Linux {
    /// Makes the map.
    ///
    /// # Panics
    /// When the kernel does not let it.
    #[must_use]
    pub fn new(kernel: Kernel) -> Self {
        let len = u32::try_from(MEMORY).expect("a small memory");
        let map = kernel.create_map(&MapSpec::new(map_type::ARRAY, 4, len, 1));
        Self { map: map.expect("an array can be made"), kernel }
    }

    /// Loads a case's program and runs it once.
    ///
    /// # Errors
    /// What the verifier has against it.
    ///
    /// # Panics
    /// When the case has no program type, or the kernel loads the program but does not
    /// run it.
    pub fn run(&self, case: &Case) -> Result<Answer, Refused> {
        let maps = [&self.map];
        let prog = self.kernel.load(&spec(case, &maps)).map_err(|rejection| {
            let reason = rejection.log.lines().rfind(|line| !line.starts_with("processed "));
            Refused { reason: format!("{:?}: {}", rejection.errno, reason.unwrap_or("no log")) }
        })?;
        Ok(self.test_run(case, &prog))
    }

    /// The same, without the verifier's reason.
    ///
    /// # Errors
    /// The kernel's errno.
    ///
    /// # Panics
    /// As [`Linux::run`].
    pub fn try_run(&self, case: &Case) -> Result<Answer, Errno> {
        let maps = [&self.map];
        let prog = self.kernel.load_without_log(&spec(case, &maps))?;
        Ok(self.test_run(case, &prog))
    }

    fn test_run(&self, case: &Case, prog: &Prog) -> Answer {
        self.map.update(&[0; 4], &case.memory, 0).expect("the entry exists");
        let room = u32::try_from(case.packet.len()).expect("a small packet");
        let ran = prog.test_run(&TestRun::new().data_in(&case.packet).data_out(room));
        assert_eq!(ran.errno, None, "BPF_PROG_TEST_RUN of\n{case}");
        let memory = self.map.lookup(&[0; 4], 0).expect("the entry exists");
        Answer { r0: u64::from(ran.retval), memory, packet: ran.data_out }
    }
}

fn spec<'c>(case: &'c Case, maps: &'c [&'c Map]) -> ProgSpec<'c> {
    let prog_type = case.prog_type.expect("the kernel's programs have a type");
    ProgSpec::new(prog_type.id, &case.insns).maps(maps)
}
