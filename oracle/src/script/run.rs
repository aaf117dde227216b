//! Asks the questions of a case.

use std::collections::BTreeMap;

use super::program::Gives;
use super::syntax::Line;
use super::{Backend, Call, Case, Failure, MapDecl, ProgramCall, Reply, Shape, Side, Step, system};

/// The answers of a backend to a case, one for each line.
///
/// A line that stands for many has one answer: the one that is written where all are as
/// it says, the answer of all where all are equal, and otherwise each of them, apart by
/// ` | `.
pub fn answers(case: &Case, backend: &mut dyn Backend) -> Vec<String> {
    let mut run = Run { backend, maps: BTreeMap::new() };
    case.lines.iter().map(|line| run.line(line)).collect()
}

/// A case under way: the maps that it has so far.
pub(super) struct Run<'b> {
    pub(super) backend: &'b mut dyn Backend,
    maps: BTreeMap<String, MapDecl>,
}

/// An answer, or why there is none.
pub(super) type Answer = Result<String, Failure>;

impl Run<'_> {
    fn line(&mut self, line: &Line) -> String {
        let steps = match line.steps() {
            Ok(steps) => steps,
            Err(what) => return what,
        };
        let mut as_written = true;
        let mut found: Vec<String> = Vec::new();
        for (step, written) in steps {
            let answer = self.step(&step).unwrap_or_else(|failure| failure.to_string());
            as_written &= written.as_ref() == Some(&answer);
            if !found.contains(&answer) {
                found.push(answer);
            }
        }
        match &line.answer {
            Some(written) if as_written => written.clone(),
            _ => found.join(" | "),
        }
    }

    fn step(&mut self, step: &Step) -> Answer {
        match step {
            Step::Map(decl) => {
                self.maps.insert(decl.name.clone(), decl.clone());
                self.backend.create(decl)?;
                Ok("ok".to_owned())
            }
            Step::Prog(decl) => {
                self.backend.load(decl)?;
                Ok("ok".to_owned())
            }
            Step::Event(decl) => {
                self.backend.open(decl)?;
                Ok("ok".to_owned())
            }
            Step::Call(call) => match call.side {
                Side::System => system::answer(self, call),
                Side::Program { cpu } => self.program(call, cpu),
            },
        }
    }

    /// The declaration of the map that a call names.
    pub(super) fn decl(&self, name: &str) -> Result<MapDecl, Failure> {
        self.maps.get(name).cloned().ok_or_else(|| Failure::Other(format!("no map `{name}`")))
    }

    fn shape(&self, decl: &MapDecl) -> Shape {
        let inner = decl.inner.as_ref().and_then(|name| self.maps.get(name));
        Shape {
            key_size: decl.key_size,
            value_size: decl.value_size,
            lock: decl.lock,
            inner: inner.map(|inner| (inner.key_size, inner.value_size, inner.lock)),
        }
    }

    fn program(&mut self, call: &Call, cpu: usize) -> Answer {
        let decl = self.decl(&call.map)?;
        let op = call.program_op().ok_or_else(|| other("no operation of programs"))?;
        let bytes = |name: &str| call.args.bytes(name).map(Option::unwrap_or_default);
        let number = |name: &str| call.args.number(name);
        let (key, inner_key, value) = (bytes("key"), bytes("inner_key"), bytes("value"));
        let (key, inner_key, value) =
            (key.map_err(other)?, inner_key.map_err(other)?, value.map_err(other)?);
        let reply = self.backend.program(&ProgramCall {
            cpu,
            key: &key,
            inner_key: &inner_key,
            value: &value,
            flags: number("flags").map_err(other)?,
            asked_cpu: number("cpu").map_err(other)?,
            index: number("index").map_err(other)?,
            stop: number("stop").map_err(other)?,
            ..ProgramCall::new(op, &call.map, self.shape(&decl))
        })?;
        let hashed = op.gives == Gives::Calls && decl.is_hashed();
        Ok(match reply {
            // Which elements come before the stop depends on a seed.
            Reply::Calls(value, count, _) if hashed && call.args.text("stop").is_some() => {
                format!("{} calls={count}", Reply::Returned(value))
            }
            Reply::Calls(value, count, mut calls) if hashed => {
                calls.sort();
                Reply::Calls(value, count, calls).to_string()
            }
            reply => reply.to_string(),
        })
    }
}

pub(super) fn other(what: impl Into<String>) -> Failure {
    Failure::Other(what.into())
}

/// Bytes as hexadecimal; `-` for none.
pub(super) fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "-".to_owned();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Words joined by commas; `-` for none.
pub(super) fn list(words: &[String]) -> String {
    if words.is_empty() { "-".to_owned() } else { words.join(",") }
}
