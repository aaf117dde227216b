//! The order of the keys in the kernel's hashes that have no seed: by bucket, then the newest
//! first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// The keys of a map, in the kernel's order.
#[derive(Debug)]
pub(crate) struct Order<K> {
    /// How many insertions there were.
    inserted: u64,
    /// The bucket of each key, and when it came.
    places: HashMap<K, Place>,
    keys: BTreeMap<Place, K>,
}

type Place = (u32, Reverse<u64>);

impl<K: Clone + Eq + Hash> Order<K> {
    pub(crate) fn new() -> Self {
        Self { inserted: 0, places: HashMap::new(), keys: BTreeMap::new() }
    }

    /// Puts a key first in its bucket, whether or not it was there.
    pub(crate) fn insert(&mut self, key: K, bucket: u32) {
        self.remove(&key);
        self.inserted += 1;
        let place = (bucket, Reverse(self.inserted));
        self.places.insert(key.clone(), place);
        self.keys.insert(place, key);
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(place) = self.places.remove(key) {
            self.keys.remove(&place);
        }
    }

    /// The key after `key`; the first one when that is not there.
    pub(crate) fn next(&self, key: Option<&K>) -> Option<&K> {
        match key.and_then(|key| self.places.get(key)) {
            Some(place) => self.keys.range(place..).nth(1),
            None => self.keys.first_key_value(),
        }
        .map(|(_, key)| key)
    }

    /// All keys.
    pub(crate) fn keys(&self) -> impl ExactSizeIterator<Item = &K> {
        self.keys.values()
    }
}
