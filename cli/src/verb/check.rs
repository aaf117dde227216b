//! `skep check`: loads everything, runs nothing, and reports every problem.

use std::fmt;

use serde_json::{Value, json};
use skep::loader::{Endian, POISON_CALL, ProgramDef};
use skep::prog::Context;
use skep::{Engine, Error, Loaded, Map, MapType, Object, Program, Vm, helpers, isa};

use crate::args::{CheckArgs, Global};
use crate::failure::Failure;
use crate::machine;
use crate::print::{Printer, document};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Severity {
    /// It cannot run.
    Error,
    /// It runs as long as it does not come there.
    Warning,
    /// It is worth knowing.
    Info,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        })
    }
}

/// Something to say about the object.
#[derive(Debug)]
struct Problem {
    severity: Severity,
    program: Option<String>,
    insn: Option<u32>,
    /// File and line.
    place: Option<(String, u32)>,
    message: String,
}

pub(crate) fn run(global: &Global, args: &CheckArgs) -> Result<(), Failure> {
    let object = Object::open(&args.object)?;
    let vm = machine::build(global, global.engine, global.cpus, &machine::fixed_host(global))?;
    let mut check = Check { object: &object, problems: Vec::new() };
    let loaded = check.maps(&vm).then(|| vm.load(object.clone()));
    let loaded = match loaded {
        Some(Ok(loaded)) => Some(loaded),
        Some(Err(error)) => {
            check.whole(&error);
            None
        }
        None => None,
    };
    for def in object.parsed().programs() {
        check.program(def, loaded.as_ref());
    }
    let problems = check.problems;
    let explained: Option<Vec<Explained<'_>>> = args.explain.then(|| {
        let defs = object.parsed().programs().iter();
        let programs = loaded.as_ref().map(|loaded| {
            defs.filter_map(|def| Some(Explained { def, program: loaded.program(&def.name).ok()? }))
        });
        programs.into_iter().flatten().collect()
    });
    if global.json {
        let mut json = json!({
            "object": object.name(),
            "problems": problems.iter().map(Problem::to_json).collect::<Vec<_>>(),
        });
        if let Some(explained) = &explained {
            json["programs"] = explained.iter().map(Explained::to_json).collect();
        }
        document(&json)?;
    } else {
        let mut out = Printer::new();
        for problem in &problems {
            out.line(&problem.to_string())?;
        }
        for explained in explained.iter().flatten() {
            explained.print(&mut out)?;
        }
        if problems.is_empty() && !global.quiet {
            out.line(&format!("{}: no problems", object.name()))?;
        }
        out.flush()?;
    }
    match problems.iter().filter(|problem| problem.severity == Severity::Error).count() {
        0 => Ok(()),
        1 => Err(Failure::expectation(format!("{} has an error", object.name()))),
        n => Err(Failure::expectation(format!("{} has {n} errors", object.name()))),
    }
}

struct Check<'o> {
    object: &'o Object,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn say(
        &mut self,
        severity: Severity,
        at: Option<(&ProgramDef, Option<u32>)>,
        message: impl Into<String>,
    ) {
        let insn = at.and_then(|(_, insn)| insn);
        let line = at.and_then(|(def, insn)| def.line_at(insn?));
        self.problems.push(Problem {
            severity,
            program: at.map(|(def, _)| def.name.to_string()),
            insn,
            place: line.map(|line| (line.file.to_string(), line.line)),
            message: message.into(),
        });
    }

    /// What is wrong with the object as a whole.
    fn whole(&mut self, error: &Error) {
        self.say(Severity::Error, None, error.to_string());
    }

    /// Makes each map on its own; whether all could be made.
    fn maps(&mut self, vm: &Vm) -> bool {
        let object = self.object;
        if object.parsed().endian() == Endian::Big {
            // Loading says so; definitions are in the right order all the same.
            return true;
        }
        let before = self.problems.len();
        for decl in object.parsed().maps() {
            let mut def = decl.def.clone();
            if def.max_entries == 0 && def.map_type == MapType::PerfEventArray.id() {
                def.max_entries = vm.cpus();
            }
            match Map::create(vm, &def) {
                Ok(_) => {}
                Err(Error::Create { source, .. }) => {
                    self.say(Severity::Error, None, source.to_string());
                }
                Err(error) => self.whole(&error),
            }
        }
        self.problems.len() == before
    }

    fn program(&mut self, def: &ProgramDef, loaded: Option<&Loaded>) {
        for problem in def.problems() {
            let insn = def.insn_at(problem.site());
            self.say(Severity::Error, Some((def, insn)), problem.to_string());
        }
        let entry = Some((def, Some(0)));
        match def.prog_type {
            Some(t) if t.context == Context::Unsupported => {
                self.say(
                    Severity::Error,
                    entry,
                    format!("skep cannot run {} programs yet", t.name),
                );
            }
            Some(_) => {}
            None => {
                let section = &def.section;
                let what = "names no program type: its context is plain bytes";
                self.say(Severity::Warning, entry, format!("section `{section}` {what}"));
            }
        }
        self.instructions(def);
        let Some(loaded) = loaded else { return };
        match loaded.program(&def.name) {
            Ok(program) => {
                for &engine in Engine::ALL {
                    if let Some(why) = program.why_interpreted(engine) {
                        self.say(
                            Severity::Info,
                            entry,
                            format!("it runs in the interpreter: {why}"),
                        );
                    }
                }
            }
            Err(Error::Program { source, .. }) => {
                self.say(Severity::Error, Some((def, Some(source.insn))), source.kind.to_string());
            }
            // It is among the definition's.
            Err(Error::Load(_)) => {}
            Err(error) => self.say(Severity::Error, entry, error.to_string()),
        }
    }

    /// What a program must not come to.
    fn instructions(&mut self, def: &ProgramDef) {
        let mut slot = 0;
        while let Some(&insn) = def.insns.get(slot) {
            let Ok(op) = insn.op() else { return };
            let at = Some((def, u32::try_from(slot).ok()));
            match op {
                isa::Op::CallHelper => {
                    if let Some(message) = self.call(insn.imm) {
                        self.say(Severity::Warning, at, message);
                    }
                }
                isa::Op::CallKfunc => {
                    let message = "skep does not support calls of kernel functions yet";
                    self.say(Severity::Warning, at, message);
                }
                isa::Op::AddrSpaceCast => {
                    self.say(Severity::Warning, at, "skep does not support arenas yet");
                }
                _ => {}
            }
            slot += if op.row().shape == isa::Shape::Lddw { 2 } else { 1 };
        }
    }

    /// What is wrong with a call of a helper.
    fn call(&self, imm: i32) -> Option<String> {
        let weak = imm.checked_sub(POISON_CALL).and_then(|index| usize::try_from(index).ok());
        if let Some(symbol) = weak.and_then(|index| self.object.parsed().externs().get(index)) {
            return Some(format!("function `{}` is weak and not defined anywhere", symbol.name));
        }
        let id = imm.cast_unsigned();
        if helpers::by_id(id).is_some() {
            return None;
        }
        Some(match helpers::name(id) {
            Some(name) => format!("skep does not support helper `{name}` (number {id}) yet"),
            None => format!("there is no helper number {id}"),
        })
    }
}

