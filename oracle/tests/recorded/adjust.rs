//! Helpers that move the ends of a packet, and those that copy from it.

use skep_oracle::asm::*;
use skep_oracle::{Kernel, TestRun};

use crate::probe::{Probe, SKB_TYPES, Type, XDP, counting};
use crate::record::{Record, check, returned};

const SKB_LOAD_BYTES: i32 = 26;
const XDP_ADJUST_HEAD: i32 = 44;
const XDP_ADJUST_META: i32 = 54;
const XDP_ADJUST_TAIL: i32 = 65;
const SKB_LOAD_BYTES_RELATIVE: i32 = 68;

#[test]
fn xdp_adjust() {
    check(
        "xdp-adjust",
        "xdp_adjust_head, _tail and _meta on a packet of `data_in` bytes that count up from 0,\n\
         one call after another (NAME:DELTA). The answer is what the last call returned, then\n\
         the packet's length, the metadata's length, and the first and last byte. The limits\n\
         were found by halving; the lines on both sides of each are here.",
        |kernel, record| {
            record.note("head");
            limits(kernel, record, "head", &[], 64);
            limits(kernel, record, "head", &[("meta", -8)], 64);
            limits(kernel, record, "head", &[("head", -20)], 64);
            record.note("tail");
            limits(kernel, record, "tail", &[], 64);
            limits(kernel, record, "tail", &[], 1514);
            limits(kernel, record, "tail", &[("head", 20)], 64);
            limits(kernel, record, "tail", &[("tail", -30)], 64);
            record.note("meta");
            limits(kernel, record, "meta", &[], 64);
            for delta in [-1, -2, -3, -4, -5, -6, -8, -32, -36, -248, -252, -256, 1, 4] {
                adjust(kernel, record, &[("meta", delta)], 64);
            }
            for delta in [-4, -1, 0, 1, 4, 8, 12] {
                adjust(kernel, record, &[("meta", -8), ("meta", delta)], 64);
            }
            adjust(kernel, record, &[("meta", -8), ("head", 4)], 64);
            adjust(kernel, record, &[("meta", -8), ("head", -4)], 64);
            adjust(kernel, record, &[("meta", -216), ("head", -4)], 64);
            adjust(kernel, record, &[("head", 20), ("meta", -216)], 64);
            adjust(kernel, record, &[("head", 20), ("meta", -236)], 64);
            adjust(kernel, record, &[("head", 40), ("meta", -252)], 64);
            adjust(kernel, record, &[("head", 50), ("meta", -256)], 64);
            record.note("the smallest packet");
            for delta in [-1, 0, 1] {
                adjust(kernel, record, &[("head", delta)], 14);
                adjust(kernel, record, &[("tail", delta)], 14);
            }
        },
    );
}

#[test]
fn skb_load_bytes() {
    check(
        "skb-load-bytes",
        "skb_load_bytes(offset, len) on a test run's packet of 64 bytes that count up from 0;\n\
         the buffer holds ff before. skb_load_bytes_relative has a start: 0 the link header,\n\
         1 the network header. The answer is what the call returned and the first byte.",
        |kernel, record| {
            for ty in SKB_TYPES.into_iter().filter(|ty| ty.attach == 0) {
                record.note(ty.name);
                for (offset, len) in pairs() {
                    load(kernel, record, ty, offset, len, None);
                }
                for start in 0..3 {
                    for (offset, len) in [(1, 1), (0, 50), (0, 51), (0, 64), (50, 1), (-1, 1)] {
                        load(kernel, record, ty, offset, len, Some(start));
                    }
                }
            }
        },
    );
}

fn pairs() -> Vec<(i32, i32)> {
    let mut pairs = vec![(0, 0), (i32::MAX, 1), (i32::MIN, 1), (-1, 1), (-14, 1), (-14, 14)];
    for offset in [0, 1, 49, 50, 51, 63, 64, 65, 0xffff, 0x10000] {
        for len in [1, 2, 49, 50, 51, 63, 64, 65] {
            pairs.push((offset, len));
        }
    }
    pairs
}

