//! RINGBUF: records of any size, in order, from programs to one consumer
//! (kernel `ringbuf.c`).
//!
//! Positions count bytes for ever and are masked on use. A record is an 8-byte header,
//! then its data, padded to eight bytes; the data area is mapped twice in a row, so
//! that a record may run over the end. The header's length carries two flags: BUSY
//! from reservation to commit, DISCARD for records that the consumer skips. Positions
//! live in host memory; a header is believed only within them.
//!
//! Programs can access a record's data from reservation to commit, and nothing else.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use skep_memory::{Access, Backing, GuestPtr, GuestSlice, Label, Span, SpanRequest};

use super::{Keys, Refusal, Rules, check_flags, rule};
use crate::flags::{BPF_F_NUMA_NODE, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use crate::map::ProgramOp;
use crate::wake::Wake;
use crate::word_lock::WordGuard;
use crate::world::lock;
use crate::{Core, Errno, Map, MapDef, World};

/// Size of a record's header in bytes (`BPF_RINGBUF_HDR_SZ`).
pub(super) const HEADER: u32 = 8;
/// The record is reserved and not committed (`BPF_RINGBUF_BUSY_BIT`).
pub(super) const BUSY: u32 = 1 << 31;
/// The record is to be skipped (`BPF_RINGBUF_DISCARD_BIT`).
pub(super) const DISCARD: u32 = 1 << 30;
/// The largest size that may be asked for (`RINGBUF_MAX_RECORD_SZ`).
const MOST: u64 = (u32::MAX / 4) as u64;
/// The page size that the size rule speaks of.
pub(super) const PAGE: u32 = 4096;

/// Pages before the data: the structure, the consumer's and the producer's position.
const DATA_PAGE: u32 = 3;

pub(super) static RULES: Rules =
    Rules { keys: Keys::None, ops: &[ProgramOp::RingBuf], ..Rules::new(check, make) };

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
    let what = format!("record of ring buffer `{}`", core.def().name);
    let data = Span::new(
        world.window(),
        SpanRequest {
            len: u64::from(core.def().max_entries),
            align: PAGE,
            access: Access::None,
            label: Label::one(what),
            backing: Backing::Mirrored,
        },
    )
    .map_err(|_| Errno::ENOMEM)?;
    Ok(Arc::new(RingBuf {
        size: core.def().max_entries,
        core,
        data,
        producing: AtomicU32::new(0),
        producer: AtomicU64::new(0),
        consumer: AtomicU64::new(0),
        pending: AtomicU64::new(0),
        dropped: AtomicU64::new(0),
        consuming: Mutex::new(()),
        wake: Wake::default(),
    }))
}

/// A ring buffer.
#[derive(Debug)]
pub struct RingBuf {
    core: Core,
    data: Span,
    size: u32,
    /// Lock of the producers.
    producing: AtomicU32,
    producer: AtomicU64,
    consumer: AtomicU64,
    /// The oldest record that may still be busy, as far as producers have looked.
    pending: AtomicU64,
    dropped: AtomicU64,
    /// Held by the one consumer while it walks.
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

impl RingBuf {
    /// Reserves a record of `size` bytes; `None` when it does not fit now or ever
    /// (kernel `__bpf_ringbuf_reserve`). Its memory is not cleared.
    pub fn reserve(&self, size: u64) -> Option<Record> {
        let record = self.try_reserve(size);
        if record.is_none() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        record
    }

    fn try_reserve(&self, size: u64) -> Option<Record> {
        if size > MOST {
            return None;
        }
        let len = (size + u64::from(HEADER)).next_multiple_of(8);
        if len > u64::from(self.size) {
            return None;
        }
        let mask = u64::from(self.size - 1);
        let consumer = self.consumer.load(Ordering::Acquire);
        let _guard = WordGuard::take(&self.producing);
        let producer = self.producer.load(Ordering::Relaxed);
        let pending = self.skip_committed(producer);
        let end = producer + len;
        if end - consumer > mask || end - pending > mask {
            return None;
        }
        let size = u32::try_from(size).expect("checked against MOST");
        let record = Record { ptr: self.data_at(producer), size, pos: producer };
        self.header(producer).store(size | BUSY, Ordering::Relaxed);
        // The distance to the start of the kernel's structure in pages, which finds the
        // ring of a record there; it means nothing to consumers.
        let distance = DATA_PAGE + self.offset(producer) / PAGE;
        self.data.part(self.offset(producer) + 4, 4).set(0, distance);
        self.open(record, Access::ReadWrite);
        self.producer.store(end, Ordering::Release);
        Some(record)
    }

