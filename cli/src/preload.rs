//! What maps hold before the first run: `--map` and `--prog-array`.

use serde_json::Value;
use skep::{Loaded, Map, MapType, Object, UserRingBuffer};

use crate::args::Preload;
use crate::failure::Failure;
use crate::input::{assignment, bytes, element, read};

/// A value as typed: JSON, a number in any base, or text.
pub(crate) fn parse_value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// Sets global variables as the command line says.
pub(crate) fn set_globals(object: &mut Object, args: &Preload) -> Result<(), Failure> {
    for setting in &args.global {
        let (name, text) = assignment("--global", setting)?;
        object.global(name)?.set_value(&parse_value(text))?;
    }
    Ok(())
}

/// Fills maps as the command line says, in its order.
pub(crate) fn preload(loaded: &Loaded, args: &Preload) -> Result<(), Failure> {
    for setting in &args.prog_array {
        let (place, prog) = assignment("--prog-array", setting)?;
        let (name, index) = element("--prog-array", place)?;
        let index: u32 = index
            .parse()
            .map_err(|_| Failure::usage(format!("--prog-array: `{index}` is no index"), None))?;
        loaded.map(name)?.set_program(index, &loaded.program(prog)?)?;
    }
    for setting in &args.map {
        let (place, text) = assignment("--map", setting)?;
        if let Some(mut ring) = user_ring(loaded, place)? {
            ring.push(&bytes("--map", text)?)?;
            continue;
        }
        if let Some(path) = text.strip_prefix('@').filter(|_| !place.contains('[')) {
            let bytes = read(path.as_ref())?;
            let json: Value = serde_json::from_slice(&bytes)
                .map_err(|error| Failure::usage(format!("--map: {path}: {error}"), None))?;
            fill(loaded, &loaded.map(place)?, &json)?;
            continue;
        }
        if let Some(map) = keyless(loaded, place) {
            put(&map, &[], &parse_value(text))?;
            continue;
        }
        let (name, key) = element("--map", place)?;
        let map = loaded.map(name)?;
        if map.is_keyless() {
            let help = Some(format!("write --map '{name}=VALUE', once for each value"));
            return Err(Failure::usage(format!("--map: map `{name}` has no keys"), help));
        }
        let key = map.encode_key(&parse_value(key))?;
        let value = parse_value(text);
        if map.holds_maps() && !value.is_number() {
            put_inner(loaded, &map, &key, &value)?;
        } else {
            put(&map, &key, &value)?;
        }
    }
    Ok(())
}

/// The producer of a user ring buffer, if a map of this name is one.
fn user_ring(loaded: &Loaded, name: &str) -> Result<Option<UserRingBuffer>, Failure> {
    let found = loaded.maps().iter().find(|map| map.name() == name);
    match found.filter(|map| map.map_type() == MapType::UserRingbuf) {
        Some(map) => Ok(Some(map.user_ring_buffer()?)),
        None => Ok(None),
    }
}

/// The map of that name, if its values have no keys: they are put in one after the other.
fn keyless(loaded: &Loaded, name: &str) -> Option<Map> {
    loaded.map(name).ok().filter(Map::is_keyless)
}

/// Fills a map from the shape in which maps are dumped.
fn fill(loaded: &Loaded, map: &Map, json: &Value) -> Result<(), Failure> {
    let entries = json["entries"].as_array().or_else(|| json.as_array()).ok_or_else(|| {
        let help = "write it in the shape of --dump-maps: \
                    {\"entries\": [{\"key\": …, \"value\": …}]}";
        let message = format!("--map: what is given for `{}` has no `entries`", map.name());
        Failure::usage(message, Some(help.to_owned()))
    })?;
    for entry in entries {
        let key = match map.is_keyless() {
            true => Vec::new(),
            false => map.encode_key(&part(entry, "key"))?,
        };
        if let Some(inner) = entry.get("inner").filter(|_| map.holds_maps()) {
            put_inner(loaded, map, &key, inner)?;
            continue;
        }
        let Some(values) = entry["values"].as_array() else {
            put(map, &key, &part(entry, "value"))?;
            continue;
        };
        let mut bytes = Vec::new();
        for value in values {
            let mut value = map.encode_value(&part(value, "value"))?;
            value.resize(value.len().next_multiple_of(8), 0);
            bytes.extend(value);
        }
        map.update_bytes(&key, &bytes, 0)?;
    }
    Ok(())
}

/// A key or a value: its bytes if they are there, else what they mean.
fn part(entry: &Value, name: &str) -> Value {
    match entry[format!("{name}_hex")].as_str() {
        Some(hex) => Value::String(format!("hex:{hex}")),
        None => entry[name].clone(),
    }
}

/// Writes one value, on all CPUs for per-CPU maps.
fn put(map: &Map, key: &[u8], value: &Value) -> Result<(), Failure> {
    let mut bytes = map.encode_value(value)?;
    if map.map_type().is_percpu() {
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes = bytes.repeat(map.cpus() as usize);
    }
    map.update_bytes(key, &bytes, 0)?;
    Ok(())
}

/// Puts a map into a map of maps: one of the object's, by name, or one of its own with
/// these entries.
fn put_inner(loaded: &Loaded, outer: &Map, key: &[u8], inner: &Value) -> Result<(), Failure> {
    let key = key.to_vec();
    match inner.as_str() {
        Some(name) => outer.set_map(&key, &loaded.map(name)?)?,
        None => fill(loaded, &outer.create_inner(&key)?, inner)?,
    }
    Ok(())
}
