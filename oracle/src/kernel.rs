//! The door to the kernel: whether its `bpf(2)` can be used here.

use std::io::Write;
use std::{env, fs, io};

use rustix::thread::{self, CpuSet};

use crate::{Errno, MapSpec, ProgSpec, TestRun, asm, map_type, prog_type};

/// Proof that the running kernel lets this process load and test-run programs.
#[derive(Debug, Clone)]
pub struct Kernel {
    possible_cpus: usize,
}

/// Why the kernel cannot be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// `EPERM` or `EACCES`.
    #[error(
        "the kernel refuses bpf(2) to this process ({0}): it needs CAP_BPF, CAP_PERFMON and \
         CAP_NET_ADMIN"
    )]
    NotPermitted(Errno),
    /// `ENOSYS`.
    #[error("this kernel has no bpf(2) system call")]
    NoSyscall,
    /// The calls exist, but a trivial program did not do what it must.
    #[error("the kernel's bpf(2) does not work here: {step} failed with {errno:?}")]
    Broken {
        /// What was tried.
        step: &'static str,
        /// The kernel's answer.
        errno: Errno,
    },
    /// The number of possible CPUs is unknown.
    #[error("cannot read the possible CPUs from `{path}`: {source}")]
    NoCpus {
        /// The file that was read.
        path: &'static str,
        /// What went wrong.
        source: io::Error,
    },
}

impl Unavailable {
    fn at(step: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| match errno {
            Errno::EPERM | Errno::EACCES => Self::NotPermitted(errno),
            Errno::ENOSYS => Self::NoSyscall,
            errno => Self::Broken { step, errno },
        }
    }
}

impl Kernel {
    /// Tries a map, a program and a run of it; from then on no error is about
    /// permission to use `bpf(2)` at all.
    ///
    /// # Errors
    /// The sentence that tells why the kernel cannot be asked.
    pub fn open() -> Result<Self, Unavailable> {
        let this = Self { possible_cpus: possible_cpus()? };
        let map = MapSpec::new(map_type::ARRAY, 4, 8, 1);
        this.create_map(&map).map_err(Unavailable::at("creating an array"))?;
        let pass = asm::Asm::new().mov(asm::R0, 2).exit().build();
        let prog = this
            .load(&ProgSpec::new(prog_type::XDP, &pass))
            .map_err(|e| Unavailable::at("loading a program")(e.errno))?;
        let run = TestRun::new().data_in(&[0; 64]);
        prog.test_run(&run).ok().map_err(Unavailable::at("running a program"))?;
        Ok(this)
    }

    /// [`Kernel::open`] for a test that has nothing to do without a kernel: says so
    /// on stderr, as `TEST: 0 kernel cases: WHY`, and returns `None`.
    ///
    /// # Panics
    /// When the environment has `SKEP_REQUIRE_KERNEL=1` and there is no kernel.
    #[must_use]
    pub fn for_test(test: &str) -> Option<Self> {
        match Self::open() {
            Ok(kernel) => Some(kernel),
            Err(why) => {
                let required = env::var_os("SKEP_REQUIRE_KERNEL").is_some_and(|v| v == "1");
                assert!(!required, "{test}: SKEP_REQUIRE_KERNEL=1, but {why}");
                // Not eprintln!, which the test harness swallows when a test passes.
                let _ = writeln!(io::stderr(), "{test}: 0 kernel cases: {why}");
                None
            }
        }
    }

    /// How many CPUs the kernel may ever have: the number of slots in a per-CPU
    /// value as userspace sees it.
    #[must_use]
    pub fn possible_cpus(&self) -> usize {
        self.possible_cpus
    }

    /// The kernel's version and machine, as `6.18, x86_64`.
    #[must_use]
    pub fn release(&self) -> String {
        let uname = rustix::system::uname();
        let release = uname.release().to_string_lossy();
        let numbers: Vec<&str> = release.split(['.', '-']).take(2).collect();
        format!("{}, {}", numbers.join("."), uname.machine().to_string_lossy())
    }

    /// Calls `f` with the calling thread confined to one CPU, so that the programs
    /// it runs use that CPU's slot of per-CPU maps.
    ///
    /// # Errors
    /// `EINVAL` when the machine has no such CPU online.
    pub fn on_cpu<T>(&self, cpu: usize, f: impl FnOnce() -> T) -> Result<T, Errno> {
        if cpu >= self.possible_cpus {
            return Err(Errno::EINVAL);
        }
        let errno = |e: rustix::io::Errno| Errno(e.raw_os_error());
        let before = thread::sched_getaffinity(None).map_err(errno)?;
        let mut only = CpuSet::new();
        only.set(cpu);
        thread::sched_setaffinity(None, &only).map_err(errno)?;
        let result = f();
        thread::sched_setaffinity(None, &before).map_err(errno)?;
        Ok(result)
    }
}

/// Counts the CPUs of a list such as `0-3,8`, up to the last one named.
fn possible_cpus() -> Result<usize, Unavailable> {
    let path = "/sys/devices/system/cpu/possible";
    let unknown = |source| Unavailable::NoCpus { path, source };
    let list = fs::read_to_string(path).map_err(unknown)?;
    let last = list.trim().rsplit([',', '-']).next().unwrap_or_default();
    let last: usize =
        last.parse().map_err(|e| unknown(io::Error::new(io::ErrorKind::InvalidData, e)))?;
    Ok(last + 1)
}
