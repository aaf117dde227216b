//! Doubly linked lists of elements, in cells.
//!
//! The lists are rings: each has a head, which is an id beyond the elements'. Whoever
//! holds the lock of a list changes it; the cells are atomics only because they lie in a
//! segment that is shared. In a file a link may be any number: one that is no element's id
//! is taken for a head's, and so ends a list.

use crate::segment::{Cells32, Parts};
use crate::sync::{AtomicU32, Ordering};

/// Elements and heads with what is known of them, side by side: who works on one finds it
/// all in one cache line.
#[derive(Debug)]
pub(super) struct Lists {
    cells: Cells32,
    elements: u32,
}

/// A node's cells: the id before it, the one after it, its state and its reference bit.
type Node = [AtomicU32; 4];
const BEFORE: usize = 0;
const AFTER: usize = 1;
const STATE: usize = 2;
const REFERENCE: usize = 3;

/// Nodes of a cache line.
pub(super) const LINE: u32 = 4;

impl Lists {
    /// Nodes for `ids` ids, which begin at a cache line: `elements` elements, then heads,
    /// which are to be cleared, and at last one that is neither.
    pub(super) fn new(parts: &mut Parts<'_>, elements: u32, ids: u64) -> Self {
        Self { cells: parts.cells32(ids * 4), elements }
    }

    /// What the owner of the lists knows of an element.
    #[inline(always)]
    pub(super) fn state(&self, id: u32) -> &AtomicU32 {
        &self.node(id)[STATE]
    }

    /// Whether an element was referenced: 0 or 1, which anybody may set.
    #[inline(always)]
    pub(super) fn reference(&self, id: u32) -> &AtomicU32 {
        &self.node(id)[REFERENCE]
    }

    /// Makes an empty ring of a head.
    pub(super) fn clear(&self, head: u32) {
        self.join(head, head);
    }

    /// The id after `id`; of a head, the ring's first.
    #[inline(always)]
    pub(super) fn next(&self, id: u32) -> u32 {
        self.node(id)[AFTER].load(Ordering::Relaxed)
    }

    /// The id before `id`; of a head, the ring's last.
    #[inline(always)]
    pub(super) fn prev(&self, id: u32) -> u32 {
        self.node(id)[BEFORE].load(Ordering::Relaxed)
    }

    /// The first element of a ring.
    #[inline(always)]
    pub(super) fn first(&self, head: u32) -> Option<u32> {
        Some(self.next(head)).filter(|&id| self.is_element(id))
    }

    /// The last element of a ring.
    #[inline(always)]
    pub(super) fn last(&self, head: u32) -> Option<u32> {
        Some(self.prev(head)).filter(|&id| self.is_element(id))
    }

    /// Whether an id is an element's; otherwise it is a head's.
    #[inline(always)]
    pub(super) fn is_element(&self, id: u32) -> bool {
        id < self.elements
    }

    /// Puts an element that is in no ring first.
    #[inline(always)]
    pub(super) fn push(&self, head: u32, id: u32) {
        let first = self.next(head);
        self.join(id, first);
        self.join(head, id);
    }

    /// Takes an element out of its ring.
    #[inline(always)]
    pub(super) fn remove(&self, id: u32) {
        self.join(self.prev(id), self.next(id));
    }

    /// Puts all elements of one ring first in another, as they stand; the first is empty then.
    pub(super) fn splice(&self, from: u32, to: u32) {
        let (first, last) = (self.next(from), self.prev(from));
        if first != from {
            self.join(last, self.next(to));
            self.join(to, first);
            self.clear(from);
        }
    }

    /// Makes `after` the one after `before`.
    #[inline(always)]
    fn join(&self, before: u32, after: u32) {
        self.node(before)[AFTER].store(after, Ordering::Relaxed);
        self.node(after)[BEFORE].store(before, Ordering::Relaxed);
    }

    /// The node of an id; for a number that is none, the last one.
    #[inline(always)]
    fn node(&self, id: u32) -> &Node {
        let (nodes, _) = self.cells.as_chunks();
        // Not by a minimum: walks wait for each other's links.
        nodes.get(id as usize).unwrap_or_else(|| stray(nodes))
    }
}

#[cold]
fn stray(nodes: &[Node]) -> &Node {
    nodes.last().expect("there are heads")
}
