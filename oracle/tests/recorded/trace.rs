//! trace_printk: formats that the verifier does not see.

use skep_oracle::Kernel;
use skep_oracle::asm::*;

use crate::probe::{Probe, SCHED_CLS};
use crate::record::{Record, check, returned};

const TRACE_PRINTK: i32 = 6;

#[test]
fn trace_printk() {
    check(
        "trace-printk",
        "trace_printk(format, size, 1, 2, 3): the answer is what it returned; `refused` is the\n\
         verifier. The format is on the stack, `size` counts its NUL.",
        |kernel, record| {
            for format in [
                "\0",
                "plain\0",
                "plain\n\0",
                "%d\0",
                "%d %d %d\0",
                "%d %d %d %d\0",
                "%d %d %d %d %d\0",
                "%s\0",
                "%q\0",
                "%\0",
                "100%%\0",
                "no NUL",
                "inner\0NUL\0",
                "inner\0%q\0",
                "\u{1}\0",
                "%p %px %pI4\0",
                "%pI4\0",
            ] {
                case(kernel, record, format, format.len());
            }
            case(kernel, record, "plain\0", 0);
            case(kernel, record, "plain\0", 1);
            case(kernel, record, "plain\0", 3);
        },
    );
}

fn case(kernel: &Kernel, record: &mut Record, format: &str, size: usize) {
    let body = |asm: &mut Asm| {
        for (at, byte) in (-64..).zip(format.bytes()) {
            asm.st(B, R10, at, i32::from(byte));
        }
        asm.mov_reg(R1, R10).alu64(ADD, R1, -64).mov(R2, i32::try_from(size).unwrap());
        asm.mov(R3, 1).mov(R4, 2).mov(R5, 3).call(TRACE_PRINTK).stx(DW, R7, 0, R0);
    };
    let answer = match Probe::new(kernel, SCHED_CLS, body) {
        Ok(probe) => returned(probe.run_on(&[])[0]),
        Err(_) => "refused".to_owned(),
    };
    record.case(&format!("trace_printk format={format:?} size={size}"), &answer);
}
