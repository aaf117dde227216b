//! Random scripts: few keys, small maps, every flag, both sides and two CPUs.

use skep_oracle::script::{Case, Line};

use super::kinds::{Keys, Kind, NO_PREALLOC, RDONLY_PROG, Values};
use crate::Rng;

/// Writes a case of so many operations.
#[must_use]
pub fn generate(rng: &mut Rng, kind: Kind, operations: u64) -> Case {
    let mut writer = Writer::new(rng, kind);
    for _ in 0..operations {
        let line = writer.operation();
        writer.lines.push(line);
    }
    if kind.map_type != "bloom_filter" {
        writer.lines.push("S contents m".to_owned());
    }
    let lines = (1..).zip(&writer.lines).map(|(number, line)| Line::parse(number, line));
    Case { title: format!("random {}", kind.map_type), line: 0, lines: lines.collect() }
}

struct Writer<'r> {
    rng: &'r mut Rng,
    kind: Kind,
    max_entries: u32,
    value_size: u32,
    has_lock: bool,
    read_only: bool,
    lines: Vec<String>,
    /// The values that were put into a bloom filter.
    members: Vec<String>,
}

impl<'r> Writer<'r> {
    fn new(rng: &'r mut Rng, kind: Kind) -> Self {
        let max_entries = 1 + u32::try_from(rng.below(6)).expect("below 6");
        let mut flags = *rng.pick(kind.flags);
        let (value_size, mut has_lock) = match kind.values {
            Values::Bytes(sizes) => {
                let size = *rng.pick(sizes);
                let lockable = matches!(kind.map_type, "hash" | "array") && size >= 8;
                (size, lockable && rng.one_in(3))
            }
            Values::Percpu(sizes) => (*rng.pick(sizes), false),
            Values::Maps => (4, false),
        };
        if has_lock && rng.one_in(2) {
            flags &= NO_PREALLOC;
        }
        // A lock goes with maps that everybody may read and write.
        has_lock &= flags & !NO_PREALLOC == 0;
        let key_size = match kind.keys {
            Keys::Index | Keys::Bytes => 4,
            Keys::Prefix => 8,
            Keys::None => 0,
        };
        let mut lines = Vec::new();
        let mut inner = "";
        if kind.values == Values::Maps {
            let like = *rng.pick(&["array", "hash"]);
            for name in ["t", "a", "b"] {
                lines.push(format!("map {name} {like} key_size=4 value_size=4 max_entries=2"));
            }
            inner = " inner=t";
        }
        let lock = if has_lock { " lock=0" } else { "" };
        lines.push(format!(
            "map m {} key_size={key_size} value_size={value_size} max_entries={max_entries} \
             flags={flags:#x}{inner}{lock}",
            kind.map_type
        ));
        let read_only = flags & RDONLY_PROG != 0;
        let members = Vec::new();
        Self { rng, kind, max_entries, value_size, has_lock, read_only, lines, members }
    }

    fn operation(&mut self) -> String {
        match self.kind.keys {
            Keys::None if self.kind.map_type == "bloom_filter" => self.membership(),
            Keys::None => self.sequence(),
            _ if self.kind.values == Values::Maps => self.outer(),
            _ if self.rng.one_in(2) => self.system(),
            _ => self.program(),
        }
    }

    /// An operation of the system call on a map with keys.
    fn system(&mut self) -> String {
        let key = self.key();
        match self.rng.below(40) {
            0..11 => format!("S update m {key} value={}{}", self.user_value(), self.update_flags()),
            11..16 => format!("S lookup m {key}{}", self.lookup_flags()),
            16..20 => format!("S delete m {key}"),
            20..23 => format!("S lookup_and_delete m {key}{}", self.lookup_flags()),
            23..27 => format!("S get_next_key m {key}"),
            27 => "S get_next_key m".to_owned(),
            28 => format!("S {} m", self.rng.pick(&["lookup", "delete", "lookup_and_delete"])),
            29..31 => format!("S update_batch m {}{}", self.keys_and_values(), self.batch_flags()),
            31..33 => format!("S delete_batch m {}{}", self.some_keys(), self.batch_flags()),
            33 => {
                format!("S lookup_batches m count={}{}", 1 + self.rng.below(4), self.elem_flags())
            }
            34 => format!("S lookup_and_delete_batches m count={}", 1 + self.rng.below(4)),
            35 => {
                let most = u64::from(self.max_entries) + self.rng.below(3);
                let command = *self.rng.pick(&["lookup", "lookup_and_delete"]);
                format!("S {command}_batch m count={most}{}", self.batch_flags())
            }
            36 if self.rng.one_in(3) => {
                format!("S delete_all m first={}", self.rng.pick(&["next", "delete"]))
            }
            // What nobody may write any more the verifier takes for constants, and it refuses
            // to look for them in maps of several elements.
            37 if self.rng.one_in(6) && !self.read_only => "S freeze m".to_owned(),
            38 => "S info m".to_owned(),
            _ => "S sorted m".to_owned(),
        }
    }

