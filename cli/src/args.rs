//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use skep::Engine;

use crate::steps::Steps;

/// Runs compiled eBPF objects without a kernel.
#[derive(Debug, Parser)]
#[command(name = "skep", version, about, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Load an object, run its programs, print results, events, printk lines, changed maps.
    Run(Box<RunArgs>),
    /// Show what is in an object.
    Inspect(ObjectArgs),
    /// Measure how long programs take on each engine.
    ///
    /// Each program runs on one input again and again, as with repeat of BPF_PROG_TEST_RUN:
    /// what a run leaves in packet, context and maps is there in the next. Engines take
    /// turns; least and median of all rounds are printed, and the instructions of a program's
    /// first run.
    Bench(BenchArgs),
    /// Load everything, run nothing, and report every problem with its source line.
    ///
    /// An error is what keeps a program or map from being used, a warning what ends a run
    /// that comes to it. With errors the exit code is 1.
    Check(CheckArgs),
    /// Print instructions with their source lines.
    Disasm(DisasmArgs),
    /// Run programs on every engine and on the running kernel, and compare.
    ///
    /// Compared are, between engines: return value, output packet, output context, printk
    /// lines, redirection, records of ring buffers and perf events, contents of maps, and
    /// faults with their place. With the kernel, which is asked by BPF_PROG_TEST_RUN when the
    /// caller may load programs: return value, output packet, output context where one was
    /// given, records, and contents of maps. Programs that ask for the clock, for random
    /// numbers, for the calling task, its cgroup or its stack, or that read memory of the
    /// kernel, are not given to the kernel, nor are types that it cannot test; nothing is
    /// attached. What depends on addresses, or in the kernel on memory that the program did not
    /// write, may differ. Each program starts with maps of its own.
    Diff(DiffArgs),
    /// Show what this build supports.
    Features,
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Print exactly one JSON document.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say more on stderr.
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// Print results only, no maps.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// The engine: jit (native code) or interp (the interpreter).
    #[arg(long, global = true, default_value_t = Engine::default(), value_parser = engine)]
    pub(crate) engine: Engine,
    /// The number of virtual CPUs.
    #[arg(long, global = true, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) cpus: u32,
    /// The virtual CPU to run on, or a range to deal runs round: K or A-B.
    #[arg(long, global = true, default_value = "0", value_parser = cpu_range)]
    pub(crate) cpu: CpuRange,
    /// Where clock, random numbers and task come from.
    #[arg(long, global = true, value_enum, default_value_t = HostKind::Fixed)]
    pub(crate) host: HostKind,
    /// Nanoseconds by which the fixed clock advances at each reading.
    #[arg(long, global = true, default_value_t = 1000, value_name = "NS")]
    pub(crate) clock_step: u64,
    /// Seed of the fixed host's random numbers.
    #[arg(long, global = true, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Seconds that a run may take.
    #[arg(long, global = true, default_value_t = 10.0, value_parser = seconds, value_name = "SECONDS")]
    pub(crate) timeout: f64,
    /// Instructions that a run may execute.
    #[arg(long, global = true, value_name = "N")]
    pub(crate) max_insns: Option<u64>,
    /// Count instructions in every engine (the interpreter always does).
    #[arg(long, global = true)]
    pub(crate) count: bool,
    /// List native code in /tmp/perf-PID.map for perf(1).
    #[arg(long, global = true)]
    pub(crate) perf_map: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum HostKind {
    /// Fixed and seeded, so that output repeats.
    Fixed,
    /// The operating system's.
    System,
}

/// Virtual CPUs `first..=last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CpuRange {
    pub(crate) first: u32,
    pub(crate) last: u32,
}

#[derive(Debug, Args)]
pub(crate) struct ObjectArgs {
    /// The compiled object.
    pub(crate) object: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The compiled object.
    pub(crate) object: PathBuf,
    /// Tell of each memory access whether it is proven, so that native code does not check
    /// it, and why; and of each loop how often it goes round.
    #[arg(long)]
    pub(crate) explain: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DisasmArgs {
    /// The compiled object.
    pub(crate) object: PathBuf,
    /// One program only.
    #[arg(short = 'n', long = "prog", value_name = "NAME")]
    pub(crate) prog: Option<String>,
    /// The native code: AT&T syntax, with the instruction that each check belongs to.
    #[arg(long)]
    pub(crate) jit: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The compiled object.
    pub(crate) object: PathBuf,
    #[command(flatten)]
    pub(crate) steps: Steps,
    #[command(flatten)]
    pub(crate) preload: Preload,
    /// Run so many times on each input of each step.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) repeat: u64,
    /// Print all maps, changed or not.
    #[arg(long)]
    pub(crate) dump_maps: bool,
    /// Print output packets of more than 16 runs too.
    #[arg(long)]
    pub(crate) data_out: bool,
    /// Fail unless every run returns this: XDP_DROP, 0.
    #[arg(long, value_name = "VALUE|NAME", allow_hyphen_values = true)]
    pub(crate) expect: Option<String>,
}

/// What programs find when they first run.
#[derive(Debug, Args)]
pub(crate) struct Preload {
    /// Preload a map: NAME=@file.json, or one element: NAME[KEY]=VALUE; without keys:
    /// NAME=VALUE, a record of a user ring buffer NAME=hex:…
    #[arg(long, value_name = "NAME…")]
    pub(crate) map: Vec<String>,
    /// Put a program into a program array.
    #[arg(long, value_name = "NAME[IDX]=PROG")]
    pub(crate) prog_array: Vec<String>,
    /// Set a global variable before load.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) global: Vec<String>,
}

/// Programs of an object, and what they are run on: of `skep diff` and `skep bench`.
#[derive(Debug, Args)]
pub(crate) struct Subject {
    /// The compiled object.
    pub(crate) object: PathBuf,
    /// One program only.
    #[arg(short = 'n', long = "prog", value_name = "NAME")]
    pub(crate) prog: Option<String>,
    /// The packet: hex:…, @FILE with raw bytes, or a pcap or pcapng file; some of our own
    /// without it.
    #[arg(long, value_name = "X", conflicts_with = "ctx")]
    pub(crate) packet: Option<String>,
    /// The raw context: hex:… or @FILE; zeros and numbers without it.
    #[arg(long, value_name = "X")]
    pub(crate) ctx: Option<String>,
    /// Set a field of the context of packet programs by its UAPI name.
    #[arg(long, value_name = "FIELD=VALUE")]
    pub(crate) set: Vec<String>,
    #[command(flatten)]
    pub(crate) preload: Preload,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) subject: Subject,
    /// Rounds for each engine, of some milliseconds each.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rounds: u32,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    #[command(flatten)]
    pub(crate) subject: Subject,
    /// Run so many times on each input.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) repeat: u64,
    /// Do not ask the running kernel.
    #[arg(long)]
    pub(crate) no_kernel: bool,
}

fn engine(name: &str) -> Result<Engine, String> {
    skep::engine_by_name(name).map_err(|error| {
        let help = error.help().unwrap_or_default();
        format!("{error}; {help}")
    })
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("`{text}` is no number of seconds"))?;
    if seconds > 0.0 && seconds <= 1e9 {
        Ok(seconds)
    } else {
        Err("a time limit is more than 0 and at most a thousand million seconds".to_owned())
    }
}

fn cpu_range(text: &str) -> Result<CpuRange, String> {
    let number = |text: &str| text.parse().map_err(|_| format!("`{text}` is no CPU number"));
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    if first > last {
        return Err(format!("{first} comes after {last}"));
    }
    Ok(CpuRange { first, last })
}
