//! SOCKHASH: sockets by key (kernel `sock_map.c`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use skep_memory::GuestPtr;

use super::hash::check_presence;
use super::sockmap::{
    OPS, check_entries, check_number, cookie_room, socket_of_program, socket_of_user,
};
use super::{Refusal, Rules, check_flags, rule};
use crate::budget::Meter;
use crate::flags::{BPF_EXIST, BPF_F_NUMA_NODE, BPF_F_RDONLY, BPF_F_WRONLY};
use crate::index::{Key, Table};
use crate::jhash::jhash;
use crate::map::Source;
use crate::mutex::lock;
use crate::order::Order;
use crate::segment::{Cells32, build};
use crate::socket::{Hold, Holder, Socket};
use crate::sync::Ordering;
use crate::{Core, Errno, Map, MapDef, World};

/// `struct bpf_shtab`, its buckets and its elements without their keys, of Linux 6.18 on
/// x86-64, in bytes.
const MAP_BYTES: u64 = 384;
const BUCKET_BYTES: u64 = 16;
const ELEMENT_BYTES: u64 = 48;
/// The longest key (`MAX_BPF_STACK`).
const LONGEST_KEY: u32 = 512;
/// The table of buckets must be smaller than 4 GiB.
const MOST_ENTRIES: u32 = 1 << 27;

pub(super) static RULES: Rules = Rules { ops: OPS, ..Rules::new(check, make) };

/// Kernel `sock_hash_alloc`.
fn check(_world: &World, def: &MapDef) -> Result<(), Refusal> {
    check_entries(def)?;
    rule(def.key_size > 0, Errno::EINVAL, || "key_size must not be 0".to_owned())?;
    check_number(def)?;
    check_flags(def, BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY)?;
    rule(def.key_size <= LONGEST_KEY, Errno::E2BIG, || {
        format!("the key of this type has at most {LONGEST_KEY} bytes, not {}", def.key_size)
    })?;
    rule(def.max_entries <= MOST_ENTRIES, Errno::EINVAL, || {
        format!("max_entries may be {MOST_ENTRIES}, not {}", def.max_entries)
    })
}

/// What the kernel takes for an element.
fn element_bytes(def: &MapDef) -> u64 {
    ELEMENT_BYTES + u64::from(def.key_size).next_multiple_of(8)
}

fn make(world: &Arc<World>, core: Core) -> Result<Arc<dyn Map>, Errno> {
    let table = Table::new(core.def(), core.home(), world.cpus(), u32::MAX)?;
    let table = table.metered(Meter::new(&core, element_bytes(core.def())));
    let count = u64::from(table.ids());
    let sockets = build(core.home(), &core.def().name, |parts| parts.cells32(count))?;
    let kept = Mutex::new(Kept { order: Order::new(), holds: HashMap::new() });
    Ok(Arc::new(Sockhash { core, table, sockets, kept }))
}

#[derive(Debug)]
struct Sockhash {
    core: Core,
    table: Table,
    /// Where programs see each element's socket.
    sockets: Cells32,
    /// Writers hold it.
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    order: Order<Vec<u8>>,
    holds: HashMap<Vec<u8>, Hold>,
}

impl Sockhash {
    /// Kernel `sock_hash_update_common`.
    fn put(&self, key: &[u8], socket: Arc<Socket>, flags: u64) -> Result<(), Errno> {
        if flags > BPF_EXIST {
            return Err(Errno::EINVAL);
        }
        let ptr = socket.ptr();
        let mut kept = lock(&self.kept);
        let hold = Hold::new(socket, Holder::Map, self.core.weak())?;
        check_presence(kept.holds.contains_key(key), flags)?;
        self.link(&Key::new(key), ptr)?;
        kept.order.insert(key.to_vec(), jhash(key, 0) & (self.buckets() - 1));
        let gone = kept.holds.insert(key.to_vec(), hold);
        drop(kept);
        drop(gone);
        Ok(())
    }

    /// Shows a socket to readers.
    fn link(&self, key: &Key<'_>, socket: GuestPtr) -> Result<(), Errno> {
        let show = |id: u32| self.sockets[id as usize].store(socket.offset(), Ordering::Relaxed);
        let bucket = self.table.index.lock(key).ok_or(Errno::EBUSY)?;
        let Some(old) = bucket.find(key) else {
            let id = self.table.take()?;
            show(id);
            bucket.insert(id, key);
            return Ok(());
        };
        let spare = self.table.take_spare()?;
        show(spare.id);
        bucket.replace(old, spare.id, key);
        self.table.put_spare(spare, old.id);
        Ok(())
    }

    fn take(&self, kept: &mut Kept, key: &[u8]) -> Option<Hold> {
        let hold = kept.holds.remove(key)?;
        kept.order.remove(&key.to_vec());
        self.table.remove(key, |_| {}).ok()?;
        Some(hold)
    }

    fn buckets(&self) -> u32 {
        self.core.def().max_entries.next_power_of_two()
    }
}

impl Map for Sockhash {
    fn core(&self) -> &Core {
        &self.core
    }

    #[inline]
    fn lookup(&self, key: &[u8], _cpu: u32) -> Option<GuestPtr> {
        loop {
            let found = self.table.index.find(key)?;
            let socket = self.sockets[found.id as usize].load(Ordering::Relaxed);
            if self.table.index.still(found) {
                return Some(GuestPtr::new(socket));
            }
        }
    }

    fn update(&self, key: &[u8], value: Source<'_>, flags: u64, _cpu: u32) -> Result<(), Errno> {
        self.put(key, socket_of_program(self.core.world(), value)?, flags)
    }

    fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        let gone = self.take(&mut lock(&self.kept), key);
        gone.map(drop).ok_or(Errno::ENOENT)
    }

    fn user_lookup(&self, key: &[u8], _flags: u64, out: &mut [u8]) -> Result<(), Errno> {
        let out = cookie_room(out)?;
        let kept = lock(&self.kept);
        *out = kept.holds.get(key).ok_or(Errno::ENOENT)?.socket().cookie().to_le_bytes();
        Ok(())
    }

    fn user_update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.put(key, socket_of_user(self.core.world(), value)?, flags)
    }

    fn user_next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        let kept = lock(&self.kept);
        let found = kept.order.next(key.map(<[u8]>::to_vec).as_ref()).ok_or(Errno::ENOENT)?;
        next.copy_from_slice(found);
        Ok(())
    }

    fn forget(&self, socket: GuestPtr) {
        let mut kept = lock(&self.kept);
        let leaving = kept.holds.iter().filter(|(_, own)| own.socket().ptr() == socket);
        let leaving: Vec<Vec<u8>> = leaving.map(|(key, _)| key.clone()).collect();
        let gone: Vec<_> = leaving.iter().map(|key| self.take(&mut kept, key)).collect();
        drop(kept);
        drop(gone);
    }

    fn memory_usage(&self) -> u64 {
        let elements = lock(&self.kept).holds.len() as u64;
        let table = u64::from(self.buckets()) * BUCKET_BYTES;
        MAP_BYTES + table + elements * element_bytes(self.core.def())
    }
}
