//! QUEUE and STACK: values that come out in the order in which they went in, or in its
//! reverse.

use std::collections::VecDeque;

use skep_oracle::Errno;
use skep_oracle::script::MapDecl;

use super::{EXIST, NOEXIST, Result, Rules};

pub(super) struct Queue {
    /// The oldest first.
    values: VecDeque<Vec<u8>>,
    max: usize,
    is_stack: bool,
}

impl Queue {
    pub(super) fn new(decl: &MapDecl) -> Self {
        let is_stack = decl.map_type == "stack";
        Self { values: VecDeque::new(), max: decl.max_entries as usize, is_stack }
    }

    fn put(&mut self, value: &[u8], flags: u64) -> Result<()> {
        if flags & NOEXIST != 0 || flags > EXIST {
            return Err(Errno::EINVAL);
        }
        if self.values.len() == self.max {
            if flags != EXIST {
                return Err(Errno::E2BIG);
            }
            self.values.pop_front();
        }
        self.values.push_back(value.to_vec());
        Ok(())
    }

    fn next(&self) -> Result<Vec<u8>> {
        let next = if self.is_stack { self.values.back() } else { self.values.front() };
        next.cloned().ok_or(Errno::ENOENT)
    }

    fn take(&mut self) -> Result<Vec<u8>> {
        let next = if self.is_stack { self.values.pop_back() } else { self.values.pop_front() };
        next.ok_or(Errno::ENOENT)
    }
}

impl Rules for Queue {
    fn lookup(&self, _key: &[u8], _value: &[u8]) -> Result<Vec<u8>> {
        self.next()
    }

    fn update(&mut self, _key: &[u8], value: &[u8], flags: u64) -> Result<()> {
        self.put(value, flags)
    }

    fn delete(&mut self, _key: &[u8]) -> Result<()> {
        Err(Errno::EINVAL)
    }

    fn lookup_and_delete(&mut self, _key: &[u8]) -> Result<Vec<u8>> {
        self.take()
    }

    fn next_key(&self, _key: Option<&[u8]>) -> Result<Vec<u8>> {
        Err(Errno::EINVAL)
    }

    fn push(&mut self, value: &[u8], flags: u64) -> Option<Result<()>> {
        Some(self.put(value, flags))
    }

    fn pop(&mut self) -> Option<Result<Vec<u8>>> {
        Some(self.take())
    }

    fn peek(&self, _value: &[u8]) -> Option<Result<Vec<u8>>> {
        Some(self.next())
    }
}
