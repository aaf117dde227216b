//! The producer of a user ring buffer, and what programs may do with its samples.

use std::path::Path;
use std::time::{Duration, Instant};

use skep::{
    Errno, Error, FaultKind, FixedHost, Input, Loaded, Map, MapDef, MapType, Object, Program,
    UserRingBuffer, Vm, isa,
};

fn vm() -> Vm {
    Vm::builder().cpus(2).host(FixedHost::default()).build().expect("memory")
}

fn load(vm: &Vm) -> Loaded {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let object = Object::open(root.join("testdata/objects/user_ring.bpf.o"));
    vm.load(object.expect("an object")).expect("it loads")
}

/// Runs `serve` and gives the number of commands that it took.
fn serve(vm: &Vm, loaded: &Loaded) -> u32 {
    let program = loaded.program("serve").expect("it is there");
    let mut runner = vm.runner().expect("a CPU is free");
    runner.run(&program, Input::none()).expect("it runs").retval
}

fn set(commands: &mut UserRingBuffer, key: u32, value: u64) {
    let record = commands.reserve(16).expect("there is room");
    record.set(0, &1u32).expect("it is inside");
    record.set(4, &key).expect("it is inside");
    record.set(8, &value).expect("it is inside");
    record.submit();
}

fn errno(result: Result<skep::UserRecord, Error>) -> Errno {
    match result {
        Err(Error::Map(error)) => error.errno,
        other => panic!("{other:?}"),
    }
}

