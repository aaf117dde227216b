//! What hash types are built on: an index, and the elements that are free.

use super::chain::Index;
use super::hash::Key;
use super::lru::{Lru, Sharing};
use super::pool::{Pool, Spare};
use crate::budget::Meter;
use crate::home::Home;
use crate::segment::build;
use crate::{Errno, MapDef};

/// The most elements: ids + 1 have 32 bits.
const MOST_ELEMENTS: u32 = u32::MAX - 1;

/// An index and the elements that are free: what the HASH family but for LRU is built
/// on.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) index: Index,
    pool: Pool,
    elements: u32,
    meter: Meter,
}

impl Table {
    /// An empty table for `def.max_entries` keys of `def.key_size` bytes, used by about
    /// `threads` threads. It has ids for `most` of them, for maps that grow and whose
    /// values find no room before.
    ///
    /// # Errors
    ///
    /// `ENOMEM` when the host gives no room.
    pub(crate) fn new(def: &MapDef, home: &Home, threads: u32, most: u32) -> Result<Self, Errno> {
        let capacity = def.max_entries.min(most);
        // The kernel has a spare for each CPU; user space writes here too.
        let spares = threads.saturating_mul(4).clamp(8, 64);
        let elements = capacity.checked_add(spares).filter(|&n| n <= MOST_ELEMENTS);
        let elements = elements.ok_or(Errno::ENOMEM)?;
        let table = build(home, &def.name, |parts| Self {
            index: Index::new(parts, def.max_entries, elements, def.key_size),
            pool: Pool::new(parts, capacity, spares, threads, home.is_shared()),
            elements,
            meter: Meter::NONE,
        })?;
        if home.is_new() {
            table.pool.fill();
        }
        Ok(table)
    }

    /// The same, charged for its elements as they come and go.
    pub(crate) fn metered(self, meter: Meter) -> Self {
        Self { meter, ..self }
    }

    /// The number of element ids, spares included: what values must have room for.
    pub(crate) fn ids(&self) -> u32 {
        self.elements
    }

    /// Takes a free element for a new key.
    ///
    /// # Errors
    ///
    /// `E2BIG` when the map is full, `ENOMEM` when the maps may not take more.
    #[inline(always)]
    pub(crate) fn take(&self) -> Result<u32, Errno> {
        let id = self.pool.take().ok_or(Errno::E2BIG)?;
        self.meter.add().inspect_err(|_| self.pool.give(id))?;
        Ok(id)
    }

    /// Gives an element back that is in no bucket.
    #[inline(always)]
    pub(crate) fn give(&self, id: u32) {
        self.pool.give(id);
        self.meter.remove();
    }

    /// Takes a free element that will replace another one.
    ///
    /// # Errors
    ///
    /// `EBUSY` when other processes have all of them and give none back.
    #[inline(always)]
    pub(crate) fn take_spare(&self) -> Result<Spare, Errno> {
        self.pool.take_spare().ok_or(Errno::EBUSY)
    }

    /// Gives back a spare, or the element that it replaced.
    #[inline(always)]
    pub(crate) fn put_spare(&self, spare: Spare, id: u32) {
        self.pool.put_spare(spare, id);
    }

    /// Removes a key, once `last` has seen its element.
    ///
    /// # Errors
    ///
    /// `ENOENT` when it is not there, `EBUSY` when its bucket cannot be had.
    #[inline(always)]
    pub(crate) fn remove(&self, key: &[u8], last: impl FnOnce(u32)) -> Result<(), Errno> {
        let key = Key::new(key);
        let bucket = self.index.lock(&key).ok_or(Errno::EBUSY)?;
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

    /// Takes a free element for CPU `cpu`, evicting others when there is none. The caller
    /// holds no bucket.
    ///
    /// # Errors
    ///
    /// `ENOMEM` when even that gives none.
    #[inline(always)]
    pub(crate) fn take(&self, cpu: u32) -> Result<u32, Errno> {
        let mut locked_out = false;
        let taken = self.lru.take(cpu, &mut |id| {
            // Whoever waited in vain once does not wait for each element again.
            if locked_out {
                return false;
            }
            let Some(bucket) = self.index.lock_hash(self.index.hash_of(id)) else {
                locked_out = true;
                return false;
            };
            // An element that another thread has just taken may be in no bucket yet.
            let place = bucket.find_id(id);
            if let Some(place) = place {
                bucket.remove(place);
            }
            place.is_some()
        });
        taken.ok_or(Errno::ENOMEM)
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
    /// `ENOENT` when it is not there, `EBUSY` when its bucket cannot be had.
    pub(crate) fn remove(&self, key: &[u8], last: impl FnOnce(u32)) -> Result<(), Errno> {
        let key = Key::new(key);
        let bucket = self.index.lock(&key).ok_or(Errno::EBUSY)?;
        let place = bucket.find(&key).ok_or(Errno::ENOENT)?;
        last(place.id);
        bucket.remove(place);
        self.give(place.id);
        Ok(())
    }
}
