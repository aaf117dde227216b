//! What a run gave.

use skep_vm::Redirect;
use skep_vm::prog::ProgType;

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Output {
    /// The program's return value: the low 32 bits of r0, as `BPF_PROG_TEST_RUN` reports
    /// it.
    pub retval: u32,
    /// All of r0.
    pub r0: u64,
    /// Instructions executed; `None` in native code that does not count.
    pub insns: Option<u64>,
    /// Lines that the program printed.
    pub printk: Vec<String>,
    /// The packet afterwards, for packet programs: as `BPF_PROG_TEST_RUN` gives it, with
    /// an Ethernet header that the program did not see as zeros.
    pub packet: Option<Vec<u8>>,
    /// The context afterwards.
    pub ctx: Vec<u8>,
    /// Where the packet went, when the program redirected it: when it said where to and
    /// returned `XDP_REDIRECT` or `TC_ACT_REDIRECT`.
    pub redirect: Option<Redirect>,
    pub(crate) action: Option<&'static str>,
}

impl Output {
    pub(crate) fn action_of(
        prog_type: Option<&'static ProgType>,
        retval: u32,
    ) -> Option<&'static str> {
        prog_type.and_then(|prog_type| prog_type.verdict(retval))
    }

    /// The name of the return value, for program types that have named ones: `XDP_PASS`.
    #[must_use]
    pub fn action(&self) -> Option<&'static str> {
        self.action
    }
}
