//! The positions in a ring buffer, and the headers of its records: who may write where.
//!
//! Positions count bytes for ever and are masked on use. A record begins with a header
//! whose first word is the length of its data, with two flags: BUSY from reservation to
//! commit, DISCARD for records that the consumer skips. Producers take turns; the lowest
//! bit of their position is their lock, since records lie eight bytes apart. The consumer
//! takes no lock that producers know of.
//!
//! Where headers are is the caller's affair, see [`Headers`]. Positions are in host
//! memory and decide; a header is believed only within them, and of a ring in a file, where
//! positions may be anything, they are believed only within the ring's size. So the consumer is never
//! beyond a record that is busy, and producers, unlike the kernel's, whose consumer may
//! write any position, need not look for the oldest busy record.

use crate::patience::Patience;
use crate::segment::{Cells64, Parts};
use crate::sync::{AtomicU32, AtomicU64, Ordering, back_off, fence};

/// Size of a header in bytes (`BPF_RINGBUF_HDR_SZ`).
pub(crate) const HEADER: u64 = 8;
/// The record is reserved and not committed (`BPF_RINGBUF_BUSY_BIT`).
pub(crate) const BUSY: u32 = 1 << 31;
/// The record is to be skipped (`BPF_RINGBUF_DISCARD_BIT`).
pub(crate) const DISCARD: u32 = 1 << 30;

/// Finds the first word of the header at a position.
pub(crate) trait Headers {
    /// The header at `pos`, a multiple of eight.
    fn header(&self, pos: u64) -> &AtomicU32;
}

/// The positions of one ring.
#[derive(Debug)]
pub(crate) struct Positions {
    cells: Cells64,
    /// The size of the ring less one; a power of two less one.
    mask: u64,
    patience: Patience,
}

/// Where each cell is: what producers write, and what the consumer writes, are on cache
/// lines of their own.
const PRODUCER: usize = 0;
/// The consumer's position as producers saw it last.
const SEEN: usize = 1;
const CONSUMER: usize = 8;
const CELLS: u64 = 16;

/// The lowest bit of the producers' position: one of them is reserving.
const LOCKED: u64 = 1;

/// What the consumer finds next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing, or a record that is still busy.
    None,
    /// A record at a position, with its header.
    Record(u64, u32),
}

impl Positions {
    /// The positions of a ring of `size` bytes, a power of two.
    pub(crate) fn new(parts: &mut Parts<'_>, size: u64) -> Self {
        Self { cells: parts.cells64(CELLS), mask: size - 1, patience: parts.patience() }
    }

    /// Reserves a record with `size` bytes of data (kernel `__bpf_ringbuf_reserve`); `None`
    /// when there is no room. While nobody else sees the record, `prepare` gets its
    /// position and writes its header, BUSY.
    #[inline]
    pub(crate) fn reserve(&self, size: u64, prepare: impl FnOnce(u64)) -> Option<u64> {
        let len = span_of(size);
        let producer = self.lock()?;
        let end = producer.wrapping_add(len);
        let room = self.is_consumed(end);
        if room {
            prepare(producer);
        }
        let unlocked = if room { end } else { producer };
        self.cells[PRODUCER].store(unlocked, Ordering::Release);
        room.then_some(producer)
    }

    /// Ends a reservation of `size` bytes. Whether the consumer has read all before it, and
    /// must be woken, is what it returns, if `wants_to_know`: that costs a barrier.
    #[inline]
    pub(crate) fn commit(
        &self,
        headers: &impl Headers,
        pos: u64,
        header: u32,
        wants_to_know: bool,
    ) -> bool {
        headers.header(pos).store(header, Ordering::Release);
        if !wants_to_know {
            return false;
        }
        // The other half is in `next`: either the consumer sees this record, or it is found
        // to wait here.
        fence(Ordering::SeqCst);
        self.cells[CONSUMER].load(Ordering::Relaxed) == pos
    }

    /// The next record. There is one consumer; the caller sees to it.
    ///
    /// When there is none, the producer that commits the next one finds that the consumer
    /// waits.
    #[inline]
    pub(crate) fn next(&self, headers: &impl Headers) -> Next {
        match self.look(headers) {
            Next::None => {
                fence(Ordering::SeqCst);
                self.look(headers)
            }
            next => next,
        }
    }

    #[inline]
    fn look(&self, headers: &impl Headers) -> Next {
        let consumer = self.cells[CONSUMER].load(Ordering::Relaxed);
        let producer = self.cells[PRODUCER].load(Ordering::Acquire) & !LOCKED;
        if consumer >= producer {
            return Next::None;
        }
        let header = headers.header(consumer).load(Ordering::Acquire);
        // A length that leads beyond the producers is not theirs.
        let taken = (producer - consumer).min(self.mask + 1);
        if header & BUSY != 0 || span_of(size_of(header)) > taken {
            return Next::None;
        }
        Next::Record(consumer, header)
    }

    /// Frees the record that [`Positions::next`] gave.
    #[inline]
    pub(crate) fn free(&self, pos: u64, header: u32) {
        let next = pos.wrapping_add(span_of(size_of(header)));
        self.cells[CONSUMER].store(next, Ordering::Release);
    }

    /// Where the consumer is.
    pub(crate) fn consumer(&self) -> u64 {
        self.cells[CONSUMER].load(Ordering::Acquire)
    }

    /// Where the producers are.
    pub(crate) fn producer(&self) -> u64 {
        self.cells[PRODUCER].load(Ordering::Acquire) & !LOCKED
    }

    #[inline]
    fn lock(&self) -> Option<u64> {
        let cell = &self.cells[PRODUCER];
        let mut tries = 0;
        loop {
            let producer = cell.load(Ordering::Relaxed);
            if producer & LOCKED == 0 {
                let locked = producer | LOCKED;
                let order = (Ordering::Acquire, Ordering::Relaxed);
                if cell.compare_exchange_weak(producer, locked, order.0, order.1).is_ok() {
                    return Some(producer);
                }
            }
            if !self.waits(&mut tries) {
                return None;
            }
        }
    }

    /// Waits for whoever has the lock; whether that is still worth it.
    #[cold]
    fn waits(&self, tries: &mut u32) -> bool {
        let lasts = self.patience.lasts(*tries);
        *tries = back_off(*tries);
        lasts
    }

    /// Whether a record that ends at `end` leaves what is not consumed alone.
    #[inline]
    fn is_consumed(&self, end: u64) -> bool {
        let seen: &AtomicU64 = &self.cells[SEEN];
        if end.wrapping_sub(seen.load(Ordering::Relaxed)) <= self.mask {
            return true;
        }
        let consumer = self.cells[CONSUMER].load(Ordering::Acquire);
        seen.store(consumer, Ordering::Relaxed);
        end.wrapping_sub(consumer) <= self.mask
    }
}

/// The bytes of data of a record with this header.
#[inline]
pub(crate) fn size_of(header: u32) -> u64 {
    u64::from(header & !(BUSY | DISCARD))
}

/// How many bytes a record of `size` bytes takes in the ring, header included.
#[inline]
pub(crate) fn span_of(size: u64) -> u64 {
    (size + HEADER).next_multiple_of(8)
}
