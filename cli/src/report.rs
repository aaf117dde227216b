//! What `skep run` prints.

use serde_json::{Map as JsonObject, Value, json};
use skep::value::{parse_integer, to_hex};
use skep::{Lost, MapSnapshot, Output, Program};

use crate::args::{Global, RunArgs};
use crate::failure::Failure;
use crate::print::Printer;
use crate::redirect;
use crate::sent::Sent;
use crate::task::Task;

/// Runs whose output packets are printed without being asked for.
const FEW_RUNS: u64 = 16;

/// What is printed, as it goes.
pub(crate) struct Report<'a> {
    json: bool,
    out: Printer,
    head: Value,
    /// Whether there may be several runs, so that they are numbered.
    numbered: bool,
    /// Whether there are several steps, so that each run names its program.
    named: bool,
    data_out: bool,
    expect: Option<&'a str>,
    unexpected: Option<String>,
    runs: u64,
}

impl<'a> Report<'a> {
    /// A report on these steps.
    pub(crate) fn new(global: &Global, args: &'a RunArgs, object: &str, tasks: &[Task]) -> Self {
        let first = tasks.first().map(|task| &task.program);
        let head = json!({
            "object": object,
            "program": first.map(|program| program.name()),
            "type": first.and_then(|program| program.prog_type()).map(|t| t.name),
            "engine": first.map_or(global.engine, |p| p.engine(global.engine)).name(),
        });
        let named = tasks.len() > 1;
        Self {
            json: global.json,
            out: Printer::new(),
            head,
            numbered: args.repeat > 1 || named || tasks.iter().any(Task::has_capture),
            named,
            data_out: args.data_out,
            expect: args.expect.as_deref(),
            unexpected: None,
            runs: 0,
        }
    }

    /// Prints what comes before the runs.
    pub(crate) fn start(&mut self) -> Result<(), Failure> {
        if !self.json {
            return Ok(());
        }
        let head = serde_json::to_string(&self.head).unwrap_or_default();
        let open = head.strip_suffix('}').unwrap_or(&head).to_owned();
        self.out.text(&format!("{open},\"runs\":["))
    }

    /// Prints a run that came to its end.
    pub(crate) fn run(
        &mut self,
        n: u64,
        program: &Program,
        output: &Output,
        sent: &Sent,
    ) -> Result<(), Failure> {
        self.check(n, program, output);
        if self.json {
            let json = self.run_json(n, program, output, sent);
            return self.element(&json);
        }
        let number = if self.numbered { format!("{n}: ") } else { String::new() };
        let name = if self.named { format!("{}  ", program.name()) } else { String::new() };
        let action = output.action().map(|action| format!("{action}  ")).unwrap_or_default();
        let Output { retval, insns, .. } = output;
        let insns = insns.map(|insns| format!("  insns={insns}")).unwrap_or_default();
        self.out.line(&format!("{number}{name}{action}r0={retval}{insns}"))?;
        if let Some(redirect) = &output.redirect {
            self.out.line(&format!("  {}", redirect::text(redirect)))?;
        }
        self.trace(&output.printk, sent)
    }

    /// Prints what a run that faulted had put out before.
    pub(crate) fn cut_short(
        &mut self,
        n: u64,
        program: &Program,
        printk: &[String],
        sent: &Sent,
    ) -> Result<(), Failure> {
        if !self.json {
            return self.trace(printk, sent);
        }
        if printk.is_empty() && sent.is_empty() {
            return Ok(());
        }
        let mut run = self.run_head(n, program);
        run.insert("events".to_owned(), sent.events_json());
        run.extend(sent.lost_json().map(|lost| ("lost".to_owned(), lost)));
        run.insert("printk".to_owned(), printk.into());
        self.element(&Value::Object(run))
    }

    fn element(&mut self, json: &Value) -> Result<(), Failure> {
        let comma = if self.runs > 0 { "," } else { "" };
        self.runs += 1;
        self.out.text(&format!("{comma}{json}"))
    }

