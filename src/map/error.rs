//! What goes wrong with maps: the kernel's number, and what can be said besides.

use skep_maps::flags::{BPF_F_RDONLY, BPF_F_WRONLY};
use skep_maps::{Errno, MapError};

use super::Map;
use crate::Error;

/// What was asked of a map.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) op: &'static str,
    pub(super) key: Option<&'a [u8]>,
    /// The length of the value that was given.
    pub(super) value: Option<usize>,
}

impl<'a> Asked<'a> {
    pub(super) fn of(op: &'static str) -> Self {
        Self { op, key: None, value: None }
    }

    pub(super) fn key(self, key: &'a [u8]) -> Self {
        Self { key: Some(key), ..self }
    }

    pub(super) fn value(self, value: &[u8]) -> Self {
        Self { value: Some(value.len()), ..self }
    }

    fn reads(&self) -> bool {
        self.op.contains("lookup") || self.op.contains("key") || self.op.contains("peek")
    }

    fn writes(&self) -> bool {
        !self.reads() || self.op.contains("delete")
    }
}

impl Map {
    pub(crate) fn error(&self, op: &'static str, errno: Errno) -> Error {
        self.failed(Asked::of(op), errno)
    }

    pub(crate) fn wrong_type(&self, what: &'static str) -> Error {
        let map = self.name().to_owned();
        Error::WrongType { map, map_type: self.map_type().name(), what }
    }

    /// A failure, and what can be said about it.
    pub(super) fn failed(&self, asked: Asked<'_>, errno: Errno) -> Error {
        Error::Map(self.map_error(asked, errno))
    }

    pub(super) fn map_error(&self, asked: Asked<'_>, errno: Errno) -> MapError {
        let why = self.why(asked, errno);
        MapError { map: self.name().to_owned(), op: asked.op, errno, why }
    }

    /// A failure whose reason the caller knows.
    pub(super) fn failed_since(&self, op: &'static str, errno: Errno, why: String) -> Error {
        Error::Map(MapError { map: self.name().to_owned(), op, errno, why: Some(why) })
    }

    fn why(&self, asked: Asked<'_>, errno: Errno) -> Option<String> {
        let def = self.def();
        match errno {
            Errno::EINVAL => self.wrong_length(asked),
            Errno::EPERM if def.flags & BPF_F_WRONLY != 0 && asked.reads() => {
                Some("user space may not read it, BPF_F_WRONLY is set".to_owned())
            }
            Errno::EPERM if def.flags & BPF_F_RDONLY != 0 && asked.writes() => {
                Some("user space may not write it, BPF_F_RDONLY is set".to_owned())
            }
            Errno::EPERM if self.map().core().is_frozen() => Some("it is frozen".to_owned()),
            Errno::E2BIG => Some(self.beyond(asked.key)),
            Errno::ENOSPC if asked.op == "update" => Some(self.beyond(None)),
            Errno::ENOMEM => {
                let memory = self.map().core().world().map_memory();
                let full = || "guest memory is full".to_owned();
                Some(memory.limit.map_or_else(full, |_| memory.to_string()))
            }
            Errno::EEXIST if self.map_type().is_indexed() => {
                Some("all elements of an array are there from the start".to_owned())
            }
            Errno::EEXIST => Some("the key is there already".to_owned()),
            _ => None,
        }
    }

    /// Why there is no place for something.
    fn beyond(&self, key: Option<&[u8]>) -> String {
        let max = self.def().max_entries;
        let index = key.and_then(|key| key.try_into().ok()).map(u32::from_le_bytes);
        match index.filter(|_| self.map_type().is_indexed()) {
            Some(index) => format!("index {index} is beyond its {max} entries"),
            None => format!("all {max} entries are in use"),
        }
    }

    fn wrong_length(&self, asked: Asked<'_>) -> Option<String> {
        let key = asked.key.filter(|_| !self.is_keyless()).map(<[u8]>::len);
        let sizes = [
            ("key", key, self.def().key_size as usize),
            ("value", asked.value, self.map().core().user_value_size()),
        ];
        sizes.into_iter().find_map(|(what, given, expected)| {
            let given = given.filter(|&given| given != expected)?;
            Some(format!("the {what} has {given} bytes, {expected} are expected"))
        })
    }
}

/// `None` where there is no such entry.
pub(super) fn found<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::Map(MapError { errno: Errno::ENOENT, .. })) => Ok(None),
        Err(error) => Err(error),
    }
}
