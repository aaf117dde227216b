//! What goes wrong, as one type.

use std::io;
use std::path::PathBuf;

use skep_loader::LoadError;
use skep_maps::{CreateError, MapError};
use skep_memory::MemoryError;
use skep_vm::{Fault, InputError, ProgramError};

use crate::Engine;

/// Any error of the library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The object cannot be read or linked.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A map cannot be created.
    #[error("{object}: {source}")]
    Create {
        /// The object, or `map` for a map without one.
        object: String,
        /// Why.
        source: CreateError,
    },
    /// A program is not well-formed.
    #[error("{object}: {source}")]
    Program {
        /// The object, or `program` for a program without one.
        object: String,
        /// Why.
        source: Box<ProgramError>,
    },
    /// The host gives no memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The input does not fit the program.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The program was stopped.
    #[error(transparent)]
    Fault(Box<Fault>),
    /// A map operation failed.
    #[error(transparent)]
    Map(#[from] MapError),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no thing of that name.
    #[error("{object}: there is no {what} `{name}`")]
    NotFound {
        /// The object.
        object: String,
        /// What was looked for: `program`, `map` or `variable`.
        what: &'static str,
        /// The name that was asked for.
        name: String,
        /// The names there are.
        have: Vec<String>,
    },
    /// A value does not fit a type.
    #[error("{what}: {problem}")]
    Value {
        /// What it was for: a variable, a key or a value of a map.
        what: String,
        /// What is wrong.
        problem: String,
    },
    /// The object's code is for another byte order.
    #[error("{object}: big-endian programs can be inspected, but not run")]
    BigEndian {
        /// The object.
        object: String,
    },
    /// The engine is not in this build.
    #[error("engine `{name}` is not built in")]
    NoEngine {
        /// The engine's name.
        name: String,
    },
    /// All virtual CPUs have a runner.
    #[error("all {cpus} virtual CPUs are taken by runners")]
    NoCpu {
        /// How many there are.
        cpus: u32,
    },
    /// The map's type does not have what was asked of it.
    #[error("map `{map}` is of type {map_type}, which has no {what}")]
    WrongType {
        /// The map.
        map: String,
        /// Its type.
        map_type: &'static str,
        /// What was asked of it.
        what: &'static str,
    },
}

/// What an error is about, as exit codes and JSON tell it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// What was asked for makes no sense.
    Usage,
    /// The object cannot be read, relocated or loaded.
    Load,
    /// The program faulted.
    Fault,
    /// A file could not be read or written.
    Io,
}

impl Error {
    /// What it is about.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Load(
                LoadError::NoMap { .. }
                | LoadError::NoGlobal { .. }
                | LoadError::AmbiguousGlobal { .. }
                | LoadError::GlobalSize { .. },
            )
            | Self::Input(_)
            | Self::Map(_)
            | Self::NotFound { .. }
            | Self::Value { .. }
            | Self::NoEngine { .. }
            | Self::NoCpu { .. }
            | Self::WrongType { .. } => ErrorKind::Usage,
            Self::Load(_)
            | Self::Create { .. }
            | Self::Program { .. }
            | Self::Memory(_)
            | Self::BigEndian { .. } => ErrorKind::Load,
            Self::Fault(_) => ErrorKind::Fault,
            Self::Io { .. } => ErrorKind::Io,
        }
    }

    /// What to do next, where that can be said.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Load(error) => error.help(),
            Self::NotFound { what, have, .. } if have.is_empty() => {
                Some(format!("the object has no {what}s"))
            }
            Self::NotFound { what, have, .. } => {
                let names: Vec<String> = have.iter().map(|name| format!("`{name}`")).collect();
                Some(format!("its {what}s are {}", names.join(", ")))
            }
            Self::Input(InputError::NeedsPacket { .. }) => {
                Some("give one with --packet FILE or --packet hex:…".to_owned())
            }
            Self::Input(InputError::TakesNoPacket { .. }) => {
                Some("give its context with --ctx hex:… or --ctx @FILE".to_owned())
            }
            Self::BigEndian { .. } => {
                Some("compile with `-target bpfel` or `-target bpf`".to_owned())
            }
            Self::Fault(fault) => fault.kind.help().map(str::to_owned),
            Self::NoEngine { .. } => {
                let names: Vec<&str> = Engine::ALL.iter().map(|engine| engine.name()).collect();
                Some(format!("the engines are: {}", names.join(", ")))
            }
            _ => None,
        }
    }
}
