//! What runs left behind, and where two differ.

use std::collections::BTreeMap;

use skep::value::to_hex;

/// Keys and values, in the map's order.
pub(crate) type Contents = Vec<(Vec<u8>, Vec<u8>)>;

/// What one run did, as far as one engine tells.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observed {
    pub(crate) end: End,
    pub(crate) packet: Option<Vec<u8>>,
    pub(crate) ctx: Option<Vec<u8>>,
    pub(crate) printk: Option<Vec<String>>,
    pub(crate) redirect: Option<String>,
    pub(crate) insns: Option<u64>,
    /// Records and samples by their map.
    pub(crate) events: BTreeMap<String, Vec<Vec<u8>>>,
    /// Contents by map, of those that were looked at.
    pub(crate) maps: BTreeMap<String, Contents>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// With all of r0.
    Value(u64),
    /// With the low half of r0, which is all that the kernel tells.
    #[cfg_attr(not(feature = "kernel"), allow(dead_code, reason = "engines tell all of r0"))]
    Retval(u32),
    /// With a fault, its place included.
    Fault(String),
    /// It was stopped, by time or budget: where depends on the engine.
    Cut(String),
}

impl Default for End {
    fn default() -> Self {
        Self::Value(0)
    }
}

/// One thing that two engines do not agree about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// What it is: `retval`, `packet`, `map counts[07000000]`.
    pub(crate) what: String,
    /// What it is on the first engine.
    pub(crate) first: String,
    /// What it is on the other one.
    pub(crate) other: String,
}

/// Where the other one differs, in what both know.
pub(crate) fn differences(first: &Observed, other: &Observed) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut compare = |what: &str, first: String, other: String| {
        if first != other {
            found.push(Difference { what: what.to_owned(), first, other });
        }
    };
    let (ours, theirs) = ends(&first.end, &other.end);
    compare("result", ours, theirs);
    if let (Some(a), Some(b)) = (first.insns, other.insns) {
        compare("instructions", a.to_string(), b.to_string());
    }
    if let (Some(a), Some(b)) = (&first.redirect, &other.redirect) {
        compare("redirection", a.clone(), b.clone());
    }
    for (what, a, b) in
        [("packet", &first.packet, &other.packet), ("context", &first.ctx, &other.ctx)]
    {
        if let (Some(a), Some(b)) = (a, b)
            && a != b
        {
            let (a, b) = around(a, b);
            compare(what, a, b);
        }
    }
    if let (Some(a), Some(b)) = (&first.printk, &other.printk) {
        items("printk line", a, b, |line| format!("`{line}`"), &mut compare);
    }
    for (map, a) in &first.events {
        if let Some(b) = other.events.get(map) {
            items(&format!("event of {map}"), a, b, |record| to_hex(record), &mut compare);
        }
    }
    for (map, a) in &first.maps {
        if let Some(b) = other.maps.get(map) {
            contents(map, a, b, &mut compare);
        }
    }
    found
}

/// Both ends, in what both engines tell.
fn ends(first: &End, other: &End) -> (String, String) {
    let text = |end: &End, short: bool| match end {
        End::Value(r0) if short => (r0 & u64::from(u32::MAX)).to_string(),
        End::Value(r0) => format!("{r0:#x}"),
        End::Retval(retval) => retval.to_string(),
        End::Fault(text) | End::Cut(text) => text.clone(),
    };
    let short = [first, other].into_iter().any(|end| matches!(end, End::Retval(_)));
    (text(first, short), text(other, short))
}

/// Compares lists item by item.
fn items<T: PartialEq>(
    what: &str,
    first: &[T],
    other: &[T],
    text: impl Fn(&T) -> String,
    compare: &mut impl FnMut(&str, String, String),
) {
    let text = |item: Option<&T>| item.map_or_else(|| "nothing".to_owned(), &text);
    for index in 0..first.len().max(other.len()) {
        let (a, b) = (first.get(index), other.get(index));
        if a != b {
            compare(&format!("{what} {}", index + 1), text(a), text(b));
        }
    }
}

