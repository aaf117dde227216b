//! The batch commands of the bpf(2) system call: many elements at once (kernel
//! `bpf_map_do_batch`).
//!
//! Hash types give whole buckets, and their place is a bucket's number in 4 bytes; the
//! place in other types is a key.

use crate::flags::{BPF_F_RDONLY, BPF_F_WRONLY};
use crate::sys::{check_lock, check_permission};
use crate::types::Batches;
use crate::{Errno, Map};

/// What a batch command did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// Why it ended before the count was reached; `ENOENT` behind the last element.
    pub error: Option<Errno>,
    /// How many elements were processed; the count asked for when the command did not
    /// begin.
    pub count: u32,
    /// The keys that were read, one after the other.
    pub keys: Vec<u8>,
    /// The values that were read, each as long as in a lookup.
    pub values: Vec<u8>,
    /// Where the next batch goes on; empty when nothing was read.
    pub next: Vec<u8>,
}

/// What a batch is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BatchRequest {
    /// How many elements there are, or may be.
    pub count: u32,
    /// `elem_flags`: `BPF_F_LOCK` or 0.
    pub elem_flags: u64,
    /// `flags`: 0.
    pub flags: u64,
}

impl Batch {
    /// The command did not begin.
    fn refused(request: BatchRequest, error: Errno) -> Self {
        Self { error: Some(error), count: request.count, ..Self::default() }
    }
}

/// Whether elements are deleted as they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    Keep,
    Delete,
}

/// `BPF_MAP_LOOKUP_BATCH`: reads elements from `place` on, or from the first.
#[must_use]
pub fn lookup(map: &dyn Map, place: Option<&[u8]>, request: BatchRequest) -> Batch {
    if let Err(errno) = check_permission(map, BPF_F_WRONLY) {
        return Batch::refused(request, errno);
    }
    match map.core().rules().batches {
        Batches::Buckets => read_buckets(map, place, request, Read::Keep),
        Batches::Keys | Batches::KeysAndDelete => read_keys(map, place, request),
        Batches::None => Batch::refused(request, Errno::ENOTSUPP),
    }
}

/// `BPF_MAP_LOOKUP_AND_DELETE_BATCH`: reads elements and deletes them.
#[must_use]
pub fn lookup_and_delete(map: &dyn Map, place: Option<&[u8]>, request: BatchRequest) -> Batch {
    let allowed =
        check_permission(map, BPF_F_WRONLY).and_then(|()| check_permission(map, BPF_F_RDONLY));
    match (allowed, map.core().rules().batches) {
        (Err(errno), _) => Batch::refused(request, errno),
        (Ok(()), Batches::Buckets) => read_buckets(map, place, request, Read::Delete),
        (Ok(()), _) => Batch::refused(request, Errno::ENOTSUPP),
    }
}

/// `BPF_MAP_UPDATE_BATCH`: inserts or replaces `request.count` elements.
#[must_use]
pub fn update(map: &dyn Map, keys: &[u8], values: &[u8], request: BatchRequest) -> Batch {
    let sizes = (map.core().def().key_size as usize, map.core().user_value_size());
    let element = |index: usize| {
        let key = part(keys, index, sizes.0)?;
        map.user_update(key, part(values, index, sizes.1)?, request.elem_flags)
    };
    write(map, map.core().rules().batches != Batches::None, request, element)
}

/// `BPF_MAP_DELETE_BATCH`: deletes `request.count` elements.
#[must_use]
pub fn delete(map: &dyn Map, keys: &[u8], request: BatchRequest) -> Batch {
    let size = map.core().def().key_size as usize;
    let element = |index: usize| map.user_delete(part(keys, index, size)?);
    let batches = map.core().rules().batches;
    let has_command = matches!(batches, Batches::KeysAndDelete | Batches::Buckets);
    write(map, has_command, request, element)
}

/// Element `index` of those that stand one after the other.
fn part(bytes: &[u8], index: usize, size: usize) -> Result<&[u8], Errno> {
    bytes.get(index * size..(index + 1) * size).ok_or(Errno::EFAULT)
}

