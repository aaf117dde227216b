//! What helpers know of cgroups.

use std::sync::Arc;

use skep_maps::{Cgroup, Descriptor, Map, MapType, sys};
use skep_oracle::asm::{Asm, DW, R0, R1, R2, R3, R6, R7};
use skep_oracle::recorded::Case;
use skep_vm::{FixedHost, Input};

use crate::lab::{Lab, counting, def};
use crate::probe::Probe;
use crate::section::Section;
use crate::text::{asked, returned};

const SKB_UNDER_CGROUP: i32 = 33;
const CURRENT_TASK_UNDER_CGROUP: i32 = 37;
const GET_CURRENT_CGROUP_ID: i32 = 80;
const GET_CURRENT_ANCESTOR_CGROUP_ID: i32 = 123;
/// The map's index in the program.
const MAP: i32 = 1;

pub(crate) fn answer(section: &Section) -> Vec<String> {
    section.cases.iter().map(case).collect()
}

/// The cgroups of the recording, by name.
fn tree() -> [(&'static str, Cgroup); 5] {
    let root = Cgroup::root();
    let (outer, beside) = (root.child(10), root.child(40));
    let inner = outer.child(20);
    let innermost = inner.child(30);
    [
        ("root", root),
        ("outer", outer),
        ("inner", inner),
        ("innermost", innermost),
        ("beside", beside),
    ]
}

fn case(case: &Case<'_>) -> String {
    let tree = tree();
    let place = case.asked("in").unwrap_or("root");
    let (_, place) = tree.iter().find(|(name, _)| *name == place).expect("a cgroup");
    let lab = Lab::hosted(FixedHost::default().with_cgroup(place.clone()));
    let map = lab.map(&def(MapType::CgroupArray, 4, 4, 6));
    let world = lab.machine.world();
    for (key, (_, cgroup)) in (0u32..).zip(&tree) {
        let open = Descriptor::open(world, cgroup.clone());
        sys::update(&*map, Some(&key.to_le_bytes()), &open.number().to_le_bytes(), 0)
            .expect("there is room");
        // The map keeps a cgroup that is closed.
    }
    if case.question[0] == "may" {
        return match call(&lab, case.question[1], &map, case.question[2], case) {
            Ok(_) => "yes".to_owned(),
            Err(ended) => ended,
        };
    }
    let helper = case.question[0];
    let prog_type = if helper == "skb_under_cgroup" { "sched_cls" } else { "raw_tracepoint" };
    let word = match call(&lab, prog_type, &map, helper, case) {
        Ok(word) => word,
        Err(ended) => return ended,
    };
    if !helper.ends_with("_id") {
        return returned(word);
    }
    let named = tree.iter().find(|(_, cgroup)| cgroup.id() == word.cast_unsigned());
    named.map_or_else(|| word.to_string(), |(name, _)| (*name).to_owned())
}

/// What a helper returns.
fn call(
    lab: &Lab,
    prog_type: &str,
    map: &Arc<dyn Map>,
    helper: &str,
    case: &Case<'_>,
) -> Result<i64, String> {
    let index = asked(case, "index", 0);
    let level = case.asked("level").map_or(0, |level| level.parse::<i64>().expect("a number"));
    let write = |asm: &mut Asm| {
        match helper {
            "current_task_under_cgroup" => {
                asm.map(R1, MAP).lddw(R2, index).call(CURRENT_TASK_UNDER_CGROUP)
            }
            "skb_under_cgroup" => {
                asm.mov_reg(R1, R6).map(R2, MAP).lddw(R3, index).call(SKB_UNDER_CGROUP)
            }
            "get_current_cgroup_id" => asm.call(GET_CURRENT_CGROUP_ID),
            _ => asm.lddw(R1, level.cast_unsigned()).call(GET_CURRENT_ANCESTOR_CGROUP_ID),
        };
        asm.stx(DW, R7, 0, R0);
    };
    let input = if prog_type == "raw_tracepoint" {
        Input::raw([0; 8])
    } else {
        Input::packet(counting(64))
    };
    let probe = Probe::new(lab, prog_type, &[Arc::clone(map)], write)?;
    Ok(probe.run(&input)?.1[0])
}
