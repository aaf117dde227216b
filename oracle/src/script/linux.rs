//! The running kernel as a backend of scripts.

use std::collections::{BTreeMap, HashMap};

use super::{
    Agent, Backend, BatchCommand, BatchRequest, EventDecl, EventKind, Failure, Info, MapDecl,
    Outcome, ProgDecl, ProgramCall, Reply, types,
};
use crate::asm::{Asm, R0};
use crate::btf::BtfWriter;
use crate::perf::DUMMY;
use crate::{
    Batch, BatchFlags, Btf, Errno, Kernel, Map, MapSpec, Next, PerfEvent, PerfSpec, Prog, ProgSpec,
    RingReader, map_type,
};

/// Maps and programs of one case in the kernel; gone when dropped.
#[derive(Debug)]
pub struct Linux<'k> {
    kernel: &'k Kernel,
    maps: HashMap<String, Map>,
    progs: HashMap<String, Prog>,
    agents: HashMap<(&'static str, String, usize), Outcome<Agent>>,
    rings: HashMap<String, RingReader>,
    events: BTreeMap<String, PerfEvent>,
}

/// `PERF_RECORD_SAMPLE`, the first byte of such a record.
const RECORD_SAMPLE: u8 = 9;

impl<'k> Linux<'k> {
    /// Without maps and programs.
    #[must_use]
    pub fn new(kernel: &'k Kernel) -> Self {
        Self {
            kernel,
            maps: HashMap::new(),
            progs: HashMap::new(),
            agents: HashMap::new(),
            rings: HashMap::new(),
            events: BTreeMap::new(),
        }
    }

    fn map(&self, name: &str) -> Outcome<&Map> {
        self.maps.get(name).ok_or_else(|| Failure::Other(format!("there is no map `{name}`")))
    }

    /// Types of a value with a lock: blob, key, value.
    fn types(&self, decl: &MapDecl, lock: u32) -> Outcome<(Btf, u32, u32)> {
        let mut types = BtfWriter::new();
        let int = types.int("int", 4);
        let key = if decl.key_size == 4 { int } else { types.structure("key", decl.key_size, &[]) };
        let spin_lock = types.structure("bpf_spin_lock", 4, &[("val", int, 0)]);
        let value = types.structure("value", decl.value_size, &[("lock", spin_lock, lock)]);
        Ok((self.kernel.load_btf(&types.blob())?, key, value))
    }
}

