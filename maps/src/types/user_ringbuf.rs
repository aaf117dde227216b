//! `USER_RINGBUF`: records of any size, in order, from user space to programs, which drain
//! it (kernel `ringbuf.c`, libbpf `ringbuf.c`).
//!
//! The layout is that of a RINGBUF. Its producer writes headers and its own position as it
//! likes: whoever drains believes neither, and sees to it that a sample lies within the
//! ring and before the producer's position.
//!
//! Programs can access a sample's bytes while they are called back with it, and nothing
//! else.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};

use skep_memory::{Access, GuestPtr, GuestSlice, Label, Span, SpanRequest};

use super::ringbuf::{HEADER_BYTES, PAGE, check, data_offset, usage};
use super::{Keys, Rules};
use crate::flags::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use crate::map::ProgramOp;
use crate::mutex::lock;
use crate::positions::{BUSY, DISCARD, size_of, span_of};
use crate::segment::{Cells64, build};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::wake::Wake;
use crate::{Core, Errno, Map, World};

/// The most bytes of a sample (`DYNPTR_MAX_SIZE`).
const MOST: u32 = (1 << 24) - 1;

pub(super) static RULES: Rules =
    Rules { keys: Keys::None, ops: &[ProgramOp::UserRingBuf], ..Rules::new(check, make) };

fn make(world: &Arc<World>, core: Core) -> Result<Arc<dyn Map>, Errno> {
    let size = core.def().max_entries;
    let what = format!("sample of user ring buffer `{}`", core.def().name);
    let cells = build(core.home(), &core.def().name, |parts| parts.cells64(CELLS))?;
    let request = SpanRequest {
        len: u64::from(size),
        align: PAGE,
        access: Access::None,
        label: Label::one(what),
        backing: core.home().mirrored_backing(u64::from(size))?,
    };
    let data = Span::new(world.window(), request).map_err(|_| Errno::ENOMEM)?;
    let (producing, wake) = (Mutex::new(()), Wake::default());
    Ok(Arc::new(UserRingBuf { core, data, size, cells, producing, wake }))
}

/// The cell of the bytes ever reserved, as user space says.
const PRODUCER: usize = 0;
/// The cell of the bytes that programs are done with, a multiple of eight; on a cache line
/// of its own, as the one that says whether a program is draining the ring.
const CONSUMER: usize = 8;
const DRAINED: usize = 9;
const CELLS: u64 = 16;

/// A ring buffer that user space fills.
#[derive(Debug)]
pub struct UserRingBuf {
    core: Core,
    data: Span,
    size: u32,
    /// Both positions, and whether a program is draining it.
    cells: Cells64,
    /// Lock of the producers.
    producing: Mutex<()>,
    /// Wakes producers that wait for room.
    wake: Wake,
}

/// A record that user space has reserved and not committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserRecord {
    pos: u64,
    /// Size of its data in bytes.
    pub size: u32,
}

/// The right to drain a ring, which one program has at a time; dropping it gives it back.
#[derive(Debug)]
pub struct Drain<'m> {
    ring: &'m UserRingBuf,
}

/// What comes next in a ring.
#[derive(Debug)]
pub enum UserNext<'m> {
    /// Nothing, or a record that is still being written.
    Empty,
    /// A record that was discarded, and is now consumed.
    Discarded,
    /// A sample, which programs can access for as long as this lives.
    Sample(UserSample<'m>),
}

/// A sample of a user ring buffer, open to programs until it is dropped.
#[derive(Debug)]
pub struct UserSample<'m> {
    ring: &'m UserRingBuf,
    /// Where its data starts in the span.
    start: u32,
    /// Size of its data in bytes.
    size: u32,
}

