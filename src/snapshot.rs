//! The state of a loaded object, as text and for serde.

use std::fmt;

use serde::Serialize;
use serde_json::{Map as Object, Value, json};

use crate::{Event, Loaded, Map, value};

/// The contents of maps and the records and samples that were waiting.
///
/// The same state gives the same text, so that it can be compared with a stored one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Snapshot {
    /// The maps, in the object's order.
    pub maps: Vec<MapSnapshot>,
    /// The records, map by map.
    pub events: Vec<EventSnapshot>,
}

/// A map's state.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MapSnapshot {
    /// The map's name.
    pub name: String,
    /// The map's type as bpftool prints it.
    #[serde(rename = "type")]
    pub map_type: &'static str,
    /// Size of a key in bytes.
    pub key_size: u32,
    /// Size of a value in bytes.
    pub value_size: u32,
    /// How many entries fit.
    pub max_entries: u32,
    /// Creation flags.
    pub flags: u32,
    /// Bytes that the kernel would charge.
    pub bytes_memlock: u64,
    /// The entries: by ascending key bytes, arrays by index, queues and stacks in the order
    /// of pops. Ring buffers and bloom filters show none; maps of maps the names of their
    /// maps, and with those that have none the entries.
    pub entries: Vec<Value>,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventSnapshot {
    /// The map it came through.
    pub map: String,
    /// For a sample of a perf event, the virtual CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// Its bytes in hexadecimal.
    pub data: String,
}

impl Snapshot {
    pub(crate) fn of(loaded: &Loaded) -> Self {
        let events = loaded.events().iter().map(EventSnapshot::of).collect();
        Self { maps: loaded.maps().iter().map(MapSnapshot::of).collect(), events }
    }
}

impl EventSnapshot {
    fn of(event: &Event) -> Self {
        Self { map: event.map.clone(), cpu: event.cpu, data: event.hex() }
    }
}

impl MapSnapshot {
    /// The state of one map.
    #[must_use]
    pub fn of(map: &Map) -> Self {
        let def = map.def();
        let entries = map.entries();
        Self {
            name: def.name.clone(),
            map_type: map.map_type().name(),
            key_size: def.key_size,
            value_size: def.value_size,
            max_entries: def.max_entries,
            flags: def.flags,
            bytes_memlock: map.bytes_memlock(),
            entries: entries.iter().map(|(key, value)| entry(map, key, value)).collect(),
        }
    }

    /// The document that the command line prints for a map.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut json = serde_json::to_value(self).unwrap_or_default();
        if let Value::Object(object) = &mut json {
            object.shift_remove("name");
        }
        json
    }
}

/// An entry: hexadecimal always, values where BTF types them.
fn entry(map: &Map, key: &[u8], bytes: &[u8]) -> Value {
    let mut entry = Object::new();
    if !map.is_keyless() {
        entry.insert("key_hex".to_owned(), value::to_hex(key).into());
    }
    if let Some(key) = map.key_value(key).or_else(|| index(map, key)) {
        entry.insert("key".to_owned(), key);
    }
    if map.map_type().is_percpu() {
        let values = map.cpu_values(bytes).enumerate().map(|(cpu, part)| {
            let mut json = json!({ "cpu": cpu });
            put_value(map, part, &mut json);
            json
        });
        entry.insert("values".to_owned(), values.collect());
        return Value::Object(entry);
    }
    let mut json = Value::Object(entry);
    put_value(map, bytes, &mut json);
    if map.holds_maps()
        && let Ok(Some(inner)) = map.inner_map(&key.to_vec())
    {
        json["inner"] = match inner.is_made_in(map) {
            true => MapSnapshot::of(&inner).to_json(),
            false => inner.name().into(),
        };
    }
    json
}

/// The keys of arrays are numbers, whether or not a type says so.
fn index(map: &Map, key: &[u8]) -> Option<Value> {
    map.map_type()
        .is_indexed()
        .then(|| u32::from_le_bytes(key.try_into().unwrap_or_default()).into())
}

fn put_value(map: &Map, bytes: &[u8], entry: &mut Value) {
    entry["value_hex"] = value::to_hex(bytes).into();
    if map.map_type().holds_handles() {
        entry["value"] = u32::from_le_bytes(bytes.try_into().unwrap_or_default()).into();
    } else if let Some(value) = map.value_value(bytes) {
        entry["value"] = value;
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for map in &self.maps {
            write!(f, "{map}")?;
        }
        for event in &self.events {
            let cpu = event.cpu.map(|cpu| format!(" cpu{cpu}")).unwrap_or_default();
            writeln!(f, "event {}{cpu} {}", event.map, event.data)?;
        }
        Ok(())
    }
}

impl fmt::Display for MapSnapshot {
    /// One line for the map, then one for each entry. Runs of array entries that are all
    /// zero are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, map_type, key_size, value_size, max_entries, .. } = self;
        writeln!(f, "map {name} {map_type} key {key_size} value {value_size} max {max_entries}")?;
        write_entries(f, map_type, &self.entries, 1)
    }
}

/// A line for each entry, those of maps inside it below; `depth` is how far to indent.
fn write_entries(
    f: &mut fmt::Formatter<'_>,
    map_type: &str,
    entries: &[Value],
    depth: usize,
) -> fmt::Result {
    let indent = depth * 2;
    let is_array = map_type.ends_with("array");
    let mut skipped = 0u64;
    for entry in entries {
        if is_array && is_zero(entry) {
            skipped += 1;
            continue;
        }
        match entry.get("key_hex") {
            Some(_) => writeln!(f, "{:indent$}{}: {}", "", part(entry, "key"), values(entry))?,
            None => writeln!(f, "{:indent$}{}", "", values(entry))?,
        }
        if let (Some(inner_type), Some(entries)) =
            (entry["inner"]["type"].as_str(), entry["inner"]["entries"].as_array())
        {
            write_entries(f, inner_type, entries, depth + 1)?;
        }
    }
    if skipped > 0 {
        writeln!(f, "{:indent$}({skipped} zero)", "")?;
    }
    Ok(())
}

fn is_zero(entry: &Value) -> bool {
    let zero = |value: &Value| {
        value["value_hex"].as_str().is_some_and(|hex| hex.bytes().all(|digit| digit == b'0'))
    };
    match entry["values"].as_array() {
        Some(values) => values.iter().all(zero),
        None => zero(entry),
    }
}

/// The value when there is one, else the bytes.
fn part(entry: &Value, name: &str) -> String {
    match entry.get(name) {
        Some(value) => value.to_string(),
        None => entry[format!("{name}_hex")].as_str().unwrap_or_default().to_owned(),
    }
}

/// What stands for an inner map: its name, or its type when its entries follow.
fn inner(entry: &Value) -> Option<String> {
    let inner = entry.get("inner")?;
    Some(inner.as_str().or_else(|| inner["type"].as_str())?.to_owned())
}

fn values(entry: &Value) -> String {
    match entry["values"].as_array() {
        Some(values) => values
            .iter()
            .map(|value| format!("cpu{} {}", value["cpu"], part(value, "value")))
            .collect::<Vec<_>>()
            .join(", "),
        None => inner(entry).unwrap_or_else(|| part(entry, "value")),
    }
}
