//! The guest memory of contexts and packets, one set for each runner.

use std::sync::Arc;

use skep_memory::{
    Access, Backing, GuestPtr, GuestSlice, Label, MemoryError, Span, SpanRequest, Window,
};

use super::{Input, InputError, Packet, PacketKind};
use crate::prog::{Context, Field, ProgType, Start, skb, xdp};
use crate::program::Program;

/// Room for a context in bytes: what a syscall program's may have (`U16_MAX`).
const CTX_ROOM: u32 = 64 << 10;
/// The longest packet in bytes.
const PACKET_ROOM: u32 = 64 << 10;
/// Bytes before a packet (`XDP_PACKET_HEADROOM`).
const HEADROOM: u32 = 256;
/// What of the headroom an XDP program cannot have: the kernel's `struct xdp_frame`.
const FRAME: u32 = 40;
/// The longest XDP packet that `xdp_adjust_tail` makes: a page less headroom and the
/// kernel's `struct skb_shared_info`.
const XDP_GROWS_TO: u32 = 4096 - HEADROOM - 320;
/// Length of an Ethernet header in bytes.
const ETH_HLEN: u32 = 14;

/// Contexts and packets of one runner.
#[derive(Debug)]
pub(crate) struct ContextMemory {
    ctx: Span,
    packet: Span,
    layout: Option<Layout>,
    /// What of the packet's memory is accessible: first and behind last.
    open: (u32, u32),
    /// What of it may not be zero: all that was open since it was cleared.
    used: (u32, u32),
}

/// For which type the context's rights are set, and how many bytes it has.
#[derive(Debug, Clone, Copy)]
struct Layout {
    prog_type: Option<&'static ProgType>,
    len: u32,
}

impl PartialEq for Layout {
    fn eq(&self, other: &Self) -> bool {
        let id = |layout: &Self| layout.prog_type.map(|t| t.id);
        self.len == other.len && id(self) == id(other)
    }
}

/// A context, ready.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prepared {
    pub(crate) ctx: GuestPtr,
    /// The context's length in bytes, for programs of no type: they get it in r2.
    pub(crate) len: Option<u32>,
    pub(crate) packet: Option<Packet>,
}

impl ContextMemory {
    pub(crate) fn new(window: &Arc<Window>) -> Result<Self, MemoryError> {
        let span = |len: u32, what: &str| {
            let request = SpanRequest {
                len: u64::from(len),
                align: 64,
                access: Access::None,
                label: Label::one(what),
                backing: Backing::Anonymous,
            };
            Span::new(window, request)
        };
        let room = HEADROOM + PACKET_ROOM + XDP_GROWS_TO;
        Ok(Self {
            ctx: span(CTX_ROOM, "context")?,
            packet: span(room, "packet")?,
            layout: None,
            open: (0, 0),
            used: (HEADROOM, HEADROOM),
        })
    }

    /// Makes the context of a run.
    pub(crate) fn prepare(
        &mut self,
        program: &Program,
        input: &Input,
    ) -> Result<Prepared, InputError> {
        let Some(prog_type) = program.prog_type() else {
            return self.prepare_raw(None, Access::ReadWrite, input);
        };
        match prog_type.context {
            Context::Raw(access) => {
                if input.packet.is_some() {
                    let program = program.name().to_owned();
                    return Err(InputError::TakesNoPacket { program, prog_type: prog_type.name });
                }
                if let Some((field, _)) = input.fields.first() {
                    return Err(unknown_field(prog_type, field));
                }
                self.prepare_raw(Some(prog_type), access, input)
            }
            Context::Xdp | Context::Skb(_) => {
                if input.raw.is_some() {
                    return Err(InputError::TakesNoRaw { program: program.name().to_owned() });
                }
                let needs = || InputError::NeedsPacket { program: program.name().to_owned() };
                let packet = input.packet.as_deref().ok_or_else(needs)?;
                self.stage(packet.len())?.write(packet);
                self.prepare_packet(prog_type, packet.len(), &input.fields)
            }
            Context::Unsupported => Err(InputError::Unsupported { prog_type: prog_type.name }),
        }
    }

