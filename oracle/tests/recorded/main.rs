//! Records what the running kernel does and compares it with `testdata/semantics`.
//!
//! Each topic has one file there, written by the kernel alone, which skep is tested
//! against where there is no kernel. In `testdata/maps` people write the questions and
//! the kernel the answers. With `SKEP_RECORD=1` the files are written anew.

#![expect(clippy::unwrap_used, reason = "a recording stops at what it does not expect")]

mod access;
mod adjust;
mod agent;
mod arithmetic;
mod bloom;
mod callbacks;
mod cgroups;
mod context;
mod create;
mod dynptr;
mod elements;
mod fd_maps;
mod format;
mod keyless;
mod legacy;
mod lpm;
mod numbers;
mod ops;
mod packet;
mod perf_events;
mod perf_output;
mod plain_maps;
mod probe;
mod probe_read;
mod record;
mod redirect;
mod redirect_maps;
mod rights;
mod ring;
mod runs;
mod scripts;
mod special;
mod stack_trace;
mod tail_call;
mod trace;
mod user_ring;
