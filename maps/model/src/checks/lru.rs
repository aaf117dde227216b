//! The lists of an LRU map, with an index that may lose keys.

use std::sync::Arc;

use loom::thread;

use super::check;
use crate::chain::Index;
use crate::hash::Key;
use crate::lru::{Lru, Sharing};
use crate::segment::Parts;

/// An LRU_HASH without values.
struct Table {
    index: Index,
    lru: Lru,
}

impl Table {
    fn new(elements: u32, sharing: Sharing) -> Self {
        let parts = &mut Parts::default();
        let table = Self {
            index: Index::new(parts, elements, elements, 8),
            lru: Lru::new(parts, elements, 2, sharing),
        };
        table.lru.fill();
        table
    }

    fn take(&self, cpu: u32) -> Option<u32> {
        self.lru.take(cpu, &mut |id| {
            let bucket = self.index.lock_hash(self.index.hash_of(id));
            let bucket = bucket.expect("nobody holds it for long");
            let place = bucket.find_id(id);
            if let Some(place) = place {
                bucket.remove(place);
            }
            place.is_some()
        })
    }

    fn put(&self, key: u64, cpu: u32) {
        let Some(new) = self.take(cpu) else { return };
        let bytes = key.to_le_bytes();
        let key = Key::new(&bytes);
        let bucket = self.index.lock(&key).expect("nobody holds it for long");
        match bucket.find(&key) {
            Some(old) => {
                self.lru.reference(new);
                bucket.replace(old, new, &key);
                self.lru.give(old.id);
            }
            None => bucket.insert(new, &key),
        }
    }

    fn remove(&self, key: u64) {
        let bytes = key.to_le_bytes();
        let key = Key::new(&bytes);
        let bucket = self.index.lock(&key).expect("nobody holds it for long");
        if let Some(place) = bucket.find(&key) {
            bucket.remove(place);
            self.lru.give(place.id);
        }
    }
}

fn run(sharing: Sharing, work: fn(&Table, u32)) {
    check(2, move || {
        let table = Arc::new(Table::new(2, sharing));
        table.put(1, 0);
        table.put(2, 1);
        let other = {
            let table = Arc::clone(&table);
            thread::spawn(move || work(&table, 1))
        };
        work(&table, 0);
        other.join().expect("the thread ends");
        // Every element is in the index, or can be had.
        let used = table.index.count();
        assert!(used <= 2, "{used} of 2 elements are in use");
        let all: Vec<u32> = (0..2).filter_map(|cpu| table.take(cpu)).collect();
        assert_eq!(all.len(), 2, "no element was lost: {all:?}");
        assert_ne!(all[0], all[1], "none is on two lists");
    });
}

#[test]
fn two_threads_that_insert_into_a_full_map_keep_the_lists_whole() {
    run(Sharing::Common, |table, cpu| table.put(u64::from(10 + cpu), cpu));
}

#[test]
fn an_element_may_be_deleted_while_it_is_looked_at_for_eviction() {
    run(Sharing::Common, |table, cpu| if cpu == 0 { table.remove(2) } else { table.put(20, 1) });
}

#[test]
fn lists_for_each_cpu_stay_whole_when_another_cpu_deletes() {
    run(Sharing::Percpu, |table, cpu| if cpu == 0 { table.remove(2) } else { table.put(20, 1) });
}
