//! Symbols of native code for perf(1).
//!
//! perf looks for them in `/tmp/perf-PID.map`, a line for each: start and size in hexadecimal
//! without a prefix, and a name (tools/perf/Documentation/jit-interface.txt in Linux).

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process;

use rustix::fs::OFlags;

use crate::{Error, Program, Vm};

impl Vm {
    /// Lists a program's native code, if that was asked for and there is any.
    pub(crate) fn list_native(&self, program: &Program) -> Result<(), Error> {
        if !self.inner.perf_map || program.why_interpreted(self.inner.engine).is_some() {
            return Ok(());
        }
        let counting = self.inner.count || self.inner.max_insns.is_some();
        let Ok(listing) = program.native_listing(counting) else { return Ok(()) };
        let mut lines = String::new();
        let mut line = |start: usize, end: usize, name: &str| {
            // One write puts down all lines of a program, and a name has no line breaks.
            let name: String = name.chars().filter(|c| !c.is_control()).collect();
            let (address, size) = (listing.address + start as u64, end - start);
            lines.push_str(&format!("{address:x} {size:x} skep:{}/{name}\n", program.name()));
        };
        for function in &listing.functions {
            line(function.start, function.end, &function.name);
        }
        let behind = listing.functions.last().map_or(0, |function| function.end);
        line(behind, listing.bytes.len(), "(exits)");
        let path = PathBuf::from(format!("/tmp/perf-{}.map", process::id()));
        let written = open(&path).and_then(|mut file| file.write_all(lines.as_bytes()));
        written.map_err(|source| Error::Io { path, source })
    }
}

/// Opens the file to append to. Everybody can write to that folder, and knows the name: links
/// that others have put there are not followed.
fn open(path: &PathBuf) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
    OpenOptions::new().append(true).create(true).mode(0o644).custom_flags(flags).open(path)
}
