//! What the context's fields hold in a test run, and what a caller may put there.

use skep_oracle::asm::*;
use skep_oracle::{Kernel, TestRun};

use crate::probe::{Probe, SKB_TYPES, TYPES, Type, XDP, counting};
use crate::record::{Record, check, hex, outcome};
use skep_oracle::fields::{Field, SK_BUFF, XDP_MD, width};

#[test]
fn context_defaults() {
    check(
        "context-defaults",
        "The fields of the context when BPF_PROG_TEST_RUN gets a packet and no ctx_in, as the\n\
         program reads them, in hexadecimal. Fields that the type may not read and pointers\n\
         are left out. `packet` names the packet: its bytes stand in the first lines.",
        |kernel, record| {
            for (name, packet) in packets() {
                record.case(&format!("packet {name}"), &hex(&packet));
            }
            for ty in TYPES {
                record.note(ty.name);
                defaults(kernel, record, ty);
            }
        },
    );
}

#[test]
fn context_in() {
    check(
        "context-in",
        "Which bytes of ctx_in BPF_PROG_TEST_RUN takes. The packet is `ipv4` of\n\
         context-defaults. `set` is a field that is not zero; `size` is the size of ctx_in,\n\
         192 for __sk_buff and 24 for xdp_md unless given. `seen` is the field as the program\n\
         reads it, `out` as it stands in ctx_out. Interface 1 is the loopback. For xdp,\n\
         what of data_in lies behind data_end goes into a fragment. `all-zero` lines give the\n\
         fields that are not zero when ctx_in is all zero.",
        |kernel, record| {
            for ty in SKB_TYPES.into_iter().filter(|ty| ty.attach == 0) {
                record.note(ty.name);
                skb_fields_in(kernel, record, ty);
                sizes_in(kernel, record, ty, 192);
            }
            record.note("xdp");
            xdp_in(kernel, record);
            sizes_in(kernel, record, XDP, 24);
        },
    );
}

