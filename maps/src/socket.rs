//! Sockets, as the maps of sockets hold them.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, Weak};

use skep_memory::{GuestPtr, MemoryError, Span};

use crate::links::{self, Closed, Links};
use crate::mutex::lock;
use crate::{Errno, Map, Resource, World};

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const AF_VSOCK: u16 = 40;
const SOCK_STREAM: u32 = 1;
const SOCK_DGRAM: u32 = 2;
const SOCK_SEQPACKET: u32 = 5;
const IPPROTO_TCP: u32 = 6;
const IPPROTO_UDP: u32 = 17;

/// The states of sockets of all families (`TCP_ESTABLISHED` and so on), with the kernel's
/// numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the kernel's names say what they are")]
pub enum SocketState {
    Established = 1,
    SynSent = 2,
    SynRecv = 3,
    FinWait1 = 4,
    FinWait2 = 5,
    TimeWait = 6,
    Close = 7,
    CloseWait = 8,
    LastAck = 9,
    Listen = 10,
    Closing = 11,
    NewSynRecv = 12,
}

/// What a socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketDef {
    /// The family: `AF_INET` and so on.
    pub family: u16,
    /// The type: `SOCK_STREAM` and so on.
    pub socket_type: u32,
    /// The protocol: `IPPROTO_TCP` and so on.
    pub protocol: u32,
    /// The state it is in, and stays in until it is closed.
    pub state: SocketState,
    /// Its own address; a UDP socket that has none is not bound.
    pub local: Option<SocketAddr>,
    /// The address that it is connected to.
    pub remote: Option<SocketAddr>,
    /// Whether it has `SO_REUSEPORT`.
    pub reuse_port: bool,
    /// What `SO_COOKIE` tells; `None` for a number that no other socket has.
    pub cookie: Option<u64>,
}

impl SocketDef {
    fn new(family: u16, socket_type: u32, protocol: u32, state: SocketState) -> Self {
        Self {
            family,
            socket_type,
            protocol,
            state,
            local: None,
            remote: None,
            reuse_port: false,
            cookie: None,
        }
    }

    fn inet(address: SocketAddr, socket_type: u32, protocol: u32, state: SocketState) -> Self {
        let family = if address.is_ipv4() { AF_INET } else { AF_INET6 };
        Self { local: Some(address), ..Self::new(family, socket_type, protocol, state) }
    }

    /// A TCP socket that listens.
    #[must_use]
    pub fn tcp_listener(local: SocketAddr) -> Self {
        Self::inet(local, SOCK_STREAM, IPPROTO_TCP, SocketState::Listen)
    }

    /// A TCP socket that is connected.
    #[must_use]
    pub fn tcp(local: SocketAddr, remote: SocketAddr) -> Self {
        let remote = Some(remote);
        Self { remote, ..Self::inet(local, SOCK_STREAM, IPPROTO_TCP, SocketState::Established) }
    }

    /// A UDP socket that is bound.
    #[must_use]
    pub fn udp(local: SocketAddr) -> Self {
        Self::inet(local, SOCK_DGRAM, IPPROTO_UDP, SocketState::Close)
    }

    /// A stream socket of the UNIX family that is connected.
    #[must_use]
    pub fn unix_stream() -> Self {
        Self::new(AF_UNIX, SOCK_STREAM, 0, SocketState::Established)
    }

    /// A datagram socket of the UNIX family.
    #[must_use]
    pub fn unix_datagram() -> Self {
        Self::new(AF_UNIX, SOCK_DGRAM, 0, SocketState::Close)
    }

    /// Whether a SOCKMAP or a SOCKHASH takes such a socket (kernel `sock_map_sk_is_suitable`
    /// and `sock_map_sk_state_allowed`).
    pub(crate) fn is_suitable(&self) -> bool {
        let state = self.state;
        match (self.family, self.socket_type, self.protocol) {
            (AF_INET | AF_INET6, SOCK_STREAM, IPPROTO_TCP) => {
                matches!(state, SocketState::Established | SocketState::Listen)
            }
            (AF_INET | AF_INET6, SOCK_DGRAM, IPPROTO_UDP) => self.is_bound(),
            (AF_UNIX, SOCK_DGRAM, _) => true,
            (AF_UNIX, SOCK_STREAM, _) | (AF_VSOCK, SOCK_STREAM | SOCK_SEQPACKET, _) => {
                state == SocketState::Established
            }
            _ => false,
        }
    }

    /// Whether a REUSEPORT_SOCKARRAY takes such a socket (kernel
    /// `reuseport_array_update_check`).
    ///
    /// # Errors
    ///
    /// `ENOTSUPP` for another kind of socket, `EINVAL` for a state in which it shares no
    /// port.
    pub(crate) fn check_reuse_port(&self) -> Result<(), Errno> {
        let ready = match (self.family, self.socket_type, self.protocol) {
            (AF_INET | AF_INET6, SOCK_STREAM, IPPROTO_TCP) => self.state == SocketState::Listen,
            (AF_INET | AF_INET6, SOCK_DGRAM, IPPROTO_UDP) => self.is_bound(),
            _ => return Err(Errno::ENOTSUPP),
        };
        if ready && self.reuse_port { Ok(()) } else { Err(Errno::EINVAL) }
    }

    fn is_bound(&self) -> bool {
        self.local.is_some_and(|address| address.port() != 0)
    }
}

