//! What a pointer into a map sees when its element changes hands.

use skep_oracle::asm::*;
use skep_oracle::{BatchFlags, Errno, Kernel, Map, MapSpec, ProgSpec, map_type, prog_type};

use crate::plain_maps::{flag, types};
use crate::probe::{CGROUP_SKB, CGROUP_SKB_EGRESS, Probe, SCHED_CLS, XDP};
use crate::record::{Record, check, hex, outcome};

const LOOKUP: i32 = 1;
const UPDATE: i32 = 2;
const DELETE: i32 = 3;

#[test]
fn elements() {
    check(
        "elements",
        "One program looks key 1 up, then does `steps` on the same map and reads through the\n\
         pointer that the lookup gave: `sees` is the second half of the value. Key 1 holds 11\n\
         before; update:K:V stores V at key K.",
        |kernel, record| {
            pointers(kernel, record);
            reused(kernel, record);
            buckets(kernel, record);
            owners(kernel, record);
        },
    );
}

fn pointers(kernel: &Kernel, record: &mut Record) {
    let (btf, int, value) = types(kernel);
    let maps = [
        ("hash", map_type::HASH, 0, 0),
        ("hash/no_prealloc", map_type::HASH, flag::NO_PREALLOC, 0),
        ("hash/lock", map_type::HASH, 0, 4),
        ("array", map_type::ARRAY, 0, 0),
        ("percpu_hash", map_type::PERCPU_HASH, 0, 0),
        ("percpu_array", map_type::PERCPU_ARRAY, 0, 0),
        ("lru_hash", map_type::LRU_HASH, 0, 0),
    ];
    let steps: [&[(i32, i32, i32)]; 7] = [
        &[(UPDATE, 1, 22)],
        &[(UPDATE, 1, 22), (UPDATE, 1, 33)],
        &[(UPDATE, 1, 22), (UPDATE, 1, 33), (UPDATE, 1, 44)],
        &[(UPDATE, 1, 22), (UPDATE, 2, 33)],
        &[(DELETE, 1, 0)],
        &[(DELETE, 1, 0), (UPDATE, 2, 33)],
        &[(DELETE, 1, 0), (UPDATE, 1, 33)],
    ];
    for (name, map_type, flags, lock) in maps {
        record.note(name);
        for steps in steps {
            let spec = MapSpec::new(map_type, 4, 8, 16).flags(flags);
            let spec = if lock == 4 { spec.btf(&btf, int, value) } else { spec };
            let map = kernel.create_map(&spec).unwrap();
            let body = |asm: &mut Asm| {
                step(asm, &map, (UPDATE, 1, 11), 0);
                key(asm, &map, 1);
                asm.call(LOOKUP).jmp(JEQ, R0, 0, "end").mov_reg(R8, R0);
                for &one in steps {
                    step(asm, &map, one, lock);
                }
                asm.ldx(W, R1, R8, 4).stx(DW, R7, 0, R1);
            };
            let probe = Probe::new(kernel, SCHED_CLS, body).unwrap();
            let words = kernel.on_cpu(0, || probe.run_on(&[])).unwrap();
            let shown: Vec<String> = steps
                .iter()
                .map(|&(helper, key, value)| match helper {
                    UPDATE => format!("update:{key}:{value}"),
                    _ => format!("delete:{key}"),
                })
                .collect();
            let flags = if lock == 4 { " update_flags=0x4" } else { "" };
            let question = format!("{name} steps={}{flags}", shown.join(","));
            record.case(&question, &format!("sees={}", words[0]));
        }
    }
}

fn key(asm: &mut Asm, map: &Map, key: i32) {
    asm.st(W, R10, -4, key).map(R1, map.fd()).mov_reg(R2, R10).alu64(ADD, R2, -4);
}

fn step(asm: &mut Asm, map: &Map, (helper, number, value): (i32, i32, i32), flags: i32) {
    if helper == UPDATE {
        asm.st(W, R10, -16, 0).st(W, R10, -12, value);
    }
    key(asm, map, number);
    asm.mov_reg(R3, R10).alu64(ADD, R3, -16).mov(R4, flags).call(helper);
}

