//! What random scripts are about: a row for each type that has a model.

/// What random scripts are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// The type's name.
    pub map_type: &'static str,
    pub(super) keys: Keys,
    pub(super) values: Values,
    /// Flags of creation, of which one is taken.
    pub(super) flags: &'static [u32],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    /// Indexes, some too large.
    Index,
    /// Any four bytes, of which few are used.
    Bytes,
    /// Prefixes of 32 bits.
    Prefix,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// Bytes, of these sizes, and with a lock in some maps.
    Bytes(&'static [u32]),
    /// A value for each CPU.
    Percpu(&'static [u32]),
    /// Other maps.
    Maps,
}

const RDONLY: u32 = 1 << 3;
const WRONLY: u32 = 1 << 4;
pub(super) const RDONLY_PROG: u32 = 1 << 7;
pub(super) const NO_PREALLOC: u32 = 1;

impl Kind {
    /// Whether the values are maps.
    #[must_use]
    pub fn holds_maps(&self) -> bool {
        self.values == Values::Maps
    }
}

/// One kind for each type that has a model.
pub const KINDS: &[Kind] = &[
    Kind {
        map_type: "hash",
        keys: Keys::Bytes,
        values: Values::Bytes(&[8, 8, 3, 16]),
        flags: &[0, 0, NO_PREALLOC, NO_PREALLOC, RDONLY_PROG, NO_PREALLOC | WRONLY],
    },
    Kind {
        map_type: "array",
        keys: Keys::Index,
        values: Values::Bytes(&[8, 8, 5, 1]),
        flags: &[0, 0, 0, RDONLY_PROG, WRONLY, RDONLY],
    },
    Kind {
        map_type: "percpu_hash",
        keys: Keys::Bytes,
        values: Values::Percpu(&[8, 4, 12]),
        flags: &[0, 0, NO_PREALLOC, NO_PREALLOC, RDONLY_PROG],
    },
    Kind {
        map_type: "percpu_array",
        keys: Keys::Index,
        values: Values::Percpu(&[8, 4, 11]),
        flags: &[0, 0, 0, RDONLY_PROG, RDONLY],
    },
    Kind {
        map_type: "array_of_maps",
        keys: Keys::Index,
        values: Values::Maps,
        flags: &[0, 0, WRONLY],
    },
    Kind {
        map_type: "hash_of_maps",
        keys: Keys::Bytes,
        values: Values::Maps,
        flags: &[0, NO_PREALLOC, RDONLY],
    },
    Kind {
        map_type: "queue",
        keys: Keys::None,
        values: Values::Bytes(&[8, 4, 1]),
        flags: &[0, 0, 0, RDONLY, WRONLY],
    },
    Kind {
        map_type: "stack",
        keys: Keys::None,
        values: Values::Bytes(&[8, 4, 1]),
        flags: &[0, 0, 0, RDONLY, WRONLY],
    },
    Kind {
        map_type: "bloom_filter",
        keys: Keys::None,
        values: Values::Bytes(&[8, 4]),
        flags: &[0],
    },
    Kind {
        map_type: "lpm_trie",
        keys: Keys::Prefix,
        values: Values::Bytes(&[8, 3]),
        flags: &[NO_PREALLOC, NO_PREALLOC, NO_PREALLOC | RDONLY],
    },
];