    /// A program's operation on a map with keys.
    fn program(&mut self) -> String {
        let (cpu, key) = (self.cpu(), self.key());
        match self.rng.below(12) {
            0..5 if !self.read_only => {
                let value = self.value();
                format!("{cpu} update m {key} value={value}{}", self.update_flags())
            }
            5..7 if !self.read_only => format!("{cpu} delete m {key}"),
            7 if self.kind.keys != Keys::Prefix => {
                let stop = self.rng.below(4);
                let flags = if self.rng.one_in(8) { " flags=0x1" } else { "" };
                let stop = if stop == 0 { String::new() } else { format!(" stop={stop}") };
                format!("{cpu} for_each m{stop}{flags}")
            }
            8 if matches!(self.kind.values, Values::Percpu(_)) => {
                format!("{cpu} lookup_percpu m {key} cpu={}", self.rng.below(3))
            }
            _ => format!("{cpu} lookup m {key}"),
        }
    }

    /// An operation on a map of maps, or on a map inside.
    fn outer(&mut self) -> String {
        let (cpu, key) = (self.cpu(), self.key());
        let inner = *self.rng.pick(&["t", "a", "b"]);
        let inner_key = ["00000000", "01000000", "02000000"];
        let inner_key = *self.rng.pick(&inner_key);
        match self.rng.below(20) {
            0..5 => {
                let flags = if self.rng.one_in(4) { self.update_flags() } else { String::new() };
                format!("S update m {key} value=@{inner}{flags}")
            }
            5..8 => format!("S delete m {key}"),
            8..10 => format!("S lookup m {key}"),
            10..13 => format!("{cpu} update {inner} key={inner_key} value={}", self.value()),
            13 => format!("{cpu} delete {inner} key={inner_key}"),
            14..18 => format!("{cpu} lookup m {key} inner_key={inner_key}"),
            18 => format!("S lookup_batches m count={}", 1 + self.rng.below(3)),
            _ => "S sorted m".to_owned(),
        }
    }

    /// An operation on a queue or a stack.
    fn sequence(&mut self) -> String {
        let (cpu, value, flags) = (self.cpu(), self.value(), self.update_flags());
        match self.rng.below(20) {
            0..5 => format!("S update m value={value}{flags}"),
            5..10 => format!("{cpu} push m value={value}{flags}"),
            10..12 => format!("S lookup_and_delete m{}", self.lookup_flags()),
            12..15 => format!("{cpu} pop m"),
            15 => format!("S lookup m{}", self.lookup_flags()),
            16 => format!("{cpu} peek m"),
            17 if self.rng.one_in(8) => "S freeze m".to_owned(),
            17 => (*self.rng.pick(&["S delete m", "S get_next_key m", "S lookup m key=00"]))
                .to_owned(),
            _ => "S contents m".to_owned(),
        }
    }