    fn trace(&mut self, printk: &[String], sent: &Sent) -> Result<(), Failure> {
        for line in printk {
            self.out.line(&format!("  printk {line}"))?;
        }
        for event in &sent.events {
            let cpu = event.cpu.map(|cpu| format!(" cpu{cpu}")).unwrap_or_default();
            let value = event.value.as_ref().map_or_else(|| brief(&event.data), Value::to_string);
            self.out.line(&format!("  event {}{cpu} {value}", event.map))?;
        }
        for Lost { map, cpu, count } in &sent.lost {
            self.out.line(&format!("  lost {map} cpu{cpu} {count}"))?;
        }
        Ok(())
    }

    fn run_head(&self, n: u64, program: &Program) -> JsonObject<String, Value> {
        let mut run = JsonObject::new();
        run.insert("n".to_owned(), n.into());
        if self.named {
            run.insert("program".to_owned(), program.name().into());
            run.insert("type".to_owned(), program.prog_type().map(|t| t.name).into());
        }
        run
    }

    fn run_json(&self, n: u64, program: &Program, output: &Output, sent: &Sent) -> Value {
        let mut run = self.run_head(n, program);
        run.insert("retval".to_owned(), output.retval.into());
        if let Some(action) = output.action() {
            run.insert("action".to_owned(), action.into());
        }
        run.extend(output.insns.map(|insns| ("insns".to_owned(), insns.into())));
        let takes_packet = program.prog_type().is_some_and(|t| t.takes_packet());
        if let (Some(packet), true) = (&output.packet, takes_packet)
            && (n <= FEW_RUNS || self.data_out)
        {
            run.insert("data_out".to_owned(), to_hex(packet).into());
        }
        run.insert("events".to_owned(), sent.events_json());
        run.extend(sent.lost_json().map(|lost| ("lost".to_owned(), lost)));
        run.insert("printk".to_owned(), output.printk.clone().into());
        run.insert("redirect".to_owned(), redirect::json(output.redirect.as_ref()));
        Value::Object(run)
    }

    /// Compares a run with `--expect`.
    fn check(&mut self, n: u64, program: &Program, output: &Output) {
        let Some(expect) = self.expect else { return };
        let number = parse_integer(expect);
        let as_expected = match number {
            Some(number) => {
                number == i128::from(output.retval)
                    || number == i128::from(output.retval.cast_signed())
            }
            None => output.action() == Some(expect),
        };
        if !as_expected && self.unexpected.is_none() {
            let got = match output.action() {
                Some(action) => format!("{action} ({})", output.retval),
                None => output.retval.to_string(),
            };
            let name = if self.named { format!(" of `{}`", program.name()) } else { String::new() };
            self.unexpected = Some(format!("run {n}{name} returned {got}, not {expect}"));
        }
    }

    /// What the first run was that returned something else than `--expect` says.
    pub(crate) fn take_unexpected(&mut self) -> Option<String> {
        self.unexpected.take()
    }

    /// Prints the maps and, in the JSON document, what went wrong.
    pub(crate) fn finish(
        &mut self,
        maps: &[MapSnapshot],
        result: &mut Result<(), Failure>,
    ) -> Result<(), Failure> {
        if self.json {
            let by_name: JsonObject<String, Value> =
                maps.iter().map(|map| (map.name.clone(), map.to_json())).collect();
            self.out.text(&format!("],\"maps\":{}", Value::Object(by_name)))?;
            if let Err(failure) = result {
                self.out.text(&format!(",\"error\":{}", failure.to_json()))?;
            }
            self.out.line("}")?;
        } else {
            for map in maps {
                self.out.text(&map.to_string())?;
            }
        }
        self.out.flush()?;
        if self.json {
            *result = std::mem::replace(result, Ok(())).map_err(Failure::printed);
        }
        Ok(())
    }
}

/// Bytes in hexadecimal, cut where they get long; the JSON document has all of them.
fn brief(bytes: &[u8]) -> String {
    const MOST: usize = 64;
    match bytes.get(..MOST) {
        Some(first) if bytes.len() > MOST => {
            format!("{}… ({} bytes)", to_hex(first), bytes.len())
        }
        _ => to_hex(bytes),
    }
}
