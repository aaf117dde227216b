//! How far skep's engines are from where they should be.

use std::fmt::Write;

use skep::Engine as Own;

use crate::engine::Engine;
use crate::first;
use crate::measure::Results;
use crate::options::Options;
use crate::own::{call, call_by_packet_buffer};
use crate::programs::Kind;
use crate::report::ratio;

/// A figure that should not be exceeded.
#[derive(Debug)]
struct Goal {
    what: &'static str,
    /// What must be reached, and what would be better still.
    target: Option<(f64, f64)>,
    figure: Figure,
}

/// How a figure comes about.
#[derive(Debug)]
enum Figure {
    /// From the table.
    Of(fn(&Results, Engine) -> Option<f64>),
    /// From a measurement of its own, which is repeated for each round.
    Measured(fn(Own) -> Result<f64, String>),
}

const GOALS: &[Goal] = &[
    Goal {
        what: "compute / kernel, geometric mean",
        target: Some((0.90, 0.75)),
        figure: Figure::Of(|r, own| mean(&r.ratios(Kind::Compute, own, Engine::Kernel))),
    },
    Goal {
        what: "compute / kernel, worst",
        target: Some((1.30, 1.0)),
        figure: Figure::Of(|r, own| worst(&r.ratios(Kind::Compute, own, Engine::Kernel))),
    },
    Goal {
        what: "compute / native, geometric mean",
        target: Some((1.80, 1.40)),
        figure: Figure::Of(|r, own| mean(&r.ratios(Kind::Compute, own, Engine::Native))),
    },
    Goal {
        what: "compute / rbpf's JIT, geometric mean",
        target: Some((0.85, 0.70)),
        figure: Figure::Of(|r, own| mean(&r.ratios(Kind::Compute, own, Engine::Rbpf("jit")))),
    },
    Goal {
        what: "compute / rbpf's Cranelift, of what that runs",
        target: Some((0.45, 0.35)),
        figure: Figure::Of(|r, own| mean(&r.ratios(Kind::Compute, own, Engine::Rbpf("cranelift")))),
    },
    Goal {
        what: "maps / kernel, geometric mean",
        target: Some((0.75, 0.60)),
        figure: Figure::Of(|r, own| mean(&r.ratios(Kind::Map, own, Engine::Kernel))),
    },
    Goal {
        what: "  the same, kernel with what is around a run",
        target: None,
        figure: Figure::Of(|r, own| mean(&r.ratios_with_around(Kind::Map, own, Engine::Kernel))),
    },
    Goal {
        what: "33 tail calls, constant index / kernel",
        target: Some((2.0, 1.2)),
        figure: Figure::Of(|r, own| r.ratio_of("m_tail", own, Engine::Kernel)),
    },
    Goal {
        what: "33 tail calls, runtime index / kernel",
        target: Some((1.3, 1.0)),
        figure: Figure::Of(|r, own| r.ratio_of("m_tailidx", own, Engine::Kernel)),
    },
    Goal {
        what: "`empty`, from call to return, ns",
        target: Some((6.0, 3.0)),
        figure: Figure::Measured(call),
    },
    Goal {
        what: "  the same by `PacketBuffer::run`, with its output",
        target: None,
        figure: Figure::Measured(call_by_packet_buffer),
    },
    Goal {
        what: "object to first result in a new process, ms",
        target: Some((3.0, 1.0)),
        figure: Figure::Measured(first::measure),
    },
];

/// The goals with the figures of each of skep's engines.
#[derive(Debug)]
pub(crate) struct Reached {
    engines: Vec<Own>,
    rows: Vec<(&'static Goal, Vec<Option<f64>>)>,
    /// Why there are figures missing.
    problems: Vec<String>,
}

/// Computes the figures, and measures those that the table does not have.
pub(crate) fn reach(options: &Options, results: &Results) -> Reached {
    let own = results.engines.iter().filter_map(|engine| match engine {
        Engine::Skep(own) => Some(*own),
        _ => None,
    });
    let engines: Vec<Own> = own.collect();
    let mut problems = Vec::new();
    let mut rows = Vec::new();
    for goal in GOALS {
        let figures = engines.iter().map(|&engine| {
            goal.figure.get(engine, options, results).unwrap_or_else(|why| {
                problems.push(format!("{}, {engine}: {why}", goal.what.trim()));
                None
            })
        });
        rows.push((goal, figures.collect()));
    }
    Reached { engines, rows, problems }
}

impl Reached {
    /// Prints them.
    pub(crate) fn print(&self) {
        if self.engines.is_empty() {
            return;
        }
        let names: String =
            self.engines.iter().map(|engine| format!(" {:>8}", engine.name())).collect();
        println!("\n{:<52}{names} {:>8} {:>8}", "goal", "target", "better");
        for (goal, figures) in &self.rows {
            let figures: String =
                figures.iter().map(|&figure| format!(" {:>8}", ratio(figure))).collect();
            let (target, better) = goal.target.unzip();
            println!("{:<52}{figures} {:>8} {:>8}", goal.what, ratio(target), ratio(better));
        }
        println!("\nThe last row is about {}.", first::what());
        for problem in &self.problems {
            println!("{problem}");
        }
    }

    /// A line for each goal and engine.
    pub(crate) fn tsv(&self) -> String {
        let mut text = String::from("goal\tengine\tfigure\ttarget\tbetter\n");
        for (goal, figures) in &self.rows {
            let (target, better) = goal.target.unzip();
            for (engine, &figure) in self.engines.iter().zip(figures) {
                let numbers = [figure, target, better];
                let numbers = numbers.map(|n| n.map_or("\t".to_owned(), |n| format!("\t{n:.3}")));
                let _ = writeln!(text, "{}\tskep-{engine}{}", goal.what.trim(), numbers.concat());
            }
        }
        text
    }
}

impl Figure {
    fn get(&self, own: Own, options: &Options, results: &Results) -> Result<Option<f64>, String> {
        match self {
            Self::Of(figure) => Ok(figure(results, Engine::Skep(own))),
            Self::Measured(measure) => {
                let figures = (0..options.rounds).map(|_| measure(own));
                let figures = figures.collect::<Result<Vec<_>, _>>()?;
                Ok(figures.into_iter().min_by(f64::total_cmp))
            }
        }
    }
}

/// The geometric mean; none of none.
fn mean(ratios: &[f64]) -> Option<f64> {
    let logs: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
    (!ratios.is_empty()).then(|| (logs / ratios.len() as f64).exp())
}

fn worst(ratios: &[f64]) -> Option<f64> {
    ratios.iter().copied().max_by(f64::total_cmp)
}
