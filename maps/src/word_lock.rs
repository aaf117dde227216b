//! A spin lock over one word, which may stand in shared memory.

use crate::patience::Patience;
use crate::sync::{AtomicU32, Ordering, pause};

/// Takes the lock in `word`; `false` when `give_up`, asked from time to time, said so.
#[inline]
pub(crate) fn lock(word: &AtomicU32, give_up: impl FnMut() -> bool) -> bool {
    try_lock(word) || wait(word, give_up)
}

#[inline]
fn try_lock(word: &AtomicU32) -> bool {
    word.compare_exchange_weak(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok()
}

#[cold]
fn wait(word: &AtomicU32, mut give_up: impl FnMut() -> bool) -> bool {
    let mut tries = 0u32;
    while !try_lock(word) {
        // Waiting by reading leaves the line to the holder.
        while word.load(Ordering::Relaxed) != 0 {
            if tries % 64 == 63 && give_up() {
                return false;
            }
            pause(tries);
            tries = tries.wrapping_add(1);
        }
    }
    true
}

/// Releases the lock in `word`, which the caller holds.
#[inline]
pub(crate) fn unlock(word: &AtomicU32) {
    word.store(0, Ordering::Release);
}

/// A taken lock word; released when dropped.
#[derive(Debug)]
pub(crate) struct WordGuard<'a>(&'a AtomicU32);

impl<'a> WordGuard<'a> {
    /// Takes the lock in `word`, waiting for the holder, who never waits for the caller;
    /// `None` when patience is at its end.
    #[inline]
    pub(crate) fn take(word: &'a AtomicU32, patience: &Patience) -> Option<Self> {
        let mut rounds = 0;
        let gives_up = || {
            rounds += 1;
            !patience.lasts_for(rounds)
        };
        lock(word, gives_up).then_some(Self(word))
    }
}

impl Drop for WordGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        unlock(self.0);
    }
}
