//! What answers the questions of scripts.

use std::fmt;

use super::program::ProgramOp;
use super::run::{hex, list};
use super::{EventDecl, MapDecl, ProgDecl};
use crate::{Batch, Errno};

/// Maps and programs, by the names that a case gives them, and the operations on them.
///
/// The methods are the commands of bpf(2) and one for all operations of programs; what is
/// made of several of them, such as a walk, the scripts do themselves. Each case has a
/// backend of its own.
pub trait Backend {
    /// How many CPUs there are.
    fn cpus(&self) -> usize;

    /// `BPF_MAP_CREATE`.
    ///
    /// # Errors
    /// Why there is no such map.
    fn create(&mut self, map: &MapDecl) -> Outcome<()>;

    /// `BPF_PROG_LOAD` of a program that returns 0.
    ///
    /// # Errors
    /// Why there is no such program.
    fn load(&mut self, prog: &ProgDecl) -> Outcome<()>;

    /// Opens a perf event (`perf_event_open(2)`).
    ///
    /// # Errors
    /// Why there is no such event.
    fn open(&mut self, event: &EventDecl) -> Outcome<()> {
        Err(Failure::Other(format!("there are no events such as `{}` here", event.name)))
    }

    /// The number that stands for an object when it is stored in `map`: a descriptor, or
    /// what the backend has instead; `None` when the case has no such object.
    fn handle(&self, map: &str, object: &str) -> Option<u32>;

    /// The object whose number was read from `map`.
    fn object(&self, map: &str, id: u32) -> Option<String>;

    /// `BPF_MAP_LOOKUP_ELEM`; `value` is what the buffer holds before, which a bloom
    /// filter reads.
    ///
    /// # Errors
    /// The errno.
    fn lookup(
        &mut self,
        map: &str,
        key: Option<&[u8]>,
        value: &[u8],
        flags: u64,
    ) -> Outcome<Vec<u8>>;

    /// `BPF_MAP_UPDATE_ELEM`.
    ///
    /// # Errors
    /// The errno.
    fn update(&mut self, map: &str, key: Option<&[u8]>, value: &[u8], flags: u64) -> Outcome<()>;

    /// `BPF_MAP_DELETE_ELEM`.
    ///
    /// # Errors
    /// The errno.
    fn delete(&mut self, map: &str, key: Option<&[u8]>, flags: u64) -> Outcome<()>;

    /// `BPF_MAP_LOOKUP_AND_DELETE_ELEM`.
    ///
    /// # Errors
    /// The errno.
    fn lookup_and_delete(&mut self, map: &str, key: Option<&[u8]>, flags: u64) -> Outcome<Vec<u8>>;

    /// `BPF_MAP_GET_NEXT_KEY`.
    ///
    /// # Errors
    /// The errno; `ENOENT` behind the last key.
    fn next_key(&mut self, map: &str, key: Option<&[u8]>, flags: u64) -> Outcome<Vec<u8>>;

    /// `BPF_MAP_FREEZE`.
    ///
    /// # Errors
    /// The errno.
    fn freeze(&mut self, map: &str) -> Outcome<()>;

    /// The commands `BPF_MAP_*_BATCH`.
    ///
    /// # Errors
    /// When the backend cannot do it at all; an errno stands in the batch.
    fn batch(&mut self, map: &str, request: &BatchRequest) -> Outcome<Batch>;

    /// What the kernel tells of a map (`struct bpf_map_info`).
    ///
    /// # Errors
    /// When there is no such map.
    fn info(&mut self, map: &str) -> Outcome<Info>;

    /// The bytes that a map is charged for (`memlock` in its fdinfo).
    ///
    /// # Errors
    /// When there is no such map.
    fn memlock(&mut self, map: &str) -> Outcome<u64>;

