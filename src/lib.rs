//! skep runs compiled eBPF objects without a kernel: bytes of a `.o` go in, programs run
//! against real maps, in this process, with no root, no kernel and no network.
//!
//! The phases are libbpf's: *open* an object ([`Object::open`], [`Object::parse`]), *load*
//! it into a virtual machine ([`Vm::load`]: maps are created, programs linked), *run* its
//! programs ([`Runner::run`]).
//!
//! ```
//! use skep::{FixedHost, Input, Object, Vm};
//!
//! # fn main() -> Result<(), skep::Error> {
//! # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/objects/xdp_fw.bpf.o");
//! let vm = Vm::builder().cpus(2).host(FixedHost::default()).build()?;
//! let mut object = Object::open(path)?;
//! object.global("limit")?.set(1u32)?;
//! object.map("opened")?.set_max_entries(1024);
//! let loaded = vm.load(object)?;
//! let fw = loaded.program("fw")?;
//!
//! let mut runner = vm.runner()?;
//! let syn = syn_packet();
//! let out = runner.run(&fw, Input::packet(&syn[..]).set("ingress_ifindex", 1))?;
//! assert_eq!(out.action(), Some("XDP_PASS"));
//! let out = runner.run(&fw, Input::packet(&syn[..]))?;
//! assert_eq!(out.action(), Some("XDP_DROP"));
//!
//! let opened = loaded.map("opened")?;
//! let count: Option<u32> = opened.lookup(&[192u8, 0, 2, 33])?;
//! assert_eq!(count, Some(2));
//! for (source, count) in opened.iter::<[u8; 4], u32>() {
//!     assert_eq!((source, count), ([192, 0, 2, 33], 2));
//! }
//! println!("{}", loaded.snapshot());
//! # Ok(())
//! # }
//! # fn syn_packet() -> Vec<u8> {
//! #     let hex = "ffffffffffff02020202020208004500002800010000400666a8c0000221c0000201\
//! #                3039005000000001000000005002200000000000";
//! #     (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
//! # }
//! ```
//!
//! What skep is not: it gives no verdict of the kernel's verifier and checks no licence.
//! A program that runs here may still be refused by Linux.

mod bytes;
mod cpus;
mod engine;
mod error;
mod host;
mod loaded;
mod map;
mod object;
mod output;
mod ring_buffer;
mod runner;
mod snapshot;
pub mod value;
mod vm;

pub use bytes::Bytes;
pub use engine::Engine;
pub use error::{Error, ErrorKind};
pub use host::SystemHost;
pub use loaded::{Event, Loaded, Program};
pub use map::Map;
pub use object::{Global, MapSettings, Object};
pub use output::Output;
pub use ring_buffer::RingBuffer;
pub use runner::{PacketBuffer, Runner};
pub use snapshot::{MapSnapshot, Snapshot};
pub use vm::{Vm, VmBuilder};

pub use skep_loader as loader;
pub use skep_maps::{Errno, MapDef, MapType, flags};
pub use skep_vm::isa;
pub use skep_vm::prog;
pub use skep_vm::{Clock, Fault, FaultKind, FixedHost, Host, Input, InputError, Task, helpers};