    fn prepare_raw(
        &mut self,
        prog_type: Option<&'static ProgType>,
        access: Access,
        input: &Input,
    ) -> Result<Prepared, InputError> {
        let bytes = input.raw.as_deref().or(input.packet.as_deref()).unwrap_or_default();
        let most = prog_type.map_or(CTX_ROOM, |t| t.most_context).min(CTX_ROOM) as usize;
        let len = match u32::try_from(bytes.len()) {
            Ok(len) if bytes.len() <= most => len,
            _ => return Err(InputError::ContextTooLong { len: bytes.len(), most }),
        };
        if len == 0 {
            let len = prog_type.is_none().then_some(0);
            return Ok(Prepared { ctx: GuestPtr::NULL, len, packet: None });
        }
        let layout = Layout { prog_type, len };
        if self.layout != Some(layout) {
            self.close_context();
            self.ctx.set_access(0..len, access);
            self.layout = Some(layout);
        }
        self.ctx.part(0, len).write(bytes);
        let untyped_len = prog_type.is_none().then_some(len);
        Ok(Prepared { ctx: self.ctx.ptr(), len: untyped_len, packet: None })
    }

    /// Room for a packet of `len` bytes, to be filled by the host before
    /// [`ContextMemory::prepare_staged`].
    pub(crate) fn stage(&self, len: usize) -> Result<GuestSlice<'_>, InputError> {
        match u32::try_from(len) {
            Ok(short) if short <= PACKET_ROOM => Ok(self.packet.part(HEADROOM, short)),
            _ => Err(InputError::PacketTooLong { len, most: PACKET_ROOM as usize }),
        }
    }

    /// Makes the context of a run on a packet that is in place.
    pub(crate) fn prepare_staged(
        &mut self,
        program: &Program,
        len: usize,
        fields: &[(String, u64)],
    ) -> Result<Prepared, InputError> {
        let prog_type = program.prog_type().filter(|t| t.takes_packet());
        let takes_none = || InputError::TakesNoPacket {
            program: program.name().to_owned(),
            prog_type: program.prog_type().map_or("untyped", |t| t.name),
        };
        self.prepare_packet(prog_type.ok_or_else(takes_none)?, len, fields)
    }

    fn prepare_packet(
        &mut self,
        prog_type: &'static ProgType,
        len: usize,
        fields: &[(String, u64)],
    ) -> Result<Prepared, InputError> {
        let staged = self.stage(len)?;
        // The headers that fields are made from: Ethernet and IPv6.
        let mut headers = [0; 54];
        let known = len.min(headers.len());
        staged.part(0, u32::try_from(known).unwrap_or(0)).read(&mut headers[..known]);
        let bytes = &headers[..known];
        let len = check_length(bytes, len, prog_type)?;
        self.lay_out(prog_type);
        self.clear_around(HEADROOM, HEADROOM + len);
        let start = self.packet.ptr().offset() + HEADROOM;
        let (kind, data, hard_start, hard_end) = match prog_type.context {
            Context::Skb(Start::Network) => {
                let kind = PacketKind::Skb { ethernet: false };
                (kind, start + ETH_HLEN, start, start + len)
            }
            Context::Skb(Start::Ethernet) => {
                (PacketKind::Skb { ethernet: true }, start, start, start + len)
            }
            _ => {
                let grows_to = start + len.max(XDP_GROWS_TO);
                (PacketKind::Xdp, start, start - HEADROOM + FRAME, grows_to)
            }
        };
        let packet = Packet {
            kind,
            hard_start,
            hard_end,
            meta: data,
            data,
            data_end: start + len,
            ctx: self.ctx.ptr(),
        };
        let ctx = self.ctx.slice();
        match kind {
            PacketKind::Xdp => {
                ctx.part(0, xdp::SIZE).fill(0);
                ctx.set(xdp::INGRESS_IFINDEX, 1u32);
            }
            PacketKind::Skb { .. } => {
                ctx.part(0, skb::SIZE).fill(0);
                self.fill_skb(bytes);
            }
        }
        for (name, value) in fields {
            self.set_field(prog_type, name, *value, packet)?;
        }
        // The kernel fills it in only when it is given a context at all.
        let unset = !fields.is_empty() && ctx.get::<u32>(skb::WIRE_LEN) == 0;
        if unset && kind != PacketKind::Xdp {
            ctx.set(skb::WIRE_LEN, packet.len());
        }
        self.publish(packet);
        Ok(Prepared { ctx: self.ctx.ptr(), len: None, packet: Some(packet) })
    }

    /// Gives the context's bytes the rights of a type's fields.
    fn lay_out(&mut self, prog_type: &'static ProgType) {
        let len = prog_type.fields.last().map_or(0, |field| field.offset + field.size);
        let layout = Layout { prog_type: Some(prog_type), len };
        if self.layout == Some(layout) {
            return;
        }
        self.close_context();
        for field in prog_type.fields {
            self.ctx.set_access(field.offset..field.offset + field.size, field.access);
        }
        self.layout = Some(layout);
    }

    fn close_context(&mut self) {
        if let Some(Layout { len, .. }) = self.layout.take() {
            self.ctx.set_access(0..len, Access::None);
        }
    }

    fn set_field(
        &self,
        prog_type: &'static ProgType,
        name: &str,
        value: u64,
        packet: Packet,
    ) -> Result<(), InputError> {
        let field = prog_type.field(name).ok_or_else(|| unknown_field(prog_type, name))?;
        let field_name = || name.to_owned();
        if !field.settable {
            let known = settable(prog_type);
            return Err(InputError::NotSettable { field: field_name(), known });
        }
        if packet.kind != PacketKind::Xdp {
            let range = skb::range(field.offset, packet.len());
            if value != 0 && !range.contains(&value) {
                let (least, most) = range.into_inner();
                return Err(InputError::OutOfRange { field: field_name(), value, least, most });
            }
        }
        match u32::try_from(value) {
            _ if field.size == 8 => self.ctx.slice().set(field.offset, value),
            Ok(word) => self.ctx.slice().set(field.offset, word),
            Err(_) => {
                let size = field.size;
                return Err(InputError::ValueTooBig { field: field_name(), value, size });
            }
        }
        Ok(())
    }

    /// The fields that the kernel makes from the packet (`bpf_prog_test_run_skb`,
    /// `eth_type_trans`), on its loopback device, whose address is all zeros.
    fn fill_skb(&self, bytes: &[u8]) {
        let ctx = self.ctx.slice();
        let pkt_type = match bytes {
            [0, 0, 0, 0, 0, 0, ..] => 0u32,
            [first, ..] if first & 1 == 1 => 2,
            _ => 3,
        };
        ctx.set(skb::PKT_TYPE, pkt_type);
        let protocol = ethertype(bytes);
        ctx.set(skb::PROTOCOL, u32::from(protocol.swap_bytes()));
        ctx.set(skb::IFINDEX, 1u32);
        let payload = &bytes[ETH_HLEN as usize..];
        match protocol {
            ETH_P_IP => {
                ctx.set(skb::FAMILY, 2u32);
                ctx.part(skb::LOCAL_IP4, 4).write(&payload[12..16]);
                ctx.part(skb::REMOTE_IP4, 4).write(&payload[16..20]);
            }
            ETH_P_IPV6 => {
                ctx.set(skb::FAMILY, 10u32);
                ctx.part(skb::LOCAL_IP6, 16).write(&payload[8..24]);
                ctx.part(skb::REMOTE_IP6, 16).write(&payload[24..40]);
            }
            _ => {}
        }
    }

    /// Writes the packet's pointers to the context and makes just its bytes accessible.
    pub(crate) fn publish(&mut self, packet: Packet) {
        let ctx = self.ctx.slice();
        match packet.kind {
            PacketKind::Xdp => {
                ctx.set(xdp::DATA, packet.data);
                ctx.set(xdp::DATA_END, packet.data_end);
                ctx.set(xdp::DATA_META, packet.meta);
            }
            PacketKind::Skb { .. } => {
                ctx.set(skb::LEN, packet.len());
                ctx.set(skb::DATA, packet.data);
                ctx.set(skb::DATA_END, packet.data_end);
                ctx.set(skb::DATA_META, packet.meta);
            }
        }
        let base = self.packet.ptr().offset();
        let open = (packet.meta - base, packet.data_end - base);
        if open != self.open {
            self.packet.set_access(self.open.0..self.open.1, Access::None);
            self.packet.set_access(open.0..open.1, Access::ReadWrite);
            self.open = open;
        }
        self.used = (self.used.0.min(open.0), self.used.1.max(open.1));
    }

    /// Zeroes what earlier packets have left around the packet from `start` to `end`, which
    /// programs can come to see (`BPF_PROG_TEST_RUN` takes a fresh page).
    fn clear_around(&mut self, start: u32, end: u32) {
        let (first, last) = self.used;
        for (from, to) in [(first, start.min(last)), (end.max(first), last)] {
            if from < to {
                self.packet.part(from, to - from).fill(0);
            }
        }
        self.used = (start, end);
    }

    /// The packet after a run, as `BPF_PROG_TEST_RUN` gives it: XDP metadata first; an
    /// Ethernet header that the program did not see as zeros.
    pub(crate) fn packet_out(&self, packet: Packet) -> Vec<u8> {
        let base = self.packet.ptr().offset();
        let part = |from: u32| self.packet.part(from - base, packet.data_end - from).to_vec();
        match packet.kind {
            PacketKind::Xdp => part(packet.meta),
            PacketKind::Skb { ethernet: true } => part(packet.data),
            PacketKind::Skb { ethernet: false } => {
                let mut out = vec![0; ETH_HLEN as usize];
                out.extend(part(packet.data));
                out
            }
        }
    }

    /// The context's bytes after a run, as `BPF_PROG_TEST_RUN` gives them: of a
    /// `__sk_buff` the fields that can be set, of an `xdp_md` distances from where the
    /// packet or its metadata starts in the place of pointers.
    pub(crate) fn context_out(&self, packet: Option<Packet>) -> Vec<u8> {
        let Some(Layout { prog_type, len }) = self.layout else {
            return Vec::new();
        };
        let mut bytes = self.ctx.part(0, len).to_vec();
        let Some(packet) = packet else {
            return bytes;
        };
        if packet.kind == PacketKind::Xdp {
            let pointers = [packet.data - packet.meta, packet.data_end - packet.meta, 0];
            for (to, from) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(pointers) {
                *to = from.to_le_bytes();
            }
            return bytes;
        }
        let fields = prog_type.map_or(&[][..], |t| t.fields);
        for field in fields.iter().filter(|field| !field.settable) {
            bytes[field.offset as usize..][..field.size as usize].fill(0);
        }
        bytes
    }
}

