//! Programs on `struct __sk_buff`: socket filters, traffic control, cgroup_skb.
//!
//! Which fields a type may read and write is the kernel's `*_is_valid_access`
//! (net/core/filter.c); which of them the user may set is `convert___skb_to_skb`
//! (net/bpf/test_run.c).

use std::ops::RangeInclusive;

use super::{Context, Field, ProgType, Start, u32_field};

pub(super) const TYPES: &[&ProgType] = &[&SOCKET_FILTER, &SCHED_CLS, &SCHED_ACT, &CGROUP_SKB];

/// Offsets of fields that are made from the packet.
pub(crate) const LEN: u32 = 0;
pub(crate) const PKT_TYPE: u32 = 4;
pub(crate) const PROTOCOL: u32 = 16;
pub(crate) const IFINDEX: u32 = 40;
pub(crate) const DATA: u32 = 76;
pub(crate) const DATA_END: u32 = 80;
pub(crate) const FAMILY: u32 = 88;
pub(crate) const REMOTE_IP4: u32 = 92;
pub(crate) const LOCAL_IP4: u32 = 96;
pub(crate) const REMOTE_IP6: u32 = 100;
pub(crate) const LOCAL_IP6: u32 = 116;
pub(crate) const DATA_META: u32 = 140;
pub(crate) const WIRE_LEN: u32 = 160;
const GSO_SEGS: u32 = 164;
const GSO_SIZE: u32 = 176;
/// Size of `struct __sk_buff` in bytes.
pub(crate) const SIZE: u32 = 192;

/// What the user may set a field to when the packet has `len` bytes; 0 stands for the
/// default of `wire_len` (kernel `convert___skb_to_skb`).
pub(crate) fn range(field: u32, len: u32) -> RangeInclusive<u64> {
    const GSO_LEGACY_MAX_SIZE: u64 = 65_536;
    match field {
        WIRE_LEN => u64::from(len)..=GSO_LEGACY_MAX_SIZE,
        GSO_SEGS | GSO_SIZE => 0..=u64::from(u16::MAX),
        _ => 0..=u64::MAX,
    }
}

/// Which set of rights a type has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rights {
    SocketFilter,
    SchedCls,
    CgroupSkb,
}

const fn fields(rights: Rights) -> [Field; 44] {
    let tc = matches!(rights, Rights::SchedCls);
    let cgroup = matches!(rights, Rights::CgroupSkb);
    // `flow_keys` (144) is a pointer that only flow dissectors may read, `sk` (168) one
    // that needs socket objects; both stay out of reach.
    [
        u32_field("len", LEN),
        u32_field("pkt_type", PKT_TYPE),
        when_writable(tc || cgroup, u32_field("mark", 8)).settable(),
        when_writable(tc, u32_field("queue_mapping", 12)),
        u32_field("protocol", PROTOCOL),
        u32_field("vlan_present", 20),
        u32_field("vlan_tci", 24),
        u32_field("vlan_proto", 28),
        when_writable(tc || cgroup, u32_field("priority", 32)).settable(),
        u32_field("ingress_ifindex", 36).settable(),
        u32_field("ifindex", IFINDEX).settable(),
        when_writable(tc, u32_field("tc_index", 44)),
        u32_field("cb[0]", 48).writable().settable(),
        u32_field("cb[1]", 52).writable().settable(),
        u32_field("cb[2]", 56).writable().settable(),
        u32_field("cb[3]", 60).writable().settable(),
        u32_field("cb[4]", 64).writable().settable(),
        u32_field("hash", 68),
        when_readable(tc, u32_field("tc_classid", 72).writable()),
        when_readable(tc || cgroup, u32_field("data", DATA)),
        when_readable(tc || cgroup, u32_field("data_end", DATA_END)),
        u32_field("napi_id", 84),
        when_readable(cgroup, u32_field("family", FAMILY)),
        when_readable(cgroup, u32_field("remote_ip4", REMOTE_IP4)),
        when_readable(cgroup, u32_field("local_ip4", LOCAL_IP4)),
        when_readable(cgroup, u32_field("remote_ip6[0]", REMOTE_IP6)),
        when_readable(cgroup, u32_field("remote_ip6[1]", REMOTE_IP6 + 4)),
        when_readable(cgroup, u32_field("remote_ip6[2]", REMOTE_IP6 + 8)),
        when_readable(cgroup, u32_field("remote_ip6[3]", REMOTE_IP6 + 12)),
        when_readable(cgroup, u32_field("local_ip6[0]", LOCAL_IP6)),
        when_readable(cgroup, u32_field("local_ip6[1]", LOCAL_IP6 + 4)),
        when_readable(cgroup, u32_field("local_ip6[2]", LOCAL_IP6 + 8)),
        when_readable(cgroup, u32_field("local_ip6[3]", LOCAL_IP6 + 12)),
        when_readable(cgroup, u32_field("remote_port", 132)),
        when_readable(cgroup, u32_field("local_port", 136)),
        when_readable(tc, u32_field("data_meta", DATA_META)),
        u32_field("flow_keys", 144).wide().hidden(),
        when_readable(tc || cgroup, u32_field("tstamp", 152).wide().writable()).settable(),
        when_readable(tc, u32_field("wire_len", WIRE_LEN)).settable(),
        u32_field("gso_segs", GSO_SEGS).settable(),
        u32_field("sk", 168).wide().hidden(),
        u32_field("gso_size", GSO_SIZE).settable(),
        when_readable(tc, u32_field("tstamp_type", 180).byte()),
        when_readable(tc || cgroup, u32_field("hwtstamp", 184).wide()).settable(),
    ]
}

