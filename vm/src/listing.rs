//! Native code as data, for people and tools that look at it.

#[cfg(all(feature = "jit", target_arch = "x86_64"))]
use crate::jit::Mode;
use crate::program::Program;

/// The native code of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listing {
    /// Where the first byte lies in this process.
    pub address: u64,
    /// The code: functions, then exits, then what all exits share.
    pub bytes: Vec<u8>,
    /// The functions, by ascending start.
    pub functions: Vec<NativeFunction>,
    /// The exits, by ascending start.
    pub exits: Vec<NativeExit>,
}

/// A function in native code. Offsets are into [`Listing::bytes`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NativeFunction {
    /// Its first byte.
    pub start: usize,
    /// Behind its last byte, what fills the space up to the next one included.
    pub end: usize,
    /// The slot of its first instruction.
    pub insn: u32,
    /// Its name; without one, that of the program.
    pub name: String,
}

/// A place that native code jumps to in order to end a run. Offsets are into
/// [`Listing::bytes`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NativeExit {
    /// Its first byte: a near call.
    pub start: usize,
    /// Behind its last byte.
    pub end: usize,
    /// The slot of the instruction that it belongs to.
    pub insn: u32,
    /// The instruction's text.
    pub text: String,
    /// Why a run ends there.
    pub why: &'static str,
}

impl Program {
    /// The program's native code, made now if it has not been yet; with `counting`, that which
    /// counts instructions and heeds a budget.
    ///
    /// # Errors
    ///
    /// Why there is none; the program runs in the interpreter then.
    #[cfg(all(feature = "jit", target_arch = "x86_64"))]
    pub fn native_listing(&self, counting: bool) -> Result<Listing, String> {
        let mode = if counting { Mode::Counting } else { Mode::Plain };
        let native = self.native(mode).map_err(ToString::to_string)?;
        Ok(native.listing(self))
    }

    /// The program's native code, of which this build has none.
    ///
    /// # Errors
    ///
    /// Always.
    #[cfg(not(all(feature = "jit", target_arch = "x86_64")))]
    pub fn native_listing(&self, _counting: bool) -> Result<Listing, String> {
        Err("this build has no native code".to_owned())
    }
}