/// `struct bpf_sock`, which programs see.
mod bpf_sock {
    pub(super) const SIZE: u32 = 80;
    pub(super) const FAMILY: u32 = 4;
    pub(super) const TYPE: u32 = 8;
    pub(super) const PROTOCOL: u32 = 12;
    pub(super) const SRC_IP4: u32 = 24;
    pub(super) const SRC_IP6: u32 = 28;
    pub(super) const SRC_PORT: u32 = 44;
    pub(super) const DST_PORT: u32 = 48;
    pub(super) const DST_IP4: u32 = 52;
    pub(super) const DST_IP6: u32 = 56;
    pub(super) const STATE: u32 = 72;
    pub(super) const RX_QUEUE_MAPPING: u32 = 76;
}

/// A socket.
#[derive(Debug)]
pub struct Socket {
    def: SocketDef,
    cookie: u64,
    /// `struct bpf_sock`.
    memory: Span,
    links: Links,
    user: Mutex<UserData>,
}

/// What the kernel has in `sk_user_data`: the sockmaps' or a reuseport array's.
#[derive(Debug, Default)]
struct UserData {
    /// How often SOCKMAPs and SOCKHASHes hold the socket.
    maps: u32,
    /// Whether a REUSEPORT_SOCKARRAY holds it.
    array: bool,
}

impl Socket {
    /// A socket as `def` describes it.
    ///
    /// # Errors
    ///
    /// [`MemoryError`] when the window is full.
    pub fn new(world: &Arc<World>, def: SocketDef) -> Result<Self, MemoryError> {
        let memory = links::memory(world, bpf_sock::SIZE, "socket")?;
        fill(&memory, &def);
        let cookie = def.cookie.unwrap_or_else(|| world.next_cookie());
        Ok(Self { def, cookie, memory, links: Links::default(), user: Mutex::default() })
    }

    /// What it was made from.
    #[must_use]
    pub fn def(&self) -> &SocketDef {
        &self.def
    }

    /// Its number among all sockets (`SO_COOKIE`), which user space finds in maps.
    #[must_use]
    pub fn cookie(&self) -> u64 {
        self.cookie
    }

    pub(crate) fn ptr(&self) -> GuestPtr {
        self.memory.ptr()
    }
}

/// Writes what programs see of a socket.
fn fill(memory: &Span, def: &SocketDef) {
    let sock = memory.slice();
    sock.set(bpf_sock::FAMILY, u32::from(def.family));
    sock.set(bpf_sock::TYPE, def.socket_type);
    sock.set(bpf_sock::PROTOCOL, def.protocol);
    sock.set(bpf_sock::STATE, def.state as u32);
    // No receive queue.
    sock.set(bpf_sock::RX_QUEUE_MAPPING, u32::MAX);
    // A connected TCP socket has its IPv4 addresses also as IPv6 ones.
    let mapped = def.protocol == IPPROTO_TCP && def.remote.is_some();
    let put = |address: SocketAddr, ip4: u32, ip6: u32| match address.ip() {
        IpAddr::V4(ip) => {
            sock.part(ip4, 4).write(&ip.octets());
            if mapped {
                sock.part(ip6, 16).write(&ip.to_ipv6_mapped().octets());
            }
        }
        IpAddr::V6(ip) => sock.part(ip6, 16).write(&ip.octets()),
    };
    if let Some(local) = def.local {
        put(local, bpf_sock::SRC_IP4, bpf_sock::SRC_IP6);
        sock.set(bpf_sock::SRC_PORT, u32::from(local.port()));
        if local.is_ipv6() && !local.ip().is_unspecified() {
            // What the kernel has there for want of an IPv4 address (`LOOPBACK4_IPV6`).
            sock.part(bpf_sock::SRC_IP4, 4).write(&[127, 0, 0, 6]);
        }
    }
    if let Some(remote) = def.remote {
        put(remote, bpf_sock::DST_IP4, bpf_sock::DST_IP6);
        sock.set(bpf_sock::DST_PORT, remote.port().to_be());
    }
}

impl Resource for Socket {
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

/// Who holds a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A SOCKMAP or a SOCKHASH: any number of them, any number of times.
    Map,
    /// A REUSEPORT_SOCKARRAY, which must be the only one, once.
    Array,
}

/// A map's hold on a socket, until it is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    socket: Arc<Socket>,
    holder: Holder,
}

impl Hold {
    /// Puts a socket into a map. The map must be locked against [`Map::forget`], so that it
    /// has the socket when that is closed.
    ///
    /// # Errors
    ///
    /// `EBUSY` when somebody else holds the socket, or what the map's type says of a closed
    /// one.
    pub(crate) fn new(
        socket: Arc<Socket>,
        holder: Holder,
        map: Option<Weak<dyn Map>>,
    ) -> Result<Self, Errno> {
        let mut user = lock(&socket.user);
        if user.array || holder == Holder::Array && user.maps > 0 {
            return Err(Errno::EBUSY);
        }
        let closed = match holder {
            Holder::Map => Errno::EOPNOTSUPP,
            Holder::Array => Errno::EINVAL,
        };
        // A map that is going away takes nothing any more.
        socket.links.add(map.ok_or(closed)?).map_err(|Closed| closed)?;
        match holder {
            Holder::Map => user.maps += 1,
            Holder::Array => user.array = true,
        }
        drop(user);
        Ok(Self { socket, holder })
    }

    pub(crate) fn socket(&self) -> &Arc<Socket> {
        &self.socket
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut user = lock(&self.socket.user);
        match self.holder {
            Holder::Map => user.maps -= 1,
            Holder::Array => user.array = false,
        }
    }
}
