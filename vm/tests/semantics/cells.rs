//! `testdata/maps/cells.tsv`: what must have a case, and whether it has one.

use std::collections::BTreeMap;
use std::fs;
use std::sync::LazyLock;

use libtest_mimic::{Failed, Trial};
use skep_maps::MapType;
use skep_oracle::recorded::words;
use skep_oracle::script::{Call, MapDecl, Side, Step};

use crate::differences::matches;
use crate::section::{Section, sections};
use crate::{FAMILIES, scripts};

/// The operations of which every type must have a row.
const OPERATIONS: &[(&str, &str)] = &[
    ("S", "create"),
    ("S", "lookup"),
    ("S", "update"),
    ("S", "delete"),
    ("S", "get_next_key"),
    ("S", "lookup_and_delete"),
    ("S", "freeze"),
    ("S", "lookup_batch"),
    ("S", "lookup_and_delete_batch"),
    ("S", "update_batch"),
    ("S", "delete_batch"),
    ("P", "lookup"),
    ("P", "update"),
    ("P", "delete"),
    ("P", "lookup_percpu"),
    ("P", "for_each"),
];

/// A rule, and what a case that proves it has.
#[derive(Debug)]
struct Row {
    line: usize,
    types: Vec<&'static str>,
    side: &'static str,
    operations: Vec<&'static str>,
    rule: &'static str,
    case: Pattern,
}

/// Words of question and answer, and of the title.
#[derive(Debug)]
struct Pattern {
    text: &'static str,
    question: Vec<&'static str>,
    answer: Vec<&'static str>,
}

/// An operation on a map that a kernel answered.
#[derive(Debug)]
struct Fact {
    map_type: String,
    side: &'static str,
    operation: String,
    /// The title of a script's case.
    title: &'static str,
    question: Vec<String>,
    answer: Vec<String>,
}

static ROWS: LazyLock<Vec<Row>> = LazyLock::new(read);
static FACTS: LazyLock<Vec<Fact>> = LazyLock::new(|| {
    let recorded = FAMILIES.iter().flat_map(|&(file, _)| sections(file));
    let mut facts: Vec<Fact> = recorded.flat_map(|section| recorded_facts(&section)).collect();
    facts.extend(scripts::sections().iter().flat_map(script_facts));
    facts
});

/// One trial for each type that skep has.
pub(crate) fn trials() -> Vec<Trial> {
    let supported = MapType::ALL.iter().filter(|map_type| map_type.is_supported());
    let prove = |map_type: &MapType| {
        let name = map_type.name();
        Trial::test(format!("cells: {name}"), move || check(name))
    };
    let mut trials: Vec<Trial> = supported.map(prove).collect();
    trials.push(Trial::test("cells: every_type_is_known", every_type_is_known));
    trials
}

/// How many questions about a type a kernel has answered, from user space and from programs,
/// and how many rules it has.
pub(crate) fn counts(map_type: &str) -> [usize; 3] {
    let about = |side: &'static str| {
        let own = |fact: &&Fact| fact.map_type == map_type && fact.side == side;
        FACTS.iter().filter(own).count()
    };
    let rules = ROWS.iter().filter(|row| row.types.contains(&map_type));
    [about("S"), about("P"), rules.count()]
}

