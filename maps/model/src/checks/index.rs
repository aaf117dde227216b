//! Readers and writers of a hash map.

use std::sync::Arc;

use loom::thread;

use super::check;
use crate::chain::Index;
use crate::hash::Key;
use crate::pool::Pool;
use crate::segment::Parts;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// So many keys make an index of two groups, so that elements can move between them.
const TWO_GROUPS: u32 = 16;

/// An index with its free elements, and a value for each element: a HASH.
struct Table {
    index: Index,
    pool: Pool,
    values: Vec<AtomicU64>,
}

impl Table {
    fn new(capacity: u32, spares: u32) -> Self {
        let elements = capacity + spares;
        let parts = &mut Parts::default();
        let table = Self {
            index: Index::new(parts, TWO_GROUPS, elements, 8),
            pool: Pool::new(parts, capacity, spares, 1, true),
            values: (0..elements).map(|_| AtomicU64::new(0)).collect(),
        };
        table.pool.fill();
        table
    }

    /// An update: it puts a new element in, in any case.
    fn put(&self, key: u64, value: u64) -> bool {
        let bytes = key.to_le_bytes();
        let key = Key::new(&bytes);
        let bucket = self.index.lock(&key).expect("nobody holds it for long");
        if let Some(old) = bucket.find(&key) {
            let spare = self.pool.take_spare().expect("one comes back");
            self.values[spare.id as usize].store(value, Ordering::Relaxed);
            bucket.replace(old, spare.id, &key);
            self.pool.put_spare(spare, old.id);
            return true;
        }
        let Some(id) = self.pool.take() else { return false };
        self.values[id as usize].store(value, Ordering::Relaxed);
        bucket.insert(id, &key);
        true
    }

    fn remove(&self, key: u64) -> bool {
        let bytes = key.to_le_bytes();
        let key = Key::new(&bytes);
        let bucket = self.index.lock(&key).expect("nobody holds it for long");
        let Some(place) = bucket.find(&key) else { return false };
        bucket.remove(place);
        self.pool.give(place.id);
        true
    }

    /// A lookup by user space: the value, if the element stayed the key's meanwhile.
    fn get(&self, key: u64) -> Option<u64> {
        loop {
            let found = self.index.find(&key.to_le_bytes())?;
            let value = self.values[found.id as usize].load(Ordering::Relaxed);
            if self.index.still(found) {
                return Some(value);
            }
        }
    }

    /// Keys that share a chain.
    fn neighbours(&self, count: usize) -> Vec<u64> {
        let first = self.place(0);
        (0..).filter(|&key| self.place(key) == first).take(count).collect()
    }

    /// A key of another group of chains.
    fn stranger(&self, key: u64) -> u64 {
        let group = self.place(key).0;
        (0..).find(|&other| self.place(other).0 != group).expect("there are several groups")
    }

    /// Where a key's group lies, and which of its chains is the key's.
    fn place(&self, key: u64) -> (*const AtomicU32, usize) {
        let (group, chain) = self.index.chain(Key::new(&key.to_le_bytes()).hash());
        (group.as_ptr(), chain)
    }
}

#[test]
fn a_key_that_is_replaced_is_never_missed_and_its_values_come_in_order() {
    check(2, || {
        let table = Arc::new(Table::new(2, 1));
        let keys = table.neighbours(2);
        let key = keys[0];
        table.put(key, 10);
        table.put(keys[1], 90);
        let writer = {
            let table = Arc::clone(&table);
            thread::spawn(move || {
                table.put(key, 11);
                table.put(key, 12);
            })
        };
        let (first, second) = (table.get(key), table.get(key));
        assert!(matches!(first, Some(10..=12)), "{first:?}");
        assert!(first <= second, "{first:?}, then {second:?}");
        writer.join().expect("the writer ends");
        assert_eq!((table.get(key), table.get(keys[1])), (Some(12), Some(90)));
    });
}

#[test]
fn a_key_that_stays_is_found_while_elements_leave_its_chain_and_join_others() {
    check(2, || {
        let table = Arc::new(Table::new(2, 1));
        let keys = table.neighbours(2);
        let (stays, other, stranger) = (keys[0], keys[1], table.stranger(keys[0]));
        table.put(stays, 10);
        // In front of the one that stays, in the same chain.
        table.put(other, 20);
        let writer = {
            let table = Arc::clone(&table);
            thread::spawn(move || {
                assert!(table.remove(other));
                assert!(table.put(stranger, 30));
            })
        };
        assert_eq!(table.get(stays), Some(10));
        assert!(matches!(table.get(other), None | Some(20)));
        writer.join().expect("the writer ends");
        assert_eq!((table.get(stays), table.get(other)), (Some(10), None));
        assert_eq!(table.get(stranger), Some(30));
    });
}

#[test]
fn an_element_that_becomes_another_keys_never_gives_the_others_value() {
    check(2, || {
        let table = Arc::new(Table::new(1, 1));
        let keys = table.neighbours(2);
        let (one, two) = (keys[0], keys[1]);
        table.put(one, 1);
        let writer = {
            let table = Arc::clone(&table);
            thread::spawn(move || {
                assert!(table.remove(one));
                assert!(table.put(two, 2), "there is room for one");
            })
        };
        assert!(matches!(table.get(one), None | Some(1)));
        assert!(matches!(table.get(two), None | Some(2)));
        writer.join().expect("the writer ends");
        assert_eq!((table.get(one), table.get(two)), (None, Some(2)));
    });
}

#[test]
fn of_two_writers_of_one_key_each_puts_it_in_once() {
    check(2, || {
        let table = Arc::new(Table::new(2, 2));
        let writers: Vec<_> = (1..=2)
            .map(|value| {
                let table = Arc::clone(&table);
                thread::spawn(move || assert!(table.put(7, value)))
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().expect("the writer ends"));
        assert!(matches!(table.get(7), Some(1 | 2)));
        assert_eq!(table.index.count(), 1, "the key is there once");
        assert!(table.remove(7));
        assert_eq!(table.get(7), None);
        let free = std::iter::from_fn(|| table.pool.take()).count();
        assert_eq!(free, 2, "no element was lost");
    });
}
