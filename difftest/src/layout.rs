//! Where things lie in a program's memory and stack.

/// Bytes that a program starts from, and works on.
pub const DATA: usize = 256;
/// Where it leaves r0 to r9, and behind them its stack.
pub const OUT: usize = DATA;
/// Bytes of stack that the main function works on.
pub(crate) const STACK: i16 = 128;
/// Bytes of stack that other functions work on: with eight frames, all together keep
/// under the kernel's 512.
pub(crate) const CALLEE_STACK: i16 = 16;
/// Below the frame pointer, each frame keeps a pointer, a spare slot and the context.
pub(crate) const POINTER: i16 = -8;
pub(crate) const SPARE: i16 = -16;
pub(crate) const CTX: i16 = -24;
/// All of the memory.
pub const MEMORY: usize = OUT + 80 + 128;
/// Bytes of the packet that programs reach.
pub(crate) const PACKET: i16 = 64;
/// Bytes of stack below what the function works on, in functions that have such: for keys,
/// spilled pointers, a dynptr and a value.
pub(crate) const KEY: i16 = -8;
pub(crate) const SPILLS: [i16; 2] = [-16, -24];
pub(crate) const DYNPTR: i16 = -40;
pub(crate) const VALUE: i16 = -72;
/// Bytes at `VALUE`.
pub(crate) const VALUE_LEN: i16 = 32;
