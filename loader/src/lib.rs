//! Reads compiled BPF objects: ELF, BTF, map definitions, relocations.
//!
//! A pure function of bytes: [`Object::parse`] opens nothing, runs nothing and
//! creates nothing, and the same bytes always give the same [`Object`]. It is
//! liberal about what compilers have written over the years, and refuses the rest
//! with a place and a cause ([`LoadError`]).
//!
//! Invariant L1: no input makes this crate panic, loop, or hold more memory than a
//! small multiple of the input. [`elf`] and [`btf`] settle what may be indexed;
//! tables that could be shared or copied many times have a budget.
//!
//! ```
//! use skep_loader::{LoadError, Object};
//!
//! let error = Object::parse("empty.o", b"").unwrap_err();
//! assert_eq!(error.to_string(), "empty.o: not a BPF object: the file is empty");
//! # let _: LoadError = error;
//! ```

pub mod btf;
mod bytes;
mod code;
mod core;
pub mod elf;
mod encoding;
mod error;
mod graph;
mod lines;
mod link;
mod listing;
mod maps;
mod object;
mod program;
mod reloc;

pub use bytes::Endian;
pub use core::CoreSite;
pub use error::{LoadError, Site};
pub use link::POISON_CALL;
pub use listing::{CoreRelocation, Extern, ExternKind, Reference, Relocation};
pub use maps::{Data, DataKind, Init, InnerTypes, MapDecl, Variable, special_kind};
pub use object::Object;
pub use program::{Func, Line, ProgramDef};
