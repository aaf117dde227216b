//! What redirect_map and redirect return.

use std::os::fd::{AsRawFd, OwnedFd};

use skep_oracle::accesses::ACCESSES;
use skep_oracle::asm::*;
use skep_oracle::{Kernel, Map, MapSpec, ProgSpec, map_type};

use crate::agent::LOOKUP;
use crate::probe::{Probe, SCHED_CLS, TYPES, Type, XDP, XDP_CPUMAP, XDP_DEVMAP};
use crate::record::{Record, check, outcome, returned};
use crate::redirect_maps::{LO, NO_DEVICE, xsk};

const REDIRECT: i32 = 23;
const REDIRECT_MAP: i32 = 51;

#[test]
fn redirect() {
    check(
        "redirect",
        "redirect_map(map, key, flags) of a program of type xdp: r0. The maps have room for 2\n\
         elements and hold one with key 0: the device `lo` (1), CPU 0 with a queue of 192, an\n\
         AF_XDP socket. redirect(ifindex, flags) of the named type: r0. `may` lines: whether\n\
         programs of the type may call the helper, on a map of the type. `closed`: after the\n\
         socket was closed that was in both elements. `owner` lines: what becomes of the second\n\
         when the first was done to a map: `xdp` or `sched_cls`, a program of the type that\n\
         names the map is loaded, or `element`, an XDP program is put into the map and taken\n\
         out again. `refused` is the verifier.",
        |kernel, record| {
            maps(kernel, record);
            devices(kernel, record);
            permissions(kernel, record);
            owners(kernel, record);
            values(kernel, record);
        },
    );
}

fn words(kernel: &Kernel, probe: &Probe, given: &[u64]) -> i64 {
    let given: Vec<i64> = given.iter().map(|word| word.cast_signed()).collect();
    kernel.on_cpu(0, || probe.run_on(&given)).unwrap()[2]
}

fn maps(kernel: &Kernel, record: &mut Record) {
    let socket = xsk();
    let fd = socket.as_raw_fd().cast_unsigned();
    for (name, map_type, value) in [
        ("devmap", map_type::DEVMAP, LO),
        ("devmap_hash", map_type::DEVMAP_HASH, LO),
        ("cpumap", map_type::CPUMAP, 192),
        ("xskmap", map_type::XSKMAP, fd),
    ] {
        record.note(&format!("redirect_map {name}"));
        let map = kernel.create_map(&MapSpec::new(map_type, 4, 4, 2)).unwrap();
        map.update(&[0; 4], &value.to_ne_bytes(), 0).unwrap();
        let probe = redirecting(kernel, &map);
        let keys = [0, 1, 2, u64::from(u32::MAX), 1 << 32, (1 << 32) + 1, u64::MAX];
        let flags = [0, 1, 2, 3, 4, 7, 8, 9, 11, 16, 18, 24, 26, 32, 1 << 32, u64::MAX];
        for (key, flags) in keys.into_iter().flat_map(|key| flags.map(|flags| (key, flags))) {
            let r0 = words(kernel, &probe, &[key, flags]);
            let question = format!("redirect_map {name} key={key:#x} flags={flags:#x}");
            record.case(&question, &returned(r0));
        }
    }
    closed(kernel, record, socket);
}

/// A socket in two places of a map, before and after it is closed.
fn closed(kernel: &Kernel, record: &mut Record, socket: OwnedFd) {
    record.note("a closed socket");
    let map = kernel.create_map(&MapSpec::new(map_type::XSKMAP, 4, 4, 2)).unwrap();
    for key in [0_u32, 1] {
        map.update(&key.to_ne_bytes(), &socket.as_raw_fd().to_ne_bytes(), 0).unwrap();
    }
    let probe = redirecting(kernel, &map);
    let mut ask = |state: &str| {
        for key in [0, 1] {
            let r0 = words(kernel, &probe, &[key, 2]);
            record.case(&format!("xskmap {state} key={key:#x} flags=0x2"), &returned(r0));
        }
    };
    ask("open");
    drop(socket);
    ask("closed");
}

/// A program that redirects by the key and flags that it is given.
fn redirecting(kernel: &Kernel, map: &Map) -> Probe {
    let body = |asm: &mut Asm| {
        asm.ldx(DW, R2, R7, 0).ldx(DW, R3, R7, 8).map(R1, map.fd()).call(REDIRECT_MAP);
        asm.stx(DW, R7, 16, R0);
    };
    Probe::new(kernel, XDP, body).unwrap()
}

fn devices(kernel: &Kernel, record: &mut Record) {
    for ty in [XDP, SCHED_CLS] {
        record.note(&format!("redirect {}", ty.name));
        let body = |asm: &mut Asm| {
            asm.ldx(DW, R1, R7, 0).ldx(DW, R2, R7, 8).call(REDIRECT).stx(DW, R7, 16, R0);
        };
        let probe = Probe::new(kernel, ty, body).unwrap();
        let devices = [0, u64::from(LO), u64::from(NO_DEVICE), u64::MAX];
        let flags = [0, 1, 2, 3, 4, 8, 9, 16, 1 << 31, 1 << 32, (1 << 32) + 1, u64::MAX];
        for (device, flags) in devices.into_iter().flat_map(|d| flags.map(|flags| (d, flags))) {
            let r0 = words(kernel, &probe, &[device, flags]);
            let question = format!("redirect {} ifindex={device:#x} flags={flags:#x}", ty.name);
            record.case(&question, &returned(r0));
        }
    }
}

