//! Queues and stacks: what is pushed is popped once.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use skep_maps::{Errno, MapType, sys};

use crate::{RUNNERS, RUNS, Turns, create, def, load, machine, stress};

const FULL: u64 = 1 << 62;
const EMPTY: u64 = 1 << 61;
const PUSHED: u64 = 1 << 60;
/// Values pushed by user space come after the programs'.
const USER: u64 = RUNNERS as u64;

#[test]
fn what_is_pushed_to_a_queue_is_popped_once() {
    push_and_pop(MapType::Queue);
}

#[test]
fn what_is_pushed_to_a_stack_is_popped_once() {
    push_and_pop(MapType::Stack);
}

/// Two runs of three push, the third pops; user space does both too.
fn push_and_pop(map_type: MapType) {
    let machine = machine();
    let map = create(&machine, &def(map_type, 0, 8, 16));
    // A value is unique: the runner's number and the run's.
    let asm = "ldxdw %r7, [%r1]\nldxdw %r8, [%r1+8]\nmov %r9, %r8\nmod %r9, 3\n\
               lsh %r7, 32\nor %r7, %r8\nstxdw [%r10-8], %r7\nmov %r2, %r10\nadd %r2, -8\n\
               lddw map_idx %r1, 0\njeq %r9, 2, pop\nmov %r3, 0\ncall 87\n\
               jne %r0, 0, full\nlddw %r0, 0x1000000000000000\nor %r0, %r7\nexit\n\
               full:\nlddw %r0, 0x4000000000000000\nexit\n\
               pop:\ncall 88\njne %r0, 0, empty\nldxdw %r0, [%r10-8]\nexit\n\
               empty:\nlddw %r0, 0x2000000000000000\nexit";
    let program = load(&machine, asm, &[&map]);
    let counts = || (0..(USER + 1) * RUNS).map(|_| AtomicU8::new(0)).collect::<Vec<_>>();
    let [pushed, popped] = [counts(), counts()];
    let count = |counts: &[AtomicU8], value: u64| {
        let (runner, run) = (value >> 32, value & 0xffff_ffff);
        assert!(runner <= USER && run < RUNS, "{value:#x} is nobody's");
        counts[usize::try_from(runner * RUNS + run).expect("small")]
            .fetch_add(1, Ordering::Relaxed);
    };
    let (full, empty) = (AtomicU64::new(0), AtomicU64::new(0));
    let take = || {
        let mut value = [0; 8];
        match sys::lookup_and_delete(&*map, None, 0, &mut value) {
            Ok(()) => count(&popped, u64::from_le_bytes(value)),
            Err(errno) => {
                assert_eq!(errno, Errno::ENOENT);
                return false;
            }
        }
        true
    };
    let user = |turns: &Turns| {
        let mut runs = 0..RUNS;
        while turns.go_on() {
            if let Some(run) = runs.next() {
                let value = USER << 32 | run;
                match sys::update(&*map, None, &value.to_le_bytes(), 0) {
                    Ok(()) => count(&pushed, value),
                    Err(errno) => assert_eq!(errno, Errno::E2BIG),
                }
            }
            take();
        }
    };
    stress(&machine, &program, user, |r0| match r0 {
        FULL => drop(full.fetch_add(1, Ordering::Relaxed)),
        EMPTY => drop(empty.fetch_add(1, Ordering::Relaxed)),
        r0 if r0 & PUSHED != 0 => count(&pushed, r0 & !PUSHED),
        value => count(&popped, value),
    });
    while take() {}
    for (value, (pushed, popped)) in pushed.iter().zip(&popped).enumerate() {
        let [pushed, popped] = [pushed, popped].map(|count| count.load(Ordering::Relaxed));
        assert!(pushed <= 1 && pushed == popped, "{value}: pushed {pushed}, popped {popped}");
    }
    let sum: u64 = pushed.iter().map(|count| u64::from(count.load(Ordering::Relaxed))).sum();
    assert!(sum > RUNS, "much was pushed: {sum}");
    // The room is all there: sixteen values and no more.
    for value in 0..16_u64 {
        sys::update(&*map, None, &value.to_le_bytes(), 0).expect("there is room");
    }
    assert_eq!(sys::update(&*map, None, &[0; 8], 0), Err(Errno::E2BIG));
}
