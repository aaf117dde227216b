//! Engines in processes of their own: the programs as native code, and rbpf's.
//!
//! A child gets on its standard input first what it is to run, as lines of hexadecimal
//! digits, and answers `ready`, or says in a line why not. Then `mode N` sets the mode of
//! a program on maps, and `run N` asks for that many runs; the answer is the nanoseconds
//! of CPU time that they took, and the last one's return value.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child as Process, ChildStdin, ChildStdout, Command, Stdio};

use crate::side::{Ran, Side};

pub(crate) struct Child {
    process: Process,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// Starts a child and gives it what to run.
pub(crate) fn start(command: &mut Command, lines: &[String]) -> Result<Box<dyn Side>, String> {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = piped.spawn().map_err(|error| error.to_string())?;
    let input = process.stdin.take().ok_or("a child has no input")?;
    let output = BufReader::new(process.stdout.take().ok_or("a child has no output")?);
    let mut child = Child { process, input, output };
    for line in lines {
        child.say(line)?;
    }
    match child.hear()?.as_str() {
        "ready" => Ok(Box::new(child)),
        why => Err(why.to_owned()),
    }
}

impl Child {
    fn say(&mut self, line: &str) -> Result<(), String> {
        let said = writeln!(self.input, "{line}").and_then(|()| self.input.flush());
        // A child that is no more has mostly said why.
        said.or_else(|error| if self.process.try_wait().is_ok() { Ok(()) } else { Err(error) })
            .map_err(|error| error.to_string())
    }

    fn hear(&mut self) -> Result<String, String> {
        let mut line = String::new();
        let heard = self.output.read_line(&mut line).map_err(|error| error.to_string())?;
        if heard == 0 {
            let status = self.process.wait().map_err(|error| error.to_string())?;
            return Err(format!("it died: {status}"));
        }
        Ok(line.trim().to_owned())
    }
}

impl Side for Child {
    fn set_mode(&mut self, mode: u8) -> Result<(), String> {
        self.say(&format!("mode {mode}"))
    }

    fn run(&mut self, times: u64) -> Result<Ran, String> {
        self.say(&format!("run {times}"))?;
        let line = self.hear()?;
        let numbers = line.split_once(' ').and_then(|(ns, retval)| {
            Some(Ran { ns: ns.parse().ok()?, retval: retval.parse().ok()? })
        });
        numbers.ok_or(line)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself; and an error here helps nobody.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
