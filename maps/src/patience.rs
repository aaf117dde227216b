//! How long to wait for others.
//!
//! Whoever holds a lock of a map holds it for a moment. In this process he is sure to go
//! on. Of a map in a file the holder may be another process, which may have died, or may
//! have written nonsense where the lock stands: there waiting ends after about a second.
//!
//! No clock is read for that: after some rounds of giving way, each round is a nap. Each
//! time that waiting was in vain, the next lasts half as long, and in the end hardly any
//! time: a map that is spoilt is not waited for a second for each of its elements.

use crate::sync::{AtomicU32, Ordering, nap};

/// Rounds of giving way before the first nap; one is 64 tries.
const EAGER: u32 = 8;
/// Naps, of a millisecond each, before it is over.
const NAPS: u32 = 1 << 10;

/// How long the users of a map wait for each other.
#[derive(Debug)]
pub(crate) struct Patience {
    /// Whether those who are waited for may be gone.
    ends: bool,
    /// How often it has ended.
    ended: AtomicU32,
}

impl Patience {
    /// For what only this process has.
    pub(crate) fn endless() -> Self {
        Self { ends: false, ended: AtomicU32::new(0) }
    }

    /// For what other processes have too.
    pub(crate) fn limited() -> Self {
        Self { ends: true, ended: AtomicU32::new(0) }
    }

    /// Whether a loop that waits may go round again, which has done so `tries` times.
    #[inline]
    pub(crate) fn lasts(&self, tries: u32) -> bool {
        tries % 64 != 63 || self.lasts_for(tries / 64)
    }

    /// The same for a number of rounds of 64 tries.
    #[inline]
    pub(crate) fn lasts_for(&self, round: u32) -> bool {
        !self.ends || self.nap(round)
    }

    #[cold]
    fn nap(&self, round: u32) -> bool {
        let ended = self.ended.load(Ordering::Relaxed);
        let naps = NAPS.checked_shr(ended).unwrap_or(0);
        if naps == 0 {
            return false;
        }
        if round < EAGER {
            return true;
        }
        if round - EAGER < naps {
            nap();
            return true;
        }
        self.ended.store(ended + 1, Ordering::Relaxed);
        false
    }
}
