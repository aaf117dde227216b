//! What the spans of a window are for, so that faults can say what was missed.

use std::fmt;
use std::sync::Arc;

use crate::GuestPtr;

/// What a span is, in words for people: ``value of map `counts` ``, `stack frame`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The singular noun phrase, without an article.
    pub what: Arc<str>,
    /// The objects inside the span, when it holds many of one size.
    pub grid: Option<Grid>,
}

impl Label {
    /// One object.
    #[must_use]
    pub fn one(what: impl Into<Arc<str>>) -> Self {
        Self { what: what.into(), grid: None }
    }

    /// Many objects of one size.
    #[must_use]
    pub fn many(what: impl Into<Arc<str>>, grid: Grid) -> Self {
        Self { what: what.into(), grid: Some(grid) }
    }
}

/// Objects of one size at one distance, from a span's first byte on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Size of an object in bytes.
    pub size: u32,
    /// Distance from the start of one object to the next in bytes.
    pub stride: u32,
}

/// Where an address stands, relative to what is nearest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What is nearest.
    pub what: Arc<str>,
    /// The first byte of the nearest object.
    pub start: GuestPtr,
    /// The nearest object's size in bytes.
    pub size: u32,
    /// How the access lies to it.
    pub relation: Relation,
}

/// How an access lies to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// Its last byte lies so many bytes past the object's end.
    Past(u64),
    /// Its first byte lies so many bytes before the object's start.
    Before(u64),
    /// All of it lies inside the object, from this offset on.
    Inside(u64),
}

impl Place {
    /// Relates an access of `size` bytes at `addr` to the object of `len` bytes at `start`.
    pub(crate) fn relate(what: &Arc<str>, start: u32, len: u32, addr: u64, size: u64) -> Self {
        let first = u64::from(start);
        let end = first + u64::from(len);
        let last = addr.saturating_add(size);
        let relation = if addr < first {
            Relation::Before(first - addr)
        } else if last > end {
            Relation::Past(last - end)
        } else {
            Relation::Inside(addr - first)
        };
        Self { what: Arc::clone(what), start: GuestPtr::new(start), size: len, relation }
    }

    /// How far the access reaches away from the object, in bytes.
    pub(crate) fn distance(&self) -> u64 {
        match self.relation {
            Relation::Past(bytes) | Relation::Before(bytes) => bytes,
            Relation::Inside(_) => 0,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, size, .. } = self;
        let size = u64::from(*size);
        let article = match what.chars().next() {
            Some('a' | 'e' | 'i' | 'o' | 'u') => "an",
            _ => "a",
        };
        match self.relation {
            Relation::Past(bytes) => {
                write!(f, "{} past the end of {article} {what} of {}", n(bytes), n(size))
            }
            Relation::Before(bytes) => {
                write!(f, "{} before the start of {article} {what} of {}", n(bytes), n(size))
            }
            Relation::Inside(offset) => {
                write!(f, "at offset {offset} of {article} {what} of {}", n(size))
            }
        }
    }
}

fn n(bytes: u64) -> String {
    if bytes == 1 { "1 byte".to_owned() } else { format!("{bytes} bytes") }
}
