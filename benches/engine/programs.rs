//! What is run: the programs, and the packets that they get.

/// A program.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Runs with mode 1, which fill its map.
    pub(crate) fills: u64,
    /// The most runs in a row: its ring buffer is emptied in between.
    pub(crate) most_runs: u64,
    /// Runs that are counted instruction by instruction, which is slow: enough to make
    /// what is done once for all of them small.
    pub(crate) counted: u64,
    /// The compiled object.
    pub(crate) object: &'static [u8],
}

/// Which of the averages a program belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// None: it takes hardly longer than calling it.
    Short,
    /// What a program computes by itself.
    Compute,
    /// What helpers do on maps.
    Map,
    /// Tail calls.
    Tail,
}

/// A row of the table: the name, the kind, and what is not the default.
macro_rules! program {
    ($name:literal, $kind:ident, counted: $counted:literal $(, $field:ident: $value:literal)*) => {
        Program {
            counted: $counted,
            $($field: $value,)*
            ..Program {
                name: $name,
                kind: Kind::$kind,
                fills: 0,
                most_runs: u64::MAX,
                counted: 0,
                object: include_bytes!(concat!("progs/", $name, ".bpf.o")),
            }
        }
    };
}
/// All programs.
pub(crate) const PROGRAMS: &[Program] = &[
    program!("empty", Short, counted: 1000),
    program!("parse", Short, counted: 1000),
    program!("fib", Compute, counted: 1),
    program!("fnv", Compute, counted: 10),
    program!("jhash", Compute, counted: 10),
    program!("siphash", Compute, counted: 10),
    program!("bsort", Compute, counted: 10),
    program!("sieve", Compute, counted: 10),
    program!("muldiv", Compute, counted: 10),
    program!("rewrite", Compute, counted: 100),
    program!("csum", Compute, counted: 100),
    program!("vminterp", Compute, counted: 10),
    program!("calls", Compute, counted: 100),
    program!("m_array", Map, counted: 1000),
    program!("m_percpu", Map, counted: 1000),
    program!("m_hash4", Map, counted: 100, fills: 10_000),
    program!("m_hash16", Map, counted: 100, fills: 100_000),
    program!("m_churn", Map, counted: 100),
    program!("m_lru", Map, counted: 100, fills: 1000),
    program!("m_ringbuf", Map, counted: 1000, most_runs: 800_000),
    program!("m_lpm", Map, counted: 100, fills: 10_000),
    program!("m_hom", Map, counted: 100),
    program!("m_tail", Tail, counted: 100),
    program!("m_tailidx", Tail, counted: 100),
];

/// The program that does nothing, which others are compared with.
pub(crate) const EMPTY: &Program = &PROGRAMS[0];

/// Bytes of a packet: an Ethernet frame of 1514.
pub(crate) const PACKET_LEN: usize = 1514;
/// Where programs on maps have their mode (`struct hdr` in bench.h).
pub(crate) const MODE_AT: u32 = 8;

impl Program {
    /// The packet that the first run gets.
    pub(crate) fn packet(&self) -> Vec<u8> {
        match self.kind {
            Kind::Short | Kind::Compute => tcp_packet(),
            Kind::Map | Kind::Tail => state(),
        }
    }
}

/// Ethernet, IPv4 and TCP headers before noise.
fn tcp_packet() -> Vec<u8> {
    const ETHERNET: [u8; 14] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00];
    // From 10.0.0.1 to 10.0.0.2, not to be fragmented.
    const IPV4: [u8; 20] =
        [0x45, 0, 0x05, 0xdc, 0, 1, 0x40, 0, 64, 6, 0x12, 0x34, 10, 0, 0, 1, 10, 0, 0, 2];
    // From port 12345 to 443.
    const TCP: [u8; 20] =
        [0x30, 0x39, 0x01, 0xbb, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0];
    let headers = [&ETHERNET[..], &IPV4, &TCP].concat();
    let mut state = 12_345_u32;
    let noise = std::iter::repeat_with(move || {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        state.to_le_bytes()[2]
    });
    let noise = noise.take(PACKET_LEN).skip(headers.len());
    headers.iter().copied().chain(noise).collect()
}

/// The state of a program on maps (`struct hdr`): a random number, mode 0, index 0.
fn state() -> Vec<u8> {
    let mut packet = vec![0; PACKET_LEN];
    packet[..8].copy_from_slice(&0x9e37_79b9_7f4a_7c15_u64.to_le_bytes());
    packet
}
