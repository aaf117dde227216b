//! Queues and stacks against a `VecDeque`, and many threads on one of them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::collection::vec;
use proptest::prelude::*;
use skep_maps::{Errno, Map, MapDef, MapType, Source, Target, World, create, flags, sys};
use skep_memory::{GuestSlice, Window};

fn world() -> Arc<World> {
    let window = Window::with_len(64 << 20).expect("a small window");
    World::new(window, 2).expect("it has room for handles")
}

fn map(world: &Arc<World>, map_type: MapType, value_size: u32, max_entries: u32) -> Arc<dyn Map> {
    let def = MapDef {
        name: "values".to_owned(),
        map_type: map_type.id(),
        value_size,
        max_entries,
        ..MapDef::default()
    };
    create(world, &def).expect("it keeps the rules")
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Push { byte: u8, flags: u64 },
    Pop,
    Peek,
    List,
}

/// Who does a step: both sides must do the same.
#[derive(Debug, Clone, Copy)]
enum Side {
    Program,
    User,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<u8>(), prop_oneof![4 => Just(0), 2 => Just(2), 1 => any::<u64>()])
            .prop_map(|(byte, flags)| Step::Push { byte, flags }),
        3 => Just(Step::Pop),
        1 => Just(Step::Peek),
        1 => Just(Step::List),
    ]
}

/// The value that a byte stands for: bytes that differ from place to place.
fn value(byte: u8, size: u32) -> Vec<u8> {
    (0..size).map(|at| byte.wrapping_add(at.to_le_bytes()[0])).collect()
}

/// What the kernel's documentation says of a push.
fn model_push(model: &mut VecDeque<u8>, most: usize, byte: u8, flags: u64) -> Result<(), Errno> {
    if flags != flags::BPF_ANY && flags != flags::BPF_EXIST {
        return Err(Errno::EINVAL);
    }
    if model.len() == most {
        if flags == flags::BPF_ANY {
            return Err(Errno::E2BIG);
        }
        model.pop_front();
    }
    model.push_back(byte);
    Ok(())
}

fn do_step(map: &dyn Map, side: Side, step: Step, model: &mut VecDeque<u8>, guest: GuestSlice<'_>) {
    let def = map.core().def();
    let (size, most) = (def.value_size, def.max_entries as usize);
    let is_stack = map.core().map_type() == MapType::Stack;
    let mut out = vec![0xee; size as usize];
    let next = if is_stack { model.back() } else { model.front() };
    let next = next.map(|&byte| value(byte, size));
    match step {
        Step::Push { byte, flags } => {
            let bytes = value(byte, size);
            let pushed = match side {
                Side::User => sys::update(map, None, &bytes, flags),
                Side::Program => {
                    guest.write(&bytes);
                    map.push(Source::Guest(guest), flags)
                }
            };
            assert_eq!(pushed, model_push(model, most, byte, flags));
        }
        Step::Pop | Step::Peek => {
            let pops = matches!(step, Step::Pop);
            let got = match side {
                Side::User if pops => sys::lookup_and_delete(map, None, 0, &mut out),
                Side::User => sys::lookup(map, None, 0, &mut out),
                Side::Program => {
                    guest.fill(0xee);
                    let mut target = Target::Guest(guest);
                    let got = if pops { map.pop(&mut target) } else { map.peek(&mut target) };
                    guest.read(&mut out);
                    got
                }
            };
            match (next, side) {
                (Some(next), _) => assert_eq!((got, out), (Ok(()), next)),
                // A program's buffer is zeroed, user space's is left alone.
                (None, Side::Program) => {
                    assert_eq!((got, out), (Err(Errno::ENOENT), vec![0; size as usize]));
                }
                (None, Side::User) => {
                    assert_eq!((got, out), (Err(Errno::ENOENT), vec![0xee; size as usize]));
                }
            }
            if pops && is_stack {
                model.pop_back();
            } else if pops {
                model.pop_front();
            }
        }
        Step::List => {
            let mut expected: Vec<Vec<u8>> = model.iter().map(|&byte| value(byte, size)).collect();
            if is_stack {
                expected.reverse();
            }
            assert_eq!(map.queued(), expected);
        }
    }
}

