//! Helpers that call back: loop and for_each_map_elem.

use skep_oracle::asm::*;
use skep_oracle::btf::BtfWriter;
use skep_oracle::{Kernel, Map, MapSpec, ProgSpec, Rejection, TestRun, map_type, prog_type};

use crate::probe::counting;
use crate::record::{Record, check, hex, returned};

const FOR_EACH: i32 = 164;
const LOOP: i32 = 181;

#[test]
fn loops() {
    check(
        "loop",
        "loop(nr, callback, context, flags): the answer is what it returned, how often the\n\
         callback ran and the last index it got. The callback returns 1 at index `stop`.\n\
         With constant flags of 0 the verifier puts a loop in place of the call, which\n\
         answers otherwise beyond the limit; flags from a map prevent that.",
        |kernel, record| {
            let limit = 1 << 23;
            for nr in [
                0,
                1,
                2,
                10,
                limit - 1,
                limit,
                limit + 1,
                u64::from(u32::MAX),
                1 << 32,
                (1 << 32) + 3,
                u64::MAX,
            ] {
                loop_case(kernel, record, nr, -1, 0, 0);
            }
            for stop in [0, 1, 9, 10] {
                loop_case(kernel, record, 10, stop, 1, 0);
            }
            for flags in [1, 2, 1 << 32, u64::MAX] {
                loop_case(kernel, record, 10, -1, 0, flags);
                loop_case(kernel, record, limit + 1, -1, 0, flags);
            }
            for result in [2, -1] {
                loop_case(kernel, record, 10, 3, result, 0);
            }
        },
    );
}

#[test]
fn for_each() {
    check(
        "for-each",
        "for_each_map_elem(map, callback, context, flags) of a map with the elements `put`,\n\
         whose max_entries is 4: the answer is what it returned and, sorted, KEY:VALUE of\n\
         each call of the callback. The callback returns 1 at call `stop`, counted from 1;\n\
         `deletes` deletes each element that it gets.",
        |kernel, record| {
            let types = [
                ("hash", map_type::HASH),
                ("array", map_type::ARRAY),
                ("percpu_hash", map_type::PERCPU_HASH),
                ("percpu_array", map_type::PERCPU_ARRAY),
                ("lru_hash", map_type::LRU_HASH),
                ("lru_percpu_hash", map_type::LRU_PERCPU_HASH),
                ("lpm_trie", map_type::LPM_TRIE),
                ("queue", map_type::QUEUE),
                ("ringbuf", map_type::RINGBUF),
                ("prog_array", map_type::PROG_ARRAY),
            ];
            for (name, map_type) in types {
                record.note(name);
                for (put, stop, flags) in
                    [(0, 0, 0), (1, 0, 0), (3, 0, 0), (3, 1, 0), (3, 2, 0), (3, 0, 1)]
                {
                    each_case(kernel, record, (name, map_type), put, stop, flags, Body::Visits);
                }
                let hash = matches!(name, "hash" | "percpu_hash" | "lru_hash");
                if hash {
                    each_case(kernel, record, (name, map_type), 3, 0, 0, Body::Deletes);
                }
            }
        },
    );
}

/// What a callback does with its element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Visits,
    Deletes,
}

/// Runs a program with a callback at `body`; the answers are in a map's value.
fn run(kernel: &Kernel, asm: &Asm, out: &Map, parameters: usize) -> Result<Vec<i64>, Rejection> {
    let mut types = BtfWriter::new();
    let int = types.int("int", 4);
    let long = types.int("long", 8);
    let ctx = types.ptr(0);
    let main = types.func("main", int, &[("ctx", ctx)]);
    let all = [("a", ctx), ("b", ctx), ("c", ctx), ("d", ctx)];
    let body = types.func("body", long, &all[..parameters]);
    let btf = kernel.load_btf(&types.blob()).unwrap();
    let functions = [(0, main), (u32::try_from(asm.at("body")).unwrap(), body)];
    let insns = asm.build();
    let spec = ProgSpec::new(prog_type::SCHED_CLS, &insns).func_info(&btf, &functions);
    let prog = kernel.load(&spec)?;
    let data = counting(64);
    let run = || prog.test_run(&TestRun::new().data_in(&data)).ok().unwrap();
    kernel.on_cpu(0, run).unwrap();
    let value = out.lookup(&[0; 4], 0).unwrap();
    Ok(value.as_chunks::<8>().0.iter().map(|&word| i64::from_ne_bytes(word)).collect())
}

fn answers(kernel: &Kernel) -> Map {
    kernel.create_map(&MapSpec::new(map_type::ARRAY, 4, 256, 1)).unwrap()
}

fn loop_case(kernel: &Kernel, record: &mut Record, nr: u64, stop: i32, result: i32, flags: u64) {
    for call in [Call::Inlined, Call::Real] {
        loop_call(kernel, record, (nr, stop, result, flags), call);
    }
}

/// Whether the verifier may replace the call by a loop of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    /// It may: the flags are a constant.
    Inlined,
    /// It may not: the flags come from a map.
    Real,
}

