//! Writes programs that any verifier can follow, and, when asked, some that none would
//! take: between two statements every register but r10 holds a number, or a pointer that is
//! put down in [`Writer::held`]; memory is initialised, loops are bounded.
//!
//! Statements are in `arithmetic`, `memory`, `control` and `loops`. [`shapes`] has the table
//! of what is known to go wrong in engines and verifiers: pointers and their proofs, each
//! also in ways that are not quite right. This file has what is around statements:
//! functions, and how a program gets its input and leaves its results.

mod arithmetic;
mod bounds;
mod calls;
mod control;
mod frames;
mod helpers;
mod loops;
mod memory;
mod plan;
mod shapes;

use skep_vm::isa::{Insn, Op};
use skep_vm::prog::{Context, ProgType, Start};

use crate::case::{Case, CaseInput, CaseProgram};
use crate::code::{Code, Label};
use crate::layout::{CALLEE_STACK, CTX, DATA, MEMORY, OUT, PACKET, POINTER, SPARE, STACK};
use crate::profile::Profile;
use crate::rng::Rng;

use memory::Held;
use plan::{Function, Plan};
pub use shapes::marks;

/// Writes a random case of a profile.
#[must_use]
pub fn generate(rng: &mut Rng, profile: Profile) -> Case {
    // The kernel leaves frames as they are, and takes programs that read them before writing.
    if profile.has_shapes() && profile.goes_wrong() && rng.one_in(12) {
        return frames::generate(rng);
    }
    let plan = Plan::new(rng, profile);
    let memory = |rng: &mut Rng| [rng.bytes(DATA), vec![0; MEMORY - DATA]].concat();
    let programs = (0..plan.programs).map(|_| {
        let (insns, marks) = Writer::new(rng, profile, &plan).program();
        CaseProgram { prog_type: plan.prog_type, insns, marks }
    });
    let programs = programs.collect();
    let inputs = (0..plan.inputs).map(|_| {
        let data = match plan.prog_type {
            None => memory(rng),
            Some(_) if profile.has_shapes() && rng.one_in(8) => {
                let len = rng.between(14, 90);
                rng.bytes(usize::try_from(len).expect("not negative"))
            }
            Some(_) => rng.bytes(usize::from(PACKET.unsigned_abs()) + 8),
        };
        CaseInput { data, samples: plan.samples(rng) }
    });
    let inputs: Vec<CaseInput> = inputs.collect();
    Case { programs, maps: plan.into_maps(), inputs }
}

/// Where an access may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The frame.
    Stack,
    /// The program's memory.
    Memory,
    /// The packet.
    Packet,
    /// What the function's argument points to.
    Argument,
    /// What a pointer that is held points to.
    Held(usize),
}

/// Writes one program.
struct Writer<'r> {
    rng: &'r mut Rng,
    profile: Profile,
    plan: &'r Plan,
    prog_type: Option<&'static ProgType>,
    code: Code,
    functions: Vec<Function>,
    /// The function that is being written.
    current: usize,
    /// Registers that must keep their values: counters of loops, pointers.
    locked: Vec<u8>,
    /// Pointers that may be used.
    held: Vec<Held>,
    /// Registers that hold pointers.
    pointers: Vec<u8>,
    /// Spill slots in use.
    spilled: usize,
    /// What must be given up before the function may be left.
    owed: u32,
    /// How deep in blocks.
    depth: u32,
    /// How many shapes may still be written.
    shapes_left: i32,
    /// Where loops go on and where they end, and how many pointers are held there.
    loops: Vec<(Label, Label, usize)>,
    /// Whether the program may be wrong.
    wrong: bool,
    /// Whether helpers move the packet, so that no pointer to it lasts.
    moves: bool,
    /// Callees that are still to be written, and whether they write what they are given.
    later: Vec<(Label, bool)>,
    /// Where the function ends, with all registers as they are.
    end: Label,
}

impl<'r> Writer<'r> {
    fn new(rng: &'r mut Rng, profile: Profile, plan: &'r Plan) -> Self {
        let mut code = Code::default();
        let functions = plan.functions(rng, profile, &mut code);
        let end = code.label();
        let wrong = profile.goes_wrong() && !rng.one_in(3);
        let moves = profile.has_shapes() && rng.one_in(3);
        let shapes_left = if profile.has_shapes() { rng.between(3, 7) } else { 0 };
        Self {
            rng,
            profile,
            plan,
            prog_type: plan.prog_type,
            code,
            functions,
            current: 0,
            locked: Vec::new(),
            held: Vec::new(),
            pointers: Vec::new(),
            spilled: 0,
            owed: 0,
            depth: 0,
            shapes_left,
            loops: Vec::new(),
            wrong,
            moves,
            later: Vec::new(),
            end,
        }
    }

