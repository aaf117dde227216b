//! The way through a map while it changes.

use hashbrown::HashSet;
use skep_maps::Errno;

use super::Map;
use crate::Error;

/// The entries of a map as bytes, one by one in the map's own order, as a loop of
/// `BPF_MAP_GET_NEXT_KEY` and `BPF_MAP_LOOKUP_ELEM` gives them.
///
/// The map may change meanwhile. As in the kernel, what stays is given, what goes may
/// be, and what comes may be. Besides, no key is given twice and the walk always ends:
/// where the kernel's begins anew because the key that it stands on has gone, this one
/// passes over what it has given. The entry that was given last may be deleted; that
/// sends it nowhere.
#[derive(Debug)]
pub struct Walk {
    map: Map,
    /// The key that comes next.
    next: Option<Vec<u8>>,
    /// The keys that have come; of arrays, whose keys ascend, none.
    seen: HashSet<Vec<u8>>,
    /// How many keys may come.
    left: u64,
}

impl Walk {
    pub(super) fn new(map: &Map) -> Self {
        // Twice as many as there can be at a time: somebody is putting in new ones as fast
        // as they are given.
        let left = u64::from(map.def().max_entries) * 2 + 1;
        let mut walk = Self { map: map.clone(), next: None, seen: HashSet::new(), left };
        walk.next = if map.is_keyless() { None } else { walk.after(None) };
        walk
    }

    /// The key after `key` that has not come yet.
    fn after(&mut self, key: Option<&[u8]>) -> Option<Vec<u8>> {
        self.left = self.left.checked_sub(1)?;
        let mut next = self.map.next_key(key).ok()?;
        if self.map.map_type().is_indexed() {
            return Some(next);
        }
        for _ in 0..=self.seen.len() {
            if self.seen.insert(next.clone()) {
                return Some(next);
            }
            next = self.map.next_key(Some(&next)).ok()?;
        }
        None
    }
}

impl Iterator for Walk {
    type Item = (Vec<u8>, Vec<u8>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let key = self.next.take()?;
            // Before the caller can delete it.
            self.next = self.after(Some(&key));
            match self.map.lookup_bytes(&key) {
                Ok(value) => return Some((key, value)),
                Err(Error::Map(error)) if error.errno == Errno::ENOENT => {}
                // Its values cannot be read, now or ever.
                Err(_) => return None,
            }
        }
    }
}
