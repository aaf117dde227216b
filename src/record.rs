//! What programs send, as consumers see it.

use skep_maps::perf::Sample;
use skep_memory::GuestSlice;

use crate::{Bytes, Error};

/// A record of a ring buffer or a sample of a perf event, in the buffer itself: nothing is
/// copied but what is read.
///
/// There is no `&[u8]` of it. The buffer is memory that programs on other threads may write
/// to, if they go astray: what is read then is bytes, whatever they are.
#[derive(Debug, Clone, Copy)]
pub struct Record<'r> {
    data: Data<'r>,
}

#[derive(Debug, Clone, Copy)]
enum Data<'r> {
    Ring(GuestSlice<'r>),
    Perf(Sample<'r>),
}

impl<'r> Record<'r> {
    pub(crate) fn of_ring(data: GuestSlice<'r>) -> Self {
        Self { data: Data::Ring(data) }
    }

    pub(crate) fn of_perf(data: Sample<'r>) -> Self {
        Self { data: Data::Perf(data) }
    }

    /// How many bytes it has.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.data {
            Data::Ring(data) => data.len(),
            Data::Perf(data) => data.len(),
        }
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] when they do not all lie inside the record.
    #[inline]
    pub fn read(&self, offset: usize, out: &mut [u8]) -> Result<(), Error> {
        let end = offset.checked_add(out.len()).filter(|end| *end <= self.len());
        if end.is_none() {
            return Err(outside(self.len(), offset, out.len()));
        }
        match &self.data {
            Data::Ring(data) => {
                let [offset, len] = [offset, out.len()]
                    .map(|at| u32::try_from(at).expect("a record is shorter than the window"));
                data.part(offset, len).read(out);
            }
            Data::Perf(data) => data.read(offset, out),
        }
        Ok(())
    }

    /// Reads a value at `offset`; one that has any number of bytes has all that are left.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] when it does not lie inside the record.
    #[inline]
    pub fn get<T: Bytes>(&self, offset: usize) -> Result<T, Error> {
        /// Values up to this size are read by way of the stack.
        const SMALL: usize = 64;
        let left = self.len().saturating_sub(offset);
        let size = T::SIZE.unwrap_or(left);
        let (mut small, mut large) = ([0; SMALL], Vec::new());
        let bytes = match small.get_mut(..size) {
            Some(bytes) => bytes,
            None if size > left => return Err(outside(self.len(), offset, size)),
            None => {
                large.resize(size, 0);
                &mut large[..]
            }
        };
        self.read(offset, bytes)?;
        T::from_bytes(bytes).ok_or_else(|| Error::Value {
            what: format!("{size} bytes at offset {offset} of a record"),
            problem: format!("they are no {}", std::any::type_name::<T>()),
        })
    }

    /// Copies it into a new vector.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        match &self.data {
            Data::Ring(data) => data.to_vec(),
            Data::Perf(data) => data.to_vec(),
        }
    }
}

/// Bytes of a record of `len` bytes that do not all lie inside it.
pub(crate) fn outside(len: usize, offset: usize, wanted: usize) -> Error {
    Error::Value {
        what: format!("record of {len} bytes"),
        problem: format!("{wanted} bytes at offset {offset} do not lie inside it"),
    }
}