proptest! {
    #[test]
    fn they_do_what_a_deque_does(
        is_stack: bool,
        size in 1..20u32,
        most in 1..6u32,
        steps in vec((step(), any::<bool>()), 0..200),
    ) {
        let world = world();
        let map_type = if is_stack { MapType::Stack } else { MapType::Queue };
        let tested = map(&world, map_type, size, most);
        let desk = MapDef {
            map_type: MapType::Array.id(),
            key_size: 4,
            value_size: size,
            max_entries: 1,
            ..MapDef::default()
        };
        let desk = create(&world, &desk).expect("an array");
        let guest = desk.lookup(&[0; 4], 0).and_then(|ptr| ptr.slice(world.window(), size));
        let guest = guest.expect("an array has a value 0");
        let mut model = VecDeque::new();
        for (step, by_user) in steps {
            let side = if by_user { Side::User } else { Side::Program };
            do_step(&*tested, side, step, &mut model, guest);
        }
    }
}

#[test]
fn threads_take_each_value_once_and_a_queue_keeps_each_threads_order() {
    const THREADS: u32 = 4;
    const EACH: u32 = 5_000;
    for map_type in [MapType::Queue, MapType::Stack] {
        let world = world();
        let tested = map(&world, map_type, 16, 64);
        let producing = AtomicUsize::new(THREADS as usize);
        let taken: Vec<Vec<[u32; 4]>> = std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (tested, producing) = (&*tested, &producing);
                scope.spawn(move || {
                    for number in 0..EACH {
                        // All four words tell the same: a torn value would be seen.
                        let words = [thread, number, thread ^ u32::MAX, number ^ u32::MAX];
                        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
                        while tested.push(Source::Host(&bytes), 0) == Err(Errno::E2BIG) {
                            std::thread::yield_now();
                        }
                    }
                    producing.fetch_sub(1, Ordering::Release);
                });
            }
            let consumers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| consume(&*tested, || producing.load(Ordering::Acquire) > 0))
                })
                .collect();
            consumers.into_iter().map(|c| c.join().expect("it does not panic")).collect()
        });
        let mut count = vec![0; (THREADS * EACH) as usize];
        for list in &taken {
            let mut last = [None; THREADS as usize];
            for &[thread, number, ..] in list {
                count[(thread * EACH + number) as usize] += 1;
                let before = last[thread as usize].replace(number);
                if map_type == MapType::Queue {
                    assert!(before < Some(number), "{thread}: {number} after {before:?}");
                }
            }
        }
        assert!(count.iter().all(|&count| count == 1), "{map_type}: each value is taken once");
        assert!(tested.queued().is_empty());
    }
}

/// Takes values until there are no more to come.
fn consume(map: &dyn Map, more: impl Fn() -> bool) -> Vec<[u32; 4]> {
    let mut taken = Vec::new();
    let mut bytes = [0; 16];
    loop {
        let expected = more();
        match map.pop(&mut Target::Host(&mut bytes)) {
            Ok(()) => {
                let word = |n: usize| u32::from_le_bytes(bytes[n..n + 4].try_into().expect("four"));
                let words = [word(0), word(4), word(8), word(12)];
                assert_eq!([words[0] ^ u32::MAX, words[1] ^ u32::MAX], words[2..], "torn");
                taken.push(words);
            }
            Err(errno) => {
                assert_eq!(errno, Errno::ENOENT);
                if !expected {
                    return taken;
                }
                std::thread::yield_now();
            }
        }
    }
}

#[test]
fn the_largest_number_of_entries_makes_a_map_that_takes_none() {
    // The kernel adds one to it in 32 bits, and so finds the map full for ever.
    let world = world();
    for map_type in [MapType::Queue, MapType::Stack] {
        let tested = map(&world, map_type, 1, u32::MAX);
        assert_eq!(sys::update(&*tested, None, &[1], flags::BPF_ANY), Err(Errno::E2BIG));
        assert_eq!(sys::update(&*tested, None, &[1], flags::BPF_EXIST), Ok(()));
        assert_eq!(sys::lookup(&*tested, None, 0, &mut [0]), Err(Errno::ENOENT));
    }
}

#[test]
fn no_sizes_make_it_panic() {
    let world = world();
    for map_type in [MapType::Queue, MapType::Stack] {
        for value_size in [0, 1, 7, 4 << 20, (4 << 20) + 1, u32::MAX] {
            for max_entries in [0, 1, 1 << 20, u32::MAX - 1, u32::MAX] {
                let def = MapDef {
                    map_type: map_type.id(),
                    value_size,
                    max_entries,
                    ..MapDef::default()
                };
                // Either answer is right; the kernel's depends on its memory.
                if let Ok(map) = create(&world, &def) {
                    assert!(map.memory_usage() > u64::from(value_size));
                    let pushed = sys::update(&*map, None, &vec![1; value_size as usize], 0);
                    assert_eq!(pushed.is_err(), max_entries == u32::MAX);
                }
            }
        }
    }
}
