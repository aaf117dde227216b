//! How the command line fails.

use std::process::ExitCode;

use serde_json::{Map, Value, json};
use skep::{Error, ErrorKind, Fault};

/// Exit codes.
pub(crate) const EXPECTATION: u8 = 1;
pub(crate) const USAGE: u8 = 2;
const LOAD: u8 = 3;
const FAULT: u8 = 4;
const IO: u8 = 5;

/// A failure to be reported.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    message: String,
    help: Option<String>,
    fault: Option<Box<Fault>>,
    /// The document is on stdout already.
    printed: bool,
    /// It is about one program of the object.
    about_program: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Expectation,
    Usage,
    Load,
    Fault,
    Io,
}

impl Failure {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind, message, help: None, fault: None, printed: false, about_program: false }
    }

    /// What was typed makes no sense.
    pub(crate) fn usage(message: impl Into<String>, help: Option<String>) -> Self {
        Self { help, ..Self::new(Kind::Usage, message) }
    }

    /// A file could not be read or written.
    pub(crate) fn io(message: impl Into<String>) -> Self {
        Self::new(Kind::Io, message)
    }

    /// Whoever read standard output has stopped reading: nothing is left to say.
    pub(crate) fn broken_pipe() -> Self {
        Self { printed: true, ..Self::io(String::new()) }
    }

    /// A program did not do what was expected; the document is printed.
    pub(crate) fn expectation(message: impl Into<String>) -> Self {
        Self { printed: true, ..Self::new(Kind::Expectation, message) }
    }

    /// What went wrong, as a sentence.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Whether it is a program of the object that cannot be loaded.
    pub(crate) fn is_about_program(&self) -> bool {
        self.about_program
    }

    /// The same, with the place where it happened before it; a fault names one itself.
    pub(crate) fn at(self, place: &str) -> Self {
        if self.kind == Kind::Fault || self.message.is_empty() {
            return self;
        }
        Self { message: format!("{place}{}", self.message), ..self }
    }

    /// The same, when the JSON document has been printed, with the error in it.
    pub(crate) fn printed(self) -> Self {
        Self { printed: true, ..self }
    }

    /// The `error` member of a JSON document.
    pub(crate) fn to_json(&self) -> Value {
        let kind = match self.kind {
            Kind::Expectation => "expectation",
            Kind::Usage => "usage",
            Kind::Load => "load",
            Kind::Fault => "fault",
            Kind::Io => "io",
        };
        let mut error = Map::new();
        error.insert("kind".to_owned(), kind.into());
        error.insert("message".to_owned(), self.message.clone().into());
        if let Some(fault) = &self.fault {
            error.insert("program".to_owned(), fault.program.clone().into());
            error.insert("insn".to_owned(), fault.insn.into());
            error.insert("text".to_owned(), fault.text.clone().into());
            if let Some(line) = &fault.source_line {
                error.insert("file".to_owned(), line.file.to_string().into());
                error.insert("line".to_owned(), line.line.into());
            }
            let registers =
                fault.registers.iter().map(|value| value.map(|value| format!("{value:#x}")));
            error.insert("registers".to_owned(), registers.collect());
        }
        Value::Object(error)
    }

    /// Prints it and gives the exit code.
    #[expect(clippy::print_stdout, reason = "the JSON document is the answer")]
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        if json && !self.printed {
            println!("{}", json!({ "error": self.to_json() }));
        }
        if !self.message.is_empty() {
            eprintln!("error: {}", self.message);
        }
        if let Some(help) = &self.help {
            eprintln!("help: {help}");
        }
        if let Some(fault) = &self.fault {
            print_place(fault);
        }
        ExitCode::from(match self.kind {
            Kind::Expectation => EXPECTATION,
            Kind::Usage => USAGE,
            Kind::Load => LOAD,
            Kind::Fault => FAULT,
            Kind::Io => IO,
        })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::Usage => Kind::Usage,
            ErrorKind::Load => Kind::Load,
            ErrorKind::Fault => Kind::Fault,
            ErrorKind::Io => Kind::Io,
        };
        let (message, help) = (error.to_string(), error.help());
        let about_program = matches!(error, Error::Load(_) | Error::Program { .. });
        let fault = match error {
            Error::Fault(fault) => Some(fault),
            _ => None,
        };
        Self { kind, message, help, fault, printed: false, about_program }
    }
}

/// The source line of a fault, and the registers that the program had written.
fn print_place(fault: &Fault) {
    if let Some(line) = &fault.source_line {
        let number = line.line.to_string();
        let margin = " ".repeat(number.len());
        eprintln!(" {margin} --> {}:{}:{}", line.file, line.line, line.column);
        eprintln!(" {margin} |");
        eprintln!(" {number} | {}", line.text);
        eprintln!(" {margin} |");
    }
    let known = fault.registers.iter().enumerate().filter_map(|(n, value)| Some((n, (*value)?)));
    let written = known.filter(|(_, value)| !skep::is_poison(*value));
    let mut registers: Vec<String> = written.map(|(n, value)| format!("r{n}={value:#x}")).collect();
    if fault.registers.contains(&None) {
        registers.push("(`--engine interp` shows them all)".to_owned());
    }
    eprintln!(" registers: {}", registers.join(" "));
}
