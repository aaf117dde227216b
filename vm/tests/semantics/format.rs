//! `snprintf`, `trace_vprintk` and `trace_printk`.

use std::sync::Arc;

use skep_maps::Map;
use skep_maps::flags::BPF_F_RDONLY_PROG;
use skep_oracle::asm::{ADD, Asm, B, DW, R0, R1, R2, R3, R4, R5, R7, R8, R10};
use skep_oracle::recorded::{Case, unquote};

use crate::lab::Lab;
use crate::probe::Probe;
use crate::section::Section;
use crate::text::{asked, asked32, returned};

/// An argument: a number, or text whose address is passed.
#[derive(Debug)]
enum Arg {
    Number(i64),
    Text(Vec<u8>),
}

pub(crate) fn snprintf(section: &Section) -> Vec<String> {
    let lab = Lab::new();
    section.cases.iter().map(|case| print(&lab, case)).collect()
}

fn args(case: &Case<'_>) -> Vec<Arg> {
    let arg = |word: &str| match unquote(word) {
        Some(text) => Arg::Text(text),
        None => Arg::Number(word.parse().expect("a number")),
    };
    let args = case.asked("args").filter(|args| *args != "-");
    args.into_iter().flat_map(|args| args.split(',')).map(arg).collect()
}

/// The format's index in a program; the texts of the arguments follow.
const FORMAT: i32 = 1;

/// Maps of the format and of each argument's text.
fn texts(lab: &Lab, format: &[u8], args: &[Arg]) -> Vec<Arc<dyn Map>> {
    let text = |bytes: &[u8]| lab.value(&[bytes, b"\0"].concat(), BPF_F_RDONLY_PROG);
    let args = args.iter().map(|arg| match arg {
        Arg::Text(bytes) => text(bytes),
        Arg::Number(_) => text(b""),
    });
    [text(format)].into_iter().chain(args).collect()
}

/// Writes the arguments to the stack and their address, or 0, to a register.
fn store(asm: &mut Asm, args: &[Arg], register: u8) {
    asm.mov_reg(R8, R10).alu64(ADD, R8, -128);
    for ((at, index), arg) in (0_i16..).zip(FORMAT + 1..).zip(args) {
        match arg {
            Arg::Number(number) => asm.lddw(R1, number.cast_unsigned()),
            Arg::Text(_) => asm.map_value(R1, index, 0),
        };
        asm.stx(DW, R8, at * 8, R1);
    }
    if args.is_empty() {
        asm.mov(register, 0)
    } else {
        asm.mov_reg(register, R8)
    };
}

fn print(lab: &Lab, case: &Case<'_>) -> String {
    let format = case.asked("format").and_then(unquote).expect("a format");
    let args = args(case);
    let maps = texts(lab, &format, &args);
    let size = i32::try_from(asked32(case, "size", 64)).expect("small");
    let len = i32::try_from(asked(case, "args_len", 8 * args.len() as u64)).expect("short");
    let body = |asm: &mut Asm| {
        store(asm, &args, R4);
        asm.mov_reg(R1, R7).alu64(ADD, R1, 8).mov(R2, size).map_value(R3, FORMAT, 0);
        asm.mov(R5, len).call(165).stx(DW, R7, 0, R0);
    };
    let probe = Probe::new(lab, "sched_cls", &maps, body);
    let printed = match probe.and_then(|probe| probe.run_on(&[0, 0x5a5a_5a5a_5a5a_5a5a])) {
        Ok(words) => {
            let bytes: Vec<u8> = words[1..].iter().flat_map(|word| word.to_le_bytes()).collect();
            let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
            // The recording leaves addresses out, and texts that were not written.
            if case.answered("text").is_none() && (text.starts_with(b"ZZZZ") || address(case)) {
                returned(words[0])
            } else {
                format!("{} text=\"{}\"", returned(words[0]), text.escape_ascii())
            }
        }
        Err(ended) => ended,
    };
    let format_size = i32::try_from(format.len() + 1).expect("short");
    let body = |asm: &mut Asm| {
        store(asm, &args, R3);
        asm.map_value(R1, FORMAT, 0).mov(R2, format_size);
        asm.mov(R4, len).call(177).stx(DW, R7, 0, R0);
    };
    let probe = Probe::new(lab, "sched_cls", &maps, body);
    let traced = match probe.and_then(|probe| probe.run_on(&[])) {
        Ok(words) => returned(words[0]),
        Err(ended) => ended,
    };
    format!("{printed} vprintk={traced}")
}

/// Whether an address may be printed.
fn address(case: &Case<'_>) -> bool {
    args(case).iter().any(|arg| matches!(arg, Arg::Text(_) | Arg::Number(4096)))
}

pub(crate) fn trace_printk(section: &Section) -> Vec<String> {
    let lab = Lab::new();
    section.cases.iter().map(|case| trace(&lab, case)).collect()
}

fn trace(lab: &Lab, case: &Case<'_>) -> String {
    let format = case.asked("format").and_then(unquote).expect("a format");
    let size = i32::try_from(asked32(case, "size", 0)).expect("small");
    let body = |asm: &mut Asm| {
        for (at, &byte) in (-64..).zip(&format) {
            asm.st(B, R10, at, i32::from(byte));
        }
        asm.mov_reg(R1, R10).alu64(ADD, R1, -64).mov(R2, size);
        asm.mov(R3, 1).mov(R4, 2).mov(R5, 3).call(6).stx(DW, R7, 0, R0);
    };
    let probe = Probe::new(lab, "sched_cls", &[], body);
    match probe.and_then(|probe| probe.run_on(&[])) {
        Ok(words) => returned(words[0]),
        Err(ended) => ended,
    }
}
