//! The operations of the system call, and those made of several of them.

use super::run::{Answer, Run, hex, list, other};
use super::{BatchCommand, BatchRequest, Call, Failure, MapDecl, types};
use crate::{Batch, Errno};

/// An operation and its arguments.
const OPERATIONS: &[(&str, &[&str])] = &[
    ("lookup", &["key", "value", "flags"]),
    ("update", &["key", "value", "flags"]),
    ("delete", &["key", "flags"]),
    ("lookup_and_delete", &["key", "flags"]),
    ("get_next_key", &["key", "flags"]),
    ("freeze", &[]),
    ("lookup_batch", BATCH),
    ("lookup_and_delete_batch", BATCH),
    ("update_batch", BATCH),
    ("delete_batch", BATCH),
    ("lookup_batches", &["count", "elem_flags"]),
    ("lookup_and_delete_batches", &["count", "elem_flags"]),
    ("keys", &[]),
    ("sorted", &[]),
    ("contents", &[]),
    ("delete_all", &["first"]),
    ("info", &[]),
    ("memlock", &[]),
    ("consume", &[]),
];

const BATCH: &[&str] = &["in_batch", "count", "keys", "values", "elem_flags", "flags"];

/// The arguments of an operation; `None` when there is no such operation.
pub(super) fn arguments(operation: &str) -> Option<&'static [&'static str]> {
    OPERATIONS.iter().find(|(name, _)| *name == operation).map(|(_, arguments)| *arguments)
}

/// Does an operation.
pub(super) fn answer(run: &mut Run<'_>, call: &Call) -> Answer {
    let decl = run.decl(&call.map)?;
    let mut map = OnMap { run, decl };
    match &*call.operation {
        "keys" => Ok(list(&map.keys()?.iter().map(|key| hex(key)).collect::<Vec<_>>())),
        "sorted" => map.sorted(),
        "contents" => map.contents(),
        "delete_all" => map.delete_all(call),
        "info" => map.info(),
        "memlock" => map.run.backend.memlock(&call.map).map(|bytes| bytes.to_string()),
        "consume" => map.consume(),
        "freeze" => map.run.backend.freeze(&call.map).map(ok),
        "lookup_batches" => map.batches(call, BatchCommand::Lookup),
        "lookup_and_delete_batches" => map.batches(call, BatchCommand::LookupAndDelete),
        "lookup_batch" => map.batch(call, BatchCommand::Lookup),
        "lookup_and_delete_batch" => map.batch(call, BatchCommand::LookupAndDelete),
        "update_batch" => map.batch(call, BatchCommand::Update),
        "delete_batch" => map.batch(call, BatchCommand::Delete),
        _ => map.element(call),
    }
}

fn ok((): ()) -> String {
    "ok".to_owned()
}

type Keys = Vec<Vec<u8>>;

struct OnMap<'r, 'b> {
    run: &'r mut Run<'b>,
    decl: MapDecl,
}

impl OnMap<'_, '_> {
    fn name(&self) -> &str {
        &self.decl.name
    }

    fn value_size(&self) -> usize {
        self.decl.user_value_size(self.run.backend.cpus())
    }

    /// The commands for one element.
    fn element(&mut self, call: &Call) -> Answer {
        let key = call.args.bytes("key").map_err(other)?;
        let key = key.as_deref();
        let flags = call.args.number("flags").map_err(other)?;
        let value = self.value(call, "value")?;
        let buffer = value.clone().unwrap_or_else(|| vec![0; self.value_size()]);
        let backend = &mut *self.run.backend;
        match &*call.operation {
            "lookup" => {
                let value = backend.lookup(&call.map, key, &buffer, flags)?;
                Ok(format!("value={}", self.show(&value)))
            }
            "lookup_and_delete" => {
                let value = backend.lookup_and_delete(&call.map, key, flags)?;
                Ok(format!("value={}", self.show(&value)))
            }
            "update" => backend.update(&call.map, key, &buffer, flags).map(ok),
            "delete" => backend.delete(&call.map, key, flags).map(ok),
            _ => self.next_key(key, flags),
        }
    }

    /// A value with its `@NAME`s.
    fn value(&self, call: &Call, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        let handle = |object: &str| {
            let none = || format!("the case has no `{object}`");
            self.run.backend.handle(&call.map, object).ok_or_else(none)
        };
        call.args.value(name, handle).map_err(other)
    }

