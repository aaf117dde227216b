//! RINGBUF: records of any size, in order, from programs to one consumer
//! (kernel `ringbuf.c`).
//!
//! Positions count bytes for ever and are masked on use. A record is an 8-byte header,
//! then its data, padded to eight bytes; the data area is mapped twice in a row, so
//! that a record may run over the end. The header's length carries two flags: BUSY
//! from reservation to commit, DISCARD for records that the consumer skips. Positions
//! live in host memory; a header is believed only within them.
//!
//! Programs can access a record's data from reservation to commit, and nothing else, but
//! for very large rings.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard};

use skep_memory::{Access, GuestPtr, GuestSlice, Label, Span, SpanRequest};

use super::{Keys, Refusal, Rules, check_flags, rule};
use crate::flags::{BPF_F_NUMA_NODE, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use crate::map::ProgramOp;
use crate::mutex::lock;
use crate::patience::Patience;
use crate::positions::{BUSY, DISCARD, Headers, Next, Positions, size_of, span_of};
use crate::segment::{Cells32, Cells64, build};
use crate::sync::{AtomicU32, Ordering};
use crate::wake::Wake;
use crate::word_lock::WordGuard;
use crate::{Core, Errno, Map, MapDef, World};

/// Size of a record's header in bytes.
pub(super) const HEADER_BYTES: u32 = 8;
/// The largest size that may be asked for (`RINGBUF_MAX_RECORD_SZ`).
const MOST: u64 = (u32::MAX / 4) as u64;
/// The page size that the size rule speaks of.
pub(super) const PAGE: u32 = 4096;

/// In rings up to this many bytes each record is accessible from its reservation to its
/// commit. The rights of a larger one would take as much room in the caches as its data:
/// all of it is accessible, as larger maps are.
const PRECISE: u32 = 16 << 20;

/// Pages before the data: the structure, the consumer's and the producer's position.
const DATA_PAGE: u32 = 3;

pub(super) static RULES: Rules = Rules {
    keys: Keys::None,
    ops: &[ProgramOp::RingBuf],
    shareable: true,
    ..Rules::new(check, make)
};

/// Rules of both types of ring buffers (kernel `ringbuf_map_alloc`).
pub(super) fn check(_world: &World, def: &MapDef) -> Result<(), Refusal> {
    check_flags(def, BPF_F_NUMA_NODE)?;
    let no_sizes = def.key_size == 0 && def.value_size == 0;
    rule(no_sizes, Errno::EINVAL, || "a ring buffer has no key and no value size".to_owned())?;
    let size = def.max_entries;
    rule(size.is_power_of_two() && size.is_multiple_of(PAGE), Errno::EINVAL, || {
        format!("its size must be a power of two of whole pages, not {size} bytes")
    })
}

fn make(world: &Arc<World>, core: Core) -> Result<Arc<dyn Map>, Errno> {
    let size = core.def().max_entries;
    let what = format!("record of ring buffer `{}`", core.def().name);
    let (positions, dropped, turn, patience) = build(core.home(), &core.def().name, |parts| {
        let positions = Positions::new(parts, u64::from(size));
        (positions, parts.cells64(1), parts.cells32(1), parts.patience())
    })?;
    let precise = size <= PRECISE;
    let data = Span::new(
        world.window(),
        SpanRequest {
            len: u64::from(size),
            // Rights of many bytes that are all the same are shared by so large pieces.
            align: if precise { PAGE } else { 2 << 20 },
            access: if precise { Access::None } else { Access::ReadWrite },
            label: Label::one(what),
            backing: core.home().mirrored_backing(u64::from(size))?,
        },
    )
    .map_err(|_| Errno::ENOMEM)?;
    let (consuming, wake) = (Mutex::new(()), Wake::default());
    Ok(Arc::new(RingBuf {
        core,
        data,
        precise,
        size,
        positions,
        dropped,
        turn,
        patience,
        consuming,
        wake,
    }))
}

/// A ring buffer.
#[derive(Debug)]
pub struct RingBuf {
    core: Core,
    data: Span,
    /// Whether programs can access just the records that are reserved.
    precise: bool,
    size: u32,
    positions: Positions,
    /// How many reservations failed.
    dropped: Cells64,
    /// Held by the one consumer of all processes while it walks.
    turn: Cells32,
    /// How long consumers wait for theirs.
    patience: Patience,
    /// The same in this process, where others can sleep until it is free.
    consuming: Mutex<()>,
    wake: Wake,
}

/// A reserved record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// The guest pointer to its data.
    pub ptr: GuestPtr,
    /// Size of its data in bytes.
    pub size: u32,
    pos: u64,
}

