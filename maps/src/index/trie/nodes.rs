//! The trie's nodes: where they lie, and when a node that is no longer used may be used
//! again.

use super::prefix::{AnyPrefix, LEN_BITS, Prefix, len_of};
use crate::patience::Patience;
use crate::segment::{Cells32, Cells64, Parts};
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};
use crate::word_lock::WordGuard;

/// A link is a node's id + 1; none is 0.
pub(super) type Link = u32;

/// The nodes of a trie, and what its writers know.
#[derive(Debug)]
pub(super) struct Nodes {
    /// The writers' own, see [`State`].
    state: Cells32,
    /// The root's link, and how many nodes were ever freed; then the nodes: elements, then
    /// forks. A node's first cell has the links to its children, in the lower half the one for
    /// a bit 0 and in the upper half the one for a bit 1. Then come the words of the prefix; a
    /// fork has the first of them only.
    cells: Cells64,
    shape: Shape,
    patience: Patience,
}

/// How a trie's nodes lie, and how long they wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Cells of an element.
    stride: usize,
    /// Ids below this are elements; as many from there on are forks.
    elements: u32,
    /// So many nodes must be freed after a node before it is used again. A reader during
    /// whose walk no more than that were freed has met no node that was used again.
    grace: u32,
}

/// Cells of a fork.
const FORK: usize = 2;

/// Which cells come before the nodes: a cache line.
const ROOT: usize = 0;
const FREED: usize = 1;
const HEAD: usize = 8;

/// Which cell of the writers' state is what.
enum State {
    Lock,
    /// How many elements are in the trie.
    Count,
    /// How many ids of each kind have ever been used.
    UsedElements,
    UsedForks,
    /// The first free node of each kind that was used before; its first cell has the next.
    FreeElements,
    FreeForks,
    /// The nodes that were freed last, as many as wait, by the number of the free.
    Waiting = 16,
}

/// What a node stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An element of the map.
    Element,
    /// A place where two paths part, and nothing else (the kernel's intermediate nodes).
    Fork,
}

impl Nodes {
    /// Nodes for `elements` elements with prefixes of `words` words, of which `grace` wait
    /// before they are used again.
    pub(super) fn new(parts: &mut Parts<'_>, elements: u32, words: usize, grace: u32) -> Self {
        let stride = words + 1;
        Self {
            state: parts.cells32(u64::from(State::Waiting as u32 + grace)),
            cells: parts.cells64(HEAD as u64 + u64::from(elements) * (stride + FORK) as u64),
            shape: Shape { stride, elements, grace },
            patience: parts.patience(),
        }
    }

    /// The tree as readers see it, who change nothing.
    #[inline]
    pub(super) fn open(&self) -> Tree<'_> {
        let (head, cells) = self.cells.split_at(HEAD);
        let patience = &self.patience;
        Tree { root: &head[ROOT], freed: &head[FREED], cells, shape: self.shape, patience }
    }

    /// The tree for one writer at a time; `None` when the one who has it does not let it go.
    pub(super) fn lock(&self) -> Option<Writer<'_>> {
        let state = &*self.state;
        let guard = WordGuard::take(&state[State::Lock as usize], &self.patience)?;
        Some(Writer { tree: self.open(), state, _guard: guard })
    }

    /// How many elements are in the trie.
    pub(super) fn count(&self) -> u32 {
        self.state[State::Count as usize].load(Ordering::Relaxed)
    }

    /// The number of element ids.
    pub(super) fn elements(&self) -> u32 {
        self.shape.elements
    }
}

/// The nodes and the root. In a file they may hold anything: a link that leads nowhere is
/// taken for one to the first node, and walks end since lengths must grow on the way down.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tree<'s> {
    root: &'s AtomicU64,
    freed: &'s AtomicU64,
    cells: &'s [AtomicU64],
    shape: Shape,
    patience: &'s Patience,
}

