//! LPM_TRIE: values by prefix, of which the longest that matches is found. A key is the
//! prefix's length in bits, 4 bytes, and the bits, the most significant first.

use std::cmp::Ordering;

use skep_oracle::Errno;
use skep_oracle::script::MapDecl;

use super::{Batches, EXIST, Result, Rules, presence};

pub(super) struct LpmTrie {
    /// In the order of a walk: what a prefix contains comes before it, zeros before ones.
    entries: Vec<Entry>,
    max: usize,
    max_len: u32,
}

struct Entry {
    bits: Vec<bool>,
    /// As it was given, with what stands behind the prefix.
    key: Vec<u8>,
    value: Vec<u8>,
}

impl LpmTrie {
    pub(super) fn new(decl: &MapDecl) -> Self {
        let max_len = (decl.key_size - 4) * 8;
        Self { entries: Vec::new(), max: decl.max_entries as usize, max_len }
    }

    /// The prefix of a key; `None` when it is too long.
    fn bits(&self, key: &[u8]) -> Option<Vec<bool>> {
        let (len, data) = key.split_at(4);
        let len = u32::from_ne_bytes(len.try_into().ok()?);
        let bit = |at: u32| data[at as usize / 8] >> (7 - at % 8) & 1 == 1;
        (len <= self.max_len).then(|| (0..len).map(bit).collect())
    }

    fn longest(&self, key: &[u8]) -> Option<Vec<u8>> {
        let bits = self.bits(key)?;
        let matching = self.entries.iter().filter(|entry| bits.starts_with(&entry.bits));
        Some(matching.max_by_key(|entry| entry.bits.len())?.value.clone())
    }

    /// Where a prefix stands, or where it would.
    fn place(&self, bits: &[bool]) -> std::result::Result<usize, usize> {
        self.entries.binary_search_by(|entry| {
            let common = entry.bits.len().min(bits.len());
            let longer_first = bits.len().cmp(&entry.bits.len());
            match entry.bits[..common].cmp(&bits[..common]) {
                Ordering::Equal => longer_first,
                other => other,
            }
        })
    }
}

impl Rules for LpmTrie {
    fn lookup(&self, key: &[u8], _value: &[u8]) -> Result<Vec<u8>> {
        self.longest(key).ok_or(Errno::ENOENT)
    }

    fn update(&mut self, key: &[u8], value: &[u8], flags: u64) -> Result<()> {
        if flags > EXIST {
            return Err(Errno::EINVAL);
        }
        let bits = self.bits(key).ok_or(Errno::EINVAL)?;
        let place = self.place(&bits);
        presence(flags, place.is_ok())?;
        let entry = Entry { bits, key: key.to_vec(), value: value.to_vec() };
        match place {
            Ok(at) => self.entries[at] = entry,
            Err(_) if self.entries.len() == self.max => return Err(Errno::ENOSPC),
            Err(at) => self.entries.insert(at, entry),
        }
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        let bits = self.bits(key).ok_or(Errno::EINVAL)?;
        let at = self.place(&bits).map_err(|_| Errno::ENOENT)?;
        self.entries.remove(at);
        Ok(())
    }

    fn next_key(&self, key: Option<&[u8]>) -> Result<Vec<u8>> {
        let bits = key.and_then(|key| self.bits(key));
        let place = bits.and_then(|bits| self.place(&bits).ok());
        let next = place.map_or(0, |at| at + 1);
        self.entries.get(next).map(|entry| entry.key.clone()).ok_or(Errno::ENOENT)
    }

    fn batches(&self) -> Batches {
        Batches::KeysAndDelete
    }

    fn program_lookup(&self, key: &[u8], _cpu: usize) -> Option<Option<Vec<u8>>> {
        Some(self.longest(key))
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
}
