//! Records what the running kernel does and compares it with `testdata/semantics`.
//!
//! Each topic has one file there, written by the kernel alone, which skep is tested
//! against where there is no kernel. With `SKEP_RECORD=1` the files are written anew.

mod adjust;
mod context;
mod fields;
mod packet;
mod probe;
mod record;
mod tail_call;
