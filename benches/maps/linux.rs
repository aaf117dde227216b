//! The kernel's maps, under its JIT: programs that do sixteen operations a run.
//!
//! They are traffic control programs: the kernel lets XDP programs of different threads
//! into test runs one after the other.

use skep_oracle::asm::{
    ADD, AND, Asm, DW, H, JEQ, LSH, MOV, MUL, OR, R0, R1, R2, R3, R4, R6, R7, R8, R9, R10, RSH, W,
    XOR,
};
use skep_oracle::{
    BatchFlags, Kernel, Map, MapSpec, Prog, ProgSpec, RingReader, TestRun, map_type, prog_type,
};

use crate::work::{
    HashOp, Kind, LRU_ENTRIES, PREFIXES, RING_BYTES, RING_RECORDS, ROOM, SPREAD, Side, Work, key,
    prefix,
};

/// Operations of one run of a program.
const OPS: i32 = 16;

struct Linux {
    kernel: Kernel,
    kind: Kind,
    map: Map,
    /// A program for each thread, and what it keeps: its random state, and the next key.
    programs: Vec<(Prog, Map)>,
}

pub(crate) fn side(kernel: &Kernel, work: &Work) -> Box<dyn Side> {
    let spec = match work.kind {
        Kind::Hash { key, entries, .. } => {
            let key = u32::try_from(key).unwrap();
            MapSpec::new(map_type::HASH, key, 8, entries + ROOM)
        }
        Kind::LruEvict => MapSpec::new(map_type::LRU_HASH, 4, 8, LRU_ENTRIES),
        Kind::LpmLookup => MapSpec::new(map_type::LPM_TRIE, 8, 8, 16_384).flags(1),
        Kind::Ring => MapSpec::new(map_type::RINGBUF, 0, 0, RING_BYTES),
    };
    let map = kernel.create_map(&spec).unwrap();
    match work.kind {
        Kind::Hash { key: len, entries, .. } => {
            let keys = (0..entries).flat_map(|n| key(len, n)[..len].to_vec()).collect::<Vec<_>>();
            fill(&map, &keys, entries);
        }
        Kind::LpmLookup => {
            let keys = (0..PREFIXES).flat_map(prefix).collect::<Vec<_>>();
            fill(&map, &keys, PREFIXES);
        }
        Kind::LruEvict | Kind::Ring => {}
    }
    let programs = (0..2)
        .map(|thread| {
            let state = kernel.create_map(&MapSpec::new(map_type::ARRAY, 4, 16, 1)).unwrap();
            let seed = 0x9e37_79b9_7f4a_7c15_u64 ^ (thread + 1) << 33;
            let words = [seed.to_le_bytes(), (thread << 31).to_le_bytes()].concat();
            state.update(&[0; 4], &words, 0).unwrap();
            let insns = program(work.kind, &map, &state, thread);
            (kernel.load(&ProgSpec::new(prog_type::SCHED_CLS, &insns)).unwrap(), state)
        })
        .collect();
    Box::new(Linux { kernel: kernel.clone(), kind: work.kind, map, programs })
}

fn fill(map: &Map, keys: &[u8], count: u32) {
    let values = vec![1; count as usize * 8];
    let done = map.update_batch(keys, &values, count, BatchFlags::default());
    assert_eq!((done.errno, done.count), (None, count), "the kernel's map is filled");
}

