//! What programs write to perf events and read from them.

use std::sync::Arc;

use skep_maps::perf::{PerfCount, PerfEvent, PerfEventAttr, PerfEventKind, WakeUp};
use skep_maps::sys::UserRef;
use skep_maps::{Descriptor, Map, MapDef, MapType, flags, sys};
use skep_oracle::asm::{Asm, DW, R0, R1, R2, R3, R4, R5, R6, R7};
use skep_oracle::recorded::Case;
use skep_vm::{Input, Program};

use crate::lab::{Lab, counting, def, set};
use crate::section::Section;
use crate::text::{asked, asked32, hex, returned};

const READ: i32 = 22;
const OUTPUT: i32 = 25;
const READ_VALUE: i32 = 55;

/// The most bytes that a program outputs.
const MOST: u32 = 1 << 17;

type Event = Descriptor<PerfEvent>;

/// A program that calls one helper on a map of events, on any CPU.
struct Caller<'l> {
    lab: &'l Lab,
    program: Arc<Program>,
    desk: Arc<dyn Map>,
    packet: bool,
}

impl<'l> Caller<'l> {
    fn new(lab: &'l Lab, prog_type: &str, map: &Arc<dyn Map>, helper: i32) -> Self {
        const DESK: i32 = 0;
        const DATA: i32 = 1;
        const MAP: i32 = 2;
        let desk = lab.value(&[0; 64], 0);
        let bytes: Vec<u8> = (0x80..=0xff).cycle().take(MOST as usize).collect();
        let data = lab.value(&bytes, 0);
        let mut asm = Asm::new();
        asm.mov_reg(R6, R1).map_value(R7, DESK, 0).ldx(DW, R3, R7, 0).ldx(DW, R5, R7, 8);
        match helper {
            READ => asm.map(R1, MAP).mov_reg(R2, R3),
            READ_VALUE => asm.map(R1, MAP).mov_reg(R2, R3).map_value(R3, DESK, 24).mov_reg(R4, R5),
            _ => asm.mov_reg(R1, R6).map(R2, MAP).map_value(R4, DATA, 0),
        };
        asm.call(helper).stx(DW, R7, 16, R0).mov(R0, 0).exit();
        let maps = [Arc::clone(&desk), data, Arc::clone(map)];
        let program = lab.load(prog_type, asm.build(), &maps).expect("it is well-formed");
        Self { lab, program, desk, packet: prog_type != "raw_tracepoint" }
    }

    /// What the helper returned.
    fn call(&self, cpu: u32, flags: u64, size: u64) -> String {
        let mut desk = [0; 64];
        desk[..8].copy_from_slice(&flags.to_le_bytes());
        desk[8..16].copy_from_slice(&size.to_le_bytes());
        desk[24..].fill(0xff);
        set(&*self.desk, &desk);
        let input = if self.packet { Input::packet(counting(64)) } else { Input::none() };
        let cpu = usize::try_from(cpu).expect("a small number");
        self.lab.run_on(cpu, &self.program, &input).expect("it runs");
        returned(self.word(2))
    }

    fn word(&self, index: usize) -> i64 {
        crate::lab::words(&*self.desk)[index]
    }
}

/// An event with a buffer of so many pages, or none.
fn event(lab: &Lab, attr: PerfEventAttr, pages: u32) -> Event {
    let event = PerfEvent::open(lab.machine.world(), attr);
    if pages > 0 {
        event.object().map_buffer(pages).expect("a power of two");
    }
    event
}

/// An array of `max` elements that holds events from index 0 on.
fn array(lab: &Lab, max: u32, events: &[Event]) -> Arc<dyn Map> {
    let map = lab.map(&def(MapType::PerfEventArray, 4, 4, max));
    for (key, event) in (0u32..).zip(events) {
        let value = event.number().to_le_bytes();
        sys::update(&*map, Some(&key.to_le_bytes()), &value, 0).expect("there is room");
    }
    map
}

fn counter(cpu: u32) -> PerfEventAttr {
    PerfEventAttr { kind: PerfEventKind::Counter, ..PerfEventAttr::output(cpu) }
}

