//! The producer of a user ring buffer.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use skep_maps::{Errno, MapError, UserRingBuf};

use crate::record::outside;
use crate::{Bytes, Error, Map, wait};

/// What the descriptor is of.
const WHAT: &str = "user ring buffer";

/// Puts records into a ring buffer that programs drain (libbpf `user_ring_buffer`). A
/// handle; records stand in the ring in the order in which they were reserved.
#[derive(Debug)]
pub struct UserRingBuffer {
    map: Map,
}

/// A record that is being filled, in the ring itself. Dropping it discards it: programs
/// skip it. Programs meet neither it nor what was reserved later before it is submitted.
#[derive(Debug)]
pub struct UserRecord {
    map: Map,
    record: skep_maps::UserRecord,
    committed: bool,
}

impl UserRingBuffer {
    pub(crate) fn new(map: &Map) -> Result<Self, Error> {
        let found = map.map().downcast::<UserRingBuf>();
        let ring = found.ok_or_else(|| map.wrong_type("records of user space"))?;
        ring.descriptor().map_err(wait::failed(WHAT))?;
        Ok(Self { map: map.clone() })
    }

    fn ring(&self) -> &UserRingBuf {
        ring_of(&self.map)
    }

    /// Reserves a record of `len` bytes, which are what some record before has left there.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with `E2BIG` when it can never fit and `ENOSPC` when it does not now.
    pub fn reserve(&mut self, len: usize) -> Result<UserRecord, Error> {
        let size = u32::try_from(len).map_err(|_| Errno::E2BIG);
        let record = size.and_then(|size| self.ring().reserve(size));
        let record = record.map_err(|errno| self.map.error("reserve", errno))?;
        Ok(UserRecord { map: self.map.clone(), record, committed: false })
    }

    /// As [`UserRingBuffer::reserve`], but waits up to `timeout` for programs to make room.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with `E2BIG` when it can never fit and `ENOSPC` when the time is
    /// over; [`Error::Io`] when the host cannot wait.
    pub fn reserve_blocking(&mut self, len: usize, timeout: Duration) -> Result<UserRecord, Error> {
        let start = Instant::now();
        loop {
            // Before the ring is looked at, so that no wake-up is missed in between.
            self.ring().reset_wakeup();
            let left = timeout.saturating_sub(start.elapsed());
            match self.reserve(len) {
                Err(Error::Map(MapError { errno: Errno::ENOSPC, .. })) if !left.is_zero() => {
                    wait::readable(&*self, left, WHAT)?;
                }
                result => return result,
            }
        }
    }

    /// Reserves a record for a value, fills it and submits it.
    ///
    /// # Errors
    ///
    /// As [`UserRingBuffer::reserve`].
    pub fn push<T: Bytes>(&mut self, value: &T) -> Result<(), Error> {
        let bytes = value.to_bytes();
        let record = self.reserve(bytes.len())?;
        record.write(0, &bytes)?;
        record.submit();
        Ok(())
    }
}

impl AsFd for UserRingBuffer {
    /// A descriptor that becomes readable when a program has drained records, for epoll.
    /// Read eight bytes from it to reset it, then reserve.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring().descriptor().expect("it was made with the producer")
    }
}

impl UserRecord {
    /// How many bytes it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.record.size as usize
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes bytes from `offset` on, in place.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] when they do not all lie inside the record.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        let inside = offset.checked_add(bytes.len()).is_some_and(|end| end <= self.len());
        let place = u32::try_from(offset).ok().zip(u32::try_from(bytes.len()).ok());
        let Some((offset, len)) = place.filter(|_| inside) else {
            return Err(outside(self.len(), offset, bytes.len()));
        };
        ring_of(&self.map).record_data(self.record).part(offset, len).write(bytes);
        Ok(())
    }

    /// Writes a value at `offset`, in place.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] when it does not lie inside the record.
    pub fn set<T: Bytes>(&self, offset: usize, value: &T) -> Result<(), Error> {
        self.write(offset, &value.to_bytes())
    }

    /// Hands it to the programs.
    pub fn submit(mut self) {
        self.commit(false);
    }

    /// Has programs skip it, as dropping it does.
    pub fn discard(self) {
        drop(self);
    }

    fn commit(&mut self, discard: bool) {
        if !self.committed {
            ring_of(&self.map).commit(self.record, discard);
            self.committed = true;
        }
    }
}

impl Drop for UserRecord {
    fn drop(&mut self) {
        self.commit(true);
    }
}

fn ring_of(map: &Map) -> &UserRingBuf {
    map.map().downcast().expect("checked when the producer was made")
}
