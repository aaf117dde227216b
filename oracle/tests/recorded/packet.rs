//! Which packet a program sees and which comes back.

use skep_oracle::asm::*;
use skep_oracle::{Kernel, Ran, TestRun};

use crate::probe::{Probe, SOCKET_FILTER, TYPES, Type, XDP, counting};
use crate::record::{Record, check, hex, outcome};

const LOAD_BYTES: i32 = 26;

#[test]
fn packet() {
    check(
        "packet",
        "The packet of BPF_PROG_TEST_RUN: `data_in` bytes that count up from 0 go in.\n\
         `seen` is the packet's length and first two bytes as the program reads them: `len`\n\
         of the context, data_end - data, skb_load_bytes(0). `out` is the packet afterwards,\n\
         its first 18 bytes. `room` is the size of data_out. With room 0 the kernel writes\n\
         the whole packet (here to a page without access: EFAULT).",
        |kernel, record| {
            for ty in TYPES {
                lengths(kernel, record, ty);
                room(kernel, record, ty);
                longest(kernel, record, ty);
            }
        },
    );
}

fn lengths(kernel: &Kernel, record: &mut Record, ty: Type) {
    record.note(&format!("{}: lengths", ty.name));
    let probe = seen(kernel, ty);
    for len in [0, 1, 13, 14, 15, 33, 34, 35, 64, 1514] {
        let data = counting(len);
        let (ran, words) = probe.run(&TestRun::new().data_in(&data).data_out(4096));
        let question = format!("{} data_in={len}", ty.name);
        record.case(&question, &answer(&ran, &words));
    }
    let (ran, words) = probe.run(&TestRun::new().data_out(4096));
    record.case(&format!("{} data_in=NULL", ty.name), &answer(&ran, &words));
}

fn answer(ran: &Ran, words: &[i64]) -> String {
    if ran.errno.is_some() {
        return outcome(ran.errno);
    }
    let first = |word: i64| hex(&word.to_ne_bytes()[..2]);
    let mut text = "ok".to_owned();
    if words[0] >= 0 {
        text += &format!(" seen.len={}", words[0]);
    }
    if words[1] >= 0 {
        text += &format!(" seen.data_end-data={}", words[1]);
    }
    if words[2] >= 0 {
        text += &format!(" seen.data={}", first(words[2]));
    }
    if words[3] >= 0 {
        text += &format!(" seen.load_bytes={}", first(words[3]));
    }
    text += &format!(" out.size={}", ran.data_size_out);
    text + &format!(" out.data={}", hex(&ran.data_out[..ran.data_out.len().min(18)]))
}

/// Words: `len`, data_end - data, the first bytes by address, the first by helper.
fn seen(kernel: &Kernel, ty: Type) -> Probe {
    let (data, data_end) = if ty == XDP { (0, 4) } else { (76, 80) };
    let body = |asm: &mut Asm| {
        if ty != XDP {
            asm.ldx(W, R1, R6, 0).stx(DW, R7, 0, R1);
            asm.mov_reg(R1, R6).mov(R2, 0).mov_reg(R3, R7).alu64(ADD, R3, 24).mov(R4, 2);
            asm.st(DW, R7, 24, 0).call(LOAD_BYTES).jmp(JEQ, R0, 0, "loaded");
            asm.stx(DW, R7, 24, R0).label("loaded");
        }
        if ty != SOCKET_FILTER {
            asm.ldx(W, R1, R6, data).ldx(W, R2, R6, data_end);
            asm.mov_reg(R3, R2).alu64_reg(SUB, R3, R1).stx(DW, R7, 8, R3);
            asm.mov_reg(R3, R1).alu64(ADD, R3, 2).jmp_reg(JGT, R3, R2, "end");
            asm.ldx(H, R3, R1, 0).stx(DW, R7, 16, R3);
        }
    };
    Probe::new(kernel, ty, body).unwrap()
}

fn room(kernel: &Kernel, record: &mut Record, ty: Type) {
    record.note(&format!("{}: room for the packet afterwards", ty.name));
    let probe = Probe::new(kernel, ty, |_| ()).unwrap();
    let data = counting(64);
    for room in [None, Some(0), Some(1), Some(49), Some(50), Some(63), Some(64), Some(65)] {
        let run = TestRun { data_out: room, ..TestRun::new().data_in(&data) };
        let (ran, _) = probe.run(&run);
        let room = room.map_or("NULL".to_owned(), |n| n.to_string());
        let question = format!("{} data_in=64 room={room}", ty.name);
        let written = hex(&ran.data_out[..ran.data_out.len().min(18)]);
        let answer = format!(
            "{} retval={} out.size={} out.data={written}",
            outcome(ran.errno),
            ran.retval.cast_signed(),
            ran.data_size_out
        );
        record.case(&question, &answer);
    }
}

/// The longest packet that is taken; longer ones up to a large one are not.
fn longest(kernel: &Kernel, record: &mut Record, ty: Type) {
    record.note(&format!("{}: long packets", ty.name));
    let probe = seen(kernel, ty);
    let fits = |len: usize| probe.run(&TestRun::new().data_in(&counting(len))).0.errno;
    let (mut good, mut bad) = (64, 1 << 20);
    while bad - good > 1 {
        let middle = usize::midpoint(good, bad);
        if fits(middle).is_none() { good = middle } else { bad = middle }
    }
    for len in [good, good + 1, 1 << 20] {
        let data = counting(len);
        let (ran, words) = probe.run(&TestRun::new().data_in(&data).data_out(1 << 20));
        record.case(&format!("{} data_in={len}", ty.name), &answer(&ran, &words));
    }
}