/// Packets whose headers the kernel reads.
fn packets() -> Vec<(&'static str, Vec<u8>)> {
    let ethernet = |destination: u8, protocol: u16| {
        let mut packet = vec![destination; 6];
        packet.extend([2, 2, 2, 2, 2, 2]);
        packet.extend(protocol.to_be_bytes());
        packet
    };
    let mut ipv4 = ethernet(2, 0x0800);
    ipv4.extend([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    ipv4.extend([0x30, 0x39, 0, 53, 0, 8, 0, 0]);
    let mut ipv6 = ethernet(2, 0x86dd);
    ipv6.extend([0x60, 0, 0, 0, 0, 8, 17, 64]);
    ipv6.extend(0x20..0x30);
    ipv6.extend(0x40..0x50);
    ipv6.extend([0x30, 0x39, 0, 53, 0, 8, 0, 0]);
    let mut broadcast = ipv4.clone();
    broadcast[..6].fill(0xff);
    let mut multicast = ipv4.clone();
    multicast[0] = 1;
    let mut own = ipv4.clone();
    own[..6].fill(0);
    let mut vlan = ethernet(2, 0x8100);
    vlan.extend([0, 5]);
    vlan.extend(&ipv4[12..]);
    let mut length = ethernet(2, 46);
    length.extend([0xaa, 0xaa, 3, 0, 0, 0, 8, 0]);
    let mut novell = ethernet(2, 46);
    novell.extend([0xff; 8]);
    vec![
        ("short", ipv4[..15].to_vec()),
        ("cut-ipv4", ipv4[..33].to_vec()),
        ("ipv4", ipv4),
        ("cut-ipv6", ipv6[..53].to_vec()),
        ("ipv6", ipv6),
        ("broadcast", broadcast),
        ("multicast", multicast),
        ("to-zero-address", own),
        ("vlan", vlan),
        ("802.3", length),
        ("802.3-novell", novell),
        ("unknown", counting(64)),
    ]
}

fn ipv4() -> Vec<u8> {
    packets().swap_remove(2).1
}

fn is_pointer((name, ..): Field) -> bool {
    matches!(name, "data" | "data_end" | "data_meta" | "sk" | "flow_keys")
}

fn reader(kernel: &Kernel, ty: Type, field: Field) -> Option<Probe> {
    let (_, offset, size) = field;
    let body = |asm: &mut Asm| {
        asm.ldx(width(size), R1, R6, offset).stx(DW, R7, 0, R1);
    };
    Probe::new(kernel, ty, body).ok()
}

fn fields(ty: Type) -> &'static [Field] {
    if ty == XDP { &XDP_MD } else { &SK_BUFF }
}

fn defaults(kernel: &Kernel, record: &mut Record, ty: Type) {
    let readers: Vec<_> = fields(ty)
        .iter()
        .filter(|&&field| !is_pointer(field))
        .filter_map(|&field| Some((field.0, reader(kernel, ty, field)?)))
        .collect();
    for (name, packet) in packets() {
        let empty = Probe::new(kernel, ty, |_| ()).expect("an empty program is taken");
        let (ran, _) = empty.run(&TestRun::new().data_in(&packet));
        if ran.errno.is_some() {
            record.case(&format!("{} packet={name}", ty.name), &outcome(ran.errno));
            continue;
        }
        let answer: Vec<String> = readers
            .iter()
            .map(|(field, probe)| {
                let (ran, words) = probe.run(&TestRun::new().data_in(&packet));
                assert_eq!(ran.errno, None, "{field} of {name}");
                format!("{field}={:x}", words[0])
            })
            .collect();
        record.case(&format!("{} packet={name}", ty.name), &answer.join(" "));
    }
}

fn skb_fields_in(kernel: &Kernel, record: &mut Record, ty: Type) {
    let packet = ipv4();
    for &field in SK_BUFF.iter().filter(|&&field| !is_pointer(field)) {
        let Some(probe) = reader(kernel, ty, field) else {
            continue;
        };
        let zeros = [0; 192];
        let (ran, words) = probe.run(&TestRun::new().data_in(&packet).ctx_in(&zeros).ctx_out(192));
        let at = field.1.cast_unsigned() as usize;
        let mut out = [0; 8];
        out[..usize::from(field.2)].copy_from_slice(&ran.ctx_out[at..at + usize::from(field.2)]);
        let out = u64::from_le_bytes(out);
        if words[0] != 0 || out != 0 {
            let answer = format!("seen={:#x} out={out:#x}", words[0]);
            record.case(&format!("{} all-zero reads={}", ty.name, field.0), &answer);
        }
    }
    for &field in &SK_BUFF[..SK_BUFF.len() - 2] {
        let (name, offset, size) = field;
        let probe = reader(kernel, ty, field)
            .unwrap_or_else(|| Probe::new(kernel, ty, |_| ()).expect("an empty program is taken"));
        let readable = !is_pointer(field) && reader(kernel, ty, field).is_some();
        for value in values(field) {
            let at = offset.cast_unsigned() as usize;
            let bytes = &value.to_le_bytes()[..usize::from(size)];
            let mut ctx = vec![0; 192];
            ctx[at..at + bytes.len()].copy_from_slice(bytes);
            let run = TestRun::new().data_in(&packet).ctx_in(&ctx).ctx_out(192);
            let (ran, words) = probe.run(&run);
            let mut answer = outcome(ran.errno);
            if ran.errno.is_none() {
                if readable {
                    answer += &format!(" seen={:#x}", words[0]);
                }
                let mut out = [0; 8];
                out[..bytes.len()].copy_from_slice(&ran.ctx_out[at..at + bytes.len()]);
                answer += &format!(" out={:#x}", u64::from_le_bytes(out));
            }
            record.case(&format!("{} set={name}:{value:#x}", ty.name), &answer);
        }
    }
}

/// What to put into a field: 1, and the edges that the kernel checks.
fn values((name, _, size): Field) -> Vec<u64> {
    match name {
        "ifindex" | "ingress_ifindex" => vec![1, 0x7fff_ffff],
        "wire_len" => vec![1, 13, 14, 41, 42, 43, 0xffff, 0x10000, 0x7fff_ffff, 0xffff_ffff],
        "gso_segs" => vec![1, 0xffff, 0x10000],
        "gso_size" => vec![1, 0xffff, 0x10000],
        "queue_mapping" => vec![1, 0xffff, 0x10000],
        "mark" | "priority" => vec![1, 0xffff_ffff],
        _ if size == 8 => vec![1, u64::MAX],
        _ => vec![1],
    }
}

fn sizes_in(kernel: &Kernel, record: &mut Record, ty: Type, full: usize) {
    let packet = ipv4();
    let probe = Probe::new(kernel, ty, |_| ()).unwrap();
    let len = u32::try_from(packet.len()).unwrap();
    let image = |size: usize, last: u8| {
        let mut ctx = vec![0; size.max(full)];
        if ty == XDP {
            ctx[4..8].copy_from_slice(&len.to_le_bytes());
        }
        ctx.truncate(size);
        if let Some(byte) = ctx.last_mut() {
            *byte |= last;
        }
        ctx
    };
    for size in [0, 1, 4, 8, 11, 12, 16, full - 1, full, full + 1, full + 8, 4096, 4097] {
        for last in [0, 1] {
            if last == 1 && size <= full {
                continue;
            }
            let ctx = image(size, last);
            let (ran, _) = probe.run(&TestRun::new().data_in(&packet).ctx_in(&ctx));
            let question = format!("{} size={size} last-byte={last}", ty.name);
            record.case(&question, &outcome(ran.errno));
        }
    }
    for room in [0, 1, full - 1, full, full + 1] {
        let room = u32::try_from(room).unwrap();
        let ctx = image(full, 0);
        let (ran, _) = probe.run(&TestRun::new().data_in(&packet).ctx_in(&ctx).ctx_out(room));
        let question = format!("{} ctx_in ctx_out.room={room}", ty.name);
        let answer = format!("{} ctx_out.size={}", outcome(ran.errno), ran.ctx_size_out);
        record.case(&question, &answer);
        let (ran, _) = probe.run(&TestRun::new().data_in(&packet).ctx_out(room));
        let question = format!("{} no-ctx_in ctx_out.room={room}", ty.name);
        let answer = format!("{} ctx_out.size={}", outcome(ran.errno), ran.ctx_size_out);
        record.case(&question, &answer);
    }
}

/// Words: data - data_meta, data_end - data, ingress_ifindex, rx_queue_index.
fn xdp_in(kernel: &Kernel, record: &mut Record) {
    let body = |asm: &mut Asm| {
        asm.ldx(W, R1, R6, 0).ldx(W, R2, R6, 4).ldx(W, R3, R6, 8);
        asm.alu64_reg(SUB, R2, R1).stx(DW, R7, 8, R2);
        asm.alu64_reg(SUB, R1, R3).stx(DW, R7, 0, R1);
        asm.ldx(W, R1, R6, 12).stx(DW, R7, 16, R1);
        asm.ldx(W, R1, R6, 16).stx(DW, R7, 24, R1);
    };
    let probe = Probe::new(kernel, XDP, body).unwrap();
    let packet = counting(64);
    let cases: &[[u32; 6]] = &[
        // data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex
        [0, 0, 0, 0, 0, 0],
        [0, 63, 0, 0, 0, 0],
        [0, 64, 0, 0, 0, 0],
        [0, 65, 0, 0, 0, 0],
        [0, 64, 1, 0, 0, 0],
        [1, 64, 0, 0, 0, 0],
        [2, 64, 0, 0, 0, 0],
        [4, 64, 0, 0, 0, 0],
        [4, 64, 4, 0, 0, 0],
        [8, 64, 0, 0, 0, 0],
        [32, 64, 0, 0, 0, 0],
        [36, 64, 0, 0, 0, 0],
        [48, 64, 0, 0, 0, 0],
        [50, 64, 0, 0, 0, 0],
        [52, 64, 0, 0, 0, 0],
        [64, 64, 0, 0, 0, 0],
        [68, 64, 0, 0, 0, 0],
        [0, 64, 0, 1, 0, 0],
        [0, 64, 0, 1, 1, 0],
        [0, 64, 0, 0x7fff_ffff, 0, 0],
        [0, 64, 0, 0, 1, 0],
        [0, 64, 0, 0, 0, 1],
    ];
    for fields in cases {
        xdp_case(record, &probe, &packet, *fields);
    }
    let long = counting(512);
    for meta in [128, 196, 212, 214, 215, 216, 217, 220, 224, 228, 252, 256, 260] {
        xdp_case(record, &probe, &long, [meta, 512, 0, 0, 0, 0]);
    }
}

fn xdp_case(record: &mut Record, probe: &Probe, packet: &[u8], fields: [u32; 6]) {
    let ctx: Vec<u8> = fields.iter().flat_map(|f| f.to_le_bytes()).collect();
    let run = TestRun::new().data_in(packet).data_out(4096).ctx_in(&ctx).ctx_out(24);
    let (ran, words) = probe.run(&run);
    let set: Vec<String> = XDP_MD
        .iter()
        .zip(fields)
        .filter(|&(_, value)| value != 0)
        .map(|((name, ..), value)| format!("set={name}:{value}"))
        .collect();
    let question = format!("xdp data_in={} {}", packet.len(), set.join(" "));
    let mut answer = outcome(ran.errno);
    if ran.errno.is_none() {
        let out: Vec<String> = ran
            .ctx_out
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&word| u32::from_le_bytes(word).to_string())
            .collect();
        answer += &format!(
            " seen.data-data_meta={} seen.data_end-data={} seen.ingress_ifindex={} \
             seen.rx_queue_index={} out.xdp_md={} out.size={}",
            words[0],
            words[1],
            words[2],
            words[3],
            out.join(","),
            ran.data_size_out
        );
    }
    record.case(question.trim_end(), &answer);
}