    /// An operation on a bloom filter, which is asked for what is in.
    fn membership(&mut self) -> String {
        let cpu = self.cpu();
        let flags = if self.rng.one_in(5) { self.update_flags() } else { String::new() };
        let member = self.rng.below(self.members.len().max(1) as u64);
        let member = usize::try_from(member).expect("an index");
        match (self.rng.below(8), self.members.get(member).cloned()) {
            (0 | 1, Some(member)) => format!("S lookup m value={member}"),
            (2 | 3, Some(member)) => format!("{cpu} peek m value={member}"),
            (4, _) => {
                (*self.rng.pick(&["S delete m", "S get_next_key m", "S lookup_and_delete m"]))
                    .to_owned()
            }
            (what, _) => {
                let value = self.value();
                if flags.is_empty() {
                    self.members.push(value.clone());
                }
                let who = if what == 5 { "S update".to_owned() } else { format!("{cpu} push") };
                format!("{who} m value={value}{flags}")
            }
        }
    }

    fn cpu(&mut self) -> &'static str {
        if self.rng.one_in(2) { "P" } else { "P1" }
    }

    /// One key of few, so that the same ones come up again.
    fn key(&mut self) -> String {
        format!("key={}", self.key_bytes())
    }

    fn key_bytes(&mut self) -> String {
        if self.kind.keys == Keys::Prefix {
            // Lengths that share their beginnings, and some too long.
            let len = *self.rng.pick(&[0, 1, 7, 8, 9, 16, 17, 31, 32, 33]);
            let bits =
                *self.rng.pick(&["00000000", "c0a80000", "c0a80001", "c0ff0000", "80000000"]);
            return format!("{}{bits}", hex(&u32::to_ne_bytes(len)));
        }
        let few = u64::from(self.max_entries) + 2;
        let key = u32::try_from(self.rng.below(few)).expect("few");
        let key = if self.kind.keys == Keys::Index && self.rng.one_in(20) { u32::MAX } else { key };
        hex(&key.to_ne_bytes())
    }

    /// A value as programs have it.
    fn value(&mut self) -> String {
        let bytes: Vec<u8> = (0..self.value_size).map(|_| self.byte()).collect();
        hex(&bytes)
    }

    fn byte(&mut self) -> u8 {
        self.rng.bits().to_le_bytes()[0]
    }

    /// A value as the system call has it. What is behind a CPU's value in a hash is zero,
    /// since it would still be there when another key gets the element.
    fn user_value(&mut self) -> String {
        if !matches!(self.kind.values, Values::Percpu(_)) {
            return self.value();
        }
        let padding = self.value_size.next_multiple_of(8) - self.value_size;
        let byte = if self.kind.keys == Keys::Index { self.byte() } else { 0 };
        (0..2).map(|_| self.value() + &hex(&[byte]).repeat(padding as usize)).collect()
    }

    fn update_flags(&mut self) -> String {
        let flags: u64 = match self.rng.below(10) {
            0..4 => return String::new(),
            4 | 5 => 1,
            6 | 7 => 2,
            8 if self.has_lock => 4,
            8 => 0,
            _ => *self.rng.pick(&[3, 4, 5, 6, 7, 8, 1 << 32, u64::MAX]),
        };
        format!(" flags={flags:#x}")
    }

    fn lookup_flags(&mut self) -> String {
        let flags: u64 = match self.rng.below(10) {
            0 => *self.rng.pick(&[1, 2, 8]),
            1 | 2 => 4,
            _ => return String::new(),
        };
        format!(" flags={flags:#x}")
    }

    fn elem_flags(&mut self) -> String {
        let flags: u64 = match self.rng.below(10) {
            0 => *self.rng.pick(&[1, 2, 8]),
            1 | 2 => 4,
            _ => return String::new(),
        };
        format!(" elem_flags={flags:#x}")
    }

    fn batch_flags(&mut self) -> String {
        let flags = if self.rng.one_in(10) { " flags=0x1" } else { "" };
        self.elem_flags() + flags
    }

    fn some_keys(&mut self) -> String {
        let count = self.rng.below(4);
        let keys: String = (0..count).map(|_| self.key_bytes()).collect();
        if count == 0 { "count=0".to_owned() } else { format!("keys={keys} count={count}") }
    }

    fn keys_and_values(&mut self) -> String {
        let count = self.rng.below(4);
        let keys: String = (0..count).map(|_| self.key_bytes()).collect();
        let values: String = (0..count).map(|_| self.user_value()).collect();
        let elements = format!("keys={keys} values={values} count={count}");
        if count == 0 { "count=0".to_owned() } else { elements }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
