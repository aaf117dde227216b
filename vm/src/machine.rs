//! One virtual machine: a window, its maps and its programs.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};

use skep_maps::{Errno, ProgramRef, Upcall, World};
use skep_memory::{MemoryError, Window};

use crate::program::{Program, ProgramError, ProgramSpec};

/// A virtual machine.
#[derive(Debug)]
pub struct Machine {
    world: Arc<World>,
    programs: Arc<Programs>,
}

/// The programs of a machine.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    table: RwLock<BTreeMap<u32, Weak<Program>>>,
    ids: AtomicU32,
}

impl Machine {
    /// A machine with `cpus` virtual CPUs, 1 to 1024.
    ///
    /// # Errors
    ///
    /// [`MemoryError`] when the host grants no address space.
    pub fn new(cpus: u32) -> Result<Arc<Self>, MemoryError> {
        Self::within(Window::reserve()?, cpus)
    }

    /// A machine with its memory in `window`.
    pub(crate) fn within(window: Arc<Window>, cpus: u32) -> Result<Arc<Self>, MemoryError> {
        let world = World::new(window, cpus)?;
        let programs = Arc::new(Programs::default());
        let upcall: Weak<Programs> = Arc::downgrade(&programs);
        world.set_upcall(upcall);
        Ok(Arc::new(Self { world, programs }))
    }

    /// What its maps share.
    #[must_use]
    pub fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// Loads a program.
    ///
    /// # Errors
    ///
    /// [`ProgramError`] when it is not well-formed.
    pub fn load(&self, spec: ProgramSpec) -> Result<Arc<Program>, ProgramError> {
        let id = self.programs.ids.fetch_add(1, Ordering::Relaxed) + 1;
        let program = Arc::new(Program::new(id, self, spec)?);
        let mut table = self.programs.table.write().unwrap_or_else(PoisonError::into_inner);
        table.retain(|_, program| program.strong_count() > 0);
        table.insert(id, Arc::downgrade(&program));
        // Runners let go of the programs that they remember, some of which may be gone.
        self.world.renew();
        Ok(program)
    }

    pub(crate) fn program(&self, id: u32) -> Option<Arc<Program>> {
        self.programs.get(id)
    }
}

impl Programs {
    fn get(&self, id: u32) -> Option<Arc<Program>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.get(&id)?.upgrade()
    }
}

impl Upcall for Programs {
    fn program(&self, id: u32) -> Result<ProgramRef, Errno> {
        let program = self.get(id).ok_or(Errno::EBADF)?;
        let kind = program.kind();
        let keep: Arc<dyn Any + Send + Sync> = program;
        Ok(ProgramRef { id, kind, keep })
    }
}
