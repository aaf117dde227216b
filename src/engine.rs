//! Engines.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// How programs are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Engine {
    /// The interpreter, which defines what programs do.
    #[default]
    Interp,
}

impl Engine {
    /// All engines of this build.
    pub const ALL: &[Self] = &[Self::Interp];

    /// The engine's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interp => "interp",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Engine {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let found = Self::ALL.iter().find(|engine| engine.name() == name);
        found.copied().ok_or_else(|| Error::NoEngine { name: name.to_owned() })
    }
}
