//! The part of a run's state that native code sees.

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::AtomicU64;

use skep_memory::View;

use crate::runner::Stop;
use crate::stack::Stack;

/// What native code and Rust both read and write of a run. Native code knows the offsets
/// of the fields, and has a pointer to it in a register; so pointers are addresses here, of
/// exposed provenance.
///
/// A runner keeps it for all its runs: what is no cell stays the same.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct State {
    /// The window's first byte.
    pub(crate) base: usize,
    /// Its shadow's first byte.
    pub(crate) shadow: usize,
    /// The highest guest address: one less than the window's length.
    pub(crate) last: u64,
    /// The run, for helpers that native code calls.
    pub(crate) run: Cell<usize>,
    /// Where native code goes that ends the run.
    pub(crate) exit: usize,
    /// The host stack pointer with which it does so.
    pub(crate) exit_sp: Cell<usize>,
    /// Where in native code the run was ended.
    pub(crate) trapped_at: Cell<usize>,
    /// The pointer of the access that is being checked.
    pub(crate) pointer: Cell<u64>,
    /// The id of the program that is running.
    pub(crate) program: Cell<u32>,
    /// The last instruction of the program, by its index.
    pub(crate) ended_at: Cell<u32>,
    /// Frames up to this frame pointer are accessible.
    pub(crate) open_fp: Cell<u64>,
    /// The frame pointer of the first frame of the current program body.
    pub(crate) body_fp: Cell<u64>,
    /// The frame pointer of the function that calls a helper, where the helper must know.
    pub(crate) caller_fp: Cell<u64>,
    /// The run is to end when this holds [`State::stop_at`].
    pub(crate) stop: Cell<usize>,
    pub(crate) stop_at: Cell<u64>,
    /// The context's guest pointer.
    pub(crate) ctx: Cell<u64>,
    /// The targets of tail calls that the runner knows.
    pub(crate) targets: usize,
    /// The guest stack.
    pub(crate) stack: usize,
    /// Instructions executed, as far as they are counted.
    pub(crate) executed: Cell<i64>,
    /// How many may be.
    pub(crate) limit: Cell<i64>,
    /// Successful tail calls.
    pub(crate) tail_calls: Cell<u32>,
    /// The virtual CPU.
    pub(crate) cpu: u32,
}

/// A program that the runner holds, as a target of tail calls in native code.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Target {
    /// The program's id, with [`Target::COUNTING`] when it is the form that counts; 0 for none.
    pub(crate) id: u64,
    /// The address of its code.
    pub(crate) code: u64,
}

impl Target {
    /// How many targets a runner knows; each has one place, by its id.
    pub(crate) const COUNT: usize = 64;
    /// Marks code that counts instructions.
    pub(crate) const COUNTING: u64 = 1 << 63;
    /// An empty place.
    pub(crate) const NONE: Self = Self { id: 0, code: 0 };
}

/// What stands where a run cannot be stopped.
static NEVER: AtomicU64 = AtomicU64::new(0);

impl State {
    /// The state of the runs of a virtual CPU.
    pub(crate) fn new(view: View<'_>, cpu: u32, targets: &[Cell<Target>], stack: &Stack) -> Self {
        #[cfg(all(feature = "jit", target_arch = "x86_64"))]
        let exit = crate::jit::exit();
        #[cfg(not(all(feature = "jit", target_arch = "x86_64")))]
        let exit = 0;
        Self {
            base: view.base_ptr().expose_provenance(),
            shadow: view.shadow_ptr().expose_provenance(),
            last: view.len() - 1,
            run: Cell::new(0),
            exit,
            exit_sp: Cell::new(0),
            trapped_at: Cell::new(0),
            pointer: Cell::new(0),
            program: Cell::new(0),
            ended_at: Cell::new(0),
            open_fp: Cell::new(0),
            body_fp: Cell::new(0),
            caller_fp: Cell::new(0),
            stop: Cell::new(0),
            stop_at: Cell::new(0),
            ctx: Cell::new(0),
            targets: targets.as_ptr().expose_provenance(),
            stack: ptr::from_ref(stack).expose_provenance(),
            executed: Cell::new(0),
            limit: Cell::new(0),
            tail_calls: Cell::new(0),
            cpu,
        }
    }

    /// Sets what holds for some runs: their context, how many instructions each may execute,
    /// and what stops them.
    #[inline]
    pub(crate) fn set(&self, ctx: u64, max_insns: Option<u64>, stop: Option<Stop<'_>>) {
        let limit = max_insns.map_or(i64::MAX, |max| i64::try_from(max).unwrap_or(i64::MAX));
        self.ctx.set(ctx);
        self.limit.set(limit);
        self.set_stop(stop);
    }

    /// Sets what stops some runs.
    #[inline]
    pub(crate) fn set_stop(&self, stop: Option<Stop<'_>>) {
        let (cell, at) = stop.map_or((&NEVER, 1), |Stop { cell, at }| (cell, at));
        self.stop.set(ptr::from_ref(cell).expose_provenance());
        self.stop_at.set(at);
    }

    /// Begins a run with the frame of `fp`.
    #[inline]
    pub(crate) fn begin(&self, fp: u64) {
        self.open_fp.set(fp);
        self.body_fp.set(fp);
        self.executed.set(0);
        self.tail_calls.set(0);
    }
}
