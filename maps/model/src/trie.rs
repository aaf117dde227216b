//! The parts of the trie, and the trie itself but for its segment.

#[path = "../../src/index/trie/edit.rs"]
#[allow(dead_code, reason = "the checks do not need all of it")]
mod edit;
#[path = "../../src/index/trie/find.rs"]
#[allow(dead_code, reason = "the checks do not need all of it")]
mod find;
#[path = "../../src/index/trie/nodes.rs"]
#[allow(dead_code, reason = "the checks do not need all of it")]
mod nodes;
#[path = "../../src/index/trie/prefix.rs"]
#[allow(dead_code, reason = "the checks do not need all of it")]
mod prefix;

use self::edit::Edit;
use self::nodes::Nodes;
pub(crate) use self::prefix::AnyPrefix;
use self::prefix::Prefix;
use crate::segment::Parts;

/// A trie for prefixes of one word.
pub(crate) struct Trie(Nodes);

impl Trie {
    /// A trie with `elements` ids, of which `grace` wait before they are used again.
    pub(crate) fn new(elements: u32, grace: u32) -> Self {
        Self(Nodes::new(&mut Parts::default(), elements + grace + 1, 1, grace))
    }

    pub(crate) fn ids(&self) -> u32 {
        self.0.elements()
    }

    pub(crate) fn edit(&self) -> Option<Edit<'_>> {
        self.0.lock().map(Edit)
    }

    /// As the trie of `skep-maps`.
    pub(crate) fn read<R>(&self, key: &[u8], mut then: impl FnMut(u32) -> R) -> Option<R> {
        let key = Prefix::<1>::new(key).expect("not too long");
        let tree = self.0.open();
        tree.read(|| tree.longest(&key).checked_sub(1).map(&mut then))
    }

    /// The key after `key`, or the first.
    pub(crate) fn next(&self, key: Option<&[u8]>) -> Option<Vec<u8>> {
        let key = key.and_then(AnyPrefix::new);
        let tree = self.0.open();
        let next = tree.read(|| tree.after(key.as_ref()).map(|link| tree.prefix(link)));
        next.map(|prefix| {
            let mut key = vec![0; 5];
            prefix.write(&mut key);
            key
        })
    }
}
