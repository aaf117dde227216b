//! A packet during a run.

use skep_memory::GuestPtr;

/// Where the parts of the running program's packet stand, as guest offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) kind: PacketKind,
    /// The lowest address that the data may grow down to.
    pub(crate) hard_start: u32,
    /// The highest address that the data may grow up to.
    pub(crate) hard_end: u32,
    /// Metadata before the data, up to `data`.
    pub(crate) meta: u32,
    pub(crate) data: u32,
    pub(crate) data_end: u32,
    /// The context structure that holds the pointers above.
    pub(crate) ctx: GuestPtr,
}

/// What kind of context a packet belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PacketKind {
    Xdp,
    /// A `__sk_buff` whose program sees the Ethernet header, or does not.
    Skb {
        ethernet: bool,
    },
}

impl Packet {
    /// The packet's length in bytes, as the program sees it.
    pub(crate) fn len(&self) -> u32 {
        self.data_end - self.data
    }
}
