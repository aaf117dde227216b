//! Model checks of the lock-free parts of maps: every interleaving of a few operations,
//! under the weak orders that the memory model allows.
//!
//! The parts are the very source files of `skep-maps`. Here they find other modules
//! called `sync` and `segment` beside them, whose atomics loom watches.
#![cfg(test)]

#[path = "../../src/index/bucket.rs"]
mod bucket;
#[path = "../../src/index/chain.rs"]
#[allow(dead_code, reason = "the checks do not need all of it")]
mod chain;
mod checks;
#[path = "../../src/index/hash.rs"]
mod hash;
#[path = "../../src/index/list.rs"]
mod list;
#[path = "../../src/index/lru.rs"]
mod lru;
#[path = "../../src/patience.rs"]
#[allow(dead_code, reason = "the checks do not need all of it")]
mod patience;
#[path = "../../src/index/pool.rs"]
mod pool;
#[path = "../../src/positions.rs"]
#[allow(dead_code, reason = "the checks do not need all of it")]
mod positions;
mod segment;
mod sync;
mod trie;
#[path = "../../src/word_lock.rs"]
mod word_lock;
