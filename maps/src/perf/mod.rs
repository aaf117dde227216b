//! Perf events, as maps hold them: where `perf_event_output` writes, and counters that
//! programs read.
//!
//! Nothing here counts by itself: a counter has the value that user space gives it. An
//! event is bound to one virtual CPU; its buffer has the kernel's layout.

mod ring;
mod sample;

use std::io;
use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use skep_memory::GuestSlice;

use crate::mutex::lock;
use crate::wake::Wake;
use crate::{Descriptor, Errno, Resource, World};
use ring::{HEADER, RECORD_LOST, RECORD_SAMPLE, Ring};
pub use sample::Sample;

/// What an event is made from (`struct perf_event_attr` and the arguments of
/// `perf_event_open(2)`, as far as maps see them).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerfEventAttr {
    /// What it does.
    pub kind: PerfEventKind,
    /// The virtual CPU that it is bound to; `None` for an event of the running task, on
    /// whatever CPU.
    pub cpu: Option<u32>,
    /// Whether it starts disabled.
    pub disabled: bool,
    /// Whether children of the task inherit it; such events cannot be put into maps.
    pub inherit: bool,
    /// When the reader of its buffer is woken.
    pub wakeup: WakeUp,
}

/// What an event does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PerfEventKind {
    /// It takes what programs put out (`PERF_COUNT_SW_BPF_OUTPUT` with
    /// `PERF_SAMPLE_RAW`).
    BpfOutput,
    /// It counts something else.
    Counter,
}

/// When the reader of an event's buffer is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WakeUp {
    /// After so many samples (`wakeup_events`); 0 for after half of the buffer.
    Events(u32),
    /// After so many bytes (`wakeup_watermark`); 0 for after half of the buffer.
    Watermark(u32),
}

impl PerfEventAttr {
    /// An event for the output of programs on `cpu`, with a wake-up for each sample, as
    /// libbpf's `perf_buffer__new` opens it.
    #[must_use]
    pub fn output(cpu: u32) -> Self {
        Self {
            kind: PerfEventKind::BpfOutput,
            cpu: Some(cpu),
            disabled: false,
            inherit: false,
            wakeup: WakeUp::Events(1),
        }
    }
}

/// What a program reads from an event (`struct bpf_perf_event_value`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PerfCount {
    /// The count.
    pub counter: u64,
    /// For how long the event was enabled, in nanoseconds.
    pub enabled: u64,
    /// For how long it ran, in nanoseconds.
    pub running: u64,
}

/// A perf event.
#[derive(Debug)]
pub struct PerfEvent {
    id: u64,
    attr: PerfEventAttr,
    enabled: AtomicBool,
    closed: AtomicBool,
    count: Mutex<PerfCount>,
    ring: OnceLock<Ring>,
    /// Samples that found no room.
    lost: AtomicU64,
    /// Held by the one reader while it walks.
    reading: Mutex<()>,
    wake: Wake,
}