    /// Moves `pending` over the committed records.
    fn skip_committed(&self, producer: u64) -> u64 {
        let mut pending = self.pending.load(Ordering::Relaxed);
        while pending < producer {
            let header = self.header(pending).load(Ordering::Acquire);
            if header & BUSY != 0 {
                break;
            }
            pending += span_of(header);
        }
        self.pending.store(pending, Ordering::Relaxed);
        pending
    }

    /// Commits a record: `flags` are `BPF_RB_NO_WAKEUP` and `BPF_RB_FORCE_WAKEUP`, others
    /// are ignored (kernel `bpf_ringbuf_commit`).
    ///
    /// A record is committed once; the caller sees to it.
    pub fn commit(&self, record: Record, discard: bool, flags: u64) {
        self.open(record, Access::None);
        let discard = if discard { DISCARD } else { 0 };
        self.header(record.pos).swap(record.size | discard, Ordering::AcqRel);
        let consumer = self.consumer.load(Ordering::Acquire);
        let caught_up = consumer == record.pos && flags & BPF_RB_NO_WAKEUP == 0;
        if flags & BPF_RB_FORCE_WAKEUP != 0 || caught_up {
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
        let consumer = self.consumer.load(Ordering::Acquire);
        let producer = self.producer.load(Ordering::Acquire);
        match what {
            0 => producer - consumer,
            1 => u64::from(self.size),
            2 => consumer,
            3 => producer,
            _ => 0,
        }
    }

    /// How many reservations failed.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Gives the committed records to `callback`, in order, until it breaks, a record is
    /// still busy, or there are no more. Discarded records are skipped. One consumer
    /// walks at a time; others wait.
    pub fn consume(&self, mut callback: impl FnMut(GuestSlice<'_>) -> ControlFlow<()>) -> Consumed {
        let _one = lock(&self.consuming);
        let mut consumed = Consumed::default();
        let mut consumer = self.consumer.load(Ordering::Relaxed);
        loop {
            let producer = self.producer.load(Ordering::Acquire);
            if consumer >= producer {
                return consumed;
            }
            let header = self.header(consumer).load(Ordering::Acquire);
            let span = span_of(header);
            if header & BUSY != 0 || span > producer - consumer {
                return consumed;
            }
            let mut flow = ControlFlow::Continue(());
            if header & DISCARD == 0 {
                flow = callback(self.record_data(consumer, header));
                consumed.records += 1;
            } else {
                consumed.discarded += 1;
            }
            consumer += span;
            self.consumer.store(consumer, Ordering::Release);
            if flow.is_break() {
                return consumed;
            }
        }
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

    fn offset(&self, pos: u64) -> u32 {
        data_offset(pos, self.size)
    }

    fn header(&self, pos: u64) -> &AtomicU32 {
        self.data.slice().cell32(self.offset(pos))
    }

    fn data_at(&self, pos: u64) -> GuestPtr {
        self.data.ptr().add(self.offset(pos) + HEADER)
    }

    fn record_data(&self, pos: u64, header: u32) -> GuestSlice<'_> {
        self.data.part(self.offset(pos) + HEADER, header & !(BUSY | DISCARD))
    }

    fn open(&self, record: Record, access: Access) {
        let start = self.offset(record.pos) + HEADER;
        self.data.set_access(start..start + record.size, access);
    }
}

/// How many bytes a record takes in the ring, header included.
pub(super) fn span_of(header: u32) -> u64 {
    (u64::from(header & !(BUSY | DISCARD)) + u64::from(HEADER)).next_multiple_of(8)
}

/// Where a position lies in the data area of a ring of `size` bytes.
pub(super) fn data_offset(pos: u64, size: u32) -> u32 {
    u32::try_from(pos & u64::from(size - 1)).expect("masked")
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

impl Map for RingBuf {
    fn core(&self) -> &Core {
        &self.core
    }

    fn memory_usage(&self) -> u64 {
        usage(self.size)
    }
}
