//! What QUEUE and STACK share: a ring of values, into which one end is pushed
//! (kernel `queue_stack_maps.c`).
//!
//! Programs get copies of values and never pointers, so all of the map lies in a host
//! segment: a lock, the two positions, then the values, one slot more than may be used,
//! so that an empty ring and a full one differ.

use super::{Keys, Make, Refusal, Rules, check_flags, rule};
use crate::cells;
use crate::flags::{BPF_EXIST, BPF_F_ACCESS_MASK, BPF_F_NUMA_NODE, BPF_NOEXIST};
use crate::map::{ProgramOp as Op, Source, Target};
use crate::patience::Patience;
use crate::segment::{Cells32, Cells64, build};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::word_lock::WordGuard;
use crate::{Core, Errno, Map, MapDef, World};

/// The largest value in bytes (kernel `KMALLOC_MAX_SIZE`).
const MOST_BYTES: u32 = 4 << 20;
/// `struct bpf_queue_stack` of Linux 6.18 on x86-64, in bytes.
const OWN_BYTES: u64 = 312;

/// The rules of both types.
pub(super) const fn rules(make: Make) -> Rules {
    Rules {
        keys: Keys::None,
        ops: &[Op::Push, Op::Pop, Op::Peek],
        shareable: true,
        ..Rules::new(check, make)
    }
}

/// Kernel `queue_stack_map_alloc_check`.
fn check(_world: &World, def: &MapDef) -> Result<(), Refusal> {
    rule(def.max_entries > 0, Errno::EINVAL, || "max_entries must not be 0".to_owned())?;
    rule(def.key_size == 0, Errno::EINVAL, || {
        format!("it has no keys: key_size must be 0, not {}", def.key_size)
    })?;
    rule(def.value_size > 0, Errno::EINVAL, || "value_size must not be 0".to_owned())?;
    check_flags(def, BPF_F_NUMA_NODE | BPF_F_ACCESS_MASK)?;
    rule(def.value_size <= MOST_BYTES, Errno::E2BIG, || {
        format!("a value may have {MOST_BYTES} bytes, not {}", def.value_size)
    })
}

/// From which end values are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// A queue.
    Oldest,
    /// A stack.
    Newest,
}

/// Whether a value stays when it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    Keep,
    Take,
}

/// A queue or a stack.
#[derive(Debug)]
pub(super) struct QueueStack {
    core: Core,
    end: End,
    /// Lock, head and tail.
    header: Cells32,
    values: Cells64,
    /// Slots of the ring; as in the kernel, 2^32 - 1 entries make it 0, and nothing
    /// can be pushed.
    slots: u32,
    /// Cells of a value.
    stride: usize,
    patience: Patience,
}

impl QueueStack {
    /// An empty map; `ENOMEM` when the host gives no room.
    pub(super) fn new(core: Core, end: End) -> Result<Self, Errno> {
        let def = core.def();
        let stride = cells::count(def.value_size);
        let cells = stride as u64 * (u64::from(def.max_entries) + 1);
        let parts = build(core.home(), &def.name, |parts| {
            (parts.cells32(3), parts.cells64(cells), parts.patience())
        })?;
        let (header, values, patience) = parts;
        let slots = def.max_entries.wrapping_add(1);
        Ok(Self { core, end, header, values, slots, stride, patience })
    }

    /// Waits until nobody else changes the ring; `EBUSY` when that takes too long.
    fn lock(&self) -> Result<Ring<'_>, Errno> {
        let header = &self.header;
        let guard = WordGuard::take(&header[0], &self.patience).ok_or(Errno::EBUSY)?;
        Ok(Ring { map: self, head: &header[1], tail: &header[2], _guard: guard })
    }

    /// Kernel `__queue_map_get` and `__stack_map_get`; `ENOENT` when it is empty.
    fn get(&self, read: Read, to: &mut Target<'_>) -> Result<(), Errno> {
        let ring = self.lock()?;
        let slot = ring.first().ok_or(Errno::ENOENT)?;
        cells::load(ring.value(slot), to);
        if read == Read::Take {
            ring.take(slot);
        }
        Ok(())
    }

    /// As programs get it: when there is nothing, zeros.
    fn get_or_zero(&self, read: Read, to: &mut Target<'_>) -> Result<(), Errno> {
        self.get(read, to).inspect_err(|_| to.zero())
    }
}

/// The ring while nobody else changes it. `head` is the slot that is written next,
/// `tail` the oldest; they are equal when it is empty.
struct Ring<'m> {
    map: &'m QueueStack,
    head: &'m AtomicU32,
    tail: &'m AtomicU32,
    _guard: WordGuard<'m>,
}

