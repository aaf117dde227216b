//! Contexts: what a program gets in r1, made from the user's input.

mod input;
mod memory;
mod packet;

pub use input::{Input, InputError};
pub(crate) use memory::ContextMemory;
pub(crate) use packet::{Packet, PacketKind};
