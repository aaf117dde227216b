//! The indexes of maps, in host segments: chains of elements over a slab for the hashes,
//! and a trie of prefixes.

mod bucket;
mod chain;
mod hash;
mod list;
mod lru;
mod pool;
mod read;
mod table;
mod trie;

#[cfg(test)]
mod tests;

pub(crate) use self::{
    chain::{Found, Index},
    hash::{Key, word},
    lru::Sharing,
    table::{LruTable, Table},
    trie::{AnyPrefix, Trie},
};
