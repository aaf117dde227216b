//! The index of longest prefixes: a binary trie with compressed paths.
//!
//! A node stands where an element is or where two paths part (a **fork**); its prefix is
//! what all below it begin with. So a trie has fewer forks than elements, and a path no
//! more nodes than a prefix has bits.
//!
//! Readers take no lock and write nothing. A linked node never changes but for the links
//! to its children; a node that was taken out waits until [`GRACE`](nodes::GRACE) others
//! were, and a reader that was so slow as to see that happen walks again. That is the
//! kernel's RCU with a count in place of a grace period, and readers see what the kernel's
//! see: the tree while it changes, link by link.
//!
//! Everything is addressed by ids in one host segment, so that it may lie in a file shared
//! by several processes. It is committed as it is used.

mod edit;
mod find;
mod nodes;
mod prefix;

pub(crate) use edit::Edit;
pub(crate) use prefix::AnyPrefix;

use self::nodes::{GRACE, Nodes};
use self::prefix::{MOST_WORDS, Prefix};
use crate::home::Home;
use crate::segment::build;
use crate::{Errno, MapDef};

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
        let nodes = build(home, &def.name, |parts| Nodes::new(parts, elements, words))?;
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

    /// Locks the trie for a change.
    pub(crate) fn edit(&self) -> Edit<'_> {
        Edit(self.nodes.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trie(elements: u32) -> Trie {
        let def = MapDef { key_size: 8, ..MapDef::default() };
        Trie::new(&def, &Home::private(), elements + Trie::SPARES).expect("small")
    }

    fn key(len: u32, data: u32) -> [u8; 8] {
        let mut key = [0; 8];
        key[..4].copy_from_slice(&len.to_le_bytes());
        key[4..].copy_from_slice(&data.to_be_bytes());
        key
    }

    fn put(trie: &Trie, key: &[u8]) -> u32 {
        let prefix = AnyPrefix::new(key).expect("not too long");
        let edit = trie.edit();
        let place = edit.place(&prefix);
        let id = edit.take().expect("there is room");
        edit.put(&place, id, &prefix);
        id
    }

    fn remove(trie: &Trie, key: &[u8]) {
        let prefix = AnyPrefix::new(key).expect("not too long");
        trie.edit().remove(&prefix).expect("it is there");
    }

    #[test]
    fn a_reader_that_is_too_slow_reads_again() {
        let trie = trie(4);
        let first = put(&trie, &key(32, 1));
        for replaced in [GRACE, GRACE + 1, 10 * GRACE] {
            let mut seen = Vec::new();
            let last = trie.read(&key(32, 1), |id| {
                if seen.is_empty() {
                    for _ in 0..replaced {
                        put(&trie, &key(32, 1));
                    }
                }
                seen.push(id);
                id
            });
            // No more than `GRACE` were freed: what it met was still waiting.
            assert_eq!(seen.len(), if replaced <= GRACE { 1 } else { 2 }, "{replaced}");
            assert_eq!(last, seen.last().copied());
            assert_eq!(trie.count(), 1);
        }
        assert_ne!(trie.find(&key(32, 1)), Some(first));
    }

    #[test]
    fn a_freed_node_is_not_used_again_before_its_time() {
        let trie = trie(4);
        let mut ids: Vec<u32> = (0..1_000).map(|_| put(&trie, &key(8, 1 << 24))).collect();
        for pair in ids.windows(GRACE as usize + 1) {
            assert!(!pair[1..].contains(&pair[0]), "{pair:?}");
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), GRACE as usize + 2, "the same ones, over and over");
    }

    #[test]
    fn forks_come_and_go_with_the_elements_that_need_them() {
        let trie = trie(16);
        for round in 0..100 {
            // Two paths part at 14 bits; the place where they do is an element for a while.
            put(&trie, &key(16, 0x0a01_0000));
            put(&trie, &key(16, 0x0a02_0000));
            assert_eq!(trie.find(&key(14, 0x0a00_0000)), None, "round {round}");
            put(&trie, &key(14, 0x0a00_0000));
            assert!(trie.find(&key(32, 0x0a03_0000)).is_some());
            remove(&trie, &key(14, 0x0a00_0000));
            assert_eq!(trie.find(&key(32, 0x0a03_0000)), None);
            remove(&trie, &key(16, 0x0a01_0000));
            assert!(trie.find(&key(32, 0x0a02_0001)).is_some());
            remove(&trie, &key(16, 0x0a02_0000));
            assert_eq!(trie.count(), 0);
            assert!(!trie.next(None, &mut [0; 8]));
        }
    }
}
