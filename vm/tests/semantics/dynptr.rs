//! Dynptrs: local ones, those of ring buffers, and what may be done with them.

use std::ops::ControlFlow;
use std::sync::Arc;

use skep_maps::{Map, MapType, RingBuf};
use skep_oracle::asm::{ADD, Asm, B, DW, JEQ, JNE, R0, R1, R2, R3, R4, R5, R6, R7, R8, R10};
use skep_oracle::recorded::Case;
use skep_vm::Input;

use crate::lab::{Lab, counting, def};
use crate::probe::Probe;
use crate::section::Section;
use crate::text::{asked, asked32, hex, returned};

const FROM_MEM: i32 = 197;
const RESERVE: i32 = 198;
const SUBMIT: i32 = 199;
const DISCARD: i32 = 200;
const READ: i32 = 201;
const WRITE: i32 = 202;
const DATA: i32 = 203;

/// Where in its value a program's buffer stands; words before it are answers.
pub(crate) const BUFFER: i32 = 128;

// The places of the maps of a case behind the probe's own.
const VALUE: i32 = 1;
const SOURCE: i32 = 2;
const RING: i32 = 3;

pub(crate) fn answer(section: &Section) -> Vec<String> {
    let answer = |case: &Case<'_>| match case.question[0] {
        "from_mem" => from_mem(case),
        "reserve" => reserve(case),
        "sequence" => sequence(&case.question[1..].join(" ")),
        kind => operation(case, kind == "local"),
    };
    section.cases.iter().map(answer).collect()
}

/// What programs of a case use.
struct Bench {
    lab: Lab,
    maps: [Arc<dyn Map>; 3],
}

/// A map of one value of 64 bytes that count up.
pub(crate) fn value(lab: &Lab, start: u8) -> Arc<dyn Map> {
    lab.value(&(start..).take(64).collect::<Vec<u8>>(), 0)
}

impl Bench {
    fn new(ring: u32) -> Self {
        let lab = Lab::new();
        let ring = lab.map(&def(MapType::Ringbuf, 0, 0, ring));
        let maps = [value(&lab, 0x80), value(&lab, 0x20), ring];
        Self { lab, maps }
    }

    fn run(&self, body: impl FnOnce(&mut Asm)) -> Result<Vec<i64>, String> {
        let probe = Probe::new(&self.lab, "sched_cls", &self.maps, body)?;
        Ok(probe.run(&Input::packet(counting(64)))?.1)
    }

    fn ring(&self) -> &RingBuf {
        self.maps[2].downcast().expect("it is a ring")
    }

    /// What the ring has next.
    fn next(&self) -> Result<Vec<u8>, String> {
        let mut data = None;
        let consumed = self.ring().consume(|record| {
            data = Some(record.to_vec());
            ControlFlow::Break(())
        });
        data.ok_or(if consumed.discarded > 0 { "discarded" } else { "empty" }.to_owned())
    }
}

/// Makes a dynptr at r10-16; r0 is the outcome.
fn make(asm: &mut Asm, local: bool, size: u64, flags: u64) {
    if local {
        asm.map_value(R1, VALUE, 0)
    } else {
        asm.map(R1, RING)
    };
    asm.lddw(R2, size).lddw(R3, flags);
    frame(asm, R4).call(if local { FROM_MEM } else { RESERVE });
}

/// The address of the dynptr at r10-16.
fn frame(asm: &mut Asm, register: u8) -> &mut Asm {
    asm.mov_reg(register, R10).alu64(ADD, register, -16)
}

/// Does an operation on a dynptr, whose address `dynptr` puts into a register: r0 is the
/// outcome, words 2 and 3 of the value at r7 what dynptr_data found. The map with index
/// `source` has the bytes to write.
pub(crate) fn operate(
    asm: &mut Asm,
    case: &Case<'_>,
    source: i32,
    dynptr: fn(&mut Asm, u8) -> &mut Asm,
) {
    let (offset, flags) = (asked(case, "offset", 0), asked(case, "op_flags", 0));
    let len = i32::try_from(asked(case, "len", 0)).expect("short");
    match name(case) {
        "read" => {
            asm.mov_reg(R1, R7).alu64(ADD, R1, BUFFER).mov(R2, len);
            dynptr(asm, R3).lddw(R4, offset).lddw(R5, flags).call(READ);
        }
        "write" => {
            dynptr(asm, R1).lddw(R2, offset).map_value(R3, source, 0).mov(R4, len);
            asm.lddw(R5, flags).call(WRITE);
        }
        _ => {
            dynptr(asm, R1).lddw(R2, offset).mov(R3, len).call(DATA);
            asm.st(DW, R7, 16, 0).jmp(JEQ, R0, 0, "null").st(DW, R7, 16, 1);
            if len > 0 {
                asm.ldx(B, R1, R0, 0).stx(DW, R7, 24, R1);
            }
            asm.label("null").mov(R0, 0);
        }
    }
}