fn check_flags(map: &dyn Map, flags: u64) -> Result<(), Errno> {
    if flags & !crate::flags::BPF_F_LOCK != 0 {
        return Err(Errno::EINVAL);
    }
    check_lock(map, flags)
}

fn write(
    map: &dyn Map,
    has_command: bool,
    request: BatchRequest,
    element: impl Fn(usize) -> Result<(), Errno>,
) -> Batch {
    let command = if has_command { Ok(()) } else { Err(Errno::ENOTSUPP) };
    let begins = check_permission(map, BPF_F_RDONLY)
        .and(command)
        .and_then(|()| check_flags(map, request.elem_flags));
    if let Err(errno) = begins {
        return Batch::refused(request, errno);
    }
    let mut batch = Batch::default();
    while batch.count < request.count {
        if let Err(errno) = element(batch.count as usize) {
            batch.error = Some(errno);
            break;
        }
        batch.count += 1;
    }
    batch
}

/// Kernel `generic_map_lookup_batch`.
fn read_keys(map: &dyn Map, place: Option<&[u8]>, request: BatchRequest) -> Batch {
    if let Err(errno) = check_flags(map, request.elem_flags) {
        return Batch::refused(request, errno);
    }
    let mut batch = Batch::default();
    let key_size = map.core().def().key_size as usize;
    if request.count > 0 && place.is_some_and(|place| place.len() != key_size) {
        return Batch { error: Some(Errno::EFAULT), ..batch };
    }
    let mut last = place.map(<[u8]>::to_vec);
    let mut key = vec![0; key_size];
    let mut value = vec![0; map.core().user_value_size()];
    while batch.count < request.count {
        if let Err(errno) = map.user_next_key(last.as_deref(), &mut key) {
            batch.error = Some(errno);
            break;
        }
        match map.user_lookup(&key, request.elem_flags, &mut value) {
            Ok(()) => {
                batch.keys.extend(&key);
                batch.values.extend(&value);
                batch.count += 1;
            }
            // It has gone; the next one counts.
            Err(Errno::ENOENT) => {}
            Err(errno) => {
                batch.error = Some(errno);
                return batch;
            }
        }
        last = Some(key.clone());
    }
    if batch.count > 0 {
        batch.next = last.unwrap_or_default();
    }
    batch
}

/// Kernel `__htab_map_lookup_and_delete_batch`.
fn read_buckets(map: &dyn Map, place: Option<&[u8]>, request: BatchRequest, read: Read) -> Batch {
    let flags = if request.flags == 0 { Ok(()) } else { Err(Errno::EINVAL) };
    if let Err(errno) = check_flags(map, request.elem_flags).and(flags) {
        return Batch::refused(request, errno);
    }
    let mut batch = Batch::default();
    if request.count == 0 {
        return batch;
    }
    let mut bucket = match place.map(<[u8; 4]>::try_from) {
        None => 0,
        Some(Ok(bytes)) => u32::from_le_bytes(bytes),
        Some(Err(_)) => return Batch { error: Some(Errno::EFAULT), ..batch },
    };
    let mut value = vec![0; map.core().user_value_size()];
    loop {
        let Some(keys) = map.bucket_keys(bucket) else {
            batch.error = Some(Errno::ENOENT);
            break;
        };
        let room = request.count - batch.count;
        if keys.len() > room as usize {
            batch.error = (batch.count == 0).then_some(Errno::ENOSPC);
            break;
        }
        for key in keys {
            if take(map, &key, request.elem_flags, &mut value, read).is_ok() {
                batch.keys.extend(&key);
                batch.values.extend(&value);
                batch.count += 1;
            }
        }
        bucket += 1;
    }
    batch.next = bucket.to_le_bytes().to_vec();
    batch
}

/// Reads an element of a hash, and deletes it if so asked.
fn take(map: &dyn Map, key: &[u8], flags: u64, value: &mut [u8], read: Read) -> Result<(), Errno> {
    if read == Read::Keep {
        return map.user_lookup(key, flags, value);
    }
    match map.user_lookup_and_delete(key, flags, value) {
        // Maps of maps have no such command for one element.
        Err(Errno::ENOTSUPP) => {
            map.user_lookup(key, flags, value)?;
            map.user_delete(key)
        }
        result => result,
    }
}
