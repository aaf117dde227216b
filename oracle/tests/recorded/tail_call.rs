//! Tail calls: how many, what counts, and where they return to.

use skep_oracle::asm::*;
use skep_oracle::btf::BtfWriter;
use skep_oracle::{Kernel, Map, MapSpec, Prog, ProgSpec, Rejection, TestRun, map_type, prog_type};

use crate::probe::{counting, reason};
use crate::record::{Record, check};

const TAIL_CALL: i32 = 12;
const LOOP: i32 = 181;

#[test]
fn tail_call() {
    check(
        "tail-call",
        "Tail calls of sched_cls programs through a PROG_ARRAY of 4 slots. `chain` is a body\n\
         that counts itself and tail-calls itself; `leaf` counts itself and returns 9; slots\n\
         2 and 3 are empty. The answers are counts: `bodies` of the program at hand, `leaves`,\n\
         `misses` (attempts that fell through) and `sum` (of what a sub-program returned).",
        |kernel, record| {
            chains(kernel, record);
            subprograms(kernel, record);
            frames(kernel, record);
            refusals(kernel, record);
        },
    );
}

const BODIES: u32 = 0;
const LEAVES: u32 = 1;
const MISSES: u32 = 2;
const SUM: u32 = 3;
const ENTRIES: u32 = 4;

const CHAIN: u64 = 0;
const LEAF: u64 = 1;
const EMPTY: u64 = 2;
const OUTSIDE: u64 = 4;

/// A program array and counters.
#[derive(Debug)]
struct Stage<'k> {
    kernel: &'k Kernel,
    array: Map,
    counters: Map,
}

impl<'k> Stage<'k> {
    fn new(kernel: &'k Kernel) -> Self {
        let array = MapSpec::new(map_type::PROG_ARRAY, 4, 4, 4);
        let counters = MapSpec::new(map_type::ARRAY, 4, 64, 1);
        Self {
            kernel,
            array: kernel.create_map(&array).unwrap(),
            counters: kernel.create_map(&counters).unwrap(),
        }
    }

    /// A program that starts with the context in r6.
    fn asm(&self) -> Asm {
        let mut asm = Asm::new();
        asm.mov_reg(R6, R1);
        asm
    }

    fn count(&self, asm: &mut Asm, counter: u32) {
        asm.mov(R2, 1);
        self.add(asm, counter, R2);
    }

    /// Adds a register other than r1 to a counter.
    fn add(&self, asm: &mut Asm, counter: u32, register: u8) {
        asm.map_value(R1, self.counters.fd(), counter * 8).atomic(DW, R1, 0, register, 0);
    }

    fn tail(&self, asm: &mut Asm, index: u64) {
        asm.mov_reg(R1, R6).map(R2, self.array.fd()).lddw(R3, index).call(TAIL_CALL);
    }

    /// A tail call, and the count of its miss.
    fn attempt(&self, asm: &mut Asm, index: u64) {
        self.tail(asm, index);
        self.count(asm, MISSES);
    }

    /// Loads a program whose sub-programs stand at `subs` and take the context.
    fn load(&self, asm: &Asm, subs: &[&str]) -> Result<Prog, Rejection> {
        let mut types = BtfWriter::new();
        let int = types.int("int", 4);
        let ctx = types.ptr(0);
        let mut functions = vec![(0, types.func("main", int, &[("ctx", ctx)]))];
        for sub in subs {
            let at = u32::try_from(asm.at(sub)).unwrap();
            functions.push((at, types.func(sub, int, &[("ctx", ctx)])));
        }
        let btf = self.kernel.load_btf(&types.blob()).unwrap();
        let insns = asm.build();
        let spec = ProgSpec::new(prog_type::SCHED_CLS, &insns);
        self.kernel.load(&spec.func_info(&btf, &functions))
    }

    fn put(&self, index: u64, prog: &Prog) {
        let index = u32::try_from(index).unwrap().to_ne_bytes();
        self.array.update(&index, &prog.fd().to_ne_bytes(), 0).unwrap();
    }

