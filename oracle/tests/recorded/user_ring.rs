//! USER_RINGBUF: its system calls, and how programs drain it.

use skep_oracle::asm::*;
use skep_oracle::btf::BtfWriter;
use skep_oracle::{
    Kernel, Map, MapSpec, Prog, ProgSpec, Rejection, RingWriter, TestRun, map_type, prog_type,
};

use crate::create::{Attributes, creation};
use crate::dynptr::{BUFFER, Operation, PLACES, operate, value};
use crate::ops::{ABOUT, FLAGS, State, operations};
use crate::probe::counting;
use crate::record::{Record, check, hex, returned};

const READ: i32 = 201;
const DRAIN: i32 = 209;

const BUSY: u32 = 1 << 31;
const DISCARD: u32 = 1 << 30;

#[test]
fn user_ringbuf() {
    check("user-ringbuf", ABOUT, |kernel, record| {
        let plain = Attributes::new("user_ringbuf", map_type::USER_RINGBUF, 0, 0, 4096);
        creation(kernel, record, &plain);
        let make = || ring(kernel, 4096);
        record.note("user_ringbuf");
        record.case("state user_ringbuf max_entries=4096 flags=0x0 put=-", "ok");
        operations(
            kernel,
            record,
            &State {
                name: "user_ringbuf",
                make: &make,
                keys: &[&[0; 4]],
                values: &[(hex(&[0x77; 8]), vec![0x77; 8])],
                flags: &FLAGS,
                show: &hex,
                hashed: false,
            },
        );
    });
}

#[test]
fn user_ringbuf_drain() {
    check(
        "user-ringbuf-drain",
        "A ring of `size` bytes, and what is done in order. User space: N*LEN pushes N records\n\
         of LEN bytes, which count up from 0x10 in the first, 0x11 in the second and so on;\n\
         :d sets the discard bit, :b the busy bit; `producer=N` moves the producer's position,\n\
         `header@POS=N` writes a length word; `room` says whether epoll calls the map\n\
         writable. Programs: `drain:FLAGS:STOP` drains it with a callback that returns 1 at its\n\
         call number STOP, from 1. The answer is r0, the number of calls, for the first four\n\
         of them the first byte and the hundredth (E2BIG where there is none), and the\n\
         consumer's position.\n\
         `sample` lines: in the callback, on a record of 16 bytes, one operation is done as in\n\
         dynptr.txt; for dynptr_write the record's bytes afterwards.\n\
         `nested`: the callback drains the ring again.",
        |kernel, record| {
            drains(kernel, record);
            samples(kernel, record);
            record.note("nested");
            record.case("nested", &nested(kernel));
        },
    );
}

fn ring(kernel: &Kernel, size: u32) -> Map {
    kernel.create_map(&MapSpec::new(map_type::USER_RINGBUF, 0, 0, size)).unwrap()
}

/// A program whose callbacks are the functions at these labels, in their order.
fn load(kernel: &Kernel, asm: &Asm, callbacks: &[&str]) -> Result<Prog, Rejection> {
    let mut types = BtfWriter::new();
    let int = types.int("int", 4);
    let long = types.int("long", 8);
    let ctx = types.ptr(0);
    let mut functions = vec![(0, types.func("main", int, &[("ctx", ctx)]))];
    for label in callbacks {
        let function = types.func(label, long, &[("dynptr", ctx), ("ctx", ctx)]);
        functions.push((u32::try_from(asm.at(label)).unwrap(), function));
    }
    let btf = kernel.load_btf(&types.blob()).unwrap();
    let insns = asm.build();
    kernel.load(&ProgSpec::new(prog_type::SCHED_CLS, &insns).func_info(&btf, &functions))
}

fn run(kernel: &Kernel, prog: &Prog, out: &Map, first: i64) -> Vec<i64> {
    let mut value = [0xff; 256];
    value[..8].copy_from_slice(&first.to_ne_bytes());
    out.update(&[0; 4], &value, 0).unwrap();
    let packet = counting(64);
    let run = || prog.test_run(&TestRun::new().data_in(&packet)).ok().unwrap();
    kernel.on_cpu(0, run).unwrap();
    let value = out.lookup(&[0; 4], 0).unwrap();
    value.as_chunks::<8>().0.iter().map(|&word| i64::from_ne_bytes(word)).collect()
}

fn answers(kernel: &Kernel) -> Map {
    kernel.create_map(&MapSpec::new(map_type::ARRAY, 4, 256, 1)).unwrap()
}

