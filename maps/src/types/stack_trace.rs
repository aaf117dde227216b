//! `STACK_TRACE`: call stacks by an id that comes from their hash (kernel `stackmap.c`).
//!
//! A bucket holds one stack, and the id is the bucket's number. A stack whose bucket holds
//! another is refused, unless it may take its place; even then a free element is needed,
//! for the old one becomes free only afterwards.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{Refusal, Rules, check_flags, index_of, rule};
use crate::flags::{
    BPF_F_FAST_STACK_CMP, BPF_F_NUMA_NODE, BPF_F_RDONLY, BPF_F_REUSE_STACKID,
    BPF_F_SKIP_FIELD_MASK, BPF_F_STACK_BUILD_ID, BPF_F_USER_STACK, BPF_F_WRONLY,
};
use crate::jhash::jhash2;
use crate::map::ProgramOp;
use crate::{Core, Errno, Map, MapDef, World};

/// Size of an address in bytes.
const ADDRESS: u32 = 8;
/// Size of an entry with a build id in bytes (`struct bpf_stack_build_id`).
const BUILD_ID: u32 = 32;

pub(super) static RULES: Rules = Rules { ops: &[ProgramOp::StackTrace], ..Rules::new(check, make) };

fn check(_world: &World, def: &MapDef) -> Result<(), Refusal> {
    check_flags(def, BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_STACK_BUILD_ID)?;
    rule(def.max_entries > 0, Errno::EINVAL, || "max_entries must not be 0".to_owned())?;
    rule(def.key_size == 4, Errno::EINVAL, || {
        format!("the key of a stack is its id of 4 bytes, not {}", def.key_size)
    })?;
    let entry = if def.flags & BPF_F_STACK_BUILD_ID == 0 { ADDRESS } else { BUILD_ID };
    let (size, most) = (def.value_size, entry * StackTrace::MOST);
    rule(size > 0 && size.is_multiple_of(entry) && size <= most, Errno::EINVAL, || {
        format!("a stack is a multiple of {entry} bytes up to {most}, not {size}")
    })?;
    rule(def.max_entries <= 1 << 31, Errno::E2BIG, || {
        format!("{} stacks are too many", def.max_entries)
    })
}

fn make(_world: &Arc<World>, core: Core) -> Result<Arc<dyn Map>, Errno> {
    Ok(Arc::new(StackTrace { core, buckets: RwLock::default() }))
}

/// A map of call stacks.
#[derive(Debug)]
pub struct StackTrace {
    core: Core,
    /// The buckets that hold a stack, by number.
    buckets: RwLock<BTreeMap<u32, Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    hash: u32,
    /// Addresses, the innermost first.
    ips: Vec<u64>,
}

impl StackTrace {
    /// The most addresses of a stack (`perf_event_max_stack`).
    pub const MOST: u32 = 127;

    /// Finds the id of a stack, or puts it in (kernel `bpf_get_stackid`). The low bits of
    /// `flags` (`BPF_F_SKIP_FIELD_MASK`) say how many of its innermost addresses do not
    /// count; which stack it is was the caller's to see to.
    ///
    /// # Errors
    ///
    /// `EINVAL` for unknown flags, `EFAULT` when nothing is left of the stack, `EEXIST`
    /// when its bucket holds another, `ENOMEM` when there are `max_entries` of them.
    pub fn id_of(&self, stack: &[u64], flags: u64) -> Result<u32, Errno> {
        let known =
            BPF_F_SKIP_FIELD_MASK | BPF_F_USER_STACK | BPF_F_FAST_STACK_CMP | BPF_F_REUSE_STACKID;
        if flags & !known != 0 {
            return Err(Errno::EINVAL);
        }
        let ips = cut(stack, flags, self.core.def().value_size / ADDRESS);
        if ips.is_empty() {
            return Err(Errno::EFAULT);
        }
        let hash = hash(ips);
        let id = hash & (self.buckets_len() - 1);
        let same = |bucket: &Bucket| {
            bucket.hash == hash && (flags & BPF_F_FAST_STACK_CMP != 0 || bucket.ips == ips)
        };
        if self.read().get(&id).is_some_and(same) {
            return Ok(id);
        }
        let mut buckets = self.write();
        match buckets.get(&id) {
            Some(bucket) if same(bucket) => return Ok(id),
            Some(_) if flags & BPF_F_REUSE_STACKID == 0 => return Err(Errno::EEXIST),
            _ => {}
        }
        if buckets.len() >= self.core.def().max_entries as usize {
            return Err(Errno::ENOMEM);
        }
        buckets.insert(id, Bucket { hash, ips: ips.to_vec() });
        Ok(id)
    }

