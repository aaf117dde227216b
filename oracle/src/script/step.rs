//! One step of a script: making a map, a program or an event, or an operation on a map.

use super::program::{self, ProgramOp};
use super::{system, types};

/// What a line says to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// `map NAME TYPE …`
    Map(MapDecl),
    /// `prog NAME TYPE …`
    Prog(ProgDecl),
    /// `event NAME KIND …`
    Event(EventDecl),
    /// `S OPERATION MAP …` and `P OPERATION MAP …`
    Call(Call),
}

/// A map to be made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MapDecl {
    /// What the case calls it.
    pub name: String,
    /// Its type, as bpftool calls it.
    pub map_type: String,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Entries, or bytes of a ring buffer.
    pub max_entries: u32,
    /// `BPF_F_*`.
    pub flags: u32,
    /// Type-specific extra.
    pub map_extra: u64,
    /// The NUMA node, heeded with `BPF_F_NUMA_NODE`.
    pub numa_node: u32,
    /// The map of the case that is the template of inner maps.
    pub inner: Option<String>,
    /// Where a `bpf_spin_lock` stands in the value.
    pub lock: Option<u32>,
}

impl MapDecl {
    /// Whether keys come in an order that depends on a random seed.
    #[must_use]
    pub fn is_hashed(&self) -> bool {
        types::is_hashed(&self.map_type)
    }

    /// Whether values are descriptors and ids.
    #[must_use]
    pub fn holds_handles(&self) -> bool {
        types::holds_handles(&self.map_type)
    }

    /// Bytes of a value as the system call sees it, on a machine with so many CPUs.
    #[must_use]
    pub fn user_value_size(&self, cpus: usize) -> usize {
        match &*self.map_type {
            percpu if types::is_percpu(percpu) => {
                (self.value_size as usize).next_multiple_of(8) * cpus
            }
            handles if types::holds_handles(handles) => 4,
            _ => self.value_size as usize,
        }
    }
}

/// A program to be loaded, which returns 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgDecl {
    /// What the case calls it.
    pub name: String,
    /// Its type's name.
    pub prog_type: String,
    /// `expected_attach_type`.
    pub attach: u32,
}

/// A perf event to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventDecl {
    /// What the case calls it.
    pub name: String,
    /// What it does.
    pub kind: EventKind,
    /// The CPU that it is bound to.
    pub cpu: u32,
}

/// What an event does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// `output`: it takes what programs put out, into a buffer of one page.
    Output,
    /// `counter`: it counts, or would.
    Counter,
}

/// Who does an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// `S`: user space, by the system call.
    System,
    /// `P` or `P1`: a program, on this CPU.
    Program {
        /// The CPU.
        cpu: usize,
    },
}

/// An operation on a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Who does it.
    pub side: Side,
    /// What is done.
    pub operation: String,
    /// The map's name.
    pub map: String,
    /// The arguments.
    pub args: Args,
}

impl Call {
    /// The operation of programs that this is.
    #[must_use]
    pub fn program_op(&self) -> Option<&'static ProgramOp> {
        let Side::Program { .. } = self.side else {
            return None;
        };
        program::op(&self.operation)
    }
}

/// `NAME=VALUE` words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Args(Vec<(String, String)>);

impl Args {
    fn parse<'w>(words: impl Iterator<Item = &'w str>, known: &[&str]) -> Result<Self, String> {
        let mut args = Self::default();
        for word in words {
            let (name, value) =
                word.split_once('=').ok_or_else(|| format!("`{word}` is not NAME=VALUE"))?;
            if !known.contains(&name) {
                return Err(format!("`{name}=` is none of {known:?}"));
            }
            if args.text(name).is_some() {
                return Err(format!("`{name}=` stands twice"));
            }
            args.0.push((name.to_owned(), value.to_owned()));
        }
        Ok(args)
    }

    /// The arguments as they are written.
    pub fn words(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(name, value)| format!("{name}={value}"))
    }

    /// The argument as it is written.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| &**value)
    }

    /// A number, decimal or after `0x` hexadecimal; 0 when it is not given.
    ///
    /// # Errors
    /// When it is no number.
    pub fn number(&self, name: &str) -> Result<u64, String> {
        self.text(name).map_or(Ok(0), number)
    }

    /// The same, 32 bits wide.
    ///
    /// # Errors
    /// When it is no number of 32 bits.
    pub fn number32(&self, name: &str) -> Result<u32, String> {
        u32::try_from(self.number(name)?).map_err(|_| format!("`{name}=` has 32 bits"))
    }

    /// Bytes in hexadecimal; `None` when they are not given.
    ///
    /// # Errors
    /// When they are something else.
    pub fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        self.text(name).map(unhex).transpose()
    }

    /// Bytes of which some are `@NAME`, apart by commas; `handle` says what such a name
    /// stands for.
    ///
    /// # Errors
    /// When they are something else.
    pub fn value(
        &self,
        name: &str,
        handle: impl Fn(&str) -> Result<u32, String>,
    ) -> Result<Option<Vec<u8>>, String> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        for part in text.split(',') {
            match part.strip_prefix('@') {
                Some(object) => bytes.extend(handle(object)?.to_ne_bytes()),
                None => bytes.extend(unhex(part)?),
            }
        }
        Ok(Some(bytes))
    }
}

