//! What stands in for the running kernel in a build that does not ask it.

use std::collections::BTreeMap;
use std::convert::Infallible;

use skep::loader::Object;

use super::compare::{Contents, Observed};
use super::ours::Ours;
use crate::args::Preload;
use crate::case::Case;

/// There is none.
pub(crate) struct Kernel(Infallible);

/// A program in it.
pub(crate) struct Theirs(Infallible);

impl Kernel {
    pub(crate) fn open() -> Result<Self, String> {
        Err("this build does not ask the kernel".to_owned())
    }

    pub(crate) fn cpus(&self) -> u32 {
        match self.0 {}
    }
}

impl Theirs {
    pub(crate) fn start(
        kernel: &Kernel,
        _: (&Object, &[u8]),
        _: &Ours,
        _: &Preload,
    ) -> Result<Self, String> {
        match kernel.0 {}
    }

    pub(crate) fn run(&mut self, _: u32, _: &Case) -> Result<Observed, String> {
        match self.0 {}
    }

    pub(crate) fn maps(&mut self, _: &Ours, _: bool) -> BTreeMap<String, Contents> {
        match self.0 {}
    }
}
