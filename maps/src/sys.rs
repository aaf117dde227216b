//! The map commands of the bpf(2) system call, but for its file descriptors: the checks
//! that are the same for all types, in the kernel's order (`kernel/bpf/syscall.c`), then
//! the type's own operation.

use std::sync::Arc;

use crate::flags::{BPF_F_LOCK, BPF_F_RDONLY, BPF_F_WRONLY};
use crate::{Errno, Map, SpecialKind};

/// A reference of user space to a map, as an open file is one. When the last of them
/// goes, a program array loses its programs, even while programs use it; an array of perf
/// events loses with each what was set through it.
#[derive(Debug)]
pub struct UserRef {
    map: Arc<dyn Map>,
    id: RefId,
}

/// Tells the references to the maps of a world apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefId(u64);

impl RefId {
    /// No reference that could be closed: what it sets stays.
    pub const NOBODY: Self = Self(0);
}

impl UserRef {
    /// A reference to a map; share it by `Arc`, as descriptors share a file.
    #[must_use]
    pub fn new(map: Arc<dyn Map>) -> Arc<Self> {
        map.core().open_user_ref();
        let id = RefId(map.core().world().next_ref_id());
        Arc::new(Self { map, id })
    }

    /// Another reference to the same map (`BPF_MAP_GET_FD_BY_ID`).
    #[must_use]
    pub fn reopen(&self) -> Arc<Self> {
        Self::new(Arc::clone(&self.map))
    }

    /// `BPF_MAP_UPDATE_ELEM` through this reference: see [`update`].
    ///
    /// # Errors
    ///
    /// The system call's error number.
    pub fn update(&self, key: Option<&[u8]>, value: &[u8], flags: u64) -> Result<(), Errno> {
        let key = check_update(&*self.map, key, value, flags)?;
        self.map.user_update_by(self.id, key, value, flags)
    }

    /// The map.
    #[must_use]
    pub fn map(&self) -> &Arc<dyn Map> {
        &self.map
    }
}

impl Drop for UserRef {
    fn drop(&mut self) {
        self.map.closed(self.id);
        if self.map.core().close_user_ref() {
            self.map.released();
        }
    }
}

/// `BPF_MAP_LOOKUP_ELEM`: copies a value out; a bloom filter looks for the value that
/// `out` holds. `None` for a key stands for the null pointer.
///
/// # Errors
///
/// The system call's error number.
pub fn lookup(map: &dyn Map, key: Option<&[u8]>, flags: u64, out: &mut [u8]) -> Result<(), Errno> {
    if flags & !BPF_F_LOCK != 0 {
        return Err(Errno::EINVAL);
    }
    check_permission(map, BPF_F_WRONLY)?;
    check_lock(map, flags)?;
    let key = check_key(map, key)?;
    check_value(map, out.len())?;
    map.user_lookup(key, flags, out)
}

/// `BPF_MAP_UPDATE_ELEM`: inserts or replaces. What a map would take back when a reference
/// is closed stays; [`UserRef::update`] is the same through a reference.
///
/// # Errors
///
/// The system call's error number.
pub fn update(map: &dyn Map, key: Option<&[u8]>, value: &[u8], flags: u64) -> Result<(), Errno> {
    let key = check_update(map, key, value, flags)?;
    map.user_update(key, value, flags)
}

fn check_update<'k>(
    map: &dyn Map,
    key: Option<&'k [u8]>,
    value: &[u8],
    flags: u64,
) -> Result<&'k [u8], Errno> {
    check_permission(map, BPF_F_RDONLY)?;
    check_lock(map, flags)?;
    let key = check_key(map, key)?;
    check_value(map, value.len())?;
    Ok(key)
}

/// `BPF_MAP_DELETE_ELEM`: removes an entry.
///
/// # Errors
///
/// The system call's error number.
pub fn delete(map: &dyn Map, key: Option<&[u8]>) -> Result<(), Errno> {
    check_permission(map, BPF_F_RDONLY)?;
    map.user_delete(check_key(map, key)?)
}

