//! Redirecting packets: the helpers say where to, and the verdict that they return makes it
//! so.

use std::sync::Arc;

use skep_maps::flags::{BPF_F_BROADCAST, BPF_F_EXCLUDE_INGRESS};
use skep_maps::{Destination, Map, MapType};

use super::{Call, Return};
use crate::fault::FaultKind;
use crate::prog;
use crate::redirect::Pending;
use crate::run::{Run, Trap};

// What helpers return, and what `redirect_map` may be told to return for nothing found.
const XDP_ABORTED: u64 = 0;
const XDP_REDIRECT: u64 = 4;
const FALLBACKS: u64 = 3;
const TC_ACT_SHOT: u64 = 2;
const TC_ACT_REDIRECT: u64 = 7;
/// `redirect` of traffic control: into the device rather than out of it.
const BPF_F_INGRESS: u64 = 1;

#[cold]
fn cannot(helper: &'static str, what: &str) -> Trap {
    let problem = format!("the program has no packet that it could redirect {what}");
    Trap::new(FaultKind::Argument { helper, argument: 1, problem })
}

/// Redirects through a map (kernel `__bpf_xdp_redirect_map`).
///
/// When nothing is found, what was said before no longer counts; wrong flags change
/// nothing.
pub(super) fn redirect_map<'r>(
    run: &mut Run<'r>,
    call: &Call<'_>,
    map: &'r Arc<dyn Map>,
    key: u64,
    flags: u64,
) -> Return {
    if call.program(run).prog_type().is_none_or(|t| t.id != prog::XDP.id) {
        return Err(cannot("redirect_map", "through a map"));
    }
    let known = match map.core().map_type() {
        MapType::Devmap | MapType::DevmapHash => BPF_F_BROADCAST | BPF_F_EXCLUDE_INGRESS,
        _ => 0,
    };
    if flags & !(FALLBACKS | known) != 0 {
        return Ok(XDP_ABORTED);
    }
    // The kernel's lookups take the low half.
    let key = u32::try_from(key & u64::from(u32::MAX)).expect("32 bits are left");
    let to = map.destination(key);
    if to.is_none() && flags & BPF_F_BROADCAST == 0 {
        run.redirect = None;
        return Ok(flags & FALLBACKS);
    }
    run.redirect = Some(Pending { map: Some((map, key)), flags, to });
    Ok(XDP_REDIRECT)
}

/// Redirects to a device by its number (kernel `bpf_xdp_redirect` and `bpf_redirect`).
pub(super) fn redirect(run: &mut Run<'_>, call: &Call<'_>, ifindex: u64, flags: u64) -> Return {
    let (known, refused, verdict) = match call.program(run).prog_type().and_then(|t| t.redirects())
    {
        Some(4) => (0, XDP_ABORTED, XDP_REDIRECT),
        Some(_) => (BPF_F_INGRESS, TC_ACT_SHOT, TC_ACT_REDIRECT),
        None => return Err(cannot("redirect", "to a device")),
    };
    if flags & !known != 0 {
        return Ok(refused);
    }
    let ifindex = u32::try_from(ifindex & u64::from(u32::MAX)).expect("32 bits are left");
    let to = Some(Destination::Device { ifindex, program: 0 });
    run.redirect = Some(Pending { map: None, flags, to });
    Ok(verdict)
}
