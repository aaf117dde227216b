//! SOCKMAP: sockets by index (kernel `sock_map.c`), and what it shares with SOCKHASH.

use std::sync::Arc;

use skep_memory::GuestPtr;

use super::hash::check_presence;
use super::{Keys, Refusal, Rules, check_flags, index_of, next_index, rule};
use crate::flags::{BPF_EXIST, BPF_F_NUMA_NODE, BPF_F_RDONLY, BPF_F_WRONLY};
use crate::map::{ProgramOp as Op, Source};
use crate::slots::Slots;
use crate::socket::{Hold, Holder, Socket};
use crate::{Core, Errno, Map, MapDef, World};

/// `struct bpf_stab` of Linux 6.18 on x86-64, in bytes.
const MAP_BYTES: u64 = 376;

pub(super) static RULES: Rules = Rules { keys: Keys::Index, ops: OPS, ..Rules::new(check, make) };

/// What programs may do with both types.
pub(super) const OPS: &[Op] = &[Op::Lookup, Op::Update, Op::Delete];

/// Kernel `sock_map_alloc`.
fn check(_world: &World, def: &MapDef) -> Result<(), Refusal> {
    check_entries(def)?;
    rule(def.key_size == 4, Errno::EINVAL, || {
        format!("the key of this type is 4 bytes, not {}", def.key_size)
    })?;
    check_number(def)?;
    check_flags(def, BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY)
}

pub(super) fn check_entries(def: &MapDef) -> Result<(), Refusal> {
    rule(def.max_entries > 0, Errno::EINVAL, || "max_entries must not be 0".to_owned())
}

/// Values are numbers of sockets or cookies.
pub(super) fn check_number(def: &MapDef) -> Result<(), Refusal> {
    rule(matches!(def.value_size, 4 | 8), Errno::EINVAL, || {
        format!("the value of this type is 4 bytes, or 8 for cookies, not {}", def.value_size)
    })
}

/// The number of a socket in a value from user space.
///
/// # Errors
///
/// `EINVAL` for a number that no descriptor can have.
pub(super) fn number(value: &[u8]) -> Result<u32, Errno> {
    let number = match value.try_into() {
        Ok(bytes) => u64::from_le_bytes(bytes),
        Err(_) => index_of(value).into(),
    };
    u32::try_from(number).ok().filter(|&n| n <= i32::MAX.cast_unsigned()).ok_or(Errno::EINVAL)
}

/// The socket in a value from user space (kernel `sock_map_update_elem_sys`).
///
/// # Errors
///
/// `EINVAL`, `EBADF` and `ENOTSOCK` for numbers that stand for no socket, `EOPNOTSUPP` for a
/// socket of a kind or in a state that the maps do not take.
pub(super) fn socket_of_user(world: &World, value: &[u8]) -> Result<Arc<Socket>, Errno> {
    let socket: Option<Arc<Socket>> = world.resources().socket(number(value)?)?;
    socket.filter(|socket| socket.def().is_suitable()).ok_or(Errno::EOPNOTSUPP)
}

/// The socket that a program gives (kernel `sock_map_update_elem`).
///
/// # Errors
///
/// `EINVAL` for what is no socket, `EOPNOTSUPP` for one that the maps do not take.
pub(super) fn socket_of_program(world: &World, value: Source<'_>) -> Result<Arc<Socket>, Errno> {
    let Source::Guest(value) = value else { return Err(Errno::EINVAL) };
    let socket = world.socket_at(value.ptr()).ok_or(Errno::EINVAL)?;
    Some(socket).filter(|socket| socket.def().is_suitable()).ok_or(Errno::EOPNOTSUPP)
}

/// Room for a cookie.
///
/// # Errors
///
/// `ENOSPC` when values have 4 bytes.
pub(super) fn cookie_room(out: &mut [u8]) -> Result<&mut [u8; 8], Errno> {
    out.try_into().map_err(|_| Errno::ENOSPC)
}

fn make(_world: &Arc<World>, core: Core) -> Result<Arc<dyn Map>, Errno> {
    let slots = Slots::new(&core)?;
    Ok(Arc::new(Sockmap { core, slots }))
}

#[derive(Debug)]
struct Sockmap {
    core: Core,
    /// The sockets; a slot's word is where programs see its socket.
    slots: Slots<Hold>,
}

impl Sockmap {
    /// Kernel `sock_map_update_common`.
    fn put(&self, key: &[u8], socket: Arc<Socket>, flags: u64) -> Result<(), Errno> {
        let index = index_of(key);
        if flags > BPF_EXIST {
            return Err(Errno::EINVAL);
        }
        if index >= self.core.def().max_entries {
            return Err(Errno::E2BIG);
        }
        let gone = self.slots.change(index, socket.ptr().addr(), |own| {
            let hold = Hold::new(socket, Holder::Map, self.core.weak())?;
            check_presence(own.is_some(), flags)?;
            Ok(Some(hold))
        })?;
        drop(gone);
        Ok(())
    }
}

impl Map for Sockmap {
    fn core(&self) -> &Core {
        &self.core
    }

    #[inline]
    fn lookup(&self, key: &[u8], _cpu: u32) -> Option<GuestPtr> {
        let word = self.slots.get(index_of(key))?;
        Some(GuestPtr::new(u32::try_from(word).expect("guest pointers have 32 bits")))
    }

    fn update(&self, key: &[u8], value: Source<'_>, flags: u64, _cpu: u32) -> Result<(), Errno> {
        self.put(key, socket_of_program(self.core.world(), value)?, flags)
    }

    /// Kernel `__sock_map_delete`.
    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        let index = index_of(key);
        if index >= self.core.def().max_entries {
            return Err(Errno::EINVAL);
        }
        self.slots.take(index).map(drop).ok_or(Errno::EINVAL)
    }

    fn user_lookup(&self, key: &[u8], _flags: u64, out: &mut [u8]) -> Result<(), Errno> {
        let out = cookie_room(out)?;
        let cookie = self.slots.with(index_of(key), |own| own.socket().cookie());
        *out = cookie.ok_or(Errno::ENOENT)?.to_le_bytes();
        Ok(())
    }

    fn user_update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.put(key, socket_of_user(self.core.world(), value)?, flags)
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
