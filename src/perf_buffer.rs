//! The consumer of what programs put out through an array of perf events.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::epoll;
use skep_maps::perf::{PerfEvent, PerfEventAttr, PerfRecord};
use skep_maps::{Descriptor, PerfEventArray};

use crate::{Error, Map, Record, wait};

/// Takes samples out of the buffers of perf events, one for each virtual CPU, that it has
/// opened and put into a map. Dropping it takes the events out of the map again.
#[derive(Debug)]
pub struct PerfBuffer {
    map: Map,
    /// Readable when one of the events' descriptors is.
    epoll: OwnedFd,
    /// The event of each CPU, at the CPU's index in the map.
    events: Vec<Descriptor<PerfEvent>>,
    /// Samples of each CPU that were written over.
    broken: Vec<u64>,
}

/// What a program put out.
#[derive(Debug, Clone, Copy)]
pub struct PerfSample<'a> {
    /// The virtual CPU that the program ran on.
    pub cpu: u32,
    /// The bytes, then up to seven bytes of padding whose values mean nothing: as in
    /// Linux, the length and four is a multiple of eight.
    pub data: Record<'a>,
}

/// What the descriptors are of.
const WHAT: &str = "perf buffer";

impl PerfBuffer {
    pub(crate) fn new(map: &Map, pages: u32) -> Result<Self, Error> {
        if map.map().downcast::<PerfEventArray>().is_none() {
            return Err(map.wrong_type("perf events"));
        }
        let io_error = |error: rustix::io::Errno| wait::failed(WHAT)(error.into());
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io_error)?;
        let mut buffer = Self { map: map.clone(), epoll, events: Vec::new(), broken: Vec::new() };
        let world = map.map().core().world();
        for cpu in 0..map.cpus().min(map.def().max_entries) {
            let event = PerfEvent::open(world, PerfEventAttr::output(cpu));
            let object = Arc::clone(event.object());
            object.map_buffer(pages).map_err(|errno| map.error("perf buffer", errno))?;
            let readable = object.descriptor().map_err(wait::failed(WHAT))?;
            let data = epoll::EventData::new_u64(cpu.into());
            epoll::add(&buffer.epoll, readable, data, epoll::EventFlags::IN).map_err(io_error)?;
            map.update_bytes(&cpu.to_le_bytes(), &event.number().to_le_bytes(), 0)?;
            buffer.events.push(event);
            buffer.broken.push(0);
        }
        Ok(buffer)
    }

    /// Gives each sample that is there to `callback` until it breaks, CPU by CPU; does not
    /// wait. Returns how many it gave.
    pub fn consume(&mut self, mut callback: impl FnMut(PerfSample<'_>) -> ControlFlow<()>) -> u64 {
        let mut taken = 0;
        for (cpu, (event, broken)) in (0..).zip(self.events.iter().zip(&mut self.broken)) {
            let event = event.object();
            event.reset_wakeup();
            let mut flow = ControlFlow::Continue(());
            event.consume(|record| {
                match record {
                    PerfRecord::Sample(data) => {
                        taken += 1;
                        flow = callback(PerfSample { cpu, data: Record::of_perf(data) });
                    }
                    PerfRecord::Broken => *broken += 1,
                    // The event counts them itself, as they happen.
                    PerfRecord::Lost(_) => {}
                }
                flow
            });
            if flow.is_break() {
                break;
            }
        }
        taken
    }

    /// As [`PerfBuffer::consume`], but waits up to `timeout` for the first sample.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the host cannot wait.
    pub fn poll(
        &mut self,
        timeout: Duration,
        mut callback: impl FnMut(PerfSample<'_>) -> ControlFlow<()>,
    ) -> Result<u64, Error> {
        let wait = |own: &Self, left| wait::readable(&own.epoll, left, WHAT);
        wait::until_some(self, timeout, |own| own.consume(&mut callback), wait)
    }

    /// How many samples of programs on a virtual CPU found no room, or were written over
    /// by longer ones than a record can say (64 KiB); 0 for a CPU that has no buffer.
    #[must_use]
    pub fn lost(&self, cpu: u32) -> u64 {
        let index = cpu as usize;
        let Some((event, broken)) = self.events.get(index).zip(self.broken.get(index)) else {
            return 0;
        };
        event.object().lost() + broken
    }

    /// How many virtual CPUs it has a buffer for: as many as the map has elements, at
    /// most all.
    #[must_use]
    pub fn cpus(&self) -> u32 {
        u32::try_from(self.events.len()).unwrap_or(u32::MAX)
    }
}

impl AsFd for PerfBuffer {
    /// A descriptor that is readable when a sample wakes the consumer, for epoll;
    /// consuming resets it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl Drop for PerfBuffer {
    fn drop(&mut self) {
        let Some(array) = self.map.map().downcast::<PerfEventArray>() else { return };
        for (cpu, event) in (0u32..).zip(&self.events) {
            // Another consumer may have taken the place.
            let own = |there: &Arc<PerfEvent>| Arc::ptr_eq(there, event.object());
            if array.event(cpu.into()).is_ok_and(|there| own(&there)) {
                // It fails when somebody else was faster.
                let _gone_already = self.map.delete(&cpu);
            }
        }
    }
}