pub(crate) fn output(section: &Section) -> Vec<String> {
    let answer = |case: &Case<'_>| match case.question[0] {
        "output" => plain(case),
        "big" => big(case),
        "room" => room(case),
        "event" => special(case.question[1]),
        other => panic!("`{other}` is no line of this file"),
    };
    section.cases.iter().map(answer).collect()
}

fn bench(lab: &Lab, pages: u32) -> Vec<Event> {
    let outputs = [0, 1].map(|cpu| event(lab, PerfEventAttr::output(cpu), pages));
    outputs.into_iter().chain([event(lab, counter(0), 0)]).collect()
}

fn plain(case: &Case<'_>) -> String {
    let lab = Lab::new();
    let events = bench(&lab, 1);
    let map = array(&lab, 4, &events);
    let caller = Caller::new(&lab, case.asked("type").expect("a type"), &map, OUTPUT);
    let mut answer =
        caller.call(asked32(case, "cpu", 0), asked(case, "flags", 0), asked(case, "size", 0));
    for (cpu, event) in events.iter().enumerate().take(2) {
        let event = event.object();
        if event.head() > 0 {
            answer += &format!(" event-{cpu}={}", hex(&bytes(event, 0, event.head())));
        }
    }
    answer
}

fn bytes(event: &PerfEvent, pos: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(len).expect("short")];
    event.copy_at(pos, &mut bytes);
    bytes
}

fn big(case: &Case<'_>) -> String {
    let lab = Lab::new();
    let events = bench(&lab, 64);
    let map = array(&lab, 4, &events);
    let caller = Caller::new(&lab, case.asked("type").expect("a type"), &map, OUTPUT);
    let result = caller.call(0, 0xffff_ffff, asked(case, "size", 0));
    let event = events[0].object();
    format!("{result} head={} header={}", event.head(), hex(&bytes(event, 0, 12)))
}

fn room(case: &Case<'_>) -> String {
    let lab = Lab::new();
    let wakeup = match case.asked("watermark") {
        Some(_) => WakeUp::Watermark(asked32(case, "watermark", 0)),
        None => WakeUp::Events(asked32(case, "wakeup_events", 0)),
    };
    let attr = PerfEventAttr { wakeup, ..PerfEventAttr::output(0) };
    let events = [event(&lab, attr, asked32(case, "pages", 0))];
    let event = events[0].object();
    let map = array(&lab, 1, &events);
    let caller = Caller::new(&lab, "sched_cls", &map, OUTPUT);
    let steps = case.asked("do").expect("steps").split(',');
    steps.map(|step| perform(event, &caller, step)).collect::<Vec<_>>().join(",")
}

fn perform(event: &PerfEvent, caller: &Caller<'_>, step: &str) -> String {
    if let Some((times, size)) = step.split_once('*') {
        let size = crate::text::number(size);
        let results = (0..crate::text::number(times)).map(|_| caller.call(0, 0, size));
        return runs(&results.collect::<Vec<_>>());
    }
    if let Some(tail) = step.strip_prefix("tail=") {
        event.set_tail(crate::text::number(tail));
        return "-".to_owned();
    }
    let nothing = || "nothing".to_owned();
    match step {
        "head" => event.head().to_string(),
        "woken" => if event.reset_wakeup() { "yes" } else { "no" }.to_owned(),
        "hex" => hex(&pop(event).expect("a record")),
        "take" => pop(event).map_or_else(nothing, |record| shape(event, &record)),
        _ => {
            let records = std::iter::from_fn(|| pop(event));
            let records: Vec<String> = records.map(|record| shape(event, &record)).collect();
            if records.is_empty() { nothing() } else { runs(&records) }
        }
    }
}

/// Equal answers in a row, as NUMBER*ANSWER.
fn runs(answers: &[String]) -> String {
    let runs = answers.chunk_by(|a, b| a == b);
    runs.map(|run| format!("{}*{}", run.len(), run[0])).collect::<Vec<_>>().join("+")
}

/// Takes a record, header included.
fn pop(event: &PerfEvent) -> Option<Vec<u8>> {
    let tail = event.tail();
    if tail >= event.head() {
        return None;
    }
    let size = bytes(event, tail + 6, 2);
    let size = u64::from(u16::from_le_bytes([size[0], size[1]]));
    event.set_tail(tail + size);
    Some(bytes(event, tail, size))
}

