//! skep as a backend of map scripts.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use skep_maps::batch::{self, BatchRequest as Request};
use skep_maps::perf::{PerfEvent, PerfEventAttr, PerfEventKind, PerfRecord};
use skep_maps::{
    CreateError, Descriptor, Map, MapDef, MapType, RingBuf, SpecialField, SpecialKind, sys,
};
use skep_oracle::asm::{Asm, R0};
use skep_oracle::script::program::Desk;
use skep_oracle::script::{
    Backend, BatchCommand, BatchRequest, EventDecl, EventKind, Failure, Info, MapDecl, Outcome,
    ProgDecl, ProgramCall, Reply, types,
};
use skep_oracle::{Batch, Errno};
use skep_vm::{Input, Program};

use crate::lab::{Lab, counting};

/// Maps and programs of one case on a machine of their own.
#[derive(Debug, Default)]
pub struct Skep {
    lab: Lab,
    maps: HashMap<String, Arc<dyn Map>>,
    progs: HashMap<String, Arc<Program>>,
    agents: HashMap<(&'static str, String, Desk), Agent>,
    events: BTreeMap<String, Descriptor<PerfEvent>>,
}

/// A program that calls one helper on one map.
#[derive(Debug)]
struct Agent {
    program: Result<Arc<Program>, String>,
    desk: Arc<dyn Map>,
}

impl Skep {
    /// Without maps and programs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn map(&self, name: &str) -> Outcome<&dyn Map> {
        let map = self.maps.get(name).map(|map| &**map);
        map.ok_or_else(|| other(format!("there is no map `{name}`")))
    }

    fn def(&self, decl: &MapDecl) -> Outcome<MapDef> {
        let map_type = types::map_type(&decl.map_type)
            .ok_or_else(|| other(format!("no type `{}`", decl.map_type)))?;
        let inner = match &decl.inner {
            Some(name) => Some(Box::new(self.map(name)?.core().def().clone())),
            None => None,
        };
        let lock = |offset| SpecialField { kind: SpecialKind::SpinLock, offset, size: 4 };
        Ok(MapDef {
            name: decl.name.clone(),
            map_type,
            key_size: decl.key_size,
            value_size: decl.value_size,
            max_entries: decl.max_entries,
            flags: decl.flags,
            map_extra: decl.map_extra,
            numa_node: decl.numa_node,
            special: decl.lock.map(lock).into_iter().collect(),
            inner,
        })
    }

    fn agent(&self, call: &ProgramCall<'_>, desk: Desk) -> Outcome<Agent> {
        let map = self.maps.get(call.map);
        let map = map.ok_or_else(|| other(format!("there is no map `{}`", call.map)))?;
        let place = self.lab.value(&vec![0; desk.size() as usize], 0);
        let asm = desk.write(call.op, 0, 1).ok_or_else(|| other("values are too long".into()))?;
        let maps = [Arc::clone(&place), Arc::clone(map)];
        let program = self.lab.load(call.op.prog_type, asm.build(), &maps);
        Ok(Agent { program, desk: place })
    }
}