fn name<'c>(case: &Case<'c>) -> &'c str {
    let found = case.question.iter().find(|word| matches!(**word, "read" | "write" | "data"));
    found.expect("an operation")
}

/// What an operation found: in the buffer, in what it wrote to, or where it points.
pub(crate) fn found(case: &Case<'_>, words: &[i64], written: impl FnOnce() -> String) -> String {
    match name(case) {
        "read" => hex(&words[16].to_le_bytes()),
        "write" => written(),
        _ if words[2] == 0 => "NULL".to_owned(),
        _ if asked(case, "len", 0) == 0 => "found".to_owned(),
        _ => format!("found:{:02x}", words[3]),
    }
}

fn operation(case: &Case<'_>, local: bool) -> String {
    let bench = Bench::new(4096);
    let (size, flags) = (asked(case, "size", 0), asked(case, "flags", 0));
    let ran = bench.run(|asm| {
        make(asm, local, size, flags);
        asm.stx(DW, R7, 0, R0);
        operate(asm, case, SOURCE, frame);
        asm.stx(DW, R7, 8, R0);
        if !local {
            frame(asm, R1).mov(R2, 0).call(SUBMIT);
        }
    });
    let words = match ran {
        Ok(words) => words,
        Err(ended) => return ended,
    };
    let written = || {
        if local {
            let mut value = [0; 64];
            bench.maps[0].user_lookup(&[0; 4], 0, &mut value).expect("it is there");
            return hex(&value[..16]);
        }
        bench.next().map_or_else(|word| word, |data| hex(&data[..data.len().min(16)]))
    };
    let found = found(case, &words, written);
    format!("made={} {} {found}", returned(words[0]), returned(words[1]))
}

fn from_mem(case: &Case<'_>) -> String {
    let lab = Lab::new();
    let big = lab.map(&def(MapType::Array, 4, (1 << 24) + 8, 1));
    let (size, flags) = (asked(case, "size", 0), asked(case, "flags", 0));
    let body = |asm: &mut Asm| {
        asm.map_value(R1, VALUE, 0).lddw(R2, size).lddw(R3, flags);
        frame(asm, R4).call(FROM_MEM).stx(DW, R7, 0, R0);
    };
    let probe = Probe::new(&lab, "sched_cls", &[big], body).expect("it is well-formed");
    probe.run_on(&[]).map_or_else(|ended| ended, |words| returned(words[0]))
}

fn reserve(case: &Case<'_>) -> String {
    let bench = Bench::new(asked32(case, "ring", 0));
    let (size, flags) = (asked(case, "size", 0), asked(case, "flags", 0));
    let end = if case.asked("submit").is_some() { "submit" } else { "discard" };
    let end_flags = asked(case, end, 0);
    let ran = bench.run(|asm| {
        make(asm, false, size, flags);
        asm.stx(DW, R7, 0, R0);
        let end = if end == "submit" { SUBMIT } else { DISCARD };
        frame(asm, R1).lddw(R2, end_flags).call(end);
    });
    let words = match ran {
        Ok(words) => words,
        Err(ended) => return ended,
    };
    let producer = bench.ring().query(3);
    let size = size & u64::from(u32::MAX);
    let next = match bench.next() {
        Ok(data) => format!("record:{}", data.len()),
        Err(word) if word == "discarded" => format!("discarded:{size}"),
        Err(word) => word,
    };
    format!("{} producer={producer} next={next}", returned(words[0]))
}

/// Reads 8 bytes of the dynptr at an offset of r10; word 0 is the outcome.
fn first_bytes(asm: &mut Asm, at: i32) {
    asm.mov_reg(R1, R7).alu64(ADD, R1, BUFFER).mov(R2, 8).mov_reg(R3, R10).alu64(ADD, R3, at);
    asm.mov(R4, 0).mov(R5, 0).call(READ).stx(DW, R7, 0, R0);
}

fn sequence(name: &str) -> String {
    let bench = Bench::new(4096);
    let mut known = true;
    let ran = bench.run(|asm| known = local_sequence(asm, name) || ring_sequence(asm, name));
    assert!(known, "`{name}` is no sequence");
    ran.map_or_else(|ended| ended, |words| returned(words[0]))
}

fn submit(asm: &mut Asm) -> &mut Asm {
    frame(asm, R1).mov(R2, 0).call(SUBMIT)
}

