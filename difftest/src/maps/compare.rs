//! Asks several backends the same, and makes a script that they answer differently short.

use skep_oracle::script::{Backend, Case, Step, answers};

/// Someone who answers scripts: a name, and a backend anew for each script.
pub struct Engine<'e> {
    /// The name.
    pub name: &'static str,
    /// Makes a backend without maps.
    pub make: &'e dyn Fn() -> Box<dyn Backend + 'e>,
}

impl std::fmt::Debug for Engine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// What two engines make of the same line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The line's place in the case, from 0.
    pub line: usize,
    /// The engines' names and answers.
    pub answers: Vec<(&'static str, String)>,
}

/// The first line that not all engines answer alike.
#[must_use]
pub fn difference(case: &Case, engines: &[Engine<'_>]) -> Option<Difference> {
    let all: Vec<Vec<String>> =
        engines.iter().map(|engine| answers(case, &mut *(engine.make)())).collect();
    let of = |line: usize| all.iter().map(move |answers| plain(&answers[line]));
    let line = (0..case.lines.len()).find(|&line| {
        let mut answers = of(line);
        let first = answers.next();
        answers.any(|answer| Some(answer) != first)
    })?;
    let names = engines.iter().map(|engine| engine.name);
    Some(Difference { line, answers: names.zip(of(line).map(str::to_owned)).collect() })
}

/// An answer as the kernel words it: what the verifier refuses is a fault in skep.
fn plain(answer: &str) -> &str {
    if answer.starts_with("fault: ") { "refused" } else { answer }
}

/// Leaves lines out as long as the engines still differ on the last one.
#[must_use]
pub fn shrink(case: &Case, engines: &[Engine<'_>]) -> Case {
    let Some(found) = difference(case, engines) else {
        return case.clone();
    };
    let mut best = case.clone();
    best.lines.truncate(found.line + 1);
    let mut chunk = best.lines.len();
    while chunk > 0 {
        let mut start = 0;
        while start < best.lines.len() {
            let mut smaller = best.clone();
            let end = (start + chunk).min(smaller.lines.len());
            smaller.lines.drain(start..end);
            if differs_at_the_end(&smaller, engines) {
                best = smaller;
            } else {
                start += chunk;
            }
        }
        chunk /= 2;
    }
    best
}

fn differs_at_the_end(case: &Case, engines: &[Engine<'_>]) -> bool {
    has_its_maps(case)
        && difference(case, engines).is_some_and(|found| found.line + 1 == case.lines.len())
}

/// Whether each map is made before it is used.
fn has_its_maps(case: &Case) -> bool {
    let mut made: Vec<String> = Vec::new();
    case.lines.iter().filter_map(|line| line.steps().ok()).flatten().all(|(step, _)| match step {
        Step::Map(decl) => {
            let complete = decl.inner.as_ref().is_none_or(|inner| made.contains(inner));
            made.push(decl.name);
            complete
        }
        Step::Prog(_) => true,
        Step::Event(decl) => {
            made.push(decl.name);
            true
        }
        Step::Call(call) => {
            let value = call.args.text("value").and_then(|value| value.strip_prefix('@'));
            made.contains(&call.map)
                && value.is_none_or(|value| made.iter().any(|own| own == value))
        }
    })
}

/// A case as it stands in a file of `testdata/maps`, with the answers of one engine.
#[must_use]
pub fn script(case: &Case, engine: &Engine<'_>) -> String {
    let answers = answers(case, &mut *(engine.make)());
    let lines = case.lines.iter().zip(answers);
    let lines: String =
        lines.map(|(line, answer)| format!("{} -> {answer}\n", line.question)).collect();
    format!("case {}\n{lines}", case.title)
}