impl Backend for Linux<'_> {
    fn cpus(&self) -> usize {
        self.kernel.possible_cpus()
    }

    fn create(&mut self, decl: &MapDecl) -> Outcome<()> {
        let map_type = types::map_type(&decl.map_type)
            .ok_or_else(|| Failure::Other(format!("no type `{}`", decl.map_type)))?;
        let inner = decl.inner.as_deref().map(|name| self.map(name)).transpose()?;
        let types = decl.lock.map(|lock| self.types(decl, lock)).transpose()?;
        let map = self.kernel.create_map(&MapSpec {
            map_type,
            key_size: decl.key_size,
            value_size: decl.value_size,
            max_entries: decl.max_entries,
            flags: decl.flags,
            map_extra: decl.map_extra,
            numa_node: decl.numa_node,
            name: "",
            inner,
            btf: types.as_ref().map(|(btf, key, value)| (btf, *key, *value)),
        })?;
        self.maps.insert(decl.name.clone(), map);
        Ok(())
    }

    fn load(&mut self, decl: &ProgDecl) -> Outcome<()> {
        let insns = Asm::new().mov(R0, 0).exit().build();
        let prog_type = types::prog_type(&decl.prog_type)
            .ok_or_else(|| Failure::Other(format!("no type `{}`", decl.prog_type)))?;
        let spec = ProgSpec::new(prog_type, &insns).expected_attach_type(decl.attach);
        self.progs.insert(decl.name.clone(), self.kernel.load_without_log(&spec)?);
        Ok(())
    }

    fn open(&mut self, decl: &EventDecl) -> Outcome<()> {
        let output = PerfSpec::output(decl.cpu, 1);
        let event = self.kernel.open_event(&match decl.kind {
            EventKind::Output => output,
            EventKind::Counter => PerfSpec { config: DUMMY, pages: 0, ..output },
        })?;
        self.events.insert(decl.name.clone(), event);
        Ok(())
    }

    fn handle(&self, _map: &str, object: &str) -> Option<u32> {
        let map = self.maps.get(object).map(Map::fd);
        let fd = map.or_else(|| self.progs.get(object).map(Prog::fd));
        let fd = fd.or_else(|| self.events.get(object).map(PerfEvent::fd));
        fd.or((object == "none").then_some(-1)).map(i32::cast_unsigned)
    }

    fn object(&self, map: &str, id: u32) -> Option<String> {
        let holder = self.maps.get(map)?;
        let holds_maps =
            matches!(holder.info().map_type, map_type::ARRAY_OF_MAPS | map_type::HASH_OF_MAPS);
        if holds_maps {
            let found = self.maps.iter().find(|(_, own)| own.info().id == id);
            return found.map(|(name, _)| name.clone());
        }
        let found = self.progs.iter().find(|(_, own)| own.id() == Ok(id));
        found.map(|(name, _)| name.clone())
    }

    fn lookup(
        &mut self,
        map: &str,
        key: Option<&[u8]>,
        value: &[u8],
        flags: u64,
    ) -> Outcome<Vec<u8>> {
        Ok(self.map(map)?.lookup_with(key.unwrap_or_default(), value, flags)?)
    }

    fn update(&mut self, map: &str, key: Option<&[u8]>, value: &[u8], flags: u64) -> Outcome<()> {
        Ok(self.map(map)?.update(key.unwrap_or_default(), value, flags)?)
    }

    fn delete(&mut self, map: &str, key: Option<&[u8]>, flags: u64) -> Outcome<()> {
        Ok(self.map(map)?.delete_with(key.unwrap_or_default(), flags)?)
    }

    fn lookup_and_delete(&mut self, map: &str, key: Option<&[u8]>, flags: u64) -> Outcome<Vec<u8>> {
        Ok(self.map(map)?.lookup_and_delete(key.unwrap_or_default(), flags)?)
    }

    fn next_key(&mut self, map: &str, key: Option<&[u8]>, flags: u64) -> Outcome<Vec<u8>> {
        Ok(self.map(map)?.get_next_key_with(key.unwrap_or_default(), flags)?)
    }

    fn freeze(&mut self, map: &str) -> Outcome<()> {
        Ok(self.map(map)?.freeze()?)
    }

    fn batch(&mut self, map: &str, request: &BatchRequest) -> Outcome<Batch> {
        let BatchRequest { command, in_batch, count, keys, values, elem_flags, flags } = request;
        let map = self.map(map)?;
        let place = in_batch.as_deref().unwrap_or_default();
        let flags = BatchFlags { elem: *elem_flags, batch: *flags };
        Ok(match command {
            BatchCommand::Lookup => map.lookup_batch(place, *count, flags),
            BatchCommand::LookupAndDelete => map.lookup_and_delete_batch(place, *count, flags),
            BatchCommand::Update => map.update_batch(keys, values, *count, flags),
            BatchCommand::Delete => map.delete_batch(keys, *count, flags),
        })
    }

    fn info(&mut self, map: &str) -> Outcome<Info> {
        let info = self.map(map)?.read_info()?;
        Ok(Info {
            map_type: info.map_type,
            key_size: info.key_size,
            value_size: info.value_size,
            max_entries: info.max_entries,
            map_flags: info.flags,
            map_extra: info.map_extra,
        })
    }

    fn memlock(&mut self, map: &str) -> Outcome<u64> {
        self.map(map)?.memlock().map_err(|error| Failure::Other(error.to_string()))
    }

    fn program(&mut self, call: &ProgramCall<'_>) -> Outcome<Reply> {
        let name = (call.op.name, call.map.to_owned(), call.value.len());
        if !self.agents.contains_key(&name) {
            let map = self.map(call.map)?;
            let agent = Agent::new(self.kernel, map, call.op, call.shape, call.value.len());
            self.agents.insert(name.clone(), agent);
        }
        match &self.agents[&name] {
            Ok(agent) => self.kernel.on_cpu(call.cpu, || agent.call(call))?,
            Err(failure) => Err(failure.clone()),
        }
    }

    fn consume(&mut self, map: &str) -> Outcome<Option<Vec<u8>>> {
        if self.map(map)?.info().map_type == map_type::PERF_EVENT_ARRAY {
            let outputs = self.events.values().filter(|event| event.has_buffer());
            let mut records = outputs.flat_map(|event| std::iter::from_fn(|| event.pop()));
            // Others say how many samples were lost.
            let sample = records.find(|record| record[0] == RECORD_SAMPLE);
            // A header of eight bytes and the length of what follows come before the data.
            return Ok(sample.map(|record| record[12..].to_vec()));
        }
        if !self.rings.contains_key(map) {
            let ring = RingReader::new(self.map(map)?)?;
            self.rings.insert(map.to_owned(), ring);
        }
        let ring = self.rings.get_mut(map).ok_or(Failure::Errno(Errno::ENOENT))?;
        loop {
            match ring.pop() {
                Next::Record(bytes) => return Ok(Some(bytes)),
                Next::Discarded { .. } => {}
                Next::Empty | Next::Busy => return Ok(None),
            }
        }
    }
}