    /// Puts the chain and the leaf into their slots.
    fn fill(&self) -> [Prog; 2] {
        let mut chain = self.asm();
        self.count(&mut chain, BODIES);
        self.attempt(&mut chain, CHAIN);
        chain.mov(R0, 7).exit();
        let mut leaf = self.asm();
        self.count(&mut leaf, LEAVES);
        leaf.mov(R0, 9).exit();
        let progs = [chain, leaf].map(|asm| self.load(&asm, &[]).unwrap());
        self.put(CHAIN, &progs[0]);
        self.put(LEAF, &progs[1]);
        progs
    }

    fn run(&self, prog: &Prog, repeat: u32) -> String {
        let data = counting(64);
        self.counters.update(&[0; 4], &[0; 64], 0).unwrap();
        let ran = prog.test_run(&TestRun::new().data_in(&data).repeat(repeat)).ok().unwrap();
        let counters = self.counters.lookup(&[0; 4], 0).unwrap();
        let at = |i: u32| counters[8 * i as usize..][..8].try_into().unwrap();
        let count = |i: u32| u64::from_ne_bytes(at(i));
        let mut text = format!("retval={}", ran.retval);
        for (name, counter) in [
            ("entries", ENTRIES),
            ("bodies", BODIES),
            ("leaves", LEAVES),
            ("misses", MISSES),
            ("sum", SUM),
        ] {
            if count(counter) != 0 {
                text += &format!(" {name}={}", count(counter));
            }
        }
        text
    }
}

fn chains(kernel: &Kernel, record: &mut Record) {
    record.note("from the main program");
    let stage = Stage::new(kernel);
    let [chain, _leaf] = stage.fill();
    record.case("chain", &stage.run(&chain, 1));
    record.case("chain repeat=3", &stage.run(&chain, 3));

    for (name, index) in [("empty", EMPTY), ("outside", OUTSIDE)] {
        for misses in [1, 32, 33, 34, 100] {
            let mut asm = stage.asm();
            stage.count(&mut asm, ENTRIES);
            for _ in 0..misses {
                stage.attempt(&mut asm, index);
            }
            stage.tail(&mut asm, CHAIN);
            let prog = stage.load(asm.mov(R0, 1).exit(), &[]).unwrap();
            record.case(&format!("{misses} misses of {name}, then chain"), &stage.run(&prog, 1));
        }
    }
    for (name, index) in [
        ("1<<32|leaf", 1 << 32 | LEAF),
        ("-1<<32|leaf", u64::MAX << 32 | LEAF),
        ("1<<31", 1 << 31),
        ("-1", u64::MAX),
        ("3", 3),
        ("4", 4),
        ("1<<32|4", 1 << 32 | 4),
    ] {
        let mut asm = stage.asm();
        stage.attempt(&mut asm, index);
        let prog = stage.load(asm.mov(R0, 1).exit(), &[]).unwrap();
        record.case(&format!("index {name}"), &stage.run(&prog, 1));
    }

    let stage = Stage::new(kernel);
    let _progs = stage.fill();
    let mut asm = stage.asm();
    stage.count(&mut asm, ENTRIES);
    for index in [EMPTY, OUTSIDE, EMPTY] {
        stage.attempt(&mut asm, index);
    }
    stage.tail(&mut asm, 3);
    let prog = stage.load(asm.mov(R0, 1).exit(), &[]).unwrap();
    stage.put(3, &prog);
    record.case("3 misses in every body of a chain", &stage.run(&prog, 1));

    stage.array.delete(&3_u32.to_ne_bytes()).unwrap();
    record.case("the same, its slot emptied", &stage.run(&prog, 1));
}

