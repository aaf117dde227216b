//! Tail calls: how many, what counts, and where they return to.

use std::sync::Arc;

use skep_maps::{Map, MapType, sys};
use skep_oracle::asm::{ADD, Asm, DW, JGE, JNE, LSH, OR, R0, R1, R2, R3, R6, R7, R8, R9, R10, SUB};
use skep_vm::{Input, Program};

use crate::lab::{Lab, counting, def, set, words};
use crate::section::Section;

const TAIL_CALL: i32 = 12;

pub(crate) fn answer(section: &Section) -> Vec<String> {
    section.cases.iter().map(|case| ask(&case.question.join(" "))).collect()
}

const BODIES: u32 = 0;
const LEAVES: u32 = 1;
const MISSES: u32 = 2;
const SUM: u32 = 3;
const ENTRIES: u32 = 4;

const CHAIN: u64 = 0;
const LEAF: u64 = 1;
const EMPTY: u64 = 2;
const OWN: u64 = 3;
const OUTSIDE: u64 = 4;

/// A program array and counters.
struct Stage {
    lab: Lab,
    array: Arc<dyn Map>,
    counters: Arc<dyn Map>,
    kept: Vec<Arc<Program>>,
}

fn ask(question: &str) -> String {
    let mut stage = Stage::new();
    let first = question.split(' ').next().unwrap_or_default();
    let number = first.parse::<u32>().unwrap_or(0);
    let words: Vec<&str> = question.split(' ').collect();
    match &words[..] {
        ["chain"] => stage.chain(1),
        ["chain", "repeat=3"] => stage.chain(3),
        [_, "misses", "of", place, "then", "chain"] => {
            let index = if *place == "empty," { EMPTY } else { OUTSIDE };
            stage.misses(number, index)
        }
        ["index", index] => stage.index(index),
        ["3", "misses", "in", "every", ..] => stage.misses_in_every_body(Slot::Filled),
        ["the", "same,", "its", "slot", "emptied"] => stage.misses_in_every_body(Slot::Emptied),
        [_, "calls", "of", "a", "sub", "that", "goes", "to", "leaf"] => {
            stage.calls(number, LEAF, None)
        }
        [_, "calls", "of", "a", "sub", "that", "goes", "to", "chain"] => {
            stage.calls(number, CHAIN, None)
        }
        [_, "call", "to", "chain,", ..] => stage.calls(1, CHAIN, Some(LEAF)),
        [_, "calls", "to", "leaf,", ..] | [_, "call", "to", "leaf,", ..] => {
            stage.calls(number, LEAF, Some(CHAIN))
        }
        [_, "calls", "to", "an", "empty", ..] => stage.calls(number, EMPTY, Some(CHAIN)),
        [_, "calls", "in", "every", "body", ..] => stage.calls(number, OWN, None),
        [_, "call", "of", "a", "sub", ..] => stage.calls(1, OWN, Some(OWN)),
        ["19", "jumps", ..] => stage.jumps_then_calls(),
        ["a", "leaf", ..] => stage.overwriting_leaf(),
        [.., "to", "a", "leaf", "of", "8", "frames"] => stage.deep(LEAF),
        ["the", "8th", "frame", ..] => stage.deep(OWN),
        ["caller", "has", bytes, ..] => stage.caller_with(bytes.parse().expect("a size")),
        ["r0", "is", "returned", ..] => stage.after_a_miss(R0),
        ["r1", "is", "read", ..] => stage.after_a_miss(R1),
        ["a", "callback", ..] => stage.callback(),
        ["a", "sub", "tail-calls,", ..] => stage.calls(1, LEAF, None),
        ["a", "ring", ..] => stage.reservation(),
        _ => panic!("`{question}` is no question"),
    }
}

/// Whether a slot was emptied before the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Filled,
    Emptied,
}

impl Stage {
    /// A stage with the chain and the leaf in their slots.
    fn new() -> Self {
        let lab = Lab::new();
        let array = lab.map(&def(MapType::ProgArray, 4, 4, 4));
        let counters = lab.map(&def(MapType::Array, 4, 64, 1));
        let mut stage = Self { lab, array, counters, kept: Vec::new() };
        let mut chain = start();
        count(&mut chain, BODIES);
        attempt(&mut chain, CHAIN);
        chain.mov(R0, 7).exit();
        let mut leaf = start();
        count(&mut leaf, LEAVES);
        leaf.mov(R0, 9).exit();
        stage.put(CHAIN, &chain);
        stage.put(LEAF, &leaf);
        stage
    }

    fn load(&self, asm: &Asm) -> Result<Arc<Program>, String> {
        let maps = [Arc::clone(&self.array), Arc::clone(&self.counters)];
        self.lab.load("sched_cls", asm.build(), &maps)
    }