    /// The number of buckets: `max_entries`, rounded up to a power of two.
    fn buckets_len(&self) -> u32 {
        self.core.def().max_entries.next_power_of_two()
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<u32, Bucket>> {
        self.buckets.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<u32, Bucket>> {
        self.buckets.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What of a stack counts: the innermost addresses that `flags` say are skipped, and all
/// but `depth` of the others. The kernel looks at no more than [`StackTrace::MOST`].
fn cut(stack: &[u64], flags: u64, depth: u32) -> &[u64] {
    let seen = &stack[..stack.len().min(StackTrace::MOST as usize)];
    let skip = usize::try_from(flags & BPF_F_SKIP_FIELD_MASK).unwrap_or(usize::MAX);
    let rest = seen.get(skip..).unwrap_or_default();
    &rest[..rest.len().min(depth as usize)]
}

fn hash(ips: &[u64]) -> u32 {
    let halves = |ip: &u64| {
        let [a, b, c, d, e, f, g, h] = ip.to_le_bytes();
        [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
    };
    jhash2(&ips.iter().flat_map(halves).collect::<Vec<u32>>(), 0)
}

/// Copies addresses out, zeros behind them.
fn copy(bucket: &Bucket, out: &mut [u8]) {
    out.fill(0);
    for (place, ip) in out.as_chunks_mut::<8>().0.iter_mut().zip(&bucket.ips) {
        *place = ip.to_le_bytes();
    }
}

impl Map for StackTrace {
    fn core(&self) -> &Core {
        &self.core
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        let id = index_of(key);
        if id >= self.buckets_len() {
            return Err(Errno::E2BIG);
        }
        self.write().remove(&id).map(drop).ok_or(Errno::ENOENT)
    }

    fn user_lookup(&self, key: &[u8], _flags: u64, out: &mut [u8]) -> Result<(), Errno> {
        copy(self.read().get(&index_of(key)).ok_or(Errno::ENOENT)?, out);
        Ok(())
    }

    fn user_update(&self, _key: &[u8], _value: &[u8], _flags: u64) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn user_lookup_and_delete(&self, key: &[u8], _flags: u64, out: &mut [u8]) -> Result<(), Errno> {
        copy(&self.write().remove(&index_of(key)).ok_or(Errno::ENOENT)?, out);
        Ok(())
    }

    /// The ids that are there, ascending; an id that is not is followed by the first.
    fn user_next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        let buckets = self.read();
        let first = match key.map(index_of) {
            Some(id) if buckets.contains_key(&id) => u64::from(id) + 1,
            _ => 0,
        };
        let first = u32::try_from(first).map_err(|_| Errno::ENOENT)?;
        let (id, _) = buckets.range(first..).next().ok_or(Errno::ENOENT)?;
        next.copy_from_slice(&id.to_le_bytes());
        Ok(())
    }

    fn memory_usage(&self) -> u64 {
        // `struct bpf_stack_map` and `struct stack_map_bucket` of Linux 6.18 on x86-64.
        const MAP: u64 = 320;
        const BUCKET: u64 = 16;
        let def = self.core.def();
        let elements = u64::from(def.max_entries) * (BUCKET + u64::from(def.value_size));
        MAP + u64::from(self.buckets_len()) * 8 + elements
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_stack_count_what_is_not_skipped_and_not_too_deep() {
        let stack: Vec<u64> = (0..200).collect();
        assert_eq!(cut(&stack, 0, 2), [0, 1]);
        assert_eq!(cut(&stack, 3, 2), [3, 4]);
        assert_eq!(cut(&stack, 126, 2), [126]);
        assert!(cut(&stack, 127, 2).is_empty());
        assert_eq!(cut(&stack, 0, 127).len(), 127);
        assert!(cut(&[], 0, 127).is_empty());
        assert!(cut(&[1, 2], 255, 1).is_empty());
    }
}
