//! Maps without keys: queues, stacks and bloom filters.

use skep_maps::{MapType, ProgramOp, sys};

use super::Map;
use super::error::found;
use crate::{Bytes, Errno, Error};

impl Map {
    /// Puts a value into a queue, a stack or a bloom filter. With `BPF_EXIST` a full queue or
    /// stack drops its oldest value.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number: `E2BIG` when it is full;
    /// [`Error::WrongType`].
    pub fn push<V: Bytes>(&self, value: &V, flags: u64) -> Result<(), Error> {
        self.check_push()?;
        self.update_bytes(&[], &value.to_bytes(), flags)
    }

    /// Takes the next value out of a queue or a stack; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number, [`Error::WrongType`];
    /// [`Error::Value`] when the size does not fit, and the value is gone.
    pub fn pop<V: Bytes>(&self) -> Result<Option<V>, Error> {
        self.pop_bytes()?.map(|bytes| self.typed(&bytes)).transpose()
    }

    /// The next value of a queue or a stack, which stays; `None` when there is none.
    ///
    /// # Errors
    ///
    /// As [`Map::pop`].
    pub fn peek<V: Bytes>(&self) -> Result<Option<V>, Error> {
        self.peek_bytes()?.map(|bytes| self.typed(&bytes)).transpose()
    }

    /// Whether a bloom filter may have been given a value: `false` is certain.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number; [`Error::WrongType`].
    pub fn may_contain<V: Bytes>(&self, value: &V) -> Result<bool, Error> {
        if self.map_type() != MapType::BloomFilter {
            return Err(self.wrong_type("values to look for"));
        }
        let mut value = value.to_bytes();
        match sys::lookup(&**self.map(), None, 0, &mut value) {
            Ok(()) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(self.value_failed("lookup", &value, errno)),
        }
    }

    pub(super) fn check_push(&self) -> Result<(), Error> {
        let can = self.allows(ProgramOp::Push);
        if can { Ok(()) } else { Err(self.wrong_type("values without keys")) }
    }

    pub(super) fn pop_bytes(&self) -> Result<Option<Vec<u8>>, Error> {
        self.check_order()?;
        found(self.lookup_and_delete_bytes(&[]))
    }

    pub(super) fn peek_bytes(&self) -> Result<Option<Vec<u8>>, Error> {
        self.check_order()?;
        found(self.lookup_bytes(&[]))
    }

    fn check_order(&self) -> Result<(), Error> {
        let can = self.allows(ProgramOp::Pop);
        if can { Ok(()) } else { Err(self.wrong_type("values in an order")) }
    }
}
