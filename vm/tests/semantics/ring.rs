//! How far a program may fill a ring buffer, and what it leaves there.

use std::ops::ControlFlow;
use std::sync::Arc;

use skep_maps::{Map, MapType};
use skep_memory::{GuestPtr, GuestSlice};
use skep_oracle::asm::{Asm, DW, JEQ, R0, R1, R2, R3, R4, R7, R8};
use skep_oracle::recorded::Case;
use skep_vm::Input;

use crate::lab::{Lab, counting, def};
use crate::probe::Probe;
use crate::section::Section;
use crate::text::{asked, asked32, returned};

const OUTPUT: i32 = 130;
const RESERVE: i32 = 131;
const SUBMIT: i32 = 132;
const DISCARD: i32 = 133;
const QUERY: i32 = 134;
/// The ring's index in a program.
const RING: i32 = 1;

pub(crate) fn answer(section: &Section) -> Vec<String> {
    let lab = Lab::new();
    let answer = |case: &Case<'_>| {
        let words = &case.question;
        let is = |word| words.contains(&word);
        if words.iter().filter(|word| word.starts_with("reserve=")).count() == 2 {
            pair(&lab, case)
        } else if is("submit") || is("discard") {
            header(&lab, case)
        } else if is("read") {
            read(&lab, case)
        } else if case.asked("query").is_some() {
            query(&lab, case)
        } else {
            fit(&lab, case)
        }
    };
    section.cases.iter().map(answer).collect()
}

/// A ring that was filled and consumed from as the case says.
fn filled(lab: &Lab, case: &Case<'_>) -> Arc<dyn Map> {
    let ring = lab.map(&def(MapType::Ringbuf, 0, 0, asked32(case, "size", 4096)));
    let fill = case.asked("fill").filter(|fill| *fill != "-");
    for size in fill.into_iter().flat_map(|fill| fill.split(',')) {
        let size = crate::text::number(size);
        let body = |asm: &mut Asm| reserve(asm, size, 0, (SUBMIT, 0));
        assert_eq!(run(lab, &ring, body).expect("it runs")[0], 1, "it can be filled");
    }
    for _ in 0..asked(case, "consumed", 0) {
        let consumed = buffer(&ring).consume(|_| ControlFlow::Break(()));
        assert_eq!(consumed.records, 1, "there is a record");
    }
    ring
}

fn buffer(ring: &Arc<dyn Map>) -> &skep_maps::RingBuf {
    ring.downcast().expect("it is a ring")
}

fn producer(ring: &Arc<dyn Map>) -> u64 {
    buffer(ring).query(3)
}

/// The answers of a program on the ring.
fn run(lab: &Lab, ring: &Arc<dyn Map>, body: impl FnOnce(&mut Asm)) -> Result<Vec<i64>, String> {
    let probe = Probe::new(lab, "sched_cls", &[Arc::clone(ring)], body)?;
    Ok(probe.run(&Input::packet(counting(64)))?.1)
}

/// Reserves `size` bytes and ends with `end`; word 0 of the answer is 1 if there was a
/// reservation, word 1 its address.
fn reserve(asm: &mut Asm, size: u64, flags: u64, end: (i32, i32)) {
    asm.map(R1, RING).lddw(R2, size).lddw(R3, flags).call(RESERVE);
    asm.st(DW, R7, 0, 0).jmp(JEQ, R0, 0, "end").st(DW, R7, 0, 1).stx(DW, R7, 8, R0);
    asm.mov_reg(R1, R0).mov(R2, end.1).call(end.0);
}

fn fit(lab: &Lab, case: &Case<'_>) -> String {
    let ring = filled(lab, case);
    let flags = asked(case, "flags", 0);
    let answer = if case.asked("reserve").is_some() {
        let size = asked(case, "reserve", 0);
        let words = run(lab, &ring, |asm| reserve(asm, size, flags, (SUBMIT, 0)));
        words.map(|words| if words[0] == 1 { "ok".to_owned() } else { "NULL".to_owned() })
    } else {
        output(lab, &ring, asked32(case, "output", 0), flags)
    };
    match answer {
        Ok(answer) => format!("{answer} producer={}", producer(&ring)),
        Err(ended) => ended,
    }
}