const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;

/// The protocol that the kernel gives a frame (`eth_type_trans`): below 0x600 the field
/// is a length, and the frame is 802.3 or 802.2.
fn ethertype(bytes: &[u8]) -> u16 {
    let field = u16::from_be_bytes([bytes[12], bytes[13]]);
    match bytes.get(14..16) {
        _ if field >= 0x600 => field,
        Some([0xff, 0xff]) => 1,
        _ => 4,
    }
}

/// The checks of `BPF_PROG_TEST_RUN` on a packet's length.
fn check_length(headers: &[u8], len: usize, prog_type: &ProgType) -> Result<u32, InputError> {
    let too_short = |what, least: usize| {
        if len < least { Err(InputError::PacketTooShort { len, what, least }) } else { Ok(()) }
    };
    too_short("an Ethernet header", ETH_HLEN as usize)?;
    if matches!(prog_type.context, Context::Skb(_)) {
        match ethertype(headers) {
            ETH_P_IP => too_short("a packet with an IPv4 header", 34)?,
            ETH_P_IPV6 => too_short("a packet with an IPv6 header", 54)?,
            _ => {}
        }
    }
    Ok(u32::try_from(len).unwrap_or(PACKET_ROOM))
}

fn unknown_field(prog_type: &'static ProgType, field: &str) -> InputError {
    let known = settable(prog_type);
    InputError::UnknownField { prog_type: prog_type.name, field: field.to_owned(), known }
}

fn settable(prog_type: &ProgType) -> String {
    let names = prog_type.fields.iter().filter(|field| field.settable);
    let names: Vec<String> = names.map(|Field { name, .. }| format!("`{name}`")).collect();
    if names.is_empty() { "none that can be set".to_owned() } else { names.join(", ") }
}