impl Resource for PerfEvent {
    /// Nobody can read the buffer any more: it goes, as when it is unmapped.
    fn closed(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

/// A record of an event's buffer.
#[derive(Debug, Clone, Copy)]
pub enum PerfRecord<'a> {
    /// A sample's raw data, padding included: its length and four is a multiple of eight.
    Sample(Sample<'a>),
    /// So many samples were lost before the next one.
    Lost(u64),
    /// A record that cannot be: what was written over by samples of more than 64 KiB.
    Broken,
}

impl PerfEvent {
    /// Opens an event (`perf_event_open(2)`). It has no buffer yet.
    #[must_use]
    pub fn open(world: &Arc<World>, attr: PerfEventAttr) -> Descriptor<Self> {
        let event = Self {
            id: world.next_event_id(),
            attr,
            enabled: AtomicBool::new(!attr.disabled),
            closed: AtomicBool::new(false),
            count: Mutex::default(),
            ring: OnceLock::new(),
            lost: AtomicU64::new(0),
            reading: Mutex::new(()),
            wake: Wake::default(),
        };
        Descriptor::open(world, event)
    }

    /// The event's id, as in `PERF_RECORD_LOST`.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What it was made from.
    #[must_use]
    pub fn attr(&self) -> &PerfEventAttr {
        &self.attr
    }

    /// Whether maps may hold it (kernel `perf_event_fd_array_get_ptr`).
    pub(crate) fn check(&self) -> Result<(), Errno> {
        if self.attr.inherit { Err(Errno::EOPNOTSUPP) } else { Ok(()) }
    }

    /// Enables or disables it (`PERF_EVENT_IOC_ENABLE`, `PERF_EVENT_IOC_DISABLE`).
    pub fn set_enabled(&self, enabled: bool) {
        self.enabled.store(enabled, Ordering::Release);
    }

    /// Whether it is on this CPU now (kernel `event->oncpu`).
    fn is_on(&self, cpu: u32) -> bool {
        self.enabled.load(Ordering::Acquire) && self.attr.cpu.is_none_or(|own| own == cpu)
    }

    /// Gives it a buffer of `pages` pages of 4096 bytes (`mmap(2)`).
    ///
    /// # Errors
    ///
    /// `EINVAL` when `pages` is no power of two, or there is a buffer of another size;
    /// `ENOMEM` when there are too many.
    pub fn map_buffer(&self, pages: u32) -> Result<(), Errno> {
        let ring = Ring::new(pages, self.attr.wakeup)?;
        let ring = self.ring.get_or_init(|| ring);
        if ring.size() == u64::from(pages) * ring::PAGE { Ok(()) } else { Err(Errno::EINVAL) }
    }

    /// Puts out a sample of `parts`, one behind the other, from a program on `cpu`
    /// (kernel `__bpf_perf_event_output`).
    ///
    /// # Errors
    ///
    /// `EINVAL` for an event that counts, `EOPNOTSUPP` when it is not on that CPU,
    /// `ENOSPC` when its buffer has no room, or it has none, or user space has closed it.
    pub fn output(&self, cpu: u32, parts: &[GuestSlice<'_>]) -> Result<(), Errno> {
        if self.attr.kind != PerfEventKind::BpfOutput {
            return Err(Errno::EINVAL);
        }
        if !self.is_on(cpu) {
            return Err(Errno::EOPNOTSUPP);
        }
        let ring = self.ring.get().filter(|_| !self.closed.load(Ordering::Acquire));
        let ring = ring.ok_or(Errno::ENOSPC)?;
        match ring.sample(self.id, parts, self.attr.wakeup) {
            Ok(wakes) => {
                if wakes {
                    self.wake.wake();
                }
                Ok(())
            }
            Err(errno) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                Err(errno)
            }
        }
    }

    /// What a program on `cpu` reads from it (kernel `perf_event_read_local`).
    ///
    /// # Errors
    ///
    /// `EINVAL` for an event of another CPU.
    pub fn read(&self, cpu: u32) -> Result<PerfCount, Errno> {
        match self.attr.cpu {
            Some(own) if own != cpu => Err(Errno::EINVAL),
            _ => Ok(*lock(&self.count)),
        }
    }

    /// Sets what programs read from it.
    pub fn set_count(&self, count: PerfCount) {
        *lock(&self.count) = count;
    }

    /// How many samples found no room in the buffer.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// How many bytes were ever written to the buffer (`data_head`).
    #[must_use]
    pub fn head(&self) -> u64 {
        self.ring.get().map_or(0, Ring::head)
    }

    /// How many bytes the reader is done with (`data_tail`).
    #[must_use]
    pub fn tail(&self) -> u64 {
        self.ring.get().map_or(0, Ring::tail)
    }

    /// Says how many bytes the reader is done with; any number does no harm.
    pub fn set_tail(&self, tail: u64) {
        if let Some(ring) = self.ring.get() {
            ring.set_tail(tail);
        }
    }

    /// Copies the buffer's bytes from a position on out; zeros when there is no buffer.
    pub fn copy_at(&self, pos: u64, out: &mut [u8]) {
        out.fill(0);
        if let Some(ring) = self.ring.get() {
            ring.read(pos, out);
        }
    }

    /// Gives the records that are there to `callback`, in order, until it breaks, as
    /// libbpf's `perf_event_read_simple` does: their room is free when it returns. One
    /// reader walks at a time; others wait.
    pub fn consume(&self, mut callback: impl FnMut(PerfRecord<'_>) -> ControlFlow<()>) {
        let _one = lock(&self.reading);
        let Some(ring) = self.ring.get() else { return };
        let (mut tail, head) = (ring.tail(), ring.head());
        while tail < head {
            let mut header = [0; 8];
            ring.read(tail, &mut header);
            let [kind, misc_and_size] = halves(header);
            let size = u64::from(misc_and_size >> 16);
            if size < HEADER || size > head - tail {
                // Nobody can tell where the next record starts.
                tail = head;
                let _last = callback(PerfRecord::Broken);
                break;
            }
            let flow = callback(record(ring, kind, tail + HEADER, size - HEADER));
            tail += size;
            ring.set_tail(tail);
            if flow.is_break() {
                return;
            }
        }
        ring.set_tail(tail);
    }

    /// A descriptor that becomes readable when the reader is woken, for poll and epoll;
    /// see [`PerfEvent::reset_wakeup`].
    ///
    /// # Errors
    ///
    /// When the host gives no descriptor.
    pub fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        self.wake.descriptor()
    }

    /// Makes the descriptor unreadable until the next wake-up; says whether there was one
    /// since this was last called.
    pub fn reset_wakeup(&self) -> bool {
        self.wake.reset()
    }
}

/// What a record says: its kind, and where the `len` bytes behind its header stand.
fn record(ring: &Ring, kind: u32, pos: u64, len: u64) -> PerfRecord<'_> {
    let known = match kind {
        RECORD_LOST => lost(ring, pos, len).map(PerfRecord::Lost),
        RECORD_SAMPLE => Sample::at(ring, pos, len).map(PerfRecord::Sample),
        _ => None,
    };
    known.unwrap_or(PerfRecord::Broken)
}

/// The count of a `PERF_RECORD_LOST`, which stands behind the event's id.
fn lost(ring: &Ring, pos: u64, len: u64) -> Option<u64> {
    let mut count = [0; 8];
    ring.read(pos + 8, &mut count);
    (len == 16).then(|| u64::from_le_bytes(count))
}

fn halves(word: [u8; 8]) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = word;
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
}

