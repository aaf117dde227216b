//! The recordings' kinds of sockets in skep.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use skep_maps::{Descriptor, Resource, Socket, SocketDef, SocketState, World};
use skep_oracle::sockets::{Kind, state};

/// The port of all sockets that are bound.
pub const OWN_PORT: u16 = 4711;
/// The port of all their peers.
pub const PEER_PORT: u16 = 1147;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// An open object that maps of sockets do not take: a socket of another kind, or none.
#[derive(Debug)]
pub struct Other {
    /// Whether it is a socket.
    pub is_socket: bool,
}

impl Resource for Other {
    fn is_socket(&self) -> bool {
        self.is_socket
    }
}

/// Opens a socket of a kind.
///
/// # Panics
///
/// When guest memory is full.
#[must_use]
pub fn open(world: &Arc<World>, kind: &Kind) -> Descriptor<Socket> {
    Descriptor::open(world, Socket::new(world, def(kind)).expect("there is room"))
}

/// What a kind is in skep.
fn def(kind: &Kind) -> SocketDef {
    let loopback = |port| match kind.family {
        AF_INET6 => SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port),
        _ => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port),
    };
    let state = match kind.state {
        state::ESTABLISHED => SocketState::Established,
        state::FIN_WAIT2 => SocketState::FinWait2,
        state::CLOSE_WAIT => SocketState::CloseWait,
        state::LISTEN => SocketState::Listen,
        _ => SocketState::Close,
    };
    let connected = matches!(kind.family, AF_INET | AF_INET6)
        && !matches!(state, SocketState::Listen | SocketState::Close);
    SocketDef {
        family: kind.family,
        socket_type: kind.socket_type,
        protocol: kind.protocol,
        state,
        local: kind.bound.then(|| loopback(OWN_PORT)),
        remote: connected.then(|| loopback(PEER_PORT)),
        reuse_port: kind.reuse_port,
        cookie: None,
    }
}
