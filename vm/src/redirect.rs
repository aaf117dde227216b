//! Where a packet goes that a program redirects.

use std::sync::Arc;

use skep_maps::flags::{BPF_F_BROADCAST, BPF_F_EXCLUDE_INGRESS};
use skep_maps::{Destination, Map};

/// A packet was redirected: its program said where to, and returned the verdict that makes
/// it so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// The map and the key that `redirect_map` was given; `None` for `redirect`.
    pub map: Option<(String, u32)>,
    /// The flags that the helper was given.
    pub flags: u64,
    /// Where to; with `BPF_F_BROADCAST` each device in the map, without the one that the
    /// packet came from if `BPF_F_EXCLUDE_INGRESS` says so.
    pub to: Vec<Destination>,
}

impl Redirect {
    /// Whether it goes to all devices in a map.
    #[must_use]
    pub fn is_broadcast(&self) -> bool {
        self.map.is_some() && self.flags & BPF_F_BROADCAST != 0
    }

    /// Whether the device that it came from is left out.
    #[must_use]
    pub fn excludes_ingress(&self) -> bool {
        self.is_broadcast() && self.flags & BPF_F_EXCLUDE_INGRESS != 0
    }

    /// Whether it goes into a device, as if received there, rather than out of it.
    #[must_use]
    pub fn is_ingress(&self) -> bool {
        self.map.is_none() && self.flags & 1 != 0
    }
}

/// What a program has said so far (kernel `struct bpf_redirect_info`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending<'r> {
    pub(crate) map: Option<(&'r Arc<dyn Map>, u32)>,
    pub(crate) flags: u64,
    pub(crate) to: Option<Destination>,
}

impl Pending<'_> {
    /// What it comes to for a packet from device `ingress`.
    pub(crate) fn settle(&self, ingress: Option<u32>) -> Redirect {
        let Self { map, flags, to } = *self;
        let name = |map: &Arc<dyn Map>| map.core().def().name.clone();
        let mut redirect = Redirect {
            map: map.map(|(map, key)| (name(map), key)),
            flags,
            to: to.into_iter().collect(),
        };
        if let (Some((map, _)), true) = (map, redirect.is_broadcast()) {
            let left_out = if redirect.excludes_ingress() { ingress } else { None };
            let devices = map.devices().into_iter().filter(|device| Some(*device) != left_out);
            let device = |ifindex| Destination::Device { ifindex, program: 0 };
            redirect.to = devices.map(device).collect();
        }
        redirect
    }
}
