//! snprintf and trace_vprintk.

use skep_oracle::Kernel;
use skep_oracle::asm::*;

use crate::probe::{Probe, SCHED_CLS, reason, rodata};
use crate::record::{Record, check, returned};

const SNPRINTF: i32 = 165;
const TRACE_VPRINTK: i32 = 177;

#[test]
fn snprintf() {
    check(
        "snprintf",
        "snprintf(str, size, format, args): the answer is what it returned and the text, up to\n\
         the first NUL; `refused` is the verifier and its reason. size is 64 unless given. An\n\
         argument `\"...\"` is the address of that text. The same format, given to\n\
         trace_vprintk, answers `vprintk`: what that returned. Where an address is\n\
         printed or nothing was written, the text is left out.",
        |kernel, record| {
            for (format, args) in cases() {
                case(kernel, record, format, &args, 64);
            }
            record.note("not as many arguments as conversions");
            for (format, args) in [
                ("%d", vec![]),
                ("plain", vec![Arg::Number(1)]),
                ("%d", vec![Arg::Number(1), Arg::Number(2)]),
                ("%d %d", vec![Arg::Number(1)]),
                ("%d %d %d %d %d %d %d %d %d %d %d %d", numbers(12)),
                ("%d %d %d %d %d %d %d %d %d %d %d %d %d", numbers(13)),
            ] {
                case(kernel, record, format, &args, 64);
            }
            record.note("too little room");
            for size in [0, 1, 2, 5, 6, 7] {
                case(kernel, record, "%d", &[Arg::Number(123_456)], size);
                case(kernel, record, "abcdef", &[], size);
                case(kernel, record, "%s!", &[Arg::Text("abcde")], size);
            }
            record.note("the length of the arguments, where it is not 8 for each");
            for len in [1, 4, 7, 9, 12, 16] {
                lengths(kernel, record, len);
            }
        },
    );
}

