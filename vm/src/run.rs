//! The state of one run: frames, counts, what it holds, what it has put out.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use skep_maps::{Record, Resource, RingBuf, World};
use skep_memory::{Denied, GuestPtr, GuestSlice, View, Window};

use crate::context::{ContextMemory, Packet, PacketKind};
use crate::cpu::Cpu;
use crate::dynptr::Dynptr;
use crate::engine::Engine;
use crate::fault::{Fault, FaultKind};
use crate::host::Host;
use crate::interp::{Regs, poison_scratch};
use crate::ir::Function;
#[cfg(all(feature = "jit", target_arch = "x86_64"))]
use crate::jit::{Ending, Mode};
use crate::prog::xdp;
use crate::program::{Program, StackUse};
use crate::redirect::{Pending, Redirect};
use crate::runner::{Limits, Stop};
use crate::stack::FRAME_STRIDE;
use crate::state::State;

/// Functions may be nested so deep in one program body (`MAX_CALL_FRAMES`).
pub(crate) const MAX_DEPTH: u64 = 8;
/// Successful tail calls in one run (`MAX_TAIL_CALL_CNT`).
pub(crate) const MAX_TAIL_CALLS: u32 = 33;
/// Instructions between two looks at the clock: some microseconds, and some milliseconds when
/// each touches a page that nobody has touched before.
const POLL_EVERY: i64 = 1 << 12;
/// The most iterations of `bpf_loop` (`BPF_MAX_LOOPS`).
pub(crate) const MAX_LOOPS: u64 = 8 << 20;
/// How often a function may pass its `may_goto`s (`BPF_MAX_LOOPS`).
pub(crate) const MAX_MAY_GOTO: u32 = 8 << 20;

/// Ends a run early.
#[derive(Debug)]
pub(crate) enum Trap {
    /// At the current instruction, for this reason.
    Kind(Box<FaultKind>),
    /// Further in, in a callback; the fault is complete.
    Fault(Box<Fault>),
}

impl Trap {
    #[cold]
    pub(crate) fn new(kind: FaultKind) -> Self {
        Self::Kind(Box::new(kind))
    }
}

/// A caller that waits for its callee.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// Where it goes on.
    back: usize,
    saved: [u64; 4],
    frame_pointer: u64,
    may_goto: u32,
}

/// Something that a run has taken and must give back.
#[derive(Debug)]
pub(crate) enum Held<'r> {
    /// A reserved record.
    Record(&'r RingBuf, Record),
    /// A socket, by its address.
    Socket(GuestPtr),
    /// A spin lock, by its address.
    Lock(GuestPtr),
    /// A dynptr, which holds a record or nothing.
    Dynptr(Dynptr<'r>),
}

/// What the current program's frames were when another took over.
#[derive(Debug)]
pub(crate) struct Body {
    base: usize,
    body_fp: u64,
    may_goto: u32,
}

/// What runs on a virtual CPU write, one after the other.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) context: ContextMemory,
    pub(crate) packet: Option<Packet>,
    pub(crate) frames: Vec<Frame>,
    /// Lines that the program prints.
    pub(crate) printk: Vec<String>,
    /// Sockets that the program has found, with the offset of their memory: it stays for the
    /// run, whoever closes them (as the kernel's RCU promises).
    pub(crate) found: Vec<(u32, Arc<dyn Resource>)>,
}

/// One run.
pub(crate) struct Run<'r> {
    pub(crate) view: View<'r>,
    pub(crate) cpu: &'r Cpu,
    pub(crate) scratch: &'r mut Scratch,
    pub(crate) host: &'r dyn Host,
    pub(crate) limits: Limits<'r>,
    ctx: GuestPtr,
    /// When the limits are looked at next, in instructions.
    next_poll: i64,
    /// Where the match stops; see [`Run::poll_at`].
    stop_at: i64,
    /// How many callers wait that belong to somebody else: across a callback or a tail
    /// call.
    base: usize,
    /// The current frame.
    fp: u64,
    may_goto: u32,
    pub(crate) held: Vec<Held<'r>>,
    /// Where the packet is to go, if the verdict says so.
    pub(crate) redirect: Option<Pending<'r>>,
    /// How many dynptrs were made.
    pub(crate) dynptrs_made: u64,
    /// Whether it is on the host stack of native code.
    #[cfg(all(feature = "jit", target_arch = "x86_64"))]
    pub(crate) on_host_stack: bool,
    /// Why Rust code that native code called ended the run.
    #[cfg(all(feature = "jit", target_arch = "x86_64"))]
    pub(crate) ending: Option<Box<Ending>>,
}