fn loop_call(
    kernel: &Kernel,
    record: &mut Record,
    (nr, stop, result, flags): (u64, i32, i32, u64),
    call: Call,
) {
    let out = answers(kernel);
    let mut value = [0; 256];
    value[248..].copy_from_slice(&flags.to_ne_bytes());
    out.update(&[0; 4], &value, 0).unwrap();
    let mut asm = Asm::new();
    match call {
        Call::Inlined => asm.lddw(R4, flags),
        Call::Real => asm.map_value(R4, out.fd(), 248).ldx(DW, R4, R4, 0),
    };
    asm.lddw(R1, nr).func(R2, "body").mov(R3, 0).call(LOOP);
    asm.map_value(R7, out.fd(), 0).stx(DW, R7, 0, R0).mov(R0, 0).exit();
    asm.label("body").map_value(R2, out.fd(), 0);
    asm.ldx(DW, R3, R2, 8).alu64(ADD, R3, 1).stx(DW, R2, 8, R3).stx(DW, R2, 16, R1);
    asm.mov(R0, 0).jmp32(JNE, R1, stop, "on").mov(R0, result).label("on").exit();
    let answer = match run(kernel, &asm, &out, 2) {
        Err(_) => "refused".to_owned(),
        Ok(words) => format!("{} calls={} last={}", returned(words[0]), words[1], words[2]),
    };
    let call = if call == Call::Real { " flags-from=map" } else { "" };
    let mut question = format!("loop nr={nr} flags={flags:#x}{call}");
    if stop >= 0 {
        question += &format!(" stop={stop}:{result}");
    }
    record.case(&question, &answer);
}

fn each_case(
    kernel: &Kernel,
    record: &mut Record,
    (name, map_type): (&str, u32),
    put: u32,
    stop: i32,
    flags: u64,
    does: Body,
) {
    let (key_size, value_size, max, create) = match map_type {
        map_type::LPM_TRIE => (8, 8, 4, 1),
        map_type::QUEUE => (0, 8, 4, 0),
        map_type::RINGBUF => (0, 0, 4096, 0),
        map_type::PROG_ARRAY => (4, 4, 4, 0),
        _ => (4, 8, 4, 0),
    };
    let spec = MapSpec::new(map_type, key_size, value_size, max).flags(create);
    let map = kernel.create_map(&spec).unwrap();
    let plain = key_size == 4 && value_size == 8;
    for key in (0..put).filter(|_| plain) {
        let byte = u8::try_from(key).unwrap() * 0x11 + 0x11;
        map.update(&key.to_ne_bytes(), &vec![byte; map.value_len()], 0).unwrap();
    }

    let out = answers(kernel);
    let mut asm = Asm::new();
    asm.map(R1, map.fd()).func(R2, "body").mov(R3, 0).lddw(R4, flags).call(FOR_EACH);
    asm.map_value(R7, out.fd(), 0).stx(DW, R7, 0, R0).mov(R0, 0).exit();
    // Word 1 counts the calls; call n writes its key and value to words 2n and 2n+1.
    asm.label("body").map_value(R4, out.fd(), 0).ldx(DW, R5, R4, 8).alu64(ADD, R5, 1);
    asm.stx(DW, R4, 8, R5).mov_reg(R0, R5).alu64(AND, R5, 7).alu64(LSH, R5, 4);
    asm.alu64_reg(ADD, R4, R5).mov_reg(R6, R0);
    if plain {
        asm.ldx(W, R5, R2, 0).stx(DW, R4, 0, R5).ldx(DW, R5, R3, 0).stx(DW, R4, 8, R5);
    }
    if does == Body::Deletes {
        asm.ldx(W, R5, R2, 0).stx(W, R10, -4, R5);
        asm.mov_reg(R2, R10).alu64(ADD, R2, -4).call(3);
    }
    asm.mov(R0, 0).jmp(JNE, R6, stop, "on").mov(R0, 1).label("on").exit();
    let answer = match run(kernel, &asm, &out, 4) {
        Err(_) => "refused".to_owned(),
        Ok(words) => {
            let calls = usize::try_from(words[1]).unwrap();
            let call =
                |n: usize| format!("{}:{}", words[2 * n], hex(&words[2 * n + 1].to_ne_bytes()));
            let mut calls: Vec<String> = (1..=calls).map(call).collect();
            // Which elements come before the stop depends on a hash.
            let hashed = !matches!(map_type, map_type::ARRAY | map_type::PERCPU_ARRAY);
            if hashed && stop > 0 {
                calls = vec![format!("{} of {put}", calls.len())];
            }
            calls.sort();
            let calls = if calls.is_empty() { "-".to_owned() } else { calls.join(",") };
            let mut answer = format!("{} calls={calls}", returned(words[0]));
            if does == Body::Deletes {
                answer += &format!(" left={}", map.keys().unwrap().len());
            }
            answer
        }
    };
    let mut question = format!("for_each type={name} put={put} flags={flags:#x}");
    if stop > 0 {
        question += &format!(" stop={stop}");
    }
    if does == Body::Deletes {
        question += " deletes";
    }
    record.case(&question, &answer);
}
