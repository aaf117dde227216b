//! What programs may do with the values of maps that they may only read or only write.

use skep_oracle::accesses::{ACCESSES, Access};
use skep_oracle::asm::*;
use skep_oracle::{Kernel, Map, MapSpec, map_type};

use crate::agent::LOOKUP;
use crate::plain_maps::flag;
use crate::probe::{Probe, SCHED_CLS};
use crate::record::{Record, check, hex};

#[test]
fn rights() {
    check(
        "rights",
        "TYPE/RIGHTS ACCESS: a program finds the value of key 0, 8 bytes of 11, and accesses\n\
         its first bytes. `direct` values are the program's by address, of a map that was\n\
         an argument of `lddw`. Where the program keeps what it got, as a number, that\n\
         comes first; `value` is what the map holds afterwards. `refused` is the verifier.",
        |kernel, record| {
            let types = [
                ("array", map_type::ARRAY),
                ("hash", map_type::HASH),
                ("percpu_array", map_type::PERCPU_ARRAY),
                ("direct", map_type::ARRAY),
            ];
            for (name, map_type) in types {
                for (rights, flags) in [
                    ("all", 0),
                    ("rdonly_prog", flag::RDONLY_PROG),
                    ("wronly_prog", flag::WRONLY_PROG),
                ] {
                    record.note(&format!("{name}/{rights}"));
                    for access in ACCESSES {
                        let spec = MapSpec::new(map_type, 4, 8, 1).flags(flags);
                        case(kernel, record, &format!("{name}/{rights}"), &spec, access);
                    }
                }
            }
        },
    );
}

fn case(kernel: &Kernel, record: &mut Record, name: &str, spec: &MapSpec<'_>, access: &Access) {
    let map = kernel.create_map(spec).unwrap();
    map.update(&[0; 4], &vec![0x11; map.value_len()], 0).unwrap();
    let other = kernel.create_map(&MapSpec::new(map_type::HASH, 4, 8, 1)).unwrap();
    let direct = name.starts_with("direct");
    let probe = Probe::new(kernel, SCHED_CLS, |asm| {
        find(asm, &map, direct);
        access.write(asm, other.fd());
    });
    let answer = match probe {
        Err(_) => "refused".to_owned(),
        Ok(probe) => {
            let words = kernel.on_cpu(0, || probe.run_on(&[])).unwrap();
            let kept = if words[0] == -1 { "-".to_owned() } else { words[0].to_string() };
            format!("{kept} value={}", hex(&map.lookup(&[0; 4], 0).unwrap()))
        }
    };
    record.case(&format!("{name} {}", access.name), &answer);
}

/// Makes r8 point to the value of key 0.
fn find(asm: &mut Asm, map: &Map, direct: bool) {
    if direct {
        asm.map_value(R8, map.fd(), 0);
        return;
    }
    asm.st(W, R10, -4, 0).map(R1, map.fd()).mov_reg(R2, R10).alu64(ADD, R2, -4);
    asm.call(LOOKUP).jmp(JEQ, R0, 0, "end").mov_reg(R8, R0);
}
