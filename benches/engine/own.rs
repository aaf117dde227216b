//! skep's engines.
//!
//! A program runs many times in a row through [`Runner::repeat`], which is to skep what
//! `repeat` of `BPF_PROG_TEST_RUN` is to the kernel: nothing is copied in or out between
//! runs. The front door's costs are measured apart (`call`, `first.rs`).

use std::fmt::Display;
use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::Arc;

use skep::{Engine, FixedHost, MapType, Object, Vm, isa, prog};
use skep_maps::{Map, RingBuf};
use skep_vm::{Limits, Machine, Program as Loaded, ProgramSpec, RunError, Runner};

use crate::programs::{EMPTY, MODE_AT, Program};
use crate::side::{Ran, Side, cpu_time};

struct Skep {
    program: Arc<Loaded>,
    runner: Runner,
    host: FixedHost,
    packet_len: usize,
    ring: Option<Arc<dyn Map>>,
}

/// An engine with a program, ready to run.
pub(crate) fn side(engine: Engine, program: &Program) -> Result<Box<dyn Side>, String> {
    Ok(Box::new(with_program(engine, program)?))
}

fn with_program(engine: Engine, program: &Program) -> Result<Skep, String> {
    let machine = Machine::new(1).map_err(text)?;
    let object = skep_loader::Object::parse(program.name, program.object).map_err(text)?;
    let maps = object.maps().iter().map(|decl| skep_maps::create(machine.world(), &decl.def));
    let maps = maps.collect::<Result<Vec<_>, _>>().map_err(text)?;
    let def = object.programs().first().ok_or("the object has no program")?;
    let spec = ProgramSpec {
        name: def.name.to_string(),
        prog_type: def.prog_type,
        insns: def.insns.clone(),
        maps: maps.clone(),
        functions: def.funcs.iter().map(|func| (func.start, func.name.to_string())).collect(),
        ..ProgramSpec::default()
    };
    let loaded = machine.load(spec).map_err(text)?;
    for (map, decl) in maps.iter().zip(object.maps()) {
        set_up(map, decl.def.inner.as_deref(), &machine, &loaded)?;
    }
    let packet = program.packet();
    let runner = runner_with(&machine, engine, &packet)?;
    let ring = maps.into_iter().find(|map| map.downcast::<RingBuf>().is_some());
    let host = FixedHost::default();
    Ok(Skep { program: loaded, runner, host, packet_len: packet.len(), ring })
}

/// A runner with a packet, and the context for it, which a program that does nothing has
/// been run on.
fn runner_with(machine: &Arc<Machine>, engine: Engine, packet: &[u8]) -> Result<Runner, String> {
    let insns = isa::assemble("mov %r0, 2\nexit").map_err(text)?;
    let prog_type = Some(&prog::XDP);
    let spec = ProgramSpec { name: "pass".to_owned(), prog_type, insns, ..ProgramSpec::default() };
    let pass = machine.load(spec).map_err(text)?;
    let mut runner = Runner::new(machine, 0, engine).map_err(text)?;
    runner.stage_packet(packet.len()).map_err(text)?.write(packet);
    let limits = Limits::default();
    let ran = runner.run_staged(&pass, packet.len(), &[], &FixedHost::default(), limits);
    ran.map_err(reason)?;
    Ok(runner)
}

/// Puts the program into arrays of programs, and arrays into maps of maps.
fn set_up(
    map: &Arc<dyn Map>,
    inner: Option<&skep::MapDef>,
    machine: &Machine,
    program: &Loaded,
) -> Result<(), String> {
    let put = |key: u32, id: u32| {
        map.user_update(&key.to_le_bytes(), &id.to_le_bytes(), 0).map_err(|errno| errno.to_string())
    };
    let def = map.core().def();
    if def.map_type == MapType::ProgArray.id() {
        (0..def.max_entries).try_for_each(|slot| put(slot, program.id()))?;
    }
    if let Some(inner) = inner {
        for key in 0..def.max_entries {
            put(key, skep_maps::create(machine.world(), inner).map_err(text)?.core().id())?;
        }
    }
    Ok(())
}

impl Side for Skep {
    fn set_mode(&mut self, mode: u8) -> Result<(), String> {
        let packet = self.runner.stage_packet(self.packet_len).map_err(text)?;
        packet.part(MODE_AT, 1).write(&[mode]);
        Ok(())
    }

    fn run(&mut self, times: u64) -> Result<Ran, String> {
        if let Some(ring) = self.ring.as_ref().and_then(|ring| ring.downcast::<RingBuf>()) {
            ring.consume(|_| ControlFlow::Continue(()));
        }
        let limits = Limits::default();
        let before = cpu_time();
        let outcome = self.runner.repeat(&self.program, times, &self.host, limits);
        let ns = cpu_time() - before;
        let r0 = outcome.map_err(reason)?.r0;
        let retval = u32::try_from(r0 & u64::from(u32::MAX)).map_err(text)?;
        Ok(Ran { ns, retval })
    }
}

/// Calls for one figure of [`call`].
const CALLS: u32 = 1_000_000;

/// Nanoseconds of a call that runs `empty` once: the least there is.
pub(crate) fn call(engine: Engine) -> Result<f64, String> {
    let mut side = with_program(engine, EMPTY)?;
    let before = cpu_time();
    for _ in 0..CALLS {
        let limits = Limits::default();
        match side.runner.repeat(&side.program, 1, &side.host, limits) {
            Ok(outcome) => black_box(outcome.r0),
            Err(error) => return Err(reason(error)),
        };
    }
    Ok((cpu_time() - before) as f64 / f64::from(CALLS))
}

/// Nanoseconds of the front door's call on a packet in place, which gives packet and
/// context back.
pub(crate) fn call_by_packet_buffer(engine: Engine) -> Result<f64, String> {
    let run = || -> Result<f64, skep::Error> {
        let vm = Vm::builder().engine(engine).host(FixedHost::default()).build()?;
        let program = vm.load(Object::parse(EMPTY.object)?)?.program("prog")?;
        let mut runner = vm.runner()?;
        let before = cpu_time();
        for _ in 0..CALLS / 10 {
            black_box(runner.packet_buffer(64)?.run(&program)?.retval);
        }
        Ok((cpu_time() - before) as f64 / f64::from(CALLS / 10))
    };
    run().map_err(text)
}

fn text(error: impl Display) -> String {
    error.to_string()
}

/// Why a run did not end well.
fn reason(error: RunError) -> String {
    match error {
        RunError::Input(error) => error.to_string(),
        RunError::Fault(fault, _) => fault.to_string(),
        other => format!("{other:?}"),
    }
}
