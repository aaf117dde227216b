//! Where a map's memory lies: in this process, or in a file that others map too.

use std::fs::File;
use std::sync::Mutex;

use skep_memory::{Backing, FilePart, HostSegment};

use crate::Errno;
use crate::mutex::lock;

/// The home of one map, which asks it for its parts once each, always in the same order.
#[derive(Debug)]
pub(crate) struct Home {
    file: Option<Shared>,
}

#[derive(Debug)]
struct Shared {
    file: File,
    /// The first byte that no part has yet.
    next: Mutex<u64>,
    is_new: bool,
}

/// Parts begin at pages of any host.
const PAGE: u64 = 64 << 10;

impl Home {
    /// Memory of this process alone.
    pub(crate) fn private() -> Self {
        Self { file: None }
    }

    /// Memory in `file` from byte `start` on; `is_new` when nobody has filled it yet.
    pub(crate) fn shared(file: File, start: u64, is_new: bool) -> Self {
        let next = Mutex::new(start.next_multiple_of(PAGE));
        Self { file: Some(Shared { file, next, is_new }) }
    }

    /// Whether other processes may have the same memory.
    pub(crate) fn is_shared(&self) -> bool {
        self.file.is_some()
    }

    /// Whether the memory is all zeros and to be filled by the caller.
    pub(crate) fn is_new(&self) -> bool {
        self.file.as_ref().is_none_or(|shared| shared.is_new)
    }

    /// A host segment of `len` bytes, for `what`.
    ///
    /// # Errors
    ///
    /// `ENOMEM` when the host has no room for it.
    pub(crate) fn segment(&self, len: u64, what: &str) -> Result<HostSegment, Errno> {
        let segment = match &self.file {
            None => HostSegment::anonymous(len, what),
            Some(shared) => HostSegment::file(&shared.file, shared.part(len)?, len, what),
        };
        segment.map_err(|_| Errno::ENOMEM)
    }

    /// What stands behind `len` bytes of guest memory.
    ///
    /// # Errors
    ///
    /// `ENOMEM` when the host has no room for it.
    pub(crate) fn guest_backing(&self, len: u64) -> Result<Backing<'_>, Errno> {
        let Some(shared) = &self.file else {
            return Ok(Backing::Anonymous);
        };
        Ok(Backing::File(FilePart { offset: shared.part(len)?, file: &shared.file }))
    }

    /// The same for memory that appears twice, one copy behind the other.
    ///
    /// # Errors
    ///
    /// `ENOMEM` when the host has no room for it.
    pub(crate) fn mirrored_backing(&self, len: u64) -> Result<Backing<'_>, Errno> {
        let Some(shared) = &self.file else {
            return Ok(Backing::Mirrored);
        };
        Ok(Backing::MirroredFile(FilePart { offset: shared.part(len)?, file: &shared.file }))
    }
}

impl Shared {
    /// The next part of the file, made long enough.
    fn part(&self, len: u64) -> Result<u64, Errno> {
        let mut next = lock(&self.next);
        let start = *next;
        let end = start.checked_add(len).and_then(|end| end.checked_next_multiple_of(PAGE));
        let end = end.ok_or(Errno::ENOMEM)?;
        let size = self.file.metadata().map_err(|_| Errno::ENOMEM)?.len();
        if self.is_new && size < end {
            // Room is reserved, so that a full disk is an error here and not a signal later.
            let flags = rustix::fs::FallocateFlags::empty();
            rustix::fs::fallocate(&self.file, flags, start, end - start)
                .map_err(|_| Errno::ENOMEM)?;
        } else if size < end {
            return Err(Errno::EINVAL);
        }
        *next = end;
        Ok(start)
    }
}
