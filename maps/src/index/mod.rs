//! The indexes of maps, in host segments: chains of elements over a slab for the hashes,
//! and a trie of prefixes.

mod bucket;
mod chain;
mod hash;
mod list;
mod lru;
mod pool;
#[cfg(not(loom))]
mod table;
mod trie;

#[cfg(all(test, loom))]
mod model;

#[cfg(not(loom))]
pub(crate) use self::{
    chain::Found,
    hash::{Key, word},
    lru::Sharing,
    table::{Index, LruTable, Table},
    trie::{AnyPrefix, Trie},
};