    fn put(&mut self, slot: u64, asm: &Asm) -> Arc<Program> {
        let program = self.load(asm).expect("it is well-formed");
        let key = u32::try_from(slot).expect("a slot").to_le_bytes();
        sys::update(&*self.array, Some(&key), &program.id().to_le_bytes(), 0).expect("it fits");
        self.kept.push(Arc::clone(&program));
        program
    }

    /// Loads a program, runs it and gives the counters.
    fn load_and_run(&self, asm: &Asm) -> String {
        match self.load(asm) {
            Ok(program) => self.run(&program, 1),
            Err(refused) => refused,
        }
    }

    fn run(&self, program: &Program, repeat: u32) -> String {
        set(&*self.counters, &[0; 64]);
        let input = Input::packet(counting(64));
        let mut retval = 0;
        for _ in 0..repeat {
            match self.lab.run(program, &input) {
                Ok(outcome) => retval = outcome.r0,
                Err(ended) => return ended,
            }
        }
        let counters = words(&*self.counters);
        let mut text = format!("retval={retval}");
        for (name, counter) in [
            ("entries", ENTRIES),
            ("bodies", BODIES),
            ("leaves", LEAVES),
            ("misses", MISSES),
            ("sum", SUM),
        ] {
            let count = counters[counter as usize];
            if count != 0 {
                text += &format!(" {name}={count}");
            }
        }
        text
    }

    fn chain(&self, repeat: u32) -> String {
        self.run(&self.kept[0], repeat)
    }

    fn misses(&self, misses: u32, index: u64) -> String {
        let mut asm = start();
        count(&mut asm, ENTRIES);
        for _ in 0..misses {
            attempt(&mut asm, index);
        }
        tail(&mut asm, CHAIN);
        self.load_and_run(asm.mov(R0, 1).exit())
    }

    fn index(&self, text: &str) -> String {
        let index = match text {
            "1<<32|leaf" => 1 << 32 | LEAF,
            "-1<<32|leaf" => u64::MAX << 32 | LEAF,
            "1<<31" => 1 << 31,
            "-1" => u64::MAX,
            "1<<32|4" => 1 << 32 | 4,
            other => other.parse().expect("an index"),
        };
        let mut asm = start();
        attempt(&mut asm, index);
        self.load_and_run(asm.mov(R0, 1).exit())
    }

    fn misses_in_every_body(&mut self, slot: Slot) -> String {
        let mut asm = start();
        count(&mut asm, ENTRIES);
        for index in [EMPTY, OUTSIDE, EMPTY] {
            attempt(&mut asm, index);
        }
        tail(&mut asm, OWN);
        let program = self.put(OWN, asm.mov(R0, 1).exit());
        if slot == Slot::Emptied {
            sys::delete(&*self.array, Some(&3_u32.to_le_bytes())).expect("it was filled");
        }
        self.run(&program, 1)
    }

    /// A program that calls a sub-program `calls` times, which tail-calls `sub`; the
    /// program itself then tail-calls `main`.
    fn calls(&mut self, calls: u32, sub: u64, main: Option<u64>) -> String {
        let mut asm = start();
        count(&mut asm, ENTRIES);
        for _ in 0..calls {
            asm.mov_reg(R1, R6).call_sub("sub").mov_reg(R3, R0);
            add(&mut asm, SUM, R3);
        }
        if let Some(index) = main {
            attempt(&mut asm, index);
        }
        asm.mov(R0, 1).exit().label("sub").mov_reg(R6, R1);
        attempt(&mut asm, sub);
        asm.mov(R0, 100).exit();
        let program = self.put(OWN, &asm);
        self.run(&program, 1)
    }

    /// Part of the budget is spent by the main program, the rest by a sub-program.
    fn jumps_then_calls(&mut self) -> String {
        let mut asm = start();
        count(&mut asm, ENTRIES);
        asm.map_value(R1, 1, ENTRIES * 8).ldx(DW, R2, R1, 0);
        asm.jmp(JGE, R2, 20, "twentieth");
        tail(&mut asm, OWN);
        asm.label("twentieth").mov(R7, 40);
        asm.label("again").mov_reg(R1, R6).call_sub("sub");
        asm.alu64(SUB, R7, 1).jmp(JNE, R7, 0, "again").mov(R0, 1).exit();
        asm.label("sub").mov_reg(R6, R1);
        attempt(&mut asm, LEAF);
        asm.mov(R0, 100).exit();
        let program = self.put(OWN, &asm);
        self.run(&program, 1)
    }

