//! The part of a run's state that native code sees.

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::AtomicU64;

use skep_memory::View;

/// What native code and Rust both read and write of a run. Native code knows the offsets
/// of the fields, and has a pointer to it in a register.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct State {
    /// The window's first byte.
    pub(crate) base: *mut u8,
    /// Its shadow's first byte.
    pub(crate) shadow: *mut u8,
    /// The highest guest address: one less than the window's length.
    pub(crate) last: u64,
    /// The run, for helpers that native code calls.
    pub(crate) run: *mut (),
    /// Where native code goes that ends the run.
    pub(crate) exit: *const (),
    /// The host stack pointer with which it does so.
    pub(crate) exit_sp: *mut u8,
    /// Where in native code the run was ended.
    pub(crate) trapped_at: *const u8,
    /// The pointer of the access that is being checked.
    pub(crate) pointer: u64,
    /// The id of the program that is running.
    pub(crate) program: u32,
    /// The last instruction of the program, by its index.
    pub(crate) ended_at: u32,
    /// Frames up to this frame pointer are accessible.
    pub(crate) open_fp: u64,
    /// The frame pointer of the first frame of the current program body.
    pub(crate) body_fp: u64,
    /// The frame pointer of the function that calls a helper, where the helper must know.
    pub(crate) caller_fp: u64,
    /// The run is to end when this holds [`State::stop_at`].
    pub(crate) stop: *const AtomicU64,
    pub(crate) stop_at: u64,
    /// The context's guest pointer.
    pub(crate) ctx: u64,
    /// The targets of tail calls that the runner knows.
    pub(crate) targets: *const Cell<Target>,
    /// Instructions executed, as far as they are counted.
    pub(crate) executed: i64,
    /// How many may be.
    pub(crate) limit: i64,
    /// Successful tail calls.
    pub(crate) tail_calls: u32,
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
    /// The state of a run that begins with the frame of `fp`.
    pub(crate) fn new(view: View<'_>, cpu: u32, fp: u64) -> Self {
        Self {
            base: view.base_ptr(),
            shadow: view.shadow_ptr(),
            last: view.len() - 1,
            run: ptr::null_mut(),
            exit: ptr::null(),
            exit_sp: ptr::null_mut(),
            trapped_at: ptr::null(),
            pointer: 0,
            open_fp: fp,
            body_fp: fp,
            caller_fp: fp,
            stop: &raw const NEVER,
            stop_at: 1,
            ctx: 0,
            targets: ptr::null(),
            executed: 0,
            limit: i64::MAX,
            tail_calls: 0,
            cpu,
            program: 0,
            ended_at: 0,
        }
    }

    /// Forgets the run before.
    #[inline]
    pub(crate) fn restart(&mut self, fp: u64) {
        self.open_fp = fp;
        self.body_fp = fp;
        self.executed = 0;
        self.tail_calls = 0;
    }
}