#[cfg(test)]
mod tests {
    use skep_memory::{Access, Backing, Label, Span, SpanRequest, Window};

    use super::*;

    /// An event on CPU 0 with a buffer of 64 pages, and 128 KiB of sevens.
    fn bench() -> (Descriptor<PerfEvent>, Span) {
        let window = Window::with_len(64 << 20).expect("memory");
        let world = World::new(Arc::clone(&window), 1).expect("memory");
        let event = PerfEvent::open(&world, PerfEventAttr::output(0));
        event.object().map_buffer(64).expect("a power of two");
        let request = SpanRequest {
            len: 128 << 10,
            align: 8,
            access: Access::None,
            label: Label::one("data"),
            backing: Backing::Anonymous,
        };
        let span = Span::new(&window, request).expect("memory");
        span.slice().fill(7);
        (event, span)
    }

    fn records(event: &PerfEvent) -> Vec<String> {
        let mut records = Vec::new();
        event.consume(|record| {
            records.push(match record {
                PerfRecord::Sample(data) => format!("sample {}", data.len()),
                other => format!("{other:?}"),
            });
            ControlFlow::Continue(())
        });
        records
    }

    #[test]
    fn a_reader_stops_where_a_long_sample_has_no_size() {
        let (event, data) = bench();
        let event = event.object();
        let put = |len| event.output(0, &[data.part(0, len)]).expect("there is room");
        put(20);
        // The header says 8 bytes, and the sample is written over what comes next.
        put(65_525);
        put(4);
        assert_eq!(records(event), ["sample 20", "Broken", "sample 4"]);
        assert_eq!(event.tail(), event.head());
        // The header says 0 bytes: the next record overwrites it.
        put(65_523);
        put(4);
        assert_eq!(records(event), ["sample 4"]);
        event.set_tail(event.head() - 8);
        assert_eq!(records(event), ["Broken"]);
        assert_eq!(event.tail(), event.head());
    }

    #[test]
    fn a_reader_that_breaks_goes_on_behind() {
        let (event, data) = bench();
        let event = event.object();
        for len in [4, 12] {
            event.output(0, &[data.part(0, len)]).expect("there is room");
        }
        event.consume(|_| ControlFlow::Break(()));
        assert_eq!(records(event), ["sample 12"]);
    }

    #[test]
    fn a_tail_from_nowhere_does_no_harm() {
        let (event, data) = bench();
        let event = event.object();
        for tail in [1, 7, 1 << 40, u64::MAX - 7, u64::MAX] {
            event.set_tail(tail);
            let _room_or_not = event.output(0, &[data.part(0, 100)]);
            let _whatever = records(event);
        }
    }
}