fn load(kernel: &Kernel, record: &mut Record, ty: Type, offset: i32, len: i32, start: Option<i32>) {
    let body = |asm: &mut Asm| {
        asm.mov_reg(R1, R6).mov(R2, offset).mov_reg(R3, R7).alu64(ADD, R3, 8).mov(R4, len);
        match start {
            None => asm.call(SKB_LOAD_BYTES),
            Some(start) => asm.mov(R5, start).call(SKB_LOAD_BYTES_RELATIVE),
        };
        asm.stx(DW, R7, 0, R0);
    };
    let name = if start.is_some() { "skb_load_bytes_relative" } else { "skb_load_bytes" };
    let start = start.map_or(String::new(), |start| format!(" start={start}"));
    let question = format!("{} {name} offset={offset} len={len}{start}", ty.name);
    let Ok(probe) = Probe::new(kernel, ty, body) else {
        return record.case(&question, "refused");
    };
    let (_, words) = probe.run(&TestRun::new().data_in(&counting(64)));
    let byte = words[1].to_le_bytes()[0];
    record.case(&question, &format!("{} byte={byte:02x}", returned(words[0])));
}

/// What a sequence of adjustments answers.
#[derive(Debug)]
struct Adjusted {
    returned: i64,
    text: String,
}

fn limits(
    kernel: &Kernel,
    record: &mut Record,
    last: &'static str,
    first: &[(&'static str, i32)],
    data_in: usize,
) {
    let with = |delta| [first, &[(last, delta)]].concat();
    let works = |delta| run(kernel, &with(delta), data_in).returned == 0;
    if !works(0) {
        return adjust(kernel, record, &with(0), data_in);
    }
    for sign in [-1, 1] {
        let (mut good, mut bad) = (0, 8192);
        while bad - good > 1 {
            let middle = i32::midpoint(good, bad);
            if works(4 * sign * middle) { good = middle } else { bad = middle }
        }
        let edge = 4 * sign * good;
        for delta in edge.min(edge + 4 * sign)..=edge.max(edge + 4 * sign) {
            adjust(kernel, record, &with(delta), data_in);
        }
    }
    for delta in [i32::MIN, i32::MAX] {
        adjust(kernel, record, &with(delta), data_in);
    }
}

fn adjust(kernel: &Kernel, record: &mut Record, calls: &[(&str, i32)], data_in: usize) {
    let steps: Vec<String> = calls.iter().map(|(name, delta)| format!("{name}:{delta}")).collect();
    let question = format!("xdp data_in={data_in} {}", steps.join(" "));
    record.case(&question, &run(kernel, calls, data_in).text);
}

fn run(kernel: &Kernel, calls: &[(&str, i32)], data_in: usize) -> Adjusted {
    let body = |asm: &mut Asm| {
        for &(name, delta) in calls {
            let helper = match name {
                "head" => XDP_ADJUST_HEAD,
                "tail" => XDP_ADJUST_TAIL,
                _ => XDP_ADJUST_META,
            };
            asm.mov_reg(R1, R6).mov(R2, delta).call(helper).stx(DW, R7, 0, R0);
        }
        asm.ldx(W, R1, R6, 0).ldx(W, R2, R6, 4).ldx(W, R3, R6, 8);
        asm.mov_reg(R4, R2).alu64_reg(SUB, R4, R1).stx(DW, R7, 8, R4);
        asm.mov_reg(R4, R1).alu64_reg(SUB, R4, R3).stx(DW, R7, 16, R4);
    };
    let probe = Probe::new(kernel, XDP, body).unwrap();
    let data = counting(data_in);
    let (ran, words) = probe.run(&TestRun::new().data_in(&data).data_out(8192));
    let [first, last] = [ran.data_out.first(), ran.data_out.last()].map(|b| *b.unwrap_or(&0));
    let text = format!(
        "{} len={} meta={} first={first:02x} last={last:02x}",
        returned(words[0]),
        words[1],
        words[2]
    );
    Adjusted { returned: words[0], text }
}
