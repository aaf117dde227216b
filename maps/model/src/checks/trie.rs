//! Readers and writers of a trie.

use std::sync::Arc;

use loom::thread;

use super::check;
use crate::sync::{AtomicU64, Ordering};
use crate::trie::{AnyPrefix, Trie};

/// A trie and a value for each element: an LPM_TRIE with keys of one byte of data.
struct Map {
    trie: Trie,
    values: Vec<AtomicU64>,
}

/// A prefix: its length and its byte.
type Key = (u8, u8);

fn bytes((len, data): Key) -> [u8; 5] {
    [len, 0, 0, 0, data]
}

impl Map {
    fn new(elements: u32, grace: u32) -> Arc<Self> {
        let trie = Trie::new(elements, grace);
        let values = (0..trie.ids()).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self { trie, values })
    }

    /// An update: it puts a new element in, in any case.
    fn put(&self, key: Key, value: u64) {
        let prefix = AnyPrefix::new(&bytes(key)).expect("not too long");
        let edit = self.trie.edit().expect("nobody holds it for long");
        let place = edit.place(&prefix).expect("it is a trie");
        let id = edit.take().expect("there is room");
        self.values[id as usize].store(value, Ordering::Relaxed);
        assert!(edit.put(&place, id, &prefix), "it is a trie");
    }

    fn remove(&self, key: Key) {
        let prefix = AnyPrefix::new(&bytes(key)).expect("not too long");
        self.trie.edit().and_then(|edit| edit.remove(&prefix)).expect("it is there");
    }

    /// A lookup by user space.
    fn get(&self, key: Key) -> Option<u64> {
        self.trie.read(&bytes(key), |id| self.values[id as usize].load(Ordering::Relaxed))
    }
}

/// An address that begins with all zeros, and its prefixes.
const HOST: Key = (8, 0b0000_0000);
const HALF: Key = (4, 0b0000_0000);
const SIBLING: Key = (8, 0b0000_0001);
const OTHER: Key = (8, 0b1000_0000);

/// Checks what a reader sees while this thread writes.
///
/// The reader is the one that is spawned: loom runs it after the writer first, and then lets
/// it see any of the values that each cell had. (A writer that comes second hides from loom
/// that it could have been first, by reading what it changes.)
fn check_reader(
    preemptions: usize,
    (elements, grace): (u32, u32),
    before: &'static [(Key, u64)],
    write: impl Fn(&Map) + Send + Sync + 'static,
    read: impl Fn(&Map) + Send + Sync + Copy + 'static,
) {
    check(preemptions, move || {
        let map = Map::new(elements, grace);
        before.iter().for_each(|&(key, value)| map.put(key, value));
        let reader = {
            let map = Arc::clone(&map);
            thread::spawn(move || read(&map))
        };
        write(&map);
        reader.join().expect("the reader ends");
        read(&map);
    });
}

#[test]
fn a_prefix_that_is_replaced_is_never_missed() {
    // One node waits: the third update uses the first one's again.
    let write = |map: &Map| (11..14).for_each(|value| map.put(HALF, value));
    check_reader(2, (1, 1), &[(HALF, 10)], write, |map| {
        let found = map.get(HOST);
        assert!(matches!(found, Some(10..=13)), "{found:?}");
    });
}

#[test]
fn values_of_a_prefix_come_in_order() {
    let write = |map: &Map| (11..13).for_each(|value| map.put(HALF, value));
    check_reader(2, (1, 1), &[(HALF, 10)], write, |map| {
        let (first, second) = (map.get(HOST), map.get(HOST));
        assert!(Some(10) <= first && first <= second, "{first:?}, then {second:?}");
    });
}

#[test]
fn a_prefix_that_stays_is_found_while_paths_part_and_join_above_it() {
    let write = |map: &Map| {
        map.put(SIBLING, 2);
        map.remove(SIBLING);
        map.put(OTHER, 3);
    };
    check_reader(2, (3, 1), &[(HOST, 1)], write, |map| {
        assert_eq!(map.get(HOST), Some(1));
    });
}

#[test]
fn an_element_that_becomes_another_prefixs_never_gives_the_others_value() {
    let write = |map: &Map| {
        // Each takes what the one before the last gave back.
        map.remove(HOST);
        map.put(OTHER, 2);
        map.remove(OTHER);
        map.put(OTHER, 3);
    };
    check_reader(2, (1, 1), &[(HOST, 1)], write, |map| {
        assert!(matches!(map.get(HOST), None | Some(1)));
        assert!(matches!(map.get(OTHER), None | Some(2 | 3)));
    });
}

#[test]
fn a_prefix_below_another_is_found_whole_or_not_at_all() {
    let write = |map: &Map| {
        map.put(HOST, 2);
        map.put(HALF, 1);
        map.remove(HOST);
    };
    check_reader(2, (2, 1), &[(HALF, 1)], write, |map| {
        let found = map.get(HOST);
        assert!(matches!(found, Some(1 | 2)), "{found:?}");
        assert_eq!(map.get(SIBLING), Some(1));
    });
}

#[test]
fn a_walk_meets_what_stays() {
    let write = |map: &Map| {
        map.put(SIBLING, 3);
        map.remove(SIBLING);
        map.put(HALF, 4);
    };
    check_reader(2, (4, 2), &[(HOST, 1), (OTHER, 2)], write, |map| {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        while let Some(key) = map.trie.next(keys.last().map(Vec::as_slice)) {
            keys.push(key);
        }
        assert_eq!(keys.first().map(Vec::as_slice), Some(&bytes(HOST)[..]));
        assert_eq!(keys.last().map(Vec::as_slice), Some(&bytes(OTHER)[..]));
        // It begins anew behind a key that has gone meanwhile, as in the kernel; once.
        assert!(keys.len() <= 5, "{keys:?}");
    });
}

#[test]
fn what_one_writer_freed_another_uses_after_its_time() {
    check(2, || {
        let map = Map::new(2, 1);
        map.put(HALF, 10);
        let start = |then: fn(&Map)| {
            let map = Arc::clone(&map);
            thread::spawn(move || then(&map))
        };
        let others = [
            start(|map| map.put(OTHER, 20)),
            start(|map| {
                let found = map.get(HOST);
                assert!(matches!(found, Some(10..=12)), "{found:?}");
            }),
        ];
        // The first node is ripe when the second was freed.
        map.put(HALF, 11);
        map.put(HALF, 12);
        others.into_iter().for_each(|thread| thread.join().expect("it ends"));
        assert_eq!((map.get(HOST), map.get(OTHER)), (Some(12), Some(20)));
    });
}

#[test]
fn of_two_writers_each_finds_the_others_work() {
    check(2, || {
        let map = Map::new(3, 1);
        let writers: Vec<_> = [HOST, SIBLING]
            .map(|key| {
                let map = Arc::clone(&map);
                thread::spawn(move || {
                    map.put(key, u64::from(key.1));
                    assert_eq!(map.get(key), Some(u64::from(key.1)));
                })
            })
            .into();
        writers.into_iter().for_each(|writer| writer.join().expect("the writer ends"));
        assert_eq!((map.get(HOST), map.get(SIBLING)), (Some(0), Some(1)));
        assert_eq!(map.get((7, 0)), None, "where the paths part is nothing");
    });
}