impl<'r> Run<'r> {
    /// A run, which [`Run::restart`] begins, with what the state was set to.
    #[inline]
    pub(crate) fn new(
        cpu: &'r Cpu,
        scratch: &'r mut Scratch,
        host: &'r dyn Host,
        ctx: GuestPtr,
        limits: Limits<'r>,
    ) -> Self {
        Self {
            view: cpu.machine.world().window().view(),
            cpu,
            scratch,
            host,
            limits,
            ctx,
            next_poll: POLL_EVERY,
            stop_at: 0,
            base: 0,
            fp: 0,
            may_goto: 0,
            held: Vec::new(),
            redirect: None,
            dynptrs_made: 0,
            #[cfg(all(feature = "jit", target_arch = "x86_64"))]
            on_host_stack: false,
            #[cfg(all(feature = "jit", target_arch = "x86_64"))]
            ending: None,
        }
    }

    /// What native code sees of it.
    #[inline(always)]
    pub(crate) fn state(&self) -> &'r State {
        &self.cpu.state
    }

    /// Whether it is to end now.
    #[inline]
    pub(crate) fn is_stopped(&self) -> bool {
        self.limits.stop.is_some_and(|Stop { cell, at }| cell.load(Ordering::Relaxed) == at)
    }

    /// Whether it counts instructions.
    pub(crate) fn counts(&self) -> bool {
        self.cpu.engine == Engine::Interp || self.limits.count || self.limits.max_insns.is_some()
    }

    /// Begins anew, on the same context; the run before held nothing at its end.
    #[inline]
    pub(crate) fn restart(&mut self) {
        self.scratch.frames.clear();
        self.cpu.stack.close();
        self.fp = self.cpu.stack.first_fp();
        self.state().begin(self.fp);
        self.next_poll = POLL_EVERY;
        self.base = 0;
        self.may_goto = 0;
        self.redirect = None;
        self.scratch.found.clear();
    }

    pub(crate) fn world(&self) -> &'r World {
        self.cpu.machine.world()
    }

    pub(crate) fn window(&self) -> &'r Arc<Window> {
        self.world().window()
    }

    pub(crate) fn ctx(&self) -> u64 {
        self.ctx.addr()
    }

    /// Where the packet of a program that ended with `r0` is redirected to.
    pub(crate) fn redirected(&self, program: &Program, r0: u64) -> Option<Box<Redirect>> {
        let pending = self.redirect.as_ref()?;
        let verdict = program.prog_type()?.redirects()?;
        let returned = u32::try_from(r0 & u64::from(u32::MAX)).ok();
        (returned == Some(verdict)).then(|| Box::new(pending.settle(self.ingress())))
    }

    /// The device that an XDP program's packet came from.
    fn ingress(&self) -> Option<u32> {
        let packet = self.scratch.packet.filter(|packet| packet.kind == PacketKind::Xdp)?;
        let ctx = GuestSlice::new(self.view, packet.ctx, xdp::SIZE)?;
        Some(ctx.get(xdp::INGRESS_IFINDEX))
    }

    /// Keeps what programs see at `memory` for the rest of the run; `false` when it has
    /// gone.
    pub(crate) fn keep(&mut self, memory: GuestPtr) -> bool {
        if self.scratch.found.iter().any(|(offset, _)| *offset == memory.offset()) {
            return true;
        }
        let Some(resource) = self.world().resource_at(memory) else {
            return false;
        };
        self.scratch.found.push((memory.offset(), resource));
        true
    }

    pub(crate) fn base(&self) -> usize {
        self.base
    }

    #[inline(always)]
    pub(crate) fn executed(&self) -> i64 {
        self.state().executed.get()
    }

    #[inline(always)]
    pub(crate) fn set_executed(&mut self, executed: i64) {
        self.state().executed.set(executed);
    }

    /// How many instructions may have been executed, about, before the match stops to
    /// let the limits be looked at; exactly, when the budget is near.
    #[inline(always)]
    pub(crate) fn poll_at(&self) -> i64 {
        self.stop_at
    }

    /// Looks at the limits; says whether instructions must now be counted one by one.
    /// `len` is the length of the program that goes on: between two looks, the match
    /// may execute so many more.
    #[inline]
    pub(crate) fn look_at_limits(&mut self, len: usize) -> Result<bool, Box<FaultKind>> {
        if self.state().executed.get() < self.next_poll && self.limits.max_insns.is_none() {
            self.stop_at = self.next_poll;
            return Ok(false);
        }
        self.look_closely(len).map_err(Box::new)
    }

    fn look_closely(&mut self, len: usize) -> Result<bool, FaultKind> {
        if self.state().executed.get() >= self.next_poll {
            self.next_poll = self.state().executed.get() + POLL_EVERY;
            if self.is_stopped() {
                return Err(FaultKind::Timeout);
            }
        }
        self.stop_at = self.next_poll;
        let Some(limit) = self.limits.max_insns else {
            return Ok(false);
        };
        let end = i64::try_from(limit).unwrap_or(i64::MAX);
        if self.state().executed.get() >= end {
            return Err(FaultKind::Budget { limit });
        }
        let len = i64::try_from(len).unwrap_or(i64::MAX);
        let near = end.saturating_sub(len);
        if self.state().executed.get() >= near {
            self.stop_at = end.min(self.next_poll);
            return Ok(true);
        }
        self.stop_at = self.next_poll.min(near - 1);
        Ok(false)
    }

    /// Lets the match stop after one instruction, when they are counted.
    pub(crate) fn poll_after_one(&mut self) {
        self.stop_at = self.state().executed.get() + 1;
    }

    /// Looks at the limits; for helpers that run callbacks in a loop.
    pub(crate) fn poll(&mut self) -> Result<(), Trap> {
        if self.is_stopped() {
            return Err(Trap::new(FaultKind::Timeout));
        }
        if self.state().executed.get() >= self.next_poll {
            self.look_at_limits(0).map_err(Trap::Kind)?;
        }
        Ok(())
    }

    // Frames.

    /// Starts with the first frame; gives the frame pointer.
    #[inline]
    pub(crate) fn enter_program(&mut self, program: &Program) -> u64 {
        self.cpu.stack.enter(self.fp, program.ir().entry().stack);
        self.fp
    }

    /// Depth of the current frame in its program body, from 1.
    pub(crate) fn depth(&self) -> u64 {
        (self.fp - self.state().body_fp.get()) / FRAME_STRIDE + 1
    }

    /// The current frame's end.
    pub(crate) fn frame_pointer(&self) -> u64 {
        self.fp
    }

    /// The current frame.
    pub(crate) fn frame(&self) -> usize {
        self.cpu.stack.frame_at(self.fp)
    }

    /// Calls a function of the current program: saves the caller, makes a new frame.
    #[inline]
    pub(crate) fn push_frame(
        &mut self,
        regs: &mut Regs,
        back: usize,
        stack: StackUse,
    ) -> Result<(), FaultKind> {
        let saved = [regs.0[6], regs.0[7], regs.0[8], regs.0[9]];
        regs.0[10] = self.push(back, saved, regs.0[10], stack)?;
        regs.0[0] = crate::interp::POISON;
        regs.0[6..=9].fill(crate::interp::POISON);
        Ok(())
    }

    fn push(
        &mut self,
        back: usize,
        saved: [u64; 4],
        frame_pointer: u64,
        stack: StackUse,
    ) -> Result<u64, FaultKind> {
        if self.depth() >= MAX_DEPTH {
            return Err(FaultKind::CallDepth);
        }
        let may_goto = std::mem::take(&mut self.may_goto);
        self.scratch.frames.push(Frame { back, saved, frame_pointer, may_goto });
        self.fp += FRAME_STRIDE;
        self.cpu.stack.enter(self.fp, stack);
        Ok(self.fp)
    }

    /// Returns from a function; `None` from the one at the bottom.
    #[inline]
    pub(crate) fn pop_frame(&mut self, regs: &mut Regs) -> Option<usize> {
        if self.scratch.frames.len() == self.base {
            return None;
        }
        let Frame { back, saved, frame_pointer, may_goto } = self.scratch.frames.pop()?;
        self.fp -= FRAME_STRIDE;
        self.may_goto = may_goto;
        poison_scratch(regs);
        regs.0[6..=9].copy_from_slice(&saved);
        regs.0[10] = frame_pointer;
        Some(back)
    }

    /// Makes the frame of a callback; the caller's registers are the engine's to keep.
    pub(crate) fn enter_callback(&mut self, function: &Function) -> Result<u64, FaultKind> {
        let base = u64::try_from(self.base).unwrap_or(u64::MAX);
        let frame_pointer = self.push(0, [base, 0, 0, 0], 0, function.stack)?;
        self.base = self.scratch.frames.len();
        Ok(frame_pointer)
    }

    pub(crate) fn leave_callback(&mut self) {
        if let Some(frame) = self.scratch.frames.pop() {
            self.fp -= FRAME_STRIDE;
            self.may_goto = frame.may_goto;
            self.base = usize::try_from(frame.saved[0]).unwrap_or(0);
        }
    }

    /// Finds the program that a tail call leads to; `None` falls through.
    pub(crate) fn tail_call(
        &mut self,
        ctx: u64,
        map: u64,
        index: u64,
    ) -> Result<Option<Arc<Program>>, Trap> {
        let array = crate::helpers::prog_array(self, ctx, map)?;
        // Only the low half of the index counts (kernel `___bpf_prog_run`), and only
        // calls that succeed (the x86 JIT's count, which is what runs).
        let index = u32::try_from(index & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        if self.state().tail_calls.get() >= MAX_TAIL_CALLS {
            return Ok(None);
        }
        let Some(id) = array.program(index) else {
            return Ok(None);
        };
        let next = self.cpu.programs.get(&self.cpu.machine, id);
        if next.is_some() {
            self.state().tail_calls.set(self.state().tail_calls.get() + 1);
        }
        Ok(next)
    }

    /// Gives the current frame to a tail call's target, as its first.
    pub(crate) fn enter_tail_call(&mut self) -> Body {
        let body = Body {
            base: self.base,
            body_fp: self.state().body_fp.get(),
            may_goto: std::mem::take(&mut self.may_goto),
        };
        self.base = self.scratch.frames.len();
        self.state().body_fp.set(self.fp);
        body
    }

    pub(crate) fn leave_tail_call(&mut self, body: Body) {
        self.base = body.base;
        self.state().body_fp.set(body.body_fp);
        self.may_goto = body.may_goto;
    }

    /// Counts a pass of a `may_goto`; whether the function has had all it gets.
    pub(crate) fn may_goto_spent(&mut self) -> bool {
        self.may_goto += 1;
        self.may_goto > MAX_MAY_GOTO
    }

    /// Does something for native code, in the frame that it says it is in.
    #[cfg(all(feature = "jit", target_arch = "x86_64"))]
    #[inline(always)]
    pub(crate) fn in_native_frame<T>(&mut self, body: impl FnOnce(&mut Self) -> T) -> T {
        let caller = self.state().caller_fp.get();
        let before = std::mem::replace(&mut self.fp, caller);
        let result = body(self);
        self.fp = before;
        result
    }

    /// Which form of native code it needs.
    #[cfg(all(feature = "jit", target_arch = "x86_64"))]
    pub(crate) fn mode(&self) -> Mode {
        self.limits.mode()
    }

    // What it holds.

    /// Whether it holds neither records, sockets nor a lock.
    #[inline]
    pub(crate) fn holds_nothing(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether it holds a spin lock; it can hold one only.
    pub(crate) fn holds_lock(&self) -> bool {
        matches!(self.held.last(), Some(Held::Lock(_)))
    }

    /// Releases everything. Returns what a program may not end with.
    #[inline]
    pub(crate) fn release(&mut self) -> Option<FaultKind> {
        if self.held.is_empty() { None } else { self.release_some() }
    }

    #[cold]
    fn release_some(&mut self) -> Option<FaultKind> {
        let count = |is: fn(&Held<'_>) -> bool| self.held.iter().filter(|held| is(held)).count();
        let sockets = count(|held| matches!(held, Held::Socket(_)));
        let mut kind = (sockets > 0).then_some(FaultKind::SocketHeld { count: sockets });
        let dynptrs = count(|held| matches!(held, Held::Dynptr(own) if own.is_reference()));
        if dynptrs > 0 {
            kind = Some(FaultKind::DynptrHeld { count: dynptrs });
        }
        let records = count(|held| matches!(held, Held::Record(..)));
        if records > 0 {
            kind = Some(FaultKind::RecordHeld { count: records });
        }
        for held in std::mem::take(&mut self.held) {
            match held {
                Held::Record(ring, record) => ring.commit(record, true, 0),
                Held::Dynptr(dynptr) => dynptr.release(self),
                // Its memory stays until the run is over, and then goes on its own.
                Held::Socket(_) => {}
                Held::Lock(lock) => {
                    self.cpu.machine.world().locks().release(lock);
                    kind = Some(FaultKind::LockHeld);
                }
            }
        }
        kind
    }

    /// Loads a word of the packet for `ld_abs` and `ld_ind`, in host order; `None` when
    /// it is not all inside.
    pub(crate) fn load_packet_word(
        &mut self,
        ctx: u64,
        offset: i32,
        size: u32,
    ) -> Result<Option<u32>, Trap> {
        crate::helpers::load_packet_word(self, ctx, offset, size)
    }

    /// A denied access of a helper's argument.
    pub(crate) fn memory_fault(&self, denied: Denied) -> FaultKind {
        let Denied { addr, size, wanted, why, .. } = denied;
        let place = self.window().describe(addr, size);
        FaultKind::Memory(crate::fault::MemoryFault {
            addr,
            size,
            wanted,
            why,
            atomic: false,
            place,
        })
    }
}
