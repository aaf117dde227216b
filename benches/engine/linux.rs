//! The running kernel's JIT, through `BPF_PROG_TEST_RUN`.
//!
//! What the kernel does around each run is among its figures; they are good for comparison
//! less those of the program `empty` (`results.rs`). CPU time is measured from outside,
//! for the kernel tells whole nanoseconds only; a call waits, but works for microseconds.

use skep_maps::MapDef;
use skep_oracle::{
    Btf, Kernel, Map, MapSpec, Prog, ProgSpec, RingReader, TestRun, map_type, prog_type,
};

use crate::programs::{MODE_AT, Program};
use crate::side::{Ran, Side, cpu_time};

struct Linux {
    prog: Prog,
    packet: Vec<u8>,
    ring: Option<RingReader>,
    /// What the program refers to.
    _maps: Vec<Map>,
}

/// The kernel with a program, ready to run.
pub(crate) fn side(kernel: &Kernel, program: &Program) -> Result<Box<dyn Side>, String> {
    let object = skep_loader::Object::parse(program.name, program.object);
    let object = object.map_err(|error| error.to_string())?;
    let maps = object.maps().iter().map(|decl| create(kernel, &decl.def));
    let maps = maps.collect::<Result<Vec<_>, _>>()?;
    let def = object.programs().first().ok_or("the object has no program")?;
    let refs: Vec<&Map> = maps.iter().collect();
    let mut spec = ProgSpec::new(prog_type::XDP, &def.insns).maps(&refs);
    // Functions that are not static are verified apart when types tell of them; otherwise
    // loops of calls are more than the verifier has patience for.
    let types = def.funcs.iter().map(|func| Some((func.start, func.type_id?.0)));
    let types: Vec<_> = types.collect::<Option<_>>().ok_or("a function has no type")?;
    let btf = if types.len() > 1 { Some(load_btf(kernel, program)?) } else { None };
    if let Some(btf) = &btf {
        spec = spec.func_info(btf, &types);
    }
    let prog = kernel.load(&spec).map_err(|rejection| rejection.to_string())?;
    for map in &maps {
        set_up(kernel, map, &prog)?;
    }
    let ring = maps.iter().find(|map| map.info().map_type == map_type::RINGBUF);
    let ring = ring.map(RingReader::new).transpose().map_err(|errno| format!("{errno:?}"))?;
    Ok(Box::new(Linux { prog, packet: program.packet(), ring, _maps: maps }))
}

fn create(kernel: &Kernel, def: &MapDef) -> Result<Map, String> {
    let inner = def.inner.as_ref().map(|inner| create(kernel, inner)).transpose()?;
    let mut spec = MapSpec::new(def.map_type, def.key_size, def.value_size, def.max_entries);
    spec.flags = def.flags;
    spec.inner = inner.as_ref();
    kernel.create_map(&spec).map_err(|errno| format!("map `{}`: {errno:?}", def.name))
}

/// The object's types. The compiler leaves the sizes of sections open, and the kernel
/// takes no section of size 0.
fn load_btf(kernel: &Kernel, program: &Program) -> Result<Btf, String> {
    let elf = skep_loader::elf::Elf::parse(program.object).map_err(|error| error.to_string())?;
    let mut blob = elf.section(".BTF").ok_or("the object has no types")?.data.to_vec();
    set_section_sizes(&mut blob).ok_or("the object's types end early")?;
    kernel.load_btf(&blob).map_err(|errno| format!("types: {errno:?}"))
}

/// Gives sections (`BTF_KIND_DATASEC`) the size of a page.
fn set_section_sizes(blob: &mut [u8]) -> Option<()> {
    const DATASEC: u32 = 15;
    let word = |blob: &[u8], at: usize| {
        let bytes = blob.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes))
    };
    let header = word(blob, 4)? as usize;
    let mut at = header + word(blob, 8)? as usize;
    let end = at + word(blob, 12)? as usize;
    while at < end {
        let info = word(blob, at + 4)?;
        let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        if kind == DATASEC {
            blob.get_mut(at + 8..at + 12)?.copy_from_slice(&4096_u32.to_le_bytes());
        }
        // What follows the three words that all types have.
        at += 12
            + match kind {
                // Integers, variables, tags of declarations.
                1 | 14 | 17 => 4,
                // Arrays.
                3 => 12,
                // Structures, unions, sections, 64-bit enumerations.
                4 | 5 | DATASEC | 19 => 12 * count,
                // Enumerations, prototypes.
                6 | 13 => 8 * count,
                _ => 0,
            };
    }
    Some(())
}

/// Puts the program into arrays of programs, and arrays into maps of maps.
fn set_up(kernel: &Kernel, map: &Map, prog: &Prog) -> Result<(), String> {
    let put = |key: u32, fd: i32| {
        map.update(&key.to_le_bytes(), &fd.to_le_bytes(), 0).map_err(|errno| format!("{errno:?}"))
    };
    match map.info().map_type {
        map_type::PROG_ARRAY => {
            (0..map.info().max_entries).try_for_each(|slot| put(slot, prog.fd()))
        }
        map_type::HASH_OF_MAPS => (0..map.info().max_entries).try_for_each(|key| {
            let inner = kernel.create_map(&MapSpec::new(map_type::ARRAY, 4, 8, 64));
            put(key, inner.map_err(|errno| format!("{errno:?}"))?.fd())
        }),
        _ => Ok(()),
    }
}

impl Side for Linux {
    fn set_mode(&mut self, mode: u8) -> Result<(), String> {
        self.packet[MODE_AT as usize] = mode;
        Ok(())
    }

    fn run(&mut self, times: u64) -> Result<Ran, String> {
        if let Some(ring) = &self.ring {
            ring.set_consumer_pos(ring.producer_pos());
        }
        let number = |n: u64| u32::try_from(n).map_err(|error| error.to_string());
        let (times, room) = (number(times)?, number(self.packet.len() as u64)?);
        let run = TestRun::new().data_in(&self.packet).data_out(room).repeat(times);
        let before = cpu_time();
        let ran = self.prog.test_run(&run).ok();
        let ns = cpu_time() - before;
        let ran = ran.map_err(|errno| format!("BPF_PROG_TEST_RUN: {errno:?}"))?;
        self.packet = ran.data_out;
        Ok(Ran { ns, retval: ran.retval })
    }
}
