//! AF_XDP sockets.

use std::sync::Arc;

use skep_memory::{GuestPtr, MemoryError, Span};

use crate::links::{self, Links};
use crate::{Resource, World};

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
        let memory = links::memory(world, 4, "AF_XDP socket")?;
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