fn output(lab: &Lab, ring: &Arc<dyn Map>, size: u32, flags: u64) -> Result<String, String> {
    let data = lab.value(&vec![0; size.max(8) as usize], 0);
    let size = i32::try_from(size).expect("small");
    let body = |asm: &mut Asm| {
        asm.map(R1, RING).map_value(R2, RING + 1, 0).mov(R3, size).lddw(R4, flags);
        asm.call(OUTPUT).stx(DW, R7, 0, R0);
    };
    let probe = Probe::new(lab, "sched_cls", &[Arc::clone(ring), data], body)?;
    Ok(returned(probe.run_on(&[])?[0]))
}

/// Two reservations; the later one is submitted, then the other discarded.
fn pair(lab: &Lab, case: &Case<'_>) -> String {
    let ring = filled(lab, case);
    let sizes = case.question.iter().filter_map(|word| word.strip_prefix("reserve="));
    let sizes: Vec<i32> = sizes.map(|size| size.parse().expect("a size")).collect();
    let body = |asm: &mut Asm| {
        asm.st(DW, R7, 0, 0).map(R1, RING).mov(R2, sizes[0]).mov(R3, 0).call(RESERVE);
        asm.jmp(JEQ, R0, 0, "end").mov_reg(R8, R0).st(DW, R7, 0, 1);
        asm.map(R1, RING).mov(R2, sizes[1]).mov(R3, 0).call(RESERVE);
        asm.jmp(JEQ, R0, 0, "first").st(DW, R7, 0, 2);
        asm.mov_reg(R1, R0).mov(R2, 0).call(SUBMIT);
        asm.label("first").map(R1, RING).mov(R2, 0).call(QUERY).stx(DW, R7, 8, R0);
        asm.mov_reg(R1, R8).mov(R2, 0).call(DISCARD);
    };
    let words = run(lab, &ring, body).expect("it runs");
    let read: Vec<String> = contents(&ring, &sizes).into_iter().chain(empty()).take(3).collect();
    format!("reserved={} available={} read={}", words[0], words[1], read.join(","))
}

fn empty() -> impl Iterator<Item = String> {
    std::iter::repeat("empty".to_owned())
}

/// What the ring holds: the first record was discarded, those behind it were not.
fn contents(ring: &Arc<dyn Map>, sizes: &[i32]) -> Vec<String> {
    let mut read = Vec::new();
    let consumed = buffer(ring).consume(|data| {
        read.push(format!("record:{}", data.len()));
        ControlFlow::Continue(())
    });
    for _ in 0..consumed.discarded {
        read.insert(0, format!("discarded:{}", sizes[0]));
    }
    assert_eq!(buffer(ring).query(0), 0, "all was consumed");
    read
}

fn query(lab: &Lab, case: &Case<'_>) -> String {
    let ring = filled(lab, case);
    let what = asked(case, "query", 0);
    let body = |asm: &mut Asm| {
        asm.map(R1, RING).lddw(R2, what).call(QUERY).stx(DW, R7, 0, R0);
    };
    match run(lab, &ring, body) {
        Ok(words) => words[0].to_string(),
        Err(ended) => ended,
    }
}

/// The 8 bytes before a record.
fn header(lab: &Lab, case: &Case<'_>) -> String {
    let ring = filled(lab, case);
    let end = if case.question.contains(&"submit") { SUBMIT } else { DISCARD };
    let flags = i32::try_from(asked32(case, "flags", 0)).expect("positive");
    let size = asked(case, "reserve", 0);
    let words = run(lab, &ring, |asm| reserve(asm, size, 0, (end, flags))).expect("it runs");
    let at = u32::try_from(words[1]).expect("an address") - 8;
    let view = lab.machine.world().window().view();
    let header = GuestSlice::new(view, GuestPtr::new(at), 8).expect("inside the window");
    let (len, page) = (header.get::<u32>(0), header.get::<u32>(4));
    format!("len={len:#x} pg_off={page} producer={}", producer(&ring))
}

fn read(lab: &Lab, case: &Case<'_>) -> String {
    let ring = filled(lab, case);
    let mut found = "empty".to_owned();
    let _consumed = buffer(&ring).consume(|data| {
        found = format!("record:{}", data.len());
        ControlFlow::Break(())
    });
    found
}
