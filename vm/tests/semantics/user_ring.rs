//! How programs drain a user ring buffer, whatever user space has put there.

use std::sync::Arc;

use skep_maps::{Map, MapType, UserRingBuf};
use skep_oracle::asm::{
    ADD, AND, Asm, DW, JGT, JNE, LSH, R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10,
};
use skep_oracle::recorded::Case;
use skep_vm::Input;

use crate::dynptr::{found, operate, value};
use crate::lab::{Lab, counting, def, set, words};
use crate::section::Section;
use crate::text::{asked32, hex, number, returned};

const READ: i32 = 201;
const DRAIN: i32 = 209;

const BUSY: u32 = 1 << 31;
const DISCARD: u32 = 1 << 30;

// The places of a program's maps.
const OUT: i32 = 0;
const RING: i32 = 1;
const SOURCE: i32 = 2;

pub(crate) fn answer(section: &Section) -> Vec<String> {
    let answer = |case: &Case<'_>| match case.question[0] {
        "drain" => drain(case),
        "sample" => sample(case),
        _ => nested(),
    };
    section.cases.iter().map(answer).collect()
}

struct Bench {
    lab: Lab,
    out: Arc<dyn Map>,
    ring: Arc<dyn Map>,
    source: Arc<dyn Map>,
}

impl Bench {
    fn new(size: u32) -> Self {
        let lab = Lab::new();
        let out = lab.map(&def(MapType::Array, 4, 256, 1));
        let ring = lab.map(&def(MapType::UserRingbuf, 0, 0, size));
        let source = value(&lab, 0x20);
        Self { lab, out, ring, source }
    }

    fn ring(&self) -> &UserRingBuf {
        self.ring.downcast().expect("it is a user ring")
    }

    /// Adds a record whose header holds `header` and whose data is `data`, room or not.
    fn push(&self, header: u32, data: &[u8]) {
        let ring = self.ring();
        let pos = ring.producer_pos();
        ring.set_header(pos, header);
        let len = u32::try_from(data.len()).expect("short");
        let size = u64::from(self.ring.core().def().max_entries);
        let start = u32::try_from(pos % size).expect("masked") + 8;
        ring.data().part(start, len).write(data);
        ring.set_producer_pos(pos + (u64::from(len) + 8).next_multiple_of(8));
    }

    fn run(&self, asm: &Asm, first: i64) -> Result<Vec<i64>, String> {
        let maps = [&self.out, &self.ring, &self.source].map(Arc::clone);
        let program = self.lab.load("sched_cls", asm.build(), &maps)?;
        let mut start = [0xff; 256];
        start[..8].copy_from_slice(&first.to_le_bytes());
        set(&*self.out, &start);
        self.lab.run(&program, &Input::packet(counting(64)))?;
        Ok(words(&*self.out))
    }
}

fn drain(case: &Case<'_>) -> String {
    let bench = Bench::new(asked32(case, "size", 4096));
    let mut pushed = 0;
    let steps = case.asked("do").expect("steps").split(',');
    let answers = steps.map(|step| perform(&bench, &mut pushed, step));
    let answers: Vec<String> = answers.filter(|answer| !answer.is_empty()).collect();
    answers.join(" ")
}

fn perform(bench: &Bench, pushed: &mut u8, step: &str) -> String {
    let ring = bench.ring();
    if step == "room" {
        return format!("room={}", if ring.has_room() { "yes" } else { "no" });
    }
    if let Some(drain) = step.strip_prefix("drain") {
        let mut words = drain.split(':').skip(1).map(number);
        let (flags, stop) = (words.next().unwrap_or(0), words.next().unwrap_or(0));
        return drain_once(bench, flags, i32::try_from(stop).expect("few"));
    }
    if let Some(producer) = step.strip_prefix("producer=") {
        ring.set_producer_pos(number(producer));
    } else if let Some(header) = step.strip_prefix("header@") {
        let (pos, len) = header.split_once('=').expect("POS=LEN");
        ring.set_header(number(pos), u32::try_from(number(len)).expect("32 bits"));
    } else {
        let mut words = step.split(':');
        let (times, len) = words.next().and_then(|word| word.split_once('*')).expect("N*LEN");
        let len = u32::try_from(number(len)).expect("32 bits");
        let flags = words.map(|word| if word == "d" { DISCARD } else { BUSY });
        let header = flags.fold(len, |header, flag| header | flag);
        for _ in 0..number(times) {
            let start = 0x10u8.wrapping_add(*pushed);
            *pushed = pushed.wrapping_add(1);
            let data: Vec<u8> = (start..=0xff).cycle().take(len as usize).collect();
            bench.push(header, &data);
        }
    }
    String::new()
}

