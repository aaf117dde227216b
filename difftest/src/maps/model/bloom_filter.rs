//! BLOOM_FILTER: a set that may say yes where it should say no. The model never does: it
//! is asked only for values that are in.

use std::collections::BTreeSet;

use skep_oracle::Errno;

use super::{Result, Rules};

#[derive(Default)]
pub(super) struct BloomFilter {
    values: BTreeSet<Vec<u8>>,
}

impl BloomFilter {
    fn put(&mut self, value: &[u8], flags: u64) -> Result<()> {
        if flags != 0 {
            return Err(Errno::EINVAL);
        }
        self.values.insert(value.to_vec());
        Ok(())
    }

    fn has(&self, value: &[u8]) -> Result<Vec<u8>> {
        self.values.get(value).cloned().ok_or(Errno::ENOENT)
    }
}

impl Rules for BloomFilter {
    fn lookup(&self, _key: &[u8], value: &[u8]) -> Result<Vec<u8>> {
        self.has(value)
    }

    fn update(&mut self, _key: &[u8], value: &[u8], flags: u64) -> Result<()> {
        self.put(value, flags)
    }

    fn delete(&mut self, _key: &[u8]) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }

    fn next_key(&self, _key: Option<&[u8]>) -> Result<Vec<u8>> {
        Err(Errno::EOPNOTSUPP)
    }

    fn push(&mut self, value: &[u8], flags: u64) -> Option<Result<()>> {
        Some(self.put(value, flags))
    }

    fn peek(&self, value: &[u8]) -> Option<Result<Vec<u8>>> {
        Some(self.has(value))
    }
}
