//! Writes programs that any verifier can follow: every register but r10 holds a number
//! between two statements, memory is initialised, loops are bounded, jumps lead forward
//! but for loops.
//!
//! Statements are in `arithmetic`, `memory` and `control`; this file has what is around
//! them: functions, and how a program gets its input and leaves its results.

mod arithmetic;
mod control;
mod memory;

use skep_vm::isa::{Insn, Op};
use skep_vm::prog::{Context, ProgType, Start};

use crate::case::Case;
use crate::code::{Code, Fields, Label};
use crate::layout::{CALLEE_STACK, DATA, MEMORY, OUT, PACKET, POINTER, SPARE, STACK};
use crate::profile::Profile;
use crate::rng::Rng;

/// Writes a random program of a profile, with its input.
#[must_use]
pub fn generate(rng: &mut Rng, profile: Profile) -> Case {
    let prog_type = profile.prog_type(rng.bits());
    let memory = [rng.bytes(DATA), vec![0; MEMORY - DATA]].concat();
    let packet = rng.bytes(usize::from(PACKET.unsigned_abs()) + 8);
    let insns = Writer::new(rng, profile, prog_type).program();
    Case { prog_type, insns, memory, packet }
}

/// A function of the program; the main one is the first.
#[derive(Debug)]
struct Function {
    start: Label,
    /// Functions that it calls: later ones, each once.
    calls: Vec<usize>,
    /// Whether it gets, in r1, a pointer to [`CALLEE_STACK`] bytes.
    takes_memory: bool,
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
    /// What the function's first argument points to.
    Argument,
}

/// Writes one program.
struct Writer<'r> {
    rng: &'r mut Rng,
    profile: Profile,
    prog_type: Option<&'static ProgType>,
    code: Code,
    functions: Vec<Function>,
    /// The function that is being written.
    current: usize,
    /// Registers that must keep their values: counters of loops.
    locked: Vec<u8>,
    /// How deep in blocks.
    depth: u32,
    /// Where the function ends, with all registers as they are.
    end: Label,
}

impl<'r> Writer<'r> {
    fn new(rng: &'r mut Rng, profile: Profile, prog_type: Option<&'static ProgType>) -> Self {
        let mut code = Code::default();
        let functions = plan(rng, &mut code);
        let end = code.label();
        let locked = Vec::new();
        Self { rng, profile, prog_type, code, functions, current: 0, locked, depth: 0, end }
    }

    fn program(mut self) -> Vec<Insn> {
        self.main();
        for function in 1..self.functions.len() {
            self.function(function);
        }
        self.code.finish()
    }

    fn main(&mut self) {
        self.code.place(self.functions[0].start);
        match self.prog_type {
            None => self.code.store(10, POINTER, 1),
            Some(prog_type) => {
                if has_packet(prog_type) {
                    self.find_packet(prog_type);
                }
                self.code.map_value(1, 0);
            }
        }
        for (register, off) in (0..10).filter(|&r| r != 1).chain([1]).zip((0..).step_by(8)) {
            self.code.load(register, 1, off);
        }
        self.initialise_stack(STACK);
        let statements = self.rng.between(6, self.profile.most_statements());
        self.body(statements);
        self.leave_results();
    }

    /// Keeps a pointer to [`PACKET`] bytes of packet, or returns.
    fn find_packet(&mut self, prog_type: &ProgType) {
        let [data, end] = ["data", "data_end"].map(|name| {
            let field = prog_type.field(name).expect("a packet program's context has it");
            i16::try_from(field.offset).expect("contexts are small")
        });
        self.code.push(Op::LdxW, Fields { dst: 2, src: 1, off: data, imm: 0 });
        self.code.push(Op::LdxW, Fields { dst: 3, src: 1, off: end, imm: 0 });
        self.code.mov_reg(4, 2);
        let imm = i32::from(PACKET);
        self.code.push(Op::Add64Imm, Fields { dst: 4, imm, ..Fields::default() });
        self.code.push(Op::Jle64Reg, Fields { dst: 4, src: 3, off: 2, imm: 0 });
        self.code.mov(0, 0);
        self.code.push(Op::Exit, Fields::default());
        self.code.store(10, POINTER, 2);
    }

    fn initialise_stack(&mut self, bytes: i16) {
        for slot in 0..bytes / 8 {
            let off = SPARE - 8 - 8 * slot;
            if self.rng.one_in(4) {
                let imm = self.rng.imm();
                self.code.push(Op::StDw, Fields { dst: 10, src: 0, off, imm });
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
        let slots = (SPARE - STACK..=SPARE).rev().step_by(8);
        for (slot, off) in slots.zip((out + 72..).step_by(8)) {
            self.code.load(8, 10, slot);
            self.code.store(9, off, 8);
        }
        self.code.push(Op::Exit, Fields::default());
    }

    fn function(&mut self, function: usize) {
        self.current = function;
        self.code.place(self.functions[function].start);
        self.end = self.code.label();
        if self.functions[function].takes_memory {
            self.code.store(10, POINTER, 1);
            self.code.mov_reg(1, 5);
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
        let statements = self.rng.between(1, 6);
        self.body(statements);
        let src = *self.rng.pick(&[1, 6, 7, 8, 9]);
        self.code.push(Op::Xor64Reg, Fields { dst: 0, src, ..Fields::default() });
        self.code.push(Op::Exit, Fields::default());
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
        match self.rng.below(16) {
            0..=7 => self.arithmetic(),
            8..=11 => self.access(),
            12..=13 => self.branch(),
            14 if self.depth < 2 && self.profile.has_loops() => self.repeat(),
            14 => self.arithmetic(),
            _ => self.constant(),
        }
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

    /// A register that may be read.
    fn any(&mut self) -> u8 {
        u8::try_from(self.rng.below(10)).expect("below 10")
    }

    /// Places that the current function reaches.
    fn places(&self) -> Vec<Place> {
        let mut places = vec![Place::Stack, Place::Stack];
        if self.prog_type.is_some() || self.current == 0 {
            places.extend([Place::Memory, Place::Memory]);
        }
        if self.current == 0 && self.prog_type.is_some_and(has_packet) {
            places.push(Place::Packet);
        }
        if self.functions[self.current].takes_memory {
            places.extend([Place::Argument, Place::Argument]);
        }
        places
    }
}

fn has_packet(prog_type: &ProgType) -> bool {
    prog_type.context != Context::Skb(Start::Network)
}

/// Decides which functions there are.
fn plan(rng: &mut Rng, code: &mut Code) -> Vec<Function> {
    let chain = rng.one_in(5);
    let most = if chain { 7 } else { 3 };
    let callees =
        if rng.one_in(2) { 0 } else { usize::from(rng.bits().to_le_bytes()[0]) % (most + 1) };
    (0..=callees)
        .map(|index| {
            let later = index + 1..=callees;
            let calls = match (chain, index) {
                (true, _) => later.take(1).collect(),
                // The main function calls all, so that none is unreachable.
                (false, 0) => later.collect(),
                (false, _) => later.filter(|_| rng.one_in(3)).collect(),
            };
            let takes_memory = index > 0 && rng.one_in(2);
            Function { start: code.label(), calls, takes_memory }
        })
        .collect()
}