/// Sixteen operations in a loop. r6 is the state, r7 counts, r8 is the sum, r9 the random
/// number.
fn program(kind: Kind, map: &Map, state: &Map, thread: u64) -> Vec<skep_vm::isa::Insn> {
    let mut asm = Asm::new();
    asm.map_value(R6, state.fd(), 0).mov(R7, OPS).mov(R8, 0).label("again");
    asm.ldx(DW, R9, R6, 0);
    for (op, by) in [(LSH, 13), (RSH, 7), (LSH, 17)] {
        asm.mov_reg(R1, R9).alu64(op, R1, by).alu64_reg(XOR, R9, R1);
    }
    asm.stx(DW, R6, 0, R9);
    match kind {
        Kind::Hash { key, entries, op } => {
            let entries = i32::try_from(entries).unwrap();
            asm.mov_reg(R1, R9);
            match op {
                HashOp::Get | HashOp::Update => {
                    asm.alu64(RSH, R1, 32).alu64(MUL, R1, entries).alu64(RSH, R1, 32);
                }
                HashOp::InsertDelete => {
                    asm.alu64(AND, R1, 511).alu64(LSH, R1, 1);
                    asm.alu64(OR, R1, i32::try_from(thread & 1).unwrap());
                    asm.alu64(ADD, R1, entries);
                }
            }
            put_key(&mut asm, key);
            match op {
                HashOp::Get => lookup(&mut asm, map),
                HashOp::Update => update(&mut asm, map),
                HashOp::InsertDelete => {
                    update(&mut asm, map);
                    asm.map(R1, map.fd()).mov_reg(R2, R10).alu64(ADD, R2, -16).call(3);
                    asm.alu64_reg(ADD, R8, R0);
                }
            }
        }
        Kind::LruEvict => {
            asm.ldx(W, R1, R6, 8).stx(W, R10, -16, R1).alu64(ADD, R1, 1).stx(W, R6, 8, R1);
            update(&mut asm, map);
        }
        Kind::LpmLookup => {
            asm.mov_reg(R1, R9).alu64(RSH, R1, 32);
            asm.st(W, R10, -16, 32).stx(W, R10, -12, R1);
            lookup(&mut asm, map);
        }
        Kind::Ring => {
            asm.map(R1, map.fd()).mov(R2, 64).mov(R3, 0).call(131).jmp(JEQ, R0, 0, "full");
            for word in 0..8 {
                asm.stx(DW, R0, 8 * word, R9).alu64(ADD, R9, 1);
            }
            asm.mov_reg(R1, R0).mov(R2, 1).call(132);
        }
    }
    asm.alu64(ADD, R7, -1).jmp(JEQ, R7, 0, "end").ja("again");
    asm.label("end").mov(R0, 2).exit();
    if kind == Kind::Ring {
        asm.label("full").mov(R0, 1).exit();
    }
    asm.build()
}

/// Writes key number r1 at r10 - 16, field by field, as clang compiles a structure.
fn put_key(asm: &mut Asm, len: usize) {
    if len == 4 {
        asm.stx(W, R10, -16, R1);
        return;
    }
    asm.mov_reg(R2, R1).alu64(RSH, R2, 3).stx(H, R10, -8, R2).st(H, R10, -6, 443);
    asm.alu32(MOV, R2, SPREAD.cast_signed()).alu32_reg(MUL, R1, R2);
    asm.stx(W, R10, -16, R1).st(W, R10, -12, 0x0a00_0001).st(W, R10, -4, 6);
}

/// Looks the key at r10 - 16 up and adds its value to the sum.
fn lookup(asm: &mut Asm, map: &Map) {
    asm.map(R1, map.fd()).mov_reg(R2, R10).alu64(ADD, R2, -16).call(1);
    asm.jmp(JEQ, R0, 0, "none").ldx(DW, R1, R0, 0).alu64_reg(ADD, R8, R1).label("none");
}

/// Stores the random number under the key at r10 - 16.
fn update(asm: &mut Asm, map: &Map) {
    asm.stx(DW, R10, -24, R9).map(R1, map.fd()).mov_reg(R2, R10).alu64(ADD, R2, -16);
    asm.mov_reg(R3, R10).alu64(ADD, R3, -24).mov(R4, 0).call(2).alu64_reg(ADD, R8, R0);
}

impl Side for Linux {
    fn run(&mut self, threads: usize) -> f64 {
        let runs = match self.kind {
            Kind::Ring => {
                u32::try_from(RING_RECORDS).unwrap() / 16 / u32::try_from(threads).unwrap()
            }
            kind => u32::try_from(kind.operations()).unwrap() / OPS.unsigned_abs(),
        };
        if self.kind == Kind::Ring {
            // What the last round has written is not read: the ring's end is its start.
            let reader = RingReader::new(&self.map).unwrap();
            reader.set_consumer_pos(reader.producer_pos());
        }
        let barrier = std::sync::Barrier::new(threads);
        let one = |(cpu, (program, _)): (usize, &(Prog, Map))| {
            let run = || {
                barrier.wait();
                let ran = program.test_run(&TestRun::new().data_in(&[0; 64]).repeat(runs)).ok();
                let ran = ran.unwrap();
                assert_eq!(ran.retval, 2, "the program did its work");
                f64::from(ran.duration) / f64::from(OPS)
            };
            self.kernel.on_cpu(cpu, run).unwrap()
        };
        std::thread::scope(|scope| {
            let one = &one;
            let programs = self.programs.iter().take(threads).enumerate();
            let running: Vec<_> = programs.map(|each| scope.spawn(move || one(each))).collect();
            let times = running.into_iter().map(|thread| thread.join().unwrap());
            times.sum::<f64>() / threads as f64
        })
    }
}