/// Reads a byte of the dynptr in r6 to r10-8; word `at` of the value at r7 plus r8 is the
/// byte, or r0 where there is none.
fn byte(asm: &mut Asm, offset: i32, at: i16, label: &str) {
    asm.st(DW, R10, -8, 0).mov_reg(R1, R10).alu64(ADD, R1, -8).mov(R2, 1).mov_reg(R3, R6);
    asm.mov(R4, offset).mov(R5, 0).call(READ);
    asm.jmp(JNE, R0, 0, label).ldx(DW, R0, R10, -8).label(label);
    asm.mov_reg(R1, R7).alu64_reg(ADD, R1, R8).stx(DW, R1, at, R0);
}

fn drain_once(bench: &Bench, flags: u64, stop: i32) -> String {
    let mut asm = Asm::new();
    asm.map(R1, RING).func(R2, "body").mov(R3, 0).lddw(R4, flags).call(DRAIN);
    asm.map_value(R7, OUT, 0).stx(DW, R7, 8, R0).mov(R0, 0).exit();
    // Word 0 counts the calls; of call n, words 2n and 2n+1 are what was read.
    asm.label("body").mov_reg(R6, R1).map_value(R7, OUT, 0);
    asm.ldx(DW, R9, R7, 0).alu64(ADD, R9, 1).stx(DW, R7, 0, R9);
    asm.jmp(JGT, R9, 4, "enough").mov_reg(R8, R9).alu64(LSH, R8, 4).alu64(AND, R8, 0x70);
    byte(&mut asm, 0, 0, "first");
    byte(&mut asm, 99, 8, "hundredth");
    asm.label("enough").mov(R0, 0).jmp(JNE, R9, stop, "on").mov(R0, 1).label("on").exit();
    let words = match bench.run(&asm, 0) {
        Ok(words) => words,
        Err(ended) => return ended,
    };
    let calls = usize::try_from(words[0]).expect("a count");
    let read = |word: i64| match word {
        0..=255 => format!("{word:02x}"),
        errno => returned(errno),
    };
    let seen =
        (1..=calls.min(4)).map(|n| format!("{}+{}", read(words[2 * n]), read(words[2 * n + 1])));
    let seen = crate::text::list(&seen.collect::<Vec<_>>());
    let consumer = bench.ring().consumer_pos();
    format!("{}:calls={calls}:{seen}:consumer={consumer}", returned(words[1]))
}

fn sample(case: &Case<'_>) -> String {
    let bench = Bench::new(4096);
    bench.push(16, &(0x10..0x20).collect::<Vec<u8>>());
    let mut asm = Asm::new();
    asm.map(R1, RING).func(R2, "body").mov(R3, 0).mov(R4, 0).call(DRAIN);
    asm.map_value(R7, OUT, 0).stx(DW, R7, 0, R0).mov(R0, 0).exit();
    asm.label("body").mov_reg(R6, R1).map_value(R7, OUT, 0);
    operate(&mut asm, case, SOURCE, |asm, register| asm.mov_reg(register, R6));
    asm.stx(DW, R7, 8, R0).mov(R0, 0).exit();
    let words = match bench.run(&asm, -1) {
        Ok(words) => words,
        Err(ended) => return ended,
    };
    let found = found(case, &words, || hex(&bench.ring().data().part(8, 16).to_vec()));
    format!("drained={} {} {found}", returned(words[0]), returned(words[1]))
}

fn nested() -> String {
    let bench = Bench::new(4096);
    bench.push(8, &[1; 8]);
    bench.push(8, &[2; 8]);
    let mut asm = Asm::new();
    asm.map(R1, RING).func(R2, "outer").mov(R3, 0).mov(R4, 0).call(DRAIN);
    asm.map_value(R7, OUT, 0).stx(DW, R7, 0, R0).mov(R0, 0).exit();
    asm.label("outer").map(R1, RING).func(R2, "inner").mov(R3, 0).mov(R4, 0).call(DRAIN);
    asm.map_value(R7, OUT, 0).stx(DW, R7, 8, R0).mov(R0, 0).exit();
    asm.label("inner").mov(R0, 0).exit();
    match bench.run(&asm, -1) {
        Ok(words) => format!("outer={} inner={}", returned(words[0]), returned(words[1])),
        Err(ended) => ended,
    }
}
