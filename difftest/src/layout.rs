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
/// Below the frame pointer, each frame keeps a pointer and a spare slot.
pub(crate) const POINTER: i16 = -8;
pub(crate) const SPARE: i16 = -16;
/// All of the memory.
pub const MEMORY: usize = OUT + 80 + 128;
/// Bytes of the packet that programs reach.
pub(crate) const PACKET: i16 = 64;
