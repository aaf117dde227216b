//! The way into native code and out of it.
#![expect(unsafe_code, reason = "native code is called")]

use std::arch::naked_asm;
use std::mem::offset_of;
use std::ptr;

use crate::state::State;

/// What comes back from native code, or from Rust code that it called: two registers.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Returned {
    /// r0.
    pub(crate) value: u64,
    /// [`Returned::DONE`], or something else that the callee defines.
    pub(crate) status: u64,
}

impl Returned {
    /// It returned.
    pub(crate) const DONE: u64 = 0;
    /// The run is to end.
    pub(crate) const ENDED: u64 = 1;
    /// It was not entered, for it needs a run.
    pub(crate) const NEEDS_RUN: u64 = 2;
}

/// Calls an entry function of native code with its frame pointer, r1 and r2. A null `top` stays
/// on the stack that is in use, which then is one for native code.
///
/// # Safety
///
/// `code` is an entry function made by this engine for `state`'s machine, and stays mapped until
/// it returns; `state.run` is the run, if the code needs one, to which no other reference is used
/// meanwhile; `top` is null or the top of a [`HostStack`](super::HostStack) that nobody uses.
#[inline]
pub(super) unsafe fn enter(
    state: &State,
    code: *const u8,
    top: *mut u8,
    [fp, r1, r2]: [u64; 3],
) -> Returned {
    // SAFETY: as promised by the caller; the trampoline keeps all registers that Rust
    // expects to be kept.
    unsafe { enter_program(state, code, top, fp, r1, r2) }
}

/// As [`enter`], for a function that gets r1 to r5.
///
/// # Safety
///
/// As [`enter`], but `code` is any function.
pub(super) unsafe fn enter_at(
    state: &State,
    code: *const u8,
    top: *mut u8,
    args: &[u64; 6],
) -> Returned {
    // SAFETY: as in `enter`.
    unsafe { enter_function(state, code, top, args) }
}

/// Where native code goes that ends the run: back to whoever entered it.
pub(crate) fn exit() -> usize {
    (leave as *const ()).expose_provenance()
}

/// Saves what the caller expects to be kept, notes the stack pointer for exits (and the last
/// one's on the stack, for entries may nest), calls.
macro_rules! trampoline {
    ($($argument:literal)*) => {
        naked_asm!(
            "push rbp",
            "push rbx",
            "push r12",
            "push r13",
            "push r14",
            "push r15",
            "mov r15, rdi",
            "push qword ptr [r15 + {exit_sp}]",
            "mov [r15 + {exit_sp}], rsp",
            "test rdx, rdx",
            "cmovnz rsp, rdx",
            "mov rax, rsi",
            $($argument,)*
            "call rax",
            "xor edx, edx",
            "mov rsp, [r15 + {exit_sp}]",
            "pop qword ptr [r15 + {exit_sp}]",
            "pop r15",
            "pop r14",
            "pop r13",
            "pop r12",
            "pop rbx",
            "pop rbp",
            "ret",
            exit_sp = const offset_of!(State, exit_sp),
        )
    };
}

/// Calls with three arguments.
///
/// # Safety
///
/// See [`enter`].
#[unsafe(naked)]
unsafe extern "sysv64" fn enter_program(
    state: *const State,
    code: *const u8,
    top: *mut u8,
    fp: u64,
    r1: u64,
    r2: u64,
) -> Returned {
    trampoline!("mov rdi, rcx" "mov rsi, r8" "mov rdx, r9")
}

/// Calls with six arguments.
///
/// # Safety
///
/// See [`enter_at`].
#[unsafe(naked)]
unsafe extern "sysv64" fn enter_function(
    state: *const State,
    code: *const u8,
    top: *mut u8,
    args: &[u64; 6],
) -> Returned {
    trampoline!(
        "mov r10, rcx"
        "mov rdi, [r10]"
        "mov rsi, [r10 + 8]"
        "mov rdx, [r10 + 16]"
        "mov rcx, [r10 + 24]"
        "mov r8, [r10 + 32]"
        "mov r9, [r10 + 40]"
    )
}

/// Ends a run: drops all frames of native code up to the last entry, which returns.
///
/// # Safety
///
/// Only native code may jump here, with the state in r15.
#[unsafe(naked)]
unsafe extern "sysv64" fn leave() -> Returned {
    naked_asm!(
        "mov edx, {ended}",
        "mov rsp, [r15 + {exit_sp}]",
        "pop qword ptr [r15 + {exit_sp}]",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        ended = const Returned::ENDED,
        exit_sp = const offset_of!(State, exit_sp),
    )
}

/// No stack to switch to.
pub(super) const SAME_STACK: *mut u8 = ptr::null_mut();
