//! XSKMAP: AF_XDP sockets by index (kernel `xskmap.c`).

use std::sync::Arc;

use skep_memory::GuestPtr;

use super::hash::check_presence;
use super::{Keys, Refusal, Rules, check_flags, index_of, next_index, rule};
use crate::flags::{BPF_EXIST, BPF_F_NUMA_NODE, BPF_F_RDONLY, BPF_F_WRONLY};
use crate::map::{Destination, ProgramOp as Op};
use crate::slots::Slots;
use crate::socket::XdpSocket;
use crate::{Core, Errno, Map, MapDef, World};

/// `struct xsk_map` of Linux 6.18 on x86-64, in bytes.
const MAP_BYTES: u64 = 304;

pub(super) static RULES: Rules =
    Rules { keys: Keys::Index, ops: &[Op::Lookup, Op::Redirect], ..Rules::new(check, make) };

/// Kernel `xsk_map_alloc`.
fn check(_world: &World, def: &MapDef) -> Result<(), Refusal> {
    rule(def.max_entries > 0, Errno::EINVAL, || "max_entries must not be 0".to_owned())?;
    for (name, size) in [("key", def.key_size), ("value", def.value_size)] {
        rule(size == 4, Errno::EINVAL, || {
            format!("the {name} of this type is 4 bytes, not {size}")
        })?;
    }
    check_flags(def, BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY)
}

fn make(_world: &Arc<World>, core: Core) -> Result<Arc<dyn Map>, Errno> {
    let slots = Slots::new(&core)?;
    Ok(Arc::new(Xskmap { core, slots }))
}

#[derive(Debug)]
struct Xskmap {
    core: Core,
    /// The sockets; a slot's word is where programs see its socket, and above that its
    /// queue.
    slots: Slots<Arc<XdpSocket>>,
}

impl Xskmap {
    /// Where programs see the socket in a slot, and its queue.
    fn slot(&self, index: u32) -> Option<(GuestPtr, u32)> {
        let slot = self.slots.get(index)?;
        let [offset, queue] = [slot & u64::from(u32::MAX), slot >> 32]
            .map(|half| u32::try_from(half).expect("32 bits are left"));
        Some((GuestPtr::new(offset), queue))
    }
}

impl Map for Xskmap {
    fn core(&self) -> &Core {
        &self.core
    }

    #[inline]
    fn lookup(&self, key: &[u8], _cpu: u32) -> Option<GuestPtr> {
        Some(self.slot(index_of(key))?.0)
    }

    fn destination(&self, key: u32) -> Option<Destination> {
        Some(Destination::Socket { queue: self.slot(key)?.1 })
    }

    fn user_lookup(&self, _key: &[u8], _flags: u64, _out: &mut [u8]) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Kernel `xsk_map_update_elem`: the socket that is there may be put there again,
    /// whatever the flags.
    fn user_update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        let index = index_of(key);
        if flags > BPF_EXIST {
            return Err(Errno::EINVAL);
        }
        if index >= self.core.def().max_entries {
            return Err(Errno::E2BIG);
        }
        let world = self.core.world();
        let socket: Arc<XdpSocket> = world.resources().socket(index_of(value))?;
        let slot = u64::from(socket.queue()) << 32 | socket.ptr().addr();
        let gone = self.slots.change(index, slot, |own| {
            if own.is_some_and(|own| Arc::ptr_eq(own, &socket)) {
                return Ok(None);
            }
            check_presence(own.is_some(), flags)?;
            socket.links().add(world.weak(&self.core).ok_or(Errno::EBADF)?)?;
            Ok(Some(Arc::clone(&socket)))
        })?;
        drop(gone);
        Ok(())
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        let index = index_of(key);
        if index >= self.core.def().max_entries {
            return Err(Errno::EINVAL);
        }
        drop(self.slots.take(index));
        Ok(())
    }

    fn user_next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        next_index(key, self.core.def().max_entries, next)
    }

    fn forget(&self, socket: GuestPtr) {
        drop(self.slots.take_all(|own| own.ptr() == socket));
    }

    fn memory_usage(&self) -> u64 {
        MAP_BYTES + u64::from(self.core.def().max_entries) * 8
    }
}
