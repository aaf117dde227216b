//! The steps of a run: `--then` parts the command line, and each part has a program and an
//! input of its own.

use clap::{ArgMatches, Args, Command, Error, FromArgMatches};

use crate::failure::Failure;

/// One program and its input, as typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) prog: Option<String>,
    pub(crate) packet: Option<String>,
    pub(crate) ctx: Option<String>,
    pub(crate) set: Vec<String>,
}

/// All steps, as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Steps(Result<Vec<Step>, Problem>);

/// Why a step makes no sense, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Problem {
    message: String,
    help: String,
}

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
    /// The steps in their order; there is at least one.
    pub(crate) fn all(&self) -> Result<&[Step], Failure> {
        match &self.0 {
            Ok(steps) => Ok(steps),
            Err(Problem { message, help }) => Err(Failure::usage(message, Some(help.clone()))),
        }
    }
}

/// What precedes a message about one of `count` steps: nothing when it is the only one.
pub(crate) fn place(index: usize, count: usize) -> String {
    if count == 1 { String::new() } else { format!("step {}: ", index + 1) }
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
        let count = starts.len() + 1;
        let mut steps = vec![Step::default(); count];
        for option in ["prog", "packet", "ctx", "set"] {
            let indices = matches.indices_of(option).into_iter().flatten();
            let values = matches.get_many::<String>(option).into_iter().flatten();
            for (index, value) in indices.zip(values) {
                let step = starts.partition_point(|&start| start < index);
                if let Err(problem) = steps[step].give(option, value) {
                    let message = place(step, count) + &problem.message;
                    return Ok(Self(Err(Problem { message, ..problem })));
                }
            }
        }
        Ok(Self(Ok(steps)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Step {
    fn give(&mut self, option: &str, value: &str) -> Result<(), Problem> {
        let slot = match option {
            "prog" => &mut self.prog,
            "packet" => &mut self.packet,
            "ctx" => &mut self.ctx,
            _ => {
                self.set.push(value.to_owned());
                return Ok(());
            }
        };
        if slot.is_some() {
            let message = format!("--{option} is given twice");
            let help = "start a further step with --then".to_owned();
            return Err(Problem { message, help });
        }
        *slot = Some(value.to_owned());
        if self.packet.is_some() && self.ctx.is_some() {
            let message = "--packet and --ctx are both given".to_owned();
            let help = "a program takes one or the other".to_owned();
            return Err(Problem { message, help });
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
        line.steps.0.map_err(|problem| problem.message)
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
        assert_eq!(problem("-n a -n b"), "--prog is given twice");
        assert_eq!(problem("-n a --then -n b -n c"), "step 2: --prog is given twice");
        let line = "--ctx 1 --then --ctx 2 --packet 3";
        assert_eq!(problem(line), "step 2: --packet and --ctx are both given");
    }
}
