//! What the maps of a world may take together, when that is limited.
//!
//! Counted are the bytes that the kernel would charge ([`Map::memory_usage`]), not those
//! that skep takes: the answer is the same on every host. A map is charged when it is made;
//! one that is not preallocated is charged for each element as it comes. Without a limit
//! nothing is counted.
//!
//! [`Map::memory_usage`]: crate::Map::memory_usage

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::{Core, Errno, World};

/// What the maps of a world take, and may take, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapMemory {
    /// What all maps together take by the kernel's formula.
    pub used: u64,
    /// What they may take; `None` for as much as they want.
    pub limit: Option<u64>,
}

impl fmt::Display for MapMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            Some(limit) => {
                write!(f, "{} of the {limit} bytes that maps may take are in use", self.used)
            }
            None => write!(f, "{} bytes are in use", self.used),
        }
    }
}

/// The limit, and what counts towards it.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    limit: OnceLock<u64>,
    used: AtomicU64,
}

impl Budget {
    pub(crate) fn limit(&self, bytes: u64) {
        // A second call is a mistake of the embedder that changes nothing.
        let _already_set = self.limit.set(bytes);
    }

    /// What is in use; `None` without a limit, when nothing is counted.
    pub(crate) fn memory(&self) -> Option<MapMemory> {
        let limit = *self.limit.get()?;
        Some(MapMemory { used: self.used.load(Ordering::Relaxed), limit: Some(limit) })
    }

    /// Counts `bytes` more, if they are within the limit.
    fn add(&self, bytes: u64) -> bool {
        let limit = self.limit.get().copied().unwrap_or(u64::MAX);
        let sum = |used: u64| used.checked_add(bytes).filter(|&sum| sum <= limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum).is_ok()
    }

    fn subtract(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What a map was charged with when it was made; given back when dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    world: Arc<World>,
    bytes: u64,
}

impl Charge {
    /// Charges a new map with what `bytes` says; `None` without a limit.
    ///
    /// # Errors
    ///
    /// What is in use, when that is too much for so many more.
    pub(crate) fn take(
        world: &Arc<World>,
        bytes: impl FnOnce() -> u64,
    ) -> Result<Option<Self>, MapMemory> {
        let Some(memory) = world.budget().memory() else { return Ok(None) };
        let bytes = bytes();
        if !world.budget().add(bytes) {
            return Err(memory);
        }
        Ok(Some(Self { world: Arc::clone(world), bytes }))
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.world.budget().subtract(self.bytes);
    }
}

/// Charges a map for its elements as they come and go.
#[derive(Debug)]
pub(crate) struct Meter {
    /// None without a limit, and for maps that are charged for all elements at once.
    counted: Option<Counted>,
}

#[derive(Debug)]
struct Counted {
    world: Arc<World>,
    /// What an element takes in bytes.
    each: u64,
    elements: AtomicU64,
}

impl Meter {
    /// For a map that was charged for all its elements when it was made.
    pub(crate) const NONE: Self = Self { counted: None };

    /// For a map whose elements take `each` bytes when they come. One in a file, whose
    /// elements other processes put in and take out too, is not charged for them.
    pub(crate) fn new(core: &Core, each: u64) -> Self {
        let world = core.world();
        let limit = world.budget().memory().filter(|_| !core.home().is_shared());
        let counted =
            limit.map(|_| Counted { world: Arc::clone(world), each, elements: AtomicU64::new(0) });
        Self { counted }
    }

    /// An element comes.
    ///
    /// # Errors
    ///
    /// `ENOMEM` when the maps may not take so much.
    #[inline]
    pub(crate) fn add(&self) -> Result<(), Errno> {
        match &self.counted {
            None => Ok(()),
            Some(counted) => counted.add(),
        }
    }

    /// An element goes.
    #[inline]
    pub(crate) fn remove(&self) {
        if let Some(counted) = &self.counted {
            counted.remove();
        }
    }
}

impl Counted {
    #[cold]
    fn add(&self) -> Result<(), Errno> {
        if !self.world.budget().add(self.each) {
            return Err(Errno::ENOMEM);
        }
        self.elements.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    #[cold]
    fn remove(&self) {
        self.elements.fetch_sub(1, Ordering::Relaxed);
        self.world.budget().subtract(self.each);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.world.budget().subtract(self.each * *self.elements.get_mut());
    }
}
