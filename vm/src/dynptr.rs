//! Dynptrs: pointers with a length that programs hold and cannot forge.
//!
//! A program's `struct bpf_dynptr` is 16 bytes on its stack. What it refers to is known
//! here, by the address of those bytes; in them stands a seal, which says only whether
//! they are still as a helper left them. A stale or forged one thus has no state, or the
//! wrong seal, and using it is a fault. The bytes of a dynptr that holds a record of a ring
//! buffer cannot be accessed at all until the record is given up, for that would be the
//! program's only way to give it up; those of others may be reused as other variables.

use skep_maps::{Record, RingBuf};
use skep_memory::{GuestPtr, GuestSlice};

use crate::run::{Held, Run};

/// Size of `struct bpf_dynptr` in bytes, and its alignment.
const SIZE: u32 = 16;
const ALIGN: u64 = 8;

/// The most bytes that one refers to (`DYNPTR_MAX_SIZE`).
pub(crate) const MOST: u32 = (1 << 24) - 1;

/// A dynptr of the run.
#[derive(Debug)]
pub(crate) struct Dynptr<'r> {
    /// Where the program's structure stands.
    at: GuestPtr,
    /// What stands in it.
    seal: u64,
    pub(crate) source: Source<'r>,
    /// What it refers to; a null dynptr, which a helper failed to make, to nothing.
    pub(crate) data: Option<Data>,
}

/// Where the memory of a dynptr comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source<'r> {
    /// Memory of the program's (`BPF_DYNPTR_TYPE_LOCAL`).
    Local,
    /// A record of a ring buffer, which must be submitted or discarded, reserved or not
    /// (`BPF_DYNPTR_TYPE_RINGBUF`).
    Ring(&'r RingBuf, Option<Record>),
    /// A sample of a user ring buffer, while a callback looks at it.
    Sample,
}

/// A range of guest memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Data {
    pub(crate) ptr: GuestPtr,
    pub(crate) size: u32,
}

/// A place on the stack for a new dynptr; it was checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place(GuestPtr);

impl Dynptr<'_> {
    /// Whether it must be given up before the program ends.
    pub(crate) fn is_reference(&self) -> bool {
        matches!(self.source, Source::Ring(..))
    }

    /// Gives up what it holds when a run ends; its place is an ordinary part of the stack
    /// again.
    pub(crate) fn release(self, run: &Run<'_>) {
        if let Source::Ring(ring, record) = self.source {
            run.cpu.stack.restore(self.at, SIZE);
            if let Some(record) = record {
                ring.commit(record, true, 0);
            }
        }
    }
}

impl Data {
    /// The part of `len` bytes from `offset` on (kernel `bpf_dynptr_check_off_len`).
    pub(crate) fn part(self, offset: u32, len: u32) -> Option<Self> {
        let fits = len <= self.size && offset <= self.size - len;
        fits.then(|| Self { ptr: self.ptr.add(offset), size: len })
    }
}

