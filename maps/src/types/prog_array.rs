//! PROG_ARRAY: programs to tail-call, by index (kernel `arraymap.c`).

use std::sync::Arc;

use super::array::ARRAY_BYTES;
use super::{Holds, Keys, Refusal, Rules, check_handle_array, index_of, next_index};
use crate::map::ProgramOp;
use crate::owner::Owner;
use crate::slots::Slots;
use crate::sync::AtomicU64;
use crate::world::ProgramRef;
use crate::{Core, Errno, Map, MapDef, World};

pub(super) static RULES: Rules = Rules {
    keys: Keys::Index,
    holds: Holds::Handle,
    ops: &[ProgramOp::TailCall],
    inner: false,
    ..Rules::new(check, make)
};

fn check(_world: &World, def: &MapDef) -> Result<(), Refusal> {
    check_handle_array(def)
}

fn make(_world: &Arc<World>, core: Core) -> Result<Arc<dyn Map>, Errno> {
    let slots = Slots::new(&core)?;
    Ok(Arc::new(ProgArray { core, slots, owner: Owner::default() }))
}

/// A map of programs.
#[derive(Debug)]
pub struct ProgArray {
    core: Core,
    /// The programs; a slot's word is its program's id.
    slots: Slots<ProgramRef>,
    owner: Owner,
}

impl ProgArray {
    /// The id of the program in a slot.
    #[inline]
    #[must_use]
    pub fn program(&self, index: u32) -> Option<u32> {
        Some(u32::try_from(self.slots.get(index)?).expect("it is an id"))
    }
}

impl ProgArray {
    /// The ids of the programs, by slot; 0 where there is none.
    #[must_use]
    pub fn ids(&self) -> &[AtomicU64] {
        self.slots.words()
    }
}

impl Map for ProgArray {
    fn core(&self) -> &Core {
        &self.core
    }

    fn claim(&self, kind: u32) -> Result<(), Errno> {
        self.owner.claim(kind)
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        let index = index_of(key);
        if index >= self.core.def().max_entries {
            return Err(Errno::E2BIG);
        }
        self.slots.take(index).map(drop).ok_or(Errno::ENOENT)
    }

    fn user_lookup(&self, key: &[u8], _flags: u64, out: &mut [u8]) -> Result<(), Errno> {
        let id = self.program(index_of(key)).ok_or(Errno::ENOENT)?;
        out.copy_from_slice(&id.to_le_bytes());
        Ok(())
    }

    fn user_update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        let index = index_of(key);
        if flags != 0 {
            return Err(Errno::EINVAL);
        }
        if index >= self.core.def().max_entries {
            return Err(Errno::E2BIG);
        }
        let program = self.core.world().program(index_of(value))?;
        self.owner.claim(program.kind)?;
        drop(self.slots.put(index, program.id.into(), program));
        Ok(())
    }

    fn user_next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        next_index(key, self.core.def().max_entries, next)
    }

    fn released(&self) {
        drop(self.slots.take_all(|_| true));
    }

    fn memory_usage(&self) -> u64 {
        ARRAY_BYTES + u64::from(self.core.def().max_entries) * 8
    }
}
