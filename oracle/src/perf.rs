//! Perf events on this process's own CPUs, for maps that hold them.
//!
//! No event here samples or traces anything: they are what `perf_event_output` writes
//! to, or software counters.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::sys::{self, Mapping, Share, page};
use crate::{Errno, Kernel};

/// `PERF_TYPE_SOFTWARE`.
pub const TYPE_SOFTWARE: u32 = 1;
/// `PERF_COUNT_SW_CPU_CLOCK`.
pub const CPU_CLOCK: u64 = 0;
/// `PERF_COUNT_SW_DUMMY`.
pub const DUMMY: u64 = 9;
/// `PERF_COUNT_SW_BPF_OUTPUT`.
pub const BPF_OUTPUT: u64 = 10;

const SAMPLE_RAW: u64 = 1 << 10;
const FLAG_DISABLED: u64 = 1 << 0;
const FLAG_INHERIT: u64 = 1 << 1;
const FLAG_WATERMARK: u64 = 1 << 14;

/// Where the first page of a mapped event has its positions.
const DATA_HEAD: usize = 1024;
const DATA_TAIL: usize = 1032;

/// What an event is made from; fields of `struct perf_event_attr`.
#[derive(Debug, Clone)]
pub struct PerfSpec {
    /// `PERF_COUNT_SW_*`, or the configuration of another type.
    pub config: u64,
    /// The CPU; `None` for the calling thread on any.
    pub cpu: Option<u32>,
    /// Pages of its buffer, a power of two; 0 for none.
    pub pages: usize,
    /// After how many samples readers are woken; 0 for by bytes.
    pub wakeup_events: u32,
    /// After how many bytes readers are woken, instead of by samples.
    pub watermark: Option<u32>,
    /// Whether it starts disabled.
    pub disabled: bool,
    /// Whether children inherit it.
    pub inherit: bool,
}

impl PerfSpec {
    /// What `perf_event_output` of programs on `cpu` goes to, with a wake-up for each
    /// sample, as libbpf opens it.
    #[must_use]
    pub fn output(cpu: u32, pages: usize) -> Self {
        Self {
            config: BPF_OUTPUT,
            cpu: Some(cpu),
            pages,
            wakeup_events: 1,
            watermark: None,
            disabled: false,
            inherit: false,
        }
    }
}

/// An open event; closed when dropped.
#[derive(Debug)]
pub struct PerfEvent {
    fd: OwnedFd,
    ring: Option<Mapping>,
    mask: u64,
}

impl Kernel {
    /// Opens a software event.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn open_event(&self, spec: &PerfSpec) -> Result<PerfEvent, Errno> {
        let mut flags = 0;
        for (set, flag) in [
            (spec.disabled, FLAG_DISABLED),
            (spec.inherit, FLAG_INHERIT),
            (spec.watermark.is_some(), FLAG_WATERMARK),
        ] {
            flags |= if set { flag } else { 0 };
        }
        let mut attr: sys::PerfAttr = [0; 17];
        attr[0] = u64::from(TYPE_SOFTWARE) | (size_of_val(&attr) as u64) << 32;
        attr[1] = spec.config;
        attr[2] = u64::from(spec.config == BPF_OUTPUT);
        attr[3] = if spec.config == BPF_OUTPUT { SAMPLE_RAW } else { 0 };
        attr[5] = flags;
        attr[6] = u64::from(spec.watermark.unwrap_or(spec.wakeup_events));
        let fd = sys::perf_event_open(&attr, spec.cpu)?;
        let len = spec.pages * page();
        let ring = match spec.pages {
            0 => None,
            _ => Some(Mapping::new(&fd, 0, page() + len, Share::ReadWrite)?),
        };
        Ok(PerfEvent { fd, ring, mask: (len as u64).wrapping_sub(1) })
    }
}

impl PerfEvent {
    /// The descriptor's number, for the values of arrays of events.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// The id in `PERF_RECORD_LOST`.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn id(&self) -> Result<u64, Errno> {
        sys::perf_event_id(&self.fd)
    }

    /// How many bytes were ever written.
    ///
    /// # Panics
    /// When it has no buffer.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.ring().load_u64(DATA_HEAD)
    }

    /// How many of them the reader has done with.
    ///
    /// # Panics
    /// When it has no buffer.
    #[must_use]
    pub fn tail(&self) -> u64 {
        self.ring().load_u64(DATA_TAIL)
    }

    /// Says how many bytes the reader has done with, any number.
    ///
    /// # Panics
    /// When it has no buffer.
    pub fn set_tail(&self, tail: u64) {
        self.ring().store_u64(DATA_TAIL, tail);
    }

    /// `len` bytes of the buffer from position `pos` on.
    ///
    /// # Panics
    /// When it has no buffer.
    #[must_use]
    pub fn bytes(&self, pos: u64, len: usize) -> Vec<u8> {
        let byte = |at: u64| {
            let at = usize::try_from(at & self.mask).expect("a buffer fits into memory");
            self.ring().copy(page() + at, 1)[0]
        };
        (pos..pos + len as u64).map(byte).collect()
    }

    /// Whether it has a buffer.
    #[must_use]
    pub fn has_buffer(&self) -> bool {
        self.ring.is_some()
    }

    /// Takes the next record, header included.
    ///
    /// # Panics
    /// When it has no buffer.
    pub fn pop(&self) -> Option<Vec<u8>> {
        let tail = self.tail();
        if tail >= self.head() {
            return None;
        }
        let size = self.bytes(tail + 6, 2);
        let size = u16::from_ne_bytes([size[0], size[1]]);
        let record = self.bytes(tail, usize::from(size));
        self.set_tail(tail + u64::from(size));
        Some(record)
    }

    /// Whether readers were woken since this was last asked.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn woken(&self) -> Result<bool, Errno> {
        readable(&self.fd)
    }

    fn ring(&self) -> &Mapping {
        self.ring.as_ref().expect("the event has a buffer")
    }
}

/// Whether a descriptor is readable now. Wake-ups from programs come by an interrupt
/// shortly after, hence the wait.
fn readable(fd: impl AsFd) -> Result<bool, Errno> {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    let wait = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };
    let ready = poll(&mut fds, Some(&wait)).map_err(|e| Errno(e.raw_os_error()))?;
    Ok(ready > 0 && fds[0].revents().contains(PollFlags::IN))
}
