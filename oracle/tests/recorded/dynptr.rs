//! Dynptrs: local ones, those of ring buffers, and what may be done with them.

use skep_oracle::asm::*;
use skep_oracle::{Kernel, Map, MapSpec, Next, RingReader, TestRun, map_type};

use crate::probe::{Probe, SCHED_CLS, counting};
use crate::record::{Record, check, hex, returned};

const FROM_MEM: i32 = 197;
const RESERVE: i32 = 198;
const SUBMIT: i32 = 199;
const DISCARD: i32 = 200;
const READ: i32 = 201;
const WRITE: i32 = 202;
const DATA: i32 = 203;

/// Where in its value a program's buffer stands; words before it are answers.
pub(crate) const BUFFER: i32 = 128;

#[test]
fn dynptrs() {
    check(
        "dynptr",
        "A dynptr of `size` bytes is made with `flags`, `local` in a map's value that counts up\n\
         from 0x80, or `ringbuf` in a fresh ring of 4096 bytes; then one operation is done.\n\
         Answers: r0 of both (of dynptr_data whether it found anything and the first byte\n\
         there); for dynptr_read the 8 first bytes of a buffer that was all ones; for\n\
         dynptr_write, which copies bytes that count up from 0x20, the first 16 bytes of the\n\
         value, or of the record that was then submitted.\n\
         `reserve` lines: a record for a dynptr in a ring of `ring` bytes; the answer is r0,\n\
         where producer and record then are and how it ends.\n\
         `sequence` lines: what the verifier takes, and what it refuses.",
        |kernel, record| {
            operations(kernel, record, Kind::Local);
            operations(kernel, record, Kind::Ringbuf);
            making(kernel, record);
            reserving(kernel, record);
            sequences(kernel, record);
        },
    );
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Local,
    Ringbuf,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Ringbuf => "ringbuf",
        }
    }
}

/// What programs of a case use.
struct Bench {
    /// A value of 64 bytes that counts up from 0x80.
    data: Map,
    /// A value of 64 bytes that counts up from 0x20.
    source: Map,
    ring: Map,
}

impl Bench {
    fn new(kernel: &Kernel, ring: u32) -> Self {
        let ring = kernel.create_map(&MapSpec::new(map_type::RINGBUF, 0, 0, ring)).unwrap();
        Self { data: value(kernel, 0x80), source: value(kernel, 0x20), ring }
    }

    /// Makes a dynptr at r10-16; r0 is the outcome.
    fn make(&self, asm: &mut Asm, kind: Kind, size: u64, flags: u64) {
        match kind {
            Kind::Local => {
                asm.map_value(R1, self.data.fd(), 0).lddw(R2, size).lddw(R3, flags);
                asm.mov_reg(R4, R10).alu64(ADD, R4, -16).call(FROM_MEM);
            }
            Kind::Ringbuf => {
                asm.map(R1, self.ring.fd()).lddw(R2, size).lddw(R3, flags);
                asm.mov_reg(R4, R10).alu64(ADD, R4, -16).call(RESERVE);
            }
        }
    }
}

/// The address of the dynptr at r10-16.
fn frame(asm: &mut Asm, register: u8) -> &mut Asm {
    asm.mov_reg(register, R10).alu64(ADD, register, -16)
}