fn subprograms(kernel: &Kernel, record: &mut Record) {
    record.note("from sub-programs");
    let stage = Stage::new(kernel);
    let _progs = stage.fill();

    // Calls a sub-program that tail-calls `index` as often as asked for.
    let caller = |calls: i32, index: u64, then: Option<u64>| {
        let mut asm = stage.asm();
        stage.count(&mut asm, ENTRIES);
        asm.mov(R7, calls).label("again").mov_reg(R1, R6).call_sub("sub").mov_reg(R2, R0);
        stage.add(&mut asm, SUM, R2);
        asm.alu64(SUB, R7, 1).jmp(JNE, R7, 0, "again");
        if let Some(index) = then {
            stage.attempt(&mut asm, index);
        }
        asm.mov(R0, 1).exit().label("sub").mov_reg(R6, R1);
        stage.attempt(&mut asm, index);
        asm.mov(R0, 100).exit();
        stage.load(&asm, &["sub"]).unwrap()
    };
    for calls in [1, 33, 34, 40] {
        let prog = caller(calls, LEAF, None);
        record.case(&format!("{calls} calls of a sub that goes to leaf"), &stage.run(&prog, 1));
    }
    record.case("2 calls of a sub that goes to chain", &stage.run(&caller(2, CHAIN, None), 1));
    record.case("1 call to chain, then leaf", &stage.run(&caller(1, CHAIN, Some(LEAF)), 1));
    record.case("32 calls to leaf, then chain", &stage.run(&caller(32, LEAF, Some(CHAIN)), 1));
    record.case("1 call to leaf, then chain", &stage.run(&caller(1, LEAF, Some(CHAIN)), 1));
    record.case("40 calls to an empty slot, then chain", &{
        stage.run(&caller(40, EMPTY, Some(CHAIN)), 1)
    });

    // The sub-programs go back to the program that calls them.
    for calls in 1..=3 {
        let prog = caller(calls, 3, None);
        stage.put(3, &prog);
        let question = format!("{calls} calls in every body of a sub that goes to its caller");
        record.case(&question, &stage.run(&prog, 1));
    }
    let prog = caller(1, 3, Some(3));
    stage.put(3, &prog);
    record.case("1 call of a sub that goes to its caller, then itself", &stage.run(&prog, 1));

    // Part of the budget is spent by the main program, the rest by a sub-program.
    let mut asm = stage.asm();
    stage.count(&mut asm, ENTRIES);
    asm.map_value(R1, stage.counters.fd(), ENTRIES * 8).ldx(DW, R2, R1, 0);
    asm.jmp(JGE, R2, 20, "twentieth");
    stage.tail(&mut asm, 3);
    asm.label("twentieth").mov(R7, 40);
    asm.label("again").mov_reg(R1, R6).call_sub("sub");
    asm.alu64(SUB, R7, 1).jmp(JNE, R7, 0, "again").mov(R0, 1).exit();
    asm.label("sub").mov_reg(R6, R1);
    stage.attempt(&mut asm, LEAF);
    asm.mov(R0, 100).exit();
    let prog = stage.load(&asm, &["sub"]).unwrap();
    stage.put(3, &prog);
    record.case("19 jumps to itself, then 40 calls of a sub to leaf", &stage.run(&prog, 1));
}

