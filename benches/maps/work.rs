//! What is measured.

use std::hint;
use std::sync::Barrier;
use std::time::Instant;

use rustix::thread::{CpuSet, sched_setaffinity};

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

/// The kinds of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// On a HASH of `entries` keys of `key` bytes and values of 8.
    Hash { key: usize, entries: u32, op: HashOp },
    /// Inserts of new keys of 4 bytes into a full LRU_HASH of 10,000.
    LruEvict,
    /// Lookups of random addresses among 10,000 IPv4 prefixes of 8 to 24 bits.
    LpmLookup,
    /// A record of 64 bytes is reserved, written and submitted; no consumer runs.
    Ring,
}

impl Kind {
    /// How many operations one thread does in a round: enough for the caches to know a map
    /// of a million entries.
    pub(crate) fn operations(self) -> u64 {
        match self {
            Kind::Hash { entries: 1_000_000.., .. } => 2_000_000,
            _ => 400_000,
        }
    }
}

/// What is done with a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HashOp {
    /// Looks a random key up and reads its value.
    Get,
    /// Gives a random key a new value.
    Update,
    /// Inserts a key and deletes it, each thread its own keys.
    InsertDelete,
}

/// All rows.
pub(crate) const WORKS: &[Work] = &[
    hash("hash lookup, 4-byte key, 10 k", 4, 10_000, HashOp::Get),
    hash("hash lookup, 16-byte key, 10 k", 16, 10_000, HashOp::Get),
    hash("hash lookup, 4-byte key, 1 M", 4, 1_000_000, HashOp::Get),
    hash("hash lookup, 16-byte key, 1 M", 16, 1_000_000, HashOp::Get),
    hash("hash update of a key, 4-byte key, 10 k", 4, 10_000, HashOp::Update),
    hash("hash update of a key, 16-byte key, 10 k", 16, 10_000, HashOp::Update),
    hash("hash insert + delete, 4-byte key, 10 k", 4, 10_000, HashOp::InsertDelete),
    hash("hash insert + delete, 16-byte key, 10 k", 16, 10_000, HashOp::InsertDelete),
    Work { name: "lru insert that evicts, 10 k", kind: Kind::LruEvict },
    Work { name: "lpm lookup, 10 k IPv4 prefixes", kind: Kind::LpmLookup },
    Work { name: "ring buffer, 64-byte record", kind: Kind::Ring },
];

const fn hash(name: &'static str, key: usize, entries: u32, op: HashOp) -> Work {
    Work { name, kind: Kind::Hash { key, entries, op } }
}

/// Keys that a hash may have beyond its entries, for insertions.
pub(crate) const ROOM: u32 = 2048;
/// Entries of the LRU map.
pub(crate) const LRU_ENTRIES: u32 = 10_000;
/// Prefixes of the trie.
pub(crate) const PREFIXES: u32 = 10_000;
/// Bytes of the ring buffer, and how many records go in before it is emptied.
pub(crate) const RING_BYTES: u32 = 1 << 26;
pub(crate) const RING_RECORDS: u64 = 640_000;

/// Someone who does the work.
pub(crate) trait Side {
    /// Does it on so many threads at once, each on a CPU of its own; nanoseconds of one
    /// operation of one thread.
    fn run(&mut self, threads: usize) -> f64;
}

/// Key number `n` of a hash: a number, or a flow of two addresses, two ports and a
/// protocol.
pub(crate) fn key(len: usize, n: u32) -> [u8; 16] {
    if len == 4 {
        return u128::from(n).to_le_bytes();
    }
    let addresses = u64::from(n.wrapping_mul(SPREAD)) | 0x0a00_0001 << 32;
    let rest = u64::from(n >> 3) & 0xffff | PORT_AND_PROTOCOL;
    (u128::from(rest) << 64 | u128::from(addresses)).to_le_bytes()
}

/// Spreads numbers over the addresses.
pub(crate) const SPREAD: u32 = 2_654_435_761;
/// The port 443 and the protocol TCP, where they stand in a flow's second word.
const PORT_AND_PROTOCOL: u64 = 443 << 16 | 6 << 32;

/// Prefix number `n`: its length, then the address.
pub(crate) fn prefix(n: u32) -> [u8; 8] {
    let bits = u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut key = [0; 8];
    key[..4].copy_from_slice(&(8 + n % 17).to_le_bytes());
    key[4..].copy_from_slice(&bits.to_be_bytes()[..4]);
    key
}

/// A random number from the generator that all sides use.
pub(crate) fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// The key that an operation is about, from a random number; insertions use keys that
/// are not there, half of them for each thread.
pub(crate) fn pick(op: HashOp, entries: u32, random: u64, thread: u64) -> u32 {
    let number = match op {
        HashOp::Get | HashOp::Update => ((random >> 32) * u64::from(entries)) >> 32,
        HashOp::InsertDelete => u64::from(entries) + ((random & 511) << 1 | thread & 1),
    };
    u32::try_from(number).expect("below the number of entries")
}

/// Does `op`, which gets the thread's number and a random number, `count` times on each
/// thread.
pub(crate) fn time(threads: usize, count: u64, op: impl Fn(u64, u64) -> u64 + Sync) -> f64 {
    let barrier = Barrier::new(threads);
    let one = |thread: usize| {
        pin(thread);
        let thread = thread as u64;
        let mut state = 0x9e37_79b9_7f4a_7c15 ^ (thread + 1) << 33;
        let mut sum = 0_u64;
        barrier.wait();
        let start = Instant::now();
        for _ in 0..count {
            sum = sum.wrapping_add(op(thread, random(&mut state)));
        }
        let elapsed = start.elapsed();
        hint::black_box(sum);
        elapsed.as_secs_f64() * 1e9 / count as f64
    };
    std::thread::scope(|scope| {
        let one = &one;
        let running: Vec<_> = (0..threads).map(|n| scope.spawn(move || one(n))).collect();
        let times = running.into_iter().map(|thread| thread.join().unwrap());
        times.sum::<f64>() / threads as f64
    })
}

/// Keeps this thread on a CPU.
pub(crate) fn pin(cpu: usize) {
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(None, &only).unwrap();
}
