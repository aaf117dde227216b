//! Map scripts (`testdata/maps`) on skep and on a model, and random ones.
//!
//! [`Skep`] and [`Model`] answer scripts as the kernel's `Linux` of skep-oracle does.
//! [`generate`] writes random scripts, [`difference`] compares the answers, and [`shrink`]
//! makes a script short on which they differ.

mod compare;
mod kinds;
mod model;
mod random;
mod skep;

pub use compare::{Difference, Engine, difference, script, shrink};
pub use kinds::{KINDS, Kind};
pub use model::Model;
pub use random::generate;
pub use skep::Skep;