const fn when_writable(holds: bool, field: Field) -> Field {
    if holds { field.writable() } else { field }
}

const fn when_readable(holds: bool, field: Field) -> Field {
    if holds { field } else { field.hidden() }
}

const SOCKET_FILTER_FIELDS: &[Field] = &fields(Rights::SocketFilter);
const SCHED_CLS_FIELDS: &[Field] = &fields(Rights::SchedCls);
const CGROUP_SKB_FIELDS: &[Field] = &fields(Rights::CgroupSkb);

const TC_VERDICTS: &[(u32, &str)] = &[
    (0, "TC_ACT_OK"),
    (1, "TC_ACT_RECLASSIFY"),
    (2, "TC_ACT_SHOT"),
    (3, "TC_ACT_PIPE"),
    (4, "TC_ACT_STOLEN"),
    (5, "TC_ACT_QUEUED"),
    (6, "TC_ACT_REPEAT"),
    (7, "TC_ACT_REDIRECT"),
    (8, "TC_ACT_TRAP"),
    (u32::MAX, "TC_ACT_UNSPEC"),
];

/// `BPF_PROG_TYPE_SOCKET_FILTER`.
pub static SOCKET_FILTER: ProgType = ProgType {
    name: "socket_filter",
    id: 1,
    sections: &["socket+"],
    context: Context::Skb(Start::Network),
    most_context: 0,
    legacy_loads: true,
    fields: SOCKET_FILTER_FIELDS,
    verdicts: &[],
};

/// `BPF_PROG_TYPE_SCHED_CLS`.
pub static SCHED_CLS: ProgType = ProgType {
    name: "sched_cls",
    id: 3,
    sections: &["classifier+", "tc+", "tcx/ingress", "tcx/egress", "netkit/primary", "netkit/peer"],
    context: Context::Skb(Start::Ethernet),
    most_context: 0,
    legacy_loads: true,
    fields: SCHED_CLS_FIELDS,
    verdicts: TC_VERDICTS,
};

static SCHED_ACT: ProgType = ProgType {
    name: "sched_act",
    id: 4,
    sections: &["action+"],
    context: Context::Skb(Start::Ethernet),
    most_context: 0,
    legacy_loads: true,
    fields: SCHED_CLS_FIELDS,
    verdicts: TC_VERDICTS,
};

static CGROUP_SKB: ProgType = ProgType {
    name: "cgroup_skb",
    id: 8,
    sections: &["cgroup_skb/ingress", "cgroup_skb/egress", "cgroup/skb"],
    context: Context::Skb(Start::Network),
    most_context: 0,
    legacy_loads: false,
    fields: CGROUP_SKB_FIELDS,
    verdicts: &[],
};
