//! Helpers on packets.

use skep_maps::Errno;
use skep_memory::{GuestPtr, GuestSlice};

use super::args::Size;
use super::{Call, Return};
use crate::context::{Packet, PacketKind};
use crate::fault::FaultKind;
use crate::run::{Run, Trap};

/// The shortest packet that the adjusting helpers leave: an Ethernet header.
const ETH_HLEN: i64 = 14;

/// The run's packet, when it is of the kind that a helper works on.
fn packet(run: &Run<'_>, helper: &'static str, wants_xdp: bool) -> Result<Packet, Trap> {
    let packet = (run.scratch.packet).filter(|p| (p.kind == PacketKind::Xdp) == wants_xdp);
    packet.ok_or_else(|| {
        let what = if wants_xdp { "an XDP" } else { "a __sk_buff" };
        let problem = format!("the program has no {what} context")
            .replace("no an", "no")
            .replace("no a ", "no ");
        Trap::new(FaultKind::Argument { helper, argument: 1, problem })
    })
}

/// Sees to it that the program has a `__sk_buff`.
pub(super) fn skb(run: &Run<'_>, helper: &'static str) -> Result<(), Trap> {
    packet(run, helper, false).map(drop)
}

/// The low 32 bits of an argument, signed.
fn int(value: u64) -> i64 {
    let low = u32::try_from(value & u64::from(u32::MAX)).unwrap_or(0);
    i64::from(low.cast_signed())
}

fn to_offset(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

fn publish(run: &mut Run<'_>, packet: Packet) {
    run.scratch.packet = Some(packet);
    run.scratch.context.publish(packet);
}

/// Moves the start of the packet (kernel `bpf_xdp_adjust_head`). Metadata moves along.
pub(super) fn adjust_head(run: &mut Run<'_>, _call: &Call<'_>, _ctx: (), delta: u64) -> Return {
    let mut packet = packet(run, "xdp_adjust_head", true)?;
    let delta = int(delta);
    let meta_len = i64::from(packet.data - packet.meta);
    let data = i64::from(packet.data) + delta;
    let lowest = i64::from(packet.hard_start) + meta_len;
    if data < lowest || data > i64::from(packet.data_end) - ETH_HLEN {
        return Ok(Errno::EINVAL.to_r0());
    }
    let metadata = host_slice(run, packet.meta, packet.data - packet.meta).to_vec();
    packet.data = to_offset(data);
    packet.meta = to_offset(data - meta_len);
    host_slice(run, packet.meta, packet.data - packet.meta).write(&metadata);
    publish(run, packet);
    Ok(0)
}

/// Moves the start of the metadata (kernel `bpf_xdp_adjust_meta`).
pub(super) fn adjust_meta(run: &mut Run<'_>, _call: &Call<'_>, _ctx: (), delta: u64) -> Return {
    /// The longest metadata: its length must fit in a byte.
    const MOST: i64 = 255;
    let mut packet = packet(run, "xdp_adjust_meta", true)?;
    let meta = i64::from(packet.meta) + int(delta);
    if meta < i64::from(packet.hard_start) || meta > i64::from(packet.data) {
        return Ok(Errno::EINVAL.to_r0());
    }
    let len = i64::from(packet.data) - meta;
    if len % 4 != 0 || len > MOST {
        return Ok(Errno::EACCES.to_r0());
    }
    packet.meta = to_offset(meta);
    publish(run, packet);
    Ok(0)
}

/// Moves the end of the packet (kernel `bpf_xdp_adjust_tail`); new bytes are zero.
pub(super) fn adjust_tail(run: &mut Run<'_>, _call: &Call<'_>, _ctx: (), delta: u64) -> Return {
    let mut packet = packet(run, "xdp_adjust_tail", true)?;
    let end = i64::from(packet.data_end) + int(delta);
    if end > i64::from(packet.hard_end) || end < i64::from(packet.data) + ETH_HLEN {
        return Ok(Errno::EINVAL.to_r0());
    }
    let (old, new) = (packet.data_end, to_offset(end));
    if new > old {
        host_slice(run, old, new - old).fill(0);
    }
    packet.data_end = new;
    publish(run, packet);
    Ok(0)
}

/// Copies bytes of the packet (kernel `bpf_skb_load_bytes`); zeros when they are not
/// all inside.
pub(super) fn skb_load_bytes(
    run: &mut Run<'_>,
    _call: &Call<'_>,
    _ctx: (),
    offset: u64,
    to: GuestSlice<'_>,
    _size: Size,
) -> Return {
    let packet = packet(run, "skb_load_bytes", false)?;
    let len = u32::try_from(to.len()).unwrap_or(u32::MAX);
    let from = inside(&packet, int(offset), len);
    match from {
        Some(at) => {
            to.write(&host_slice(run, at, len).to_vec());
            Ok(0)
        }
        None => {
            to.fill(0);
            Ok(Errno::EFAULT.to_r0())
        }
    }
}

/// Where `len` bytes at an offset of the packet stand, when they are all inside.
fn inside(packet: &Packet, offset: i64, len: u32) -> Option<u32> {
    let fits = offset >= 0 && offset + i64::from(len) <= i64::from(packet.len());
    fits.then(|| packet.data + to_offset(offset))
}

/// A word of the packet for `ld_abs` and `ld_ind`: network order made host order.
///
/// Negative offsets reach the network header (`SKF_NET_OFF`) and the link-layer header
/// (`SKF_LL_OFF`), as for classic filters (kernel `bpf_internal_load_pointer_neg_helper`).
pub(crate) fn load_packet_word(
    run: &mut Run<'_>,
    ctx: u64,
    offset: i32,
    size: u32,
) -> Result<Option<u32>, Trap> {
    const SKF_LL_OFF: i64 = -0x20_0000;
    const SKF_NET_OFF: i64 = -0x10_0000;
    if ctx != run.ctx() {
        return Err(Trap::new(FaultKind::NoContextInR6));
    }
    let packet = packet(run, "ld_abs", false)?;
    let offset = i64::from(offset);
    let link = match packet.kind {
        PacketKind::Skb { ethernet: false } => i64::from(packet.data) - ETH_HLEN,
        _ => i64::from(packet.data),
    };
    let start = match offset {
        0.. => Some(i64::from(packet.data) + offset),
        SKF_NET_OFF..=-1 => Some(link + ETH_HLEN + offset - SKF_NET_OFF),
        SKF_LL_OFF..SKF_NET_OFF => Some(link + offset - SKF_LL_OFF),
        _ => None,
    };
    let end = i64::from(packet.data_end);
    let Some(start) = start.filter(|start| start + i64::from(size) <= end) else {
        return Ok(None);
    };
    let bytes = host_slice(run, to_offset(start), size);
    let mut word = [0; 4];
    bytes.read(&mut word[4 - size as usize..]);
    Ok(Some(u32::from_be_bytes(word)))
}

fn host_slice<'r>(run: &Run<'r>, at: u32, len: u32) -> GuestSlice<'r> {
    GuestSlice::new(run.view, GuestPtr::new(at), len).expect("packets lie in the window")
}
