//! RINGBUF: its system calls, and how far a program may fill it.

use skep_oracle::asm::*;
use skep_oracle::{
    Kernel, Map, MapSpec, Next, Prog, ProgSpec, RingReader, TestRun, map_type, prog_type,
};

use crate::create::{Attributes, creation};
use crate::ops::{ABOUT, FLAGS, State, operations};
use crate::probe::{Probe, SCHED_CLS, counting};
use crate::record::{Record, check, hex, returned};

const OUTPUT: i32 = 130;
const RESERVE: i32 = 131;
const SUBMIT: i32 = 132;
const DISCARD: i32 = 133;
const QUERY: i32 = 134;

#[test]
fn ringbuf() {
    check("ringbuf", ABOUT, |kernel, record| {
        let plain = Attributes::new("ringbuf", map_type::RINGBUF, 0, 0, 4096);
        creation(kernel, record, &plain);
        let make = || ring(kernel, 4096);
        record.note("ringbuf");
        record.case("state ringbuf max_entries=4096 flags=0x0 put=-", "ok");
        operations(
            kernel,
            record,
            &State {
                name: "ringbuf",
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
fn ringbuf_program() {
    check(
        "ringbuf-program",
        "A program's calls on a ring of `size` bytes, in this order: on a fresh ring `fill`\n\
         records are reserved and submitted, of the given payload sizes; `consumed` of them\n\
         are consumed; then the call in question is made. Answers: NULL or ok for reserve, r0\n\
         for output and query; then the producer's position.\n\
         Flags: reserve's and output's are the call's. query: 0 available data, 1 ring size,\n\
         2 consumer's position, 3 producer's position.",
        |kernel, record| {
            sizes(kernel, record);
            queries(kernel, record);
            headers(kernel, record);
        },
    );
}

fn ring(kernel: &Kernel, size: u32) -> Map {
    kernel.create_map(&MapSpec::new(map_type::RINGBUF, 0, 0, size)).unwrap()
}

/// Reserves `size` bytes, writes `byte` to the first and ends with `end`; word 0 of the
/// answer is 1 if there was a reservation.
fn reserve(asm: &mut Asm, ring: &Map, size: u64, flags: u64, end: (i32, i32)) {
    asm.map(R1, ring.fd()).lddw(R2, size).lddw(R3, flags).call(RESERVE);
    asm.st(DW, R7, 0, 0).jmp(JEQ, R0, 0, "end").st(DW, R7, 0, 1);
    asm.mov_reg(R1, R0).mov(R2, end.1).call(end.0);
}

fn output(kernel: &Kernel, ring: &Map, size: i32, flags: u64) -> Option<Prog> {
    let value = u32::try_from(size).unwrap().max(8);
    let data = kernel.create_map(&MapSpec::new(map_type::ARRAY, 4, value, 1)).unwrap();
    let insns = Asm::new()
        .map(R1, ring.fd())
        .map_value(R2, data.fd(), 0)
        .mov(R3, size)
        .lddw(R4, flags)
        .call(OUTPUT)
        .exit()
        .build();
    kernel.load(&ProgSpec::new(prog_type::SCHED_CLS, &insns)).ok()
}

fn fill(kernel: &Kernel, ring: &Map, sizes: &[u64]) {
    for &size in sizes {
        let body = |asm: &mut Asm| reserve(asm, ring, size, 0, (SUBMIT, 0));
        let probe = Probe::new(kernel, SCHED_CLS, body).unwrap();
        let (_, words) = probe.run(&TestRun::new().data_in(&counting(64)));
        assert_eq!(words[0], 1, "the ring can be filled with {sizes:?}");
    }
}

fn filled(kernel: &Kernel, size: u32, sizes: &[u64], consumed: usize) -> (Map, RingReader) {
    let ring = ring(kernel, size);
    let mut reader = RingReader::new(&ring).unwrap();
    fill(kernel, &ring, sizes);
    for _ in 0..consumed {
        assert!(matches!(reader.pop(), Next::Record(_)));
    }
    (ring, reader)
}

fn list(sizes: &[u64]) -> String {
    let sizes: Vec<String> = sizes.iter().map(u64::to_string).collect();
    if sizes.is_empty() { "-".to_owned() } else { sizes.join(",") }
}

fn sizes(kernel: &Kernel, record: &mut Record) {
    record.note("reserve and output: how much fits");
    let mut cases: Vec<(u32, Vec<u64>, usize, u64)> = Vec::new();
    for size in [0, 1, 7, 8, 9, 4072, 4073, 4079, 4080, 4081, 4087, 4088, 4089, 4096, 1 << 30] {
        cases.push((4096, vec![], 0, size));
    }
    for size in [(1 << 30) - 1, (1 << 30) - 8, u64::from(u32::MAX / 4), 1 << 31, 1 << 32, u64::MAX]
    {
        cases.push((4096, vec![], 0, size));
    }
    for size in [8168, 8176, 8177, 8184, 8192] {
        cases.push((8192, vec![], 0, size));
    }
    for last in [4064, 4056, 4048, 4040, 0, 1, 8, 9, 16, 17] {
        cases.push((4096, vec![8], 0, last));
        cases.push((4096, vec![8, 4040], 0, last));
        cases.push((4096, vec![8, 4040], 1, last));
        cases.push((4096, vec![8, 4040], 2, last));
    }
    for (size, sizes, consumed, last) in cases {
        let (ring, reader) = filled(kernel, size, &sizes, consumed);
        let body = |asm: &mut Asm| reserve(asm, &ring, last, 0, (SUBMIT, 0));
        let question = format!("size={size} fill={} consumed={consumed}", list(&sizes));
        let answer = match Probe::new(kernel, SCHED_CLS, body) {
            Err(_) => "refused".to_owned(),
            Ok(probe) => {
                let (_, words) = probe.run(&TestRun::new().data_in(&counting(64)));
                let answer = if words[0] == 1 { "ok" } else { "NULL" };
                format!("{answer} producer={}", reader.producer_pos())
            }
        };
        record.case(&format!("{question} reserve={last}"), &answer);

        let Ok(last) = i32::try_from(last) else {
            continue;
        };
        if last > 1 << 20 {
            continue;
        }
        let (ring, reader) = filled(kernel, size, &sizes, consumed);
        let answer = output(kernel, &ring, last, 0).map_or("refused".to_owned(), |prog| {
            let ran = prog.test_run(&TestRun::new().data_in(&counting(64))).ok().unwrap();
            let value = i64::from(ran.retval.cast_signed());
            format!("{} producer={}", returned(value), reader.producer_pos())
        });
        record.case(&format!("{question} output={last}"), &answer);
    }

    flags(kernel, record);
    pairs(kernel, record);
}

fn flags(kernel: &Kernel, record: &mut Record) {
    record.note("flags");
    for flags in [0, 1, 2, 3, 4, 8, 1 << 31, 1 << 32, u64::MAX] {
        let (ring, reader) = filled(kernel, 4096, &[], 0);
        let body = |asm: &mut Asm| reserve(asm, &ring, 8, flags, (SUBMIT, 0));
        let probe = Probe::new(kernel, SCHED_CLS, body).unwrap();
        let (_, words) = probe.run(&TestRun::new().data_in(&counting(64)));
        let answer = if words[0] == 1 { "ok" } else { "NULL" };
        let position = reader.producer_pos();
        record
            .case(&format!("reserve=8 flags={flags:#x}"), &format!("{answer} producer={position}"));

        let (ring, reader) = filled(kernel, 4096, &[], 0);
        let prog = output(kernel, &ring, 8, flags).unwrap();
        let ran = prog.test_run(&TestRun::new().data_in(&counting(64))).ok().unwrap();
        let value = returned(i64::from(ran.retval.cast_signed()));
        let position = reader.producer_pos();
        record.case(&format!("output=8 flags={flags:#x}"), &format!("{value} producer={position}"));
    }
}

fn pairs(kernel: &Kernel, record: &mut Record) {
    record.note("two reservations at once; the later one is submitted, then the other discarded");
    for (first, second) in [(2000, 2000), (2000, 2064), (2000, 2072), (2040, 2040)] {
        let ring = ring(kernel, 4096);
        let body = |asm: &mut Asm| {
            asm.st(DW, R7, 0, 0).map(R1, ring.fd()).mov(R2, first).mov(R3, 0).call(RESERVE);
            asm.jmp(JEQ, R0, 0, "end").mov_reg(R8, R0).st(DW, R7, 0, 1);
            asm.map(R1, ring.fd()).mov(R2, second).mov(R3, 0).call(RESERVE);
            asm.jmp(JEQ, R0, 0, "first").st(DW, R7, 0, 2);
            asm.mov_reg(R1, R0).mov(R2, 0).call(SUBMIT);
            asm.label("first").map(R1, ring.fd()).mov(R2, 0).call(QUERY).stx(DW, R7, 8, R0);
            asm.mov_reg(R1, R8).mov(R2, 0).call(DISCARD);
        };
        let probe = Probe::new(kernel, SCHED_CLS, body).unwrap();
        let (_, words) = probe.run(&TestRun::new().data_in(&counting(64)));
        let mut reader = RingReader::new(&ring).unwrap();
        let found = [reader.pop(), reader.pop(), reader.pop()].map(|next| match next {
            Next::Record(data) => format!("record:{}", data.len()),
            Next::Discarded { len } => format!("discarded:{len}"),
            other => format!("{other:?}").to_lowercase(),
        });
        record.case(
            &format!("size=4096 reserve={first} reserve={second} submit discard"),
            &format!("reserved={} available={} read={}", words[0], words[1], found.join(",")),
        );
    }
}

fn queries(kernel: &Kernel, record: &mut Record) {
    record.note("query");
    for (sizes, consumed) in [(&[][..], 0), (&[8, 9], 0), (&[8, 9], 1), (&[8, 9], 2)] {
        for what in [0, 1, 2, 3, 4, 1 << 32, u64::MAX] {
            let (ring, _reader) = filled(kernel, 4096, sizes, consumed);
            let body = |asm: &mut Asm| {
                asm.map(R1, ring.fd()).lddw(R2, what).call(QUERY).stx(DW, R7, 0, R0);
            };
            let probe = Probe::new(kernel, SCHED_CLS, body).unwrap();
            let (_, words) = probe.run(&TestRun::new().data_in(&counting(64)));
            let question = format!("size=4096 fill={} consumed={consumed}", list(sizes));
            record.case(&format!("{question} query={what:#x}"), &words[0].to_string());
        }
    }
}

/// The 8 bytes before a record, for each way to end it, with every flag.
fn headers(kernel: &Kernel, record: &mut Record) {
    record.note("headers: length with its flags, page offset");
    for (name, helper) in [("submit", SUBMIT), ("discard", DISCARD)] {
        for flags in [0, 1, 2, 3, 4, i32::MAX] {
            let ring = ring(kernel, 4096);
            let body = |asm: &mut Asm| reserve(asm, &ring, 12, 0, (helper, flags));
            let probe = Probe::new(kernel, SCHED_CLS, body).unwrap();
            probe.run(&TestRun::new().data_in(&counting(64)));
            let reader = RingReader::new(&ring).unwrap();
            let (len, page) = reader.header();
            record.case(
                &format!("reserve=12 {name} flags={flags:#x}"),
                &format!("len={len:#x} pg_off={page} producer={}", reader.producer_pos()),
            );
        }
    }
    let (_ring, mut reader) = filled(kernel, 4096, &[4080], 1);
    record
        .case("size=4096 fill=4080 consumed=1 read", &format!("{:?}", reader.pop()).to_lowercase());
}