impl<'r> Run<'r> {
    /// The place at an address, where there is none yet that holds a record.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub(crate) fn dynptr_place(&self, addr: u64) -> Result<Place, String> {
        let at = self.on_stack(addr)?;
        let mut references = self.dynptrs().filter(|(_, own)| own.is_reference());
        if let Some((_, taken)) = references.find(|(_, own)| overlap(own.at, at)) {
            let place = self.place_of(taken.at.addr());
            return Err(format!("the dynptr {place} still holds a record of a ring buffer"));
        }
        Ok(Place(at))
    }

    /// Makes a dynptr in a place.
    pub(crate) fn make_dynptr(&mut self, place: Place, source: Source<'r>, data: Option<Data>) {
        let at = place.0;
        self.held.retain(|held| !matches!(held, Held::Dynptr(own) if overlap(own.at, at)));
        self.dynptrs_made += 1;
        // No word of it is zero, nor is any other dynptr's of this run the same.
        let seal = 0x6479_6e70_0000_0000 | self.dynptrs_made;
        let bytes = self.dynptr_bytes(at);
        bytes.set(0, seal);
        bytes.set(8, !seal);
        let dynptr = Dynptr { at, seal, source, data };
        if dynptr.is_reference() {
            self.cpu.stack.close_part(at, SIZE);
        }
        self.held.push(Held::Dynptr(dynptr));
    }

    /// Lends a sample of a user ring buffer to a callback, as the dynptr at `at`, which
    /// programs cannot write.
    pub(crate) fn lend_sample(&mut self, at: GuestPtr, data: Data) {
        let source = Source::Sample;
        self.held.push(Held::Dynptr(Dynptr { at, seal: 0, source, data: Some(data) }));
    }

    /// Takes back what was lent at `at`.
    pub(crate) fn take_sample_back(&mut self, at: GuestPtr) {
        let lent = |own: &Dynptr<'_>| matches!(own.source, Source::Sample) && own.at == at;
        self.held.retain(|held| !matches!(held, Held::Dynptr(own) if lent(own)));
    }

    /// The dynptr at an address: its index among what is held, and what it refers to.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub(crate) fn dynptr(&self, addr: u64) -> Result<(usize, &Dynptr<'r>), String> {
        let found = self.dynptrs().find(|(_, own)| own.at.addr() == addr);
        let Some((index, dynptr)) = found else {
            self.on_stack(addr)?;
            return Err(format!("no helper has made a dynptr {}", self.place_of(addr)));
        };
        if matches!(dynptr.source, Source::Sample) {
            return Ok((index, dynptr));
        }
        self.on_stack(addr)?;
        let bytes = self.dynptr_bytes(dynptr.at);
        if bytes.get::<u64>(0) != dynptr.seal || bytes.get::<u64>(8) != !dynptr.seal {
            let place = self.place_of(addr);
            return Err(format!("the dynptr {place} was overwritten since it was made"));
        }
        Ok((index, dynptr))
    }

    /// Takes a record out of the dynptr at an address, which is one no more; `None` for a
    /// null dynptr.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub(crate) fn end_dynptr(
        &mut self,
        addr: u64,
    ) -> Result<Option<(&'r RingBuf, Record)>, String> {
        let (index, dynptr) = self.dynptr(addr)?;
        let (Source::Ring(ring, record), at) = (dynptr.source, dynptr.at) else {
            return Err(format!("the dynptr {} holds no record", self.place_of(addr)));
        };
        self.held.remove(index);
        self.cpu.stack.restore(at, SIZE);
        // Nothing that was sealed is left behind.
        self.dynptr_bytes(at).fill(0);
        Ok(record.map(|record| (ring, record)))
    }

    fn dynptrs(&self) -> impl Iterator<Item = (usize, &Dynptr<'r>)> {
        self.held.iter().enumerate().filter_map(|(index, held)| match held {
            Held::Dynptr(dynptr) => Some((index, dynptr)),
            _ => None,
        })
    }

    /// Checks that a structure at an address stands, aligned, in a frame that has not been
    /// left.
    fn on_stack(&self, addr: u64) -> Result<GuestPtr, String> {
        let at = u32::try_from(addr).map(GuestPtr::new).ok();
        let frame = at.and_then(|at| Some((at, self.cpu.stack.frame_of(at, SIZE)?)));
        match frame {
            Some((at, frame)) if frame <= self.frame() => {
                if addr.is_multiple_of(ALIGN) {
                    return Ok(at);
                }
                let place = self.place_of(addr);
                Err(format!("a dynptr is aligned to {ALIGN} bytes, and this is {place}"))
            }
            Some(_) => {
                let place = self.place_of(addr);
                Err(format!("the function has returned that had the dynptr {place}"))
            }
            None => {
                let place = self.place_of(addr);
                Err(format!("a dynptr is on the stack of a function, and this is {place}"))
            }
        }
    }

    /// Where a structure stands, in words.
    fn place_of(&self, addr: u64) -> String {
        let place = self.window().describe(addr, SIZE.into());
        place.map_or_else(|| format!("at {addr:#x}"), |place| place.to_string())
    }

    fn dynptr_bytes(&self, at: GuestPtr) -> GuestSlice<'r> {
        GuestSlice::new(self.view, at, SIZE).expect("the stack lies in the window")
    }
}

/// Whether two structures share bytes.
fn overlap(a: GuestPtr, b: GuestPtr) -> bool {
    a.offset().abs_diff(b.offset()) < SIZE
}
