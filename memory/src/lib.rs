//! Guest memory: every byte that a sandboxed program may touch.
//!
//! All of it lives in one reserved, lazily committed [`Window`]. A guest pointer
//! is an offset into the window ([`GuestPtr`]); a *shadow* holds one byte of
//! access rights per guest byte. Programs reach memory by the checked accesses of
//! [`Window`]; the host takes a [`Span`] of the window for each thing that it
//! lends to programs and reads and writes it through [`GuestSlice`].
//!
//! Invariants, on which every `unsafe` block of this crate rests:
//!
//! * **M1** The window's mapping covers `len + 64 KiB` bytes behind its base and
//!   64 KiB before it, readable and writable, as long as the [`Window`] lives;
//!   its shadow likewise. So an offset below `len` may be accessed with any width
//!   up to 64 KiB, checked or not.
//! * **M2** Guest memory is never a Rust allocation: no reference to it is made,
//!   except to atomics; it is only accessed by volatile operations of alignment 1
//!   and by atomics. Programs on other threads may therefore change it at any time.
//! * **M3** Bytes outside all live spans are zero and inaccessible.
//!
//! This crate knows nothing of BPF. Start reading at `window.rs`.

mod access;
mod alloc;
mod error;
mod mapping;
mod ptr;
mod region;
mod segment;
mod slice;
mod span;
mod view;
mod window;

pub use access::{Access, Word};
pub use error::{Denied, MemoryError, Why};
pub use ptr::GuestPtr;
pub use region::{Grid, Label, Place, Relation};
pub use segment::{Cells, HostSegment};
pub use slice::GuestSlice;
pub use span::{Backing, FilePart, Span, SpanRequest};
pub use view::View;
pub use window::Window;

#[cfg(not(all(target_os = "linux", target_pointer_width = "64", target_endian = "little")))]
compile_error!("skep runs on 64-bit little-endian Linux (x86-64 and aarch64)");

/// A 64-bit offset as an index into host memory: the same number, since hosts are
/// 64-bit.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "`usize` has 64 bits, see above")]
const fn index(offset: u64) -> usize {
    offset as usize
}
