//! The steps of a run: `--then` parts the command line, and each part has a program and an
//! input of its own.

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Command, Error, FromArgMatches};

/// One program and its input, as typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) prog: Option<String>,
    pub(crate) packet: Option<String>,
    pub(crate) ctx: Option<String>,
    pub(crate) set: Vec<String>,
}

/// The steps in their order; there is at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Steps(Vec<Step>);

/// The options of all steps, mixed: which belong together is in their positions.
#[derive(Debug, Args)]
struct Mixed {
    /// The program; needed when the object holds several.
    #[arg(short = 'n', long = "prog", value_name = "NAME")]
    prog: Vec<String>,
    /// The packet: hex:…, @FILE with raw bytes, or a pcap or pcapng file (a run for each
    /// packet).
    #[arg(long, value_name = "X")]
    packet: Vec<String>,
    /// The raw context: hex:… or @FILE.
    #[arg(long, value_name = "X")]
    ctx: Vec<String>,
    /// Set a field of the context by its UAPI name.
    #[arg(long, value_name = "FIELD=VALUE")]
    set: Vec<String>,
    /// Start a further step on the same maps, with -n, --packet, --ctx and --set of its own.
    #[arg(long, num_args = 0, default_missing_value = "true")]
    then: Vec<bool>,
}

impl Steps {
    /// The steps in their order.
    pub(crate) fn all(&self) -> &[Step] {
        &self.0
    }

    /// What precedes a message about a step: nothing when there is only one.
    pub(crate) fn place(&self, index: usize) -> String {
        if self.0.len() == 1 { String::new() } else { format!("step {}: ", index + 1) }
    }
}

impl Args for Steps {
    fn augment_args(command: Command) -> Command {
        Mixed::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Mixed::augment_args_for_update(command)
    }
}

impl FromArgMatches for Steps {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let starts: Vec<usize> = matches.indices_of("then").into_iter().flatten().collect();
        let mut steps = Self(vec![Step::default(); starts.len() + 1]);
        let step_of = |index: usize| starts.partition_point(|&start| start < index);
        for option in ["prog", "packet", "ctx", "set"] {
            let indices = matches.indices_of(option).into_iter().flatten();
            let values = matches.get_many::<String>(option).into_iter().flatten();
            for (index, value) in indices.zip(values) {
                steps.give(step_of(index), option, value)?;
            }
        }
        Ok(steps)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Steps {
    fn give(&mut self, at: usize, option: &str, value: &str) -> Result<(), Error> {
        let place = self.place(at);
        let refuse = |what: String| Err(Error::raw(ErrorKind::ArgumentConflict, place + &what));
        let step = &mut self.0[at];
        let slot = match option {
            "prog" => &mut step.prog,
            "packet" => &mut step.packet,
            "ctx" => &mut step.ctx,
            _ => {
                step.set.push(value.to_owned());
                return Ok(());
            }
        };
        if slot.is_some() {
            return refuse(format!("--{option} is given twice; --then starts a further step"));
        }
        *slot = Some(value.to_owned());
        if step.packet.is_some() && step.ctx.is_some() {
            return refuse("--packet and --ctx are two inputs; a run has one".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        steps: Steps,
        #[arg(long)]
        repeat: Option<u64>,
    }

    fn steps(line: &str) -> Result<Vec<Step>, String> {
        let words = ["line"].into_iter().chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        Ok(line.steps.all().to_vec())
    }

    fn step(prog: &str, ctx: Option<&str>, set: &[&str]) -> Step {
        Step {
            prog: Some(prog.to_owned()),
            packet: None,
            ctx: ctx.map(str::to_owned),
            set: set.iter().map(|&field| field.to_owned()).collect(),
        }
    }

    #[test]
    fn a_line_without_then_is_one_step() {
        assert_eq!(steps(""), Ok(vec![Step::default()]));
        assert_eq!(steps("--set a=1 -n enter"), Ok(vec![step("enter", None, &["a=1"])]));
    }

    #[test]
    fn options_belong_to_the_step_that_they_stand_in() {
        let line = "-n enter --ctx 1 --repeat 2 --then --set a=1 --prog=exit --set b=2 \
                    --then -n enter --ctx 3";
        let expected = vec![
            step("enter", Some("1"), &[]),
            step("exit", None, &["a=1", "b=2"]),
            step("enter", Some("3"), &[]),
        ];
        assert_eq!(steps(line), Ok(expected));
        assert_eq!(steps("--then --then").map(|steps| steps.len()), Ok(3));
    }

    #[test]
    fn a_step_has_one_program_and_one_input() {
        let problem = |line: &str| steps(line).unwrap_err();
        assert!(problem("-n a -n b").contains("--prog is given twice; --then starts"));
        assert!(problem("-n a --then -n b -n c").contains("step 2: --prog is given twice"));
        assert!(
            problem("--ctx 1 --then --ctx 2 --packet 3").contains("step 2: --packet and --ctx")
        );
    }
}