fn frames(kernel: &Kernel, record: &mut Record) {
    record.note("frames");
    let stage = Stage::new(kernel);

    let mut leaf = stage.asm();
    for register in [R6, R7, R8, R9] {
        leaf.mov(register, -1);
    }
    for slot in 1..=32 {
        leaf.st(DW, R10, -8 * slot, -1);
    }
    let leaf = stage.load(leaf.mov(R0, 9).exit(), &[]).unwrap();
    stage.put(LEAF, &leaf);
    let mut asm = stage.asm();
    asm.mov(R7, 1).mov(R8, 2).mov(R9, 4).st(DW, R10, -8, 8).st(DW, R10, -216, 16);
    asm.mov_reg(R1, R6).call_sub("sub").alu64(LSH, R0, 8).alu64_reg(OR, R0, R7);
    asm.alu64_reg(OR, R0, R8).alu64_reg(OR, R0, R9);
    asm.ldx(DW, R1, R10, -8).alu64_reg(OR, R0, R1);
    asm.ldx(DW, R1, R10, -216).alu64_reg(OR, R0, R1).exit();
    asm.label("sub").mov_reg(R6, R1);
    stage.tail(&mut asm, LEAF);
    asm.mov(R0, 0).exit();
    let prog = stage.load(&asm, &["sub"]).unwrap();
    let question = "a leaf returns 9 and overwrites r6-r9 and its stack (retval 9<<8|31: all kept)";
    record.case(question, &stage.run(&prog, 1));

    // Eight frames, the last of which tail-calls a program with eight frames.
    let deep = |index: Option<u64>| {
        let subs = ["s1", "s2", "s3", "s4", "s5", "s6", "s7"];
        let mut asm = stage.asm();
        stage.count(&mut asm, ENTRIES);
        for sub in subs {
            asm.mov_reg(R1, R6).call_sub(sub).exit().label(sub).mov_reg(R6, R1);
        }
        match index {
            Some(index) => stage.attempt(&mut asm, index),
            None => stage.count(&mut asm, LEAVES),
        }
        asm.mov(R0, 5).exit();
        stage.load(&asm, &subs).unwrap()
    };
    let leaf = deep(None);
    stage.put(LEAF, &leaf);
    record.case("the 8th frame goes to a leaf of 8 frames", &stage.run(&deep(Some(LEAF)), 1));
    let prog = deep(Some(3));
    stage.put(3, &prog);
    record.case("the 8th frame goes to its own program", &stage.run(&prog, 1));
}

fn refusals(kernel: &Kernel, record: &mut Record) {
    record.note("what the verifier says");
    let stage = Stage::new(kernel);
    let mut verdict = |question: &str, loaded: Result<Prog, Rejection>| {
        let answer = match &loaded {
            Ok(_) => "taken".to_owned(),
            Err(refused) => format!("{} {:?}", refused.errno, reason(refused)),
        };
        record.case(question, &answer);
    };
    for stack in [232, 240, 248, 256, 264, 512] {
        let mut asm = stage.asm();
        asm.st(DW, R10, -stack, 0).mov_reg(R1, R6).call_sub("sub").exit();
        asm.label("sub").mov_reg(R6, R1);
        stage.tail(&mut asm, LEAF);
        asm.mov(R0, 0).exit();
        verdict(&format!("caller has {stack} bytes of stack"), stage.load(&asm, &["sub"]));
    }
    let mut asm = stage.asm();
    stage.tail(&mut asm, LEAF);
    verdict("r0 is returned after a miss", stage.load(asm.exit(), &[]));
    let mut asm = stage.asm();
    stage.tail(&mut asm, LEAF);
    verdict("r1 is read after a miss", stage.load(asm.mov_reg(R0, R1).exit(), &[]));

    let mut asm = stage.asm();
    asm.mov(R1, 1).func(R2, "body").mov(R3, 0).mov(R4, 0).call(LOOP).mov(R0, 0).exit();
    asm.label("body").mov(R6, 0);
    stage.tail(&mut asm, LEAF);
    asm.mov(R0, 0).exit();
    verdict("a callback tail-calls", stage.load(&asm, &["body"]));

    let mut asm = stage.asm();
    asm.mov_reg(R1, R6).call_sub("sub").mov(R0, 0).exit().label("sub").mov_reg(R6, R1);
    stage.tail(&mut asm, LEAF);
    let insns = asm.mov(R0, 0).exit().build();
    let spec = ProgSpec::new(prog_type::SCHED_CLS, &insns);
    verdict("a sub tail-calls, no types are given", kernel.load(&spec));

    let ring = kernel.create_map(&MapSpec::new(map_type::RINGBUF, 0, 0, 4096)).unwrap();
    let mut asm = stage.asm();
    asm.map(R1, ring.fd()).mov(R2, 8).mov(R3, 0).call(131).mov_reg(R7, R0);
    asm.jmp(JEQ, R7, 0, "end");
    stage.tail(&mut asm, LEAF);
    asm.mov_reg(R1, R7).mov(R2, 0).call(133).label("end").mov(R0, 0).exit();
    verdict("a ring buffer's reservation is held", stage.load(&asm, &[]));
}