/// `BPF_MAP_LOOKUP_AND_DELETE_ELEM`: copies a value out and removes its entry.
///
/// # Errors
///
/// The system call's error number.
pub fn lookup_and_delete(
    map: &dyn Map,
    key: Option<&[u8]>,
    flags: u64,
    out: &mut [u8],
) -> Result<(), Errno> {
    if flags & !BPF_F_LOCK != 0 {
        return Err(Errno::EINVAL);
    }
    check_permission(map, BPF_F_RDONLY)?;
    check_permission(map, BPF_F_WRONLY)?;
    check_lock(map, flags)?;
    let key = check_key(map, key)?;
    check_value(map, out.len())?;
    map.user_lookup_and_delete(key, flags, out)
}

/// `BPF_MAP_GET_NEXT_KEY`: the key after `key`; the first one for `None`.
///
/// # Errors
///
/// The system call's error number; `ENOENT` behind the last key.
pub fn next_key(map: &dyn Map, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
    if map.core().def().flags & BPF_F_WRONLY != 0 {
        return Err(Errno::EPERM);
    }
    if key.is_some() {
        check_key(map, key)?;
    }
    if next.len() != map.core().def().key_size as usize {
        return Err(Errno::EINVAL);
    }
    map.user_next_key(key, next)
}

/// `BPF_MAP_FREEZE`: takes the right to write from user space, for good.
///
/// # Errors
///
/// `ENOTSUPP` for maps whose values hold fields of the kernel, `EPERM` when it is
/// frozen already.
pub fn freeze(map: &dyn Map) -> Result<(), Errno> {
    if !map.core().def().special.is_empty() {
        return Err(Errno::ENOTSUPP);
    }
    check_permission(map, BPF_F_RDONLY)?;
    map.core().freeze();
    Ok(())
}

/// All keys, sorted by their bytes.
///
/// Keys that come or go meanwhile may be missed.
#[must_use]
pub fn keys(map: &dyn Map) -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = Vec::new();
    let mut next = vec![0; map.core().def().key_size as usize];
    let mut seen = hashbrown::HashSet::new();
    while map.user_next_key(keys.last().map(Vec::as_slice), &mut next).is_ok() {
        // Concurrent changes may send the walk back to the start.
        if !seen.insert(next.clone()) {
            break;
        }
        keys.push(next.clone());
    }
    if !map.core().map_type().is_indexed() {
        keys.sort_unstable();
    }
    keys
}

pub(crate) fn check_permission(map: &dyn Map, without: u32) -> Result<(), Errno> {
    let frozen = without == BPF_F_RDONLY && map.core().is_frozen();
    if map.core().def().flags & without != 0 || frozen {
        return Err(Errno::EPERM);
    }
    Ok(())
}

pub(crate) fn check_lock(map: &dyn Map, flags: u64) -> Result<(), Errno> {
    let has_lock = || map.core().def().special.iter().any(|f| f.kind == SpecialKind::SpinLock);
    if flags & BPF_F_LOCK != 0 && !has_lock() {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

fn check_key<'k>(map: &dyn Map, key: Option<&'k [u8]>) -> Result<&'k [u8], Errno> {
    match (map.core().def().key_size as usize, key) {
        (0, None) => Ok(&[]),
        (0, Some(_)) => Err(Errno::EINVAL),
        (_, None) => Err(Errno::EFAULT),
        // The system call takes as many bytes as the key has; a slice of another length
        // is the caller's mistake.
        (size, Some(key)) if key.len() == size => Ok(key),
        _ => Err(Errno::EINVAL),
    }
}

fn check_value(map: &dyn Map, len: usize) -> Result<(), Errno> {
    if len == map.core().user_value_size() { Ok(()) } else { Err(Errno::EINVAL) }
}
