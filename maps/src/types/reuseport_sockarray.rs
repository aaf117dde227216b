//! REUSEPORT_SOCKARRAY: the sockets that share a port, by index (kernel
//! `reuseport_array.c`).

use std::sync::Arc;

use skep_memory::GuestPtr;

use super::hash::check_presence;
use super::sockmap::{check_number, cookie_room, number};
use super::{Keys, Refusal, Rules, check_array, check_flags, index_of, next_index};
use crate::flags::{BPF_EXIST, BPF_F_ACCESS_MASK, BPF_F_NUMA_NODE};
use crate::slots::Slots;
use crate::socket::{Hold, Holder, Socket};
use crate::{Core, Errno, Map, MapDef, World};

/// `struct reuseport_array` of Linux 6.18 on x86-64, in bytes.
const MAP_BYTES: u64 = 296;

pub(super) static RULES: Rules = Rules { keys: Keys::Index, ..Rules::new(check, make) };

/// Kernel `reuseport_array_alloc_check`.
fn check(_world: &World, def: &MapDef) -> Result<(), Refusal> {
    check_number(def)?;
    check_flags(def, BPF_F_NUMA_NODE | BPF_F_ACCESS_MASK)?;
    check_array(def)
}

fn make(_world: &Arc<World>, core: Core) -> Result<Arc<dyn Map>, Errno> {
    let slots = Slots::new(&core)?;
    Ok(Arc::new(ReuseportSockarray { core, slots }))
}

#[derive(Debug)]
struct ReuseportSockarray {
    core: Core,
    /// The sockets; a slot's word is where programs would see its socket.
    slots: Slots<Hold>,
}

impl Map for ReuseportSockarray {
    fn core(&self) -> &Core {
        &self.core
    }

    fn user_lookup(&self, key: &[u8], _flags: u64, out: &mut [u8]) -> Result<(), Errno> {
        let out = cookie_room(out)?;
        let cookie = self.slots.with(index_of(key), |own| own.socket().cookie());
        *out = cookie.ok_or(Errno::ENOENT)?.to_le_bytes();
        Ok(())
    }

    /// Kernel `bpf_fd_reuseport_array_update_elem`.
    fn user_update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        let index = index_of(key);
        if flags > BPF_EXIST {
            return Err(Errno::EINVAL);
        }
        if index >= self.core.def().max_entries {
            return Err(Errno::E2BIG);
        }
        let number = match value.len() {
            8 => number(value)?,
            _ => index_of(value),
        };
        let socket: Option<Arc<Socket>> = self.core.world().resources().socket(number)?;
        let word = socket.as_ref().map_or(0, |socket| socket.ptr().addr());
        let gone = self.slots.change(index, word, |own| {
            check_presence(own.is_some(), flags)?;
            let socket = socket.ok_or(Errno::ENOTSUPP)?;
            socket.def().check_reuse_port()?;
            Hold::new(socket, Holder::Array, self.core.weak()).map(Some)
        })?;
        drop(gone);
        Ok(())
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        let index = index_of(key);
        if index >= self.core.def().max_entries {
            return Err(Errno::E2BIG);
        }
        self.slots.take(index).map(drop).ok_or(Errno::ENOENT)
    }

    fn user_next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        next_index(key, self.core.def().max_entries, next)
    }

    fn forget(&self, socket: GuestPtr) {
        drop(self.slots.take_all(|own| own.socket().ptr() == socket));
    }

    fn memory_usage(&self) -> u64 {
        MAP_BYTES + u64::from(self.core.def().max_entries) * 8
    }
}