impl<'s> Tree<'s> {
    /// Does what only reads, again if nodes that it met may have been used again
    /// meanwhile. What it meets is a tree as it was at some moment, node by node; when it
    /// is led astray its result does not count, but it must end.
    #[inline]
    pub(super) fn read<R>(&self, mut walk: impl FnMut() -> Option<R>) -> Option<R> {
        let mut tries = 0_u32;
        loop {
            let before = self.freed.load(Ordering::Acquire);
            let result = walk();
            fence(Ordering::Acquire);
            let freed = self.freed.load(Ordering::Relaxed).wrapping_sub(before);
            // A node that the walk met was freed, if at all, as number `before + 1` or
            // later, and then used again after `grace` others.
            if freed <= u64::from(self.shape.grace) {
                return result;
            }
            if !self.goes_on(&mut tries) {
                return None;
            }
        }
    }

    /// Whether a reader that was too slow may try again.
    #[cold]
    fn goes_on(&self, tries: &mut u32) -> bool {
        let lasts = self.patience.lasts(*tries);
        *tries = tries.wrapping_add(1);
        lasts
    }

    /// The root's link.
    #[inline]
    pub(super) fn root(&self) -> Link {
        half(self.root.load(Ordering::Acquire), 0)
    }

    /// Where the cells of the node that a link leads to begin; `stride` is the tree's own,
    /// for those who know it better.
    #[inline]
    fn start(&self, link: Link, stride: usize) -> usize {
        debug_assert_eq!(stride, self.shape.stride);
        let id = (link - 1) as usize;
        // The first is right for elements and too much for forks, the second the other way
        // round.
        let of_element = id * stride;
        let of_fork = self.shape.elements as usize * (stride - FORK) + id * FORK;
        of_element.min(of_fork)
    }

    /// Where the cells of a node begin, and what is in the first two: the links to its
    /// children and the first word of its prefix. `None` when it is nowhere.
    #[inline]
    pub(super) fn head(&self, link: Link, stride: usize) -> Option<(usize, [u64; 2])> {
        let start = self.start(link, stride);
        let cells = self.cells.get(start..start + 2)?;
        let children = cells[0].load(Ordering::Acquire);
        Some((start, [children, cells[1].load(Ordering::Relaxed)]))
    }

    /// A cell by its place among all.
    #[inline]
    pub(super) fn cell(&self, at: usize) -> &'s AtomicU64 {
        &self.cells[at]
    }

    /// The cells of a node.
    #[inline]
    fn node(&self, link: Link) -> &'s [AtomicU64] {
        let count = if self.kind(link) == Kind::Element { self.shape.stride } else { FORK };
        let start = self.start(link, self.shape.stride);
        self.cells.get(start..start + count).unwrap_or_else(|| &self.cells[..count])
    }

    /// Cells of an element.
    #[inline]
    pub(super) fn stride(&self) -> usize {
        self.shape.stride
    }

    /// What a link leads to.
    #[inline]
    pub(super) fn kind(&self, link: Link) -> Kind {
        if link <= self.shape.elements { Kind::Element } else { Kind::Fork }
    }

    /// A node's links to its children.
    #[inline]
    pub(super) fn children(&self, link: Link) -> [Link; 2] {
        let cell = self.node(link)[0].load(Ordering::Acquire);
        [half(cell, 0), half(cell, 1)]
    }

    /// The words of a node's prefix, of a fork's the first.
    #[inline]
    pub(super) fn words(&self, link: Link) -> impl Iterator<Item = u64> + use<'s> {
        self.node(link)[1..].iter().map(|word| word.load(Ordering::Relaxed))
    }

    /// A bit of an element's data, or of a fork's in its first word.
    pub(super) fn bit(&self, link: Link, index: u32) -> usize {
        let at = LEN_BITS + index;
        let word = self.node(link).get(1 + (at / 64) as usize);
        let word = word.map_or(0, |word| word.load(Ordering::Relaxed));
        usize::from((word << (at % 64)) >> 63 != 0)
    }

    /// An element's prefix.
    pub(super) fn prefix(&self, link: Link) -> AnyPrefix {
        Prefix::from_words(self.words(link))
    }

    /// The length of a node's prefix.
    pub(super) fn len(&self, link: Link) -> u32 {
        len_of(self.node(link)[1].load(Ordering::Relaxed))
    }
}

/// The link for a bit in a node's first cell.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "half of it is wanted")]
pub(super) fn half(cell: u64, bit: usize) -> Link {
    (cell >> (32 * bit)) as u32
}

