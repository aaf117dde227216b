//! What programs do with maps of sockets.

use skep_oracle::asm::*;
use skep_oracle::sockets::{self, SOCK_FIELDS, Socket};
use skep_oracle::{Kernel, Map, MapSpec, map_type};

use crate::agent::{DELETE, LOOKUP, UPDATE};
use crate::probe::{Probe, SCHED_CLS, TYPES, Type};
use crate::record::{Record, check, hex, returned};

const SK_RELEASE: i32 = 86;
const MAPS: [(&str, u32); 2] = [("sockmap", map_type::SOCKMAP), ("sockhash", map_type::SOCKHASH)];

#[test]
fn sock_programs() {
    check(
        "sock-programs",
        "`sock` lines: what a program of type sched_cls finds in a SOCKMAP: the fields of its\n\
         `struct bpf_sock`, as many bytes as each has, and what sk_release returns. Ports are\n\
         shown as `own` and `peer`, in host order or, behind a `~`, in network order. `load`\n\
         line: the register after a load of that field. `copy` lines: a program looks key 0\n\
         up in a map of the first type, which holds a socket there, and puts it under a key\n\
         into a map of the second, which has room for 2 and holds it under key 1: r0, and the\n\
         keys then. `may` lines: whether a program of the type may look up and release,\n\
         update, delete. `refused` lines are about programs that misuse what they found.",
        |kernel, record| {
            fields(kernel, record);
            copies(kernel, record);
            permissions(kernel, record);
            misuse(kernel, record);
        },
    );
}

fn holding(kernel: &Kernel, map_type: u32, key: u32, socket: &Socket) -> Map {
    let map = kernel.create_map(&MapSpec::new(map_type, 4, 8, 2)).unwrap();
    let value = u64::from(socket.fd().cast_unsigned());
    map.update(&key.to_ne_bytes(), &value.to_ne_bytes(), 0).unwrap();
    map
}

/// Makes r8 point to the socket of key 0.
fn find(asm: &mut Asm, map: &Map) {
    asm.st(W, R10, -4, 0).map(R1, map.fd()).mov_reg(R2, R10).alu64(ADD, R2, -4);
    asm.call(LOOKUP).jmp(JEQ, R0, 0, "end").mov_reg(R8, R0);
}

fn release(asm: &mut Asm) {
    asm.mov_reg(R1, R8).call(SK_RELEASE);
}

fn fields(kernel: &Kernel, record: &mut Record) {
    record.note("sock");
    for kind in [
        "tcp-listen",
        "tcp-connected",
        "tcp-accepted",
        "tcp6-listen",
        "tcp6-connected",
        "udp-bound",
        "udp-connected",
        "unix-stream",
        "unix-dgram-new",
    ] {
        let socket = sockets::open(sockets::named(kind).unwrap()).unwrap();
        let map = holding(kernel, map_type::SOCKMAP, 0, &socket);
        let probe = Probe::new(kernel, SCHED_CLS, |asm| {
            find(asm, &map);
            for (n, field) in (0..).zip(SOCK_FIELDS) {
                let width = if field.size == 2 { H } else { W };
                asm.ldx(width, R1, R8, field.offset).stx(DW, R7, 8 * n, R1);
            }
            release(asm);
            asm.stx(DW, R7, 8 * i16::try_from(SOCK_FIELDS.len()).unwrap(), R0);
        });
        let words = probe.unwrap().run_on(&[]);
        let (own, peer) = socket.ports();
        let shown = sockets::steady_fields(kind).iter().zip(&words).map(|(field, &word)| {
            let word = word.cast_unsigned() & (u64::MAX >> (64 - 8 * field.size));
            let port = u16::try_from(word).unwrap_or(0);
            let text = match port {
                0 => format!("{word:#x}"),
                _ if !field.name.ends_with("port") => format!("{word:#x}"),
                _ if port == own => "own".to_owned(),
                _ if port == peer => "peer".to_owned(),
                _ if port.swap_bytes() == own => "~own".to_owned(),
                _ if port.swap_bytes() == peer => "~peer".to_owned(),
                _ => "other".to_owned(),
            };
            format!("{}={text}", field.name)
        });
        let shown: Vec<String> = shown.collect();
        let answer = format!("{} sk_release={}", shown.join(" "), words[SOCK_FIELDS.len()]);
        record.case(&format!("sock {kind}"), &answer);
        if kind == "unix-stream" {
            record.case("load rx_queue_mapping", &format!("{:#x}", words[SOCK_FIELDS.len() - 1]));
        }
    }
}

