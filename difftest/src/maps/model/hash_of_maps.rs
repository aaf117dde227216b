//! HASH_OF_MAPS: maps by key. User space alone puts them in, and one by one they are only
//! looked up or deleted, not both at once.

use skep_oracle::script::MapDecl;

use super::hash::Hash;
use super::{Batches, Result, Rules};

pub(super) struct HashOfMaps {
    maps: Hash,
}

impl HashOfMaps {
    pub(super) fn new(decl: &MapDecl) -> Self {
        Self { maps: Hash::new(decl) }
    }
}

impl Rules for HashOfMaps {
    fn lookup(&self, key: &[u8], value: &[u8]) -> Result<Vec<u8>> {
        self.maps.lookup(key, value)
    }

    fn update(&mut self, key: &[u8], value: &[u8], flags: u64) -> Result<()> {
        self.maps.update(key, value, flags)
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.maps.delete(key)
    }

    fn next_key(&self, key: Option<&[u8]>) -> Result<Vec<u8>> {
        self.maps.next_key(key)
    }

    fn batches(&self) -> Batches {
        Batches::Buckets
    }

    fn program_lookup(&self, key: &[u8], cpu: usize) -> Option<Option<Vec<u8>>> {
        self.maps.program_lookup(key, cpu)
    }
}