fn local_sequence(asm: &mut Asm, name: &str) -> bool {
    let is_made = name.starts_with("made") || name.starts_with("read");
    let elsewhere = ["odd", "value", "of the stack", "function"];
    let in_place = !elsewhere.iter().any(|word| name.contains(word));
    if is_made && (in_place || name.contains("caller")) {
        make(asm, true, 16, 0);
    }
    match name {
        "read, then read again" => {
            first_bytes(asm, -16);
            first_bytes(asm, -16);
        }
        "never made" => first_bytes(asm, -16),
        "made, overwritten by a store, read" => {
            asm.st(DW, R10, -16, 0);
            first_bytes(asm, -16);
        }
        "made, overwritten by a store, not used" => {
            asm.st(DW, R10, -16, 0).st(DW, R7, 0, 0);
        }
        "made, overwritten by a helper, read" => {
            frame(asm, R1).mov(R2, 16).call(16);
            first_bytes(asm, -16);
        }
        "made, loaded" => {
            asm.ldx(DW, R1, R10, -16).st(DW, R7, 0, 0);
        }
        "made, copied, the copy read" => {
            asm.ldx(DW, R1, R10, -16).stx(DW, R10, -32, R1);
            asm.ldx(DW, R1, R10, -8).stx(DW, R10, -24, R1);
            first_bytes(asm, -32);
        }
        "made twice in one place" => {
            make(asm, true, 4, 0);
            first_bytes(asm, -16);
        }
        "read at eight bytes off" => first_bytes(asm, -8),
        "made at an odd address" => {
            asm.map_value(R1, VALUE, 0).mov(R2, 16).mov(R3, 0);
            asm.mov_reg(R4, R10).alu64(ADD, R4, -20).call(FROM_MEM).stx(DW, R7, 0, R0);
        }
        "made in a map's value" => {
            asm.map_value(R1, VALUE, 0).mov(R2, 16).mov(R3, 0);
            asm.mov_reg(R4, R7).alu64(ADD, R4, 64).call(FROM_MEM).stx(DW, R7, 0, R0);
        }
        "made of the stack" => {
            asm.st(DW, R10, -40, 0).mov_reg(R1, R10).alu64(ADD, R1, -40).mov(R2, 8).mov(R3, 0);
            frame(asm, R4).call(FROM_MEM).stx(DW, R7, 0, R0);
        }
        "a local one is submitted" => {
            make(asm, true, 16, 0);
            submit(asm).st(DW, R7, 0, 0);
        }
        "made in a caller, read in a function" => {
            frame(asm, R1).mov_reg(R2, R7).call_sub("reads").mov(R0, 0).exit();
            asm.label("reads").mov_reg(R6, R2).mov_reg(R3, R1).mov_reg(R1, R2);
            asm.alu64(ADD, R1, BUFFER).mov(R2, 8).mov(R4, 0).mov(R5, 0).call(READ);
            asm.stx(DW, R6, 0, R0);
        }
        "made in a function that has returned" => {
            asm.call_sub("makes").mov_reg(R3, R0).mov_reg(R1, R7).alu64(ADD, R1, BUFFER);
            asm.mov(R2, 8).mov(R4, 0).mov(R5, 0).call(READ).stx(DW, R7, 0, R0);
            asm.mov(R0, 0).exit();
            asm.label("makes").map_value(R1, VALUE, 0).mov(R2, 16).mov(R3, 0);
            frame(asm, R4).call(FROM_MEM).jmp(JNE, R0, 0, "end");
            frame(asm, R0).exit();
        }
        _ => return false,
    }
    true
}

fn ring_sequence(asm: &mut Asm, name: &str) -> bool {
    let flags = u64::from(name.starts_with("not"));
    make(asm, false, 16, flags);
    match name {
        "reserved and submitted" => {
            submit(asm).st(DW, R7, 0, 0);
        }
        "reserved and kept" | "not reserved and kept" => {
            asm.st(DW, R7, 0, 0);
        }
        "reserved and submitted twice" => {
            submit(asm);
            submit(asm).st(DW, R7, 0, 0);
        }
        "reserved, submitted, read" => {
            submit(asm);
            first_bytes(asm, -16);
        }
        "reserved, submitted, its data written" => {
            frame(asm, R1).mov(R2, 0).mov(R3, 8).call(DATA).mov_reg(R8, R0);
            submit(asm);
            asm.jmp(JEQ, R8, 0, "end").st(DW, R8, 0, 1).st(DW, R7, 0, 0);
        }
        "reserved, its data written, submitted" => {
            frame(asm, R1).mov(R2, 0).mov(R3, 8).call(DATA);
            asm.jmp(JEQ, R0, 0, "null").st(DW, R0, 0, 1).label("null");
            submit(asm).st(DW, R7, 0, 0);
        }
        "reserved, overwritten by a store" => {
            asm.st(DW, R10, -16, 0);
            submit(asm).st(DW, R7, 0, 0);
        }
        "reserved twice in one place" => {
            make(asm, false, 16, 0);
            submit(asm).st(DW, R7, 0, 0);
        }
        "reserved, its place used after it was submitted" => {
            submit(asm);
            asm.st(DW, R10, -16, 5).ldx(DW, R1, R10, -16).stx(DW, R7, 0, R1);
        }
        _ => return false,
    }
    true
}
