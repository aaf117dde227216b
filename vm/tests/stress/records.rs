//! Records: each comes once, whole, and in the order of its producer.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

use skep_maps::perf::{PerfEvent, PerfEventAttr, PerfRecord};
use skep_maps::{Descriptor, Errno, MapType, UserRingBuf, sys};

use crate::{RUNNERS, Turns, create, def, load, load_as, machine, stress, word};

#[test]
fn records_of_a_ring_come_whole_and_in_the_order_of_their_producer() {
    let machine = machine();
    let ring = create(&machine, &def(MapType::Ringbuf, 0, 0, 4096));
    // A record is the context; every fourth is discarded. 1: submitted, 2: no room.
    let asm = "mov %r6, %r1\nlddw map_idx %r1, 0\nmov %r2, 16\nmov %r3, 0\ncall 131\n\
               jne %r0, 0, reserved\nmov %r0, 2\nexit\nreserved:\n\
               ldxdw %r1, [%r6]\nstxdw [%r0], %r1\nldxdw %r7, [%r6+8]\nstxdw [%r0+8], %r7\n\
               and %r7, 3\nmov %r1, %r0\nmov %r2, 0\njeq %r7, 3, discard\ncall 132\n\
               mov %r0, 1\nexit\ndiscard:\ncall 133\nmov %r0, 0\nexit";
    let program = load(&machine, asm, &[&ring]);
    let buffer = ring.downcast::<skep_maps::RingBuf>().expect("it is a ring");
    let (submitted, dropped) = (AtomicU64::new(0), AtomicU64::new(0));
    let consumed = AtomicU64::new(0);
    let consume = |turns: &Turns| {
        let mut next = [0; RUNNERS as usize];
        loop {
            let last = !turns.go_on();
            let walk = buffer.consume(|record| {
                let (runner, run) = (record.get::<u64>(0), record.get::<u64>(8));
                let expected = &mut next[usize::try_from(runner).expect("a runner")];
                assert!(run >= *expected, "runner {runner}: {run} after {expected}");
                assert_ne!(run % 4, 3, "it was discarded");
                *expected = run + 1;
                ControlFlow::Continue(())
            });
            consumed.fetch_add(walk.records, Ordering::Relaxed);
            if last && buffer.query(0) == 0 {
                return;
            }
        }
    };
    stress(&machine, &program, consume, |r0| match r0 {
        1 => drop(submitted.fetch_add(1, Ordering::Relaxed)),
        2 => drop(dropped.fetch_add(1, Ordering::Relaxed)),
        _ => {}
    });
    assert_eq!(consumed.into_inner(), submitted.into_inner(), "no record is lost or doubled");
    assert_eq!(buffer.dropped(), dropped.into_inner());
}

#[test]
fn samples_of_perf_events_come_whole_and_what_is_missing_is_counted() {
    let machine = machine();
    let array = create(&machine, &def(MapType::PerfEventArray, 4, 4, RUNNERS));
    let events: Vec<Descriptor<PerfEvent>> = (0..RUNNERS)
        .map(|cpu| {
            let event = PerfEvent::open(machine.world(), PerfEventAttr::output(cpu));
            event.object().map_buffer(1).expect("a power of two");
            let number = event.number().to_le_bytes();
            sys::update(&*array, Some(&cpu.to_le_bytes()), &number, 0).expect("it fits");
            event
        })
        .collect();
    // A sample is the run's context; 4 bytes of padding follow its 4 bytes of length.
    let asm = "ldxdw %r2, [%r1]\nstxdw [%r10-16], %r2\nldxdw %r2, [%r1+8]\nstxdw [%r10-8], %r2\n\
               lddw map_idx %r2, 0\nmov32 %r3, -1\nmov %r4, %r10\nadd %r4, -16\nmov %r5, 16\n\
               call 25\nexit";
    let program = load_as(&machine, "raw_tracepoint", asm, &[&array]);
    let (put, missed) = (AtomicU64::new(0), AtomicU64::new(0));
    let (seen, lost) = (AtomicU64::new(0), AtomicU64::new(0));
    let consume = |turns: &Turns| {
        let mut next = [0; RUNNERS as usize];
        loop {
            let last = !turns.go_on();
            for (event, cpu) in events.iter().zip(0_u64..) {
                event.object().consume(|record| {
                    match record {
                        PerfRecord::Sample(data) => {
                            let [runner, run] = [0, 8].map(|at| {
                                let mut word = [0; 8];
                                data.read(at, &mut word);
                                u64::from_le_bytes(word)
                            });
                            assert_eq!(runner, cpu, "each CPU has its own buffer");
                            let expected = &mut next[usize::try_from(runner).expect("a runner")];
                            assert!(run >= *expected, "runner {runner}: {run} after {expected}");
                            *expected = run + 1;
                            seen.fetch_add(1, Ordering::Relaxed);
                        }
                        PerfRecord::Lost(count) => drop(lost.fetch_add(count, Ordering::Relaxed)),
                        PerfRecord::Broken => panic!("all samples are short"),
                    }
                    ControlFlow::Continue(())
                });
            }
            if last {
                return;
            }
        }
    };
    stress(&machine, &program, consume, |r0| match r0 {
        0 => drop(put.fetch_add(1, Ordering::Relaxed)),
        r0 => {
            assert_eq!(r0, Errno::ENOSPC.to_r0());
            missed.fetch_add(1, Ordering::Relaxed);
        }
    });
    assert_eq!(seen.into_inner(), put.into_inner(), "no sample is lost or doubled");
    let missed = missed.into_inner();
    let counted: u64 = events.iter().map(|event| event.object().lost()).sum();
    assert_eq!(counted, missed, "each that found no room is counted");
    assert!(lost.into_inner() <= missed, "and told before the next one that did");
}

