//! What runs send to user space: records, samples, and how many samples were lost.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use skep::{Event, Loaded, Lost};

/// What a run sent.
pub(crate) struct Sent {
    /// The virtual CPU that it ran on.
    cpu: u32,
    pub(crate) events: Vec<Event>,
    pub(crate) lost: Vec<Lost>,
}

/// Samples lost so far, by map and CPU.
#[derive(Debug, Default)]
pub(crate) struct LostSoFar(BTreeMap<(String, u32), u64>);

impl LostSoFar {
    /// Takes what the last run, on this CPU, sent, and finds what it lost.
    pub(crate) fn take(&mut self, loaded: &Loaded, cpu: u32) -> Sent {
        let mut lost = loaded.lost();
        for Lost { map, cpu, count } in &mut lost {
            let before = self.0.insert((map.clone(), *cpu), *count);
            *count -= before.unwrap_or(0);
        }
        lost.retain(|lost| lost.count > 0);
        Sent { cpu, events: loaded.events(), lost }
    }
}

impl Sent {
    /// Whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.lost.is_empty()
    }

    /// The records and samples as a list.
    pub(crate) fn events_json(&self) -> Value {
        let rows = self.events.iter().map(|event| {
            let mut row = json!({
                "map": event.map,
                "cpu": event.cpu.unwrap_or(self.cpu),
                "size": event.data.len(),
                "data": event.hex(),
            });
            if let Some(value) = &event.value {
                row["value"] = value.clone();
            }
            row
        });
        rows.collect()
    }

    /// The samples that were lost, when any were.
    pub(crate) fn lost_json(&self) -> Option<Value> {
        let rows = self.lost.iter();
        let rows =
            rows.map(|Lost { map, cpu, count }| json!({ "map": map, "cpu": cpu, "count": count }));
        let rows: Vec<Value> = rows.collect();
        (!rows.is_empty()).then(|| rows.into())
    }
}
