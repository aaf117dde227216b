//! The index of hash maps: chains of elements over a slab, in a host segment.

mod bucket;
mod chain;
mod hash;
mod list;
mod lru;
mod pool;
mod table;

#[cfg(test)]
mod tests;

pub(crate) use self::{
    chain::{Found, Index},
    hash::Key,
    lru::Sharing,
    table::{LruTable, Table},
};