/// What a consumer's walk met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Consumed {
    /// Records given to the callback.
    pub records: u64,
    /// Discarded records that were skipped.
    pub discarded: u64,
}

/// A consumer on its way through the committed records.
#[derive(Debug)]
pub struct Records<'r> {
    ring: &'r RingBuf,
    consumed: Consumed,
    // Released in this order.
    of_all: Option<WordGuard<'r>>,
    _in_process: MutexGuard<'r, ()>,
}

/// A committed record, in the ring itself. Its room is free when this is dropped.
#[derive(Debug)]
pub struct Committed<'w> {
    ring: &'w RingBuf,
    pos: u64,
    header: u32,
}

impl Records<'_> {
    /// The next record; `None` when there are no more, or the next one is still busy.
    /// Discarded records are skipped.
    #[inline]
    pub fn next_record(&mut self) -> Option<Committed<'_>> {
        self.of_all.as_ref()?;
        loop {
            let Next::Record(pos, header) = self.ring.positions.next(self.ring) else {
                return None;
            };
            let record = Committed { ring: self.ring, pos, header };
            if header & DISCARD == 0 {
                self.consumed.records += 1;
                return Some(record);
            }
            self.consumed.discarded += 1;
        }
    }

    /// What it has met so far.
    #[must_use]
    pub fn consumed(&self) -> Consumed {
        self.consumed
    }
}

impl Committed<'_> {
    /// Its data.
    #[inline]
    #[must_use]
    pub fn data(&self) -> GuestSlice<'_> {
        self.ring.record_data(self.pos, self.header)
    }
}

impl Drop for Committed<'_> {
    #[inline]
    fn drop(&mut self) {
        self.ring.positions.free(self.pos, self.header);
    }
}

impl RingBuf {
    /// Reserves a record of `size` bytes; `None` when it does not fit now or ever
    /// (kernel `__bpf_ringbuf_reserve`). Its memory is not cleared.
    #[inline]
    pub fn reserve(&self, size: u64) -> Option<Record> {
        let record = self.try_reserve(size);
        if record.is_none() {
            self.count_dropped();
        }
        record
    }

    #[cold]
    fn count_dropped(&self) {
        self.dropped[0].fetch_add(1, Ordering::Relaxed);
    }

    #[inline]
    fn try_reserve(&self, size: u64) -> Option<Record> {
        if size > MOST || span_of(size) > u64::from(self.size) {
            return None;
        }
        let len = u32::try_from(size).ok()?;
        let pos = self.positions.reserve(size, |pos| {
            let offset = self.offset(pos);
            // The distance to the start of the kernel's structure in pages, which finds the
            // ring of a record there; it means nothing to consumers.
            let distance = u64::from(DATA_PAGE + offset / PAGE);
            self.data.part(offset, HEADER_BYTES).set(0, u64::from(len | BUSY) | distance << 32);
        })?;
        let record = Record { ptr: self.data_at(pos), size: len, pos };
        self.open(record, Access::ReadWrite);
        Some(record)
    }

    /// Commits a record: `flags` are `BPF_RB_NO_WAKEUP` and `BPF_RB_FORCE_WAKEUP`, others
    /// are ignored (kernel `bpf_ringbuf_commit`).
    ///
    /// A record is committed once; the caller sees to it.
    #[inline]
    pub fn commit(&self, record: Record, discard: bool, flags: u64) {
        self.open(record, Access::None);
        let header = record.size | if discard { DISCARD } else { 0 };
        let forced = flags & BPF_RB_FORCE_WAKEUP != 0;
        let asks = !forced && flags & BPF_RB_NO_WAKEUP == 0;
        if self.positions.commit(self, record.pos, header, asks) || forced {
            self.wake.wake();
        }
    }

