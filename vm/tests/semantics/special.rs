//! Values with fields that belong to the kernel: which types hold them, who sees them.

use std::sync::Arc;

use skep_maps::batch::{self, BatchRequest};
use skep_maps::{CreateError, Map, MapDef, MapType, SpecialField, SpecialKind, sys};
use skep_oracle::accesses::Access;
use skep_oracle::asm::{ADD, Asm, JEQ, R0, R1, R2, R8, R10, W};
use skep_oracle::recorded::Case;

use crate::agent::{self, LOOKUP, UPDATE};
use crate::lab::{Lab, def};
use crate::probe::Probe;
use crate::section::Section;
use crate::state::type_named;
use crate::text::{asked, asked32, hex, name, outcome};

// Indexes of maps in the program.
const MAP: i32 = 1;
const OTHER: i32 = 2;

pub(crate) fn answer(section: &Section) -> Vec<String> {
    let lab = Lab::new();
    let value_size = asked32(&section.cases[0], "value_size", 0);
    let special = fields(&section.cases[0]);
    let layout = |map_type| MapDef { special: special.clone(), ..def(map_type, 4, value_size, 1) };
    let case = |case: &Case<'_>| match case.question[0] {
        // Whether there can be such a type at all.
        "layout" => created(&lab, &layout(MapType::Hash)),
        own => Subject { lab: &lab, def: layout(type_named(own)) }.answer(case),
    };
    section.cases.iter().map(case).collect()
}

/// `KIND@OFFSET:SIZE,...`
fn fields(case: &Case<'_>) -> Vec<SpecialField> {
    let field = |text: &str| {
        let (kind, place) = text.split_once('@').expect("KIND@OFFSET:SIZE");
        let (offset, size) = place.split_once(':').expect("OFFSET:SIZE");
        let kind = match kind {
            "spin_lock" => SpecialKind::SpinLock,
            "res_spin_lock" => SpecialKind::ResSpinLock,
            "timer" => SpecialKind::Timer,
            "wq" => SpecialKind::Workqueue,
            "task_work" => SpecialKind::TaskWork,
            "kptr" | "kptr_untrusted" | "percpu_kptr" => SpecialKind::Kptr,
            "uptr" => SpecialKind::Uptr,
            "list_head" => SpecialKind::ListHead,
            "rb_root" => SpecialKind::RbRoot,
            "refcount" => SpecialKind::Refcount,
            other => panic!("`{other}` is no kind of field"),
        };
        let number = |text: &str| text.parse().expect("a number");
        SpecialField { kind, offset: number(offset), size: number(size) }
    };
    case.asked("fields").expect("fields").split(',').map(field).collect()
}

fn created(lab: &Lab, def: &MapDef) -> String {
    match lab.create(def) {
        // Types that no map of this type can hold are types all the same.
        Ok(_) | Err(CreateError::Refused { errno: skep_maps::Errno::EOPNOTSUPP, .. }) => {
            "ok".to_owned()
        }
        Err(error) => name(error.errno()),
    }
}

struct Subject<'l> {
    lab: &'l Lab,
    def: MapDef,
}

impl Subject<'_> {
    fn filled(&self) -> Arc<dyn Map> {
        let map = self.lab.map(&self.def);
        sys::update(&*map, Some(&[0; 4]), &vec![0x11; map.core().user_value_size()], 0)
            .expect("there is room");
        map
    }

    fn answer(&self, case: &Case<'_>) -> String {
        match (case.question[1], case.question.get(2)) {
            ("create", _) => {
                let flags = asked32(case, "flags", 0);
                let made = self.lab.create(&MapDef { flags, ..self.def.clone() });
                made.map_or_else(|error| name(error.errno()), |_| "ok".to_owned())
            }
            ("S", Some(operation)) => self.system_call(case, operation),
            ("P", _) => {
                let map = self.filled();
                let new = vec![0xff; self.def.value_size as usize];
                let answer = agent::call(self.lab, &map, UPDATE, &[0; 4], &new, 0);
                format!("{answer} value={}", value(&map))
            }
            _ => self.access(asked32(case, "at", 0), case.question[3]),
        }
    }

    fn system_call(&self, case: &Case<'_>, operation: &str) -> String {
        let map = self.filled();
        let key = Some(&[0; 4][..]);
        let mut out = vec![0; map.core().user_value_size()];
        match operation {
            "lookup" => format!("ok value={}", value(&map)),
            "update" => {
                let new = vec![0xff; out.len()];
                let result = sys::update(&*map, key, &new, asked(case, "flags", 0));
                format!("{} value={}", outcome(result), value(&map))
            }
            "lookup_and_delete" => match sys::lookup_and_delete(&*map, key, 0, &mut out) {
                Ok(()) => format!("ok value={}", hex(&out)),
                Err(errno) => name(errno),
            },
            "lookup_batch" => {
                let one = BatchRequest { count: 1, ..BatchRequest::default() };
                let read = batch::lookup(&*map, None, one);
                let outcome = outcome(read.error.map_or(Ok(()), Err));
                format!("{outcome} value={}", hex(&read.values))
            }
            "freeze" => outcome(sys::freeze(&*map)),
            other => panic!("`{other}` is no system call"),
        }
    }

    fn access(&self, at: u32, access: &str) -> String {
        let map = self.filled();
        let other = self.lab.map(&def(MapType::Hash, 4, 8, 1));
        let probe =
            Probe::new(self.lab, "sched_cls", &[Arc::clone(&map), other], |asm: &mut Asm| {
                asm.st(W, R10, -4, 0).map(R1, MAP).mov_reg(R2, R10).alu64(ADD, R2, -4);
                asm.call(LOOKUP).jmp(JEQ, R0, 0, "end").mov_reg(R8, R0);
                asm.alu64(ADD, R8, at.cast_signed());
                Access::named(access).expect("an access").write(asm, OTHER);
            });
        match probe.and_then(|probe| probe.run_on(&[])) {
            Err(ended) => ended,
            Ok(words) => {
                let kept = if words[0] == -1 { "-".to_owned() } else { words[0].to_string() };
                format!("{kept} value={}", value(&map))
            }
        }
    }
}

/// What the system call reads.
fn value(map: &Arc<dyn Map>) -> String {
    let mut out = vec![0; map.core().user_value_size()];
    sys::lookup(&**map, Some(&[0; 4]), 0, &mut out).expect("it is there");
    hex(&out)
}
