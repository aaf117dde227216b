//! What goes wrong, for people.

use crate::Errno;
use crate::types::MapType;

/// A map could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// The definition breaks a rule of the kernel.
    #[error("map `{map}` ({map_type}): {rule}: {errno}")]
    Refused {
        /// The map's name.
        map: String,
        /// Its type.
        map_type: MapType,
        /// The rule.
        rule: String,
        /// What `BPF_MAP_CREATE` would return.
        errno: Errno,
    },
    /// There is no such type.
    #[error("map `{map}`: there is no map type {map_type}")]
    UnknownType {
        /// The map's name.
        map: String,
        /// The number.
        map_type: u32,
    },
    /// The kernel has it, skep does not.
    #[error("map `{map}`: skep does not support {what} yet")]
    Unsupported {
        /// The map's name.
        map: String,
        /// What is missing.
        what: String,
    },
    /// The file does not hold a map that this process can use.
    #[error("the file holds no map to attach to: {problem}")]
    NoMap {
        /// What is wrong with it.
        problem: String,
    },
}

impl CreateError {
    /// What `BPF_MAP_CREATE` would return.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match self {
            Self::Refused { errno, .. } => *errno,
            Self::UnknownType { .. } => Errno::EINVAL,
            Self::Unsupported { .. } => Errno::EOPNOTSUPP,
            Self::NoMap { .. } => Errno::EBADF,
        }
    }
}

/// A map operation of user space failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("map `{map}`: {op} failed: {}{errno}", reason(why))]
pub struct MapError {
    /// The map's name.
    pub map: String,
    /// The operation: `lookup`, `update`, `delete`, …
    pub op: &'static str,
    /// What bpf(2) would return.
    pub errno: Errno,
    /// What is wrong, where more can be said than the number does.
    pub why: Option<String>,
}

fn reason(why: &Option<String>) -> String {
    why.as_ref().map_or_else(String::new, |why| format!("{why}: "))
}
