//! Tries against a linear scan over their prefixes, and many threads on one of them.

use std::cmp::Ordering as Order;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::collection::vec;
use proptest::prelude::*;
use skep_maps::{Errno, Map, MapDef, MapType, Source, World, create, flags, sys};
use skep_memory::Window;

fn world() -> Arc<World> {
    let window = Window::with_len(64 << 20).expect("a small window");
    World::new(window, 2).expect("it has room for handles")
}

fn def(data: usize, value_size: u32, max_entries: u32) -> MapDef {
    MapDef {
        name: "routes".to_owned(),
        map_type: MapType::LpmTrie.id(),
        key_size: u32::try_from(data).expect("small") + 4,
        value_size,
        max_entries,
        flags: flags::BPF_F_NO_PREALLOC,
        ..MapDef::default()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Prefix {
    len: u32,
    data: Vec<u8>,
}

impl Prefix {
    fn key(&self) -> Vec<u8> {
        [&self.len.to_le_bytes(), &self.data[..]].concat()
    }

    fn from_key(key: &[u8]) -> Self {
        let (len, data) = key.split_first_chunk().expect("a length");
        Self { len: u32::from_le_bytes(*len), data: data.to_vec() }
    }

    fn bit(&self, index: u32) -> u8 {
        self.data[index as usize / 8] >> (7 - index % 8) & 1
    }

    /// How many bits are the same, no more than either has.
    fn common(&self, other: &Self) -> u32 {
        let most = self.len.min(other.len);
        (0..most).find(|&bit| self.bit(bit) != other.bit(bit)).unwrap_or(most)
    }

    fn same(&self, other: &Self) -> bool {
        self.len == other.len && self.common(other) == self.len
    }

    /// The order of a walk: what is longer first where one begins with the other,
    /// otherwise by the first bit that differs.
    fn in_walk(&self, other: &Self) -> Order {
        let common = self.common(other);
        if common == self.len.min(other.len) {
            return other.len.cmp(&self.len);
        }
        self.bit(common).cmp(&other.bit(common))
    }
}

/// The map as a list.
struct Model {
    most: usize,
    bits: u32,
    elements: Vec<(Prefix, u64)>,
}

impl Model {
    fn position(&self, prefix: &Prefix) -> Option<usize> {
        self.elements.iter().position(|(own, _)| own.same(prefix))
    }

    fn update(&mut self, prefix: &Prefix, value: u64, flags: u64) -> Result<(), Errno> {
        if flags > flags::BPF_EXIST || prefix.len > self.bits {
            return Err(Errno::EINVAL);
        }
        match (self.position(prefix), flags) {
            (Some(_), flags::BPF_NOEXIST) => Err(Errno::EEXIST),
            (None, flags::BPF_EXIST) => Err(Errno::ENOENT),
            (None, _) if self.elements.len() == self.most => Err(Errno::ENOSPC),
            (None, _) => {
                self.elements.push((prefix.clone(), value));
                Ok(())
            }
            (Some(at), _) => {
                // What stands behind the prefix is replaced too.
                self.elements[at] = (prefix.clone(), value);
                Ok(())
            }
        }
    }

    fn delete(&mut self, prefix: &Prefix) -> Result<(), Errno> {
        if prefix.len > self.bits {
            return Err(Errno::EINVAL);
        }
        self.elements.remove(self.position(prefix).ok_or(Errno::ENOENT)?);
        Ok(())
    }

    fn longest(&self, prefix: &Prefix) -> Option<u64> {
        let fits = |own: &&(Prefix, u64)| own.0.common(prefix) == own.0.len;
        let fitting = self.elements.iter().filter(|_| prefix.len <= self.bits).filter(fits);
        fitting.max_by_key(|own| own.0.len).map(|own| own.1)
    }

    fn walk(&self) -> Vec<&Prefix> {
        let mut all: Vec<&Prefix> = self.elements.iter().map(|(prefix, _)| prefix).collect();
        all.sort_by(|a, b| a.in_walk(b));
        all
    }

    fn next(&self, prefix: Option<&Prefix>) -> Option<&Prefix> {
        let walk = self.walk();
        let own = prefix.filter(|prefix| prefix.len <= self.bits);
        let at = own.and_then(|own| walk.iter().position(|other| other.same(own)));
        walk.get(at.map_or(0, |at| at + 1)).copied()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Update { prefix: Prefix, flags: u64 },
    Delete(Prefix),
    Lookup(Prefix),
    Next(Option<Prefix>),
    Walk,
}

/// Prefixes that share paths: few lengths, few bits.
fn prefix(size: usize) -> impl Strategy<Value = Prefix> {
    let bits = 8 * u32::try_from(size).expect("small");
    let byte = prop_oneof![3 => Just(0_u8), 1 => Just(0x80), 1 => Just(1), 1 => any::<u8>()];
    let len = prop_oneof![
        6 => 0..=bits,
        2 => Just(bits),
        1 => Just(0_u32),
        1 => bits.saturating_sub(3)..=bits,
        1 => prop_oneof![Just(bits + 1), Just(u32::MAX)],
    ];
    (len, vec(byte, size)).prop_map(|(len, data)| Prefix { len, data })
}

fn step(size: usize) -> impl Strategy<Value = Step> {
    let flags = prop_oneof![6 => Just(0), 2 => Just(1), 2 => Just(2), 1 => 3..10_u64];
    prop_oneof![
        8 => (prefix(size), flags).prop_map(|(prefix, flags)| Step::Update { prefix, flags }),
        4 => prefix(size).prop_map(Step::Delete),
        4 => prefix(size).prop_map(Step::Lookup),
        2 => proptest::option::of(prefix(size)).prop_map(Step::Next),
        1 => Just(Step::Walk),
    ]
}

fn walk(map: &dyn Map) -> Vec<Prefix> {
    let (mut keys, mut next) = (Vec::<Vec<u8>>::new(), vec![0; map.core().def().key_size as usize]);
    while sys::next_key(map, keys.last().map(Vec::as_slice), &mut next).is_ok() {
        assert!(keys.len() <= map.core().def().max_entries as usize, "the walk ends");
        keys.push(next.clone());
    }
    keys.iter().map(|key| Prefix::from_key(key)).collect()
}

fn do_step(map: &dyn Map, model: &mut Model, step: &Step, value: u64) {
    match step {
        Step::Update { prefix, flags } => {
            let bytes = value.to_le_bytes();
            let done = match value % 2 {
                0 => sys::update(map, Some(&prefix.key()), &bytes, *flags),
                _ => map.update(&prefix.key(), Source::Host(&bytes), *flags, 0),
            };
            assert_eq!(done, model.update(prefix, value, *flags), "{step:?}");
        }
        Step::Delete(prefix) => {
            let done = sys::delete(map, Some(&prefix.key()));
            assert_eq!(done, model.delete(prefix), "{step:?}");
        }
        Step::Lookup(prefix) => {
            let longest = model.longest(prefix);
            let mut out = [0xee; 8];
            let by_user = sys::lookup(map, Some(&prefix.key()), 0, &mut out);
            assert_eq!(by_user.map(|()| u64::from_le_bytes(out)), longest.ok_or(Errno::ENOENT));
            let ptr = map.lookup(&prefix.key(), 0);
            let slice = ptr.and_then(|ptr| ptr.slice(map.core().world().window(), 8));
            assert_eq!(slice.map(|slice| slice.get::<u64>(0)), longest, "{step:?}");
        }
        Step::Next(prefix) => {
            let mut next = vec![0; map.core().def().key_size as usize];
            let key = prefix.as_ref().map(Prefix::key);
            let done = sys::next_key(map, key.as_deref(), &mut next);
            let expected = model.next(prefix.as_ref()).ok_or(Errno::ENOENT);
            assert_eq!(done.map(|()| Prefix::from_key(&next)), expected.cloned(), "{step:?}");
        }
        Step::Walk => {
            assert_eq!(walk(map).iter().collect::<Vec<_>>(), model.walk());
        }
    }
    let element = 24 + map.core().def().key_size as usize - 4 + 8;
    assert_eq!(map.memory_usage(), (model.elements.len() * element) as u64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn they_do_what_a_linear_scan_does(
        (size, steps) in (1..26usize).prop_flat_map(|size| (Just(size), vec(step(size), 0..150))),
        most in 1..40u32,
    ) {
        let map = create(&world(), &def(size, 8, most)).expect("it keeps the rules");
        let bits = 8 * u32::try_from(size).expect("small");
        let mut model = Model { most: most as usize, bits, elements: Vec::new() };
        for (step, value) in steps.iter().zip(0..) {
            do_step(&*map, &mut model, step, value);
        }
        do_step(&*map, &mut model, &Step::Walk, 0);
        // Emptied, it can be filled again.
        for (prefix, _) in std::mem::take(&mut model.elements) {
            prop_assert_eq!(sys::delete(&*map, Some(&prefix.key())), Ok(()));
        }
        prop_assert_eq!(map.memory_usage(), 0);
        prop_assert!(walk(&*map).is_empty());
    }
}

#[test]
fn a_map_is_full_with_as_many_elements_as_it_has_entries_however_often_they_change() {
    let map = create(&world(), &def(4, 8, 3)).expect("it keeps the rules");
    let key = |n: u32| [&32_u32.to_le_bytes()[..], &n.to_be_bytes()].concat();
    for round in 0..1_000_u32 {
        for n in 0..3 {
            let key = key(round.wrapping_mul(0x9e37_79b9) + n);
            assert_eq!(sys::update(&*map, Some(&key), &[1; 8], 0), Ok(()), "round {round}");
            assert_eq!(sys::update(&*map, Some(&key), &[2; 8], 0), Ok(()), "in its place");
        }
        assert_eq!(sys::update(&*map, Some(&[0; 8]), &[1; 8], 0), Err(Errno::ENOSPC));
        for key in sys::keys(&*map) {
            assert_eq!(sys::delete(&*map, Some(&key)), Ok(()));
        }
    }
}

#[test]
fn an_old_value_stays_as_it_was_until_64_more_have_gone() {
    let world = world();
    let map = create(&world, &def(4, 8, 100)).expect("it keeps the rules");
    let key = |n: u8| [32, 0, 0, 0, n, 0, 0, 0];
    sys::update(&*map, Some(&key(1)), &[1; 8], 0).expect("there is room");
    let held = map.lookup(&key(1), 0).and_then(|ptr| ptr.slice(world.window(), 8));
    let held = held.expect("it is there");
    for round in 0..64 {
        sys::update(&*map, Some(&key(1)), &[2; 8], 0).expect("there is room");
        sys::update(&*map, Some(&key(2)), &[3; 8], flags::BPF_ANY).expect("there is room");
        if round < 31 {
            assert_eq!(held.get::<u64>(0), 0x0101_0101_0101_0101, "round {round}");
        }
    }
    // It may be anything by now, but it can be read.
    let _used_again = held.get::<u64>(0);
}

/// Threads that put in, replace and take out prefixes on all sides of some that stay.
#[test]
fn readers_find_what_stays_and_never_what_does_not_fit() {
    const STAY: u32 = 16;
    let world = world();
    let map = create(&world, &def(4, 16, 4096)).expect("it keeps the rules");
    let key = |len: u32, data: u32| [len.to_le_bytes(), data.to_be_bytes()].concat();
    // A value tells its prefix, twice: a torn value would be seen.
    let value = |len: u32, data: u32| {
        let data = data.to_be_bytes();
        [len.to_le_bytes(), data, len.to_le_bytes(), data].concat()
    };
    for n in 0..STAY {
        let data = n << 24;
        sys::update(&*map, Some(&key(8, data)), &value(8, data), 0).expect("there is room");
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (map, done) = (&*map, &done);
        for thread in 0..2_u32 {
            scope.spawn(move || {
                let mut random = thread + 1;
                let mut next = || {
                    random ^= random << 13;
                    random ^= random >> 17;
                    random ^= random << 5;
                    random
                };
                for _ in 0..60_000 {
                    let (data, roll) = (next(), next());
                    let len = match roll % 4 {
                        0 => roll / 4 % 8,
                        1 => 32,
                        _ => 9 + roll / 4 % 23,
                    };
                    let data = data & 0x1f03_0301 & (u32::MAX.checked_shl(32 - len).unwrap_or(0));
                    if roll & 0x8000_0000 == 0 {
                        let put = sys::update(map, Some(&key(len, data)), &value(len, data), 0);
                        assert_eq!(put, Ok(()));
                    } else {
                        let gone = sys::delete(map, Some(&key(len, data)));
                        assert!(matches!(gone, Ok(()) | Err(Errno::ENOENT)));
                    }
                    // Some that stay are replaced.
                    let data = (roll % STAY) << 24;
                    let put = sys::update(map, Some(&key(8, data)), &value(8, data), 2);
                    assert_eq!(put, Ok(()));
                }
                done.store(true, Ordering::Release);
            });
        }
        scope.spawn(move || {
            let mut rounds = 0_u32;
            while !done.load(Ordering::Acquire) || rounds < 10 {
                rounds += 1;
                for n in 0..STAY {
                    let asked = n << 24 | rounds.wrapping_mul(0x9e37_79b9) & 0x0003_0301;
                    let mut out = [0; 16];
                    let found = sys::lookup(map, Some(&key(32, asked)), 0, &mut out);
                    assert_eq!(found, Ok(()), "{asked:#x}: its /8 stays");
                    let word = |at: usize| <[u8; 4]>::try_from(&out[at..at + 4]).expect("four");
                    let (len, data) = (u32::from_le_bytes(word(0)), u32::from_be_bytes(word(4)));
                    assert_eq!((word(0), word(4)), (word(8), word(12)), "torn");
                    assert!((8..=32).contains(&len), "{asked:#x}: /{len} for a /8 that stays");
                    let mask = u32::MAX << (32 - len);
                    assert_eq!(data & mask, asked & mask, "{asked:#x} is not in {data:#x}/{len}");
                    assert!(map.lookup(&key(32, asked), 0).is_some());
                }
            }
        });
        scope.spawn(move || {
            // Walks end, and meet only what could be there.
            while !done.load(Ordering::Acquire) {
                let mut at: Option<Vec<u8>> = None;
                let mut next = vec![0; 8];
                for _ in 0..10_000 {
                    if sys::next_key(map, at.as_deref(), &mut next).is_err() {
                        break;
                    }
                    let prefix = Prefix::from_key(&next);
                    assert!(prefix.len <= 32, "{prefix:?}");
                    at = Some(next.clone());
                }
            }
        });
    });
    // What is left is a sound tree: each prefix is found by itself, once.
    let keys = sys::keys(&*map);
    assert_eq!(map.memory_usage(), keys.len() as u64 * 44);
    for key in &keys {
        let mut out = [0; 16];
        assert_eq!(sys::lookup(&*map, Some(key), 0, &mut out), Ok(()));
        assert_eq!(out[..8], key[..], "the element of that very prefix");
    }
    for key in &keys {
        assert_eq!(sys::delete(&*map, Some(key)), Ok(()));
    }
    assert_eq!(map.memory_usage(), 0);
}

#[test]
fn no_sizes_make_it_panic_and_an_empty_map_takes_hardly_any_memory() {
    let world = world();
    for data in [0, 1, 2, 4, 6, 7, 14, 16, 22, 23, 256, 257] {
        for value_size in [0, 1, 8, 4_194_024, 4_194_025, u32::MAX] {
            for max_entries in [0, 1, 1 << 20, 1 << 31, u32::MAX] {
                let Ok(map) = create(&world, &def(data, value_size, max_entries)) else {
                    continue;
                };
                assert_eq!(map.memory_usage(), 0);
                let key = vec![1; data + 4];
                assert_eq!(map.lookup(&key, 0), None, "0x01010101 bits are too many");
                let mut key = vec![0xff; data + 4];
                key[..4].copy_from_slice(&1_u32.to_le_bytes());
                let value = vec![7; value_size as usize];
                assert_eq!(sys::update(&*map, Some(&key), &value, 0), Ok(()));
                assert!(map.lookup(&key, 0).is_some());
            }
        }
    }
}
