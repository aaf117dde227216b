//! Writers: one at a time. Readers see each change at once or not at all: a node is
//! written before it is linked, one store links it, and what it replaces waits before it
//! is used again.

use super::nodes::{Kind, Link, Slot, Writer};
use super::prefix::{AnyPrefix, FIRST_BITS};

/// Where a prefix is in the trie, or would be.
#[derive(Debug)]
pub(crate) struct Place {
    /// What leads there.
    slot: Slot,
    /// The node that is there; 0 for none.
    link: Link,
    /// How many bits that node and the prefix have in common.
    common: u32,
    /// The bit behind those of what is there; 0 where there is none.
    side: usize,
    /// The node above, and what leads to that.
    above: Option<(Slot, Link)>,
    is_element: bool,
}

impl Place {
    /// Whether an element has this very prefix.
    pub(crate) fn is_element(&self) -> bool {
        self.is_element
    }
}

/// A trie that nobody else changes.
#[derive(Debug)]
pub(crate) struct Edit<'s>(pub(super) Writer<'s>);

impl Edit<'_> {
    /// How many elements there are.
    pub(crate) fn count(&self) -> u32 {
        self.0.count()
    }

    /// Looks for the place of a prefix; `None` in a trie that is none.
    pub(crate) fn place(&self, prefix: &AnyPrefix) -> Option<Place> {
        let tree = &self.0.tree;
        let (mut slot, mut above) = (Slot::Root, None);
        let mut near: Option<AnyPrefix> = None;
        let mut least = 0;
        loop {
            let link = self.0.get(slot);
            if link == 0 {
                return Some(Place { slot, link, common: 0, side: 0, above, is_element: false });
            }
            let (len, kind) = (tree.len(link), tree.kind(link));
            if len < least {
                return None;
            }
            // A fork knows only the beginning of a long prefix. All elements under a node
            // begin with its prefix: the one nearest to the prefix that is looked for
            // tells for all nodes between.
            if kind == Kind::Fork && len > FIRST_BITS && near.is_none() {
                near = Some(tree.prefix(self.nearest(link, prefix)?));
            }
            let common = match &near {
                Some(near) => prefix.common(near.words().iter().copied()).min(len),
                None => prefix.common(tree.words(link)),
            };
            if common < len || len == prefix.len() {
                let is_element = common == len && kind == Kind::Element;
                let side = match near {
                    _ if common == len => 0,
                    Some(near) => near.bit(common),
                    None => tree.bit(link, common),
                };
                return Some(Place { slot, link, common, side, above, is_element });
            }
            least = len + 1;
            above = Some((slot, link));
            slot = Slot::Child(link, prefix.bit(len));
        }
    }

    /// The element under a node that has as much in common with `prefix` as any.
    fn nearest(&self, from: Link, prefix: &AnyPrefix) -> Option<Link> {
        let tree = &self.0.tree;
        let (mut link, mut least) = (from, 0);
        while link != 0 && tree.len(link) >= least {
            least = tree.len(link) + 1;
            let children = tree.children(link);
            match children[prefix.bit(tree.len(link))] {
                0 if tree.kind(link) == Kind::Element => return Some(link),
                0 => link = children[0],
                next => link = next,
            }
        }
        None
    }

    /// Takes a free element; `None` when all are in use.
    pub(crate) fn take(&self) -> Option<u32> {
        self.0.take(Kind::Element).map(|link| link - 1)
    }

    /// Gives an element back that was taken and not put anywhere.
    pub(crate) fn give(&self, id: u32) {
        self.0.give(id + 1);
    }

    /// Puts a taken element to where its prefix belongs, in place of the one that is there
    /// (kernel `trie_update_elem`); `false` in a trie that is none.
    #[must_use]
    pub(crate) fn put(&self, place: &Place, id: u32, prefix: &AnyPrefix) -> bool {
        let placed = self.place_at(place, id + 1, prefix).is_some();
        if placed && !place.is_element {
            self.0.set_count(self.0.count().wrapping_add(1));
        }
        placed
    }

    fn place_at(&self, place: &Place, new: Link, prefix: &AnyPrefix) -> Option<()> {
        let (writer, there) = (&self.0, place.link);
        if there == 0 {
            writer.write(new, prefix, [0, 0]);
            writer.set(place.slot, new);
            return Some(());
        }
        if place.common == writer.tree.len(there) {
            writer.write(new, prefix, writer.tree.children(there));
            writer.set(place.slot, new);
            writer.free(there);
            return Some(());
        }
        // It goes above the node that is there, which differs behind the common bits or is
        // longer.
        if place.common == prefix.len() {
            writer.write(new, prefix, children(place.side, there, 0));
            writer.set(place.slot, new);
            return Some(());
        }
        // There are fewer forks than elements, and as many nodes for them.
        let fork = writer.take(Kind::Fork)?;
        writer.write(new, prefix, [0, 0]);
        writer.write(fork, &prefix.with_len(place.common), children(place.side, there, new));
        writer.set(place.slot, fork);
        Some(())
    }

    /// Takes the element with a prefix out (kernel `trie_delete_elem`); `None` when there is
    /// none.
    pub(crate) fn remove(&self, prefix: &AnyPrefix) -> Option<()> {
        let (writer, place) = (&self.0, self.place(prefix)?);
        if !place.is_element {
            return None;
        }
        match writer.tree.children(place.link) {
            [0, 0] => self.remove_leaf(&place),
            [child, 0] | [0, child] => {
                writer.set(place.slot, child);
                writer.free(place.link);
            }
            both => {
                // An element goes, so that there is a fork for each.
                let fork = writer.take(Kind::Fork)?;
                writer.write(fork, &writer.tree.prefix(place.link), both);
                writer.set(place.slot, fork);
                writer.free(place.link);
            }
        }
        writer.set_count(writer.count().wrapping_sub(1));
        Some(())
    }

    /// A fork above an element without children has no reason to be when that goes.
    fn remove_leaf(&self, place: &Place) {
        let writer = &self.0;
        match (place.above, place.slot) {
            (Some((slot, fork)), Slot::Child(_, side)) if writer.tree.kind(fork) == Kind::Fork => {
                writer.set(slot, writer.tree.children(fork)[1 - side]);
                writer.free(fork);
            }
            _ => writer.set(place.slot, 0),
        }
        writer.free(place.link);
    }
}

/// Two links, `on` on that side and `off` on the other.
fn children(side: usize, on: Link, off: Link) -> [Link; 2] {
    if side == 0 { [on, off] } else { [off, on] }
}
