//! Sockets of many kinds and states, as maps of sockets take them or not.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::net::{
    self, AddressFamily, Protocol, Shutdown, SocketFlags, SocketType, ipproto, sockopt,
};

use crate::Errno;

/// A kind of socket in a state, and what the kernel's structures then say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// What recordings call it.
    pub name: &'static str,
    /// `AF_*`.
    pub family: u16,
    /// `SOCK_*`.
    pub socket_type: u32,
    /// `IPPROTO_*`, or what the family has instead.
    pub protocol: u32,
    /// `TCP_ESTABLISHED`, `TCP_CLOSE` and so on, for all families.
    pub state: u32,
    /// Whether it has a local address.
    pub bound: bool,
    /// Whether it has `SO_REUSEPORT`.
    pub reuse_port: bool,
}

/// `enum` of the states in `net/tcp_states.h`.
pub mod state {
    #![expect(missing_docs, reason = "the names are the kernel's")]
    pub const ESTABLISHED: u32 = 1;
    pub const FIN_WAIT2: u32 = 5;
    pub const CLOSE: u32 = 7;
    pub const CLOSE_WAIT: u32 = 8;
    pub const LISTEN: u32 = 10;
}
use state::{CLOSE, CLOSE_WAIT, ESTABLISHED, FIN_WAIT2, LISTEN};

const UNIX: u16 = 1;
const INET: u16 = 2;
const INET6: u16 = 10;
const NETLINK: u16 = 16;
const PACKET: u16 = 17;
const VSOCK: u16 = 40;
const XDP: u16 = 44;

const STREAM: u32 = 1;
const DGRAM: u32 = 2;
const RAW: u32 = 3;
const SEQPACKET: u32 = 5;

const TCP: u32 = 6;
const UDP: u32 = 17;

const fn kind(name: &'static str, family: u16, socket_type: u32, protocol: u32) -> Kind {
    Kind { name, family, socket_type, protocol, state: CLOSE, bound: false, reuse_port: false }
}

const fn tcp(name: &'static str, state: u32) -> Kind {
    Kind { state, bound: state != CLOSE, ..kind(name, INET, STREAM, TCP) }
}

const fn udp(name: &'static str, bound: bool) -> Kind {
    Kind { bound, ..kind(name, INET, DGRAM, UDP) }
}

/// All of them.
pub static KINDS: &[Kind] = &[
    tcp("tcp-new", CLOSE),
    Kind { bound: true, ..tcp("tcp-bound", CLOSE) },
    tcp("tcp-listen", LISTEN),
    tcp("tcp-connected", ESTABLISHED),
    tcp("tcp-accepted", ESTABLISHED),
    tcp("tcp-close_wait", CLOSE_WAIT),
    tcp("tcp-fin_wait2", FIN_WAIT2),
    Kind { family: INET6, ..tcp("tcp6-listen", LISTEN) },
    Kind { family: INET6, ..tcp("tcp6-connected", ESTABLISHED) },
    Kind { reuse_port: true, ..tcp("tcp-reuse-new", CLOSE) },
    Kind { reuse_port: true, bound: true, ..tcp("tcp-reuse-bound", CLOSE) },
    Kind { reuse_port: true, ..tcp("tcp-reuse-listen", LISTEN) },
    Kind { reuse_port: true, ..tcp("tcp-reuse-connected", ESTABLISHED) },
    udp("udp-new", false),
    udp("udp-bound", true),
    Kind { state: ESTABLISHED, ..udp("udp-connected", true) },
    Kind { family: INET6, ..udp("udp6-bound", true) },
    Kind { reuse_port: true, ..udp("udp-reuse-new", false) },
    Kind { reuse_port: true, ..udp("udp-reuse-bound", true) },
    Kind { family: INET6, reuse_port: true, ..udp("udp6-reuse-bound", true) },
    kind("unix-stream-new", UNIX, STREAM, 0),
    Kind { state: ESTABLISHED, ..kind("unix-stream", UNIX, STREAM, 0) },
    kind("unix-dgram-new", UNIX, DGRAM, 0),
    Kind { state: ESTABLISHED, ..kind("unix-dgram", UNIX, DGRAM, 0) },
    Kind { state: ESTABLISHED, ..kind("unix-seqpacket", UNIX, SEQPACKET, 0) },
    kind("raw-icmp", INET, RAW, 1),
    kind("udplite", INET, DGRAM, 136),
    kind("mptcp", INET, STREAM, 262),
    kind("netlink", NETLINK, RAW, 0),
    kind("packet", PACKET, RAW, 0),
    kind("vsock-new", VSOCK, STREAM, 0),
    kind("xsk", XDP, RAW, 0),
];

/// The kind of that name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// An open socket, and what keeps it in its state.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    peers: Vec<OwnedFd>,
}

impl Socket {
    /// The descriptor's number.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// `SO_COOKIE`.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn cookie(&self) -> Result<u64, Errno> {
        sockopt::socket_cookie(&self.fd).map_err(errno)
    }

    /// Puts another socket of the same kind in its place: the descriptor's number stays.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn renew(&mut self, kind: &Kind) -> Result<(), Errno> {
        let new = open(kind)?;
        rustix::io::dup2(&new.fd, &mut self.fd).map_err(errno)?;
        self.peers = new.peers;
        Ok(())
    }

    /// Its own port and its peer's, 0 for none.
    #[must_use]
    pub fn ports(&self) -> (u16, u16) {
        let port = |address: Result<net::SocketAddrAny, _>| {
            address.ok().and_then(|a| SocketAddr::try_from(a).ok()).map_or(0, |a| a.port())
        };
        (port(net::getsockname(&self.fd)), port(net::getpeername(&self.fd).map(Option::unwrap)))
    }
}

