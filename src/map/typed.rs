//! The operations for Rust values of a fixed layout.

use super::Map;
use super::error::{Asked, found};
use crate::{Bytes, Errno, Error};

impl Map {
    /// The value of a key; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number, [`Error::Value`] when a size does
    /// not fit.
    pub fn lookup<K: Bytes, V: Bytes>(&self, key: &K) -> Result<Option<V>, Error> {
        self.lookup_flags(key, 0)
    }

    /// The same with flags: `BPF_F_LOCK` reads under the value's `bpf_spin_lock`
    /// (see [`flags`](crate::flags)).
    ///
    /// # Errors
    ///
    /// As [`Map::lookup`]; `EINVAL` when values have no lock.
    pub fn lookup_flags<K: Bytes, V: Bytes>(
        &self,
        key: &K,
        flags: u64,
    ) -> Result<Option<V>, Error> {
        let bytes = found(self.lookup_bytes_flags(&key.to_bytes(), flags))?;
        bytes.map(|bytes| self.typed(&bytes)).transpose()
    }

    /// The values of a key on all virtual CPUs.
    ///
    /// # Errors
    ///
    /// As [`Map::lookup`]; [`Error::WrongType`] when the map has one value for all.
    pub fn lookup_percpu<K: Bytes, V: Bytes>(&self, key: &K) -> Result<Option<Vec<V>>, Error> {
        self.check_percpu()?;
        let bytes = found(self.lookup_bytes(&key.to_bytes()))?;
        bytes.map(|bytes| self.typed_percpu(&bytes)).transpose()
    }

    /// Inserts or replaces; `flags` are `BPF_ANY`, `BPF_NOEXIST`, `BPF_EXIST` and
    /// `BPF_F_LOCK` (see [`flags`](crate::flags)).
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number.
    pub fn update<K: Bytes, V: Bytes>(&self, key: &K, value: &V, flags: u64) -> Result<(), Error> {
        self.update_bytes(&key.to_bytes(), &value.to_bytes(), flags)
    }

    /// Inserts or replaces the values of a key on all virtual CPUs: `values` has one for
    /// each.
    ///
    /// ```
    /// # use skep::{Error, Map, MapDef, MapType, Vm, flags};
    /// # fn main() -> Result<(), Error> {
    /// let vm = Vm::builder().cpus(3).build()?;
    /// let hits = Map::create(&vm, &MapDef {
    ///     name: "hits".to_owned(),
    ///     map_type: MapType::PercpuArray.id(),
    ///     key_size: 4,
    ///     value_size: 2,
    ///     max_entries: 1,
    ///     ..MapDef::default()
    /// })?;
    /// hits.update_percpu(&0u32, &[10u16, 20, 30], flags::BPF_ANY)?;
    /// assert_eq!(hits.lookup_percpu(&0u32)?, Some(vec![10u16, 20, 30]));
    /// let error = hits.update_percpu(&0u32, &[1u16], flags::BPF_ANY).unwrap_err();
    /// assert!(error.to_string().contains("1 values are given, one for each of 3 CPUs is expected"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number: `EINVAL` for another number of
    /// values, or other sizes; [`Error::WrongType`] when the map has one value for all.
    pub fn update_percpu<K: Bytes, V: Bytes>(
        &self,
        key: &K,
        values: &[V],
        flags: u64,
    ) -> Result<(), Error> {
        self.check_percpu()?;
        let values: Vec<Vec<u8>> = values.iter().map(Bytes::to_bytes).collect();
        let bytes = self.join_percpu(&values)?;
        self.update_bytes(&key.to_bytes(), &bytes, flags)
    }

    /// Removes the entry of a key.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number.
    pub fn delete<K: Bytes>(&self, key: &K) -> Result<(), Error> {
        self.delete_bytes(&key.to_bytes())
    }

    /// Removes the entry of a key and gives its value; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number, `ENOTSUPP` for types that cannot;
    /// [`Error::Value`] when a size does not fit, and nothing is removed.
    pub fn lookup_and_delete<K: Bytes, V: Bytes>(&self, key: &K) -> Result<Option<V>, Error> {
        self.lookup_and_delete_flags(key, 0)
    }

    /// The same with flags, as [`Map::lookup_flags`] has them.
    ///
    /// # Errors
    ///
    /// As [`Map::lookup_and_delete`].
    pub fn lookup_and_delete_flags<K: Bytes, V: Bytes>(
        &self,
        key: &K,
        flags: u64,
    ) -> Result<Option<V>, Error> {
        // A type that does not fit is found out before the entry is gone.
        let zeros = vec![0; self.map().core().user_value_size()];
        let _fits: V = self.typed(&zeros)?;
        let bytes = found(self.lookup_and_delete_bytes_flags(&key.to_bytes(), flags))?;
        bytes.map(|bytes| self.typed(&bytes)).transpose()
    }

