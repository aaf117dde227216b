//! Compares skep's answers with the kernel's.

use std::collections::BTreeSet;
use std::sync::{LazyLock, OnceLock};

use libtest_mimic::Failed;
use skep_difftest::lab;
use skep_vm::Engine;

use crate::differences::{self, Difference};
use crate::section::{Section, sections};
use crate::{FAMILIES, Family, scripts};

static DIFFERENCES: LazyLock<Vec<Difference>> = LazyLock::new(differences::read);

static VERDICTS: LazyLock<Vec<Verdict>> = LazyLock::new(|| {
    let recorded = FAMILIES.iter().flat_map(|&(file, family)| {
        sections(file).into_iter().map(move |section| (section, family))
    });
    let scripts = scripts::sections().into_iter().map(|case| (case, scripts::answer as Family));
    recorded
        .chain(scripts)
        .map(|(section, family)| Verdict { section, family, outcome: OnceLock::new() })
        .collect()
});

/// A section and, once it was replayed, what came out.
pub(crate) struct Verdict {
    pub(crate) section: Section,
    family: Family,
    outcome: OnceLock<Outcome>,
}

#[derive(Debug, Default)]
struct Outcome {
    /// Lines about cases that are wrong.
    wrong: Vec<String>,
    /// Lines of the differences that were needed.
    needed: BTreeSet<usize>,
}

/// The text with `0x…` in the place of guest addresses.
fn without_addresses(text: &str) -> String {
    let mut words = text.split("0x");
    let mut result = words.next().unwrap_or_default().to_owned();
    for word in words {
        let digits = word.bytes().take_while(u8::is_ascii_hexdigit).count();
        let (address, rest) = word.split_at(digits);
        result.push_str("0x");
        result.push_str(if digits > 4 { "…" } else { address });
        result.push_str(rest);
    }
    result
}

/// All sections of all files.
pub(crate) fn all() -> &'static [Verdict] {
    &VERDICTS
}

impl Verdict {
    /// The trial's name.
    pub(crate) fn name(&self) -> String {
        let Section { file, name, .. } = self.section;
        if name.is_empty() { file.to_owned() } else { format!("{file}: {name}") }
    }

    /// Replays the section, once, and says what is wrong.
    pub(crate) fn check(&self) -> Result<(), Failed> {
        let wrong = &self.outcome().wrong;
        if wrong.is_empty() {
            return Ok(());
        }
        let cases = self.section.cases.len();
        let lines = wrong.join("\n");
        Err(format!("{} of {cases} cases are wrong:\n{lines}", wrong.len()).into())
    }

    fn outcome(&self) -> &Outcome {
        self.outcome.get_or_init(|| {
            let section = &self.section;
            let answers = (self.family)(section);
            assert_eq!(answers.len(), section.cases.len(), "each case has an answer");
            let mut outcome = Outcome::default();
            for &engine in Engine::ALL {
                let others = lab::on(engine, || (self.family)(section));
                for ((case, other), answer) in section.cases.iter().zip(others).zip(&answers) {
                    // Which addresses are free depends on what runners still hold.
                    if without_addresses(&other) != without_addresses(answer) {
                        let place = format!("{}.txt:{}", section.file, case.line);
                        let question = case.question.join(" ");
                        let text =
                            format!("{place}: {question}\n    {engine}: {other}, not {answer}");
                        outcome.wrong.push(text);
                    }
                }
            }
            for (case, skep) in section.cases.iter().zip(&answers) {
                let (question, kernel) = (case.question.join(" "), case.answer.join(" "));
                let line = format!("{question} -> {kernel}");
                let place = format!("{}.txt:{}: {line}", section.file, case.line);
                let about = |difference: &&Difference| difference.is_about(section.file, &line);
                let mut rows = DIFFERENCES.iter().filter(about);
                if *skep == kernel {
                    if let Some(row) = rows.next() {
                        let row = row.line;
                        let text = format!("{place}\n    as differences.tsv:{row} says it is not");
                        outcome.wrong.push(text);
                    }
                    continue;
                }
                match rows.find(|row| row.allows(skep)) {
                    Some(row) => drop(outcome.needed.insert(row.line)),
                    None => outcome.wrong.push(format!("{place}\n    skep: {skep}")),
                }
            }
            outcome
        })
    }
}

/// Each row of the list of differences is some case's.
pub(crate) fn every_difference_is_needed() -> Result<(), Failed> {
    let needed: BTreeSet<usize> =
        all().iter().flat_map(|verdict| verdict.outcome().needed.iter().copied()).collect();
    let idle: Vec<String> = DIFFERENCES
        .iter()
        .filter(|row| !needed.contains(&row.line))
        .map(|row| format!("differences.tsv:{}", row.line))
        .collect();
    if idle.is_empty() {
        return Ok(());
    }
    Err(format!("no case differs so any more: {}", idle.join(", ")).into())
}
