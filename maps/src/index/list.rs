//! Doubly linked lists of elements, in cells.
//!
//! The lists are rings: each has a head, which is an id beyond the elements'. Whoever
//! holds the lock of a list changes it; the cells are atomics only because they lie in a
//! segment that is shared.

use crate::segment::{Cells64, Parts};
use crate::sync::Ordering;

/// The rings: for each id, the one before in the upper half of a cell and the one after in
/// the lower half.
#[derive(Debug)]
pub(super) struct Lists(Cells64);

impl Lists {
    /// Rings of `elements` elements with `heads` heads, which are to be cleared.
    pub(super) fn new(parts: &mut Parts<'_>, elements: u32, heads: u32) -> Self {
        Self(parts.cells64(u64::from(elements) + u64::from(heads)))
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
        Some(self.next(head)).filter(|&id| id != head)
    }

    /// The last element of a ring.
    #[inline]
    pub(super) fn last(&self, head: u32) -> Option<u32> {
        Some(self.prev(head)).filter(|&id| id != head)
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
        let cell = self.0[id as usize].load(Ordering::Relaxed);
        ((cell >> 32) as u32, cell as u32)
    }

    #[inline]
    fn set(&self, id: u32, before: u32, after: u32) {
        let cell = u64::from(before) << 32 | u64::from(after);
        self.0[id as usize].store(cell, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::home::Home;
    use crate::segment::build;

    #[test]
    fn a_ring_keeps_its_order_in_both_directions() {
        let lists = build(&Home::private(), "t", |parts| Lists::new(parts, 4, 2));
        let lists = lists.expect("small");
        let (head, other) = (4, 5);
        lists.clear(head);
        lists.clear(other);
        assert_eq!((lists.first(head), lists.last(head)), (None, None));
        (0..4).for_each(|id| lists.push(head, id));
        let forth = |head: u32| {
            let next = |&id: &u32| Some(lists.next(id)).filter(|&id| id != head);
            std::iter::successors(lists.first(head), next).collect::<Vec<_>>()
        };
        let back = |head: u32| {
            let prev = |&id: &u32| Some(lists.prev(id)).filter(|&id| id != head);
            let mut ids = std::iter::successors(lists.last(head), prev).collect::<Vec<_>>();
            ids.reverse();
            ids
        };
        assert_eq!((forth(head), back(head)), (vec![3, 2, 1, 0], vec![3, 2, 1, 0]));
        for id in [1, 3, 0] {
            lists.remove(id);
            lists.push(other, id);
        }
        assert_eq!((forth(head), back(head)), (vec![2], vec![2]));
        assert_eq!((forth(other), back(other)), (vec![0, 3, 1], vec![0, 3, 1]));
        lists.remove(2);
        assert_eq!(forth(head), []);
    }
}
