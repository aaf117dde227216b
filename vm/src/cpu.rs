//! A virtual CPU: what the runs on it share.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use skep_maps::{Map, World};
use skep_memory::MemoryError;

use crate::engine::Engine;
#[cfg(all(feature = "jit", target_arch = "x86_64"))]
use crate::jit::HostStack;
use crate::machine::Machine;
use crate::program::Program;
use crate::stack::Stack;
use crate::state::{State, Target};

/// What runs on one virtual CPU share, and do not change but through cells.
#[derive(Debug)]
pub(crate) struct Cpu {
    pub(crate) machine: Arc<Machine>,
    pub(crate) number: u32,
    pub(crate) engine: Engine,
    pub(crate) stack: Box<Stack>,
    /// Of which generation of the world what follows is.
    generation: u64,
    pub(crate) maps: MapCache,
    pub(crate) programs: ProgramCache,
    /// Targets of tail calls in native code that `programs` holds, each with one place, by
    /// its id.
    pub(crate) targets: Box<[Cell<Target>]>,
    /// What native code sees of the run that is going on.
    pub(crate) state: State,
    #[cfg(all(feature = "jit", target_arch = "x86_64"))]
    pub(crate) host_stack: HostStack,
}

impl Cpu {
    /// A virtual CPU with memory of its own.
    pub(crate) fn new(
        machine: &Arc<Machine>,
        number: u32,
        engine: Engine,
    ) -> Result<Self, MemoryError> {
        let window = machine.world().window();
        let number = number % machine.world().cpus();
        let targets: Box<[_]> = vec![Cell::new(Target::NONE); Target::COUNT].into();
        let stack = Box::new(Stack::new(window)?);
        Ok(Self {
            machine: Arc::clone(machine),
            number,
            engine,
            generation: machine.world().generation(),
            maps: MapCache::default(),
            programs: ProgramCache::default(),
            state: State::new(window.view(), number, &targets, &stack),
            targets,
            stack,
            #[cfg(all(feature = "jit", target_arch = "x86_64"))]
            host_stack: HostStack::new()
                .map_err(|source| MemoryError::Reserve { bytes: HostStack::BYTES, source })?,
        })
    }

    /// Whether all is ready for a run: nothing is to be let go or closed.
    #[inline(always)]
    pub(crate) fn is_fresh(&self) -> bool {
        self.generation == self.machine.world().generation() && self.stack.is_closed()
    }

    /// Lets maps and programs go that the runs before have met, when some have gone or come
    /// since.
    #[inline]
    pub(crate) fn refresh(&mut self) {
        let generation = self.machine.world().generation();
        if self.generation != generation {
            self.forget(generation);
        }
    }

    #[cold]
    fn forget(&mut self, generation: u64) {
        self.generation = generation;
        self.maps = MapCache::default();
        self.programs = ProgramCache::default();
        self.targets.iter().for_each(|target| target.set(Target::NONE));
    }
}

/// Maps that runs on a runner have met, by their place in the world's table. While a
/// runner holds a map here, its memory stays, even when everybody else has dropped it:
/// that is what the kernel's RCU promises to a running program.
#[derive(Debug)]
pub(crate) struct MapCache {
    chunks: Box<[OnceCell<Chunk>]>,
}

/// Part of the cache: maps of adjacent places.
type Chunk = Box<[OnceCell<Arc<dyn Map>>]>;

const CHUNK: usize = 256;

impl Default for MapCache {
    fn default() -> Self {
        let chunks = (0..World::MAX_MAPS as usize / CHUNK).map(|_| OnceCell::new());
        Self { chunks: chunks.collect() }
    }
}

impl MapCache {
    /// Whether the map at a place is held.
    #[inline]
    pub(crate) fn has(&self, slot: u32) -> bool {
        let chunk = self.chunks.get(slot as usize / CHUNK).and_then(OnceCell::get);
        chunk.is_some_and(|chunk| chunk[slot as usize % CHUNK].get().is_some())
    }

    /// The map at a place.
    #[inline]
    pub(crate) fn get(&self, world: &World, slot: u32) -> Option<&Arc<dyn Map>> {
        let slot = slot as usize;
        let chunk = self.chunks.get(slot / CHUNK)?;
        let chunk = chunk.get_or_init(|| (0..CHUNK).map(|_| OnceCell::new()).collect());
        let cell = &chunk[slot % CHUNK];
        if cell.get().is_none() {
            let map = world.map_at(u32::try_from(slot).ok()?)?;
            let _was_empty = cell.set(map);
        }
        cell.get()
    }
}

/// Programs that runs on a runner have tail-called, by id.
#[derive(Debug, Default)]
pub(crate) struct ProgramCache {
    programs: RefCell<HashMap<u32, Arc<Program>>>,
}

impl ProgramCache {
    pub(crate) fn get(&self, machine: &Machine, id: u32) -> Option<Arc<Program>> {
        let mut programs = self.programs.borrow_mut();
        if let Some(program) = programs.get(&id) {
            return Some(Arc::clone(program));
        }
        let program = machine.program(id)?;
        programs.insert(id, Arc::clone(&program));
        Some(program)
    }
}
