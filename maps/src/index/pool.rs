//! Which element ids are free.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A lock-free stack of free ids below a limit: ids that were given back first, last
/// in, first out; then ids that were never used.
///
/// The stack's links stand in the caller's cells, one per id.
#[derive(Debug)]
pub(crate) struct Pool {
    /// Id + 1 of the top of the stack, 0 when it is empty; above it a count of changes,
    /// so that a top that went and came back is not taken for the old one.
    top: AtomicU64,
    /// The first id that was never used.
    fresh: AtomicU32,
    end: u32,
}

/// An id taken from a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) id: u32,
    /// It was never used before.
    pub(crate) fresh: bool,
}

impl Pool {
    /// The ids `start..end`, all free.
    pub(crate) fn new(start: u32, end: u32) -> Self {
        Self { top: AtomicU64::new(0), fresh: AtomicU32::new(start), end }
    }

    /// Takes an id; `None` when all are taken.
    pub(crate) fn take(&self, links: &[AtomicU32]) -> Option<Taken> {
        let mut top = self.top.load(Ordering::Acquire);
        while let Some(id) = id_of(top) {
            let below = links[id as usize].load(Ordering::Relaxed);
            let new = changed(top) | u64::from(below);
            match self.top.compare_exchange_weak(top, new, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return Some(Taken { id, fresh: false }),
                Err(now) => top = now,
            }
        }
        let next = |id: u32| (id < self.end).then(|| id + 1);
        let taken = self.fresh.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        match taken {
            Ok(id) => Some(Taken { id, fresh: true }),
            // The stack may have filled since it was seen empty.
            Err(_) if id_of(self.top.load(Ordering::Acquire)).is_some() => self.take(links),
            Err(_) => None,
        }
    }

    /// Gives an id back.
    pub(crate) fn give(&self, id: u32, links: &[AtomicU32]) {
        let mut top = self.top.load(Ordering::Relaxed);
        loop {
            let below = u32::try_from(top & u64::from(u32::MAX)).expect("masked");
            links[id as usize].store(below, Ordering::Relaxed);
            let new = changed(top) | u64::from(id + 1);
            match self.top.compare_exchange_weak(top, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => top = now,
            }
        }
    }
}

fn id_of(top: u64) -> Option<u32> {
    u32::try_from(top & u64::from(u32::MAX)).expect("masked").checked_sub(1)
}

/// The upper half of the next value of `top`.
fn changed(top: u64) -> u64 {
    ((top >> 32) + 1) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_is_taken_once_and_freed_ids_come_first() {
        let links: Vec<AtomicU32> = (0..4).map(|_| AtomicU32::new(0)).collect();
        let pool = Pool::new(1, 4);
        let all: Vec<u32> = (0..3).filter_map(|_| pool.take(&links)).map(|t| t.id).collect();
        assert_eq!(all, [1, 2, 3]);
        assert_eq!(pool.take(&links), None);
        pool.give(2, &links);
        pool.give(1, &links);
        assert_eq!(pool.take(&links), Some(Taken { id: 1, fresh: false }));
        assert_eq!(pool.take(&links), Some(Taken { id: 2, fresh: false }));
        assert_eq!(pool.take(&links), None);
    }

    #[test]
    fn threads_never_share_an_id() {
        let links: Vec<AtomicU32> = (0..8).map(|_| AtomicU32::new(0)).collect();
        let owners: Vec<AtomicU32> = (0..8).map(|_| AtomicU32::new(0)).collect();
        let pool = Pool::new(0, 8);
        std::thread::scope(|scope| {
            for thread in 1..=4 {
                let (links, owners, pool) = (&links, &owners, &pool);
                scope.spawn(move || {
                    for _ in 0..20_000 {
                        let Some(Taken { id, .. }) = pool.take(links) else {
                            continue;
                        };
                        let before = owners[id as usize].swap(thread, Ordering::Relaxed);
                        assert_eq!(before, 0, "id {id} has two owners");
                        owners[id as usize].store(0, Ordering::Relaxed);
                        pool.give(id, links);
                    }
                });
            }
        });
        let rest: Vec<_> = std::iter::from_fn(|| pool.take(&links)).collect();
        assert_eq!(rest.len(), 8, "no id was lost");
    }
}
