//! The fields of the packet contexts (`struct xdp_md` and `struct __sk_buff` of the UAPI),
//! spelled here apart from skep's own tables, so that the two can disagree.

/// A field: its name, and its offset and size in bytes.
pub type Field = (&'static str, i16, u8);

/// The fields of the context of programs of type `prog_type`, by its name: `struct xdp_md`
/// for `xdp…`, `struct __sk_buff` for all others.
#[must_use]
pub fn of(prog_type: &str) -> &'static [Field] {
    if prog_type.starts_with("xdp") { &XDP_MD } else { &SK_BUFF }
}

/// The field `name` of the context of programs of type `prog_type`.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn named(prog_type: &str, name: &str) -> Field {
    let found = of(prog_type).iter().find(|(own, ..)| *own == name);
    *found.unwrap_or_else(|| panic!("{prog_type} has no field `{name}`"))
}

/// `struct xdp_md`.
pub const XDP_MD: [Field; 6] = [
    ("data", 0, 4),
    ("data_end", 4, 4),
    ("data_meta", 8, 4),
    ("ingress_ifindex", 12, 4),
    ("rx_queue_index", 16, 4),
    ("egress_ifindex", 20, 4),
];

/// `struct __sk_buff`.
pub const SK_BUFF: [Field; 49] = [
    ("len", 0, 4),
    ("pkt_type", 4, 4),
    ("mark", 8, 4),
    ("queue_mapping", 12, 4),
    ("protocol", 16, 4),
    ("vlan_present", 20, 4),
    ("vlan_tci", 24, 4),
    ("vlan_proto", 28, 4),
    ("priority", 32, 4),
    ("ingress_ifindex", 36, 4),
    ("ifindex", 40, 4),
    ("tc_index", 44, 4),
    ("cb[0]", 48, 4),
    ("cb[1]", 52, 4),
    ("cb[2]", 56, 4),
    ("cb[3]", 60, 4),
    ("cb[4]", 64, 4),
    ("hash", 68, 4),
    ("tc_classid", 72, 4),
    ("data", 76, 4),
    ("data_end", 80, 4),
    ("napi_id", 84, 4),
    ("family", 88, 4),
    ("remote_ip4", 92, 4),
    ("local_ip4", 96, 4),
    ("remote_ip6[0]", 100, 4),
    ("remote_ip6[1]", 104, 4),
    ("remote_ip6[2]", 108, 4),
    ("remote_ip6[3]", 112, 4),
    ("local_ip6[0]", 116, 4),
    ("local_ip6[1]", 120, 4),
    ("local_ip6[2]", 124, 4),
    ("local_ip6[3]", 128, 4),
    ("remote_port", 132, 4),
    ("local_port", 136, 4),
    ("data_meta", 140, 4),
    ("flow_keys", 144, 8),
    ("tstamp", 152, 8),
    ("wire_len", 160, 4),
    ("gso_segs", 164, 4),
    ("sk", 168, 8),
    ("gso_size", 176, 4),
    ("tstamp_type", 180, 1),
    ("padding[0]", 181, 1),
    ("padding[1]", 182, 1),
    ("padding[2]", 183, 1),
    ("hwtstamp", 184, 8),
    ("end[0]", 192, 4),
    ("end[1]", 196, 4),
];

/// The size code of a load or store of `size` bytes (1, 2 or 4; others are 8).
#[must_use]
pub fn width(size: u8) -> u8 {
    use crate::asm::{B, DW, H, W};
    match size {
        1 => B,
        2 => H,
        4 => W,
        _ => DW,
    }
}