impl Step {
    /// Reads a line without its answer.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let first = words.next().ok_or("the line is empty")?;
        let mut next = |what: &str| words.next().ok_or_else(|| format!("{what} is missing"));
        match first {
            "map" => {
                let (name, map_type) = (next("the map's name")?, next("the map's type")?);
                Self::map(name, map_type, words)
            }
            "prog" => {
                let (name, prog_type) = (next("the program's name")?, next("its type")?);
                let args = Args::parse(words, &["attach"])?;
                types::prog_type(prog_type).ok_or_else(|| format!("no type `{prog_type}`"))?;
                Ok(Self::Prog(ProgDecl {
                    name: name.to_owned(),
                    prog_type: prog_type.to_owned(),
                    attach: args.number32("attach")?,
                }))
            }
            "event" => {
                let (name, kind) = (next("the event's name")?, next("its kind")?);
                let kind = match kind {
                    "output" => EventKind::Output,
                    "counter" => EventKind::Counter,
                    other => return Err(format!("`{other}` is no kind of event")),
                };
                let cpu = Args::parse(words, &["cpu"])?.number32("cpu")?;
                Ok(Self::Event(EventDecl { name: name.to_owned(), kind, cpu }))
            }
            "S" => {
                let (operation, map) = (next("the operation")?, next("the map")?);
                let known = system::arguments(operation)
                    .ok_or_else(|| format!("`{operation}` is no system call"))?;
                let args = Args::parse(words, known)?;
                let (operation, map) = (operation.to_owned(), map.to_owned());
                Ok(Self::Call(Call { side: Side::System, operation, map, args }))
            }
            _ => {
                let cpu = program_cpu(first).ok_or_else(|| format!("`{first}` is no step"))?;
                let (operation, map) = (next("the operation")?, next("the map")?);
                let op = program::op(operation)
                    .ok_or_else(|| format!("`{operation}` is no operation of programs"))?;
                let args = Args::parse(words, &op.arguments())?;
                for name in ["key", "inner_key", "value"] {
                    args.bytes(name)?;
                }
                let (operation, map) = (operation.to_owned(), map.to_owned());
                Ok(Self::Call(Call { side: Side::Program { cpu }, operation, map, args }))
            }
        }
    }

    fn map<'w>(
        name: &str,
        map_type: &str,
        words: impl Iterator<Item = &'w str>,
    ) -> Result<Self, String> {
        const KNOWN: [&str; 8] = [
            "key_size",
            "value_size",
            "max_entries",
            "flags",
            "map_extra",
            "numa_node",
            "inner",
            "lock",
        ];
        types::map_type(map_type).ok_or_else(|| format!("no type `{map_type}`"))?;
        let args = Args::parse(words, &KNOWN)?;
        Ok(Self::Map(MapDecl {
            name: name.to_owned(),
            map_type: map_type.to_owned(),
            key_size: args.number32("key_size")?,
            value_size: args.number32("value_size")?,
            max_entries: args.number32("max_entries")?,
            flags: args.number32("flags")?,
            map_extra: args.number("map_extra")?,
            numa_node: args.number32("numa_node")?,
            inner: args.text("inner").map(str::to_owned),
            lock: args.text("lock").map(|_| args.number32("lock")).transpose()?,
        }))
    }
}

/// `P` is CPU 0, `P1` CPU 1.
fn program_cpu(word: &str) -> Option<usize> {
    match word.strip_prefix('P')? {
        "" => Some(0),
        digits => digits.parse().ok(),
    }
}

fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("`{text}` is no number"))
}

fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("`{text}` is not hexadecimal");
    if text == "-" {
        return Ok(Vec::new());
    }
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return Err(wrong());
    }
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong());
    (0..text.len()).step_by(2).map(byte).collect()
}
