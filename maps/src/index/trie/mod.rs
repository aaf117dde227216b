//! The index of longest prefixes: a binary trie with compressed paths.
//!
//! A node stands where an element is or where two paths part (a **fork**); its prefix is
//! what all below it begin with. So a trie has fewer forks than elements, and a path no
//! more nodes than a prefix has bits.
//!
//! Readers take no lock and write nothing. A linked node never changes but for the links
//! to its children; a node that was taken out waits until [`GRACE`] others were, and a reader that was so slow as to see that happen walks again. That is the
//! kernel's RCU with a count in place of a grace period, and readers see what the kernel's
//! see: the tree while it changes, link by link.
//!
//! Everything is addressed by ids in one host segment, so that it may lie in a file shared
//! by several processes. It is committed as it is used.

mod edit;
mod find;
mod nodes;
mod prefix;
#[cfg(test)]
mod tests;

pub(crate) use edit::Edit;
pub(crate) use prefix::AnyPrefix;

use self::nodes::Nodes;
use self::prefix::{MOST_WORDS, Prefix};
use crate::home::Home;
use crate::segment::build;
use crate::{Errno, MapDef};

/// How many nodes must be freed after a node before it is used again.
const GRACE: u32 = 64;

/// A trie.
#[derive(Debug)]
pub(crate) struct Trie {
    nodes: Nodes,
    /// Words of a prefix.
    words: usize,
}

impl Trie {
    /// Ids besides those of the elements in a trie: for those that wait, and for the one
    /// that replaces another.
    pub(crate) const SPARES: u32 = GRACE + 1;

    /// An empty trie for keys of `def.key_size` bytes with `elements` element ids.
    ///
    /// # Errors
    ///
    /// `ENOMEM` when the host gives no room.
    pub(crate) fn new(def: &MapDef, home: &Home, elements: u32) -> Result<Self, Errno> {
        let words = prefix::words(def.key_size as usize);
        let nodes = build(home, &def.name, |parts| Nodes::new(parts, elements, words, GRACE))?;
        Ok(Self { nodes, words })
    }

    /// The number of element ids: what values must have room for.
    pub(crate) fn ids(&self) -> u32 {
        self.nodes.elements()
    }

    /// How many elements there are.
    pub(crate) fn count(&self) -> u32 {
        self.nodes.count()
    }

    /// The element with the longest prefix of `key`; none for a key that is longer than
    /// its data.
    #[inline]
    pub(crate) fn find(&self, key: &[u8]) -> Option<u32> {
        self.read(key, |id| id)
    }

    /// Does something that only reads with the element that [`Trie::find`] gives, perhaps
    /// several times: the last time nobody else uses that element.
    #[inline]
    pub(crate) fn read<R>(&self, key: &[u8], then: impl FnMut(u32) -> R) -> Option<R> {
        match self.words {
            1 => self.read_by::<1, R>(key, then),
            2 => self.read_by::<2, R>(key, then),
            3 => self.read_by::<3, R>(key, then),
            _ => self.read_by::<MOST_WORDS, R>(key, then),
        }
    }

    #[inline]
    fn read_by<const W: usize, R>(&self, key: &[u8], mut then: impl FnMut(u32) -> R) -> Option<R> {
        let key = Prefix::<W>::new(key)?;
        let tree = self.nodes.open();
        tree.read(|| tree.longest(&key).checked_sub(1).map(&mut then))
    }

    /// Writes the key after `key` to `out`, the first one for none or one that no element
    /// has; `false` behind the last.
    pub(crate) fn next(&self, key: Option<&[u8]>, out: &mut [u8]) -> bool {
        let key = key.and_then(AnyPrefix::new);
        let tree = self.nodes.open();
        let next = tree.read(|| tree.after(key.as_ref()).map(|link| tree.prefix(link)));
        next.inspect(|prefix| prefix.write(out)).is_some()
    }

    /// Locks the trie for a change; `None` when whoever has it locked does not let it go.
    pub(crate) fn edit(&self) -> Option<Edit<'_>> {
        self.nodes.lock().map(Edit)
    }
}
