//! A runner: one virtual CPU, and the guest memory that runs on it need.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use skep_maps::{Map, World};
use skep_memory::{
    Access, Backing, Grid, GuestPtr, GuestSlice, Label, MemoryError, Span, SpanRequest, Window,
};

use crate::context::{ContextMemory, Input, InputError, Packet};
use crate::engine::{self, Engine};
use crate::fault::Fault;
use crate::host::Host;
#[cfg(all(feature = "jit", target_arch = "x86_64"))]
use crate::jit::HostStack;
use crate::machine::Machine;
use crate::program::{FRAME_SIZE, Program, StackUse};
use crate::redirect::Redirect;
use crate::run::{Frame, Run, Setting};
use crate::state::Target;

/// Frames of one run: eight in each of the 34 program bodies that can nest.
const MAX_FRAMES: u32 = 8 * 34;
/// Distance from one frame to the next in bytes: as much again stays inaccessible.
const STRIDE: u32 = 2 * FRAME_SIZE;
/// The same, as the distance from one frame pointer to the next.
pub(crate) const FRAME_STRIDE: u64 = STRIDE as u64;

/// Runs programs, one after the other, as one virtual CPU.
#[derive(Debug)]
pub struct Runner {
    machine: Arc<Machine>,
    cpu: u32,
    stack: Stack,
    context: ContextMemory,
    maps: MapCache,
    programs: ProgramCache,
    frames: Vec<Frame>,
    /// Lines that the run going on has printed.
    printk: Vec<String>,
    packet: Option<Packet>,
    /// The context of the last run, and its length if the program has no type.
    last: (GuestPtr, Option<u32>),
    engine: Engine,
    #[cfg(all(feature = "jit", target_arch = "x86_64"))]
    host_stack: HostStack,
    /// Targets of tail calls that `programs` holds.
    targets: Targets,
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
        let window = machine.world().window();
        Ok(Self {
            machine: Arc::clone(machine),
            cpu: cpu % machine.world().cpus(),
            stack: Stack::new(window)?,
            context: ContextMemory::new(window)?,
            maps: MapCache::default(),
            programs: ProgramCache::default(),
            frames: Vec::new(),
            printk: Vec::new(),
            packet: None,
            last: (GuestPtr::NULL, None),
            targets: Targets::default(),
            engine,
            #[cfg(all(feature = "jit", target_arch = "x86_64"))]
            host_stack: HostStack::new()
                .map_err(|source| MemoryError::Reserve { bytes: HostStack::BYTES, source })?,
        })
    }

    /// The virtual CPU.
    #[must_use]
    pub fn cpu(&self) -> u32 {
        self.cpu
    }

    /// The machine.
    #[must_use]
    pub fn machine(&self) -> &Arc<Machine> {
        &self.machine
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
        let prepared = self.context.prepare(program, input).map_err(RunError::Input)?;
        self.packet = prepared.packet;
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
        self.context.stage(len)
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
        let prepared = self.context.prepare_staged(program, len, fields);
        let prepared = prepared.map_err(RunError::Input)?;
        self.packet = prepared.packet;
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

    fn enter(
        &mut self,
        program: &Program,
        ctx: GuestPtr,
        len: Option<u32>,
        times: u64,
        host: &dyn Host,
        limits: Limits<'_>,
    ) -> Result<Outcome, RunError> {
        self.maps.refresh(self.machine.world());
        if self.programs.refresh(&self.machine) {
            self.targets = Targets::default();
        }
        self.frames.clear();
        let mut run = Run::new(Setting {
            machine: &self.machine,
            host,
            cpu: self.cpu,
            stack: &self.stack,
            context: &mut self.context,
            maps: &self.maps,
            programs: &self.programs,
            targets: &self.targets.0,
            frames: &mut self.frames,
            printk: &mut self.printk,
            ctx,
            packet: &mut self.packet,
            max_insns: limits.max_insns,
            count: limits.count,
            stop: limits.stop,
            engine: self.engine,
            #[cfg(all(feature = "jit", target_arch = "x86_64"))]
            host_stack: &self.host_stack,
        });
        run.limit(limits);
        run.state.ctx = ctx.addr();
        run.state.targets = self.targets.0.as_ptr();
        let mut result = Ok(0);
        for _ in 0..times {
            run.restart();
            result = engine::run(&mut run, program, ctx.addr(), len);
            self.stack.close();
            if result.is_err() {
                break;
            }
        }
        // A fault leaves what the run held; an exit has nothing left.
        run.release();
        let insns = run.counts().then(|| run.executed().cast_unsigned());
        let redirect = result.as_ref().ok().and_then(|r0| run.redirected(program, *r0));
        drop(run);
        let printk =
            if self.printk.is_empty() { Vec::new() } else { std::mem::take(&mut self.printk) };
        match result {
            Ok(r0) => Ok(Outcome { r0, insns, printk, redirect }),
            Err(fault) => Err(RunError::Fault(fault, printk)),
        }
    }

    /// The packet after the last run; `None` when it had none.
    #[must_use]
    pub fn packet_out(&self) -> Option<Vec<u8>> {
        self.packet.map(|packet| self.context.packet_out(packet))
    }

    /// The context's bytes after the last run, as `BPF_PROG_TEST_RUN` gives them: no
    /// guest pointers, and of a `__sk_buff` the fields that can be set.
    #[must_use]
    pub fn context_out(&self) -> Vec<u8> {
        self.context.context_out(self.packet)
    }
}

