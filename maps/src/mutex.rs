//! Mutexes whose state is whole between statements.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex, whose state survives a panicking holder.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
