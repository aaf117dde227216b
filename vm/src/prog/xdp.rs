//! XDP.

use super::{Context, Field, ProgType, u32_field};

pub(super) const TYPES: &[&ProgType] = &[&XDP];

/// Offsets of fields in `struct xdp_md`.
pub(crate) const DATA: u32 = 0;
pub(crate) const DATA_END: u32 = 4;
pub(crate) const DATA_META: u32 = 8;
pub(crate) const INGRESS_IFINDEX: u32 = 12;
/// Size of `struct xdp_md` in bytes.
pub(crate) const SIZE: u32 = 24;

const FIELDS: &[Field] = &[
    u32_field("data", DATA),
    u32_field("data_end", DATA_END),
    u32_field("data_meta", DATA_META),
    u32_field("ingress_ifindex", INGRESS_IFINDEX).settable(),
    u32_field("rx_queue_index", 16).settable(),
    u32_field("egress_ifindex", 20).settable(),
];

/// `BPF_PROG_TYPE_XDP`.
pub static XDP: ProgType = ProgType {
    name: "xdp",
    id: 6,
    sections: &[
        "xdp+",
        "xdp.frags+",
        "xdp/devmap",
        "xdp/cpumap",
        "xdp.frags/devmap",
        "xdp.frags/cpumap",
    ],
    context: Context::Xdp,
    most_context: 0,
    legacy_loads: false,
    fields: FIELDS,
    verdicts: &[
        (0, "XDP_ABORTED"),
        (1, "XDP_DROP"),
        (2, "XDP_PASS"),
        (3, "XDP_TX"),
        (4, "XDP_REDIRECT"),
    ],
};
