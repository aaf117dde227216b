//! The consumer of a ring buffer: what it gets, what is dropped, when it wakes.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use skep::{Errno, Error, Input, Map, MapDef, MapType, Program, RingBuffer, Vm, isa};

const NO_WAKEUP: u64 = 1;
const FORCE_WAKEUP: u64 = 2;

/// Sends its context: its first word says how many bytes of it, the second the flags.
const SEND: &str = "mov %r2, %r1\nldxdw %r3, [%r1+0]\nldxdw %r4, [%r1+8]\n\
                    lddw map_idx %r1, 0\ncall 130\nexit";

/// Reserves 24 bytes, writes the context's first word three times and commits them with the
/// helper that the second names; 1 when there is no room.
const FILL: &str = "mov %r6, %r1\nlddw map_idx %r1, 0\nmov %r2, 24\nmov %r3, 0\ncall 131\n\
                    jne %r0, 0, +2\nmov %r0, 1\nexit\n\
                    ldxdw %r2, [%r6+0]\nstxdw [%r0+0], %r2\nstxdw [%r0+8], %r2\n\
                    stxdw [%r0+16], %r2\nmov %r1, %r0\nldxdw %r3, [%r6+8]\nmov %r2, 0\n\
                    jeq %r3, 133, +2\ncall 132\nja +1\ncall 133\nmov %r0, 0\nexit";

struct Bench {
    vm: Vm,
    map: Map,
}

impl Bench {
    fn new(size: u32) -> Self {
        let vm = Vm::builder().cpus(3).build().expect("memory");
        let def = MapDef {
            name: "events".to_owned(),
            map_type: MapType::Ringbuf.id(),
            max_entries: size,
            ..MapDef::default()
        };
        let map = Map::create(&vm, &def).expect("a ring");
        Self { vm, map }
    }

    fn program(&self, asm: &str) -> Program {
        let insns = isa::assemble(asm).expect("it is right");
        let maps = std::slice::from_ref(&self.map);
        let program = self.vm.program_from_insns("sender", None, &insns, maps);
        program.expect("it is well-formed")
    }

    fn consumer(&self) -> RingBuffer {
        self.map.ring_buffer().expect("it is a ring")
    }

    /// Sends a record of `len` bytes, of which the first eight are its length.
    fn send(&self, len: u64, flags: u64) -> u64 {
        let mut ctx = [0; 64];
        ctx[..8].copy_from_slice(&len.to_le_bytes());
        ctx[8..16].copy_from_slice(&flags.to_le_bytes());
        let mut runner = self.vm.runner().expect("a CPU is free");
        runner.run(&self.program(SEND), Input::raw(ctx)).expect("it runs").r0
    }
}

/// Whether the consumer's descriptor is readable now; it is reset.
fn woken(consumer: &RingBuffer) -> bool {
    let set = epoll::create(epoll::CreateFlags::CLOEXEC).expect("a set");
    let data = epoll::EventData::new_u64(0);
    epoll::add(&set, consumer, data, epoll::EventFlags::IN).expect("it takes it");
    let mut found = Vec::with_capacity(1);
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    epoll::wait(&set, rustix::buffer::spare_capacity(&mut found), Some(&now)).expect("it looks");
    if !found.is_empty() {
        rustix::io::read(consumer, &mut [0u8; 8]).expect("it is readable");
    }
    !found.is_empty()
}

#[test]
fn records_of_any_size_come_in_order_and_in_place() {
    let bench = Bench::new(4096);
    let mut consumer = bench.consumer();
    for len in [8, 0, 1, 63, 16] {
        assert_eq!(bench.send(len, 0), 0, "{len}");
    }
    let mut records = consumer.records();
    let taken = records.next_record().expect("the first");
    let record = taken.record();
    assert_eq!((record.len(), record.get::<u64>(0).unwrap()), (8, 8));
    assert_eq!(record.get::<[u16; 2]>(0).unwrap(), [8, 0]);
    assert_eq!(record.get::<u8>(7).unwrap(), 0);
    assert_eq!(record.get::<Vec<u8>>(6).unwrap(), [0, 0]);
    assert_eq!(
        record.get::<u32>(5).unwrap_err().to_string(),
        "record of 8 bytes: 4 bytes at offset 5 do not lie inside it"
    );
    for (offset, len) in [(0, 9), (8, 1), (9, 0), (usize::MAX, 1), (usize::MAX, 0)] {
        assert!(record.read(offset, &mut vec![0; len]).is_err(), "{len} bytes at {offset}");
    }
    drop(taken);
    assert!(records.next_record().is_some_and(|taken| taken.record().is_empty()));
    // The others are copied.
    let others: Vec<usize> = records.map(|bytes| bytes.len()).collect();
    assert_eq!(others, [1, 63, 16]);
    assert_eq!(consumer.consume(|_| ControlFlow::Continue(())), 0);
}

