//! The consumer of a ring buffer.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use skep_maps::RingBuf;

use crate::{Error, Map, Record, wait};

/// What the descriptor is of.
const WHAT: &str = "ring buffer";

/// Takes records out of a ring buffer, in the order in which they were reserved. A
/// handle; the records go to whoever polls first.
#[derive(Debug)]
pub struct RingBuffer {
    map: Map,
}

impl RingBuffer {
    pub(crate) fn new(map: &Map) -> Result<Self, Error> {
        let ring = map.map().downcast::<RingBuf>().ok_or_else(|| map.wrong_type("records"))?;
        ring.event().map_err(wait::failed(WHAT))?;
        Ok(Self { map: map.clone() })
    }

    fn ring(&self) -> &RingBuf {
        self.map.map().downcast().expect("checked when it was made")
    }

    /// Takes the records that are there, one after the other; does not wait. Discarded
    /// records are skipped; a record that is still being written, and all behind it, stay.
    ///
    /// While this lives, other consumers of the map wait.
    pub fn records(&mut self) -> Records<'_> {
        Records { records: self.ring().records() }
    }

    /// Gives each record that is there to `callback` until it breaks; does not wait.
    /// Returns how many it gave.
    pub fn consume(&mut self, mut callback: impl FnMut(Record<'_>) -> ControlFlow<()>) -> u64 {
        let consumed = self.ring().consume(|data| callback(Record::of_ring(data)));
        consumed.records
    }

    /// As [`RingBuffer::consume`], but waits up to `timeout` for the first record.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the host cannot wait.
    pub fn poll(
        &mut self,
        timeout: Duration,
        mut callback: impl FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> Result<u64, Error> {
        wait::until_some(self, timeout, |own| own.consume(&mut callback), Self::wait)
    }

    /// Waits until a record is committed or the time is over.
    fn wait(&self, timeout: Duration) -> Result<(), Error> {
        let event = self.ring().event().map_err(wait::failed(WHAT))?;
        wait::readable(event, timeout, WHAT)?;
        // Reset it; that it was not set is no error.
        let _was_not_set = rustix::io::read(event, &mut [0u8; 8]);
        Ok(())
    }

    /// How many records found no room.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.ring().dropped()
    }
}

impl AsFd for RingBuffer {
    /// A descriptor that becomes readable when a record wakes the consumer, for epoll.
    /// Read eight bytes from it to reset it, then consume.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring().event().expect("it was made with the consumer")
    }
}

/// The records that are there. Iterating copies them; [`Records::next_record`] does not.
#[derive(Debug)]
pub struct Records<'r> {
    records: skep_maps::Records<'r>,
}

/// A record that was taken, in the ring itself; its room is free when this is dropped.
#[derive(Debug)]
pub struct Taken<'r> {
    record: skep_maps::Committed<'r>,
}

impl Records<'_> {
    /// The next record, in place.
    pub fn next_record(&mut self) -> Option<Taken<'_>> {
        self.records.next_record().map(|record| Taken { record })
    }
}

impl Iterator for Records<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        self.next_record().map(|taken| taken.record().to_vec())
    }
}

impl Taken<'_> {
    /// What the program sent.
    #[must_use]
    pub fn record(&self) -> Record<'_> {
        Record::of_ring(self.record.data())
    }
}