    fn program(mut self) -> (Vec<Insn>, Vec<(u32, &'static str)>) {
        self.main();
        for function in 1..self.functions.len() {
            self.function(function);
        }
        self.clobbering_callees();
        self.code.finish()
    }

    fn main(&mut self) {
        self.code.place(self.functions[0].start);
        match self.prog_type {
            None => {
                self.code.store(10, POINTER, 1);
                self.code.store(10, CTX, 1);
            }
            Some(prog_type) => {
                if self.profile.has_shapes() {
                    self.code.store(10, CTX, 1);
                }
                if self.has_packet() {
                    self.find_packet(prog_type);
                }
                self.code.map_value(1, 0);
            }
        }
        for (register, off) in (0..10).filter(|&r| r != 1).chain([1]).zip((0..).step_by(8)) {
            self.code.load(register, 1, off);
        }
        self.initialise_stack(STACK);
        let statements = self.rng.between(5, self.profile.most_statements());
        self.body(statements);
        self.leave_results();
    }

    /// Keeps a pointer to [`PACKET`] bytes of packet, or returns.
    fn find_packet(&mut self, prog_type: &ProgType) {
        self.code.ldx(Op::LdxW, 2, 1, field(prog_type, "data"));
        self.code.ldx(Op::LdxW, 3, 1, field(prog_type, "data_end"));
        self.code.mov_reg(4, 2);
        self.code.alu(Op::Add64Imm, 4, i32::from(PACKET));
        let found = self.code.label();
        self.code.jump_reg(Op::Jle64Reg, 4, 3, found);
        self.code.mov(0, 0);
        self.code.exit();
        self.code.place(found);
        self.code.store(10, POINTER, 2);
    }

    fn initialise_stack(&mut self, bytes: i16) {
        for slot in 0..bytes / 8 {
            let off = CTX - 8 - 8 * slot;
            // Where nobody verifies, what was not written is 0, and programs are short.
            if self.profile.goes_wrong() && !self.rng.one_in(4) {
                continue;
            }
            if self.rng.one_in(4) {
                let imm = self.rng.imm();
                self.code.st(Op::StDw, 10, off, imm);
            } else {
                let src = *self.rng.pick(&[0, 2, 3, 4, 5]);
                self.code.store(10, off, src);
            }
        }
    }

    /// Copies all registers and the stack behind the memory that the program works on.
    fn leave_results(&mut self) {
        self.code.store(10, SPARE, 9);
        let out = i16::try_from(OUT).expect("a small memory");
        let out = match self.prog_type {
            None => {
                self.code.load(9, 10, POINTER);
                out
            }
            Some(_) => {
                self.code.map_value(9, u32::from(out.unsigned_abs()));
                0
            }
        };
        for (register, off) in (0..9).zip((out..).step_by(8)) {
            self.code.store(9, off, register);
        }
        if self.profile.goes_wrong() {
            return self.leave_stack(9, out + 72);
        }
        let slots = (CTX - STACK..CTX).rev().step_by(8).map(|slot| slot - 7);
        let slots = std::iter::once(SPARE).chain(slots);
        for (slot, off) in slots.zip((out + 72..).step_by(8)) {
            self.code.load(8, 10, slot);
            self.code.store(9, off, 8);
        }
        self.code.exit();
    }

    /// Copies the stack by a helper, which takes fewer instructions.
    fn leave_stack(&mut self, base: u8, off: i16) {
        const PROBE_READ_KERNEL: i32 = 113;
        self.code.mov_reg(1, base);
        self.code.alu(Op::Add64Imm, 1, off.into());
        self.code.mov(2, i32::from(STACK) + 8);
        self.code.mov_reg(3, 10);
        self.code.alu(Op::Add64Imm, 3, i32::from(CTX - STACK));
        self.code.mov_reg(6, 0);
        self.code.call(PROBE_READ_KERNEL);
        self.code.alu_reg(Op::Add64Reg, 0, 6);
        self.code.exit();
    }

    fn function(&mut self, function: usize) {
        self.current = function;
        self.code.place(self.functions[function].start);
        self.end = self.code.label();
        if self.prologue() {
            return;
        }
        for register in [0, 6, 7, 8, 9] {
            if self.rng.one_in(3) {
                let imm = self.rng.imm();
                self.code.mov(register, imm);
            } else {
                let from = *self.rng.pick(&[2, 3, 4, 5]);
                self.code.mov_reg(register, from);
            }
        }
        self.initialise_stack(CALLEE_STACK);
        let callback = self.functions[function].kind.is_callback();
        let short = callback || self.profile.goes_wrong();
        let statements = self.rng.between(1, if short { 3 } else { 6 });
        self.body(statements);
        let src = *self.rng.pick(&[1, 6, 7, 8, 9]);
        self.code.alu_reg(Op::Xor64Reg, 0, src);
        if callback {
            self.code.alu(Op::And64Imm, 0, 1);
        }
        self.code.exit();
        self.held.clear();
    }

    /// Statements up to the function's end, with its calls among them.
    fn body(&mut self, statements: i32) {
        let mut calls = self.functions[self.current].calls.clone();
        for left in (0..statements).rev() {
            while !calls.is_empty() && (left == 0 || self.rng.one_in(4)) {
                let callee = calls.swap_remove(0);
                self.call(callee);
            }
            self.statement();
        }
        self.code.place(self.end);
    }

    fn statement(&mut self) {
        if self.profile.has_shapes() && self.rng.one_in(3) {
            return match self.rng.below(12) {
                0 => self.leave_loop(),
                1 if self.rng.one_in(3) => self.call_again(),
                _ => self.shape(),
            };
        }
        match self.rng.below(16) {
            0..=7 => self.arithmetic(),
            8..=11 => self.access(),
            12..=13 => self.branch(),
            14 if self.may_loop() => self.repeat(),
            14 => self.arithmetic(),
            _ => self.constant(),
        }
    }

    fn may_loop(&self) -> bool {
        self.depth < 2 && self.loops.len() < 2 && self.profile.has_loops()
    }

    /// A register that may be written.
    fn free(&mut self) -> u8 {
        self.free_of(&[])
    }

    /// A register that may be written and is none of these.
    fn free_of(&mut self, taken: &[u8]) -> u8 {
        let free = (0..10).filter(|r| !self.locked.contains(r) && !taken.contains(r));
        let free: Vec<u8> = free.collect();
        *self.rng.pick(&free)
    }

    /// A register that keeps its value over calls, locked; `None` when all are.
    fn keep(&mut self) -> Option<u8> {
        let free = (6..10).filter(|r| !self.locked.contains(r));
        let free: Vec<u8> = free.collect();
        if free.is_empty() {
            return None;
        }
        let register = *self.rng.pick(&free);
        self.locked.push(register);
        Some(register)
    }

    /// Makes a register that was kept a number again.
    fn unlock(&mut self, register: u8) {
        self.locked.retain(|&r| r != register);
        self.pointers.retain(|&r| r != register);
        self.settle(register);
    }

    /// A register that may be read.
    fn any(&mut self) -> u8 {
        loop {
            let register = u8::try_from(self.rng.below(10)).expect("below 10");
            if !self.pointers.contains(&register) {
                return register;
            }
        }
    }

    /// Places that the current function reaches.
    fn places(&self) -> Vec<Place> {
        let mut places = vec![Place::Stack, Place::Stack];
        if self.prog_type.is_some() || self.current == 0 {
            places.extend([Place::Memory, Place::Memory]);
        }
        if self.current == 0 && self.prog_type.is_some() && self.has_packet() {
            places.push(Place::Packet);
        }
        if self.functions[self.current].takes_memory {
            places.extend([Place::Argument, Place::Argument]);
        }
        for held in 0..self.held.len() {
            places.extend([Place::Held(held); 3]);
        }
        places
    }

    /// Whether there is a pointer to the packet throughout.
    fn has_packet(&self) -> bool {
        !self.moves && self.prog_type.is_some_and(has_packet)
    }

    /// Whether the current function has room for keys, values and the like.
    fn is_rich(&self) -> bool {
        self.profile.has_shapes() && self.functions[self.current].rich
    }

    /// Whether the current function has the context.
    fn has_ctx(&self) -> bool {
        self.profile.has_shapes() && (self.current == 0 || self.functions[self.current].takes_ctx)
    }
}

/// Whether programs of a type see their packet.
fn has_packet(prog_type: &'static ProgType) -> bool {
    matches!(prog_type.context, Context::Xdp | Context::Skb(Start::Ethernet))
}

/// Offset of a field of a packet program's context.
fn field(prog_type: &ProgType, name: &str) -> i16 {
    let field = prog_type.field(name).expect("a packet program's context has it");
    i16::try_from(field.offset).expect("contexts are small")
}
