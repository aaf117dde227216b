//! A step of a run, ready to be run.

use skep::value::parse_integer;
use skep::{Input, Loaded, Program};

use crate::failure::Failure;
use crate::input::{Packets, assignment, bytes};
use crate::steps::Step;

/// A program and what it is to be run on.
pub(crate) struct Task {
    pub(crate) program: Program,
    pub(crate) inputs: Inputs,
    /// Fields of the context, by their UAPI names.
    pub(crate) fields: Vec<(String, u64)>,
}

/// Where inputs come from.
pub(crate) enum Inputs {
    /// Packets, one after the other.
    Packets(Packets),
    /// A context, or nothing.
    One(Input),
}

impl Task {
    /// Finds the program in the object and opens the input.
    pub(crate) fn new(loaded: &Loaded, program: &str, step: &Step) -> Result<Self, Failure> {
        let inputs = match (&step.packet, &step.ctx) {
            (Some(packet), _) => Inputs::Packets(Packets::open(packet)?),
            (None, Some(ctx)) => Inputs::One(Input::raw(bytes("--ctx", ctx)?)),
            (None, None) => Inputs::One(Input::none()),
        };
        let fields = step.set.iter().map(|setting| field(setting));
        let fields = fields.collect::<Result<_, _>>()?;
        Ok(Self { program: loaded.program(program)?, inputs, fields })
    }

    /// Whether there may be many inputs.
    pub(crate) fn has_capture(&self) -> bool {
        matches!(&self.inputs, Inputs::Packets(packets) if !matches!(packets, Packets::One(_)))
    }
}

/// The two sides of a `--set`.
pub(crate) fn field(setting: &str) -> Result<(String, u64), Failure> {
    let (name, text) = assignment("--set", setting)?;
    let value = parse_integer(text).and_then(|n| u64::try_from(n).ok());
    let value = value
        .ok_or_else(|| Failure::usage(format!("--set {name}: `{text}` is no number"), None))?;
    Ok((name.to_owned(), value))
}