/// The stack frames of one runner.
///
/// Frame 0 is always accessible; deeper ones become so when they are first entered in a
/// run, and are closed when it ends.
#[derive(Debug)]
pub(crate) struct Stack {
    span: Span,
    /// Frames that are accessible now.
    open: Cell<u32>,
}

impl Stack {
    fn new(window: &Arc<Window>) -> Result<Self, MemoryError> {
        let grid = Grid { size: FRAME_SIZE, stride: STRIDE };
        let span = Span::new(
            window,
            SpanRequest {
                len: u64::from(MAX_FRAMES * STRIDE - FRAME_SIZE),
                align: 64,
                access: Access::None,
                label: Label::many("stack frame", grid),
                backing: Backing::Anonymous,
            },
        )?;
        let stack = Self { span, open: Cell::new(0) };
        stack.open_to(1);
        Ok(stack)
    }

    /// The frame pointer of the first frame.
    #[inline(always)]
    pub(crate) fn first_fp(&self) -> u64 {
        self.span.ptr().add(FRAME_SIZE).addr()
    }

    /// The number of the frame with this frame pointer, from 0.
    #[inline(always)]
    pub(crate) fn frame_at(&self, fp: u64) -> usize {
        usize::try_from((fp - self.first_fp()) / FRAME_STRIDE).unwrap_or(0)
    }

    /// Enters the frame with this frame pointer: makes it accessible and zero where the
    /// function may read it first.
    #[inline(always)]
    pub(crate) fn enter(&self, fp: u64, stack: StackUse) {
        if !stack.framed {
            return;
        }
        let end = self.open(fp);
        if stack.bytes > 0 {
            self.clear(end - stack.bytes, stack.bytes);
        }
    }

    /// Makes the frame with this frame pointer accessible. Returns where it ends: an
    /// offset into the span.
    #[inline(always)]
    pub(crate) fn open(&self, fp: u64) -> u32 {
        let index = u32::try_from(self.frame_at(fp)).unwrap_or(MAX_FRAMES).min(MAX_FRAMES - 1);
        if index >= self.open.get() {
            self.open_to(index + 1);
        }
        index * STRIDE + FRAME_SIZE
    }

    /// Which frame holds all of `len` bytes at `at`, if they are accessible parts of one.
    pub(crate) fn frame_of(&self, at: GuestPtr, len: u32) -> Option<usize> {
        let offset = at.offset().checked_sub(self.span.ptr().offset())?;
        let (frame, within) = (offset / STRIDE, offset % STRIDE);
        let fits = within + len <= FRAME_SIZE && frame < self.open.get();
        fits.then_some(frame as usize)
    }

