//! strtol, strtoul and strncmp.

use skep_oracle::Kernel;
use skep_oracle::asm::*;

use crate::probe::{Probe, SCHED_CLS, rodata};
use crate::record::{Record, check, returned};

const STRTOL: i32 = 105;
const STRTOUL: i32 = 106;
const STRNCMP: i32 = 182;

/// What the result holds before the call.
const BEFORE: i64 = 0x5a5a;

#[test]
fn strtol() {
    check(
        "strtol",
        "strtol and strtoul(buf, len, flags, &result): the answer is what they returned and\n\
         the result, which holds 0x5a5a before. len is the length of the text unless given.",
        |kernel, record| {
            for (name, helper) in [("strtol", STRTOL), ("strtoul", STRTOUL)] {
                record.note(name);
                for text in texts() {
                    for base in [0, 8, 10, 16] {
                        number(kernel, record, (name, helper), text, text.len(), base);
                    }
                }
                for base in [1, 2, 3, 7, 9, 11, 15, 17, 31, 32, 36, 0x1f + 1, 1 << 32, u64::MAX] {
                    number(kernel, record, (name, helper), "10", 2, base);
                }
                for len in 1..=6 {
                    number(kernel, record, (name, helper), "-12345", len, 10);
                }
                number(kernel, record, (name, helper), "12", 3, 10);
                number(kernel, record, (name, helper), "12", 0, 10);
            }
        },
    );
}

#[test]
fn strncmp() {
    check(
        "strncmp",
        "strncmp(a, size of a, b): the answer is what it returned; `refused` is the verifier.",
        |kernel, record| {
            for (a, size, b) in [
                ("abc", 3, "abc\0"),
                ("abc", 2, "abc\0"),
                ("abc\0", 4, "abc\0"),
                ("abc\0x", 5, "abc\0"),
                ("abcd", 4, "abc\0"),
                ("ab\0d", 4, "abc\0"),
                ("abd", 3, "abc\0"),
                ("abb", 3, "abc\0"),
                ("\0", 1, "\0"),
                ("a", 1, "\0"),
                ("\0", 1, "a\0"),
                ("\u{7f}", 1, "\u{80}\0"),
                ("a", 1, "\u{e9}\0"),
                ("\u{e9}", 2, "a\0"),
                ("abc", 3, "abc"),
                ("abc", 0, "abc\0"),
            ] {
                let constant = rodata(kernel, b.as_bytes());
                let body = |asm: &mut Asm| {
                    store(asm, a.as_bytes());
                    asm.mov(R2, size).map_value(R3, constant.fd(), 0);
                    asm.call(STRNCMP).stx(DW, R7, 0, R0);
                };
                let answer = match Probe::new(kernel, SCHED_CLS, body) {
                    Ok(probe) => probe.run_on(&[])[0].to_string(),
                    Err(_) => "refused".to_owned(),
                };
                record.case(&format!("strncmp a={a:?} size={size} b={b:?}"), &answer);
            }
        },
    );
}

fn texts() -> Vec<&'static str> {
    vec![
        "0",
        "1",
        "7",
        "8",
        "9",
        "a",
        "F",
        "g",
        "-1",
        "+1",
        "-0",
        " 1",
        "\t1",
        "\n1",
        "\u{b}1",
        "\r\n 1",
        " -1",
        " +1",
        "- 1",
        "--1",
        "-+1",
        " ",
        "-",
        "+",
        "\0",
        "1\u{0}002",
        "12 34",
        "12\n",
        "1a",
        "12g",
        "0x10",
        "0X1f",
        "-0x10",
        "0x",
        "0xg",
        "0x 1",
        "00x1",
        "010",
        "-010",
        "08",
        "018",
        "0b1",
        "1_000",
        "1,0",
        "2147483647",
        "2147483648",
        "4294967295",
        "4294967296",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775807",
        "-9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "18446744073709551616",
        "-18446744073709551615",
        "99999999999999999999999",
        "0x7fffffffffffffff",
        "0x8000000000000000",
        "0xffffffffffffffff",
        "0x10000000000000000",
        "777777777777777777777",
        "1777777777777777777777",
        "0000000000000000000000000000000000000000000000000000000000000001",
        "00000000000000000000000000000000000000000000000000000000000000001",
    ]
}

/// Writes bytes to the stack and their address to r1.
fn store(asm: &mut Asm, bytes: &[u8]) {
    for (at, &byte) in (-80..).zip(bytes) {
        asm.st(B, R10, at, i32::from(byte));
    }
    asm.mov_reg(R1, R10).alu64(ADD, R1, -80);
}

fn number(
    kernel: &Kernel,
    record: &mut Record,
    (name, helper): (&str, i32),
    text: &str,
    len: usize,
    base: u64,
) {
    let body = |asm: &mut Asm| {
        asm.st(DW, R10, -8, i32::try_from(BEFORE).unwrap());
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(len.max(text.len()), 0);
        store(asm, &bytes);
        asm.mov(R2, i32::try_from(len).unwrap()).lddw(R3, base);
        asm.mov_reg(R4, R10).alu64(ADD, R4, -8).call(helper).stx(DW, R7, 0, R0);
        asm.ldx(DW, R1, R10, -8).stx(DW, R7, 8, R1);
    };
    let answer = match Probe::new(kernel, SCHED_CLS, body) {
        Err(_) => "refused".to_owned(),
        Ok(probe) => {
            let words = probe.run_on(&[]);
            let result = if helper == STRTOL {
                words[1].to_string()
            } else {
                words[1].cast_unsigned().to_string()
            };
            let result = if words[1] == BEFORE { "-".to_owned() } else { result };
            format!("{} result={result}", returned(words[0]))
        }
    };
    let len = if len == text.len() { String::new() } else { format!(" len={len}") };
    record.case(&format!("{name} text={text:?}{len} flags={base}"), &answer);
}