    fn overwriting_leaf(&mut self) -> String {
        let mut leaf = start();
        for register in [R6, R7, R8, R9] {
            leaf.mov(register, -1);
        }
        for slot in 1..=32 {
            leaf.st(DW, R10, -8 * slot, -1);
        }
        self.put(LEAF, leaf.mov(R0, 9).exit());
        let mut asm = start();
        asm.mov(R7, 1).mov(R8, 2).mov(R9, 4).st(DW, R10, -8, 8).st(DW, R10, -216, 16);
        asm.mov_reg(R1, R6).call_sub("sub").alu64(LSH, R0, 8).alu64_reg(OR, R0, R7);
        asm.alu64_reg(OR, R0, R8).alu64_reg(OR, R0, R9);
        asm.ldx(DW, R1, R10, -8).alu64_reg(OR, R0, R1);
        asm.ldx(DW, R1, R10, -216).alu64_reg(OR, R0, R1).exit();
        asm.label("sub").mov_reg(R6, R1);
        tail(&mut asm, LEAF);
        self.load_and_run(asm.mov(R0, 0).exit())
    }

    /// Eight frames, the last of which tail-calls a program with eight frames.
    fn deep(&mut self, index: u64) -> String {
        let deep = |index: Option<u64>| {
            let mut asm = start();
            count(&mut asm, ENTRIES);
            for sub in ["s1", "s2", "s3", "s4", "s5", "s6", "s7"] {
                asm.mov_reg(R1, R6).call_sub(sub).exit().label(sub).mov_reg(R6, R1);
            }
            match index {
                Some(index) => attempt(&mut asm, index),
                None => count(&mut asm, LEAVES),
            }
            asm.mov(R0, 5).exit();
            asm
        };
        self.put(LEAF, &deep(None));
        let program = self.put(OWN, &deep(Some(index)));
        self.run(&program, 1)
    }

    fn caller_with(&self, stack: i16) -> String {
        let mut asm = start();
        asm.st(DW, R10, -stack, 0).mov_reg(R1, R6).call_sub("sub").exit();
        asm.label("sub").mov_reg(R6, R1);
        tail(&mut asm, LEAF);
        match self.load(asm.mov(R0, 0).exit()) {
            Ok(_) => "taken".to_owned(),
            Err(refused) => refused,
        }
    }

    /// A register that is unreadable when the call fell through.
    fn after_a_miss(&self, register: u8) -> String {
        let mut asm = start();
        tail(&mut asm, EMPTY);
        match self.load(asm.mov_reg(R0, register).exit()) {
            Ok(program) => match self.lab.run(&program, &Input::packet(counting(64))) {
                Ok(outcome) => format!("{:#x}", outcome.r0),
                Err(ended) => ended,
            },
            Err(refused) => refused,
        }
    }

    fn callback(&self) -> String {
        const LOOP: i32 = 181;
        let mut asm = start();
        asm.mov(R1, 1).func(R2, "body").mov(R3, 0).mov(4, 0).call(LOOP).mov(R0, 0).exit();
        asm.label("body").mov(R6, 0);
        tail(&mut asm, LEAF);
        self.load_and_run(asm.mov(R0, 0).exit())
    }

    fn reservation(&self) -> String {
        let ring = self.lab.map(&def(MapType::Ringbuf, 0, 0, 4096));
        let mut asm = start();
        asm.map(R1, 2).mov(R2, 8).mov(R3, 0).call(131).mov_reg(R7, R0);
        tail(&mut asm, LEAF);
        asm.mov_reg(R1, R7).mov(R2, 0).call(133).mov(R0, 0).exit();
        let maps = [Arc::clone(&self.array), Arc::clone(&self.counters), ring];
        match self.lab.load("sched_cls", asm.build(), &maps) {
            Ok(program) => self.run(&program, 1),
            Err(refused) => refused,
        }
    }
}

/// A program that starts with the context in r6.
fn start() -> Asm {
    let mut asm = Asm::new();
    asm.mov_reg(R6, R1);
    asm
}

fn count(asm: &mut Asm, counter: u32) {
    asm.mov(R2, 1);
    add(asm, counter, R2);
}

/// Adds a register other than r1 to a counter.
fn add(asm: &mut Asm, counter: u32, register: u8) {
    asm.map_value(R1, 1, counter * 8).atomic(DW, R1, 0, register, i32::from(ADD));
}

fn tail(asm: &mut Asm, index: u64) {
    asm.mov_reg(R1, R6).map(R2, 0).lddw(R3, index).call(TAIL_CALL);
}

/// A tail call, and the count of its miss.
fn attempt(asm: &mut Asm, index: u64) {
    tail(asm, index);
    count(asm, MISSES);
}