impl Problem {
    fn to_json(&self) -> Value {
        json!({
            "severity": self.severity.to_string(),
            "program": self.program,
            "insn": self.insn,
            "file": self.place.as_ref().map(|(file, _)| file),
            "line": self.place.as_ref().map(|(_, line)| line),
            "message": self.message,
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.severity)?;
        if let Some((file, line)) = &self.place {
            write!(f, "{file}:{line}: ")?;
        }
        match (&self.program, self.insn) {
            (Some(program), Some(insn)) => write!(f, "program `{program}`, insn {insn}: ")?,
            (Some(program), None) => write!(f, "program `{program}`: ")?,
            (None, _) => {}
        }
        f.write_str(&self.message)
    }
}

/// A program of which is told what is known without running it.
struct Explained<'o> {
    def: &'o ProgramDef,
    program: Program,
}

impl Explained<'_> {
    fn file(&self, insn: u32) -> Option<&str> {
        self.def.line_at(insn).map(|line| &*line.file)
    }

    fn line(&self, insn: u32) -> Option<u32> {
        self.def.line_at(insn).map(|line| line.line)
    }

    fn to_json(&self) -> Value {
        let explanation = self.program.explain();
        let accesses = explanation.accesses.iter().map(|access| {
            json!({
                "insn": access.insn,
                "file": self.file(access.insn),
                "line": self.line(access.insn),
                "text": access.text,
                "proven": access.proven,
                "why": access.why,
            })
        });
        let loops = explanation.loops.iter().map(|report| {
            json!({
                "insn": report.insn,
                "file": self.file(report.insn),
                "line": self.line(report.insn),
                "rounds": report.rounds,
            })
        });
        json!({
            "name": self.program.name(),
            "accesses": accesses.collect::<Vec<_>>(),
            "loops": loops.collect::<Vec<_>>(),
        })
    }

    fn print(&self, out: &mut Printer) -> Result<(), Failure> {
        let explanation = self.program.explain();
        let all = explanation.accesses.len();
        let proven = explanation.accesses.iter().filter(|access| access.proven).count();
        out.line(&format!("program {}: {proven} of {all} accesses proven", self.program.name()))?;
        let mut before = None;
        for access in &explanation.accesses {
            let line = self.def.line_at(access.insn);
            let place = line.map(|line| (&*line.file, line.line));
            if let Some(line) = line.filter(|_| before != place) {
                out.line(&format!("; {}:{}: {}", line.file, line.line, line.text.trim()))?;
            }
            before = place;
            let verdict = if access.proven { "proven" } else { "checked" };
            let skep::AccessReport { insn, text, why, .. } = access;
            out.line(&format!("{insn:6}: {text}"))?;
            out.line(&format!("        {verdict}: {why}"))?;
        }
        for report in &explanation.loops {
            let place = match self.def.line_at(report.insn) {
                Some(line) => format!(" ({}:{})", line.file, line.line),
                None => String::new(),
            };
            let rounds = match report.rounds {
                Some(rounds) => format!("it goes back at most {rounds} times"),
                None => "how often it goes back is not known".to_owned(),
            };
            out.line(&format!("loop at insn {}{place}: {rounds}", report.insn))?;
        }
        Ok(())
    }
}
