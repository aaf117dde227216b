//! The index of hash maps: chains of elements over a slab, in a host segment.

mod bucket;
mod chain;
mod hash;
mod list;
mod lru;
mod pool;
#[cfg(not(loom))]
mod table;

#[cfg(all(test, loom))]
mod model;

#[cfg(not(loom))]
pub(crate) use self::{
    chain::Found,
    hash::{Key, word},
    lru::Sharing,
    table::{Index, LruTable, Table},
};
