//! What a run leaves behind.

use std::fmt;

use skep_vm::{Fault, Redirect};

/// What one run left behind.
#[derive(Debug, Clone)]
pub struct Ran {
    /// How it ended.
    pub end: End,
    /// Instructions executed, where somebody counts.
    pub insns: Option<u64>,
    /// Lines printed.
    pub printk: Vec<String>,
    /// Where the packet went.
    pub redirect: Option<Box<Redirect>>,
    /// The packet, or the bytes that r1 pointed to.
    pub output: Vec<u8>,
    /// The context of a packet program, where it was asked for.
    pub context: Vec<u8>,
    /// What the maps hold, by index.
    pub maps: Vec<Contents>,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub enum End {
    /// With this r0.
    Returned(u64),
    /// It was stopped.
    Stopped(Box<Fault>),
}

/// Entries of a map, sorted by key where the map has no order; records of a ring.
pub type Contents = Vec<(Vec<u8>, Vec<u8>)>;

impl Ran {
    /// r0, when it returned.
    #[must_use]
    pub fn r0(&self) -> Option<u64> {
        match self.end {
            End::Returned(r0) => Some(r0),
            End::Stopped(_) => None,
        }
    }

    /// The fault, when it was stopped.
    #[must_use]
    pub fn fault(&self) -> Option<&Fault> {
        match &self.end {
            End::Returned(_) => None,
            End::Stopped(fault) => Some(fault),
        }
    }
}

impl fmt::Display for End {
    /// One line that names no address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Returned(r0) => write!(f, "r0 {r0:#x}"),
            Self::Stopped(fault) => {
                let kind = format!("{:?}", fault.kind);
                let kind = kind.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
                write!(f, "fault {kind} at {}:{}", fault.program, fault.insn)
            }
        }
    }
}
