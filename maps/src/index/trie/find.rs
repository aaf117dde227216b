//! Readers: who take no lock and write nothing.

use super::nodes::{Kind, Link, Tree, half};
use super::prefix::{AnyPrefix, FIRST_BITS, Prefix, len_of};
use crate::sync::Ordering;

impl Tree<'_> {
    /// The element with the longest prefix that `key` begins with and that is no longer
    /// than `key` (kernel `trie_lookup_elem`); 0 for none.
    ///
    /// Of forks only the first word is compared: if the rest of one does not fit, neither
    /// does any element under it.
    #[inline]
    pub(super) fn longest<const W: usize>(&self, key: &Prefix<W>) -> Link {
        // A constant for the short prefixes.
        let stride = if W <= 3 { W + 1 } else { self.stride() };
        let most = key.len();
        let (mut found, mut link) = (0, self.root());
        // Lengths grow from node to node; where they do not, the walk was led astray.
        let mut least = 0;
        let mut done = 1;
        while link != 0 {
            let Some((start, [children, first])) = self.head(link, stride) else { break };
            let len = len_of(first);
            if len < least || len > most || !key.begins(first, len) {
                break;
            }
            if W > 1 && len > FIRST_BITS && self.kind(link) == Kind::Element {
                let word = |n| self.cell(start + 1 + n).load(Ordering::Relaxed);
                if !key.goes_on(word, len, &mut done) {
                    break;
                }
            }
            if self.kind(link) == Kind::Element {
                found = link;
            }
            least = len + 1;
            link = half(children, key.bit(len));
        }
        found
    }

    /// The element that comes after `key` in postorder, children before their parent; the
    /// first one when `key` is none or no element has it (kernel `trie_get_next_key`).
    /// `None` behind the last.
    pub(super) fn after(&self, key: Option<&AnyPrefix>) -> Option<Link> {
        let root = self.root();
        if root == 0 {
            return None;
        }
        match key.and_then(|key| self.behind(root, key)) {
            None => self.leftmost(root),
            Some(Behind::End) => None,
            Some(Behind::Node(link)) => Some(link),
            Some(Behind::Under(link)) => self.leftmost(link),
        }
    }

    /// Where the element after `key` is; `None` when no element has `key`.
    fn behind(&self, root: Link, key: &AnyPrefix) -> Option<Behind> {
        let (mut link, mut least) = (root, 0);
        let mut behind = Behind::End;
        loop {
            let len = self.len(link);
            if len < least || len > key.len() {
                return None;
            }
            if len == key.len() {
                let found = self.kind(link) == Kind::Element && key.common(self.words(link)) == len;
                return found.then_some(behind);
            }
            let children = self.children(link);
            let bit = key.bit(len);
            if bit == 0 && children[1] != 0 {
                behind = Behind::Under(children[1]);
            } else if self.kind(link) == Kind::Element {
                behind = Behind::Node(link);
            }
            least = len + 1;
            link = children[bit];
            if link == 0 {
                return None;
            }
        }
    }

    /// The first element in postorder under a node, or that node.
    fn leftmost(&self, from: Link) -> Option<Link> {
        let (mut found, mut link, mut least) = (None, from, 0);
        while link != 0 && self.len(link) >= least {
            if self.kind(link) == Kind::Element {
                found = Some(link);
            }
            least = self.len(link) + 1;
            let [left, right] = self.children(link);
            link = if left == 0 { right } else { left };
        }
        found
    }
}

/// What comes after an element in postorder.
enum Behind {
    End,
    /// The element that the link leads to.
    Node(Link),
    /// The first element under it.
    Under(Link),
}
