//! The legacy packet loads, LD_ABS and LD_IND.

use skep_oracle::Kernel;
use skep_oracle::asm::*;
use skep_oracle::btf::BtfWriter;
use skep_oracle::{ProgSpec, TestRun};

use crate::probe::{CGROUP_SKB, Probe, SCHED_CLS, SOCKET_FILTER, Type, XDP, counting, reason};
use crate::record::{Record, check};

const LD_ABS: u8 = 0x20;
const LD_IND: u8 = 0x40;

/// What the program returns when the load does not end it.
const AFTER: i32 = 77;

#[test]
fn legacy_loads() {
    check(
        "ld-abs",
        "LD_ABS imm and LD_IND src+imm on a test run's packet of 64 bytes that count up from\n\
         0. The answer is r0 after the load, in hexadecimal, or `ends` and what the program\n\
         returned when the load ended it. `refused` is the verifier and its reason.",
        |kernel, record| {
            for ty in [SOCKET_FILTER, SCHED_CLS, CGROUP_SKB, XDP] {
                record.note(ty.name);
                for (name, size) in [("b", B), ("h", H), ("w", W), ("dw", DW)] {
                    for at in offsets() {
                        absolute(kernel, record, ty, (name, size), at);
                    }
                    for (src, imm) in [
                        (0, 0),
                        (1, 1),
                        (-1, 1),
                        (49, 0),
                        (50, 0),
                        (60, 0),
                        (0, 60),
                        (64, 0),
                        (1 << 32, 2),
                        (-0x10_0000, 1),
                        (-0x10_0000 - 1, 2),
                        (i64::from(i32::MAX), 1),
                    ] {
                        indirect(kernel, record, ty, (name, size), src, imm);
                    }
                }
            }
            registers(kernel, record);
            subprogram(kernel, record);
        },
    );
}

fn offsets() -> Vec<i32> {
    let mut offsets = vec![0, 1, 13, 14, 46, 47, 48, 49, 50, 51, 60, 61, 62, 63, 64, 65];
    offsets.extend([i32::MAX, -1, -2, -14]);
    // Ancillary data, the network header and the link header.
    for base in [-0x1000, -0x10_0000, -0x20_0000] {
        offsets.extend([base, base + 1, base + 49, base + 50, base + 63, base + 64, base - 1]);
    }
    offsets
}

fn answer(probe: &Probe) -> String {
    let (ran, words) = probe.run(&TestRun::new().data_in(&counting(64)));
    if ran.retval == AFTER.cast_unsigned() {
        format!("{:x}", words[0])
    } else {
        format!("ends retval={}", ran.retval)
    }
}

fn end(asm: &mut Asm) {
    asm.stx(DW, R7, 0, R0).mov(R0, AFTER).exit();
}

fn case(kernel: &Kernel, record: &mut Record, ty: Type, name: &str, body: &dyn Fn(&mut Asm)) {
    let answer = match Probe::returning(kernel, ty, body) {
        Ok(probe) => answer(&probe),
        Err(refused) => format!("refused={:?}", reason(&refused)),
    };
    record.case(&format!("{} {name}", ty.name), &answer);
}

fn absolute(kernel: &Kernel, record: &mut Record, ty: Type, (name, size): (&str, u8), at: i32) {
    if (size == DW || ty == XDP) && at != 0 {
        return;
    }
    let body = |asm: &mut Asm| {
        asm.insn(LD_ABS | size, 0, 0, 0, at);
        end(asm);
    };
    case(kernel, record, ty, &format!("ld_abs size={name} imm={at}"), &body);
}

fn indirect(
    kernel: &Kernel,
    record: &mut Record,
    ty: Type,
    (name, size): (&str, u8),
    src: i64,
    imm: i32,
) {
    if (size == DW || ty == XDP) && (src, imm) != (0, 0) {
        return;
    }
    let body = |asm: &mut Asm| {
        asm.lddw(R8, src.cast_unsigned()).insn(LD_IND | size, 0, R8, 0, imm);
        end(asm);
    };
    case(kernel, record, ty, &format!("ld_ind size={name} src={src} imm={imm}"), &body);
}

/// Which registers the load leaves, and which it needs.
fn registers(kernel: &Kernel, record: &mut Record) {
    record.note("registers");
    for register in [R1, R2, R3, R4, R5, R7, R8, R9] {
        let body = |asm: &mut Asm| {
            asm.mov_reg(R7, R7).mov(register, 5).insn(LD_ABS | B, 0, 0, 0, 0);
            asm.mov_reg(R0, register).exit();
        };
        let answer = match Probe::returning(kernel, SOCKET_FILTER, body) {
            Ok(probe) => {
                let (ran, _) = probe.run(&TestRun::new().data_in(&counting(64)));
                format!("kept, {}", ran.retval)
            }
            Err(refused) => format!("refused={:?}", reason(&refused)),
        };
        record.case(&format!("socket_filter ld_abs then r{register}"), &answer);
    }
    let body = |asm: &mut Asm| {
        asm.mov(R6, 0).insn(LD_ABS | B, 0, 0, 0, 0).exit();
    };
    case(kernel, record, SOCKET_FILTER, "ld_abs without the context in r6", &body);
    for (name, code, dst, src, off) in [
        ("dst=1", LD_ABS | B, 1, 0, 0),
        ("src=1", LD_ABS | B, 0, 1, 0),
        ("off=1", LD_ABS | B, 0, 0, 1),
        ("dst=1 ind", LD_IND | B, 1, 8, 0),
        ("off=1 ind", LD_IND | B, 0, 8, 1),
    ] {
        let body = |asm: &mut Asm| {
            asm.mov(R8, 0).insn(code, dst, src, off, 0).exit();
        };
        case(kernel, record, SOCKET_FILTER, &format!("ld_abs {name}"), &body);
    }
}

/// A load that fails in a sub-program.
fn subprogram(kernel: &Kernel, record: &mut Record) {
    record.note("in a sub-program that returns what it loads; the program returns that + 1000");
    let mut types = BtfWriter::new();
    let int = types.int("int", 4);
    let ctx = types.ptr(0);
    let main = types.func("main", int, &[("ctx", ctx)]);
    let sub = types.func("sub", int, &[("ctx", ctx)]);
    let btf = kernel.load_btf(&types.blob()).unwrap();
    for at in [0, 49, 50] {
        let mut asm = Asm::new();
        asm.call_sub("sub").alu64(ADD, R0, 1000).exit();
        asm.label("sub").mov_reg(R6, R1).insn(LD_ABS | B, 0, 0, 0, at).exit();
        let functions = [(0, main), (u32::try_from(asm.at("sub")).unwrap(), sub)];
        let insns = asm.build();
        let spec = ProgSpec::new(SOCKET_FILTER.id, &insns);
        let answer = match kernel.load(&spec.func_info(&btf, &functions)) {
            Ok(prog) => {
                let ran = prog.test_run(&TestRun::new().data_in(&counting(64)));
                format!("retval={}", ran.retval)
            }
            Err(refused) => format!("refused={:?}", reason(&refused)),
        };
        record.case(&format!("socket_filter sub ld_abs size=b imm={at}"), &answer);
    }
}
