//! The table of programs and engines, for people and for machines.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::engine::Engine;
use crate::measure::{Results, Row};
use crate::programs::EMPTY;

/// Prints the table, and below it why some engines did not run some programs.
pub(crate) fn print(results: &Results) {
    println!("\nns a run, least of {} rounds; net: less what `empty` takes\n", results.rounds);
    let ratios = ratio_columns(results);
    let mut head = format!("{:<10}", "program");
    for &engine in &results.engines {
        let _ = write!(head, " {:>11}", short(engine));
        if engine == Engine::Kernel {
            let _ = write!(head, " {:>11}", "net");
        }
    }
    for (of, to) in &ratios {
        let title = format!("{}/{}", short(*of), short(*to));
        let _ = write!(head, " {title:>15}");
    }
    println!("{head}");
    for row in &results.rows {
        println!("{}", line(results, row, &ratios));
    }
    println!("\nthe median of the rounds is {:.2} times the least", results.noise());
    for ((engines, why), programs) in absences(results) {
        println!("{}: {why}: {}", engines.join(", "), programs.join(" "));
    }
}

/// Programs that some engines did not run, by engines and reason.
fn absences(results: &Results) -> BTreeMap<(Vec<String>, &str), Vec<&'static str>> {
    let mut absences = BTreeMap::<_, Vec<_>>::new();
    for row in &results.rows {
        let mut by_reason = BTreeMap::<_, Vec<_>>::new();
        for (engine, cell) in results.engines.iter().zip(&row.cells) {
            if let Some(why) = cell.as_ref().err().filter(|why| !why.is_empty()) {
                by_reason.entry(why.as_str()).or_default().push(engine.to_string());
            }
        }
        for (why, engines) in by_reason {
            absences.entry((engines, why)).or_default().push(row.program.name);
        }
        let kernel = Engine::Kernel;
        let ran = |engine| results.engines.contains(&engine) && results.cell(row, engine).is_some();
        if row.program.name != EMPTY.name && ran(kernel) && results.ns(row, kernel).is_none() {
            let key = (vec![kernel.to_string()], "hardly longer than `empty`, no net figure");
            absences.entry(key).or_default().push(row.program.name);
        }
    }
    absences
}

fn line(results: &Results, row: &Row, ratios: &[(Engine, Engine)]) -> String {
    let mut line = format!("{:<10}", row.program.name);
    for (&engine, cell) in results.engines.iter().zip(&row.cells) {
        let least = cell.as_ref().ok().map(|cell| cell.least);
        let _ = write!(line, " {:>11}", number(least));
        if engine == Engine::Kernel {
            let _ = write!(line, " {:>11}", number(results.ns(row, engine)));
        }
    }
    for &(of, to) in ratios {
        let _ = write!(line, " {:>15}", ratio(results.ratio(row, of, to)));
    }
    line
}

/// skep's engines against the kernel, native code and rbpf's JIT.
fn ratio_columns(results: &Results) -> Vec<(Engine, Engine)> {
    let own = results.engines.iter().filter(|engine| matches!(engine, Engine::Skep(_)));
    let others = [Engine::Kernel, Engine::Native, Engine::Rbpf("jit")];
    let others = others.into_iter().filter(|engine| results.engines.contains(engine));
    own.flat_map(|&own| others.clone().map(move |other| (own, other))).collect()
}

/// An engine's name in a narrow column: skep's without `skep`.
fn short(engine: Engine) -> String {
    match engine {
        Engine::Skep(engine) => engine.to_string(),
        Engine::Rbpf("cranelift") => "rbpf-cl".to_owned(),
        other => other.to_string(),
    }
}

/// Nanoseconds, with as many digits as mean something.
fn number(ns: Option<f64>) -> String {
    match ns {
        None => "-".to_owned(),
        Some(ns) if ns < 100.0 => format!("{ns:.1}"),
        Some(ns) => format!("{ns:.0}"),
    }
}

pub(crate) fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"))
}

/// All figures: a line for each program and engine that ran it.
pub(crate) fn tsv(results: &Results) -> String {
    let mut text = String::from("program\tengine\tns_min\tns_median\tretval\n");
    for row in &results.rows {
        for (engine, cell) in results.engines.iter().zip(&row.cells) {
            if let Ok(cell) = cell {
                let (name, [retval, _]) = (row.program.name, cell.retvals);
                let (least, median) = (cell.least, cell.median);
                let _ = writeln!(text, "{name}\t{engine}\t{least:.3}\t{median:.3}\t{retval}");
            }
        }
    }
    text
}
