//! PERCPU_ARRAY: elements 0 to n, each with a value for each CPU.

use skep_oracle::Errno;
use skep_oracle::script::MapDecl;

use super::{Batches, EXIST, LOCK, NOEXIST, Result, Rules, index, next_index};

pub(super) struct PercpuArray {
    /// Of each element the CPUs' values, each rounded up to eight bytes.
    values: Vec<Vec<Vec<u8>>>,
    value_size: usize,
}

impl PercpuArray {
    pub(super) fn new(decl: &MapDecl, cpus: usize) -> Self {
        let value_size = decl.value_size as usize;
        let one = vec![vec![0; value_size.next_multiple_of(8)]; cpus];
        Self { values: vec![one; decl.max_entries as usize], value_size }
    }

    fn on(&self, key: &[u8], cpu: usize) -> Option<Vec<u8>> {
        let value = self.values.get(index(key) as usize)?.get(cpu)?;
        Some(value[..self.value_size].to_vec())
    }

    fn changes(&mut self, key: &[u8], flags: u64) -> Result<&mut Vec<Vec<u8>>> {
        if flags & !LOCK > EXIST {
            return Err(Errno::EINVAL);
        }
        let values = self.values.get_mut(index(key) as usize).ok_or(Errno::E2BIG)?;
        if flags & NOEXIST != 0 {
            return Err(Errno::EEXIST);
        }
        // There is no lock in it.
        if flags & LOCK != 0 { Err(Errno::EINVAL) } else { Ok(values) }
    }
}

impl Rules for PercpuArray {
    fn lookup(&self, key: &[u8], _value: &[u8]) -> Result<Vec<u8>> {
        let values = self.values.get(index(key) as usize);
        values.map(|values| values.concat()).ok_or(Errno::ENOENT)
    }

    fn update(&mut self, key: &[u8], value: &[u8], flags: u64) -> Result<()> {
        let size = self.value_size.next_multiple_of(8);
        let values = self.changes(key, flags)?;
        *values = value.chunks(size).map(<[u8]>::to_vec).collect();
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
        let keys = (0..u32::try_from(self.values.len()).ok()?).map(|at| at.to_ne_bytes().to_vec());
        keys.map(|key| Some((key.clone(), self.on(&key, cpu)?))).collect()
    }
}
