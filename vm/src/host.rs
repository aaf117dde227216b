//! The world around programs: clock, chance, task.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use skep_maps::Cgroup;

/// What programs learn of the world outside. Everything that is not a function of the
/// object, its input and its maps comes from here.
pub trait Host: Send + Sync + fmt::Debug {
    /// Reads a clock, in nanoseconds.
    fn clock(&self, clock: Clock) -> u64;

    /// A random number.
    fn random(&self) -> u32;

    /// The task that the program runs in.
    fn task(&self) -> Task;

    /// The cgroup that the task is in; the root unless a host says otherwise.
    fn cgroup(&self) -> Cgroup {
        Cgroup::root()
    }

    /// The call stack of that task, the innermost address first; empty where there is
    /// none to be had.
    fn stack(&self, _kind: StackKind) -> Vec<u64> {
        Vec::new()
    }
}

/// Whose call stack it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StackKind {
    /// The kernel's, from where the program runs.
    Kernel,
    /// The task's own, from where it entered the kernel.
    User,
}

/// The clocks that helpers read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// `CLOCK_MONOTONIC`: since boot, without sleep.
    Monotonic,
    /// `CLOCK_MONOTONIC_COARSE`: the same at the last tick.
    Coarse,
    /// `CLOCK_BOOTTIME`: since boot, with sleep.
    Boot,
    /// `CLOCK_TAI`: international atomic time.
    Tai,
}

/// The identity of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Thread id (the kernel's `pid`).
    pub pid: u32,
    /// Process id (the kernel's `tgid`).
    pub tgid: u32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Command name: up to 15 bytes and a NUL.
    pub comm: [u8; 16],
}

impl Task {
    /// The comm field for a name, cut after 15 bytes.
    #[must_use]
    pub fn comm_of(name: &str) -> [u8; 16] {
        let mut comm = [0; 16];
        for (to, from) in comm[..15].iter_mut().zip(name.bytes()) {
            *to = from;
        }
        comm
    }
}

/// A host whose every answer is fixed, so that runs repeat byte for byte.
///
/// The clock starts at a fixed instant and advances by a step at each reading; random
/// numbers come from a seeded generator; the task is `skep`, pid and tgid 1000, uid and
/// gid 1000, in the root cgroup, and has no call stack.
#[derive(Debug)]
pub struct FixedHost {
    now: AtomicU64,
    step: u64,
    random: AtomicU64,
    task: Task,
    cgroup: Cgroup,
    kernel_stack: Vec<u64>,
    user_stack: Vec<u64>,
}

/// The fixed clock's first reading: ten minutes after boot.
const START: u64 = 600_000_000_000;
/// How far TAI is ahead of the monotonic clock: 2024-01-01 in TAI, at boot.
const TAI_AHEAD: u64 = 1_704_067_237_000_000_000;
/// Nanoseconds of a tick of the coarse clock.
const TICK: u64 = 4_000_000;

impl Default for FixedHost {
    fn default() -> Self {
        Self::at(START)
    }
}

impl FixedHost {
    /// A host whose monotonic clock first reads `nanoseconds`.
    #[must_use]
    pub fn at(nanoseconds: u64) -> Self {
        Self {
            now: AtomicU64::new(nanoseconds),
            step: 1000,
            random: AtomicU64::new(0),
            task: Task { pid: 1000, tgid: 1000, uid: 1000, gid: 1000, comm: Task::comm_of("skep") },
            cgroup: Cgroup::root(),
            kernel_stack: Vec::new(),
            user_stack: Vec::new(),
        }
    }

    /// Advances the clock by `nanoseconds` at each reading; 1000 by default.
    #[must_use]
    pub fn clock_step(self, nanoseconds: u64) -> Self {
        Self { step: nanoseconds, ..self }
    }

    /// Starts the random numbers at `seed`; 0 by default.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { random: AtomicU64::new(seed), ..self }
    }

    /// Runs programs as this task.
    #[must_use]
    pub fn with_task(self, task: Task) -> Self {
        Self { task, ..self }
    }

    /// Runs programs in this cgroup; in the root by default.
    #[must_use]
    pub fn with_cgroup(self, cgroup: Cgroup) -> Self {
        Self { cgroup, ..self }
    }

    /// Runs programs with this call stack, the innermost address first.
    #[must_use]
    pub fn with_stack(self, kind: StackKind, addresses: impl Into<Vec<u64>>) -> Self {
        match kind {
            StackKind::Kernel => Self { kernel_stack: addresses.into(), ..self },
            StackKind::User => Self { user_stack: addresses.into(), ..self },
        }
    }

    /// Sets the monotonic clock: its next reading is `nanoseconds`.
    pub fn set_clock(&self, nanoseconds: u64) {
        self.now.store(nanoseconds, Ordering::Relaxed);
    }
}

impl Host for FixedHost {
    fn clock(&self, clock: Clock) -> u64 {
        let now = self.now.fetch_add(self.step, Ordering::Relaxed);
        match clock {
            Clock::Monotonic | Clock::Boot => now,
            Clock::Coarse => now / TICK * TICK,
            Clock::Tai => now.wrapping_add(TAI_AHEAD),
        }
    }

    fn random(&self) -> u32 {
        // SplitMix64: every seed gives a full-period sequence.
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let state = self.random.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((mixed ^ mixed >> 31) >> 32).expect("32 bits are left")
    }

    fn task(&self) -> Task {
        self.task.clone()
    }

    fn cgroup(&self) -> Cgroup {
        self.cgroup.clone()
    }

    fn stack(&self, kind: StackKind) -> Vec<u64> {
        match kind {
            StackKind::Kernel => self.kernel_stack.clone(),
            StackKind::User => self.user_stack.clone(),
        }
    }
}