#[test]
fn samples_of_a_user_ring_are_drained_once_and_in_order() {
    let machine = machine();
    let ring = create(&machine, &def(MapType::UserRingbuf, 0, 0, 4096));
    let counts = create(&machine, &def(MapType::Array, 4, 32, 1));
    // The callback compares the sample's number with the next one that is expected (word 0)
    // and counts (word 1) when it is another. Word 2 is the sum of what drains returned.
    let asm = "lddw map_idx %r1, 0\nlddw func %r2, body\nmov %r3, 0\nmov %r4, 0\ncall 209\n\
               jslt %r0, 0, out\nlddw map_idx_value %r1, 1, 0\nlock add [%r1+16], %r0\nmov %r0, 0\n\
               out:\nexit\n\
               body:\nmov %r3, %r1\nmov %r1, %r10\nadd %r1, -8\nmov %r2, 8\nmov %r4, 0\nmov %r5, 0\n\
               call 201\nldxdw %r1, [%r10-8]\nlddw map_idx_value %r2, 1, 0\nldxdw %r3, [%r2]\n\
               jeq %r1, %r3, expected\nldxdw %r4, [%r2+8]\nadd %r4, 1\nstxdw [%r2+8], %r4\n\
               expected:\nadd %r1, 1\nstxdw [%r2], %r1\nmov %r0, 0\nexit";
    let program = load(&machine, asm, &[&ring, &counts]);
    let buffer = ring.downcast::<UserRingBuf>().expect("it is a user ring");
    let (put, busy) = (AtomicU64::new(0), AtomicU64::new(0));
    let produce = |turns: &Turns| {
        let mut number = 0_u64;
        while turns.go_on() {
            let Ok(record) = buffer.reserve(8 + u32::try_from(number % 40).expect("below 40"))
            else {
                std::thread::yield_now();
                continue;
            };
            // Every fifth is discarded, and has the next one's number.
            let discard = put.fetch_add(1, Ordering::Relaxed) % 5 == 4;
            buffer.record_data(record).set(0, number);
            buffer.commit(record, discard);
            number += u64::from(!discard);
        }
        put.store(number, Ordering::Relaxed);
    };
    stress(&machine, &program, produce, |r0| {
        if r0 != 0 {
            assert_eq!(r0, Errno::EBUSY.to_r0());
            busy.fetch_add(1, Ordering::Relaxed);
        }
    });
    // What is left: user space was the last to stop.
    let mut runner = skep_vm::Runner::new(&machine, 0, skep_vm::Engine::default())
        .expect("there is room for a runner");
    while buffer.consumer_pos() < buffer.producer_pos() {
        let host = skep_vm::FixedHost::default();
        let limits = skep_vm::Limits::default();
        let context = skep_vm::Input::raw(vec![0; 16]);
        runner.run(&program, &context, &host, limits).expect("it runs");
    }
    let words = word(&*counts, 0).expect("it is there");
    assert_eq!(words[1], 0, "samples out of order");
    assert_eq!((words[0], words[2]), (put.load(Ordering::Relaxed), put.into_inner()));
    assert!(words[0] > 0, "some were drained");
}
