//! Runs cases on the kernel.

use skep_maps::{MapDef, MapType};
use skep_oracle::btf::BtfWriter;
use skep_oracle::{
    Btf, Errno, Kernel, Map, MapSpec, Next, Prog, ProgSpec, RingReader, RingWriter, TestRun,
};

use crate::case::{Case, CaseInput, CaseMap, Fill, functions};
use crate::engine::{Contents, End, Ran, is_queue, shows};

/// The most functions of a program.
const MOST_FUNCTIONS: usize = 64;
/// Bytes that a packet may grow by.
const GROWTH: usize = 512;

/// The kernel.
#[derive(Debug)]
pub struct Linux {
    kernel: Kernel,
    /// Types of static functions, for programs that have more than one; a process without
    /// the right to load them has none.
    types: Option<(Btf, Vec<u32>)>,
}

/// The kernel did not take a case.
#[derive(Debug)]
pub struct Refused {
    /// Its answer.
    pub errno: Errno,
    /// What the verifier says last, where it was asked.
    pub reason: String,
}

impl Linux {
    /// A kernel to run cases on.
    #[must_use]
    pub fn new(kernel: Kernel) -> Self {
        let mut types = BtfWriter::new();
        let long = types.int("long", 8);
        let args: Vec<(String, u32)> = (1..=5).map(|n| (format!("r{n}"), long)).collect();
        let args: Vec<(&str, u32)> = args.iter().map(|(name, id)| (name.as_str(), *id)).collect();
        let function = |n| types.func(&format!("f{n}"), long, &args);
        let ids: Vec<u32> = (0..MOST_FUNCTIONS).map(function).collect();
        let types = kernel.load_btf(&types.blob()).ok().map(|btf| (btf, ids));
        Self { kernel, types }
    }

    /// How many CPUs the kernel may have: those of per-CPU values.
    ///
    /// # Panics
    /// When there are too many to count.
    #[must_use]
    pub fn cpus(&self) -> u32 {
        u32::try_from(self.kernel.possible_cpus()).expect("fewer than 2^32 CPUs")
    }

    /// Runs a case on CPU 0.
    ///
    /// # Errors
    /// What the verifier has against it.
    ///
    /// # Panics
    /// When the kernel takes the programs but does not run them.
    pub fn run(&self, case: &Case) -> Result<Vec<Ran>, Refused> {
        self.run_with(case, true)
    }

    /// The same, without the verifier's reason.
    ///
    /// # Errors
    /// The kernel's errno.
    ///
    /// # Panics
    /// As [`Linux::run`].
    pub fn try_run(&self, case: &Case) -> Result<Vec<Ran>, Errno> {
        self.run_with(case, false).map_err(|refused| refused.errno)
    }

    fn run_with(&self, case: &Case, log: bool) -> Result<Vec<Ran>, Refused> {
        let maps: Vec<Map> = self.create(&case.maps)?;
        // What a program array holds first decides what fits beside it; read-only maps are
        // known to the verifier when they are full.
        fill(&case.maps, &maps, &[])?;
        let named: Vec<&Map> = maps.iter().collect();
        let progs: Result<Vec<Prog>, Refused> =
            (0..case.programs.len()).map(|index| self.load(case, index, &named, log)).collect();
        let progs = progs?;
        fill(&case.maps, &maps, &progs)?;
        let run = || case.inputs.iter().map(|input| run_once(case, &maps, &progs[0], input));
        Ok(self.kernel.on_cpu(0, || run().collect()).expect("there is a CPU 0"))
    }

    fn create(&self, maps: &[CaseMap]) -> Result<Vec<Map>, Refused> {
        let spec = |def: &MapDef| {
            let MapDef { map_type, key_size, value_size, max_entries, flags, map_extra, .. } = *def;
            MapSpec { map_extra, ..MapSpec::new(map_type, key_size, value_size, max_entries) }
                .flags(flags)
        };
        let create = |map: &CaseMap| {
            let template = match &map.def.inner {
                Some(inner) => Some(self.kernel.create_map(&spec(inner))?),
                None => None,
            };
            self.kernel.create_map(&MapSpec { inner: template.as_ref(), ..spec(&map.def) })
        };
        let maps: Result<Vec<Map>, Errno> = maps.iter().map(create).collect();
        maps.map_err(|errno| Refused { errno, reason: "a map".to_owned() })
    }

    fn load(&self, case: &Case, index: usize, maps: &[&Map], log: bool) -> Result<Prog, Refused> {
        let program = &case.programs[index];
        let prog_type = program.prog_type.expect("the kernel's programs have a type");
        let mut spec = ProgSpec::new(prog_type.id, &program.insns).maps(maps);
        let starts = functions(&program.insns);
        let described: Vec<(u32, u32)>;
        if let Some((btf, ids)) = &self.types
            && starts.len() > 1
        {
            described = starts.into_iter().zip(ids.iter().copied()).collect();
            spec = spec.func_info(btf, &described);
        }
        if !log {
            let refused = |errno| Refused { errno, reason: String::new() };
            return self.kernel.load_without_log(&spec).map_err(refused);
        }
        self.kernel.load(&spec).map_err(|rejection| {
            let reason = rejection.log.lines().rfind(|line| !line.starts_with("processed "));
            Refused { errno: rejection.errno, reason: reason.unwrap_or("no log").to_owned() }
        })
    }
}

