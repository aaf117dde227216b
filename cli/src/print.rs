//! Printing, so that a closed pipe ends the program quietly.

use std::io::{self, Write as _};

use serde_json::Value;

use crate::failure::Failure;

/// Standard output.
#[derive(Debug)]
pub(crate) struct Printer {
    out: io::BufWriter<io::Stdout>,
}

impl Printer {
    pub(crate) fn new() -> Self {
        Self { out: io::BufWriter::new(io::stdout()) }
    }

    /// Prints text as it is.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.out.write_all(text.as_bytes()).map_err(|error| closed(&error))
    }

    /// Prints a line.
    pub(crate) fn line(&mut self, line: &str) -> Result<(), Failure> {
        self.text(line)?;
        self.text("\n")
    }

    /// Prints what is buffered.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(|error| closed(&error))
    }
}

fn closed(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::broken_pipe();
    }
    Failure::io(format!("standard output: {error}"))
}

/// A JSON document.
pub(crate) fn document(json: &Value) -> Result<(), Failure> {
    let mut printer = Printer::new();
    let text = serde_json::to_string_pretty(json).unwrap_or_default();
    printer.line(&text)?;
    printer.flush()
}
