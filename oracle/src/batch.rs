//! Batch operations on maps.

use crate::sys::{Attr, Buf, Cmd};
use crate::{Errno, Map};

/// What a batch operation left behind, whether it failed or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The kernel's errno, if it failed.
    pub errno: Option<Errno>,
    /// The `count` field after the call.
    pub count: u32,
    /// The position after the last element, for the next call.
    pub out_batch: Vec<u8>,
    /// The keys' buffer, as long as asked for.
    pub keys: Vec<u8>,
    /// The values' buffer, as long as asked for.
    pub values: Vec<u8>,
}

/// Flags of a batch operation.
#[derive(Debug, Clone, Copy, Default)]
pub struct BatchFlags {
    /// `elem_flags`.
    pub elem: u64,
    /// `flags`.
    pub batch: u64,
}

impl Map {
    /// `BPF_MAP_LOOKUP_BATCH` from `in_batch` (empty: from the start).
    #[must_use]
    pub fn lookup_batch(&self, in_batch: &[u8], count: u32, flags: BatchFlags) -> Batch {
        self.read_batch(Cmd::MapLookupBatch, in_batch, count, flags)
    }

    /// `BPF_MAP_LOOKUP_AND_DELETE_BATCH` from `in_batch` (empty: from the start).
    #[must_use]
    pub fn lookup_and_delete_batch(&self, in_batch: &[u8], count: u32, flags: BatchFlags) -> Batch {
        self.read_batch(Cmd::MapLookupAndDeleteBatch, in_batch, count, flags)
    }

    /// `BPF_MAP_UPDATE_BATCH` of the elements in `keys` and `values`, end to end.
    #[must_use]
    pub fn update_batch(&self, keys: &[u8], values: &[u8], count: u32, flags: BatchFlags) -> Batch {
        self.batch(Cmd::MapUpdateBatch, &[], keys, values, count, flags)
    }

    /// `BPF_MAP_DELETE_BATCH` of the `keys`, end to end.
    #[must_use]
    pub fn delete_batch(&self, keys: &[u8], count: u32, flags: BatchFlags) -> Batch {
        self.batch(Cmd::MapDeleteBatch, &[], keys, &[], count, flags)
    }

    fn read_batch(&self, cmd: Cmd, in_batch: &[u8], count: u32, flags: BatchFlags) -> Batch {
        let keys = vec![0; self.info().key_size as usize * count as usize];
        let values = vec![0; self.value_len() * count as usize];
        self.batch(cmd, in_batch, &keys, &values, count, flags)
    }

    fn batch(
        &self,
        cmd: Cmd,
        in_batch: &[u8],
        keys: &[u8],
        values: &[u8],
        count: u32,
        flags: BatchFlags,
    ) -> Batch {
        // Hash maps keep a u32 there, all others a key.
        let mut out_batch = Buf::zeroed((self.info().key_size as usize).max(4));
        let mut in_batch = (!in_batch.is_empty()).then(|| Buf::copy_of(in_batch));
        let mut keys = Buf::copy_of(keys);
        let mut values = Buf::copy_of(values);
        let mut attr = Attr::new(56);
        attr.opt(0, in_batch.as_mut()).buf(8, &mut out_batch);
        attr.buf(16, &mut keys).buf(24, &mut values);
        attr.u32(32, count).u32(36, self.fd().cast_unsigned());
        attr.u64(40, flags.elem).u64(48, flags.batch);
        let errno = attr.call(cmd).err();
        let count = attr.get_u32(32);
        Batch {
            errno,
            count,
            out_batch: out_batch.bytes().to_vec(),
            keys: keys.bytes().to_vec(),
            values: values.bytes().to_vec(),
        }
    }
}
