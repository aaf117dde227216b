//! BLOOM_FILTER: whether a value was ever put in, or maybe another (kernel
//! `bloom_filter.c`).
//!
//! The hashes and the number of bits are the kernel's, so that a filter with
//! `BPF_F_ZERO_SEED` gives the kernel's answers, wrong ones included. The kernel seeds
//! other filters at random; here they are seeded with 0 too, so that runs are repeatable.

use std::sync::Arc;

use super::{Keys, Refusal, Rules, check_flags, rule};
use crate::flags::{BPF_ANY, BPF_F_ACCESS_MASK, BPF_F_NUMA_NODE, BPF_F_ZERO_SEED};
use crate::jhash::jhash;
use crate::map::{ProgramOp as Op, Source, Target};
use crate::segment::{Cells64, build};
use crate::sync::{AtomicU64, Ordering};
use crate::{Core, Errno, Map, MapDef, World};

/// The largest value in bytes (kernel `KMALLOC_MAX_SIZE`).
const MOST_BYTES: u32 = 4 << 20;
/// The bits of `map_extra` that give the number of hashes.
const HASHES: u64 = 0xf;
/// How many hashes there are when `map_extra` gives none.
const USUAL_HASHES: u32 = 5;
/// `struct bpf_bloom_filter` of Linux 6.18 on x86-64, in bytes.
const OWN_BYTES: u64 = 312;
/// Values up to this many bytes are copied to the host's stack.
const SHORT: usize = 64;

pub(super) static RULES: Rules = Rules {
    keys: Keys::None,
    ops: &[Op::Push, Op::Peek],
    extra: true,
    shareable: true,
    ..Rules::new(check, make)
};

/// Kernel `bloom_map_alloc_check`, then `bloom_map_alloc`.
fn check(_world: &World, def: &MapDef) -> Result<(), Refusal> {
    rule(def.value_size <= MOST_BYTES, Errno::E2BIG, || {
        format!("a value may have {MOST_BYTES} bytes, not {}", def.value_size)
    })?;
    rule(def.key_size == 0, Errno::EINVAL, || {
        format!("it has no keys: key_size must be 0, not {}", def.key_size)
    })?;
    rule(def.value_size > 0, Errno::EINVAL, || "value_size must not be 0".to_owned())?;
    rule(def.max_entries > 0, Errno::EINVAL, || "max_entries must not be 0".to_owned())?;
    check_flags(def, BPF_F_NUMA_NODE | BPF_F_ZERO_SEED | BPF_F_ACCESS_MASK)?;
    rule(def.map_extra & !HASHES == 0, Errno::EINVAL, || {
        format!("map_extra is the number of hashes, at most 15, not {}", def.map_extra)
    })
}

fn make(_world: &Arc<World>, core: Core) -> Result<Arc<dyn Map>, Errno> {
    let def = core.def();
    let hashes = match u32::try_from(def.map_extra & HASHES).expect("four bits") {
        0 => USUAL_HASHES,
        hashes => hashes,
    };
    let bits = bits(def.max_entries, hashes);
    let cells = build(core.home(), &def.name, |parts| parts.cells64(bits / 64))?;
    Ok(Arc::new(BloomFilter { core, hashes, bits, cells }))
}

/// How many bits a filter has, a power of two from 64 to 2^32: about 7/5 for each hash of
/// each entry (that is 1/ln 2, which makes half of them ones in a full filter). Where the
/// kernel's calculation leaves 32 bits it takes the most.
fn bits(max_entries: u32, hashes: u32) -> u64 {
    max_entries
        .checked_mul(hashes)
        .and_then(|bits| (bits / 5).checked_mul(7))
        .filter(|&bits| bits <= 1 << 31)
        .map_or(1 << 32, |bits| u64::from(bits.max(64).next_power_of_two()))
}

#[derive(Debug)]
struct BloomFilter {
    core: Core,
    hashes: u32,
    bits: u64,
    cells: Cells64,
}

impl BloomFilter {
    /// Copies a value by `read` and gives it to `then`.
    fn with<R>(&self, read: impl FnOnce(&mut [u8]), then: impl FnOnce(&Self, &[u8]) -> R) -> R {
        let size = self.core.def().value_size as usize;
        let (mut short, mut long) = ([0; SHORT], Vec::new());
        let value = if size <= SHORT {
            &mut short[..size]
        } else {
            long.resize(size, 0);
            &mut long[..]
        };
        read(value);
        then(self, value)
    }

    /// The cells and bits that stand for a value, one for each hash.
    fn places(&self, value: &[u8]) -> impl Iterator<Item = (&AtomicU64, u64)> {
        (0..self.hashes).map(move |seed| {
            let bit = u64::from(jhash(value, seed)) & (self.bits - 1);
            let word = usize::try_from(bit / 64).expect("below the number of words");
            (&self.cells[word], 1 << (bit % 64))
        })
    }

    fn add(&self, value: &[u8]) {
        for (cell, bit) in self.places(value) {
            // Most bits of a filter in use are set already: then nothing is written.
            if cell.load(Ordering::Relaxed) & bit == 0 {
                cell.fetch_or(bit, Ordering::Relaxed);
            }
        }
    }

    fn find(&self, value: &[u8]) -> Result<(), Errno> {
        let mut places = self.places(value);
        match places.all(|(cell, bit)| cell.load(Ordering::Relaxed) & bit != 0) {
            true => Ok(()),
            false => Err(Errno::ENOENT),
        }
    }
}

impl Map for BloomFilter {
    fn core(&self) -> &Core {
        &self.core
    }

    fn push(&self, value: Source<'_>, flags: u64) -> Result<(), Errno> {
        if flags != BPF_ANY {
            return Err(Errno::EINVAL);
        }
        self.with(|bytes| value.read(bytes), Self::add);
        Ok(())
    }

    fn peek(&self, to: &mut Target<'_>) -> Result<(), Errno> {
        self.with(|bytes| to.read(bytes), Self::find)
    }

    fn delete(&self, _key: &[u8]) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn user_lookup(&self, _key: &[u8], _flags: u64, out: &mut [u8]) -> Result<(), Errno> {
        self.find(out)
    }

    fn user_update(&self, _key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.push(Source::Host(value), flags)
    }

    fn user_next_key(&self, _key: Option<&[u8]>, _next: &mut [u8]) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// The structure and the bits (`bloom_map_mem_usage`).
    fn memory_usage(&self) -> u64 {
        OWN_BYTES + self.bits / 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_a_power_of_two_between_64_and_2_to_the_32() {
        assert_eq!(bits(1, 1), 64);
        assert_eq!(bits(9, 5), 64, "9 * 7 = 63");
        assert_eq!(bits(10, 5), 128, "10 * 7 = 70");
        assert_eq!(bits(14, 3), 64, "42 / 5 * 7 = 56");
        assert_eq!(bits(10, 15), 256, "150 / 5 * 7 = 210");
        assert_eq!(bits(1_000_000, 5), 1 << 23);
        assert_eq!(bits(1_533_916_890, 1), 1 << 31, "exactly 2^31 - 2 bits");
        assert_eq!(bits(1_533_916_895, 1), 1 << 32, "more than 2^31 bits");
        assert_eq!(bits(u32::MAX, 1), 1 << 32, "the product has 33 bits");
        assert_eq!(bits(u32::MAX, 15), 1 << 32);
    }
}