/// Compares maps key by key; what has no keys, item by item.
fn contents(
    map: &str,
    first: &Contents,
    other: &Contents,
    compare: &mut impl FnMut(&str, String, String),
) {
    if first == other {
        return;
    }
    if first.iter().chain(other).all(|(key, _)| key.is_empty()) {
        let what = format!("map {map} item");
        return items(&what, first, other, |(_, value)| to_hex(value), compare);
    }
    let theirs: BTreeMap<&[u8], &[u8]> = other.iter().map(|(k, v)| (&k[..], &v[..])).collect();
    let ours: BTreeMap<&[u8], &[u8]> = first.iter().map(|(k, v)| (&k[..], &v[..])).collect();
    let mut keys: Vec<&[u8]> = ours.keys().chain(theirs.keys()).copied().collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let (a, b) = (ours.get(key), theirs.get(key));
        if a != b {
            let what = format!("map {map}[{}]", to_hex(key));
            let (a, b) = match (a, b) {
                (Some(a), Some(b)) => around(a, b),
                (a, b) => (value(a), value(b)),
            };
            compare(&what, a, b);
        }
    }
}

fn value(value: Option<&&[u8]>) -> String {
    const MOST: usize = 32;
    match value {
        None => "nothing".to_owned(),
        Some(bytes) if bytes.len() > MOST => format!("{}…", to_hex(&bytes[..MOST])),
        Some(bytes) => to_hex(bytes),
    }
}

/// The bytes around the first one that differs.
fn around(first: &[u8], other: &[u8]) -> (String, String) {
    const BEFORE: usize = 8;
    const MOST: usize = 32;
    let at = first.iter().zip(other).position(|(a, b)| a != b);
    let at = at.unwrap_or(first.len().min(other.len()));
    let start = if first.len().max(other.len()) <= MOST { 0 } else { at.saturating_sub(BEFORE) };
    let text = |bytes: &[u8]| {
        let end = bytes.len().min(start + MOST);
        let part = to_hex(bytes.get(start..end).unwrap_or_default());
        let more = if end < bytes.len() { "…" } else { "" };
        match (start, first.len() == other.len()) {
            (0, true) => format!("{part}{more}"),
            (_, true) => format!("{part}{more} (from byte {start})"),
            (_, false) => format!("{part}{more} (from byte {start} of {})", bytes.len()),
        }
    };
    (text(first), text(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(first: &Observed, other: &Observed) -> Vec<String> {
        let found = differences(first, other).into_iter();
        found.map(|d| format!("{}: {} / {}", d.what, d.first, d.other)).collect()
    }

    #[test]
    fn what_one_engine_does_not_tell_is_not_compared() {
        let first = Observed {
            end: End::Value(0xffff_ffff_0000_0002),
            packet: Some(vec![1]),
            printk: Some(vec!["a".to_owned()]),
            ..Observed::default()
        };
        let kernel = Observed { end: End::Retval(2), ..Observed::default() };
        assert_eq!(whats(&first, &kernel), [""; 0]);
        let other = Observed { end: End::Value(2), ..first.clone() };
        assert_eq!(whats(&first, &other), ["result: 0xffffffff00000002 / 0x2"]);
    }

    #[test]
    fn differences_say_where() {
        let maps = |value: u8| {
            let entries = vec![(vec![1, 0], vec![0, value]), (vec![value, 0], vec![9])];
            BTreeMap::from([("m".to_owned(), entries)])
        };
        let first = Observed { maps: maps(2), ..Observed::default() };
        let other = Observed { maps: maps(3), packet: Some(vec![0; 40]), ..Observed::default() };
        let expected =
            ["map m[0100]: 0002 / 0003", "map m[0200]: 09 / nothing", "map m[0300]: nothing / 09"];
        assert_eq!(whats(&first, &other), expected);
        let mut packet = vec![0; 40];
        packet[20] = 1;
        let first = Observed { maps: maps(3), packet: Some(packet), ..Observed::default() };
        // 32 bytes at most, from 8 before the first that differs.
        let part =
            |middle: &str| format!("{}{middle}{} (from byte 12)", "00".repeat(8), "00".repeat(19));
        let expected = format!("packet: {} / {}", part("01"), part("00"));
        assert_eq!(whats(&first, &other), [expected]);
    }
}
