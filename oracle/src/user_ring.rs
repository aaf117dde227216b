//! Writes a user ring buffer through its mapped pages: anything, right or wrong.

use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::sys::{Mapping, Share, page};
use crate::{Errno, Map};

/// The producer of a user ring buffer.
#[derive(Debug)]
pub struct RingWriter<'m> {
    map: &'m Map,
    /// The consumer's position.
    consumer: Mapping,
    /// The producer's position, and from the next page on the data, twice.
    producer: Mapping,
    mask: u64,
}

impl<'m> RingWriter<'m> {
    /// Maps the ring of `map`.
    ///
    /// # Errors
    /// The kernel's errno: `EINVAL` or 524 where the map is no ring buffer.
    pub fn new(map: &'m Map) -> Result<Self, Errno> {
        let size = map.info().max_entries as usize;
        let consumer = Mapping::new(map.as_fd(), 0, page(), Share::ReadOnly)?;
        let producer =
            Mapping::new(map.as_fd(), page() as u64, page() + 2 * size, Share::ReadWrite)?;
        Ok(Self { map, consumer, producer, mask: size as u64 - 1 })
    }

    /// Where the consumer stands, in bytes since the ring was made.
    #[must_use]
    pub fn consumer_pos(&self) -> u64 {
        self.consumer.load_u64(0)
    }

    /// Where the producer stands, in bytes since the ring was made.
    #[must_use]
    pub fn producer_pos(&self) -> u64 {
        self.producer.load_u64(0)
    }

    /// Moves the producer's position, to any value.
    pub fn set_producer_pos(&self, pos: u64) {
        self.producer.store_u64(0, pos);
    }

    /// Writes the length word of a header at a position, flags included.
    pub fn set_header(&self, pos: u64, len: u32) {
        self.producer.store_u32(self.offset(pos), len);
    }

    /// Writes data at a position, over the end into the second mapping.
    pub fn write(&self, pos: u64, bytes: &[u8]) {
        self.producer.write(self.offset(pos), bytes);
    }

    /// Reads data at a position.
    #[must_use]
    pub fn read(&self, pos: u64, len: usize) -> Vec<u8> {
        self.producer.copy(self.offset(pos), len)
    }

    /// Adds a record whose header holds `header` and whose data is `data`.
    pub fn push(&self, header: u32, data: &[u8]) {
        let pos = self.producer_pos();
        self.set_header(pos, header);
        self.write(pos + 8, data);
        self.set_producer_pos(pos + (data.len() as u64 + 8).next_multiple_of(8));
    }

    /// Whether the map is writable for epoll: not all of it is taken.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn has_room(&self) -> Result<bool, Errno> {
        let fd = self.map.as_fd();
        let fd = fd.as_fd();
        let mut fds = [PollFd::new(&fd, PollFlags::OUT)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).map_err(|e| Errno(e.raw_os_error()))?;
        Ok(fds[0].revents().contains(PollFlags::OUT))
    }

    fn offset(&self, pos: u64) -> usize {
        page() + usize::try_from(pos & self.mask).expect("a ring fits into memory")
    }
}
