//! Test runs of other program types, and what lasts from one repetition to the next.

use skep_oracle::asm::*;
use skep_oracle::{Kernel, Prog, ProgSpec, TestRun, prog_type};

use crate::probe::{CGROUP_SKB, Probe, SCHED_CLS, SOCKET_FILTER, XDP, counting};
use crate::record::{Record, check, hex, outcome};

/// `BPF_F_SLEEPABLE`, which syscall programs must have.
const SLEEPABLE: u32 = 1 << 4;

#[test]
fn test_runs() {
    check(
        "test-run",
        "BPF_PROG_TEST_RUN of program types whose program returns 0: with a packet of 64\n\
         bytes and no context, and with a context of `ctx_in` zero bytes and no packet.\n\
         Then the contexts of raw_tracepoint and syscall, and runs that are repeated.",
        |kernel, record| {
            types(kernel, record);
            raw_tracepoint(kernel, record);
            syscall(kernel, record);
            repetitions(kernel, record);
        },
    );
}

fn types(kernel: &Kernel, record: &mut Record) {
    record.note("types");
    let types = [
        ("socket_filter", 1, 0, 0),
        ("kprobe", 2, 0, 0),
        ("sched_cls", 3, 0, 0),
        ("sched_act", 4, 0, 0),
        ("tracepoint", 5, 0, 0),
        ("xdp", 6, 0, 0),
        ("perf_event", 7, 0, 0),
        ("cgroup_skb", 8, 0, 0),
        ("cgroup_sock", 9, 0, 2),
        ("lwt_in", 10, 0, 0),
        ("lwt_out", 11, 0, 0),
        ("lwt_xmit", 12, 0, 0),
        ("sock_ops", 13, 0, 3),
        ("sk_skb", 14, 0, 0),
        ("cgroup_device", 15, 0, 6),
        ("sk_msg", 16, 0, 7),
        ("raw_tracepoint", 17, 0, 0),
        ("cgroup_sock_addr", 18, 0, 10),
        ("lwt_seg6local", 19, 0, 0),
        ("sk_reuseport", 21, 0, 0),
        ("flow_dissector", 22, 0, 0),
        ("cgroup_sysctl", 23, 0, 18),
        ("raw_tracepoint_writable", 24, 0, 0),
        ("cgroup_sockopt", 25, 0, 21),
        ("sk_lookup", 30, 0, 36),
        ("syscall", 31, SLEEPABLE, 0),
        ("netfilter", 32, 0, 45),
    ];
    for (name, prog_type, flags, attach) in types {
        let insns = Asm::new().mov(R0, 0).exit().build();
        let spec = ProgSpec::new(prog_type, &insns).expected_attach_type(attach);
        let prog = match kernel.load(&ProgSpec { flags, ..spec }) {
            Ok(prog) => prog,
            Err(refused) => {
                record.case(&format!("{name} load"), &refused.errno.to_string());
                continue;
            }
        };
        let data = counting(64);
        let packet = prog.test_run(&TestRun::new().data_in(&data)).errno;
        record.case(&format!("{name} data_in=64"), &outcome(packet));
        for size in [8, 24, 64] {
            let zeros = vec![0; size];
            let context = prog.test_run(&TestRun::new().ctx_in(&zeros)).errno;
            record.case(&format!("{name} ctx_in={size}"), &outcome(context));
        }
    }
}

/// A program that returns the low half of 8 bytes of its context.
fn reader(kernel: &Kernel, prog_type: u32, flags: u32, at: i16) -> Option<Prog> {
    let insns = Asm::new().ldx(DW, R0, R1, at).exit().build();
    kernel.load(&ProgSpec { flags, ..ProgSpec::new(prog_type, &insns) }).ok()
}

fn raw_tracepoint(kernel: &Kernel, record: &mut Record) {
    record.note("raw_tracepoint: a program that returns the 8 bytes at `reads`");
    let context: Vec<u8> = (0..32).flat_map(|n: u64| (n + 1).to_ne_bytes()).collect();
    for at in [0, 8, 88, 96, 104] {
        let Some(prog) = reader(kernel, prog_type::RAW_TRACEPOINT, 0, at) else {
            record.case(&format!("raw_tracepoint reads={at}"), "refused");
            continue;
        };
        for size in [0, 1, 7, 8, 9, 16, 95, 96, 97, 104, 128] {
            let ran = prog.test_run(&TestRun::new().ctx_in(&context[..size]));
            let question = format!("raw_tracepoint reads={at} ctx_in={size}");
            record.case(&question, &format!("{} retval={}", outcome(ran.errno), ran.retval));
        }
        let ran = prog.test_run(&TestRun::new());
        let answer = format!("{} retval={}", outcome(ran.errno), ran.retval);
        record.case(&format!("raw_tracepoint reads={at} ctx_in=NULL"), &answer);
    }
    let prog = reader(kernel, prog_type::RAW_TRACEPOINT, 0, 0).unwrap();
    let plain = || TestRun::new().ctx_in(&context[..8]);
    let mut case = |question: &str, run: TestRun<'_>| {
        let ran = prog.test_run(&run);
        let answer = format!("{} retval={}", outcome(ran.errno), ran.retval);
        record.case(&format!("raw_tracepoint reads=0 ctx_in=8 {question}"), &answer);
    };
    case("data_in=8", plain().data_in(&context[..8]));
    case("data_out=8", plain().data_out(8));
    case("ctx_out=8", plain().ctx_out(8));
    case("repeat=1", plain().repeat(1));
    case("repeat=2", plain().repeat(2));
    for (flags, cpu) in [(0, 1), (1, 0), (1, 1), (1, 1 << 20), (2, 0), (3, 0)] {
        case(&format!("flags={flags} cpu={cpu}"), TestRun { flags, cpu, ..plain() });
    }
}

