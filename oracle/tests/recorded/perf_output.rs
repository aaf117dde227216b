//! What programs write to perf events and read from them.

use skep_oracle::asm::*;
use skep_oracle::perf::{CPU_CLOCK, DUMMY, PerfEvent, PerfSpec};
use skep_oracle::{Kernel, Map, MapSpec, Prog, ProgSpec, Rejection, TestRun, map_type, prog_type};

use crate::probe::{SCHED_CLS, SOCKET_FILTER, Type, XDP, counting};
use crate::record::{Record, check, hex, returned};

const READ: i32 = 22;
const OUTPUT: i32 = 25;
const READ_VALUE: i32 = 55;

/// A tracing type that can be test-run.
const RAW_TRACEPOINT: Type =
    Type { name: "raw_tracepoint", id: prog_type::RAW_TRACEPOINT, attach: 0 };

// The places in the map through which a program gets its arguments.
const FLAGS: i16 = 0;
const SIZE: i16 = 8;
const RETURNED: i16 = 16;
const FOUND: i16 = 24;

/// The most bytes that a program can output.
const MOST: u32 = 1 << 17;

/// A program that calls `perf_event_output` or one of its kin on one map.
#[derive(Debug)]
pub(crate) struct Output {
    prog: Prog,
    desk: Map,
    ty: Type,
    _data: Map,
}

/// The value that puts an event into a map.
pub(crate) fn descriptor(event: &PerfEvent) -> [u8; 4] {
    event.fd().to_ne_bytes()
}

impl Output {
    /// A program that outputs bytes that count up from 0x80.
    pub(crate) fn new(kernel: &Kernel, ty: Type, map: &Map) -> Result<Self, Rejection> {
        Self::calling(kernel, ty, map, OUTPUT)
    }

    fn calling(kernel: &Kernel, ty: Type, map: &Map, helper: i32) -> Result<Self, Rejection> {
        let desk = kernel.create_map(&MapSpec::new(map_type::ARRAY, 4, 64, 1)).unwrap();
        let data = kernel.create_map(&MapSpec::new(map_type::ARRAY, 4, MOST, 1)).unwrap();
        let bytes: Vec<u8> = (0x80..=0xff).cycle().take(MOST as usize).collect();
        data.update(&[0; 4], &bytes, 0).unwrap();
        let mut asm = Asm::new();
        asm.mov_reg(R6, R1).map_value(R7, desk.fd(), 0);
        asm.ldx(DW, R3, R7, FLAGS).ldx(DW, R5, R7, SIZE);
        match helper {
            READ => {
                asm.map(R1, map.fd()).mov_reg(R2, R3).call(READ);
            }
            READ_VALUE => {
                asm.jmp(JGT, R5, 32, "end")
                    .jmp(JEQ, R5, 0, "end")
                    .map(R1, map.fd())
                    .mov_reg(R2, R3);
                asm.map_value(R3, desk.fd(), 24).mov_reg(R4, R5).call(READ_VALUE);
            }
            _ => {
                asm.jmp(JGT, R5, MOST.cast_signed(), "end").mov_reg(R1, R6).map(R2, map.fd());
                asm.map_value(R4, data.fd(), 0).call(OUTPUT);
            }
        }
        asm.stx(DW, R7, RETURNED, R0).label("end").mov(R0, 0).exit();
        let insns = asm.build();
        let prog = kernel.load(&ProgSpec::new(ty.id, &insns))?;
        Ok(Self { prog, desk, ty, _data: data })
    }

    /// Calls the helper on a CPU and gives what it returned.
    pub(crate) fn call(&self, kernel: &Kernel, cpu: usize, flags: u64, size: u64) -> i64 {
        let mut desk = [0; 64];
        desk[..8].copy_from_slice(&flags.to_ne_bytes());
        desk[8..16].copy_from_slice(&size.to_ne_bytes());
        desk[16..24].copy_from_slice(&0x7777_i64.to_ne_bytes());
        desk[24..].fill(0xff);
        self.desk.update(&[0; 4], &desk, 0).unwrap();
        let packet = counting(64);
        let run = match self.ty.id {
            prog_type::RAW_TRACEPOINT => TestRun::new(),
            _ => TestRun::new().data_in(&packet),
        };
        kernel.on_cpu(cpu, || self.prog.test_run(&run).ok().unwrap()).unwrap();
        i64::from_ne_bytes(self.found(RETURNED, 8).try_into().unwrap())
    }

    fn found(&self, at: i16, len: usize) -> Vec<u8> {
        let at = usize::try_from(at).unwrap();
        self.desk.lookup(&[0; 4], 0).unwrap()[at..at + len].to_vec()
    }
}