/// The raw data of the next sample.
fn next_sample(event: &PerfEvent) -> Option<Vec<u8>> {
    let mut sample = None;
    event.consume(|record| match record {
        PerfRecord::Sample(data) => {
            sample = Some(data.to_vec());
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    sample
}

fn other(what: String) -> Failure {
    Failure::Other(what)
}

/// skep's error number as the kernel's.
fn errno(errno: skep_maps::Errno) -> Failure {
    Failure::Errno(Errno(errno.number()))
}

impl Backend for Skep {
    fn cpus(&self) -> usize {
        Lab::CPUS as usize
    }

    fn create(&mut self, decl: &MapDecl) -> Outcome<()> {
        let map = self.lab.create(&self.def(decl)?).map_err(|error| match error {
            CreateError::Unsupported { what, .. } => other(format!("unsupported: {what}")),
            error => errno(error.errno()),
        })?;
        self.maps.insert(decl.name.clone(), map);
        Ok(())
    }

    fn load(&mut self, decl: &ProgDecl) -> Outcome<()> {
        let insns = Asm::new().mov(R0, 0).exit().build();
        let program = self.lab.load(&decl.prog_type, insns, &[]).map_err(Failure::Other)?;
        self.progs.insert(decl.name.clone(), program);
        Ok(())
    }

    fn open(&mut self, decl: &EventDecl) -> Outcome<()> {
        let output = PerfEventAttr::output(decl.cpu);
        let (attr, pages) = match decl.kind {
            EventKind::Output => (output, 1),
            EventKind::Counter => (PerfEventAttr { kind: PerfEventKind::Counter, ..output }, 0),
        };
        let event = PerfEvent::open(self.lab.machine.world(), attr);
        if pages > 0 {
            event.object().map_buffer(pages).map_err(errno)?;
        }
        self.events.insert(decl.name.clone(), event);
        Ok(())
    }

    /// Handles of skep are ids, and those of maps and of programs have nothing to do with
    /// each other: an object of the wrong kind is an id that nothing has.
    fn handle(&self, map: &str, object: &str) -> Option<u32> {
        let holder = self.maps.get(map).map(|map| map.core().map_type());
        let map = self.maps.get(object).map(|map| map.core().id());
        let program = self.progs.get(object).map(|program| program.id());
        let event = self.events.get(object).map(Descriptor::number);
        let (right, wrong) = match holder {
            Some(MapType::ArrayOfMaps | MapType::HashOfMaps) => (map, program),
            Some(MapType::PerfEventArray) => (event, map.or(program)),
            _ => (program, map),
        };
        let nothing = (wrong.is_some() || object == "none").then_some(u32::MAX);
        right.or(nothing)
    }

    fn object(&self, map: &str, id: u32) -> Option<String> {
        let holder = self.maps.get(map)?.core().map_type();
        if matches!(holder, MapType::ArrayOfMaps | MapType::HashOfMaps) {
            let found = self.maps.iter().find(|(_, own)| own.core().id() == id);
            return found.map(|(name, _)| name.clone());
        }
        let found = self.progs.iter().find(|(_, own)| own.id() == id);
        found.map(|(name, _)| name.clone())
    }

    fn lookup(
        &mut self,
        map: &str,
        key: Option<&[u8]>,
        value: &[u8],
        flags: u64,
    ) -> Outcome<Vec<u8>> {
        let mut value = value.to_vec();
        sys::lookup(self.map(map)?, key, flags, &mut value).map_err(errno)?;
        Ok(value)
    }

    fn update(&mut self, map: &str, key: Option<&[u8]>, value: &[u8], flags: u64) -> Outcome<()> {
        sys::update(self.map(map)?, key, value, flags).map_err(errno)
    }

    fn delete(&mut self, map: &str, key: Option<&[u8]>, flags: u64) -> Outcome<()> {
        if flags != 0 {
            return Err(other("takes no flags".to_owned()));
        }
        sys::delete(self.map(map)?, key).map_err(errno)
    }

    fn lookup_and_delete(&mut self, map: &str, key: Option<&[u8]>, flags: u64) -> Outcome<Vec<u8>> {
        let map = self.map(map)?;
        let mut value = vec![0; map.core().user_value_size()];
        sys::lookup_and_delete(map, key, flags, &mut value).map_err(errno)?;
        Ok(value)
    }

    fn next_key(&mut self, map: &str, key: Option<&[u8]>, flags: u64) -> Outcome<Vec<u8>> {
        if flags != 0 {
            return Err(other("takes no flags".to_owned()));
        }
        let map = self.map(map)?;
        let mut next = vec![0; map.core().def().key_size as usize];
        sys::next_key(map, key, &mut next).map_err(errno)?;
        Ok(next)
    }

    fn freeze(&mut self, map: &str) -> Outcome<()> {
        sys::freeze(self.map(map)?).map_err(errno)
    }

    fn batch(&mut self, map: &str, request: &BatchRequest) -> Outcome<Batch> {
        let map = self.map(map)?;
        let BatchRequest { command, in_batch, count, keys, values, elem_flags, flags } = request;
        let (count, elem_flags, flags) = (*count, *elem_flags, *flags);
        let request = Request { count, elem_flags, flags };
        let place = in_batch.as_deref();
        let batch = match command {
            BatchCommand::Lookup => batch::lookup(map, place, request),
            BatchCommand::LookupAndDelete => batch::lookup_and_delete(map, place, request),
            BatchCommand::Update => batch::update(map, keys, values, request),
            BatchCommand::Delete => batch::delete(map, keys, request),
        };
        Ok(Batch {
            errno: batch.error.map(|errno| Errno(errno.number())),
            count: batch.count,
            out_batch: batch.next,
            keys: batch.keys,
            values: batch.values,
        })
    }

    fn info(&mut self, map: &str) -> Outcome<Info> {
        let core = self.map(map)?.core();
        let def = core.def();
        Ok(Info {
            map_type: def.map_type,
            key_size: def.key_size,
            value_size: def.value_size,
            max_entries: def.max_entries,
            map_flags: core.flags(),
            map_extra: def.map_extra,
        })
    }

    fn memlock(&mut self, map: &str) -> Outcome<u64> {
        Ok(self.map(map)?.memory_usage())
    }

    fn program(&mut self, call: &ProgramCall<'_>) -> Outcome<Reply> {
        let desk = Desk::new(call.op, call.shape, call.value.len());
        let name = (call.op.name, call.map.to_owned(), desk);
        if !self.agents.contains_key(&name) {
            let agent = self.agent(call, desk)?;
            self.agents.insert(name.clone(), agent);
        }
        let Agent { program, desk: place } = &self.agents[&name];
        let program = program.as_ref().map_err(|why| other(why.clone()))?;
        let mut bytes = desk.fill(call);
        sys::update(&**place, Some(&[0; 4]), &bytes, 0).map_err(errno)?;
        let input = match types::takes_packet(call.op.prog_type) {
            true => Input::packet(counting(64)),
            false => Input::none(),
        };
        self.lab.run_on(call.cpu, program, &input).map_err(Failure::Other)?;
        sys::lookup(&**place, Some(&[0; 4]), 0, &mut bytes).map_err(errno)?;
        Ok(desk.reply(call, &bytes))
    }

    fn consume(&mut self, map: &str) -> Outcome<Option<Vec<u8>>> {
        let map = self.map(map)?;
        if map.core().map_type() == MapType::PerfEventArray {
            let mut events = self.events.values();
            return Ok(events.find_map(|event| next_sample(event.object())));
        }
        let ring = map.downcast::<RingBuf>().ok_or(Failure::Errno(Errno::EINVAL))?;
        let mut record = None;
        ring.consume(|data| {
            let mut bytes = vec![0; data.len()];
            data.read(&mut bytes);
            record = Some(bytes);
            ControlFlow::Break(())
        });
        Ok(record)
    }
}
