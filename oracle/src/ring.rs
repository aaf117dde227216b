//! Reads a ring buffer through its mapped pages.

use crate::sys::{Mapping, Share, page};
use crate::{Errno, Map};

const BUSY: u32 = 1 << 31;
const DISCARD: u32 = 1 << 30;

/// The consumer of a ring buffer; there should be one at a time.
#[derive(Debug)]
pub struct RingReader {
    /// The consumer's position.
    consumer: Mapping,
    /// The producer's position, and from the next page on the data, twice.
    producer: Mapping,
    mask: u64,
}

/// What stands at the consumer's position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Empty,
    /// A record that is reserved and not submitted; it stays.
    Busy,
    /// A record that was discarded; it is consumed.
    Discarded {
        /// How many bytes it had.
        len: u32,
    },
    /// A record; it is consumed.
    Record(Vec<u8>),
}

impl RingReader {
    /// Maps the ring of `map`.
    ///
    /// # Errors
    /// The kernel's errno: `EINVAL` or 524 where the map is no ring buffer.
    pub fn new(map: &Map) -> Result<Self, Errno> {
        let size = map.info().max_entries as usize;
        let consumer = Mapping::new(map.as_fd(), 0, page(), Share::ReadWrite)?;
        let producer =
            Mapping::new(map.as_fd(), page() as u64, page() + 2 * size, Share::ReadOnly)?;
        Ok(Self { consumer, producer, mask: size as u64 - 1 })
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

    /// Moves the consumer's position, to any value.
    pub fn set_consumer_pos(&self, pos: u64) {
        self.consumer.store_u64(0, pos);
    }

    /// The 8 header bytes at the consumer's position: length with flags, page offset.
    #[must_use]
    pub fn header(&self) -> (u32, u32) {
        let at = self.offset(self.consumer_pos());
        (self.producer.load_u32(at), self.producer.load_u32(at + 4))
    }

    /// Takes the next record.
    pub fn pop(&mut self) -> Next {
        let pos = self.consumer_pos();
        if pos >= self.producer_pos() {
            return Next::Empty;
        }
        let at = self.offset(pos);
        let header = self.producer.load_u32(at);
        if header & BUSY != 0 {
            return Next::Busy;
        }
        let len = header & !DISCARD;
        let next = if header & DISCARD == 0 {
            Next::Record(self.producer.copy(at + 8, len as usize))
        } else {
            Next::Discarded { len }
        };
        self.set_consumer_pos(pos + u64::from(len + 8).next_multiple_of(8));
        next
    }

    fn offset(&self, pos: u64) -> usize {
        page() + usize::try_from(pos & self.mask).expect("a ring fits into memory")
    }
}