    /// A value that was read.
    fn show(&self, value: &[u8]) -> String {
        match <[u8; 4]>::try_from(value) {
            Ok(id) if self.decl.holds_handles() => {
                let id = u32::from_ne_bytes(id);
                let object = self.run.backend.object(self.name(), id);
                object.map_or_else(|| format!("id-{id}"), |object| format!("@{object}"))
            }
            _ if self.decl.holds_sockets() => {
                let cookie = value.try_into().map(u64::from_ne_bytes).unwrap_or_default();
                let socket = self.run.backend.with_cookie(cookie);
                socket.map_or_else(|| hex(value), |socket| format!("@{socket}"))
            }
            _ => hex(value),
        }
    }

    /// The next key. In a hash the order depends on a seed: there it is `some`, and behind
    /// one of several keys there may be none.
    fn next_key(&mut self, key: Option<&[u8]>, flags: u64) -> Answer {
        let name = self.decl.name.clone();
        let next = self.run.backend.next_key(&name, key, flags);
        if !self.decl.is_hashed() || !matches!(next, Ok(_) | Err(Failure::Errno(Errno::ENOENT))) {
            return Ok(format!("key={}", hex(&next?)));
        }
        let keys = self.keys()?;
        let present = |key: &[u8]| keys.iter().any(|own| own == key);
        match next {
            Ok(next) if !present(&next) => Ok(format!("key={}, which is not there", hex(&next))),
            _ if keys.len() > 1 && key.is_some_and(present) => Ok("key=some or ENOENT".to_owned()),
            Ok(next) if keys.len() == 1 => Ok(format!("key={}", hex(&next))),
            Ok(_) => Ok("key=some".to_owned()),
            Err(failure) => Err(failure),
        }
    }

    /// All keys, by walking; of a hash they are sorted.
    fn keys(&mut self) -> Result<Keys, Failure> {
        let name = self.decl.name.clone();
        let mut keys = Keys::new();
        loop {
            let last = keys.last().map(Vec::as_slice);
            match self.run.backend.next_key(&name, last, 0) {
                Ok(key) => keys.push(key),
                Err(Failure::Errno(Errno::ENOENT)) => break,
                Err(failure) => return Err(failure),
            }
            if keys.len() > self.endless() {
                return Err(other("a walk does not end"));
            }
        }
        if self.decl.is_hashed() {
            keys.sort();
        }
        Ok(keys)
    }

    /// More steps than a walk over the map can take.
    fn endless(&self) -> usize {
        2 * self.decl.max_entries as usize + 1024
    }

    fn sorted(&mut self) -> Answer {
        let mut keys = self.keys()?;
        keys.sort();
        let (name, room) = (self.decl.name.clone(), vec![0; self.value_size()]);
        let mut element = |key: &Vec<u8>| {
            let value = match self.run.backend.lookup(&name, Some(key), &room, 0) {
                Ok(value) => self.show(&value),
                Err(failure) => failure.to_string(),
            };
            format!("{}:{value}", hex(key))
        };
        let elements: Vec<String> = keys.iter().map(&mut element).collect();
        Ok(list(&elements))
    }

    /// The values of a queue or a stack, in the order in which they would come out: all
    /// are taken out and put in again. Of other maps all elements.
    fn contents(&mut self) -> Answer {
        if !types::is_sequence(&self.decl.map_type) {
            return self.sorted();
        }
        let name = self.decl.name.clone();
        let mut values = Keys::new();
        loop {
            match self.run.backend.lookup_and_delete(&name, None, 0) {
                Ok(value) => values.push(value),
                Err(Failure::Errno(Errno::ENOENT)) => break,
                Err(failure) => return Err(failure),
            }
            if values.len() > self.endless() {
                return Err(other("the values do not end"));
            }
        }
        let shown: Vec<String> = values.iter().map(|value| hex(value)).collect();
        if self.decl.map_type == "stack" {
            values.reverse();
        }
        for value in values {
            self.run.backend.update(&name, None, &value, 0)?;
        }
        Ok(list(&shown))
    }

    /// Walks and deletes every key that comes up, `first=delete` before it asks for the
    /// next one, `first=next` after it did.
    fn delete_all(&mut self, call: &Call) -> Answer {
        let next_first = match call.args.text("first") {
            Some("next") => true,
            Some("delete") => false,
            _ => return Err(other("`first=` is `next` or `delete`")),
        };
        let name = self.decl.name.clone();
        let mut deleted = Keys::new();
        let mut key = self.run.backend.next_key(&name, None, 0);
        let end = loop {
            let current = match key {
                Ok(current) => current,
                Err(Failure::Errno(Errno::ENOENT)) => break Ok(()),
                Err(failure) => break Err(failure),
            };
            let backend = &mut *self.run.backend;
            let before = next_first.then(|| backend.next_key(&name, Some(&current), 0));
            if let Err(failure) = backend.delete(&name, Some(&current), 0) {
                break Err(failure);
            }
            key = before.unwrap_or_else(|| backend.next_key(&name, Some(&current), 0));
            deleted.push(current);
            if deleted.len() > self.endless() {
                return Err(other("a walk does not end"));
            }
        };
        if self.decl.is_hashed() {
            deleted.sort();
        }
        let end = end.map_or_else(|failure| failure.to_string(), ok);
        let deleted: Vec<String> = deleted.iter().map(|key| hex(key)).collect();
        Ok(format!("{end} deleted={}", list(&deleted)))
    }