fn copies(kernel: &Kernel, record: &mut Record) {
    record.note("copy");
    for (from, from_type) in MAPS {
        for (to, to_type) in MAPS {
            for key in [0_u32, 1, 2] {
                for flags in [0_u64, 1, 2, 3, 4, 8, 1 << 32] {
                    let socket = sockets::open(sockets::named("tcp-listen").unwrap()).unwrap();
                    let source = holding(kernel, from_type, 0, &socket);
                    let target = holding(kernel, to_type, 1, &socket);
                    let probe = Probe::new(kernel, SCHED_CLS, |asm| {
                        find(asm, &source);
                        asm.st(W, R10, -4, key.cast_signed()).map(R1, target.fd());
                        asm.mov_reg(R2, R10).alu64(ADD, R2, -4).mov_reg(R3, R8).lddw(R4, flags);
                        asm.call(UPDATE).stx(DW, R7, 0, R0);
                        release(asm);
                    });
                    let r0 = probe.unwrap().run_on(&[])[0];
                    let question = format!("copy {from} {to} key={key} flags={flags:#x}");
                    let there = |key: &u32| target.lookup(&key.to_ne_bytes(), 0).is_ok();
                    let keys: Vec<String> = [0, 1, 2]
                        .iter()
                        .filter(|key| there(key))
                        .map(ToString::to_string)
                        .collect();
                    record.case(&question, &format!("{} keys={}", returned(r0), keys.join(",")));
                }
            }
        }
    }
    // A program may leave none, or one that is not there.
    for (name, map_type) in MAPS {
        for key in [0_u32, 1, 2] {
            let socket = sockets::open(sockets::named("tcp-listen").unwrap()).unwrap();
            let map = holding(kernel, map_type, 1, &socket);
            let probe = Probe::new(kernel, SCHED_CLS, |asm| {
                asm.st(W, R10, -4, key.cast_signed()).map(R1, map.fd());
                asm.mov_reg(R2, R10).alu64(ADD, R2, -4).call(DELETE).stx(DW, R7, 0, R0);
            });
            let r0 = probe.unwrap().run_on(&[])[0];
            let mut keys = map.keys().unwrap();
            keys.retain(|key| map.lookup(key, 0).is_ok());
            let keys: Vec<String> = keys.iter().map(|key| hex(key)).collect();
            let keys = if keys.is_empty() { "-".to_owned() } else { keys.join(",") };
            record.case(
                &format!("delete {name} key={key}"),
                &format!("{} keys={keys}", returned(r0)),
            );
        }
    }
}

fn permissions(kernel: &Kernel, record: &mut Record) {
    record.note("may");
    for ty in TYPES {
        for (name, map_type) in MAPS {
            let map = kernel.create_map(&MapSpec::new(map_type, 4, 8, 2)).unwrap();
            let mut case = |operation: &str, write: &dyn Fn(&mut Asm)| {
                let taken = Probe::new(kernel, ty, |asm| write(asm)).is_ok();
                let answer = if taken { "yes" } else { "refused" };
                record.case(&format!("may {} {operation} {name}", ty.name), answer);
            };
            case("lookup", &|asm| {
                find(asm, &map);
                release(asm);
            });
            case("update", &|asm| {
                find(asm, &map);
                asm.map(R1, map.fd()).mov_reg(R2, R10).alu64(ADD, R2, -4).mov_reg(R3, R8);
                asm.mov(R4, 0).call(UPDATE);
                release(asm);
            });
            case("delete", &|asm| {
                asm.st(W, R10, -4, 0).map(R1, map.fd()).mov_reg(R2, R10).alu64(ADD, R2, -4);
                asm.call(DELETE);
            });
        }
    }
}

fn misuse(kernel: &Kernel, record: &mut Record) {
    record.note("misuse");
    let map = kernel.create_map(&MapSpec::new(map_type::SOCKMAP, 4, 8, 2)).unwrap();
    let mut case = |what: &str, ty: Type, write: &dyn Fn(&mut Asm)| {
        let answer = match Probe::new(kernel, ty, |asm| write(asm)) {
            Ok(_) => "taken",
            Err(_) => "refused",
        };
        record.case(what, answer);
    };
    case("kept", SCHED_CLS, &|asm| find(asm, &map));
    case("released twice", SCHED_CLS, &|asm| {
        find(asm, &map);
        release(asm);
        release(asm);
    });
    case("read when released", SCHED_CLS, &|asm| {
        find(asm, &map);
        release(asm);
        asm.ldx(W, R1, R8, 4);
    });
    case("released from the middle", SCHED_CLS, &|asm| {
        find(asm, &map);
        asm.alu64(ADD, R8, 4);
        release(asm);
    });
    case("stored to", SCHED_CLS, &|asm| {
        find(asm, &map);
        asm.st(W, R8, 4, 0);
        release(asm);
    });
    case("updated with no socket", SCHED_CLS, &|asm| {
        asm.st(DW, R10, -8, 0).map(R1, map.fd()).mov_reg(R2, R10).alu64(ADD, R2, -4);
        asm.mov_reg(R3, R10).alu64(ADD, R3, -8).mov(R4, 0).call(UPDATE);
    });
}
