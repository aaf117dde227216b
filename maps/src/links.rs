//! What all sockets have: the maps that they are in, and the memory through which programs
//! see them. skep moves no bytes through sockets: a socket is what its user says it is.

use std::sync::{Arc, Mutex, Weak};

use skep_memory::{Access, Backing, GuestPtr, Label, MemoryError, Span, SpanRequest};

use crate::mutex::lock;
use crate::{Map, World};

/// The maps that a socket is in: when it is closed, it leaves them all.
#[derive(Debug, Default)]
pub(crate) struct Links {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    maps: Vec<Weak<dyn Map>>,
}

/// The socket is closed.
#[derive(Debug)]
pub(crate) struct Closed;

impl Links {
    /// Notes that a map holds the socket, or is about to.
    ///
    /// # Errors
    ///
    /// [`Closed`] when the socket is.
    pub(crate) fn add(&self, map: Weak<dyn Map>) -> Result<(), Closed> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(Closed);
        }
        state.maps.retain(|own| own.strong_count() > 0);
        if !state.maps.iter().any(|own| own.ptr_eq(&map)) {
            state.maps.push(map);
        }
        Ok(())
    }

    /// Takes the socket that programs see at `socket` out of all maps, for good.
    pub(crate) fn close(&self, socket: GuestPtr) {
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
pub(crate) fn memory(
    world: &Arc<World>,
    size: u32,
    what: &'static str,
) -> Result<Span, MemoryError> {
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