    /// Takes all rights to a part of a frame from the program.
    pub(crate) fn close_part(&self, at: GuestPtr, len: u32) {
        self.set_access(at, len, Access::None);
    }

    /// Gives them back, if the frame is open.
    pub(crate) fn restore(&self, at: GuestPtr, len: u32) {
        if self.frame_of(at, len).is_some() {
            self.set_access(at, len, Access::ReadWrite);
        }
    }

    fn set_access(&self, at: GuestPtr, len: u32, access: Access) {
        let start = at.offset() - self.span.ptr().offset();
        self.span.set_access(start..start + len, access);
    }

    fn clear(&self, start: u32, bytes: u32) {
        self.span.part(start, bytes).fill(0);
    }

    #[cold]
    fn open_to(&self, count: u32) {
        for index in self.open.get()..count {
            let start = index * STRIDE;
            self.span.set_access(start..start + FRAME_SIZE, Access::ReadWrite);
        }
        self.open.set(count);
    }

    /// Closes all frames but the first.
    #[inline]
    fn close(&self) {
        if self.open.get() > 1 {
            self.close_deeper();
        }
    }

    #[cold]
    fn close_deeper(&self) {
        while self.open.get() > 1 {
            let start = (self.open.get() - 1) * STRIDE;
            self.span.set_access(start..start + FRAME_SIZE, Access::None);
            self.open.set(self.open.get() - 1);
        }
    }
}

/// Where native code finds the targets of tail calls.
#[derive(Debug)]
struct Targets(Box<[Cell<Target>]>);

impl Default for Targets {
    fn default() -> Self {
        Self(vec![Cell::new(Target::NONE); Target::COUNT].into())
    }
}

/// Maps that runs on a runner have met, by their place in the world's table. While a
/// runner holds a map here, its memory stays, even when everybody else has dropped it:
/// that is what the kernel's RCU promises to a running program.
#[derive(Debug, Default)]
pub(crate) struct MapCache {
    generation: Cell<u64>,
    chunks: Box<[OnceCell<Chunk>]>,
}

/// Part of the cache: maps of adjacent places.
type Chunk = Box<[OnceCell<Arc<dyn Map>>]>;

const CHUNK: usize = 256;

impl MapCache {
    /// Lets everything go when some map has gone since.
    #[inline]
    fn refresh(&mut self, world: &World) {
        let generation = world.generation();
        if self.generation.get() != generation {
            self.generation.set(generation);
            self.chunks = Box::default();
        }
        if self.chunks.is_empty() {
            self.chunks = (0..World::MAX_MAPS as usize / CHUNK).map(|_| OnceCell::new()).collect();
        }
    }

    /// The map at a place.
    #[inline]
    pub(crate) fn get(&self, world: &World, slot: u32) -> Option<&Arc<dyn Map>> {
        let slot = slot as usize;
        let chunk = self.chunks.get(slot / CHUNK)?;
        let chunk = chunk.get_or_init(|| (0..CHUNK).map(|_| OnceCell::new()).collect());
        let cell = &chunk[slot % CHUNK];
        if cell.get().is_none() {
            let map = world.map_at(u32::try_from(slot).ok()?)?;
            let _was_empty = cell.set(map);
        }
        cell.get()
    }
}

/// Programs that runs on a runner have tail-called, by id.
#[derive(Debug, Default)]
pub(crate) struct ProgramCache {
    generation: u64,
    programs: RefCell<HashMap<u32, Arc<Program>>>,
}

impl ProgramCache {
    /// Lets everything go when some program has come since; says whether it did.
    #[inline]
    fn refresh(&mut self, machine: &Machine) -> bool {
        let generation = machine.program_generation();
        let stale = self.generation != generation;
        if stale {
            self.generation = generation;
            self.programs.get_mut().clear();
        }
        stale
    }

    pub(crate) fn get(&self, machine: &Machine, id: u32) -> Option<Arc<Program>> {
        let mut programs = self.programs.borrow_mut();
        if let Some(program) = programs.get(&id) {
            return Some(Arc::clone(program));
        }
        let program = machine.program(id)?;
        programs.insert(id, Arc::clone(&program));
        Some(program)
    }
}
