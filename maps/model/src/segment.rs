//! In place of `maps/src/segment.rs`: cells that loom watches.

use std::marker::PhantomData;

use crate::patience::Patience;
use crate::sync::{AtomicU32, AtomicU64};

/// Cells of 32 bits.
pub(crate) type Cells32 = Box<[AtomicU32]>;
/// Cells of 64 bits.
pub(crate) type Cells64 = Box<[AtomicU64]>;

/// Makes cells.
#[derive(Debug, Default)]
pub(crate) struct Parts<'s>(PhantomData<&'s ()>);

impl Parts<'_> {
    pub(crate) fn cells32(&mut self, count: u64) -> Cells32 {
        (0..count).map(|_| AtomicU32::new(0)).collect()
    }

    pub(crate) fn patience(&self) -> Patience {
        Patience::endless()
    }

    pub(crate) fn cells64(&mut self, count: u64) -> Cells64 {
        (0..count).map(|_| AtomicU64::new(0)).collect()
    }
}