    /// Removes the entry of a key and gives its values on all virtual CPUs; `None` when
    /// there is none.
    ///
    /// # Errors
    ///
    /// As [`Map::lookup_and_delete`]; [`Error::WrongType`] when the map has one value for
    /// all.
    pub fn lookup_and_delete_percpu<K: Bytes, V: Bytes>(
        &self,
        key: &K,
    ) -> Result<Option<Vec<V>>, Error> {
        self.check_percpu()?;
        let zeros = vec![0; self.def().value_size as usize];
        let _fits: V = self.typed(&zeros)?;
        let bytes = found(self.lookup_and_delete_bytes(&key.to_bytes()))?;
        bytes.map(|bytes| self.typed_percpu(&bytes)).transpose()
    }

    /// The key that follows `key` in the map's own order, the first one for `None`; `None`
    /// behind the last: see [`Map::next_key`].
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number, [`Error::Value`] when the size does
    /// not fit.
    pub fn key_after<K: Bytes>(&self, key: Option<&K>) -> Result<Option<K>, Error> {
        let key = key.map(Bytes::to_bytes);
        let Some(next) = found(self.next_key(key.as_deref()))? else { return Ok(None) };
        self.typed_key(&next).map(Some)
    }

    /// All entries, by ascending key bytes. Entries whose bytes are no `K` and `V` are
    /// left out; those that go away meanwhile may be.
    pub fn iter<K: Bytes, V: Bytes>(&self) -> impl Iterator<Item = (K, V)> {
        typed_entries(self.entries().into_iter())
    }

    /// The entries one by one in the map's own order, as the map is when each is asked for:
    /// see [`Walk`](crate::Walk). Entries whose bytes are no `K` and `V` are left out.
    pub fn walk<K: Bytes, V: Bytes>(&self) -> impl Iterator<Item = (K, V)> + use<K, V> {
        typed_entries(self.walk_bytes())
    }

    /// The values of all CPUs, one after the other as system calls have them.
    pub(super) fn join_percpu(&self, values: &[Vec<u8>]) -> Result<Vec<u8>, Error> {
        let (cpus, size) = (self.cpus(), self.def().value_size as usize);
        let refuse = |why| Err(self.failed_since("update", Errno::EINVAL, why));
        if values.len() != cpus as usize {
            let given = values.len();
            return refuse(format!(
                "{given} values are given, one for each of {cpus} CPUs is expected"
            ));
        }
        if let Some(value) = values.iter().find(|value| value.len() != size) {
            return refuse(format!("a value has {} bytes, {size} are expected", value.len()));
        }
        let mut bytes = Vec::with_capacity(self.map().core().user_value_size());
        for value in values {
            bytes.extend(value);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
        }
        Ok(bytes)
    }

    pub(super) fn check_percpu(&self) -> Result<(), Error> {
        if self.map_type().is_percpu() { Ok(()) } else { Err(self.wrong_type("values per CPU")) }
    }

    pub(super) fn typed<V: Bytes>(&self, bytes: &[u8]) -> Result<V, Error> {
        V::from_bytes(bytes).ok_or_else(|| Error::Value {
            what: format!("value of map `{}`", self.name()),
            problem: format!("it has {} bytes, the type asked for has not", bytes.len()),
        })
    }

    pub(super) fn typed_key<K: Bytes>(&self, bytes: &[u8]) -> Result<K, Error> {
        K::from_bytes(bytes).ok_or_else(|| Error::Value {
            what: format!("key of map `{}`", self.name()),
            problem: format!("it has {} bytes, the type asked for has not", bytes.len()),
        })
    }

    fn typed_percpu<V: Bytes>(&self, bytes: &[u8]) -> Result<Vec<V>, Error> {
        self.cpu_values(bytes).map(|part| self.typed(part)).collect()
    }

    /// A failure of an operation without a key, with what can be said about it.
    pub(super) fn value_failed(&self, op: &'static str, value: &[u8], errno: Errno) -> Error {
        self.failed(Asked::of(op).value(value), errno)
    }
}

fn typed_entries<K: Bytes, V: Bytes>(
    entries: impl Iterator<Item = (Vec<u8>, Vec<u8>)>,
) -> impl Iterator<Item = (K, V)> {
    entries.filter_map(|(key, value)| Some((K::from_bytes(&key)?, V::from_bytes(&value)?)))
}
