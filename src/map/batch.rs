//! Many elements with one call (kernel `bpf_map_do_batch`).

use skep_maps::batch::{self, BatchRequest};
use skep_maps::{Errno, MapError};

use super::Map;
use super::error::Asked;
use crate::{Bytes, Error};

/// Where the next batch begins: a bucket of a hash, a key of other types.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BatchCursor(Option<Vec<u8>>);

impl BatchCursor {
    /// The cursor that the system call's `in_batch` and `out_batch` hold: 4 bytes for
    /// hashes, a key for other types.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(Some(bytes.to_vec()))
    }

    /// The bytes of the cursor; `None` at the beginning.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        self.0.as_deref()
    }
}

/// What a batch has read, also when it then failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<K, V> {
    /// The entries, in the map's own order.
    pub entries: Vec<(K, V)>,
    /// Why it ended before it had read as many as asked for; behind the last entry,
    /// `ENOENT`. `ENOSPC`: the next bucket has more entries than were asked for.
    pub error: Option<Errno>,
    /// Where the next batch goes on.
    pub cursor: BatchCursor,
}

impl<K, V> Batch<K, V> {
    /// Whether there is nothing behind it.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.error == Some(Errno::ENOENT)
    }
}

/// How far a batch has written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct BatchWrite {
    /// How many elements are done: the first ones.
    pub count: u32,
    /// Why the next one was not.
    pub error: Option<MapError>,
}

impl BatchWrite {
    /// An error when not all are done.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number.
    pub fn all(self) -> Result<(), Error> {
        self.error.map_or(Ok(()), |error| Err(Error::Map(error)))
    }
}

impl Map {
    /// Reads up to `count` entries from the cursor on. Hashes give whole buckets; what is
    /// there is given, also when the map ends before.
    ///
    /// ```
    /// use skep::{BatchCursor, Error, Map, MapDef, MapType, Vm};
    ///
    /// # fn main() -> Result<(), Error> {
    /// let vm = Vm::builder().build()?;
    /// let squares = Map::create(&vm, &MapDef {
    ///     name: "squares".to_owned(),
    ///     map_type: MapType::Array.id(),
    ///     key_size: 4,
    ///     value_size: 8,
    ///     max_entries: 5,
    ///     ..MapDef::default()
    /// })?;
    /// let all: Vec<(u32, u64)> = (0..5).map(|n| (n, u64::from(n * n))).collect();
    /// squares.update_batch(&all, 0)?.all()?;
    ///
    /// let first = squares.lookup_batch::<u32, u64>(&BatchCursor::default(), 3, 0)?;
    /// assert_eq!(first.entries, [(0, 0), (1, 1), (2, 4)]);
    /// let rest = squares.lookup_batch::<u32, u64>(&first.cursor, 3, 0)?;
    /// assert_eq!(rest.entries, [(3, 9), (4, 16)]);
    /// assert!(rest.is_last());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number when the command did not begin,
    /// [`Error::Value`] when a size does not fit.
    pub fn lookup_batch<K: Bytes, V: Bytes>(
        &self,
        cursor: &BatchCursor,
        count: u32,
        elem_flags: u64,
    ) -> Result<Batch<K, V>, Error> {
        self.typed_batch(self.lookup_batch_bytes(cursor, count, elem_flags)?)
    }

    /// The same, and deletes what it has read. Only hashes can.
    ///
    /// # Errors
    ///
    /// As [`Map::lookup_batch`]; nothing is deleted then.
    pub fn lookup_and_delete_batch<K: Bytes, V: Bytes>(
        &self,
        cursor: &BatchCursor,
        count: u32,
        elem_flags: u64,
    ) -> Result<Batch<K, V>, Error> {
        // Types that do not fit are found out before anything is gone.
        let _fits: K = self.typed_key(&vec![0; self.def().key_size as usize])?;
        let _fits: V = self.typed(&vec![0; self.map().core().user_value_size()])?;
        self.typed_batch(self.lookup_and_delete_batch_bytes(cursor, count, elem_flags)?)
    }

    /// Inserts or replaces entries until one fails; those before it stay.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number when a key or value has another size.
    pub fn update_batch<K: Bytes, V: Bytes>(
        &self,
        entries: &[(K, V)],
        elem_flags: u64,
    ) -> Result<BatchWrite, Error> {
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for (key, value) in entries {
            let (key, value) = (key.to_bytes(), value.to_bytes());
            self.check_lengths("update batch", &key, Some(&value))?;
            keys.extend(key);
            values.extend(value);
        }
        self.update_batch_bytes(&keys, &values, elem_flags)
    }

    /// Deletes the entries of keys until one fails; those before it are gone.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number when a key has another size.
    pub fn delete_batch<K: Bytes>(&self, keys: &[K], elem_flags: u64) -> Result<BatchWrite, Error> {
        let mut bytes = Vec::new();
        for key in keys {
            let key = key.to_bytes();
            self.check_lengths("delete batch", &key, None)?;
            bytes.extend(key);
        }
        self.delete_batch_bytes(&bytes, elem_flags)
    }

    // By bytes.