/// An argument.
#[derive(Debug, Clone, PartialEq)]
enum Arg {
    Number(i64),
    Text(&'static str),
}

fn numbers(n: i64) -> Vec<Arg> {
    (1..=n).map(Arg::Number).collect()
}

/// Plain conversions of integers.
const INTEGERS: [&str; 16] = [
    "%d", "%i", "%u", "%x", "%X", "%o", "%ld", "%li", "%lu", "%lx", "%lX", "%lld", "%lli", "%llu",
    "%llx", "%llX",
];

/// Conversions with flags, widths and lengths, and what looks like one.
const MARKED: [&str; 73] = [
    "%5d",
    "%05d",
    "%-5d|",
    "%+d",
    "% d",
    "%#x",
    "%#d",
    "%+5d",
    "%-05d|",
    "%0d",
    "%00005d",
    "%40d",
    "%100d",
    "%5ld",
    "%05llx",
    "%#lx",
    "%-+d",
    "%+-d",
    "%1234567890d",
    "%d%d",
    "%d%",
    "%5%",
    "%l%",
    "%-",
    "%5",
    "%l",
    "%ll",
    "%",
    "%#",
    "%+",
    "% ",
    "%0",
    "%hd",
    "%hhd",
    "%hu",
    "%zd",
    "%zu",
    "%td",
    "%jd",
    "%qd",
    "%Ld",
    "%llld",
    "%lllu",
    "%.3d",
    "%.d",
    "%*d",
    "%1$d",
    "%e",
    "%f",
    "%g",
    "%a",
    "%n",
    "%m",
    "%k",
    "%y",
    "%D",
    "%S",
    "%C",
    "%b",
    "%B",
    "%c",
    "%5c",
    "%-5c|",
    "%05c",
    "%lc",
    "%.1c",
    "%#c",
    "%'d",
    "%Id",
    "a\tb\nc %d",
    "\u{1} %d",
    "\u{7f}%d",
    "\u{e9}%d",
];

/// Conversions of text.
const STRINGS: [&str; 11] =
    ["%s", "%10s|", "%-10s|", "%.3s|", "%3s|", "%05s|", "%+s", "%#s", "%ls", "%hs", "%c"];

/// Conversions of addresses.
const POINTERS: [&str; 33] = [
    "%p", "%px", "%pK", "%ps", "%pS", "%pB", "%pi4", "%pI4", "%pi6", "%pI6", "%pI4h", "%pI6c",
    "%pi", "%pI", "%pI5", "%pf", "%pF", "%pd", "%pe", "%pa", "%pz", "%p ", "%p!", "%p4", "%20px|",
    "%-20px|", "%20pI4|", "%lp", "%#px", "%pxx", "%psx", "%pk", "%pu",
];

fn cases() -> Vec<(&'static str, Vec<Arg>)> {
    let mut cases = vec![("", vec![]), ("plain", vec![]), ("%%", vec![]), ("100%%", vec![])];
    for format in INTEGERS {
        for value in [0, 42, -1, i64::from(i32::MIN), 0x1_2345_6789, i64::MIN] {
            cases.push((format, vec![Arg::Number(value)]));
        }
    }
    for format in MARKED {
        cases.push((format, vec![Arg::Number(65)]));
    }
    for format in STRINGS {
        cases.push((format, vec![Arg::Text("hello")]));
    }
    for format in ["%s", "%pks", "%pus", "%10pks|", "%.2pks"] {
        for value in [0, 1, 4096, -1] {
            cases.push((format, vec![Arg::Number(value)]));
        }
    }
    cases.push(("%pks", vec![Arg::Text("hello")]));
    cases.push(("%s and %s", vec![Arg::Text("hello"), Arg::Text("again")]));
    cases.push(("%s", vec![Arg::Text("")]));
    for format in POINTERS {
        cases.push((format, vec![Arg::Number(0)]));
        cases.push((format, vec![Arg::Text("\x7f\0\0\x01 sixteen bytes")]));
    }
    cases
}

fn shown(args: &[Arg]) -> String {
    let args: Vec<String> = args
        .iter()
        .map(|arg| match arg {
            Arg::Number(number) => number.to_string(),
            Arg::Text(text) => format!("{text:?}"),
        })
        .collect();
    if args.is_empty() { "-".to_owned() } else { args.join(",") }
}

/// Writes the arguments to the stack; r8 is their address.
fn store(asm: &mut Asm, args: &[Arg], texts: &[i32]) {
    asm.mov_reg(R8, R10).alu64(ADD, R8, -128);
    for (nth, arg) in args.iter().enumerate() {
        let at = i16::try_from(nth * 8).unwrap();
        match arg {
            Arg::Number(number) => asm.lddw(R1, number.cast_unsigned()),
            Arg::Text(_) => asm.map_value(R1, texts[nth], 0),
        };
        asm.stx(DW, R8, at, R1);
    }
}

fn case(kernel: &Kernel, record: &mut Record, format: &str, args: &[Arg], size: i32) {
    let len = i32::try_from(args.len() * 8).unwrap();
    let (printed, traced) = print(kernel, format, args, size, len);
    let size = if size == 64 { String::new() } else { format!(" size={size}") };
    let question = format!("snprintf format={format:?} args={}{size}", shown(args));
    record.case(&question, &format!("{printed} vprintk={traced}"));
}

/// Odd lengths of the argument array.
fn lengths(kernel: &Kernel, record: &mut Record, len: i32) {
    let args = [Arg::Number(1), Arg::Number(2)];
    let (printed, traced) = print(kernel, "%d", &args, 64, len);
    let question = format!("snprintf format=\"%d\" args=1,2 args_len={len}");
    record.case(&question, &format!("{printed} vprintk={traced}"));
}

fn print(kernel: &Kernel, format: &str, args: &[Arg], size: i32, len: i32) -> (String, String) {
    let constant = rodata(kernel, format!("{format}\0").as_bytes());
    let texts: Vec<_> = args
        .iter()
        .map(|arg| match arg {
            Arg::Number(_) => None,
            Arg::Text(text) => Some(rodata(kernel, format!("{text}\0").as_bytes())),
        })
        .collect();
    let fds: Vec<i32> = texts.iter().map(|text| text.as_ref().map_or(0, |map| map.fd())).collect();

    let data = |asm: &mut Asm, register: u8| {
        if args.is_empty() {
            asm.mov(register, 0);
        } else {
            asm.mov_reg(register, R8);
        }
    };
    let body = |asm: &mut Asm| {
        store(asm, args, &fds);
        asm.mov_reg(R1, R7).alu64(ADD, R1, 8).mov(R2, size).map_value(R3, constant.fd(), 0);
        data(asm, R4);
        asm.mov(R5, len).call(SNPRINTF).stx(DW, R7, 0, R0);
    };
    let address = |arg: &Arg| matches!(arg, Arg::Text(_)) || *arg == Arg::Number(4096);
    let reads = ["%s", "s|", "s and", "ks", "us", "%pi", "pI"];
    let secret = args.iter().any(address) && !reads.iter().any(|c| format.contains(c));
    let printed = match Probe::new(kernel, SCHED_CLS, body) {
        Err(refused) if reason(&refused) == "Invalid format string" => {
            "refused=\"Invalid format string\"".to_owned()
        }
        Err(_) => "refused".to_owned(),
        Ok(probe) => {
            let words = probe.run_on(&[0, 0x5a5a_5a5a_5a5a_5a5a]);
            let bytes: Vec<u8> = words[1..].iter().flat_map(|word| word.to_ne_bytes()).collect();
            let text = bytes.split(|&byte| byte == 0).next().unwrap();
            if secret || text.starts_with(b"ZZZZ") {
                returned(words[0])
            } else {
                format!("{} text=\"{}\"", returned(words[0]), text.escape_ascii())
            }
        }
    };

    let format_size = i32::try_from(format.len() + 1).unwrap();
    let body = |asm: &mut Asm| {
        store(asm, args, &fds);
        asm.map_value(R1, constant.fd(), 0).mov(R2, format_size);
        data(asm, R3);
        asm.mov(R4, len).call(TRACE_VPRINTK).stx(DW, R7, 0, R0);
    };
    let traced = match Probe::new(kernel, SCHED_CLS, body) {
        Err(_) => "refused".to_owned(),
        Ok(probe) => returned(probe.run_on(&[])[0]),
    };
    (printed, traced)
}