impl Ring<'_> {
    fn next(&self, slot: u32) -> u32 {
        let next = slot.wrapping_add(1);
        if next >= self.map.slots { 0 } else { next }
    }

    fn head(&self) -> u32 {
        self.slot(self.head)
    }

    fn tail(&self) -> u32 {
        self.slot(self.tail)
    }

    /// The slot that a cell names; in a file it may name none.
    fn slot(&self, cell: &AtomicU32) -> u32 {
        let slot = cell.load(Ordering::Relaxed);
        if slot < self.map.slots { slot } else { 0 }
    }

    fn value(&self, slot: u32) -> &[AtomicU64] {
        let stride = self.map.stride;
        &self.map.values[stride * slot as usize..][..stride]
    }

    /// The slot before `slot`.
    fn before(&self, slot: u32) -> u32 {
        if slot == 0 { self.map.slots.wrapping_sub(1) } else { slot - 1 }
    }

    /// The slot of the value that is taken next.
    fn first(&self) -> Option<u32> {
        let (head, tail) = (self.head(), self.tail());
        (head != tail).then(|| match self.map.end {
            End::Oldest => tail,
            End::Newest => self.before(head),
        })
    }

    /// Removes the value in `slot`, the first one.
    fn take(&self, slot: u32) {
        match self.map.end {
            End::Oldest => self.tail.store(self.next(slot), Ordering::Relaxed),
            End::Newest => self.head.store(slot, Ordering::Relaxed),
        }
    }

    /// All slots with values, the one that is taken next first.
    fn slots(&self) -> Vec<u32> {
        let (head, tail) = (self.head(), self.tail());
        let mut slots: Vec<u32> = std::iter::successors(Some(tail), |&slot| Some(self.next(slot)))
            .take_while(|&slot| slot != head)
            .collect();
        if self.map.end == End::Newest {
            slots.reverse();
        }
        slots
    }
}

impl Map for QueueStack {
    fn core(&self) -> &Core {
        &self.core
    }

    /// Kernel `queue_stack_map_push_elem`: `BPF_EXIST` makes room on a full map by
    /// dropping the oldest value, of a stack too.
    fn push(&self, value: Source<'_>, flags: u64) -> Result<(), Errno> {
        if flags & BPF_NOEXIST != 0 || flags > BPF_EXIST {
            return Err(Errno::EINVAL);
        }
        let ring = self.lock()?;
        let head = ring.head();
        if ring.next(head) == ring.tail() {
            if flags != BPF_EXIST {
                return Err(Errno::E2BIG);
            }
            ring.tail.store(ring.next(ring.tail()), Ordering::Relaxed);
        }
        cells::store(ring.value(head), value);
        ring.head.store(ring.next(head), Ordering::Relaxed);
        Ok(())
    }

    fn pop(&self, to: &mut Target<'_>) -> Result<(), Errno> {
        self.get_or_zero(Read::Take, to)
    }

    fn peek(&self, to: &mut Target<'_>) -> Result<(), Errno> {
        self.get_or_zero(Read::Keep, to)
    }

    fn queued(&self) -> Vec<Vec<u8>> {
        let Ok(ring) = self.lock() else { return Vec::new() };
        let value = |slot| {
            let mut value = vec![0; self.core.def().value_size as usize];
            cells::load(ring.value(slot), &mut Target::Host(&mut value));
            value
        };
        ring.slots().into_iter().map(value).collect()
    }

    fn delete(&self, _key: &[u8]) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn user_lookup(&self, _key: &[u8], _flags: u64, out: &mut [u8]) -> Result<(), Errno> {
        self.get(Read::Keep, &mut Target::Host(out))
    }

    fn user_update(&self, _key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.push(Source::Host(value), flags)
    }

    fn user_lookup_and_delete(&self, _key: &[u8], flags: u64, out: &mut [u8]) -> Result<(), Errno> {
        if flags != 0 {
            return Err(Errno::EINVAL);
        }
        self.get(Read::Take, &mut Target::Host(out))
    }

    fn user_next_key(&self, _key: Option<&[u8]>, _next: &mut [u8]) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    /// The structure and the slots, whose values stand close together in the kernel
    /// (`queue_stack_map_mem_usage`).
    fn memory_usage(&self) -> u64 {
        let def = self.core.def();
        let slots = u64::from(def.max_entries) + 1;
        OWN_BYTES + slots * u64::from(def.value_size)
    }
}