/// Does an operation on a dynptr, whose address `dynptr` puts into a register: r0 is the
/// outcome, words 2 and 3 of the value at r7 what dynptr_data found.
pub(crate) fn operate(
    asm: &mut Asm,
    source: &Map,
    operation: Operation,
    dynptr: fn(&mut Asm, u8) -> &mut Asm,
) {
    let Operation { name, offset, len, flags } = operation;
    match name {
        "read" => {
            asm.mov_reg(R1, R7).alu64(ADD, R1, BUFFER).mov(R2, len);
            dynptr(asm, R3).lddw(R4, offset).lddw(R5, flags).call(READ);
        }
        "write" => {
            dynptr(asm, R1).lddw(R2, offset).map_value(R3, source.fd(), 0).mov(R4, len);
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

/// A map of one value of 64 bytes that count up.
pub(crate) fn value(kernel: &Kernel, start: u8) -> Map {
    let map = kernel.create_map(&MapSpec::new(map_type::ARRAY, 4, 64, 1)).unwrap();
    let bytes: Vec<u8> = (start..).take(64).collect();
    map.update(&[0; 4], &bytes, 0).unwrap();
    map
}

/// Ends the dynptr at r10-16, if it is of a ring.
fn finish(asm: &mut Asm, kind: Kind) {
    if kind == Kind::Ringbuf {
        frame(asm, R1).mov(R2, 0).call(SUBMIT);
    }
}

/// dynptr_read, dynptr_write or dynptr_data.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    pub(crate) offset: u64,
    pub(crate) len: i32,
    pub(crate) flags: u64,
}

fn run(kernel: &Kernel, body: impl FnOnce(&mut Asm)) -> Option<Vec<i64>> {
    let probe = Probe::new(kernel, SCHED_CLS, body).ok()?;
    let packet = counting(64);
    Some(probe.run(&TestRun::new().data_in(&packet)).1)
}

/// Offsets and lengths in 16 bytes.
pub(crate) const PLACES: [(u64, i32); 15] = [
    (0, 0),
    (0, 4),
    (4, 4),
    (0, 16),
    (0, 17),
    (15, 1),
    (16, 0),
    (16, 1),
    (17, 0),
    (12, 5),
    (0xffff_ffff, 1),
    (0xffff_fff0, 16),
    (1 << 32, 4),
    ((1 << 32) + 4, 4),
    (u64::MAX, 0),
];

fn operations(kernel: &Kernel, record: &mut Record, kind: Kind) {
    record.note(kind.name());
    for name in ["read", "write", "data"] {
        for (offset, len) in PLACES {
            case(kernel, record, kind, 16, 0, Operation { name, offset, len, flags: 0 });
        }
        if name != "data" {
            for flags in [1, 2, 1 << 32, u64::MAX] {
                for (offset, len) in [(0, 4), (16, 1)] {
                    case(kernel, record, kind, 16, 0, Operation { name, offset, len, flags });
                }
            }
        }
        // A dynptr that could not be made is null.
        for (offset, len) in [(0, 0), (0, 4), (16, 1)] {
            case(kernel, record, kind, 16, 1, Operation { name, offset, len, flags: 0 });
        }
        case(kernel, record, kind, 0, 0, Operation { name, offset: 0, len: 0, flags: 0 });
        case(kernel, record, kind, 0, 0, Operation { name, offset: 0, len: 1, flags: 0 });
    }
}

fn case(
    kernel: &Kernel,
    record: &mut Record,
    kind: Kind,
    size: u64,
    flags: u64,
    operation: Operation,
) {
    let bench = Bench::new(kernel, 4096);
    let words = run(kernel, |asm| {
        bench.make(asm, kind, size, flags);
        asm.stx(DW, R7, 0, R0);
        operate(asm, &bench.source, operation, frame);
        asm.stx(DW, R7, 8, R0);
        finish(asm, kind);
    });
    let Operation { name, offset, len, flags: op_flags } = operation;
    let mut question =
        format!("{} size={size} flags={flags:#x} {name} offset={offset:#x} len={len}", kind.name());
    if name != "data" {
        question += &format!(" op_flags={op_flags:#x}");
    }
    let Some(words) = words else {
        record.case(&question, "refused");
        return;
    };
    let found = match name {
        "read" => hex(&words[16].to_ne_bytes()),
        "write" => written(&bench, kind),
        _ if words[2] == 0 => "NULL".to_owned(),
        _ if len == 0 => "found".to_owned(),
        _ => format!("found:{:02x}", words[3]),
    };
    let made = returned(words[0]);
    record.case(&question, &format!("made={made} {} {found}", returned(words[1])));
}

/// What a write has changed.
fn written(bench: &Bench, kind: Kind) -> String {
    if kind == Kind::Local {
        return hex(&bench.data.lookup(&[0; 4], 0).unwrap()[..16]);
    }
    match RingReader::new(&bench.ring).unwrap().pop() {
        Next::Record(data) => hex(&data[..data.len().min(16)]),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn making(kernel: &Kernel, record: &mut Record) {
    record.note("dynptr_from_mem");
    const MOST: u32 = (1 << 24) + 8;
    let big = kernel.create_map(&MapSpec::new(map_type::ARRAY, 4, MOST, 1)).unwrap();
    for size in [0, 1, 8, (1 << 24) - 1, 1 << 24, (1 << 24) + 8] {
        for flags in [0, 1, 1 << 32, u64::MAX] {
            let words = run(kernel, |asm| {
                asm.map_value(R1, big.fd(), 0).mov(R2, size).lddw(R3, flags);
                frame(asm, R4).call(FROM_MEM).stx(DW, R7, 0, R0);
            });
            let answer = words.map_or("refused".to_owned(), |words| returned(words[0]));
            record.case(&format!("from_mem size={size} flags={flags:#x}"), &answer);
        }
    }
}

fn reserving(kernel: &Kernel, record: &mut Record) {
    record.note("ringbuf_reserve_dynptr");
    let sizes = [
        0,
        1,
        8,
        4072,
        4073,
        4080,
        4081,
        4088,
        4096,
        (1 << 24) - 1,
        1 << 24,
        u64::from(u32::MAX),
        1 << 32,
        (1 << 32) + 8,
        u64::MAX,
    ];
    for size in sizes {
        for flags in [0, 1, 1 << 32] {
            reserve(kernel, record, 4096, size, flags, (SUBMIT, 0));
        }
    }
    for end in [SUBMIT, DISCARD] {
        for flags in [0, 1, 2, 4, 1 << 32, u64::MAX] {
            reserve(kernel, record, 4096, 12, 0, (end, flags));
        }
    }
    // Twice the room of the largest dynptr.
    for size in [(1 << 24) - 1, 1 << 24] {
        reserve(kernel, record, 1 << 25, size, 0, (DISCARD, 0));
    }
}

fn reserve(
    kernel: &Kernel,
    record: &mut Record,
    ring: u32,
    size: u64,
    flags: u64,
    (end, end_flags): (i32, u64),
) {
    let bench = Bench::new(kernel, ring);
    let words = run(kernel, |asm| {
        bench.make(asm, Kind::Ringbuf, size, flags);
        asm.stx(DW, R7, 0, R0);
        frame(asm, R1).lddw(R2, end_flags).call(end);
    });
    let ending = if end == SUBMIT { "submit" } else { "discard" };
    let question =
        format!("reserve ring={ring} size={size} flags={flags:#x} {ending}={end_flags:#x}");
    let Some(words) = words else {
        record.case(&question, "refused");
        return;
    };
    let mut reader = RingReader::new(&bench.ring).unwrap();
    let producer = reader.producer_pos();
    let next = match reader.pop() {
        Next::Record(data) => format!("record:{}", data.len()),
        Next::Discarded { len } => format!("discarded:{len}"),
        other => format!("{other:?}").to_lowercase(),
    };
    record.case(&question, &format!("{} producer={producer} next={next}", returned(words[0])));
}

/// What a program does with dynptrs.
type Body = fn(&Bench, &mut Asm);

/// Sequences on memory of the program.
const LOCAL: &[(&str, Body)] = &[
    ("read, then read again", |bench, asm| {
        bench.make(asm, Kind::Local, 16, 0);
        first_bytes(asm, -16);
        first_bytes(asm, -16);
    }),
    ("never made", |_, asm| first_bytes(asm, -16)),
    ("made, overwritten by a store, read", |bench, asm| {
        bench.make(asm, Kind::Local, 16, 0);
        asm.st(DW, R10, -16, 0);
        first_bytes(asm, -16);
    }),
    ("made, overwritten by a store, not used", |bench, asm| {
        bench.make(asm, Kind::Local, 16, 0);
        asm.st(DW, R10, -16, 0).st(DW, R7, 0, 0);
    }),
    ("made, overwritten by a helper, read", |bench, asm| {
        bench.make(asm, Kind::Local, 16, 0);
        asm.mov_reg(R1, R10).alu64(ADD, R1, -16).mov(R2, 16).call(16);
        first_bytes(asm, -16);
    }),
    ("made, loaded", |bench, asm| {
        bench.make(asm, Kind::Local, 16, 0);
        asm.ldx(DW, R1, R10, -16).st(DW, R7, 0, 0);
    }),
    ("made, copied, the copy read", |bench, asm| {
        bench.make(asm, Kind::Local, 16, 0);
        asm.ldx(DW, R1, R10, -16).stx(DW, R10, -32, R1);
        asm.ldx(DW, R1, R10, -8).stx(DW, R10, -24, R1);
        first_bytes(asm, -32);
    }),
    ("made twice in one place", |bench, asm| {
        bench.make(asm, Kind::Local, 16, 0);
        bench.make(asm, Kind::Local, 4, 0);
        first_bytes(asm, -16);
    }),
    ("read at eight bytes off", |bench, asm| {
        bench.make(asm, Kind::Local, 16, 0);
        first_bytes(asm, -8);
    }),
    ("made at an odd address", |bench, asm| {
        asm.map_value(R1, bench.data.fd(), 0).mov(R2, 16).mov(R3, 0);
        asm.mov_reg(R4, R10).alu64(ADD, R4, -20).call(FROM_MEM).stx(DW, R7, 0, R0);
    }),
    ("made in a map's value", |bench, asm| {
        asm.map_value(R1, bench.data.fd(), 0).mov(R2, 16).mov(R3, 0);
        asm.mov_reg(R4, R7).alu64(ADD, R4, 64).call(FROM_MEM).stx(DW, R7, 0, R0);
    }),
    ("made of the stack", |_, asm| {
        asm.st(DW, R10, -40, 0).mov_reg(R1, R10).alu64(ADD, R1, -40).mov(R2, 8).mov(R3, 0);
        frame(asm, R4).call(FROM_MEM).stx(DW, R7, 0, R0);
    }),
    ("a local one is submitted", |bench, asm| {
        bench.make(asm, Kind::Local, 16, 0);
        frame(asm, R1).mov(R2, 0).call(SUBMIT).st(DW, R7, 0, 0);
    }),
    ("made in a caller, read in a function", |bench, asm| {
        bench.make(asm, Kind::Local, 16, 0);
        frame(asm, R1).mov_reg(R2, R7).call_sub("reads").mov(R0, 0).exit();
        asm.label("reads").mov_reg(R6, R2).mov_reg(R3, R1).mov_reg(R1, R2);
        asm.alu64(ADD, R1, BUFFER).mov(R2, 8).mov(R4, 0).mov(R5, 0).call(READ);
        asm.stx(DW, R6, 0, R0);
    }),
    ("made in a function that has returned", |bench, asm| {
        asm.call_sub("makes").mov_reg(R3, R0).mov_reg(R1, R7).alu64(ADD, R1, BUFFER);
        asm.mov(R2, 8).mov(R4, 0).mov(R5, 0).call(READ).stx(DW, R7, 0, R0);
        asm.mov(R0, 0).exit();
        asm.label("makes").map_value(R1, bench.data.fd(), 0).mov(R2, 16).mov(R3, 0);
        frame(asm, R4).call(FROM_MEM).jmp(JNE, R0, 0, "end");
        frame(asm, R0).exit();
    }),
];

/// Sequences on records of a ring.
const RING: &[(&str, Body)] = &[
    ("reserved and submitted", |bench, asm| {
        bench.make(asm, Kind::Ringbuf, 16, 0);
        frame(asm, R1).mov(R2, 0).call(SUBMIT).st(DW, R7, 0, 0);
    }),
    ("reserved and kept", |bench, asm| {
        bench.make(asm, Kind::Ringbuf, 16, 0);
        asm.st(DW, R7, 0, 0);
    }),
    ("not reserved and kept", |bench, asm| {
        bench.make(asm, Kind::Ringbuf, 16, 1);
        asm.st(DW, R7, 0, 0);
    }),
    ("reserved and submitted twice", |bench, asm| {
        bench.make(asm, Kind::Ringbuf, 16, 0);
        frame(asm, R1).mov(R2, 0).call(SUBMIT);
        frame(asm, R1).mov(R2, 0).call(SUBMIT).st(DW, R7, 0, 0);
    }),
    ("reserved, submitted, read", |bench, asm| {
        bench.make(asm, Kind::Ringbuf, 16, 0);
        frame(asm, R1).mov(R2, 0).call(SUBMIT);
        first_bytes(asm, -16);
    }),
    ("reserved, submitted, its data written", |bench, asm| {
        bench.make(asm, Kind::Ringbuf, 16, 0);
        frame(asm, R1).mov(R2, 0).mov(R3, 8).call(DATA).mov_reg(R8, R0);
        frame(asm, R1).mov(R2, 0).call(SUBMIT);
        asm.jmp(JEQ, R8, 0, "end").st(DW, R8, 0, 1).st(DW, R7, 0, 0);
    }),
    ("reserved, its data written, submitted", |bench, asm| {
        bench.make(asm, Kind::Ringbuf, 16, 0);
        frame(asm, R1).mov(R2, 0).mov(R3, 8).call(DATA);
        asm.jmp(JEQ, R0, 0, "null").st(DW, R0, 0, 1).label("null");
        frame(asm, R1).mov(R2, 0).call(SUBMIT).st(DW, R7, 0, 0);
    }),
    ("reserved, overwritten by a store", |bench, asm| {
        bench.make(asm, Kind::Ringbuf, 16, 0);
        asm.st(DW, R10, -16, 0);
        frame(asm, R1).mov(R2, 0).call(SUBMIT).st(DW, R7, 0, 0);
    }),
    ("reserved twice in one place", |bench, asm| {
        bench.make(asm, Kind::Ringbuf, 16, 0);
        bench.make(asm, Kind::Ringbuf, 16, 0);
        frame(asm, R1).mov(R2, 0).call(SUBMIT).st(DW, R7, 0, 0);
    }),
    ("reserved, its place used after it was submitted", |bench, asm| {
        bench.make(asm, Kind::Ringbuf, 16, 0);
        frame(asm, R1).mov(R2, 0).call(SUBMIT);
        asm.st(DW, R10, -16, 5).ldx(DW, R1, R10, -16).stx(DW, R7, 0, R1);
    }),
];

fn sequences(kernel: &Kernel, record: &mut Record) {
    record.note("sequences");
    for (name, body) in LOCAL.iter().chain(RING) {
        let bench = Bench::new(kernel, 4096);
        let answer = match run(kernel, |asm| body(&bench, asm)) {
            Some(words) => returned(words[0]),
            None => "refused".to_owned(),
        };
        record.case(&format!("sequence {name}"), &answer);
    }
}

/// Reads 8 bytes of the dynptr at an offset of r10; word 0 is the outcome.
fn first_bytes(asm: &mut Asm, at: i32) {
    asm.mov_reg(R1, R7).alu64(ADD, R1, BUFFER).mov(R2, 8).mov_reg(R3, R10).alu64(ADD, R3, at);
    asm.mov(R4, 0).mov(R5, 0).call(READ).stx(DW, R7, 0, R0);
}
