//! What programs are run on when their results are compared or measured: the input that was
//! given, or some of our own.

use std::time::Duration;

use skep::prog::ProgType;
use skep::{Error, Input, Object, Program};

use crate::args::Subject;
use crate::failure::Failure;
use crate::input::{Packet, Packets, bytes};
use crate::task::field;

/// One input.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// What it is, for people.
    pub(crate) label: String,
    pub(crate) packet: Option<Vec<u8>>,
    pub(crate) ctx: Option<Vec<u8>>,
    /// Fields of the context, by their UAPI names.
    pub(crate) fields: Vec<(String, u64)>,
    /// When it was captured.
    pub(crate) time: Option<Duration>,
    /// Whether it, or a part of it, is what the caller gave.
    pub(crate) given: bool,
}

/// What the caller gave.
pub(crate) struct Cases {
    packets: Option<Vec<Packet>>,
    ctx: Option<Vec<u8>>,
    fields: Vec<(String, u64)>,
    /// Whether it was given for one program.
    named: bool,
}

/// The names of the programs that are meant: the one named, or all.
pub(crate) fn programs(object: &Object, subject: &Subject) -> Result<Vec<String>, Failure> {
    let all = object.parsed().programs().iter().map(|def| def.name.to_string());
    let all: Vec<String> = all.collect();
    match &subject.prog {
        None => Ok(all),
        Some(name) if all.contains(name) => Ok(vec![name.clone()]),
        Some(name) => {
            let object = object.name().to_owned();
            Err(Error::NotFound { object, what: "program", name: name.clone(), have: all }.into())
        }
    }
}

impl Case {
    /// The same for a runner.
    pub(crate) fn input(&self) -> Input {
        let input = match (&self.packet, &self.ctx) {
            (Some(packet), _) => Input::packet(&packet[..]),
            (None, Some(ctx)) => Input::raw(&ctx[..]),
            (None, None) => Input::none(),
        };
        self.fields.iter().fold(input, |input, (name, value)| input.set(name.clone(), *value))
    }
}

impl Cases {
    /// Reads what the command line names.
    pub(crate) fn read(subject: &Subject) -> Result<Self, Failure> {
        let packets = match &subject.packet {
            Some(text) => {
                let (mut packets, mut all) = (Packets::open(text)?, Vec::new());
                while let Some(packet) = packets.next()? {
                    all.push(packet);
                }
                Some(all)
            }
            None => None,
        };
        let ctx = subject.ctx.as_ref().map(|text| bytes("--ctx", text)).transpose()?;
        let fields = subject.set.iter().map(|setting| field(setting)).collect::<Result<_, _>>()?;
        Ok(Self { packets, ctx, fields, named: subject.prog.is_some() })
    }

    /// The inputs for a program: those given, when they are for programs of its kind or it
    /// was named, else `ours`.
    pub(crate) fn for_program(
        &self,
        program: &Program,
        ours: fn(Option<&ProgType>) -> Vec<Case>,
    ) -> Vec<Case> {
        let prog_type = program.prog_type();
        let takes_packet = prog_type.is_some_and(ProgType::takes_packet);
        let fields = if takes_packet || self.named { &self.fields[..] } else { &[] };
        let given = |label: String| Case { given: true, ..case(label) };
        let mut cases = match (&self.packets, &self.ctx) {
            (Some(packets), _) if takes_packet || self.named || prog_type.is_none() => {
                let numbered = packets.iter().enumerate();
                let cases = numbered.map(|(index, Packet { data, time })| Case {
                    packet: Some(data.clone()),
                    time: *time,
                    ..given(format!("packet {}", index + 1))
                });
                cases.collect()
            }
            (_, Some(ctx)) if !takes_packet || self.named => {
                let label = format!("context of {} bytes", ctx.len());
                vec![Case { ctx: Some(ctx.clone()), ..given(label) }]
            }
            _ => ours(prog_type),
        };
        for case in &mut cases {
            case.fields = fields.to_vec();
            case.given |= !fields.is_empty();
        }
        cases
    }
}

fn case(label: String) -> Case {
    Case { label, packet: None, ctx: None, fields: Vec::new(), time: None, given: false }
}