    fn info(&mut self) -> Answer {
        let info = self.run.backend.info(&self.decl.name)?;
        let name = types::MAP_TYPES.get(info.map_type as usize).copied().unwrap_or("unknown");
        Ok(format!(
            "map_type={name} key_size={} value_size={} max_entries={} map_flags={:#x} map_extra={}",
            info.key_size, info.value_size, info.max_entries, info.map_flags, info.map_extra
        ))
    }

    fn consume(&mut self) -> Answer {
        let mut records = Vec::new();
        while let Some(record) = self.run.backend.consume(&self.decl.name)? {
            records.push(hex(&record));
        }
        Ok(list(&records))
    }

    fn batch(&mut self, call: &Call, command: BatchCommand) -> Answer {
        let request = self.request(call, command)?;
        let batch = self.run.backend.batch(&self.decl.name, &request)?;
        let text = format!("{} count={}", end(&batch), batch.count);
        let elements = match command {
            BatchCommand::Lookup | BatchCommand::LookupAndDelete => self.elements(&batch),
            BatchCommand::Update | BatchCommand::Delete => Vec::new(),
        };
        Ok(match (elements.is_empty(), self.decl.is_hashed()) {
            (true, _) => text,
            (false, true) => format!("{text} elements={}", list(&elements)),
            (false, false) => {
                let next = hex(&batch.out_batch);
                format!("{text} out_batch={next} elements={}", list(&elements))
            }
        })
    }

    fn request(&self, call: &Call, command: BatchCommand) -> Result<BatchRequest, Failure> {
        Ok(BatchRequest {
            command,
            in_batch: call.args.bytes("in_batch").map_err(other)?,
            count: call.args.number32("count").map_err(other)?,
            keys: call.args.bytes("keys").map_err(other)?.unwrap_or_default(),
            values: self.value(call, "values")?.unwrap_or_default(),
            elem_flags: call.args.number("elem_flags").map_err(other)?,
            flags: call.args.number("flags").map_err(other)?,
        })
    }

    /// The elements that a batch command read; of a hash they are sorted.
    fn elements(&self, batch: &Batch) -> Vec<String> {
        let (key_size, value_size) = (self.decl.key_size as usize, self.value_size());
        let count = batch.count as usize;
        let read = matches!(batch.errno, None | Some(Errno::ENOENT));
        if !read || key_size == 0 || value_size == 0 || batch.keys.len() < count * key_size {
            return Vec::new();
        }
        let keys = batch.keys.chunks(key_size).take(count);
        let mut elements: Vec<String> = keys
            .zip(batch.values.chunks(value_size))
            .map(|(key, value)| format!("{}:{}", hex(key), self.show(value)))
            .collect();
        if self.decl.is_hashed() {
            elements.sort();
        }
        elements
    }

    /// The command again and again, each time from where it stopped, until it fails. With
    /// more elements in a bucket than `count` it is asked for twice as many.
    fn batches(&mut self, call: &Call, command: BatchCommand) -> Answer {
        let mut request = self.request(call, command)?;
        let mut elements = Vec::new();
        for _ in 0..=self.endless() {
            let batch = self.run.backend.batch(&self.decl.name, &request)?;
            if batch.errno == Some(Errno::ENOSPC) && batch.count == 0 {
                request.count = request.count.saturating_mul(2);
                continue;
            }
            if batch.count > request.count {
                return Err(other(format!("{} elements of {}", batch.count, request.count)));
            }
            elements.extend(self.elements(&batch));
            request.in_batch = Some(batch.out_batch.clone());
            if batch.errno.is_some() {
                if self.decl.is_hashed() {
                    elements.sort();
                }
                return Ok(format!("{} elements={}", end(&batch), list(&elements)));
            }
        }
        Err(other("the batches do not end"))
    }
}

/// How a batch command ended.
fn end(batch: &Batch) -> String {
    batch.errno.map_or_else(|| "ok".to_owned(), |errno| errno.to_string())
}