fn both(children: [Link; 2]) -> u64 {
    u64::from(children[0]) | u64::from(children[1]) << 32
}

/// A place that holds a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Root,
    /// Of the node that the link leads to, for that bit.
    Child(Link, usize),
}

/// The tree while nobody else changes it.
#[derive(Debug)]
pub(super) struct Writer<'s> {
    pub(super) tree: Tree<'s>,
    state: &'s [AtomicU32],
    _guard: WordGuard<'s>,
}

impl Writer<'_> {
    fn state(&self, which: State) -> &AtomicU32 {
        &self.state[which as usize]
    }

    /// How many elements are in the trie.
    pub(super) fn count(&self) -> u32 {
        self.state(State::Count).load(Ordering::Relaxed)
    }

    pub(super) fn set_count(&self, count: u32) {
        self.state(State::Count).store(count, Ordering::Relaxed);
    }

    /// Takes a free node; `None` when all are in use.
    pub(super) fn take(&self, kind: Kind) -> Option<Link> {
        // Who sees what is written to the node from here on sees as well how many had been
        // freed by then.
        fence(Ordering::Release);
        let (first, free, used) = match kind {
            Kind::Element => (0, State::FreeElements, State::UsedElements),
            Kind::Fork => (self.tree.shape.elements, State::FreeForks, State::UsedForks),
        };
        let (free, used) = (self.state(free), self.state(used));
        let top = free.load(Ordering::Relaxed);
        if (first + 1..=first + self.tree.shape.elements).contains(&top) {
            free.store(self.tree.children(top)[0], Ordering::Relaxed);
            return Some(top);
        }
        let count = used.load(Ordering::Relaxed);
        (count < self.tree.shape.elements).then(|| {
            used.store(count + 1, Ordering::Relaxed);
            first + count + 1
        })
    }

    /// Gives a node back that was taken and never linked.
    pub(super) fn give(&self, link: Link) {
        let free = self.state(match self.tree.kind(link) {
            Kind::Element => State::FreeElements,
            Kind::Fork => State::FreeForks,
        });
        self.set_children(link, [free.load(Ordering::Relaxed), 0]);
        free.store(link, Ordering::Relaxed);
    }

    /// Frees a node that is linked no more. Readers may still stand on it: it waits.
    pub(super) fn free(&self, link: Link) {
        let number = self.tree.freed.load(Ordering::Relaxed).wrapping_add(1);
        // Who sees this number does not see the link that was removed before.
        self.tree.freed.store(number, Ordering::Release);
        // And who sees what is written to the node that has waited long enough sees it.
        fence(Ordering::Release);
        let turn = usize::try_from(number % u64::from(self.tree.shape.grace)).expect("small");
        let waiting = &self.state[State::Waiting as usize + turn];
        let ripe = waiting.load(Ordering::Relaxed);
        waiting.store(link, Ordering::Relaxed);
        if ripe != 0 {
            self.give(ripe);
        }
    }

    /// Writes a node that is not linked yet.
    pub(super) fn write(&self, link: Link, prefix: &AnyPrefix, children: [Link; 2]) {
        self.set_children(link, children);
        let words = &self.tree.node(link)[1..];
        for (cell, word) in words.iter().zip(prefix.words()) {
            cell.store(*word, Ordering::Relaxed);
        }
    }

    fn set_children(&self, link: Link, children: [Link; 2]) {
        let cell = &self.tree.node(link)[0];
        cell.store(both(children), Ordering::Relaxed);
    }

    /// The link in a slot.
    pub(super) fn get(&self, slot: Slot) -> Link {
        match slot {
            Slot::Root => self.tree.root(),
            Slot::Child(link, bit) => self.tree.children(link)[bit],
        }
    }

    /// Puts a link into a slot: readers find what it leads to as it is now.
    pub(super) fn set(&self, slot: Slot, to: Link) {
        match slot {
            Slot::Root => self.tree.root.store(u64::from(to), Ordering::Release),
            Slot::Child(link, bit) => {
                let mut children = self.tree.children(link);
                children[bit] = to;
                let cell = &self.tree.node(link)[0];
                cell.store(both(children), Ordering::Release);
            }
        }
    }
}
