//! What hash types are built on: an index, and the elements that are free.

use super::chain::{Index, MOST_ELEMENTS};
use super::hash::Key;
use super::lru::{Lru, Sharing};
use super::pool::{Pool, Spare};
use crate::home::Home;
use crate::segment::build;
use crate::{Errno, MapDef};

/// An index and the elements that are free: what the HASH family but for LRU is built
/// on.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) index: Index,
    pool: Pool,
    elements: u32,
}

impl Table {
    /// An empty table for `def.max_entries` keys of `def.key_size` bytes, used by about
    /// `threads` threads.
    ///
    /// # Errors
    ///
    /// `ENOMEM` when the host gives no room.
    pub(crate) fn new(def: &MapDef, home: &Home, threads: u32) -> Result<Self, Errno> {
        let capacity = def.max_entries;
        // The kernel has a spare for each CPU; user space writes here too.
        let spares = threads.saturating_mul(4).clamp(8, 64);
        let elements = capacity.checked_add(spares).filter(|&n| n <= MOST_ELEMENTS);
        let elements = elements.ok_or(Errno::ENOMEM)?;
        let table = build(home, &def.name, |parts| Self {
            index: Index::new(parts, capacity, elements, def.key_size),
            pool: Pool::new(parts, capacity, spares, threads, home.is_shared()),
            elements,
        })?;
        if home.is_new() {
            table.pool.fill();
        }
        Ok(table)
    }

    /// The number of element ids, spares included: what values must have room for.
    pub(crate) fn ids(&self) -> u32 {
        self.elements
    }

    /// Takes a free element for a new key; `None` when the map is full.
    #[inline]
    pub(crate) fn take(&self) -> Option<u32> {
        self.pool.take()
    }

    /// Gives an element back that is in no bucket.
    #[inline]
    pub(crate) fn give(&self, id: u32) {
        self.pool.give(id);
    }

    /// Takes a free element that will replace another one.
    #[inline]
    pub(crate) fn take_spare(&self) -> Spare {
        self.pool.take_spare()
    }

    /// Gives back a spare, or the element that it replaced.
    #[inline]
    pub(crate) fn put_spare(&self, spare: Spare, id: u32) {
        self.pool.put_spare(spare, id);
    }

    /// Removes a key, once `last` has seen its element.
    ///
    /// # Errors
    ///
    /// `ENOENT` when it is not there.
    #[inline]
    pub(crate) fn remove(&self, key: &[u8], last: impl FnOnce(u32)) -> Result<(), Errno> {
        let key = Key::new(key);
        let bucket = self.index.lock(&key);
        let place = bucket.find(&key).ok_or(Errno::ENOENT)?;
        last(place.id);
        bucket.remove(place);
        self.give(place.id);
        Ok(())
    }
}

/// An index and the elements in the order of their use: what the LRU types are built on.
#[derive(Debug)]
pub(crate) struct LruTable {
    pub(crate) index: Index,
    lru: Lru,
    elements: u32,
}

impl LruTable {
    /// An empty table for `def.max_entries` keys of `def.key_size` bytes on `cpus` CPUs.
    ///
    /// # Errors
    ///
    /// `ENOMEM` when the host gives no room.
    pub(crate) fn new(
        def: &MapDef,
        home: &Home,
        cpus: u32,
        sharing: Sharing,
    ) -> Result<Self, Errno> {
        let elements = def.max_entries;
        let table = build(home, &def.name, |parts| Self {
            index: Index::new(parts, elements, elements, def.key_size),
            lru: Lru::new(parts, elements, cpus, sharing),
            elements,
        })?;
        if home.is_new() {
            table.lru.fill();
        }
        Ok(table)
    }

    /// The number of element ids: what values must have room for.
    pub(crate) fn ids(&self) -> u32 {
        self.elements
    }

    /// Takes a free element for CPU `cpu`, evicting others when there is none. `None` when
    /// even that gives none. The caller holds no bucket.
    pub(crate) fn take(&self, cpu: u32) -> Option<u32> {
        self.lru.take(cpu, &mut |id| {
            // An element that another thread has just taken may be in no bucket yet.
            let bucket = self.index.lock_bucket(self.index.bucket_of_element(id));
            let place = bucket.find_id(id);
            if let Some(place) = place {
                bucket.remove(place);
            }
            place.is_some()
        })
    }