#[test]
fn perf_event_output() {
    check(
        "perf-event-output",
        "perf_event_output(ctx, map, flags, data, size) by a program of `type` on CPU `cpu`,\n\
         whose packet is 64 bytes that count up from 0, and whose data counts up from 0x80.\n\
         The map has 4 elements: 0 and 1 are events of those CPUs for such output, 2 is a\n\
         counter on CPU 0, 3 is empty. The answer is r0 and the record that was written.\n\
         `room` lines are done in order, on an event of `pages` pages on CPU 0, wake-ups by\n\
         `wakeup_events` samples or `watermark` bytes: N*SIZE outputs N times SIZE bytes and\n\
         answers with r0 of each; `take` takes a record and answers with its type, size and, of\n\
         lost samples, their number; `hex` shows it in full; `drain` takes all; `tail=N` moves\n\
         the reader to N; `head` answers with the writer's position; `woken` says whether readers were woken since.\n\
         `event` lines output to an event that is special.",
        |kernel, record| {
            flags(kernel, record);
            sizes(kernel, record);
            room(kernel, record);
            states(kernel, record);
        },
    );
}

/// A map with an event for each CPU, a counter and nothing.
struct Bench {
    map: Map,
    events: [PerfEvent; 2],
    _counter: PerfEvent,
}

impl Bench {
    fn new(kernel: &Kernel, pages: usize) -> Self {
        let map = kernel.create_map(&MapSpec::new(map_type::PERF_EVENT_ARRAY, 4, 4, 4)).unwrap();
        let open = |spec: &PerfSpec| kernel.open_event(spec).unwrap();
        let events = [0, 1].map(|cpu| open(&PerfSpec::output(cpu, pages)));
        let counter = open(&PerfSpec { config: DUMMY, ..PerfSpec::output(0, 0) });
        for (key, event) in (0_u32..).zip(events.iter().chain([&counter])) {
            map.update(&key.to_ne_bytes(), &descriptor(event), 0).unwrap();
        }
        Self { map, events, _counter: counter }
    }

    /// The records that were written, and where.
    fn records(&self) -> String {
        let mut text = String::new();
        for (cpu, event) in self.events.iter().enumerate() {
            while let Some(record) = event.pop() {
                text += &format!(" event-{cpu}={}", hex(&record));
            }
        }
        text
    }
}

const CURRENT_CPU: u64 = 0xffff_ffff;

fn flags(kernel: &Kernel, record: &mut Record) {
    for ty in [SCHED_CLS, SOCKET_FILTER, XDP, RAW_TRACEPOINT] {
        record.note(ty.name);
        let bench = Bench::new(kernel, 1);
        let output = Output::new(kernel, ty, &bench.map).unwrap();
        for cpu in [0, 1] {
            for flags in [
                0,
                1,
                2,
                3,
                4,
                CURRENT_CPU - 1,
                CURRENT_CPU,
                1 << 32,
                4 << 32 | CURRENT_CPU,
                5 << 32 | CURRENT_CPU,
                50 << 32 | CURRENT_CPU,
                51 << 32 | CURRENT_CPU,
                64 << 32 | CURRENT_CPU,
                65 << 32 | CURRENT_CPU,
                65 << 32 | 4,
                0xf_ffff << 32 | CURRENT_CPU,
                1 << 52 | CURRENT_CPU,
                1 << 52 | 4,
                1 << 63,
                u64::MAX,
            ] {
                let result = returned(output.call(kernel, cpu, flags, 5));
                let question = format!("output type={} cpu={cpu} flags={flags:#x} size=5", ty.name);
                record.case(&question, &format!("{result}{}", bench.records()));
            }
        }
    }
}

fn sizes(kernel: &Kernel, record: &mut Record) {
    record.note("sizes");
    let bench = Bench::new(kernel, 64);
    let output = Output::new(kernel, SCHED_CLS, &bench.map).unwrap();
    for size in 0..=13 {
        for appended in [0, 1, 3, 8] {
            let flags = appended << 32 | CURRENT_CPU;
            let result = returned(output.call(kernel, 0, flags, size));
            let question = format!("output type=sched_cls cpu=0 flags={flags:#x} size={size}");
            record.case(&question, &format!("{result}{}", bench.records()));
        }
    }
    // The size of a record has 16 bits.
    for size in [4000, 65_499, 65_515, 65_516, 65_523, 65_524, 65_525, 65_532, 65_536, 131_072] {
        let bench = Bench::new(kernel, 64);
        let output = Output::new(kernel, SCHED_CLS, &bench.map).unwrap();
        let result = returned(output.call(kernel, 0, CURRENT_CPU, size));
        let head = bench.events[0].head();
        let header = hex(&bench.events[0].bytes(0, 12));
        let answer = format!("{result} head={head} header={header}");
        record.case(&format!("big type=sched_cls cpu=0 size={size}"), &answer);
    }
}