fn errno(e: rustix::io::Errno) -> Errno {
    Errno(e.raw_os_error())
}

/// Opens a socket of a kind, on the loopback device.
///
/// # Errors
/// The kernel's errno, when it has no such sockets.
pub fn open(kind: &Kind) -> Result<Socket, Errno> {
    make(kind).map_err(errno)
}

fn make(kind: &Kind) -> rustix::io::Result<Socket> {
    if kind.family == UNIX && kind.state == ESTABLISHED {
        let socket_type = SocketType::from_raw(kind.socket_type);
        let (fd, peer) =
            net::socketpair(AddressFamily::UNIX, socket_type, SocketFlags::CLOEXEC, None)?;
        return Ok(Socket { fd, peers: vec![peer] });
    }
    let fd = new(kind)?;
    let mut peers = Vec::new();
    match kind.state {
        LISTEN => {
            net::bind(&fd, &loopback(kind.family))?;
            net::listen(&fd, 8)?;
        }
        CLOSE if kind.bound => net::bind(&fd, &loopback(kind.family))?,
        CLOSE => {}
        _ if kind.protocol == UDP => {
            net::bind(&fd, &loopback(kind.family))?;
            let peer = new(kind)?;
            net::bind(&peer, &loopback(kind.family))?;
            net::connect(&fd, &net::getsockname(&peer)?)?;
            peers.push(peer);
        }
        _ => {
            let listener = new(kind)?;
            net::bind(&listener, &loopback(kind.family))?;
            net::listen(&listener, 8)?;
            net::connect(&fd, &net::getsockname(&listener)?)?;
            let accepted = net::accept(&listener)?;
            // No time is waited for the last packets of so many connections.
            for end in [fd.as_fd(), accepted.as_fd()] {
                sockopt::set_socket_linger(end, Some(Duration::ZERO))?;
            }
            match kind.state {
                CLOSE_WAIT => net::shutdown(&accepted, Shutdown::Write)?,
                FIN_WAIT2 => net::shutdown(&fd, Shutdown::Write)?,
                _ if kind.name == "tcp-accepted" => {
                    return Ok(Socket { fd: accepted, peers: vec![fd, listener] });
                }
                _ => {}
            }
            peers.extend([accepted, listener]);
        }
    }
    Ok(Socket { fd, peers })
}

fn new(kind: &Kind) -> rustix::io::Result<OwnedFd> {
    let family = AddressFamily::from_raw(kind.family);
    let socket_type = SocketType::from_raw(kind.socket_type);
    let protocol = std::num::NonZeroU32::new(kind.protocol).map(Protocol::from_raw);
    let protocol = if kind.protocol == TCP { Some(ipproto::TCP) } else { protocol };
    let fd = net::socket_with(family, socket_type, SocketFlags::CLOEXEC, protocol)?;
    if kind.reuse_port {
        sockopt::set_socket_reuseport(&fd, true)?;
    }
    Ok(fd)
}

fn loopback(family: u16) -> SocketAddr {
    if family == INET6 { (Ipv6Addr::LOCALHOST, 0).into() } else { (Ipv4Addr::LOCALHOST, 0).into() }
}

/// A field of `struct bpf_sock`.
#[derive(Debug, Clone, Copy)]
pub struct SockField {
    /// Its name; elements of arrays as `src_ip6[0]`.
    pub name: &'static str,
    /// Where it stands, in bytes.
    pub offset: i16,
    /// Its size in bytes.
    pub size: u32,
}

const fn word(name: &'static str, offset: i16) -> SockField {
    SockField { name, offset, size: 4 }
}

/// The fields of `struct bpf_sock`, by offset.
pub static SOCK_FIELDS: &[SockField] = &[
    word("bound_dev_if", 0),
    word("family", 4),
    word("type", 8),
    word("protocol", 12),
    word("mark", 16),
    word("priority", 20),
    word("src_ip4", 24),
    word("src_ip6[0]", 28),
    word("src_ip6[1]", 32),
    word("src_ip6[2]", 36),
    word("src_ip6[3]", 40),
    word("src_port", 44),
    SockField { name: "dst_port", offset: 48, size: 2 },
    word("dst_ip4", 52),
    word("dst_ip6[0]", 56),
    word("dst_ip6[1]", 60),
    word("dst_ip6[2]", 64),
    word("dst_ip6[3]", 68),
    word("state", 72),
    word("rx_queue_mapping", 76),
];

/// The fields whose values depend on the kind of a socket alone. Which queue a connected TCP
/// socket got its last packet from, if it says so at all, depends on when that came.
#[must_use]
pub fn steady_fields(kind: &str) -> &'static [SockField] {
    let has_received = ["tcp-connected", "tcp-accepted", "tcp6-connected"].contains(&kind);
    let (_queue, others) = SOCK_FIELDS.split_last().expect("there are fields");
    if has_received { others } else { SOCK_FIELDS }
}
