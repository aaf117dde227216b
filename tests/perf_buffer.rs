//! The consumer of perf events: what it gets, what is lost, when it wakes.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use skep::{Errno, Error, FixedHost, Input, Loaded, Map, MapDef, MapType, Object, Vm};

fn vm() -> Vm {
    Vm::builder().cpus(2).host(FixedHost::default()).build().expect("memory")
}

fn load(vm: &Vm) -> Loaded {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let object = Object::open(root.join("testdata/objects/perf_events.bpf.o"));
    vm.load(object.expect("an object")).expect("it loads")
}

/// Runs `elsewhere` on a CPU: two samples to its own event, a third to element 0.
fn run(vm: &Vm, loaded: &Loaded, cpu: u32, number: u32) -> u32 {
    let mut ctx = [0; 48];
    ctx[32..36].copy_from_slice(&number.to_le_bytes());
    let program = loaded.program("elsewhere").expect("it is there");
    let mut runner = vm.runner_on(cpu).expect("the CPU is free");
    runner.run(&program, Input::raw(ctx)).expect("it runs").retval
}

/// What a program returns for an errno.
fn retval(errno: Errno) -> u32 {
    (-errno.number()).cast_unsigned()
}

fn readable(buffer: &skep::PerfBuffer) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut fds = [PollFd::new(buffer, PollFlags::IN)];
    poll(&mut fds, Some(&now)).expect("it can be polled") > 0
}

fn take(buffer: &mut skep::PerfBuffer) -> Vec<(u32, u32)> {
    let mut samples = Vec::new();
    buffer.consume(|sample| {
        samples.push((sample.cpu, sample.data.get(0).expect("4 bytes")));
        ControlFlow::Continue(())
    });
    samples
}

#[test]
fn samples_come_with_their_cpu_and_in_order() {
    let vm = vm();
    let loaded = load(&vm);
    let events = loaded.map("events").expect("it is there");
    assert_eq!(events.def().max_entries, 2, "an element for each CPU");
    let mut buffer = events.perf_buffer(1).expect("a power of two");
    assert!(!readable(&buffer));
    assert_eq!(run(&vm, &loaded, 1, 10), retval(Errno::EOPNOTSUPP));
    assert_eq!(run(&vm, &loaded, 0, 20), 0);
    assert!(readable(&buffer));
    assert_eq!(take(&mut buffer), [(0, 20), (0, 21), (0, 22), (1, 10), (1, 11)]);
    assert!(!readable(&buffer));
    assert_eq!((buffer.lost(0), buffer.lost(1), buffer.lost(2)), (0, 0, 0));
}

#[test]
fn a_callback_that_breaks_leaves_the_rest() {
    let vm = vm();
    let loaded = load(&vm);
    let mut buffer = loaded.map("events").unwrap().perf_buffer(1).unwrap();
    run(&vm, &loaded, 0, 1);
    run(&vm, &loaded, 1, 5);
    assert_eq!(buffer.consume(|_| ControlFlow::Break(())), 1);
    assert_eq!(take(&mut buffer), [(0, 2), (0, 3), (1, 5), (1, 6)]);
}

#[test]
fn what_finds_no_room_is_counted_and_then_there_is_room_again() {
    let vm = vm();
    let loaded = load(&vm);
    let mut buffer = loaded.map("events").unwrap().perf_buffer(1).unwrap();
    // Records of 16 bytes: 255 leave a byte free.
    for n in 0..100 {
        run(&vm, &loaded, 0, n);
    }
    assert_eq!(take(&mut buffer).len(), 255);
    assert_eq!((buffer.lost(0), buffer.lost(1)), (45, 0));
    run(&vm, &loaded, 0, 7);
    assert_eq!(take(&mut buffer), [(0, 7), (0, 8), (0, 9)]);
    assert_eq!(buffer.lost(0), 45);
    assert_eq!(loaded.lost().len(), 1);
}

#[test]
fn polling_waits_for_a_sample_and_no_longer_than_it_is_told() {
    let vm = vm();
    let loaded = load(&vm);
    let mut buffer = loaded.map("events").unwrap().perf_buffer(1).unwrap();
    let start = Instant::now();
    let taken = buffer.poll(Duration::from_millis(20), |_| ControlFlow::Continue(()));
    assert_eq!(taken.unwrap(), 0);
    assert!(start.elapsed() >= Duration::from_millis(20));
    std::thread::scope(|scope| {
        scope.spawn(|| run(&vm, &loaded, 1, 1));
        let mut taken = 0;
        while taken < 2 {
            taken += buffer.poll(Duration::from_secs(10), |_| ControlFlow::Continue(())).unwrap();
        }
    });
}

#[test]
fn events_leave_the_map_with_their_consumer_but_not_with_another() {
    let vm = vm();
    let loaded = load(&vm);
    let events = loaded.map("events").unwrap();
    let first = events.perf_buffer(1).unwrap();
    let mut second = events.perf_buffer(1).unwrap();
    drop(first);
    assert_eq!(run(&vm, &loaded, 0, 3), 0);
    assert_eq!(take(&mut second).len(), 3);
    drop(second);
    assert_eq!(run(&vm, &loaded, 0, 3), retval(Errno::ENOENT));
}

#[test]
fn the_object_takes_the_samples_of_all_its_buffers() {
    let vm = vm();
    let loaded = load(&vm);
    let buffers = loaded.open_perf_buffers(1).unwrap();
    assert_eq!((buffers.len(), loaded.open_perf_buffers(1).unwrap().len()), (1, 0));
    run(&vm, &loaded, 1, 0x41);
    let text = loaded.snapshot().to_string();
    assert!(text.ends_with("event events cpu1 41000000\nevent events cpu1 42000000\n"), "{text}");
    assert!(loaded.events().is_empty());
}

#[test]
fn what_cannot_be_is_refused() {
    let vm = vm();
    let loaded = load(&vm);
    let events = loaded.map("events").unwrap();
    for pages in [0, 3, u32::MAX] {
        let Err(Error::Map(error)) = events.perf_buffer(pages) else { panic!("{pages}") };
        assert_eq!(error.errno, Errno::EINVAL, "{pages}");
    }
    let Err(Error::Map(error)) = events.perf_buffer(1 << 31) else { panic!("it is too big") };
    assert_eq!(error.errno, Errno::ENOMEM);
    let error = loaded.map(".bss").unwrap().perf_buffer(1).unwrap_err();
    assert_eq!(error.to_string(), "map `.bss` is of type array, which has no perf events");
    // A long array costs nothing, and only CPUs get an event.
    let long = MapDef {
        name: "long".to_owned(),
        map_type: MapType::PerfEventArray.id(),
        key_size: 4,
        value_size: 4,
        max_entries: u32::MAX,
        ..MapDef::default()
    };
    let long = Map::create(&vm, &long).unwrap();
    assert_eq!(long.perf_buffer(1).unwrap().cpus(), 2);
    assert!(long.entries().is_empty());
}