/// A line of `room`: an event and what is done with it.
type Room = (usize, u32, Option<u32>, &'static str);

fn room(kernel: &Kernel, record: &mut Record) {
    record.note("room");
    let lines: &[Room] = &[
        (1, 1, None, "300*4,head,drain,1*4,drain"),
        (1, 1, None, "1*4060,head,1*4076,1*4068,1*4060,drain"),
        (1, 1, None, "1*4084,head,1*4076,head,drain"),
        (1, 1, None, "1*4080,head,take,1*4080,take,take,head"),
        (1, 1, None, "3*1004,1*996,1*1012,1*12,1*4,1*4,drain,1*4,drain"),
        (1, 1, None, "5*1004,take,1*1004,1*980,take,take,take,take,take,take"),
        (1, 1, None, "5*1004,take,1*988,1*972,drain"),
        (1, 1, None, "300*4,take,1*4,take,1*4,take,1*4,take,1*4,drain"),
        (2, 1, None, "600*4,head,take,take,take,take,4*4,drain"),
        (1, 1, None, "170*9,drain,1*5,hex,1*12,hex"),
        (1, 1, None, "200*4,tail=4095,1*4,head"),
        (1, 1, None, "1*4,tail=1000,1*4,tail=24,head,1*4,head"),
        (1, 1, None, "woken,1*4,woken,woken,2*4,woken,drain,woken"),
        (1, 3, None, "2*4,woken,1*4,woken,2*4,woken,1*4,woken"),
        (1, 0, None, "100*4,woken,29*4,woken,1*4,woken"),
        (1, 0, None, "127*4,woken,1*4,woken,1*4,woken,drain,1*4,woken,127*4,woken"),
        (1, 0, Some(100), "6*4,woken,1*4,woken,6*4,woken,1*4,woken"),
        (1, 0, Some(1), "1*4,woken,1*4,woken"),
        (1, 0, Some(1 << 20), "1*2028,woken,1*4,woken,1*4,woken"),
        (1, 1, None, "256*4,woken,300*4,woken"),
    ];
    for &(pages, wakeup_events, watermark, steps) in lines {
        let spec = PerfSpec { wakeup_events, watermark, ..PerfSpec::output(0, pages) };
        let event = kernel.open_event(&spec).unwrap();
        let map = kernel.create_map(&MapSpec::new(map_type::PERF_EVENT_ARRAY, 4, 4, 1)).unwrap();
        map.update(&[0; 4], &descriptor(&event), 0).unwrap();
        let output = Output::new(kernel, SCHED_CLS, &map).unwrap();
        let answers: Vec<String> =
            steps.split(',').map(|step| perform(kernel, &event, &output, step)).collect();
        let watermark = watermark.map_or_else(String::new, |bytes| format!(" watermark={bytes}"));
        let question =
            format!("room pages={pages} wakeup_events={wakeup_events}{watermark} do={steps}");
        record.case(&question, &answers.join(","));
    }
}

fn perform(kernel: &Kernel, event: &PerfEvent, output: &Output, step: &str) -> String {
    if let Some((times, size)) = step.split_once('*') {
        let (times, size) = (times.parse().unwrap(), size.parse().unwrap());
        let results: Vec<i64> = (0..times).map(|_| output.call(kernel, 0, 0, size)).collect();
        let runs = results.chunk_by(|a, b| a == b);
        let runs: Vec<String> =
            runs.map(|run| format!("{}*{}", run.len(), returned(run[0]))).collect();
        return runs.join("+");
    }
    if let Some(tail) = step.strip_prefix("tail=") {
        event.set_tail(tail.parse().unwrap());
        return "-".to_owned();
    }
    match step {
        "head" => event.head().to_string(),
        "woken" => if event.woken().unwrap() { "yes" } else { "no" }.to_owned(),
        "hex" => hex(&event.pop().unwrap()),
        "take" => event.pop().map_or_else(|| "nothing".to_owned(), |record| shape(event, &record)),
        _ => {
            let records = std::iter::from_fn(|| event.pop());
            let records: Vec<String> = records.map(|record| shape(event, &record)).collect();
            let runs = records.chunk_by(|a, b| a == b);
            let runs: Vec<String> = runs.map(|run| format!("{}*{}", run.len(), run[0])).collect();
            if runs.is_empty() { "nothing".to_owned() } else { runs.join("+") }
        }
    }
}

/// A record's type and size; of lost samples, how many.
fn shape(event: &PerfEvent, record: &[u8]) -> String {
    let kind = u32::from_ne_bytes(record[..4].try_into().unwrap());
    let misc = u16::from_ne_bytes(record[4..6].try_into().unwrap());
    let word = |at: usize| u64::from_ne_bytes(record[at..at + 8].try_into().unwrap());
    match kind {
        2 => {
            assert_eq!(word(8), event.id().unwrap(), "the event's own id");
            format!("lost:{}:misc={misc}:{}", record.len(), word(16))
        }
        9 => format!("sample:{}", record.len()),
        kind => format!("{kind}:{}", record.len()),
    }
}

/// Events that cannot be written to.
fn states(kernel: &Kernel, record: &mut Record) {
    record.note("events");
    let output = PerfSpec::output(0, 1);
    let specs = [
        ("plain", output.clone()),
        ("no-buffer", PerfSpec { pages: 0, ..output.clone() }),
        ("disabled", PerfSpec { disabled: true, ..output.clone() }),
        ("other-cpu", PerfSpec { cpu: Some(1), ..output.clone() }),
        ("thread", PerfSpec { cpu: None, ..output.clone() }),
        ("dummy", PerfSpec { config: DUMMY, pages: 0, ..output.clone() }),
        ("clock", PerfSpec { config: CPU_CLOCK, pages: 0, ..output }),
    ];
    for (name, spec) in specs {
        let event = kernel.open_event(&spec).unwrap();
        let map = kernel.create_map(&MapSpec::new(map_type::PERF_EVENT_ARRAY, 4, 4, 1)).unwrap();
        map.update(&[0; 4], &descriptor(&event), 0).unwrap();
        let output = Output::new(kernel, SCHED_CLS, &map).unwrap();
        record.case(&format!("event {name}"), &returned(output.call(kernel, 0, 0, 8)));
    }
}

#[test]
fn perf_event_read() {
    check(
        "perf-event-read",
        "perf_event_read(map, flags) and perf_event_read_value(map, flags, buffer, size) by a\n\
         raw tracepoint program on CPU `cpu`. The map has 6 elements: 0 and 1 are events of\n\
         those CPUs that count nothing, 2 is an event for the output of programs on CPU 0, 3 is\n\
         a disabled event on CPU 0, 4 is an event of the thread, 5 is empty. The answer is r0\n\
         and the buffer: `zero` where it is, `-` where it was not written, `times` for times\n\
         enabled and running that are not 0.",
        |kernel, record| {
            let map =
                kernel.create_map(&MapSpec::new(map_type::PERF_EVENT_ARRAY, 4, 4, 6)).unwrap();
            let count = PerfSpec { config: DUMMY, ..PerfSpec::output(0, 0) };
            let specs = [
                count.clone(),
                PerfSpec { cpu: Some(1), ..count.clone() },
                PerfSpec::output(0, 0),
                PerfSpec { disabled: true, ..count.clone() },
                PerfSpec { cpu: None, ..count },
            ];
            let events = specs.map(|spec| kernel.open_event(&spec).unwrap());
            for (key, event) in (0_u32..).zip(&events) {
                map.update(&key.to_ne_bytes(), &descriptor(event), 0).unwrap();
            }
            let read = Output::calling(kernel, RAW_TRACEPOINT, &map, READ).unwrap();
            let value = Output::calling(kernel, RAW_TRACEPOINT, &map, READ_VALUE).unwrap();
            for cpu in [0, 1] {
                for flags in
                    [0, 1, 2, 3, 4, 5, 6, CURRENT_CPU - 1, CURRENT_CPU, 1 << 32, 1 << 63, u64::MAX]
                {
                    let question = format!("perf_event_read cpu={cpu} flags={flags:#x}");
                    record.case(&question, &returned(read.call(kernel, cpu, flags, 0)));
                    read_value(kernel, record, &value, cpu, flags, 24);
                }
            }
            for size in [1, 8, 16, 23, 24, 25, 32] {
                read_value(kernel, record, &value, 0, 0, size);
                read_value(kernel, record, &value, 0, 6, size);
            }
            let packet = Output::calling(kernel, SCHED_CLS, &map, READ);
            let answer = if packet.is_err() { "refused" } else { "taken" };
            record.case("perf_event_read type=sched_cls", answer);
        },
    );
}

fn read_value(
    kernel: &Kernel,
    record: &mut Record,
    value: &Output,
    cpu: usize,
    flags: u64,
    size: u64,
) {
    let result = returned(value.call(kernel, cpu, flags, size));
    let found = value.found(FOUND, 32);
    let words: Vec<&str> = found
        .as_chunks::<8>()
        .0
        .iter()
        .map(|word| match u64::from_ne_bytes(*word) {
            0 => "zero",
            u64::MAX => "-",
            _ => "times",
        })
        .collect();
    let question = format!("perf_event_read_value cpu={cpu} flags={flags:#x} size={size}");
    record.case(&question, &format!("{result} buffer={}", words.join(",")));
}