    /// Reserves, fills and commits a record at once (kernel `bpf_ringbuf_output`).
    ///
    /// # Errors
    ///
    /// `EINVAL` for unknown flags, `EAGAIN` when there is no room.
    pub fn output(&self, data: GuestSlice<'_>, flags: u64) -> Result<(), Errno> {
        if flags & !(BPF_RB_NO_WAKEUP | BPF_RB_FORCE_WAKEUP) != 0 {
            return Err(Errno::EINVAL);
        }
        let record = self.reserve(data.len() as u64).ok_or(Errno::EAGAIN)?;
        self.record_data(record.pos, record.size).copy_from(data);
        self.commit(record, false, flags);
        Ok(())
    }

    /// The ring's state by the number of `BPF_RB_AVAIL_DATA` (0, bytes not consumed),
    /// `RING_SIZE` (1), `CONS_POS` (2) or `PROD_POS` (3); 0 for other numbers.
    #[must_use]
    pub fn query(&self, what: u64) -> u64 {
        let consumer = self.positions.consumer();
        let producer = self.positions.producer();
        match what {
            0 => producer.wrapping_sub(consumer),
            1 => u64::from(self.size),
            2 => consumer,
            3 => producer,
            _ => 0,
        }
    }

    /// How many reservations failed.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped[0].load(Ordering::Relaxed)
    }

    /// Starts to take records. There is one consumer at a time, in all processes: others
    /// wait here until it is done; for one in another process about a second, and then there
    /// are no records.
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        let in_process = lock(&self.consuming);
        let of_all = WordGuard::take(&self.turn[0], &self.patience);
        Records { ring: self, consumed: Consumed::default(), of_all, _in_process: in_process }
    }

    /// Gives the committed records to `callback`, in order, until it breaks, a record is
    /// still busy, or there are no more. Discarded records are skipped. One consumer
    /// walks at a time; others wait, for one in another process about a second.
    pub fn consume(&self, mut callback: impl FnMut(GuestSlice<'_>) -> ControlFlow<()>) -> Consumed {
        let mut records = self.records();
        while let Some(record) = records.next_record() {
            if callback(record.data()).is_break() {
                break;
            }
        }
        records.consumed()
    }

    /// A descriptor that becomes readable when a commit wakes the consumer; reading
    /// eight bytes from it resets it (an eventfd).
    ///
    /// # Errors
    ///
    /// When the host gives no descriptor.
    pub fn event(&self) -> io::Result<BorrowedFd<'_>> {
        // What was committed before the descriptor was there counts too.
        if !self.wake.has_descriptor() && self.query(0) > 0 {
            self.wake.wake();
        }
        self.wake.descriptor()
    }

    #[inline]
    fn offset(&self, pos: u64) -> u32 {
        data_offset(pos, self.size)
    }

    #[inline]
    fn data_at(&self, pos: u64) -> GuestPtr {
        self.data.ptr().add(self.offset(pos) + HEADER_BYTES)
    }

    #[inline]
    fn record_data(&self, pos: u64, header: u32) -> GuestSlice<'_> {
        let size = u32::try_from(size_of(header)).expect("without its flags it has 30 bits");
        self.data.part(self.offset(pos) + HEADER_BYTES, size)
    }

    #[inline]
    fn open(&self, record: Record, access: Access) {
        if !self.precise {
            return;
        }
        let start = self.offset(record.pos) + HEADER_BYTES;
        self.data.set_access(start..start + record.size, access);
    }
}

/// Where a position lies in the data area of a ring of `size` bytes.
#[inline]
pub(super) fn data_offset(pos: u64, size: u32) -> u32 {
    // Records lie eight bytes apart, whatever a position says.
    u32::try_from(pos & u64::from(size - HEADER_BYTES)).expect("masked")
}

/// Bytes that the kernel charges for a ring of `size` bytes (`ringbuf_map_mem_usage`).
pub(super) fn usage(size: u32) -> u64 {
    // `struct bpf_ringbuf_map` of Linux 6.18 on x86-64.
    const MAP: u64 = 304;
    // One page of the kernel's structure, one for each position, then the data; and the
    // page table, which names the data pages twice.
    let pages = u64::from(size / PAGE);
    let meta = u64::from(DATA_PAGE);
    MAP + (meta + pages) * u64::from(PAGE) + 8 * (meta + 2 * pages)
}

impl Headers for RingBuf {
    #[inline]
    fn header(&self, pos: u64) -> &AtomicU32 {
        self.data.slice().cell32(self.offset(pos))
    }
}

impl Map for RingBuf {
    fn core(&self) -> &Core {
        &self.core
    }

    fn memory_usage(&self) -> u64 {
        usage(self.size)
    }
}