    /// [`Map::lookup_batch`] by bytes: values as [`Map::lookup_bytes`] gives them.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number when the command did not begin.
    pub fn lookup_batch_bytes(
        &self,
        cursor: &BatchCursor,
        count: u32,
        elem_flags: u64,
    ) -> Result<Batch<Vec<u8>, Vec<u8>>, Error> {
        let request = BatchRequest { count, elem_flags, flags: 0 };
        let read = batch::lookup(&**self.map(), cursor.bytes(), request);
        self.read_batch("lookup batch", cursor, read)
    }

    /// [`Map::lookup_and_delete_batch`] by bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number when the command did not begin.
    pub fn lookup_and_delete_batch_bytes(
        &self,
        cursor: &BatchCursor,
        count: u32,
        elem_flags: u64,
    ) -> Result<Batch<Vec<u8>, Vec<u8>>, Error> {
        let request = BatchRequest { count, elem_flags, flags: 0 };
        let read = batch::lookup_and_delete(&**self.map(), cursor.bytes(), request);
        self.read_batch("lookup and delete batch", cursor, read)
    }

    /// [`Map::update_batch`] by bytes: keys one after the other, and values in the form of
    /// [`Map::lookup_bytes`], as many as there are keys.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number when the bytes are no whole keys and
    /// values, or not as many of each.
    pub fn update_batch_bytes(
        &self,
        keys: &[u8],
        values: &[u8],
        elem_flags: u64,
    ) -> Result<BatchWrite, Error> {
        let op = "update batch";
        let size = self.map().core().user_value_size();
        let count = self.whole(op, "key", keys, self.def().key_size as usize)?;
        let given = self.whole(op, "value", values, size)?;
        if given != count && size > 0 {
            let why = format!("{count} keys and {given} values are given");
            return Err(self.failed_since(op, Errno::EFAULT, why));
        }
        let request = BatchRequest { count, elem_flags, flags: 0 };
        Ok(self.written(op, request, batch::update(&**self.map(), keys, values, request)))
    }

    /// [`Map::delete_batch`] by bytes: keys one after the other.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number when the bytes are no whole keys.
    pub fn delete_batch_bytes(&self, keys: &[u8], elem_flags: u64) -> Result<BatchWrite, Error> {
        let op = "delete batch";
        let count = self.whole(op, "key", keys, self.def().key_size as usize)?;
        let request = BatchRequest { count, elem_flags, flags: 0 };
        Ok(self.written(op, request, batch::delete(&**self.map(), keys, request)))
    }

    fn typed_batch<K: Bytes, V: Bytes>(
        &self,
        batch: Batch<Vec<u8>, Vec<u8>>,
    ) -> Result<Batch<K, V>, Error> {
        let typed =
            |(key, value): &(Vec<u8>, Vec<u8>)| Ok((self.typed_key(key)?, self.typed(value)?));
        let entries = batch.entries.iter().map(typed).collect::<Result<_, Error>>()?;
        Ok(Batch { entries, error: batch.error, cursor: batch.cursor })
    }

    fn read_batch(
        &self,
        op: &'static str,
        start: &BatchCursor,
        read: batch::Batch,
    ) -> Result<Batch<Vec<u8>, Vec<u8>>, Error> {
        // What ends a batch that has begun is part of the result.
        let begun = [None, Some(Errno::ENOENT), Some(Errno::ENOSPC)].contains(&read.error);
        if let (Some(errno), false) = (read.error, begun) {
            if errno != Errno::EFAULT {
                return Err(self.error(op, errno));
            }
            let len = start.bytes().map_or(0, <[u8]>::len);
            let why = format!("{len} bytes are no cursor of this map");
            return Err(self.failed_since(op, errno, why));
        }
        let key_size = (self.def().key_size as usize).max(1);
        let keys = read.keys.chunks(key_size).map(<[u8]>::to_vec);
        let values = read.values.chunks(self.map().core().user_value_size().max(1));
        Ok(Batch {
            entries: keys.zip(values.map(<[u8]>::to_vec)).collect(),
            error: read.error,
            cursor: if read.next.is_empty() { start.clone() } else { BatchCursor(Some(read.next)) },
        })
    }

    /// How many items of `size` bytes stand in `bytes`.
    fn whole(&self, op: &'static str, what: &str, bytes: &[u8], size: usize) -> Result<u32, Error> {
        let len = bytes.len();
        let count = len.checked_div(size).unwrap_or(0);
        match u32::try_from(count) {
            Ok(count) if count as usize * size == len => Ok(count),
            _ => {
                let why = format!("{len} bytes are no whole number of {what}s of {size} bytes");
                Err(self.failed_since(op, Errno::EFAULT, why))
            }
        }
    }

    fn check_lengths(
        &self,
        op: &'static str,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), Error> {
        let fits = key.len() == self.def().key_size as usize
            && value.is_none_or(|value| value.len() == self.map().core().user_value_size());
        if fits {
            return Ok(());
        }
        let asked = Asked { value: value.map(<[u8]>::len), ..Asked::of(op).key(key) };
        Err(self.failed(asked, Errno::EINVAL))
    }

    fn written(&self, op: &'static str, request: BatchRequest, done: batch::Batch) -> BatchWrite {
        let error = done.error.map(|errno| self.map_error(Asked::of(op), errno));
        // A command that does not begin leaves the count as it was.
        let began = error.is_none() || done.count < request.count;
        BatchWrite { count: if began { done.count } else { 0 }, error }
    }
}