fn drains(kernel: &Kernel, record: &mut Record) {
    record.note("drain");
    for (size, steps) in [
        (4096, "drain"),
        (4096, "1*8,drain,drain"),
        (4096, "3*8,drain"),
        (4096, "1*0,1*1,1*7,1*9,drain"),
        (4096, "1*8,1*8:d,1*8,drain"),
        (4096, "1*8:d,drain"),
        (4096, "2*8:d,drain"),
        (4096, "1*8:b,1*8,drain,header@0=8,drain"),
        (4096, "1*8:d:b,1*8,drain"),
        (4096, "4*8,drain:0:1,drain:0:2,drain"),
        (4096, "1*8:d,3*8,drain:0:2,drain"),
        // Flags.
        (4096, "drain:1,drain:2,drain:3,drain:4,drain:8,drain:0x100000000"),
        (4096, "1*8,drain:1,1*8,drain:2,1*8,drain:3,1*8,drain:4,drain:0xffffffffffffffff,drain"),
        // Positions and lengths of the user's.
        (4096, "producer=1,drain,producer=4,drain,producer=7,drain,producer=8,drain"),
        (4096, "producer=16,drain"),
        (4096, "1*8,producer=8,drain"),
        (4096, "1*8,header@0=9,drain,header@0=8,drain"),
        (4096, "1*8,header@0=0,drain"),
        (4096, "1*8,header@0=0x3fffffff,drain"),
        (4096, "1*8,header@0=0x7fffffff,drain"),
        (4096, "1*8,header@0=0xffffffff,drain"),
        (4096, "1*8,header@0=0xbfffffff,drain"),
        (4096, "producer=8192,header@0=4088,drain"),
        (4096, "producer=8192,header@0=4089,drain"),
        (4096, "producer=8192,header@0=0x40000ff9,drain"),
        (4096, "producer=8192,header@0=0x80000ff9,drain"),
        (4096, "3*8,drain:0:2,producer=16,drain,producer=0,drain"),
        (4096, "producer=0xfffffffffffffff8,drain"),
        (4096, "producer=0xffffffffffffffff,drain"),
        (4096, "1*4080,drain,1*4088,drain"),
        (4096, "1*4000,drain,1*200,drain"),
        (4096, "1*4080,drain,1*100,drain"),
        // A sample must fit a dynptr.
        (1 << 25, "1*16777215,drain"),
        (1 << 25, "1*16777216,drain"),
        (1 << 25, "1*16777216:d,drain"),
        (1 << 25, "1*16777216:b,drain"),
        // At most so many at once.
        (1 << 21, "131071*0,drain"),
        (1 << 21, "131072*0,drain,drain"),
        (1 << 21, "131080*0,drain,drain"),
        (1 << 21, "10*0:d,131072*0,drain,drain"),
        (1 << 21, "131080*0:d,drain,drain"),
        // Whether there is room.
        (4096, "room,1*4080,room,1*0,room,drain,room"),
        (4096, "producer=4096,room,producer=4097,room,producer=8192,room"),
    ] {
        let ring = ring(kernel, size);
        let writer = RingWriter::new(&ring).unwrap();
        let out = answers(kernel);
        let mut pushed = 0u8;
        let answers: Vec<String> = steps
            .split(',')
            .map(|step| perform(kernel, &ring, &writer, &out, &mut pushed, step))
            .filter(|answer| !answer.is_empty())
            .collect();
        let answers = if answers.is_empty() { "-".to_owned() } else { answers.join(" ") };
        record.case(&format!("drain size={size} do={steps}"), &answers);
    }
}

fn number(text: &str) -> u64 {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).unwrap(),
        None => text.parse().unwrap(),
    }
}