fn permissions(kernel: &Kernel, record: &mut Record) {
    record.note("may");
    let taken = |result: Result<Probe, _>| match result {
        Ok(_) => "yes",
        Err(skep_oracle::Rejection { .. }) => "refused",
    };
    let types = [
        ("devmap", map_type::DEVMAP),
        ("devmap_hash", map_type::DEVMAP_HASH),
        ("cpumap", map_type::CPUMAP),
        ("xskmap", map_type::XSKMAP),
        ("array", map_type::ARRAY),
        ("hash", map_type::HASH),
        ("prog_array", map_type::PROG_ARRAY),
    ];
    for ty in TYPES {
        let direct = Probe::new(kernel, ty, |asm| {
            asm.mov(R1, 1).mov(R2, 0).call(REDIRECT);
        });
        record.case(&format!("may {} redirect", ty.name), taken(direct));
        for (name, map_type) in types {
            let map = kernel.create_map(&MapSpec::new(map_type, 4, 4, 2)).unwrap();
            let through = Probe::new(kernel, ty, |asm| {
                asm.map(R1, map.fd()).mov(R2, 0).mov(R3, 0).call(REDIRECT_MAP);
            });
            record.case(&format!("may {} redirect_map {name}", ty.name), taken(through));
        }
    }
}

/// Programs that use a map, and programs in it, may have to be of one type.
fn owners(kernel: &Kernel, record: &mut Record) {
    record.note("owners");
    for (name, map_type, number, attach) in [
        ("devmap", map_type::DEVMAP, LO, XDP_DEVMAP),
        ("devmap_hash", map_type::DEVMAP_HASH, LO, XDP_DEVMAP),
        ("cpumap", map_type::CPUMAP, 192, XDP_CPUMAP),
    ] {
        let steps = ["xdp", "sched_cls", "element"];
        for (first, then) in steps.iter().flat_map(|first| steps.map(|then| (first, then))) {
            let map = kernel.create_map(&MapSpec::new(map_type, 4, 8, 2)).unwrap();
            let act = |step: &str| match step {
                "element" => {
                    let insns = Asm::new().mov(R0, 2).exit().build();
                    let spec = ProgSpec::new(attach.id, &insns).expected_attach_type(attach.attach);
                    let prog = kernel.load_without_log(&spec).unwrap();
                    let words = [number, prog.fd().cast_unsigned()].map(u32::to_ne_bytes);
                    let put = map.update(&[0; 4], words.as_flattened(), 0);
                    let _ = map.delete(&[0; 4]);
                    outcome(put.err())
                }
                step => {
                    let ty = if step == "xdp" { XDP } else { SCHED_CLS };
                    let names = Probe::new(kernel, ty, |asm| {
                        asm.map(R1, map.fd());
                    });
                    if names.is_ok() { "ok".to_owned() } else { "refused".to_owned() }
                }
            };
            assert_eq!(act(first), "ok");
            record.case(&format!("owner {name} {first} then {then}"), &act(then));
        }
    }
}

/// What programs may do with the elements that they look up.
fn values(kernel: &Kernel, record: &mut Record) {
    let socket = xsk();
    let fd = socket.as_raw_fd().cast_unsigned();
    for (name, map_type, value) in [
        ("devmap", map_type::DEVMAP, LO),
        ("devmap_hash", map_type::DEVMAP_HASH, LO),
        ("xskmap", map_type::XSKMAP, fd),
    ] {
        for ty in [XDP, SCHED_CLS] {
            record.note(&format!("lookup {name} {}", ty.name));
            for access in ACCESSES {
                let map = kernel.create_map(&MapSpec::new(map_type, 4, 4, 2)).unwrap();
                map.update(&[0; 4], &value.to_ne_bytes(), 0).unwrap();
                let other = kernel.create_map(&MapSpec::new(map_type::HASH, 4, 8, 1)).unwrap();
                let answer = look(kernel, ty, &map, |asm| access.write(asm, other.fd()));
                record.case(&format!("lookup {name} {} {}", ty.name, access.name), &answer);
            }
        }
    }
}

/// Finds the element of key 0 and does something with it.
fn look(kernel: &Kernel, ty: Type, map: &Map, then: impl FnOnce(&mut Asm)) -> String {
    let probe = Probe::new(kernel, ty, |asm| {
        asm.st(W, R10, -4, 0).map(R1, map.fd()).mov_reg(R2, R10).alu64(ADD, R2, -4);
        asm.call(LOOKUP).jmp(JEQ, R0, 0, "end").mov_reg(R8, R0);
        then(asm);
    });
    match probe {
        Err(_) => "refused".to_owned(),
        Ok(probe) => match kernel.on_cpu(0, || probe.run_on(&[])).unwrap()[0] {
            -1 => "-".to_owned(),
            word => word.to_string(),
        },
    }
}
