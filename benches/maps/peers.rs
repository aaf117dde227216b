//! Hash maps that anyone can have, for scale: std's and hashbrown's behind a lock, and
//! dashmap.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, RwLock};

use dashmap::DashMap;

use crate::work::{HashOp, Kind, Side, Work, key, pick, time};

/// A map that several threads use.
trait Shared<K>: Sync {
    fn get(&self, key: &K) -> Option<u64>;
    fn put(&self, key: K, value: u64);
    fn remove(&self, key: &K);
}

impl<K: Hash + Eq + Send + Sync> Shared<K> for RwLock<HashMap<K, u64>> {
    fn get(&self, key: &K) -> Option<u64> {
        self.read().unwrap().get(key).copied()
    }

    fn put(&self, key: K, value: u64) {
        self.write().unwrap().insert(key, value);
    }

    fn remove(&self, key: &K) {
        self.write().unwrap().remove(key);
    }
}

impl<K: Hash + Eq + Send> Shared<K> for Mutex<hashbrown::HashMap<K, u64>> {
    fn get(&self, key: &K) -> Option<u64> {
        self.lock().unwrap().get(key).copied()
    }

    fn put(&self, key: K, value: u64) {
        self.lock().unwrap().insert(key, value);
    }

    fn remove(&self, key: &K) {
        self.lock().unwrap().remove(key);
    }
}

impl<K: Hash + Eq + Send + Sync> Shared<K> for DashMap<K, u64> {
    fn get(&self, key: &K) -> Option<u64> {
        self.get(key).map(|value| *value)
    }

    fn put(&self, key: K, value: u64) {
        self.insert(key, value);
    }

    fn remove(&self, key: &K) {
        self.remove(key);
    }
}

struct Peer<K, M> {
    map: M,
    make: fn(u32) -> K,
    entries: u32,
    op: HashOp,
}

impl<K, M: Shared<K>> Side for Peer<K, M> {
    fn run(&mut self, threads: usize) -> f64 {
        let Self { map, make, entries, op } = self;
        let (map, make, entries, op) = (&*map, *make, *entries, *op);
        let operations = Kind::Hash { key: 0, entries, op }.operations();
        time(threads, operations, move |thread, random| {
            let key = make(pick(op, entries, random, thread));
            match op {
                HashOp::Get => map.get(&key).unwrap_or(0),
                HashOp::Update => {
                    map.put(key, random);
                    0
                }
                HashOp::InsertDelete => {
                    map.put(key, random);
                    map.remove(&make(pick(op, entries, random, thread)));
                    0
                }
            }
        })
    }
}

/// The peers that can do this work.
pub(crate) fn sides(work: &Work) -> Vec<(&'static str, Box<dyn Side>)> {
    match work.kind {
        Kind::Hash { key: 4, entries, op } => of(entries, op, |n| n),
        Kind::Hash { entries, op, .. } => of(entries, op, |n| key(16, n)),
        _ => Vec::new(),
    }
}

fn of<K: Hash + Eq + Send + Sync + 'static>(
    entries: u32,
    op: HashOp,
    make: fn(u32) -> K,
) -> Vec<(&'static str, Box<dyn Side>)> {
    fn filled<K, M: Shared<K> + 'static>(
        map: M,
        entries: u32,
        op: HashOp,
        make: fn(u32) -> K,
    ) -> Box<dyn Side>
    where
        K: 'static,
    {
        (0..entries).for_each(|n| map.put(make(n), u64::from(n)));
        Box::new(Peer { map, make, entries, op })
    }
    vec![
        ("std", filled(RwLock::<HashMap<K, u64>>::default(), entries, op, make)),
        ("hashbrown", filled(Mutex::<hashbrown::HashMap<K, u64>>::default(), entries, op, make)),
        ("dashmap", filled(DashMap::<K, u64>::new(), entries, op, make)),
    ]
}
