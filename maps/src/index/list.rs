//! Doubly linked lists of elements, in cells.
//!
//! The lists are rings: each has a head, which is an id beyond the elements'. Whoever
//! holds the lock of a list changes it; the cells are atomics only because they lie in a
//! segment that is shared. In a file a link may be any number: one that is no element's id
//! is taken for a head's, and so ends a list.

use crate::segment::{Cells64, Parts};
use crate::sync::Ordering;

/// The rings: for each id, the one before in the upper half of a cell and the one after in
/// the lower half.
#[derive(Debug)]
pub(super) struct Lists {
    cells: Cells64,
    elements: u32,
}

impl Lists {
    /// Rings of `elements` elements with `heads` heads, which are to be cleared.
    pub(super) fn new(parts: &mut Parts<'_>, elements: u32, heads: u32) -> Self {
        Self { cells: parts.cells64(u64::from(elements) + u64::from(heads)), elements }
    }

    /// Makes an empty ring of a head.
    pub(super) fn clear(&self, head: u32) {
        self.set(head, head, head);
    }

    /// The id after `id`; of a head, the ring's first.
    #[inline]
    pub(super) fn next(&self, id: u32) -> u32 {
        self.get(id).1
    }

    /// The id before `id`; of a head, the ring's last.
    #[inline]
    pub(super) fn prev(&self, id: u32) -> u32 {
        self.get(id).0
    }

    /// The first element of a ring.
    #[inline]
    pub(super) fn first(&self, head: u32) -> Option<u32> {
        Some(self.next(head)).filter(|&id| self.is_element(id))
    }

    /// The last element of a ring.
    #[inline]
    pub(super) fn last(&self, head: u32) -> Option<u32> {
        Some(self.prev(head)).filter(|&id| self.is_element(id))
    }

    /// Whether an id is an element's; otherwise it is a head's.
    #[inline]
    pub(super) fn is_element(&self, id: u32) -> bool {
        id < self.elements
    }

    /// Puts an element that is in no ring first.
    #[inline]
    pub(super) fn push(&self, head: u32, id: u32) {
        let first = self.next(head);
        self.set(id, head, first);
        self.set(head, if first == head { id } else { self.prev(head) }, id);
        if first != head {
            self.set(first, id, self.next(first));
        }
    }

    /// Takes an element out of its ring.
    #[inline]
    pub(super) fn remove(&self, id: u32) {
        let (before, after) = self.get(id);
        if before == after {
            self.set(before, before, before);
            return;
        }
        self.set(before, self.prev(before), after);
        self.set(after, before, self.next(after));
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
    fn get(&self, id: u32) -> (u32, u32) {
        let Some(cell) = self.cells.get(id as usize) else { return (id, id) };
        let cell = cell.load(Ordering::Relaxed);
        ((cell >> 32) as u32, cell as u32)
    }

    #[inline]
    fn set(&self, id: u32, before: u32, after: u32) {
        let cell = u64::from(before) << 32 | u64::from(after);
        if let Some(place) = self.cells.get(id as usize) {
            place.store(cell, Ordering::Relaxed);
        }
    }
}