impl UserRingBuf {
    /// Starts to drain it (kernel `bpf_user_ringbuf_drain`).
    ///
    /// # Errors
    ///
    /// `EBUSY` while another program does.
    pub fn drain(&self) -> Result<Drain<'_>, Errno> {
        let taken =
            self.cells[DRAINED].compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed);
        taken.map(|_| Drain { ring: self }).map_err(|_| Errno::EBUSY)
    }

    /// Wakes the producers, when the flags of a drain that met `samples` of them say so.
    pub fn drained(&self, samples: u64, flags: u64) {
        let wakes = flags & BPF_RB_NO_WAKEUP == 0 && samples > 0;
        if flags & BPF_RB_FORCE_WAKEUP != 0 || wakes {
            self.wake.wake();
        }
    }

    /// Reserves a record of `size` bytes for user space (libbpf
    /// `user_ring_buffer__reserve`). Its memory is not cleared.
    ///
    /// # Errors
    ///
    /// `E2BIG` when it can never fit, `ENOSPC` when it does not now.
    pub fn reserve(&self, size: u32) -> Result<UserRecord, Errno> {
        let span = span_of(u64::from(size));
        if size & (BUSY | DISCARD) != 0 || span > u64::from(self.size) {
            return Err(Errno::E2BIG);
        }
        let _one = lock(&self.producing);
        let producer = self.producer().load(Ordering::Acquire);
        let taken = producer.wrapping_sub(self.consumer().load(Ordering::Acquire));
        if u64::from(self.size).saturating_sub(taken) < span {
            return Err(Errno::ENOSPC);
        }
        self.set_header(producer, size | BUSY);
        self.producer().store(producer.wrapping_add(span), Ordering::Release);
        Ok(UserRecord { pos: producer, size })
    }

    /// The data of a reserved record, to be filled.
    #[must_use]
    pub fn record_data(&self, record: UserRecord) -> GuestSlice<'_> {
        self.data.part(self.offset(record.pos) + HEADER_BYTES, record.size)
    }

    /// Commits a record or discards it (libbpf `user_ring_buffer__submit`,
    /// `user_ring_buffer__discard`). It is committed once; the caller sees to it.
    pub fn commit(&self, record: UserRecord, discard: bool) {
        let discard = if discard { DISCARD } else { 0 };
        self.set_header(record.pos, record.size | discard);
    }

    /// Bytes that programs are done with, since the ring was made.
    #[must_use]
    pub fn consumer_pos(&self) -> u64 {
        self.consumer().load(Ordering::Acquire)
    }

    /// Bytes that user space has reserved, since the ring was made, as it says.
    #[must_use]
    pub fn producer_pos(&self) -> u64 {
        self.producer().load(Ordering::Acquire)
    }

    /// Moves the producer's position, as user space can in its memory: to any value, which
    /// no program believes.
    pub fn set_producer_pos(&self, pos: u64) {
        self.producer().store(pos, Ordering::Release);
    }

    /// Writes the length word of the header at a position, as user space can in its memory:
    /// any value, which no program believes. A position that is no multiple of eight is
    /// rounded down to one.
    pub fn set_header(&self, pos: u64, header: u32) {
        self.header(pos).store(header, Ordering::Release);
    }

    /// The data area, twice in a row, as user space has it mapped: headers and data, which
    /// it can write as it likes.
    #[must_use]
    pub fn data(&self) -> GuestSlice<'_> {
        self.data.slice()
    }

    /// Whether not all of it is taken (kernel `ringbuf_map_poll_user`).
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.producer_pos().wrapping_sub(self.consumer_pos()) < u64::from(self.size)
    }

    /// A descriptor that becomes readable when a program has drained samples; see
    /// [`UserRingBuf::reset_wakeup`].
    ///
    /// # Errors
    ///
    /// When the host gives no descriptor.
    pub fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        self.wake.descriptor()
    }

    /// Makes the descriptor unreadable until the next wake-up; says whether there was one
    /// since this was last called.
    pub fn reset_wakeup(&self) -> bool {
        self.wake.reset()
    }

    fn producer(&self) -> &AtomicU64 {
        &self.cells[PRODUCER]
    }

    fn consumer(&self) -> &AtomicU64 {
        &self.cells[CONSUMER]
    }

    fn header(&self, pos: u64) -> &AtomicU32 {
        self.data.slice().cell32(self.offset(pos & !7))
    }

    fn offset(&self, pos: u64) -> u32 {
        data_offset(pos, self.size)
    }
}

impl<'m> Drain<'m> {
    /// Looks at what comes next (kernel `__bpf_user_ringbuf_peek`).
    ///
    /// # Errors
    ///
    /// `EINVAL` when the producer's position is no multiple of eight or the record reaches
    /// beyond it, `E2BIG` when it is longer than the ring or a dynptr can be.
    pub fn peek(&mut self) -> Result<UserNext<'m>, Errno> {
        let ring = self.ring;
        let producer = ring.producer_pos();
        if !producer.is_multiple_of(8) {
            return Err(Errno::EINVAL);
        }
        let consumer = ring.consumer().load(Ordering::Relaxed);
        if consumer >= producer {
            return Ok(UserNext::Empty);
        }
        let header = ring.header(consumer).load(Ordering::Acquire);
        let size = header & !(BUSY | DISCARD);
        let span = span_of(size_of(header));
        if span > producer - consumer {
            return Err(Errno::EINVAL);
        }
        if span > u64::from(ring.size) || size > MOST {
            return Err(Errno::E2BIG);
        }
        if header & DISCARD != 0 {
            ring.consumer().store(consumer + span, Ordering::Release);
            return Ok(UserNext::Discarded);
        }
        if header & BUSY != 0 {
            return Ok(UserNext::Empty);
        }
        let start = ring.offset(consumer) + HEADER_BYTES;
        ring.data.set_access(start..start + size, Access::ReadWrite);
        Ok(UserNext::Sample(UserSample { ring, start, size }))
    }

    /// Consumes the sample that came next.
    pub fn consume(&mut self, sample: UserSample<'m>) {
        let consumer = self.ring.consumer().load(Ordering::Relaxed);
        // By the size that was checked: the header may say something else by now.
        let next = consumer + span_of(u64::from(sample.size));
        drop(sample);
        self.ring.consumer().store(next, Ordering::Release);
    }
}

impl Drop for Drain<'_> {
    fn drop(&mut self) {
        self.ring.cells[DRAINED].store(0, Ordering::Release);
    }
}

impl UserSample<'_> {
    /// The guest pointer to its data.
    #[must_use]
    pub fn ptr(&self) -> GuestPtr {
        self.ring.data.ptr().add(self.start)
    }

    /// Size of its data in bytes.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.size
    }
}

impl Drop for UserSample<'_> {
    fn drop(&mut self) {
        self.ring.data.set_access(self.start..self.start + self.size, Access::None);
    }
}

impl Map for UserRingBuf {
    fn core(&self) -> &Core {
        &self.core
    }

    fn memory_usage(&self) -> u64 {
        usage(self.size)
    }
}