fn perform(
    kernel: &Kernel,
    ring: &Map,
    writer: &RingWriter<'_>,
    out: &Map,
    pushed: &mut u8,
    step: &str,
) -> String {
    if step == "room" {
        return format!("room={}", if writer.has_room().unwrap() { "yes" } else { "no" });
    }
    if let Some(drain) = step.strip_prefix("drain") {
        let mut words = drain.split(':').skip(1).map(number);
        let flags = words.next().unwrap_or(0);
        let stop = words.next().unwrap_or(0);
        return drain_once(kernel, ring, writer, out, flags, i32::try_from(stop).unwrap());
    }
    if let Some(producer) = step.strip_prefix("producer=") {
        writer.set_producer_pos(number(producer));
    } else if let Some(header) = step.strip_prefix("header@") {
        let (pos, len) = header.split_once('=').unwrap();
        writer.set_header(number(pos), u32::try_from(number(len)).unwrap());
    } else {
        let mut words = step.split(':');
        let (times, len) = words.next().unwrap().split_once('*').unwrap();
        let (times, len) = (number(times), u32::try_from(number(len)).unwrap());
        let flags = words.map(|word| if word == "d" { DISCARD } else { BUSY });
        let header = flags.fold(len, |header, flag| header | flag);
        for _ in 0..times {
            let start = 0x10u8.wrapping_add(*pushed);
            *pushed = pushed.wrapping_add(1);
            let data: Vec<u8> = (start..=0xff).cycle().take(len as usize).collect();
            writer.push(header, &data);
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

fn drain_once(
    kernel: &Kernel,
    ring: &Map,
    writer: &RingWriter<'_>,
    out: &Map,
    flags: u64,
    stop: i32,
) -> String {
    let mut asm = Asm::new();
    asm.map(R1, ring.fd()).func(R2, "body").mov(R3, 0).lddw(R4, flags).call(DRAIN);
    asm.map_value(R7, out.fd(), 0).stx(DW, R7, 8, R0).mov(R0, 0).exit();
    // Word 0 counts the calls; of call n, words 2n and 2n+1 are what was read.
    asm.label("body").mov_reg(R6, R1).map_value(R7, out.fd(), 0);
    asm.ldx(DW, R9, R7, 0).alu64(ADD, R9, 1).stx(DW, R7, 0, R9);
    asm.jmp(JGT, R9, 4, "enough").mov_reg(R8, R9).alu64(LSH, R8, 4).alu64(AND, R8, 0x70);
    byte(&mut asm, 0, 0, "first");
    byte(&mut asm, 99, 8, "hundredth");
    asm.label("enough").mov(R0, 0).jmp(JNE, R9, stop, "on").mov(R0, 1).label("on").exit();
    let prog = match load(kernel, &asm, &["body"]) {
        Ok(prog) => prog,
        Err(rejection) => panic!("{rejection}"),
    };
    let words = run(kernel, &prog, out, 0);
    let calls = usize::try_from(words[0]).unwrap();
    let read = |word: i64| match word {
        0..=255 => format!("{word:02x}"),
        errno => returned(errno),
    };
    let seen =
        (1..=calls.min(4)).map(|n| format!("{}+{}", read(words[2 * n]), read(words[2 * n + 1])));
    let seen: Vec<String> = seen.collect();
    let seen = if seen.is_empty() { "-".to_owned() } else { seen.join(",") };
    format!("{}:calls={calls}:{seen}:consumer={}", returned(words[1]), writer.consumer_pos())
}

fn samples(kernel: &Kernel, record: &mut Record) {
    record.note("samples");
    for name in ["read", "write", "data"] {
        for (offset, len) in PLACES {
            sample(kernel, record, Operation { name, offset, len, flags: 0 });
        }
        if name != "data" {
            for flags in [1, 1 << 32] {
                sample(kernel, record, Operation { name, offset: 0, len: 4, flags });
                sample(kernel, record, Operation { name, offset: 16, len: 1, flags });
            }
        }
    }
}

fn sample(kernel: &Kernel, record: &mut Record, operation: Operation) {
    let ring = ring(kernel, 4096);
    let writer = RingWriter::new(&ring).unwrap();
    writer.push(16, &(0x10..0x20).collect::<Vec<u8>>());
    let (out, source) = (answers(kernel), value(kernel, 0x20));
    let mut asm = Asm::new();
    asm.map(R1, ring.fd()).func(R2, "body").mov(R3, 0).mov(R4, 0).call(DRAIN);
    asm.map_value(R7, out.fd(), 0).stx(DW, R7, 0, R0).mov(R0, 0).exit();
    asm.label("body").mov_reg(R6, R1).map_value(R7, out.fd(), 0);
    operate(&mut asm, &source, operation, |asm, register| asm.mov_reg(register, R6));
    asm.stx(DW, R7, 8, R0).mov(R0, 0).exit();
    let Operation { name, offset, len, flags } = operation;
    let mut question = format!("sample {name} offset={offset:#x} len={len}");
    if name != "data" {
        question += &format!(" op_flags={flags:#x}");
    }
    let Ok(prog) = load(kernel, &asm, &["body"]) else {
        record.case(&question, "refused");
        return;
    };
    let words = run(kernel, &prog, &out, -1);
    let found = match name {
        "read" => hex(&words[usize::try_from(BUFFER / 8).unwrap()].to_ne_bytes()),
        "write" => hex(&writer.read(8, 16)),
        _ if words[2] == 0 => "NULL".to_owned(),
        _ if len == 0 => "found".to_owned(),
        _ => format!("found:{:02x}", words[3]),
    };
    record
        .case(&question, &format!("drained={} {} {found}", returned(words[0]), returned(words[1])));
}

/// What draining in a callback returns, inside and outside.
fn nested(kernel: &Kernel) -> String {
    let ring = ring(kernel, 4096);
    let writer = RingWriter::new(&ring).unwrap();
    writer.push(8, &[1; 8]);
    writer.push(8, &[2; 8]);
    let out = answers(kernel);
    let mut asm = Asm::new();
    asm.map(R1, ring.fd()).func(R2, "outer").mov(R3, 0).mov(R4, 0).call(DRAIN);
    asm.map_value(R7, out.fd(), 0).stx(DW, R7, 0, R0).mov(R0, 0).exit();
    asm.label("outer").map(R1, ring.fd()).func(R2, "inner").mov(R3, 0).mov(R4, 0).call(DRAIN);
    asm.map_value(R7, out.fd(), 0).stx(DW, R7, 8, R0).mov(R0, 0).exit();
    asm.label("inner").mov(R0, 0).exit();
    match load(kernel, &asm, &["outer", "inner"]) {
        Ok(prog) => {
            let words = run(kernel, &prog, &out, -1);
            format!("outer={} inner={}", returned(words[0]), returned(words[1]))
        }
        Err(_) => "refused".to_owned(),
    }
}
