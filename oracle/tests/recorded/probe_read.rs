//! Reading memory by address: probe_read_kernel and its kin.

use skep_oracle::Kernel;
use skep_oracle::asm::*;

use crate::probe::{Probe, SCHED_CLS, rodata};
use crate::record::{Record, check, hex, returned};

const HELPERS: [(&str, i32); 4] = [
    ("probe_read_kernel", 113),
    ("probe_read_kernel_str", 115),
    ("probe_read_user", 112),
    ("probe_read_user_str", 114),
];

#[test]
fn probe_read() {
    check(
        "probe-read",
        "HELPER(dst, size, source): the answer is what it returned and the first 8 bytes of\n\
         dst, all ff before. A source in quotes is the address of that text with a NUL and\n\
         then `zz`, in kernel memory; a number is that address.",
        |kernel, record| {
            for helper in HELPERS {
                record.note(helper.0);
                for size in [0, 1, 2, 3, 5, 6, 7, 8] {
                    text(kernel, record, helper, "hello", size);
                }
                text(kernel, record, helper, "", 4);
                for address in [0, 1, 4095, 4096, 0x1000_0000_0000, -1, i64::MIN] {
                    for size in [0, 1, 8] {
                        number(kernel, record, helper, address, size);
                    }
                }
            }
        },
    );
}

fn text(kernel: &Kernel, record: &mut Record, helper: (&str, i32), text: &str, size: i32) {
    let map = rodata(kernel, format!("{text}\0zzzzzzzz").as_bytes());
    let source = |asm: &mut Asm| {
        asm.map_value(R3, map.fd(), 0);
    };
    case(kernel, record, helper, (&format!("{text:?}"), &source), size);
}

fn number(kernel: &Kernel, record: &mut Record, helper: (&str, i32), address: i64, size: i32) {
    let source = |asm: &mut Asm| {
        asm.lddw(R3, address.cast_unsigned());
    };
    case(kernel, record, helper, (&format!("{address:#x}"), &source), size);
}

fn case(
    kernel: &Kernel,
    record: &mut Record,
    (name, helper): (&str, i32),
    (shown, source): (&str, &dyn Fn(&mut Asm)),
    size: i32,
) {
    let body = |asm: &mut Asm| {
        asm.mov_reg(R1, R7).alu64(ADD, R1, 8).mov(R2, size);
        source(asm);
        asm.call(helper).stx(DW, R7, 0, R0);
    };
    let answer = match Probe::new(kernel, SCHED_CLS, body) {
        Ok(probe) => {
            let words = probe.run_on(&[]);
            format!("{} dst={}", returned(words[0]), hex(&words[1].to_ne_bytes()))
        }
        Err(_) => "refused".to_owned(),
    };
    record.case(&format!("{name} size={size} source={shown}"), &answer);
}
