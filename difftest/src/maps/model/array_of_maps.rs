//! ARRAY_OF_MAPS: places 0 to n for maps.

use skep_oracle::Errno;
use skep_oracle::script::MapDecl;

use super::{Batches, Result, Rules, index, next_index};

pub(super) struct ArrayOfMaps {
    places: Vec<Option<Vec<u8>>>,
}

impl ArrayOfMaps {
    pub(super) fn new(decl: &MapDecl) -> Self {
        Self { places: vec![None; decl.max_entries as usize] }
    }
}

impl Rules for ArrayOfMaps {
    fn lookup(&self, key: &[u8], _value: &[u8]) -> Result<Vec<u8>> {
        self.places.get(index(key) as usize).cloned().flatten().ok_or(Errno::ENOENT)
    }

    fn update(&mut self, key: &[u8], value: &[u8], flags: u64) -> Result<()> {
        if flags != 0 {
            return Err(Errno::EINVAL);
        }
        let place = self.places.get_mut(index(key) as usize).ok_or(Errno::E2BIG)?;
        *place = Some(value.to_vec());
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        let place = self.places.get_mut(index(key) as usize).ok_or(Errno::E2BIG)?;
        place.take().map(drop).ok_or(Errno::ENOENT)
    }

    fn next_key(&self, key: Option<&[u8]>) -> Result<Vec<u8>> {
        next_index(key, u32::try_from(self.places.len()).expect("a small model"))
    }

    fn batches(&self) -> Batches {
        Batches::Keys
    }

    fn program_lookup(&self, key: &[u8], _cpu: usize) -> Option<Option<Vec<u8>>> {
        Some(self.lookup(key, &[]).ok())
    }
}
