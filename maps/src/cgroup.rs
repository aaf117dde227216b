//! Cgroups, as maps hold them and tasks are in them.

use crate::Resource;

/// A cgroup of the default hierarchy: its id, and those of the cgroups that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    id: u64,
    /// Those that it is in, from the root down.
    ancestors: Vec<u64>,
}

impl Cgroup {
    /// The id of the root, in every kernel.
    pub const ROOT: u64 = 1;

    /// The root.
    #[must_use]
    pub fn root() -> Self {
        Self { id: Self::ROOT, ancestors: Vec::new() }
    }

    /// A cgroup with this id, directly inside this one.
    #[must_use]
    pub fn child(&self, id: u64) -> Self {
        let ancestors = self.ancestors.iter().copied().chain([self.id]).collect();
        Self { id, ancestors }
    }

    /// Its id: the inode number of its folder.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The id of the cgroup `level` steps below the root on the way to this one, which is
    /// the last (kernel `cgroup_ancestor`).
    #[must_use]
    pub fn ancestor(&self, level: usize) -> Option<u64> {
        let own = (level == self.ancestors.len()).then_some(self.id);
        self.ancestors.get(level).copied().or(own)
    }

    /// Whether it is the cgroup with this id, or inside it (kernel
    /// `cgroup_is_descendant`).
    #[must_use]
    pub fn is_under(&self, id: u64) -> bool {
        self.id == id || self.ancestors.contains(&id)
    }
}

impl Resource for Cgroup {}
