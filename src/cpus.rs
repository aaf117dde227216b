//! Which virtual CPUs have a runner.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::Error;

/// The virtual CPUs of a machine.
#[derive(Debug)]
pub(crate) struct Cpus {
    taken: Mutex<Vec<bool>>,
    freed: Condvar,
}

/// A virtual CPU that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Cpu {
    cpus: Arc<Cpus>,
    pub(crate) index: u32,
}

impl Cpus {
    pub(crate) fn new(count: u32) -> Arc<Self> {
        let taken = Mutex::new(vec![false; count as usize]);
        Arc::new(Self { taken, freed: Condvar::new() })
    }

    /// Takes a CPU, or the given one; waits until it is free.
    pub(crate) fn wait(self: &Arc<Self>, wanted: Option<u32>) -> Result<Cpu, Error> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.len();
        if wanted.is_some_and(|index| index as usize >= count) {
            return Err(self.none(count));
        }
        loop {
            if let Some(cpu) = self.find(&mut taken, wanted) {
                return Ok(cpu);
            }
            taken = self.freed.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes a CPU that is free now.
    pub(crate) fn take(self: &Arc<Self>, wanted: Option<u32>) -> Result<Cpu, Error> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.len();
        self.find(&mut taken, wanted).ok_or_else(|| self.none(count))
    }

    fn find(self: &Arc<Self>, taken: &mut [bool], wanted: Option<u32>) -> Option<Cpu> {
        let index = match wanted {
            Some(index) => Some(index as usize).filter(|&index| taken.get(index) == Some(&false)),
            None => taken.iter().position(|taken| !taken),
        }?;
        taken[index] = true;
        Some(Cpu { cpus: Arc::clone(self), index: u32::try_from(index).ok()? })
    }

    fn none(&self, count: usize) -> Error {
        Error::NoCpu { cpus: u32::try_from(count).unwrap_or(u32::MAX) }
    }
}

impl Drop for Cpu {
    fn drop(&mut self) {
        let mut taken = self.cpus.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken[self.index as usize] = false;
        self.cpus.freed.notify_all();
    }
}
