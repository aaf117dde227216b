//! Map scripts (`testdata/maps`) on skep.

mod skep;

pub use skep::Skep;
