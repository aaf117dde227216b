//! Runs cases on skep.

use std::sync::Arc;

use skep_maps::{Map, MapDef, MapType, sys};
use skep_vm::{Engine, 
    Fault, FixedHost, Input, Limits, Machine, ProgramError, ProgramSpec, RunError, Runner,
};

use crate::case::{Answer, Case};
use crate::layout::MEMORY;

/// A machine with a map for the memory of typed programs.
#[derive(Debug)]
pub struct Skep {
    machine: Arc<Machine>,
    map: Arc<dyn Map>,
    runner: Runner,
    max_insns: u64,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// The program cannot be loaded.
    Refused(ProgramError),
    /// Running it was stopped.
    Stopped(Box<Fault>),
}

impl Skep {
    /// A machine that stops programs after so many instructions.
    ///
    /// # Panics
    /// When the host has no memory for it.
    #[must_use]
    pub fn new(max_insns: u64) -> Self {
        let machine = Machine::new(1).expect("memory for a machine");
        let def = MapDef {
            name: "memory".to_owned(),
            map_type: MapType::Array.id(),
            key_size: 4,
            value_size: u32::try_from(MEMORY).expect("a small memory"),
            max_entries: 1,
            ..MapDef::default()
        };
        let map = skep_maps::create(machine.world(), &def).expect("an array can be made");
        let runner = Runner::new(&machine, 0, Engine::Interp).expect("memory for a runner");
        Self { machine, map, runner, max_insns }
    }

    /// Runs a case.
    ///
    /// # Errors
    /// Why the program does not load or does not end.
    ///
    /// # Panics
    /// When skep does what it never may: refuse the input.
    pub fn run(&mut self, case: &Case) -> Result<Answer, NoAnswer> {
        self.run_around(case, &[])
    }

    /// Runs a case with other instructions in some slots, none of which may be reached.
    ///
    /// # Errors
    /// As [`Skep::run`], and when such a slot is reached.
    ///
    /// # Panics
    /// As [`Skep::run`].
    pub fn run_around(&mut self, case: &Case, dead: &[u32]) -> Result<Answer, NoAnswer> {
        let typed = case.prog_type.is_some();
        let spec = ProgramSpec {
            name: "case".to_owned(),
            prog_type: case.prog_type,
            insns: case.insns.clone(),
            poisoned: dead.iter().map(|&slot| (slot, "dead code is reached".to_owned())).collect(),
            maps: if typed { vec![Arc::clone(&self.map)] } else { Vec::new() },
            ..ProgramSpec::default()
        };
        let program = self.machine.load(spec).map_err(NoAnswer::Refused)?;
        let input = if typed {
            sys::update(&*self.map, Some(&[0; 4]), &case.memory, 0).expect("the entry exists");
            Input::packet(case.packet.clone())
        } else {
            Input::raw(case.memory.clone())
        };
        let limits = Limits { max_insns: Some(self.max_insns), ..Limits::default() };
        let host = FixedHost::default();
        let outcome = match self.runner.run(&program, &input, &host, limits) {
            Ok(outcome) => outcome,
            Err(RunError::Fault(fault, _)) => return Err(NoAnswer::Stopped(fault)),
            Err(other) => panic!("{other:?} for\n{case}"),
        };
        let (memory, packet) = if typed {
            let mut memory = vec![0; MEMORY];
            sys::lookup(&*self.map, Some(&[0; 4]), 0, &mut memory).expect("the entry exists");
            (memory, self.runner.packet_out().expect("there was a packet"))
        } else {
            (self.runner.context_out(), case.packet.clone())
        };
        Ok(Answer { r0: outcome.r0, memory, packet })
    }
}