fn syscall(kernel: &Kernel, record: &mut Record) {
    record.note("syscall: a program that returns the 8 bytes at `reads`");
    let context: Vec<u8> = (0..10_000).flat_map(|n: u64| (n + 1).to_ne_bytes()).collect();
    for at in [0, 8, 4088, 4089, 32_760] {
        let Some(prog) = reader(kernel, prog_type::SYSCALL, SLEEPABLE, at) else {
            record.case(&format!("syscall reads={at}"), "refused");
            continue;
        };
        for size in [0, 1, 7, 8, 15, 16, 4095, 4096, 4097, 32_768, 65_535, 65_536] {
            let ran = prog.test_run(&TestRun::new().ctx_in(&context[..size]));
            let question = format!("syscall reads={at} ctx_in={size}");
            record.case(&question, &format!("{} retval={}", outcome(ran.errno), ran.retval));
        }
    }
    let prog = reader(kernel, prog_type::SYSCALL, SLEEPABLE, 0).unwrap();
    let plain = || TestRun::new().ctx_in(&context[..8]);
    let mut case = |question: &str, run: TestRun<'_>| {
        let ran = prog.test_run(&run);
        let answer = format!("{} retval={}", outcome(ran.errno), ran.retval);
        record.case(&format!("syscall reads=0 ctx_in=8 {question}"), &answer);
    };
    case("data_in=8", plain().data_in(&context[..8]));
    case("data_out=8", plain().data_out(8));
    case("ctx_out=8", plain().ctx_out(8));
    case("repeat=1", plain().repeat(1));
    case("repeat=2", plain().repeat(2));
    case("flags=1", TestRun { flags: 1, ..plain() });
}

/// What a repetition leaves to the next one, and what comes back in the end.
fn repetitions(kernel: &Kernel, record: &mut Record) {
    record.note("repetitions: each adds 1 to what it says; the packet's bytes count up from 0");
    let data = counting(64);
    for repeat in [0, 1, 2, 3] {
        for ty in [SCHED_CLS, CGROUP_SKB] {
            let body = |asm: &mut Asm| {
                asm.ldx(W, R1, R6, 8).alu64(ADD, R1, 1).stx(W, R6, 8, R1);
                asm.ldx(W, R1, R6, 48).alu64(ADD, R1, 1).stx(W, R6, 48, R1);
                if ty == SCHED_CLS {
                    asm.ldx(W, R1, R6, 76).ldx(W, R2, R6, 80).mov_reg(R3, R1).alu64(ADD, R3, 1);
                    asm.jmp_reg(JGT, R3, R2, "end").ldx(B, R3, R1, 0).alu64(ADD, R3, 1);
                    asm.stx(B, R1, 0, R3);
                }
            };
            let probe = Probe::new(kernel, ty, body).unwrap();
            let run = TestRun::new().data_in(&data).data_out(64).ctx_out(192).repeat(repeat);
            let (ran, _) = probe.run(&run);
            let word = |at: usize| u32::from_ne_bytes(ran.ctx_out[at..at + 4].try_into().unwrap());
            let first = hex(&ran.data_out[..1]);
            let answer = format!(
                "{} mark={} cb[0]={} len={} first={first}",
                outcome(ran.errno),
                word(8),
                word(48),
                word(0)
            );
            record.case(&format!("{} repeat={repeat} adds=mark,cb[0],first", ty.name), &answer);
        }
        for (name, helper, delta) in
            [("head:8", 44, 8), ("head:-8", 44, -8), ("tail:-8", 65, -8), ("meta:-8", 54, -8)]
        {
            let body = |asm: &mut Asm| {
                asm.mov_reg(R1, R6).mov(R2, delta).call(helper);
                asm.ldx(W, R1, R6, 0).ldx(W, R2, R6, 4).alu64_reg(SUB, R2, R1);
                asm.stx(DW, R7, 0, R2);
            };
            let probe = Probe::new(kernel, XDP, body).unwrap();
            let run = TestRun::new().data_in(&data).data_out(128).repeat(repeat);
            let (ran, words) = probe.run(&run);
            let answer = format!(
                "{} seen.len={} out.size={} first={}",
                outcome(ran.errno),
                words[0],
                ran.data_size_out,
                hex(&ran.data_out[..1])
            );
            record.case(&format!("xdp repeat={repeat} {name}"), &answer);
        }
    }
    let probe = Probe::new(kernel, SOCKET_FILTER, |_| ()).unwrap();
    let run = TestRun::new().data_in(&data).ctx_out(192);
    let (ran, _) = probe.run(&run);
    let words: Vec<String> = ran
        .ctx_out
        .as_chunks::<4>()
        .0
        .iter()
        .enumerate()
        .map(|(n, &word)| (4 * n, u32::from_ne_bytes(word)))
        .filter(|&(_, word)| word != 0)
        .map(|(at, word)| format!("{at}:{word}"))
        .collect();
    record.note("ctx_out without ctx_in: OFFSET:WORD of what is not zero");
    let words = if words.is_empty() { "-".to_owned() } else { words.join(",") };
    record.case("socket_filter ctx_out=192", &words);
}
