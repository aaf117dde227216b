//! Asks the running Linux kernel what a BPF program or a map does.
//!
//! Tests and `skep diff` compare skep with these answers. The crate wraps `bpf(2)` and adds no
//! opinion: every errno is the kernel's own. It attaches nothing, pins nothing
//! and looks up no object of others by id; it knows the programs and maps that
//! its caller makes, perf events that it opens on its own CPUs, and `BPF_PROG_TEST_RUN`.
//!
//! Start at [`Kernel::open`]; a test starts at [`Kernel::for_test`].
//! [`asm`] writes small programs, [`btf`] the types that some of them need;
//! [`recorded`] reads the answers that were written down for tests without a kernel;
//! [`script`] reads and asks the questions of map scripts.
//!
//! Invariant K1 (in `sys`): the kernel gets no address but that of a buffer made
//! for the call, and each buffer ends at an inaccessible page. A length that is
//! wrong is `EFAULT`, never a stray write.

pub mod accesses;
pub mod asm;
mod batch;
pub mod btf;
mod btf_load;
mod errno;
pub mod fields;
mod kernel;
mod map;
pub mod perf;
mod prog;
pub mod recorded;
mod ring;
pub mod script;
pub mod sockets;
pub mod special;
mod sys;
mod test_run;
mod user_ring;

pub use batch::{Batch, BatchFlags};
pub use btf::Btf;
pub use btf_load::loadable;
pub use errno::Errno;
pub use kernel::{Kernel, Unavailable};
pub use map::{Map, MapInfo, MapSpec};
pub use perf::{PerfEvent, PerfSpec};
pub use prog::{Prog, ProgSpec, Rejection};
pub use ring::{Next, RingReader};
pub use test_run::{Ran, TestRun};
pub use user_ring::RingWriter;

/// `enum bpf_map_type` of the UAPI, as far as tests name its members.
pub mod map_type {
    #![expect(missing_docs, reason = "the names are the UAPI's")]
    pub const HASH: u32 = 1;
    pub const ARRAY: u32 = 2;
    pub const PROG_ARRAY: u32 = 3;
    pub const PERF_EVENT_ARRAY: u32 = 4;
    pub const PERCPU_HASH: u32 = 5;
    pub const PERCPU_ARRAY: u32 = 6;
    pub const STACK_TRACE: u32 = 7;
    pub const CGROUP_ARRAY: u32 = 8;
    pub const LRU_HASH: u32 = 9;
    pub const LRU_PERCPU_HASH: u32 = 10;
    pub const LPM_TRIE: u32 = 11;
    pub const ARRAY_OF_MAPS: u32 = 12;
    pub const HASH_OF_MAPS: u32 = 13;
    pub const DEVMAP: u32 = 14;
    pub const SOCKMAP: u32 = 15;
    pub const CPUMAP: u32 = 16;
    pub const XSKMAP: u32 = 17;
    pub const SOCKHASH: u32 = 18;
    pub const REUSEPORT_SOCKARRAY: u32 = 20;
    pub const QUEUE: u32 = 22;
    pub const STACK: u32 = 23;
    pub const DEVMAP_HASH: u32 = 25;
    pub const RINGBUF: u32 = 27;
    pub const BLOOM_FILTER: u32 = 30;
    pub const USER_RINGBUF: u32 = 31;
}

/// `enum bpf_prog_type` of the UAPI, as far as tests name its members.
pub mod prog_type {
    #![expect(missing_docs, reason = "the names are the UAPI's")]
    pub const SOCKET_FILTER: u32 = 1;
    pub const SCHED_CLS: u32 = 3;
    pub const SCHED_ACT: u32 = 4;
    pub const XDP: u32 = 6;
    pub const CGROUP_SKB: u32 = 8;
    pub const RAW_TRACEPOINT: u32 = 17;
    pub const SYSCALL: u32 = 31;
}
