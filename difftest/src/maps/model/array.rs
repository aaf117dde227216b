//! ARRAY: elements 0 to n, which are always there.

use skep_oracle::Errno;
use skep_oracle::script::MapDecl;

use super::{Batches, EXIST, LOCK, NOEXIST, Result, Rules, index, next_index, without_lock};

pub(super) struct Array {
    values: Vec<Vec<u8>>,
    lock: Option<u32>,
}

impl Array {
    pub(super) fn new(decl: &MapDecl) -> Self {
        let values = vec![vec![0; decl.value_size as usize]; decl.max_entries as usize];
        Self { values, lock: decl.lock }
    }

    fn at(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.values.get(index(key) as usize).cloned()
    }
}

impl Rules for Array {
    fn lookup(&self, key: &[u8], _value: &[u8]) -> Result<Vec<u8>> {
        self.at(key).ok_or(Errno::ENOENT)
    }

    fn update(&mut self, key: &[u8], value: &[u8], flags: u64) -> Result<()> {
        if flags & !LOCK > EXIST {
            return Err(Errno::EINVAL);
        }
        let old = self.values.get_mut(index(key) as usize).ok_or(Errno::E2BIG)?;
        if flags & NOEXIST != 0 {
            return Err(Errno::EEXIST);
        }
        if flags & LOCK != 0 && self.lock.is_none() {
            return Err(Errno::EINVAL);
        }
        *old = without_lock(self.lock, value);
        Ok(())
    }

    fn delete(&mut self, _key: &[u8]) -> Result<()> {
        Err(Errno::EINVAL)
    }

    fn next_key(&self, key: Option<&[u8]>) -> Result<Vec<u8>> {
        next_index(key, u32::try_from(self.values.len()).expect("a small model"))
    }

    fn batches(&self) -> Batches {
        Batches::Keys
    }

    fn program_lookup(&self, key: &[u8], _cpu: usize) -> Option<Option<Vec<u8>>> {
        Some(self.at(key))
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
        let key = |at: u32| at.to_ne_bytes().to_vec();
        Some((0..).map(key).zip(self.values.iter().cloned()).collect())
    }
}
