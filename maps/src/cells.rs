//! Values in host segments, for maps whose values no program points to: they are copied
//! in and out word by word, so that a segment is seen only as atomics.

use skep_memory::GuestSlice;

use crate::index::word;
use crate::map::{Source, Target};
use crate::sync::{AtomicU64, Ordering};

/// Bytes of a word.
const WORD: u32 = 8;

/// How many cells a value of `size` bytes takes.
pub(crate) fn count(size: u32) -> usize {
    size.div_ceil(WORD) as usize
}

/// Copies a value in; the cells are as many as it takes. Guest memory is read once.
pub(crate) fn store(cells: &[AtomicU64], value: Source<'_>) {
    match value {
        Source::Host(bytes) => {
            for (cell, chunk) in cells.iter().zip(bytes.chunks(WORD as usize)) {
                cell.store(word(chunk), Ordering::Relaxed);
            }
        }
        Source::Guest(slice) => {
            for (cell, at) in cells.iter().zip((0..).step_by(WORD as usize)) {
                cell.store(guest_word(slice, at), Ordering::Relaxed);
            }
        }
    }
}

/// Copies a value out; the target has its length.
pub(crate) fn load(cells: &[AtomicU64], to: &mut Target<'_>) {
    match to {
        Target::Host(bytes) => {
            for (cell, chunk) in cells.iter().zip(bytes.chunks_mut(WORD as usize)) {
                let word = cell.load(Ordering::Relaxed).to_le_bytes();
                chunk.copy_from_slice(&word[..chunk.len()]);
            }
        }
        Target::Guest(slice) => {
            for (cell, at) in cells.iter().zip((0..).step_by(WORD as usize)) {
                set_guest_word(*slice, at, cell.load(Ordering::Relaxed));
            }
        }
    }
}

/// The word at `at`, or what the slice has of it.
#[inline]
fn guest_word(slice: GuestSlice<'_>, at: u32) -> u64 {
    if let Some(rest) = tail(slice, at) {
        let mut bytes = [0; WORD as usize];
        rest.read(&mut bytes[..rest.len()]);
        return u64::from_le_bytes(bytes);
    }
    slice.get(at)
}

#[inline]
fn set_guest_word(slice: GuestSlice<'_>, at: u32, word: u64) {
    match tail(slice, at) {
        Some(rest) => rest.write(&word.to_le_bytes()[..rest.len()]),
        None => slice.set(at, word),
    }
}

/// What stands from `at` on, when that is less than a word.
#[inline]
fn tail(slice: GuestSlice<'_>, at: u32) -> Option<GuestSlice<'_>> {
    let len = u32::try_from(slice.len()).expect("a guest slice is shorter than the window");
    (len - at < WORD).then(|| slice.part(at, len - at))
}
