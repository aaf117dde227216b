//! BPF maps, as the kernel has them.

pub mod def;

pub use def::{MapDef, SpecialField, SpecialKind};
