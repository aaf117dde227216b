//! The index of hash maps: chains of elements over a slab, in a host segment.

mod chain;
mod pool;

pub(crate) use chain::{Chains, Found};