/// Addresses of a frame, and two bytes for what is in it.
const ETHERNET: [u8; 12] = [0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1];

/// A few inputs that between them get most programs beyond their first checks.
pub(crate) fn several(prog_type: Option<&ProgType>) -> Vec<Case> {
    if prog_type.is_some_and(ProgType::takes_packet) {
        let packets = [
            ("a short frame", frame(&[0x88, 0xb5], &[], 14)),
            ("TCP", frame(&[0x08, 0x00], &ipv4(6, &TCP), 64)),
            ("UDP", frame(&[0x08, 0x00], &ipv4(17, &UDP), 64)),
            ("IPv6", frame(&[0x86, 0xdd], &ipv6(6, &TCP), 0)),
            ("VLAN", frame(&[0x81, 0x00, 0x00, 0x05, 0x08, 0x00], &ipv4(17, &UDP), 64)),
        ];
        let cases = packets.into_iter().map(|(name, packet)| {
            let label = format!("{name} ({} bytes)", packet.len());
            Case { packet: Some(packet), ..case(label) }
        });
        return cases.collect();
    }
    let len = context_len(prog_type);
    let counting: Vec<u8> = (1..=u8::MAX).cycle().take(len).collect();
    let contexts = [("zeros", vec![0; len]), ("numbers", counting)];
    let cases = contexts.into_iter().map(|(name, ctx)| {
        let label = format!("a context of {len} bytes, {name}");
        Case { ctx: Some(ctx), ..case(label) }
    });
    cases.collect()
}

/// One input: a packet of 64 bytes, TCP over IPv4, or a context of zeros.
pub(crate) fn one(prog_type: Option<&ProgType>) -> Vec<Case> {
    let mut cases = several(prog_type);
    let takes_packet = prog_type.is_some_and(ProgType::takes_packet);
    vec![cases.swap_remove(usize::from(takes_packet))]
}

/// As many bytes as most contexts have: registers, records of tracepoints.
fn context_len(prog_type: Option<&ProgType>) -> usize {
    const LEN: u32 = 256;
    prog_type.map_or(LEN, |t| t.most_context.min(LEN)) as usize
}

fn frame(protocol: &[u8], payload: &[u8], least: usize) -> Vec<u8> {
    let mut frame = [&ETHERNET[..], protocol, payload].concat();
    frame.resize(frame.len().max(least), 0);
    frame
}

/// A first segment from port 40000 to port 80, without its checksum.
const TCP: [u8; 20] = [0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0x20, 0, 0, 0, 0, 0];
/// A question from port 40000 to port 53 without a checksum.
const UDP: [u8; 12] = [0x9c, 0x40, 0, 53, 0, 12, 0, 0, b's', b'k', b'e', b'p'];

/// From 192.0.2.1 to 198.51.100.2.
fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(20 + payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut header =
        [0x45, 0, len[0], len[1], 0, 1, 0, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2];
    let words = header.as_chunks::<2>().0.iter().map(|&word| u32::from(u16::from_be_bytes(word)));
    let sum: u32 = words.sum();
    let folded = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap_or(0);
    header[10..12].copy_from_slice(&folded.to_be_bytes());
    [&header[..], payload].concat()
}

/// From 2001:db8::1 to 2001:db8::2.
fn ipv6(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    let address = |last: u8| [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    let head = [0x60, 0, 0, 0, len[0], len[1], protocol, 64];
    [&head[..], &address(1), &address(2), payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_right_checksums_and_lengths() {
        let packet = ipv4(17, &UDP);
        let words = packet[..20].as_chunks::<2>().0;
        let sum: u32 = words.iter().map(|&word| u32::from(u16::from_be_bytes(word))).sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
        let xdp = several(Some(&skep::prog::XDP));
        let lens: Vec<usize> =
            xdp.iter().map(|case| case.packet.as_ref().map_or(0, Vec::len)).collect();
        assert_eq!(lens, [14, 64, 64, 74, 64]);
        assert_eq!(one(Some(&skep::prog::XDP))[0].label, "TCP (64 bytes)");
    }
}
