//! BPF maps, as the kernel has them: the same results, down to the error number, for
//! programs ([`Map`]) and for user space ([`sys`]).
//!
//! A map's state lies in *segments* addressed by offsets: values in the guest's window,
//! where programs reach them by pointer; indexes, keys, links, locks and positions in
//! host memory, where no program can write. Readers take no lock; writers lock a bucket.
//!
//! * `types/` has one file for each type, and the table of all of them.
//! * `index/` is the hash index and the trie; `values.rs` places values that programs point
//!   to, `cells.rs` copies those that they do not.
//! * [`World`] is what the maps of one virtual machine share. What maps need from the
//!   level above they ask through [`Upcall`].

pub mod batch;
mod budget;
mod cells;
mod cgroup;
mod def;
mod errno;
mod error;
mod fields;
pub mod flags;
mod home;
mod index;
mod inner;
pub mod jhash;
mod links;
mod locks;
mod map;
mod mutex;
mod order;
mod owner;
mod patience;
mod percpu;
pub mod perf;
mod positions;
mod resource;
mod rule;
mod segment;
mod shared;
mod slots;
mod socket;
mod sync;
pub mod sys;
mod types;
mod values;
mod wake;
mod word_lock;
mod world;
mod xdp_socket;

pub use budget::MapMemory;
pub use cgroup::Cgroup;
pub use def::{MapDef, SpecialField, SpecialKind};
pub use errno::Errno;
pub use error::{CreateError, MapError};
pub use locks::LockTable;
pub use map::{Core, Cursor, Destination, Map, Note, ProgramOp, Rows, Source, Target};
pub use resource::{Descriptor, Resource};
pub use shared::{attach, create_shared};
pub use socket::{Socket, SocketDef, SocketState};
pub use types::{
    CgroupArray, Committed, Consumed, Drain, Holds, Keys, MapType, PerfEventArray, ProgArray,
    Record, Records, RingBuf, StackTrace, UserNext, UserRecord, UserRingBuf, UserSample, create,
};
pub use world::{ProgramRef, Upcall, World};
pub use xdp_socket::XdpSocket;
