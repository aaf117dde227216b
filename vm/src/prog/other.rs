//! Program types that skep knows by name and cannot run yet.

use super::{Context, ProgType};

pub(super) const TYPES: &[&ProgType] = &[
    &CGROUP_SOCK,
    &LWT_IN,
    &LWT_OUT,
    &LWT_XMIT,
    &SOCK_OPS,
    &SK_SKB,
    &CGROUP_DEVICE,
    &SK_MSG,
    &CGROUP_SOCK_ADDR,
    &LWT_SEG6LOCAL,
    &LIRC_MODE2,
    &SK_REUSEPORT,
    &FLOW_DISSECTOR,
    &CGROUP_SYSCTL,
    &CGROUP_SOCKOPT,
    &STRUCT_OPS,
    &EXT,
    &SK_LOOKUP,
    &NETFILTER,
];

const fn unsupported(name: &'static str, id: u32, sections: &'static [&'static str]) -> ProgType {
    ProgType {
        name,
        id,
        sections,
        context: Context::Unsupported,
        most_context: 0,
        legacy_loads: false,
        fields: &[],
        verdicts: &[],
    }
}

static CGROUP_SOCK: ProgType = unsupported(
    "cgroup_sock",
    9,
    &[
        "cgroup/sock_create",
        "cgroup/sock_release",
        "cgroup/sock",
        "cgroup/post_bind4",
        "cgroup/post_bind6",
    ],
);
static LWT_IN: ProgType = unsupported("lwt_in", 10, &["lwt_in"]);
static LWT_OUT: ProgType = unsupported("lwt_out", 11, &["lwt_out"]);
static LWT_XMIT: ProgType = unsupported("lwt_xmit", 12, &["lwt_xmit"]);
static SOCK_OPS: ProgType = unsupported("sock_ops", 13, &["sockops"]);
static SK_SKB: ProgType = unsupported(
    "sk_skb",
    14,
    &["sk_skb", "sk_skb/stream_parser", "sk_skb/stream_verdict", "sk_skb/verdict"],
);
static CGROUP_DEVICE: ProgType = unsupported("cgroup_device", 15, &["cgroup/dev"]);
static SK_MSG: ProgType = unsupported("sk_msg", 16, &["sk_msg"]);
static CGROUP_SOCK_ADDR: ProgType = unsupported(
    "cgroup_sock_addr",
    18,
    &[
        "cgroup/bind4",
        "cgroup/bind6",
        "cgroup/connect4",
        "cgroup/connect6",
        "cgroup/connect_unix",
        "cgroup/sendmsg4",
        "cgroup/sendmsg6",
        "cgroup/sendmsg_unix",
        "cgroup/recvmsg4",
        "cgroup/recvmsg6",
        "cgroup/recvmsg_unix",
        "cgroup/getpeername4",
        "cgroup/getpeername6",
        "cgroup/getpeername_unix",
        "cgroup/getsockname4",
        "cgroup/getsockname6",
        "cgroup/getsockname_unix",
    ],
);
static LWT_SEG6LOCAL: ProgType = unsupported("lwt_seg6local", 19, &["lwt_seg6local"]);
static LIRC_MODE2: ProgType = unsupported("lirc_mode2", 20, &["lirc_mode2"]);
static SK_REUSEPORT: ProgType =
    unsupported("sk_reuseport", 21, &["sk_reuseport", "sk_reuseport/migrate"]);
static FLOW_DISSECTOR: ProgType = unsupported("flow_dissector", 22, &["flow_dissector"]);
static CGROUP_SYSCTL: ProgType = unsupported("cgroup_sysctl", 23, &["cgroup/sysctl"]);
static CGROUP_SOCKOPT: ProgType =
    unsupported("cgroup_sockopt", 25, &["cgroup/getsockopt", "cgroup/setsockopt"]);
static STRUCT_OPS: ProgType = unsupported("struct_ops", 27, &["struct_ops+", "struct_ops.s+"]);
static EXT: ProgType = unsupported("ext", 28, &["freplace+"]);
static SK_LOOKUP: ProgType = unsupported("sk_lookup", 30, &["sk_lookup"]);
static NETFILTER: ProgType = unsupported("netfilter", 32, &["netfilter"]);
