//! Sockets that maps hold. skep moves no bytes through them: a socket is what its user says
//! it is, and programs see it through a structure in guest memory.

use std::sync::{Arc, Mutex, Weak};

use skep_memory::{Access, Backing, GuestPtr, Label, MemoryError, Span, SpanRequest};

use crate::world::lock;
use crate::{Errno, Map, Resource, World};

/// The maps that a socket is in: when it is closed, it leaves them all.
#[derive(Debug, Default)]
pub(crate) struct Links {
    state: Mutex<LinkState>,
}

#[derive(Debug, Default)]
struct LinkState {
    closed: bool,
    maps: Vec<Weak<dyn Map>>,
}

impl Links {
    /// Notes that a map holds the socket, or is about to.
    ///
    /// # Errors
    ///
    /// `EBADF` when the socket is closed.
    pub(crate) fn add(&self, map: Weak<dyn Map>) -> Result<(), Errno> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(Errno::EBADF);
        }
        state.maps.retain(|own| own.strong_count() > 0);
        if !state.maps.iter().any(|own| own.ptr_eq(&map)) {
            state.maps.push(map);
        }
        Ok(())
    }

    /// Takes the socket that programs see at `socket` out of all maps, for good.
    fn close(&self, socket: GuestPtr) {
        let maps = {
            let mut state = lock(&self.state);
            state.closed = true;
            std::mem::take(&mut state.maps)
        };
        for map in maps.iter().filter_map(Weak::upgrade) {
            map.forget(socket);
        }
    }
}

/// Read-only guest memory for what programs see of a socket.
fn memory(world: &Arc<World>, size: u32, what: &'static str) -> Result<Span, MemoryError> {
    Span::new(
        world.window(),
        SpanRequest {
            len: size.into(),
            align: 8,
            access: Access::Read,
            label: Label::one(what),
            backing: Backing::Anonymous,
        },
    )
}

/// An AF_XDP socket, as an XSKMAP holds it.
#[derive(Debug)]
pub struct XdpSocket {
    queue: u32,
    /// `struct bpf_xdp_sock`.
    memory: Span,
    links: Links,
}

impl XdpSocket {
    /// A socket that is bound to a receive queue of its device.
    ///
    /// # Errors
    ///
    /// [`MemoryError`] when the window is full.
    pub fn new(world: &Arc<World>, queue: u32) -> Result<Self, MemoryError> {
        let memory = memory(world, 4, "AF_XDP socket")?;
        memory.slice().set(0, queue);
        Ok(Self { queue, memory, links: Links::default() })
    }

    /// The receive queue.
    #[must_use]
    pub fn queue(&self) -> u32 {
        self.queue
    }

    pub(crate) fn ptr(&self) -> GuestPtr {
        self.memory.ptr()
    }

    pub(crate) fn links(&self) -> &Links {
        &self.links
    }
}

impl Resource for XdpSocket {
    fn closed(&self) {
        self.links.close(self.ptr());
    }

    fn is_socket(&self) -> bool {
        true
    }

    fn memory(&self) -> Option<GuestPtr> {
        Some(self.ptr())
    }
}
