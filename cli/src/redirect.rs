//! Where a packet was redirected to, as text and as JSON.

use serde_json::{Value, json};
use skep::{Destination, Redirect};

/// `redirect ports[1] device 3`, and what else there is to say.
pub(crate) fn text(redirect: &Redirect) -> String {
    let mut words = vec!["redirect".to_owned()];
    match &redirect.map {
        // All devices in the map: the key does not matter.
        Some((map, _)) if redirect.is_broadcast() => words.push(map.clone()),
        Some((map, key)) => words.push(format!("{map}[{key}]")),
        None => {}
    }
    let to: Vec<String> = redirect.to.iter().map(destination).collect();
    words.push(if to.is_empty() { "nowhere".to_owned() } else { to.join(", ") });
    words.extend(marks(redirect).into_iter().filter(|(_, set)| *set).map(|(name, _)| name.into()));
    words.join(" ")
}

fn destination(to: &Destination) -> String {
    let program = |id: u32| if id == 0 { String::new() } else { format!(" program {id}") };
    match *to {
        Destination::Device { ifindex, program: id } => format!("device {ifindex}{}", program(id)),
        Destination::Cpu { cpu, queue_size, program: id } => {
            format!("cpu {cpu} queue_size {queue_size}{}", program(id))
        }
        Destination::Socket { queue } => format!("socket on queue {queue}"),
    }
}

fn marks(redirect: &Redirect) -> [(&'static str, bool); 3] {
    [
        ("broadcast", redirect.is_broadcast()),
        ("exclude_ingress", redirect.excludes_ingress()),
        ("ingress", redirect.is_ingress()),
    ]
}

/// The document; null when there was no redirection.
pub(crate) fn json(redirect: Option<&Redirect>) -> Value {
    let Some(redirect) = redirect else { return Value::Null };
    let (map, key) = redirect.map.as_ref().map(|(map, key)| (map, *key)).unzip();
    let to: Vec<Value> = redirect
        .to
        .iter()
        .map(|to| match *to {
            Destination::Device { ifindex, program } => {
                json!({ "kind": "device", "ifindex": ifindex, "program": id(program) })
            }
            Destination::Cpu { cpu, queue_size, program } => json!({
                "kind": "cpu", "cpu": cpu, "queue_size": queue_size, "program": id(program),
            }),
            Destination::Socket { queue } => json!({ "kind": "socket", "queue": queue }),
        })
        .collect();
    let mut json = json!({ "map": map, "key": key, "to": to, "flags": redirect.flags });
    for (name, set) in marks(redirect) {
        json[name] = set.into();
    }
    json
}

/// A program's id; there is none with number 0.
fn id(program: u32) -> Option<u32> {
    (program != 0).then_some(program)
}
