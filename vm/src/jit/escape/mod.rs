//! Programs that try to leave the sandbox, on all engines.
//!
//! Each case of [`cases`] and [`calls`] runs on machines whose windows lie between canaries
//! ([`canary`]). Whatever it does, no byte of them may change, and none may be seen: each case
//! runs between two different secrets, and everything that can be observed — r0, registers at
//! faults, contexts, packets, maps, lines printed — must be the same.
//!
//! * **Honest engines** give what the interpreter gives, faults and their places included, and
//!   never touch the slop around the window either.
//! * **Lying engines** are native code made from an analysis that claims everything
//!   ([`lies`](crate::analysis::lies)): no access is checked any more. They may do anything to
//!   the window, and reach up to 64 KiB beyond it, into the slop, for so far displacements lead
//!   (N1, M1); a program then sees what the slop holds. It must see and change nothing else, and
//!   the host must survive it.

mod calls;
mod canary;
mod cases;
mod rig;

use canary::Secret;
use rig::{Case, End, How, Left, Places, Rig};

use crate::isa::assemble;

/// How often something was run, by engine, and how it ended.
#[derive(Debug, Default)]
struct Tally {
    programs: usize,
    runs: usize,
    returned: usize,
}

/// Machines in pairs, each the same between two secrets.
struct Pairs(Vec<[Rig; 2]>);

impl Pairs {
    fn new(hows: &[How], len: u64) -> Self {
        let pair = |&how: &How| Secret::pair(!how.lies()).map(|secret| Rig::new(how, len, secret));
        Self(hows.iter().map(pair).collect())
    }

    /// Where things lie, which is the same in all of them.
    fn places(&mut self) -> Places {
        let all: Vec<Places> = self.0.iter_mut().flatten().map(Rig::places).collect();
        assert!(all.iter().all(|places| *places == all[0]), "{all:x?}");
        all[0]
    }

    /// Runs a case everywhere; sees to it that secrets do not matter, and hands what was left
    /// to `judge`, by engine.
    fn run(&mut self, case: &Case, mut judge: impl FnMut(How, &Left)) {
        for [one, other] in &mut self.0 {
            let programs = [one.load(case), other.load(case)];
            let mut runs = Vec::new();
            for &words in &case.inputs {
                let a = one.step(case, &programs[0], words);
                let b = other.step(case, &programs[1], words);
                assert_eq!(a, b, "{:?} of `{}` on {words:x?} sees a secret", one.how, case.name);
                runs.push(a);
            }
            let (a, b) = (one.finish(case), other.finish(case));
            assert_eq!(a, b, "{:?} of `{}`: maps hold a secret", one.how, case.name);
            judge(one.how, &Left { runs, maps: a });
        }
    }
}

fn all_cases(places: Places) -> Vec<Case> {
    let mut all = cases::by_any_pointer(places);
    all.extend(cases::from_good_pointers(places));
    all.extend(cases::by_constants(places));
    all.extend(cases::in_frames());
    all.extend(cases::in_loops(places));
    all.extend(calls::helpers(places));
    all
}

/// Runs all cases on honest engines.
fn honest(len: u64, every: usize) {
    let mut pairs = Pairs::new(&How::HONEST, len);
    let places = pairs.places();
    let mut tally = Tally::default();
    for case in all_cases(places).iter().step_by(every) {
        let mut expected = None;
        pairs.run(case, |how, left| {
            let expected = expected.get_or_insert_with(|| left.clone());
            for ((a, b), words) in expected.runs.iter().zip(&left.runs).zip(&case.inputs) {
                let name = &case.name;
                assert!(a.agrees(b), "`{name}` on {words:x?}, {how:?}: {b:x?}, not {a:x?}");
            }
            assert_eq!(expected.maps, left.maps, "`{}`: maps in {how:?}", case.name);
        });
        tally.add(&expected.expect("there are engines"));
    }
    tally.say("honest: interpreter, plain and counting native code", len);
}

/// Runs all cases on native code made from lies.
fn lying(len: u64, every: usize) {
    let mut pairs = Pairs::new(&How::LYING, len);
    let places = pairs.places();
    let mut tally = Tally::default();
    for case in all_cases(places).iter().step_by(every) {
        pairs.run(case, |how, left| {
            if how == How::LYING[0] {
                tally.add(left);
            }
        });
    }
    tally.say("lying: plain and counting native code", len);
}

impl Tally {
    fn add(&mut self, left: &Left) {
        let returned = left.runs.iter().filter(|seen| matches!(seen.end, End::Returned(_)));
        self.programs += 1;
        self.runs += left.runs.len();
        self.returned += returned.count();
    }

    fn say(&self, engines: &str, len: u64) {
        let Self { programs, runs, returned } = self;
        println!(
            "escape, {} MiB window, {engines}: {programs} programs, {runs} runs on each engine \
             and secret, of which {returned} returned",
            len >> 20
        );
        assert!(*returned > 0 && returned < runs, "some are stopped, some are not");
    }
}

/// The usual window.
const LARGE: u64 = 1 << 32;
/// The smallest, in which native code masks pointers otherwise.
const SMALL: u64 = 64 << 20;

#[test]
fn honest_engines_stay_inside_and_agree() {
    honest(LARGE, 1);
}

#[test]
fn honest_engines_stay_inside_a_small_window() {
    honest(SMALL, 4);
}

#[test]
fn lying_engines_stay_inside() {
    lying(LARGE, 1);
}

#[test]
fn lying_engines_stay_inside_a_small_window() {
    lying(SMALL, 4);
}

#[test]
fn canaries_are_looked_at() {
    for secret in Secret::pair(true) {
        assert!(canary::Fence::around(SMALL, secret, false).finds_all());
    }
}

#[test]
fn lies_are_believed() {
    let insns = assemble("ldxdw %r7, [%r1+0]\nldxdw %r0, [%r7-8]\nexit").expect("it is right");
    let case = Case { name: "slop".into(), prog_type: None, insns, inputs: vec![[0, 0]] };
    let [secret, _] = Secret::pair(false);
    for how in How::LYING {
        let left = Rig::new(how, SMALL, secret).run(&case);
        assert_eq!(left.runs[0].end, End::Returned(secret.slop()), "{how:?} reads the slop");
    }
    for how in How::HONEST {
        let left = Rig::new(how, SMALL, secret).run(&case);
        assert!(matches!(left.runs[0].end, End::Stopped { .. }), "{how:?} is stopped");
    }
}