    /// Gives an element back that is in no bucket. The caller holds no bucket.
    pub(crate) fn give(&self, id: u32) {
        self.lru.give(id);
    }

    /// Notes that an element was used.
    #[inline]
    pub(crate) fn reference(&self, id: u32) {
        self.lru.reference(id);
    }

    /// Removes a key, once `last` has seen its element.
    ///
    /// # Errors
    ///
    /// `ENOENT` when it is not there.
    pub(crate) fn remove(&self, key: &[u8], last: impl FnOnce(u32)) -> Result<(), Errno> {
        let key = Key::new(key);
        let bucket = self.index.lock(&key);
        let place = bucket.find(&key).ok_or(Errno::ENOENT)?;
        last(place.id);
        bucket.remove(place);
        self.give(place.id);
        Ok(())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn table(capacity: u32, key_size: u32) -> Table {
        let def = MapDef { max_entries: capacity, key_size, ..MapDef::default() };
        Table::new(&def, &Home::private(), 2).expect("small")
    }

    fn insert(table: &Table, bytes: &[u8]) -> Option<u32> {
        let key = Key::new(bytes);
        let bucket = table.index.lock(&key);
        let id = table.take()?;
        bucket.insert(id, &key);
        Some(id)
    }

    fn remove(table: &Table, bytes: &[u8]) {
        table.remove(bytes, |_| ()).expect("there");
    }

    #[test]
    fn what_is_inserted_is_found_and_what_is_removed_is_not() {
        for size in [4, 8, 12, 16, 17, 64] {
            let table = table(100, size);
            let key = |n: u32| {
                let mut key = vec![0; size as usize];
                key[..4].copy_from_slice(&n.to_le_bytes());
                *key.last_mut().expect("not empty") = 7;
                key
            };
            for n in 0..100 {
                assert!(insert(&table, &key(n)).is_some());
            }
            assert_eq!(insert(&table, &key(100)), None, "full");
            (0..100).step_by(2).for_each(|n| remove(&table, &key(n)));
            for n in 0..100 {
                assert_eq!(table.index.find(&key(n)).is_some(), n % 2 == 1, "{n}");
            }
        }
    }

    #[test]
    fn iteration_sees_each_key_once() {
        let table = table(50, 4);
        for n in 0..50u32 {
            insert(&table, &(n * 7).to_le_bytes());
        }
        let (mut seen, mut key) = (Vec::new(), None::<[u8; 4]>);
        let mut next = [0; 4];
        while table.index.next(key.as_ref().map(|k| &k[..]), &mut next) {
            seen.push(u32::from_le_bytes(next));
            key = Some(next);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..50).map(|k| k * 7).collect::<Vec<_>>());
    }

    /// Keys that stay, some of them replaced over and over, are never missed while others
    /// come and go in the same few buckets.
    #[test]
    fn readers_never_miss_a_key_that_stays() {
        let table = table(40, 8);
        let key = |n: u64| n.to_le_bytes();
        (0..16).for_each(|n| assert!(insert(&table, &key(n)).is_some()));
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (table, done) = (&table, &done);
            for thread in 0..2u64 {
                scope.spawn(move || {
                    for round in 0..30_000u64 {
                        let stays = key(round % 16);
                        let stays = Key::new(&stays);
                        let bucket = table.index.lock(&stays);
                        let old = bucket.find(&stays).expect("it was never removed");
                        let spare = table.take_spare();
                        bucket.replace(old, spare.id, &stays);
                        table.put_spare(spare, old.id);
                        let churning = key(1000 + thread * 64 + round % 20);
                        if table.remove(&churning, |_| ()).is_err() {
                            insert(table, &churning);
                        }
                    }
                    done.store(true, Ordering::Relaxed);
                });
            }
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    for n in 0..16 {
                        assert!(table.index.find(&key(n)).is_some(), "{n} was missed");
                    }
                }
            });
        });
        (0..16).for_each(|n| remove(&table, &key(n)));
    }
}
