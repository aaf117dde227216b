//! The operations of the system call, by bytes.

use skep_maps::sys;

use super::error::Asked;
use super::{Map, Walk};
use crate::Error;

impl Map {
    /// The bytes of the value of a key: of all CPUs' values, each padded to eight bytes,
    /// for per-CPU maps.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number.
    pub fn lookup_bytes(&self, key: &[u8]) -> Result<Vec<u8>, Error> {
        self.lookup_bytes_flags(key, 0)
    }

    /// The same with flags: `BPF_F_LOCK` reads under the value's `bpf_spin_lock`.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number: `EINVAL` when values have no lock.
    pub fn lookup_bytes_flags(&self, key: &[u8], flags: u64) -> Result<Vec<u8>, Error> {
        let mut out = vec![0; self.map().core().user_value_size()];
        sys::lookup(&**self.map(), self.some_key(key), flags, &mut out)
            .map_err(|errno| self.failed(Asked::of("lookup").key(key), errno))?;
        Ok(out)
    }

    /// Inserts or replaces bytes, in the form of [`Map::lookup_bytes`].
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number.
    pub fn update_bytes(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Error> {
        self.user
            .update(self.some_key(key), value, flags)
            .map_err(|errno| self.failed(Asked::of("update").key(key).value(value), errno))
    }

    /// Removes the entry of a key.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number.
    pub fn delete_bytes(&self, key: &[u8]) -> Result<(), Error> {
        sys::delete(&**self.map(), self.some_key(key))
            .map_err(|errno| self.failed(Asked::of("delete").key(key), errno))
    }

    /// Removes the entry of a key and gives its bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number.
    pub fn lookup_and_delete_bytes(&self, key: &[u8]) -> Result<Vec<u8>, Error> {
        self.lookup_and_delete_bytes_flags(key, 0)
    }

    /// The same with flags, as [`Map::lookup_bytes_flags`] has them.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number.
    pub fn lookup_and_delete_bytes_flags(&self, key: &[u8], flags: u64) -> Result<Vec<u8>, Error> {
        let mut out = vec![0; self.map().core().user_value_size()];
        sys::lookup_and_delete(&**self.map(), self.some_key(key), flags, &mut out)
            .map_err(|errno| self.failed(Asked::of("lookup and delete").key(key), errno))?;
        Ok(out)
    }

    /// The key that follows `key` in the map's own order, which is the same in every run;
    /// the first one for `None` and, in hashes and tries, for a key that is not there.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number: `ENOENT` behind the last key.
    pub fn next_key(&self, key: Option<&[u8]>) -> Result<Vec<u8>, Error> {
        let mut next = vec![0; self.def().key_size as usize];
        let asked = Asked { key, ..Asked::of("next key") };
        sys::next_key(&**self.map(), key, &mut next).map_err(|errno| self.failed(asked, errno))?;
        Ok(next)
    }

    /// Takes the right to write from user space, for good. Programs go on writing.
    ///
    /// # Errors
    ///
    /// [`Error::Map`] with the kernel's error number: `EPERM` when it is frozen already.
    pub fn freeze(&self) -> Result<(), Error> {
        sys::freeze(&**self.map()).map_err(|errno| self.error("freeze", errno))
    }

    /// All entries as bytes, by ascending key bytes, arrays by index. What has no keys is
    /// listed in the order in which it would be taken, and stays; ring buffers and bloom
    /// filters have nothing to list, nor have arrays of perf events anything that could be
    /// looked up.
    #[must_use]
    pub fn entries(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        if self.is_keyless() {
            return self.map().queued().into_iter().map(|value| (Vec::new(), value)).collect();
        }
        let mut entries: Vec<_> = self.walk_bytes().collect();
        if !self.map_type().is_indexed() {
            entries.sort_unstable();
        }
        entries
    }

    /// The entries as bytes, one by one in the map's own order: see [`Walk`].
    #[must_use]
    pub fn walk_bytes(&self) -> Walk {
        Walk::new(self)
    }
}