/// Puts in what stands in the maps before the first run: programs, or all but those.
fn fill(of: &[CaseMap], maps: &[Map], progs: &[Prog]) -> Result<(), Refused> {
    for (of, map) in of.iter().zip(maps) {
        for (key, fill) in &of.fill {
            let value = match fill {
                Fill::Program(index) => match progs.get(*index) {
                    Some(prog) => prog.fd().to_ne_bytes().to_vec(),
                    None => continue,
                },
                _ if !progs.is_empty() => continue,
                Fill::Map(index) => maps[*index].fd().to_ne_bytes().to_vec(),
                Fill::Bytes(bytes) if bytes.len() == map.value_len() => bytes.clone(),
                Fill::Bytes(bytes) => {
                    let mut slot = bytes.clone();
                    slot.resize(bytes.len().next_multiple_of(8), 0);
                    slot.repeat(map.value_len() / slot.len())
                }
            };
            let updated = map.update(key, &value, 0);
            let is_program = matches!(fill, Fill::Program(_));
            if let (Err(errno), true) = (updated, is_program) {
                return Err(Refused { errno, reason: "a program array".to_owned() });
            }
        }
        if of.frozen && progs.is_empty() {
            map.freeze().map_err(|errno| Refused { errno, reason: "freezing".to_owned() })?;
        }
    }
    Ok(())
}

fn run_once(case: &Case, maps: &[Map], prog: &Prog, input: &CaseInput) -> Ran {
    for (map, sample) in &input.samples {
        if let Ok(writer) = RingWriter::new(&maps[*map]) {
            push_sample(&writer, sample, case.maps[*map].def.max_entries);
        }
    }
    let room = u32::try_from(input.data.len() + GROWTH).expect("a small packet");
    let ran = prog.test_run(&TestRun::new().data_in(&input.data).data_out(room));
    assert_eq!(ran.errno, None, "BPF_PROG_TEST_RUN of\n{case}");
    Ran {
        end: End::Returned(u64::from(ran.retval)),
        insns: None,
        printk: Vec::new(),
        redirect: None,
        output: ran.data_out,
        context: Vec::new(),
        maps: case.maps.iter().zip(maps).map(|(of, map)| contents(&of.def, map)).collect(),
    }
}

fn push_sample(writer: &RingWriter<'_>, sample: &[u8], size: u32) {
    let taken = writer.producer_pos().wrapping_sub(writer.consumer_pos());
    let span = (sample.len() as u64 + 8).next_multiple_of(8);
    if u64::from(size).saturating_sub(taken) >= span {
        writer.push(u32::try_from(sample.len()).expect("a short sample"), sample);
    }
}

/// What a map holds, as rigs show it.
fn contents(def: &MapDef, map: &Map) -> Contents {
    match MapType::from_id(def.map_type) {
        Some(MapType::Ringbuf) => return records(map).unwrap_or_default(),
        Some(MapType::UserRingbuf) => {
            let writer = RingWriter::new(map);
            let pos = writer.map(|writer| writer.consumer_pos().to_le_bytes().to_vec());
            return pos.map(|pos| vec![(Vec::new(), pos)]).unwrap_or_default();
        }
        _ => {}
    }
    if !shows(def) {
        return Vec::new();
    }
    if is_queue(def) {
        return map.lookup(&[], 0).map(|value| vec![(Vec::new(), value)]).unwrap_or_default();
    }
    let mut entries = Contents::new();
    for key in map.keys().unwrap_or_default() {
        if let Ok(value) = map.lookup(&key, 0) {
            entries.push((key, value));
        }
    }
    entries.sort_unstable();
    entries
}

fn records(map: &Map) -> Result<Contents, Errno> {
    let mut reader = RingReader::new(map)?;
    let mut records = Contents::new();
    loop {
        match reader.pop() {
            Next::Record(data) => records.push((Vec::new(), data)),
            Next::Discarded { .. } => {}
            Next::Empty | Next::Busy => break,
        }
    }
    records.push((Vec::new(), reader.producer_pos().to_le_bytes().to_vec()));
    Ok(records)
}

/// What differs between skep's runs and the kernel's, of which only the low half of r0 comes
/// back; nobody counts there, nor keeps what is printed.
#[must_use]
pub fn kernel_differs(ours: &[Ran], theirs: &[Ran]) -> Option<String> {
    for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        let End::Returned(r0) = &ours.end else {
            return Some(format!("input {index}: {}", ours.fault()?));
        };
        let ours = Ran {
            end: End::Returned(r0 & u64::from(u32::MAX)),
            insns: None,
            printk: Vec::new(),
            redirect: None,
            context: Vec::new(),
            ..ours.clone()
        };
        if let Some(difference) = crate::engine::compare(&ours, theirs) {
            return Some(format!("input {index}: skep, kernel:\n{difference}"));
        }
    }
    None
}