/// Each rule of a type has a case, and each operation a rule.
fn check(map_type: &str) -> Result<(), Failed> {
    let rows: Vec<&Row> = ROWS.iter().filter(|row| row.types.contains(&map_type)).collect();
    let facts: Vec<&Fact> = FACTS.iter().filter(|fact| fact.map_type == map_type).collect();
    let mut wrong = Vec::new();
    for &(side, operation) in OPERATIONS {
        if !rows.iter().any(|row| row.side == side && row.operations.contains(&operation)) {
            wrong.push(format!("cells.tsv: no rule for {map_type} {side} {operation}"));
        }
    }
    for row in rows {
        for operation in &row.operations {
            let mut about =
                facts.iter().filter(|fact| fact.side == row.side && fact.operation == *operation);
            if !about.any(|fact| row.case.is_in(fact)) {
                let Row { line, side, rule, .. } = row;
                let what = format!("cells.tsv:{line}: {map_type} {side} {operation}: {rule}");
                wrong.push(format!("{what}\n    no case has {}", row.case.text));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

fn every_type_is_known() -> Result<(), Failed> {
    let known = |name: &str| MapType::ALL.iter().any(|map_type| map_type.name() == name);
    let wrong = ROWS.iter().flat_map(|row| row.types.iter().map(move |name| (row.line, *name)));
    let wrong: Vec<String> = wrong
        .filter(|(_, name)| !known(name))
        .map(|(line, name)| format!("cells.tsv:{line}: no type `{name}`"))
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

fn read() -> Vec<Row> {
    let text = fs::read_to_string(scripts::folder().join("cells.tsv"));
    let text: &'static str = text.expect("the table is in the repository").leak();
    let rows = (1..).zip(text.lines()).filter(|(_, row)| !row.is_empty() && !row.starts_with('#'));
    rows.map(|(line, row)| {
        let columns: Vec<&str> = row.split('\t').collect();
        let [types, side, operations, rule, case] = columns[..] else {
            panic!("cells.tsv:{line}: a row has five columns");
        };
        assert!(matches!(side, "S" | "P"), "cells.tsv:{line}: `{side}` is no side");
        let (types, operations) = (types.split(',').collect(), operations.split(',').collect());
        let case = Pattern::parse(case).unwrap_or_else(|| panic!("cells.tsv:{line}: no case"));
        Row { line, types, side, operations, rule, case }
    })
    .collect()
}

impl Pattern {
    fn parse(text: &'static str) -> Option<Self> {
        let words = words(text)?;
        let arrow = words.iter().position(|&word| word == "->")?;
        let (question, answer) = (words[..arrow].to_vec(), words[arrow + 1..].to_vec());
        (!answer.is_empty()).then_some(Self { text, question, answer })
    }

    fn is_in(&self, fact: &Fact) -> bool {
        let asked = |word: &&str| match word.strip_prefix('"').and_then(|w| w.strip_suffix('"')) {
            Some(title) => title.split('|').any(|title| fact.title.contains(title)),
            None => has(&fact.question, word),
        };
        self.question.iter().all(asked) && self.answer.iter().all(|word| has(&fact.answer, word))
    }
}

/// Whether a word is there: `*` stands for anything, `|` for one or the other, `!` for not.
fn has(words: &[String], pattern: &str) -> bool {
    if let Some(pattern) = pattern.strip_prefix('!') {
        return !has(words, pattern);
    }
    let mut any = pattern.split('|');
    any.any(|pattern| words.iter().any(|word| matches(pattern, word)))
}

fn recorded_facts(section: &Section) -> Vec<Fact> {
    let facts = section.cases.iter().filter_map(|case| {
        let (map_type, side, operation) = about(section.file, &case.question)?;
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Some(Fact {
            map_type: map_type.split('/').next()?.to_owned(),
            side,
            operation: operation.to_owned(),
            title: "",
            question: owned(&case.question),
            answer: owned(&case.answer),
        })
    });
    facts.collect()
}

/// The type, the side and the operation of a recorded question.
fn about<'q>(file: &str, question: &[&'q str]) -> Option<(&'q str, &'static str, &'q str)> {
    let first = *question.first()?;
    let sides = ["S", "P"];
    let side = question.iter().find_map(|word| {
        let side = sides.iter().find(|side| *side == word)?;
        Some((*side, question.iter().position(|own| own == word)?))
    });
    match (file, first, side) {
        (_, "create", _) => Some((question.get(1)?, "S", "create")),
        (_, "state", _) => None,
        ("for-each", _, _) => {
            let map_type = question.iter().find_map(|word| word.strip_prefix("type="))?;
            Some((map_type, "P", "for_each"))
        }
        ("ringbuf-program", _, _) => {
            let operation = question.last()?.split('=').next()?;
            Some(("ringbuf", "P", operation))
        }
        ("elements", _, _) => {
            let (side, operation) = element_operation(question);
            Some((first, side, operation))
        }
        (_, _, Some((side, at))) => Some((first, side, question.get(at + 1)?)),
        _ => None,
    }
}

/// What a line of `elements.txt` is about.
fn element_operation(question: &[&str]) -> (&'static str, &'static str) {
    let has = |start: &str| question.iter().any(|word| word.starts_with(start));
    match () {
        () if has("steps=") => ("P", "pointer"),
        () if has("owner=") || has("insert=") => ("P", "owner"),
        () if has("reused") => ("P", "update"),
        () => ("S", "buckets"),
    }
}

/// The operations of a script's case; the first word of each question is the type with
/// what the map was made with and whether it is frozen.
fn script_facts(section: &Section) -> Vec<Fact> {
    let mut maps: BTreeMap<String, (MapDecl, bool)> = BTreeMap::new();
    let mut facts = Vec::new();
    for line in scripts::case(section).lines {
        let steps = line.steps().expect("the script was read");
        for (step, answer) in steps {
            let answer = answer.expect("the script was recorded");
            let fact = match step {
                Step::Prog(_) | Step::Event(_) | Step::Socket(_) | Step::Close(_) => continue,
                Step::Map(decl) => {
                    let question = creation(&decl);
                    let map_type = decl.map_type.clone();
                    maps.insert(decl.name.clone(), (decl, false));
                    (map_type, "S", "create".to_owned(), question)
                }
                Step::Call(call) => {
                    let (decl, frozen) = maps.get_mut(&call.map).expect("the map was made");
                    let side = if call.side == Side::System { "S" } else { "P" };
                    let question = question(&call, decl, *frozen);
                    *frozen |= call.operation == "freeze" && answer == "ok";
                    (decl.map_type.clone(), side, call.operation, question)
                }
            };
            let (map_type, side, operation, question) = fact;
            let answer = answer.split_whitespace().map(str::to_owned).collect();
            facts.push(Fact { map_type, side, operation, title: section.name, question, answer });
        }
    }
    facts
}

fn creation(decl: &MapDecl) -> Vec<String> {
    let MapDecl { key_size, value_size, max_entries, flags, map_extra, numa_node, .. } = decl;
    let lock = decl.lock.map(|at| format!("lock={at}"));
    let words = [
        state(decl, false),
        format!("key_size={key_size}"),
        format!("value_size={value_size}"),
        format!("max_entries={max_entries}"),
        format!("flags={flags:#x}"),
        format!("map_extra={map_extra}"),
        format!("numa_node={numa_node}"),
    ];
    words.into_iter().chain(lock).collect()
}

/// The type with what the map was made with and what was done to it.
fn state(decl: &MapDecl, frozen: bool) -> String {
    const FLAGS: [(u32, &str); 5] = [
        (0x1, "/no_prealloc"),
        (0x8, "/rdonly"),
        (0x10, "/wronly"),
        (0x80, "/rdonly_prog"),
        (0x100, "/wronly_prog"),
    ];
    let mut state = decl.map_type.clone();
    for (_, word) in FLAGS.iter().filter(|(flag, _)| decl.flags & flag != 0) {
        state += word;
    }
    if decl.lock.is_some() {
        state += "/lock";
    }
    if frozen { state + "/frozen" } else { state }
}

/// A call's words, those included that are not said.
fn question(call: &Call, decl: &MapDecl, frozen: bool) -> Vec<String> {
    let mut words = vec![state(decl, frozen)];
    words.extend(call.args.words());
    for (name, word) in [("key", "key=-"), ("flags", "flags=0x0")] {
        if call.args.text(name).is_none() {
            words.push(word.to_owned());
        }
    }
    words
}
