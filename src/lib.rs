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
//! Records of a ring buffer go to a callback, with a timeout and a descriptor for epoll (or one after
//! the other, see [`RingBuffer::records`]):
//!
//! ```
//! # use skep::{FixedHost, Input, Object, Vm};
//! use std::ops::ControlFlow;
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), skep::Error> {
//! # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/objects/exec.bpf.o");
//! let vm = Vm::builder().host(FixedHost::default()).build()?;
//! let loaded = vm.load(Object::open(path)?)?;
//! vm.runner()?.run(&loaded.program("on_exec")?, Input::raw([0; 64]))?;
//!
//! let mut events = loaded.map("events")?.ring_buffer()?;
//! let mut calls = Vec::new();
//! events.poll(Duration::from_millis(100), |record| {
//!     // Read in place: `record` is the ring's memory.
//!     calls.extend(record.get::<u32>(24).ok());
//!     ControlFlow::Continue(())
//! })?;
//! assert_eq!(calls, [0]);
//! # Ok(())
//! # }
//! ```
//!
//! Maps and programs can be made without an object, and a packet can be filled in place:
//!
//! ```
//! use skep::{Map, MapDef, MapType, Vm, isa, prog};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let vm = Vm::builder().build()?;
//! let def = MapDef {
//!     name: "lengths".to_owned(),
//!     map_type: MapType::Array.id(),
//!     key_size: 4,
//!     value_size: 8,
//!     max_entries: 1,
//!     ..MapDef::default()
//! };
//! let lengths = Map::create(&vm, &def)?;
//! let insns = isa::assemble(
//!     "ldxw %r2, [%r1+4]               # data_end
//!      ldxw %r3, [%r1+0]               # data
//!      sub %r2, %r3
//!      lddw map_idx_value %r4, 0, 0    # the first map's only value
//!      stxdw [%r4], %r2
//!      mov %r0, 2                      # XDP_PASS
//!      exit",
//! )?;
//! let program = vm.program_from_insns("measure", Some(&prog::XDP), &insns, &[lengths.clone()])?;
//!
//! let mut runner = vm.runner()?;
//! let mut packet = runner.packet_buffer(100)?;
//! packet.write(12, &[0x08, 0x00])?;
//! let out = packet.run(&program)?;
//! assert_eq!(out.action(), Some("XDP_PASS"));
//! assert_eq!(lengths.lookup::<u32, u64>(&0)?, Some(100));
//!
//! // A fault says where and why.
//! let insns = isa::assemble("mov %r0, 0\nldxdw %r1, [%r10-520]\nexit")?;
//! let program = vm.program_from_insns("wild", None, &insns, &[])?;
//! let error = runner.run(&program, skep::Input::none()).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "program `wild`, insn 1: r1 = *(u64 *)(r10 - 520): \
//!      8-byte load 8 bytes before the start of a stack frame of 512 bytes"
//! );
//! # Ok(())
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
mod open;
mod output;
mod perf_buffer;
mod perf_map;
mod record;
mod ring_buffer;
mod runner;
mod snapshot;
mod user_ring_buffer;
pub mod value;
mod vm;
mod wait;
mod watchdog;

pub use bytes::Bytes;
pub use engine::engine_by_name;
pub use error::{Error, ErrorKind};
pub use host::SystemHost;
pub use loaded::{Event, Loaded, Lost, Program};
pub use map::{Batch, BatchCursor, BatchWrite, Map, MapInfo, Walk};
pub use object::{Global, MapSettings, Object};
pub use output::Output;
pub use perf_buffer::{PerfBuffer, PerfSample};
pub use record::Record;
pub use ring_buffer::{Records, RingBuffer, Taken};
pub use runner::{PacketBuffer, Runner};
pub use skep_vm::Engine;
pub use snapshot::{MapSnapshot, Snapshot};
pub use user_ring_buffer::{UserRecord, UserRingBuffer};
pub use vm::{Vm, VmBuilder};

pub use skep_loader as loader;
pub use skep_maps::{
    Cgroup, Descriptor, Destination, Errno, MapDef, MapError, MapMemory, MapType, Socket,
    SocketDef, SocketState, XdpSocket, flags,
};
pub use skep_vm::isa;
pub use skep_vm::prog;
pub use skep_vm::{AccessReport, Explanation, Listing, LoopReport, NativeExit, NativeFunction};
pub use skep_vm::{
    Clock, Fault, FaultKind, FixedHost, Host, Input, InputError, Redirect, StackKind, Task,
    helpers, is_poison,
};
