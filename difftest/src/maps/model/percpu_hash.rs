//! PERCPU_HASH: at most `max_entries` keys, each with a value for each CPU.

use std::collections::BTreeMap;

use skep_oracle::Errno;
use skep_oracle::script::MapDecl;

use super::{Batches, EXIST, Result, Rules, next_of, presence};

pub(super) struct PercpuHash {
    /// Of each element the CPUs' values, each rounded up to eight bytes.
    values: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
    max: usize,
    value_size: usize,
    cpus: usize,
}

impl PercpuHash {
    pub(super) fn new(decl: &MapDecl, cpus: usize) -> Self {
        let (max, value_size) = (decl.max_entries as usize, decl.value_size as usize);
        Self { values: BTreeMap::new(), max, value_size, cpus }
    }

    fn on(&self, key: &[u8], cpu: usize) -> Option<Vec<u8>> {
        Some(self.values.get(key)?.get(cpu)?[..self.value_size].to_vec())
    }

    /// The element, made of zeros if it is new.
    fn changes(&mut self, key: &[u8], flags: u64) -> Result<&mut Vec<Vec<u8>>> {
        // The flag for locks is no flag here.
        if flags > EXIST {
            return Err(Errno::EINVAL);
        }
        let is_there = self.values.contains_key(key);
        presence(flags, is_there)?;
        if !is_there && self.values.len() == self.max {
            return Err(Errno::E2BIG);
        }
        let new = || vec![vec![0; self.value_size.next_multiple_of(8)]; self.cpus];
        Ok(self.values.entry(key.to_vec()).or_insert_with(new))
    }
}

impl Rules for PercpuHash {
    fn lookup(&self, key: &[u8], _value: &[u8]) -> Result<Vec<u8>> {
        self.values.get(key).map(|values| values.concat()).ok_or(Errno::ENOENT)
    }

    fn update(&mut self, key: &[u8], value: &[u8], flags: u64) -> Result<()> {
        let size = self.value_size.next_multiple_of(8);
        let values = self.changes(key, flags)?;
        *values = value.chunks(size).map(<[u8]>::to_vec).collect();
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.values.remove(key).map(drop).ok_or(Errno::ENOENT)
    }

    fn lookup_and_delete(&mut self, key: &[u8]) -> Result<Vec<u8>> {
        self.values.remove(key).map(|values| values.concat()).ok_or(Errno::ENOENT)
    }

    fn next_key(&self, key: Option<&[u8]>) -> Result<Vec<u8>> {
        next_of(&self.values, key)
    }

    fn batches(&self) -> Batches {
        Batches::Buckets
    }

    fn program_lookup(&self, key: &[u8], cpu: usize) -> Option<Option<Vec<u8>>> {
        Some(self.on(key, cpu))
    }

    fn program_lookup_percpu(&self, key: &[u8], cpu: u64) -> Option<Option<Vec<u8>>> {
        Some(self.on(key, usize::try_from(cpu).unwrap_or(usize::MAX)))
    }

    fn program_update(
        &mut self,
        key: &[u8],
        value: &[u8],
        flags: u64,
        cpu: usize,
    ) -> Option<Result<()>> {
        let size = self.value_size;
        Some(self.changes(key, flags).map(|values| values[cpu][..size].copy_from_slice(value)))
    }

    fn program_delete(&mut self, key: &[u8]) -> Option<Result<()>> {
        Some(self.delete(key))
    }

    fn elements(&self, cpu: usize) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        self.values.keys().map(|key| Some((key.clone(), self.on(key, cpu)?))).collect()
    }
}
