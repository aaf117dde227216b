//! HASH: at most `max_entries` values by key.

use std::collections::BTreeMap;

use skep_oracle::Errno;
use skep_oracle::script::MapDecl;

use super::{Batches, EXIST, LOCK, Result, Rules, next_of, presence, without_lock};

pub(super) struct Hash {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    max: usize,
    lock: Option<u32>,
}

impl Hash {
    pub(super) fn new(decl: &MapDecl) -> Self {
        Self { values: BTreeMap::new(), max: decl.max_entries as usize, lock: decl.lock }
    }
}

impl Rules for Hash {
    fn lookup(&self, key: &[u8], _value: &[u8]) -> Result<Vec<u8>> {
        self.values.get(key).cloned().ok_or(Errno::ENOENT)
    }

    fn update(&mut self, key: &[u8], value: &[u8], flags: u64) -> Result<()> {
        if flags & !LOCK > EXIST || flags & LOCK != 0 && self.lock.is_none() {
            return Err(Errno::EINVAL);
        }
        let is_there = self.values.contains_key(key);
        presence(flags & !LOCK, is_there)?;
        if !is_there && self.values.len() == self.max {
            return Err(Errno::E2BIG);
        }
        self.values.insert(key.to_vec(), without_lock(self.lock, value));
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.values.remove(key).map(drop).ok_or(Errno::ENOENT)
    }

    fn lookup_and_delete(&mut self, key: &[u8]) -> Result<Vec<u8>> {
        self.values.remove(key).ok_or(Errno::ENOENT)
    }

    fn next_key(&self, key: Option<&[u8]>) -> Result<Vec<u8>> {
        next_of(&self.values, key)
    }

    fn batches(&self) -> Batches {
        Batches::Buckets
    }

    fn program_lookup(&self, key: &[u8], _cpu: usize) -> Option<Option<Vec<u8>>> {
        Some(self.values.get(key).cloned())
    }

    fn program_update(
        &mut self,
        key: &[u8],
        value: &[u8],
        flags: u64,
        _cpu: usize,
    ) -> Option<Result<()>> {
        Some(self.update(key, value, flags))
    }

    fn program_delete(&mut self, key: &[u8]) -> Option<Result<()>> {
        Some(self.delete(key))
    }

    fn elements(&self, _cpu: usize) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        Some(self.values.clone().into_iter().collect())
    }
}