/// What the other CPUs have in an element that was another key's before.
fn reused(kernel: &Kernel, record: &mut Record) {
    record.note("key 1 holds ff on all CPUs and is deleted; a program on CPU 0 stores 5 at key 2");
    for (name, flags) in [("percpu_hash", 0), ("percpu_hash/no_prealloc", flag::NO_PREALLOC)] {
        let spec = MapSpec::new(map_type::PERCPU_HASH, 4, 8, 1).flags(flags);
        let map = kernel.create_map(&spec).unwrap();
        map.update(&1_u32.to_ne_bytes(), &vec![0xff; map.value_len()], 0).unwrap();
        map.delete(&1_u32.to_ne_bytes()).unwrap();
        let body = |asm: &mut Asm| step(asm, &map, (UPDATE, 2, 5), 0);
        let probe = Probe::new(kernel, SCHED_CLS, body).unwrap();
        kernel.on_cpu(0, || probe.run_on(&[])).unwrap();
        let value = map.lookup(&2_u32.to_ne_bytes(), 0).unwrap();
        record.case(&format!("{name} reused"), &format!("value={}", hex(&value)));
    }
}

/// A bucket with more elements than a batch has room for.
fn buckets(kernel: &Kernel, record: &mut Record) {
    const ZERO_SEED: u32 = 1 << 6;
    record.note("two keys of a hash in one bucket, lookup_batch");
    let spec = MapSpec::new(map_type::HASH, 4, 8, 8).flags(ZERO_SEED);
    let none = BatchFlags::default();
    for second in 1_u32.. {
        let map = kernel.create_map(&spec).unwrap();
        for key in [0, second] {
            map.update(&key.to_ne_bytes(), &[1; 8], 0).unwrap();
        }
        let batch = map.lookup_batch(&[], 1, none);
        if batch.errno == Some(Errno::ENOSPC) {
            let text = |count: u32| {
                let batch = map.lookup_batch(&[], count, none);
                format!("{} count={}", outcome(batch.errno), batch.count)
            };
            record.case("hash elements=2 in-one-bucket count=1", &text(1));
            record.case("hash elements=2 in-one-bucket count=2", &text(2));
            record.case("hash elements=2 in-one-bucket count=3", &text(3));
            break;
        }
    }
    let map = kernel.create_map(&spec).unwrap();
    for key in 0..8_u32 {
        map.update(&key.to_ne_bytes(), &[1; 8], 0).unwrap();
    }
    let batch = map.lookup_batch(&[], 7, none);
    let all = batch.errno.is_none() && batch.count <= 7 && batch.count > 0;
    record.case(
        "hash elements=8 count=7",
        if all { "ok, whole buckets up to 7 elements" } else { "otherwise" },
    );
}

/// Which programs a program array takes once it has an owner.
fn owners(kernel: &Kernel, record: &mut Record) {
    record.note("the owner of a prog_array: how it got one, then what may go in");
    let candidates = [SCHED_CLS, XDP, CGROUP_SKB, CGROUP_SKB_EGRESS];
    for owner in candidates {
        for by in ["insertion", "use"] {
            for other in candidates {
                let spec = MapSpec::new(map_type::PROG_ARRAY, 4, 4, 2);
                let array = kernel.create_map(&spec).unwrap();
                let plain = Asm::new().mov(R0, 0).exit().build();
                let user =
                    Asm::new().map(R2, array.fd()).mov(R3, 0).call(12).mov(R0, 0).exit().build();
                let load = |ty: crate::probe::Type, insns| {
                    kernel.load(&ProgSpec::new(ty.id, insns).expected_attach_type(ty.attach))
                };
                let _first = if by == "use" {
                    load(owner, &user).unwrap()
                } else {
                    let prog = load(owner, &plain).unwrap();
                    array.update(&[0; 4], &prog.fd().to_ne_bytes(), 0).unwrap();
                    prog
                };
                let prog = load(other, &plain).unwrap();
                let inserted = array.update(&1_u32.to_ne_bytes(), &prog.fd().to_ne_bytes(), 0);
                let used = load(other, &user).err().map(|refused| refused.errno);
                record.case(
                    &format!("prog_array owner={} by={by} then={}", owner.name, other.name),
                    &format!("insert:{} use:{}", outcome(inserted.err()), outcome(used)),
                );
            }
        }
    }
    let array = kernel.create_map(&MapSpec::new(map_type::PROG_ARRAY, 4, 4, 2)).unwrap();
    let insns = Asm::new().mov(R0, 0).exit().build();
    let put = |prog_type| {
        let prog = kernel.load(&ProgSpec::new(prog_type, &insns)).unwrap();
        let result = array.update(&[0; 4], &prog.fd().to_ne_bytes(), 0);
        let _ = array.delete(&[0; 4]);
        outcome(result.err())
    };
    let answer = format!("{},{}", put(prog_type::XDP), put(prog_type::SCHED_CLS));
    record.case("prog_array insert=xdp, delete it, insert=sched_cls", &answer);
}