#[test]
fn programs_get_records_in_the_order_of_their_reservation() {
    let vm = vm();
    let loaded = load(&vm);
    let mut commands = loaded.map("commands").unwrap().user_ring_buffer().unwrap();
    let first = commands.reserve(16).unwrap();
    set(&mut commands, 2, 20);
    // What was reserved earlier and is not submitted hides what comes later.
    assert_eq!(serve(&vm, &loaded), 0);
    first.write(0, &[1, 0, 0, 0, 1, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    first.submit();
    assert_eq!(serve(&vm, &loaded), 2);
    let values: Vec<(u32, u64)> = loaded.map("values").unwrap().iter().collect();
    assert_eq!(values, [(1, 10), (2, 20)]);
}

#[test]
fn a_record_that_is_dropped_is_skipped() {
    let vm = vm();
    let loaded = load(&vm);
    let mut commands = loaded.map("commands").unwrap().user_ring_buffer().unwrap();
    drop(commands.reserve(100).unwrap());
    commands.reserve(0).unwrap().discard();
    set(&mut commands, 3, 30);
    assert_eq!(serve(&vm, &loaded), 1);
}

#[test]
fn records_that_do_not_fit_now_or_ever_are_refused() {
    let vm = vm();
    let loaded = load(&vm);
    let mut commands = loaded.map("commands").unwrap().user_ring_buffer().unwrap();
    for len in [4089, 1 << 30, 1 << 31, usize::MAX] {
        assert_eq!(errno(commands.reserve(len)), Errno::E2BIG, "{len}");
    }
    // All of the ring can be taken.
    let all = commands.reserve(4088).unwrap();
    assert_eq!(all.len(), 4088);
    assert_eq!(errno(commands.reserve(0)), Errno::ENOSPC);
    all.submit();
    assert_eq!(errno(commands.reserve(0)), Errno::ENOSPC);
    assert_eq!(serve(&vm, &loaded), 1);
    let record = commands.reserve(8).unwrap();
    for (offset, len) in [(0, 9), (8, 1), (9, 0), (usize::MAX, 1), (usize::MAX, 0)] {
        assert!(record.write(offset, &vec![0; len]).is_err(), "{len} bytes at {offset}");
    }
    record.write(8, &[]).unwrap();
    let error = loaded.map("answers").unwrap().user_ring_buffer().unwrap_err();
    assert_eq!(
        error.to_string(),
        "map `answers` is of type ringbuf, which has no records of user space"
    );
}

#[test]
fn a_producer_waits_for_room_and_no_longer_than_it_is_told() {
    let vm = vm();
    let loaded = load(&vm);
    let mut commands = loaded.map("commands").unwrap().user_ring_buffer().unwrap();
    commands.reserve(4088).unwrap().submit();
    let start = Instant::now();
    let timeout = Duration::from_millis(20);
    assert_eq!(errno(commands.reserve_blocking(16, timeout)), Errno::ENOSPC);
    assert!(start.elapsed() >= timeout);
    assert_eq!(errno(commands.reserve_blocking(5000, Duration::from_secs(10))), Errno::E2BIG);
    std::thread::scope(|scope| {
        scope.spawn(|| serve(&vm, &loaded));
        commands.reserve_blocking(16, Duration::from_secs(10)).unwrap().discard();
    });
}

/// A user ring, an array of one value, and a program that drains the ring with a
/// callback: r6 is the dynptr, r7 the value.
fn callback(vm: &Vm, body: &str, after: &str) -> (Map, Program) {
    let map = |name: &str, map_type: MapType, sizes: [u32; 3]| {
        let [key_size, value_size, max_entries] = sizes;
        let name = name.to_owned();
        let map_type = map_type.id();
        let def = MapDef { name, map_type, key_size, value_size, max_entries, ..MapDef::default() };
        Map::create(vm, &def).expect("it can be made")
    };
    let ring = map("ring", MapType::UserRingbuf, [0, 0, 4096]);
    let value = map("value", MapType::Array, [4, 16, 1]);
    let asm = format!(
        "lddw map_idx %r1, 0\nlddw func %r2, each\nmov %r3, 0\nmov %r4, 0\ncall 209\n\
         mov %r8, %r0\nlddw map_idx_value %r7, 1, 0\n{after}\nmov %r0, %r8\nexit\n\
         each:\nmov %r6, %r1\nlddw map_idx_value %r7, 1, 0\n{body}\nmov %r0, 0\nexit"
    );
    let insns = isa::assemble(&asm).expect("it is right");
    let program = vm.program_from_insns("drain", None, &insns, &[ring.clone(), value]);
    (ring, program.expect("it is well-formed"))
}

fn run(vm: &Vm, program: &Program) -> Result<u64, FaultKind> {
    match vm.runner().expect("a CPU is free").run(program, Input::none()) {
        Ok(output) => Ok(output.r0),
        Err(Error::Fault(fault)) => Err(fault.kind),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_sample_is_out_of_reach_when_its_callback_has_returned() {
    let vm = vm();
    let keeps = "mov %r1, %r6\nmov %r2, 0\nmov %r3, 8\ncall 203\nstxdw [%r7+0], %r0";
    let (ring, program) =
        callback(&vm, keeps, "ldxdw %r1, [%r7+0]\njeq %r1, 0, +1\nldxdw %r0, [%r1+0]");
    assert_eq!(run(&vm, &program), Ok(0));
    ring.user_ring_buffer().unwrap().push(&7u64).unwrap();
    let fault = run(&vm, &program).unwrap_err().to_string();
    assert!(fault.contains("a sample of user ring buffer `ring`"), "{fault}");
}

#[test]
fn a_sample_can_be_reached_by_no_byte_more() {
    let vm = vm();
    // The header stands before the data, another record behind it.
    for (offset, reached) in [(-1, false), (0, true), (7, true), (8, false)] {
        let body =
            format!("mov %r1, %r6\nmov %r2, 0\nmov %r3, 0\ncall 203\nldxb %r1, [%r0{offset:+}]");
        let (ring, program) = callback(&vm, &body, "");
        let mut ring = ring.user_ring_buffer().unwrap();
        ring.push(&7u64).unwrap();
        ring.push(&8u64).unwrap();
        assert_eq!(run(&vm, &program).is_ok(), reached, "{offset}");
    }
}

#[test]
fn the_dynptr_of_a_callback_is_gone_when_it_has_returned() {
    let vm = vm();
    let uses = "ldxdw %r1, [%r7+0]\nmov %r2, 0\nmov %r3, 8\ncall 203";
    let (ring, program) = callback(&vm, "stxdw [%r7+0], %r6", uses);
    ring.user_ring_buffer().unwrap().push(&7u64).unwrap();
    let fault = run(&vm, &program).unwrap_err();
    assert!(matches!(fault, FaultKind::Argument { helper: "dynptr_data", .. }), "{fault}");
    // Nor can a program load or store the dynptr itself.
    let (ring, program) = callback(&vm, "ldxdw %r1, [%r6+0]", "");
    ring.user_ring_buffer().unwrap().push(&7u64).unwrap();
    assert!(matches!(run(&vm, &program), Err(FaultKind::Memory(_))));
}

#[test]
fn a_fault_in_a_callback_leaves_the_ring_as_it_was() {
    let vm = vm();
    let (ring, program) = callback(&vm, "mov %r1, 0\nldxb %r1, [%r1+0]", "");
    ring.user_ring_buffer().unwrap().push(&7u64).unwrap();
    for _ in 0..2 {
        // Were it still taken, nothing would be called back.
        assert!(matches!(run(&vm, &program), Err(FaultKind::Memory(_))));
    }
}