/// A record's type and size; of lost samples, how many.
fn shape(event: &PerfEvent, record: &[u8]) -> String {
    let word = |at: usize| u64::from_le_bytes(record[at..at + 8].try_into().expect("8 bytes"));
    let (kind, misc) = (record[0], u16::from_le_bytes([record[4], record[5]]));
    match kind {
        2 => {
            assert_eq!(word(8), event.id(), "the event's own id");
            format!("lost:{}:misc={misc}:{}", record.len(), word(16))
        }
        9 => format!("sample:{}", record.len()),
        kind => format!("{kind}:{}", record.len()),
    }
}

fn special(name: &str) -> String {
    let lab = Lab::new();
    let output = PerfEventAttr::output(0);
    let (attr, pages) = match name {
        "plain" => (output, 1),
        "no-buffer" => (output, 0),
        "disabled" => (PerfEventAttr { disabled: true, ..output }, 1),
        "other-cpu" => (PerfEventAttr::output(1), 1),
        "thread" => (PerfEventAttr { cpu: None, ..output }, 1),
        "dummy" | "clock" => (counter(0), 0),
        other => panic!("`{other}` is no event"),
    };
    let events = [event(&lab, attr, pages)];
    let map = array(&lab, 1, &events);
    Caller::new(&lab, "sched_cls", &map, OUTPUT).call(0, 0, 8)
}

pub(crate) fn read(section: &Section) -> Vec<String> {
    section.cases.iter().map(read_one).collect()
}

fn read_one(case: &Case<'_>) -> String {
    let lab = Lab::new();
    let thread = PerfEventAttr { cpu: None, ..counter(0) };
    let disabled = PerfEventAttr { disabled: true, ..counter(0) };
    let attrs = [counter(0), counter(1), PerfEventAttr::output(0), disabled, thread];
    let events: Vec<Event> = attrs.iter().map(|attr| event(&lab, *attr, 0)).collect();
    // Nothing counts by itself: what programs read is what user space has set.
    for (event, _) in events.iter().zip(attrs).filter(|(_, attr)| !attr.disabled) {
        event.object().set_count(PerfCount { counter: 0, enabled: 1000, running: 1000 });
    }
    let map = array(&lab, 6, &events);
    let (cpu, flags) = (asked32(case, "cpu", 0), asked(case, "flags", 0));
    if let Some(prog_type) = case.asked("type") {
        let _taken = Caller::new(&lab, prog_type, &map, READ);
        return "taken".to_owned();
    }
    if case.question[0] == "perf_event_read" {
        return Caller::new(&lab, "raw_tracepoint", &map, READ).call(cpu, flags, 0);
    }
    let caller = Caller::new(&lab, "raw_tracepoint", &map, READ_VALUE);
    let result = caller.call(cpu, flags, asked(case, "size", 0));
    let words = (3..7).map(|index| match caller.word(index) {
        0 => "zero",
        -1 => "-",
        _ => "times",
    });
    format!("{result} buffer={}", words.collect::<Vec<_>>().join(","))
}

/// What is left of an element when a reference or the event is closed.
pub(crate) fn close(section: &Section) -> Vec<String> {
    let answer = |case: &Case<'_>| {
        let lab = Lab::new();
        let flags = asked32(case, "flags", 0);
        assert!(flags & !flags::BPF_F_PRESERVE_ELEMS == 0);
        let map = lab.map(&MapDef { flags, ..def(MapType::PerfEventArray, 4, 4, 2) });
        let event = event(&lab, PerfEventAttr::output(0), 1);
        let caller = Caller::new(&lab, "sched_cls", &map, OUTPUT);
        let a = UserRef::new(map);
        let b = a.reopen();
        b.update(Some(&[0; 4]), &event.number().to_le_bytes(), 0).expect("there is room");
        match case.asked("closed") {
            Some("A") => drop(a),
            Some("B") => drop(b),
            Some("event") => drop(event),
            _ => {}
        }
        caller.call(0, 0, 8)
    };
    section.cases.iter().map(answer).collect()
}