#[test]
fn a_record_keeps_its_room_until_it_is_dropped() {
    let bench = Bench::new(4096);
    let mut consumer = bench.consumer();
    // Records of 64 bytes with their headers; one byte of the ring stays free.
    let mut sent = 0;
    while bench.send(56, 0) == 0 {
        sent += 1;
    }
    assert_eq!((sent, consumer.dropped()), (63, 1));
    let mut records = consumer.records();
    let taken = records.next_record().expect("the first");
    assert_eq!(bench.send(56, 0), Errno::EAGAIN.to_r0());
    drop(taken);
    assert_eq!(bench.send(56, 0), 0);
    assert_eq!(records.count(), 63);
    assert_eq!(consumer.dropped(), 2);
}

#[test]
fn a_callback_that_breaks_leaves_the_rest() {
    let bench = Bench::new(4096);
    let mut consumer = bench.consumer();
    for len in [1, 2, 3] {
        bench.send(len, 0);
    }
    assert_eq!(consumer.consume(|_| ControlFlow::Break(())), 1);
    let mut lens = Vec::new();
    consumer.consume(|record| {
        lens.push(record.len());
        ControlFlow::Continue(())
    });
    assert_eq!(lens, [2, 3]);
}

#[test]
fn wake_ups_are_the_program_s_choice() {
    let bench = Bench::new(4096);
    let mut consumer = bench.consumer();
    assert!(!woken(&consumer));
    bench.send(8, NO_WAKEUP);
    assert!(!woken(&consumer));
    // The consumer has not read what is before it: it is awake, as far as anyone knows.
    bench.send(8, 0);
    assert!(!woken(&consumer));
    bench.send(8, FORCE_WAKEUP);
    assert!(woken(&consumer) && !woken(&consumer));
    assert_eq!(consumer.records().count(), 3);
    bench.send(8, 0);
    assert!(woken(&consumer));
    assert_eq!(bench.send(8, 4), Errno::EINVAL.to_r0());
    // What was sent before anybody looked wakes the first who does.
    let late = Bench::new(4096);
    late.send(8, NO_WAKEUP);
    assert!(woken(&late.consumer()));
}

#[test]
fn polling_waits_for_a_record_and_no_longer_than_it_is_told() {
    let bench = Bench::new(4096);
    let mut consumer = bench.consumer();
    let start = Instant::now();
    let timeout = Duration::from_millis(20);
    assert_eq!(consumer.poll(timeout, |_| ControlFlow::Continue(())).unwrap(), 0);
    assert!(start.elapsed() >= timeout);
    std::thread::scope(|scope| {
        scope.spawn(|| bench.send(8, 0));
        let taken = consumer.poll(Duration::from_secs(60), |_| ControlFlow::Continue(()));
        assert_eq!(taken.unwrap(), 1);
    });
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[test]
fn each_record_of_several_producers_arrives_once_and_whole() {
    const EACH: u64 = 20_000;
    let bench = Bench::new(4096);
    let mut consumer = bench.consumer();
    let program = bench.program(FILL);
    // Every seventh is discarded.
    let is_discarded = |n: u64| n % 7 == 6;
    let produce = |producer: u64| {
        let mut runner = bench.vm.runner().expect("a CPU is free");
        let mut full = 0;
        for n in 0..EACH {
            let helper: u64 = if is_discarded(n) { 133 } else { 132 };
            let mut ctx = [0; 16];
            ctx[..8].copy_from_slice(&(producer << 32 | n).to_le_bytes());
            ctx[8..].copy_from_slice(&helper.to_le_bytes());
            while runner.run(&program, Input::raw(ctx)).expect("it runs").r0 != 0 {
                full += 1;
                std::thread::yield_now();
            }
        }
        full
    };
    let wanted = 2 * (0..EACH).filter(|&n| !is_discarded(n)).count() as u64;
    let (mut taken, mut next) = (0, [0; 2]);
    let full: u64 = std::thread::scope(|scope| {
        let producers = [0, 1].map(|producer| scope.spawn(move || produce(producer)));
        while taken < wanted {
            let more = consumer.poll(Duration::from_secs(60), |record| {
                let [a, b, c] = record.get::<[u64; 3]>(0).expect("24 bytes");
                assert!(a == b && b == c, "{a:#x} {b:#x} {c:#x}");
                let (producer, n) = (usize::try_from(a >> 32).expect("small"), a & 0xffff_ffff);
                assert_eq!(n, next[producer], "of producer {producer}");
                next[producer] = if is_discarded(n + 1) { n + 2 } else { n + 1 };
                ControlFlow::Continue(())
            });
            let more = more.expect("it can wait");
            assert!(more > 0, "a wake-up is missing");
            taken += more;
        }
        producers.map(|producer| producer.join().expect("it is done")).iter().sum()
    });
    assert_eq!((taken, consumer.dropped()), (wanted, full));
}

#[test]
fn a_map_without_records_has_no_consumer() {
    let vm = Vm::builder().build().expect("memory");
    let def = MapDef {
        name: "counts".to_owned(),
        map_type: MapType::Array.id(),
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        ..MapDef::default()
    };
    let error = Map::create(&vm, &def).expect("an array").ring_buffer().unwrap_err();
    assert!(matches!(error, Error::WrongType { .. }));
    assert_eq!(error.to_string(), "map `counts` is of type array, which has no records");
}