    /// Has a program call a helper once.
    ///
    /// # Errors
    /// [`Failure::Refused`] when the verifier does not take the program.
    fn program(&mut self, call: &ProgramCall<'_>) -> Outcome<Reply>;

    /// Takes the next record of a ring buffer, or the raw data of the next sample of the
    /// case's events, by their names, when the map is an array of such; `None` when there
    /// is none.
    ///
    /// # Errors
    /// When the map is neither.
    fn consume(&mut self, map: &str) -> Outcome<Option<Vec<u8>>> {
        Err(Failure::Other(format!("`{map}` is not consumed here")))
    }
}

/// What an operation gives.
pub type Outcome<T> = Result<T, Failure>;

/// Why an operation gives nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// An errno.
    Errno(Errno),
    /// The verifier does not take the program.
    Refused,
    /// Anything else, in words.
    Other(String),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errno(errno) => errno.fmt(f),
            Self::Refused => f.write_str("refused"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

/// Which batch command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchCommand {
    /// `BPF_MAP_LOOKUP_BATCH`
    Lookup,
    /// `BPF_MAP_LOOKUP_AND_DELETE_BATCH`
    LookupAndDelete,
    /// `BPF_MAP_UPDATE_BATCH`
    Update,
    /// `BPF_MAP_DELETE_BATCH`
    Delete,
}

/// A batch command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchRequest {
    /// Which one.
    pub command: BatchCommand,
    /// Where reading goes on; `None` at the start.
    pub in_batch: Option<Vec<u8>>,
    /// How many elements there are, or may be.
    pub count: u32,
    /// The keys to write, one after the other.
    pub keys: Vec<u8>,
    /// The values to write.
    pub values: Vec<u8>,
    /// `elem_flags`
    pub elem_flags: u64,
    /// `flags`
    pub flags: u64,
}

/// What the kernel tells of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Info {
    /// `enum bpf_map_type`
    pub map_type: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Entries.
    pub max_entries: u32,
    /// Flags, as the kernel kept them.
    pub map_flags: u32,
    /// Type-specific extra.
    pub map_extra: u64,
}

/// A program's call of a helper on a map.
#[derive(Debug, Clone)]
pub struct ProgramCall<'a> {
    /// The helper.
    pub op: &'static ProgramOp,
    /// The CPU that the program runs on.
    pub cpu: usize,
    /// The map.
    pub map: &'a str,
    /// What the map's elements are like.
    pub shape: Shape,
    /// The key; zeros where it is shorter than the map's.
    pub key: &'a [u8],
    /// The key to look up in the map that is found, in maps of maps.
    pub inner_key: &'a [u8],
    /// The value, or what the buffer for one holds before.
    pub value: &'a [u8],
    /// The helper's flags.
    pub flags: u64,
    /// The CPU that is asked for.
    pub asked_cpu: u64,
    /// The index that is asked for.
    pub index: u64,
    /// At which call the callback returns 1, counted from 1; 0 for none.
    pub stop: u64,
}

impl<'a> ProgramCall<'a> {
    /// A call on CPU 0 whose other arguments are empty and 0.
    #[must_use]
    pub fn new(op: &'static ProgramOp, map: &'a str, shape: Shape) -> Self {
        Self {
            op,
            cpu: 0,
            map,
            shape,
            key: &[],
            inner_key: &[],
            value: &[],
            flags: 0,
            asked_cpu: 0,
            index: 0,
            stop: 0,
        }
    }
}

/// The sizes of a map's keys and values, as programs see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Shape {
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Where a `bpf_spin_lock` stands in the value: 4 bytes that no program may read.
    pub lock: Option<u32>,
    /// Of maps of maps: the sizes of what programs find in the inner map, and its lock.
    pub inner: Option<(u32, u32, Option<u32>)>,
}

/// What a helper gave a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// r0.
    Returned(i64),
    /// A null pointer.
    Null,
    /// A pointer to a map in which the key was not found.
    InnerNull,
    /// A pointer to this value.
    Value(Vec<u8>),
    /// r0, and what the helper left in a buffer.
    Filled(i64, Vec<u8>),
    /// r0, how often the callback ran, and the key and the value of each call, the first
    /// [`program::MOST_CALLS`](super::program::MOST_CALLS) of them.
    Calls(i64, u64, Vec<(Vec<u8>, Vec<u8>)>),
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Returned(value) => f.write_str(&returned(*value)),
            Self::Null => f.write_str("NULL"),
            Self::InnerNull => f.write_str("inner NULL"),
            Self::Value(value) => write!(f, "value={}", hex(value)),
            Self::Filled(value, filled) => write!(f, "{} value={}", returned(*value), hex(filled)),
            Self::Calls(value, _, calls) => {
                let call =
                    |(key, value): &(Vec<u8>, Vec<u8>)| format!("{}:{}", hex(key), hex(value));
                let calls: Vec<String> = calls.iter().map(call).collect();
                write!(f, "{} calls={}", returned(*value), list(&calls))
            }
        }
    }
}

/// What a helper returned: an errno by name, anything else as a number.
fn returned(value: i64) -> String {
    match i32::try_from(-i128::from(value)) {
        Ok(errno @ 1..=4095) => {
            Errno(errno).name().map_or_else(|| value.to_string(), str::to_owned)
        }
        _ => value.to_string(),
    }
}
