//! Objects of user space that maps can hold besides maps and programs: perf events,
//! cgroups, sockets. In the kernel a file descriptor names them; here a number does.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};

use skep_memory::GuestPtr;

use crate::mutex::lock;
use crate::{Errno, World};

/// An object that a map can hold a reference to.
pub trait Resource: Any + Send + Sync + fmt::Debug {
    /// User space has closed it; a map may still hold it.
    fn closed(&self) {}

    /// Whether it is a socket of any kind.
    fn is_socket(&self) -> bool {
        false
    }

    /// The guest memory through which programs see it, if they do.
    fn memory(&self) -> Option<GuestPtr> {
        None
    }
}

/// The open objects of a world, by number.
#[derive(Debug, Default)]
pub(crate) struct Resources {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    last: u32,
    open: BTreeMap<u32, Weak<dyn Resource>>,
    /// Those that programs see, by the offset of their memory, until they are freed.
    seen: BTreeMap<u32, Weak<dyn Resource>>,
}

/// An open object. Its number is what user space stores in maps; it is closed when this
/// is dropped, and the number is not used again. A map that took the object keeps it.
#[derive(Debug)]
pub struct Descriptor<T: Resource> {
    world: Arc<World>,
    number: u32,
    object: Arc<T>,
}

impl<T: Resource> Descriptor<T> {
    /// Opens an object.
    #[must_use]
    pub fn open(world: &Arc<World>, object: T) -> Self {
        let object = Arc::new(object);
        let shared: Arc<dyn Resource> = Arc::<T>::clone(&object);
        let mut table = lock(&world.resources().table);
        table.last += 1;
        let number = table.last;
        table.open.insert(number, Arc::downgrade(&shared));
        if let Some(memory) = shared.memory() {
            table.seen.retain(|_, seen| seen.strong_count() > 0);
            table.seen.insert(memory.offset(), Arc::downgrade(&shared));
        }
        Self { world: Arc::clone(world), number, object }
    }

    /// The number that stands for the object.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The object.
    #[must_use]
    pub fn object(&self) -> &Arc<T> {
        &self.object
    }
}

impl<T: Resource> Drop for Descriptor<T> {
    fn drop(&mut self) {
        lock(&self.world.resources().table).open.remove(&self.number);
        self.object.closed();
    }
}

impl Resources {
    /// The open object with this number, if it is of kind `T`.
    ///
    /// # Errors
    ///
    /// `EBADF` when nothing is open there, `other` for an object of another kind.
    pub(crate) fn get<T: Resource>(&self, number: u32, other: Errno) -> Result<Arc<T>, Errno> {
        let object = lock(&self.table).open.get(&number).and_then(Weak::upgrade);
        let object: Arc<dyn Any + Send + Sync> = object.ok_or(Errno::EBADF)?;
        object.downcast().map_err(|_| other)
    }

    /// The open socket with this number; `None` for a socket of another kind than `T`.
    ///
    /// # Errors
    ///
    /// `EBADF` when nothing is open there, `ENOTSOCK` for what is no socket.
    pub(crate) fn socket<T: Resource>(&self, number: u32) -> Result<Option<Arc<T>>, Errno> {
        let object = lock(&self.table).open.get(&number).and_then(Weak::upgrade);
        let object = object.ok_or(Errno::EBADF)?;
        if !object.is_socket() {
            return Err(Errno::ENOTSOCK);
        }
        let object: Arc<dyn Any + Send + Sync> = object;
        Ok(object.downcast().ok())
    }

    /// The object that programs see at this address, open or closed.
    pub(crate) fn at(&self, memory: GuestPtr) -> Option<Arc<dyn Resource>> {
        lock(&self.table).seen.get(&memory.offset())?.upgrade()
    }
}
