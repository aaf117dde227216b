//! The buffer of a perf event: the kernel's layout and its rules of room
//! (`kernel/events/ring_buffer.c`).
//!
//! Positions count bytes for ever and are masked on use; records start at multiples of
//! eight. One byte always stays free. While samples are lost, each new record must have
//! room for a `PERF_RECORD_LOST` before it.
//!
//! The data are words that are only accessed as atomics, so that a reader whose tail
//! tells a lie sees wrong records and nothing worse.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use skep_memory::{Cells, GuestSlice, HostSegment};

use super::WakeUp;
use crate::Errno;
use crate::mutex::lock;

/// The page size that buffers are counted in, in bytes.
pub(super) const PAGE: u64 = 4096;
/// The most pages of a buffer: 1 GiB of data.
const MOST_PAGES: u32 = 1 << 18;

/// Size of `struct perf_event_header` in bytes.
pub(super) const HEADER: u64 = 8;
/// Size of a `PERF_RECORD_LOST`: a header, the event's id and how many.
const LOST_SIZE: u64 = 24;

/// `PERF_RECORD_LOST`.
pub(super) const RECORD_LOST: u32 = 2;
/// `PERF_RECORD_SAMPLE`.
pub(super) const RECORD_SAMPLE: u32 = 9;
/// `PERF_RECORD_MISC_KERNEL`: what the program interrupted ran in the kernel.
const MISC_KERNEL: u64 = 1;

/// A buffer of `2^n` pages.
#[derive(Debug)]
pub(super) struct Ring {
    data: Cells<AtomicU64>,
    /// Bytes of data, a power of two.
    size: u64,
    /// Bytes ever written (`data_head`).
    head: AtomicU64,
    /// Bytes that the reader is done with (`data_tail`), as the reader says.
    tail: AtomicU64,
    /// After how many bytes readers are woken.
    watermark: u64,
    writer: Mutex<Writer>,
}

/// What writers know.
#[derive(Debug, Default)]
struct Writer {
    /// Samples lost since the last `PERF_RECORD_LOST`.
    lost: u64,
    /// The head up to which readers were woken, by bytes.
    woken_to: u64,
    /// Samples since readers were last woken.
    events: u32,
}

impl Ring {
    /// A buffer of `pages` pages, which wakes its reader as `wakeup` says.
    ///
    /// # Errors
    ///
    /// `EINVAL` when `pages` is no power of two, `ENOMEM` when there are too many.
    pub(super) fn new(pages: u32, wakeup: WakeUp) -> Result<Self, Errno> {
        if !pages.is_power_of_two() {
            return Err(Errno::EINVAL);
        }
        if pages > MOST_PAGES {
            return Err(Errno::ENOMEM);
        }
        let size = u64::from(pages) * PAGE;
        let segment = HostSegment::anonymous(size, "buffer of a perf event");
        let data = segment.map_err(|_| Errno::ENOMEM)?.cells64(0, index(size / 8));
        let watermark = match wakeup {
            WakeUp::Watermark(bytes) if bytes > 0 => size.min(u64::from(bytes)),
            _ => size / 2,
        };
        Ok(Self {
            data,
            size,
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
            watermark,
            writer: Mutex::default(),
        })
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    pub(super) fn tail(&self) -> u64 {
        self.tail.load(Ordering::Acquire)
    }

    pub(super) fn set_tail(&self, tail: u64) {
        self.tail.store(tail, Ordering::Release);
    }

    /// Writes a `PERF_RECORD_SAMPLE` that holds raw data: `parts`, one behind the other.
    /// Says whether readers are to be woken.
    ///
    /// # Errors
    ///
    /// `ENOSPC` when there is no room; the sample is counted as lost.
    pub(super) fn sample(
        &self,
        id: u64,
        parts: &[GuestSlice<'_>],
        wakeup: WakeUp,
    ) -> Result<bool, Errno> {
        let len: u64 = parts.iter().map(|part| part.len() as u64).sum();
        // The raw data's own length counts its padding (kernel `perf_sample_save_raw_data`).
        let padded = (len + 4).next_multiple_of(8);
        // The header's size field has 16 bits, and no one sees to it that they suffice: a
        // longer record takes as much room as its truncated size says and is written
        // whole, over what comes next in the buffer.
        let size = (HEADER + padded) & u64::from(u16::MAX);
        let mut writer = lock(&self.writer);
        let lost = writer.lost;
        let needed = if lost > 0 { size + LOST_SIZE } else { size };
        let start = self.head.load(Ordering::Relaxed);
        let tail = self.tail.load(Ordering::Acquire);
        let room = tail.wrapping_sub(start + 1) & (self.size - 1);
        if room < needed {
            writer.lost += 1;
            return Err(Errno::ENOSPC);
        }
        let mut to = Output { ring: self, pos: start, word: 0, filled: 0 };
        if lost > 0 {
            to.put(header(RECORD_LOST, 0, LOST_SIZE), 8);
            to.put(id, 8);
            to.put(lost, 8);
            writer.lost = 0;
        }
        to.put(header(RECORD_SAMPLE, MISC_KERNEL, size), 8);
        to.put((padded - 4) & u64::from(u32::MAX), 4);
        parts.iter().for_each(|part| to.copy(*part));
        to.finish();
        let head = start + needed;
        let wakes = writer.wakes(head, self.watermark, wakeup);
        self.head.store(head, Ordering::Release);
        Ok(wakes)
    }

    /// Copies what stands from `pos` on out.
    pub(super) fn read(&self, pos: u64, out: &mut [u8]) {
        let mut done = 0;
        while done < out.len() {
            let at = pos.wrapping_add(done as u64);
            let word = self.cell(at).load(Ordering::Relaxed).to_le_bytes();
            let from = index(at % 8);
            let len = (8 - from).min(out.len() - done);
            out[done..done + len].copy_from_slice(&word[from..from + len]);
            done += len;
        }
    }

    /// The word that holds the byte at `pos`.
    fn cell(&self, pos: u64) -> &AtomicU64 {
        &self.data[index((pos & (self.size - 1)) / 8)]
    }
}

impl Writer {
    /// Whether readers are to be woken when the head moves to `head` with one more sample
    /// (kernel `__perf_output_begin` by bytes, `perf_output_sample` by samples).
    fn wakes(&mut self, head: u64, watermark: u64, wakeup: WakeUp) -> bool {
        let mut wakes = false;
        if head - self.woken_to > watermark {
            self.woken_to += watermark;
            wakes = true;
        }
        if let WakeUp::Events(count) = wakeup
            && count > 0
        {
            self.events += 1;
            if self.events >= count {
                self.events -= count;
                wakes = true;
            }
        }
        wakes
    }
}

/// `struct perf_event_header` as a word.
fn header(record: u32, misc: u64, size: u64) -> u64 {
    u64::from(record) | misc << 32 | size << 48
}

/// A position within a buffer, of less than 2^30 bytes.
fn index(at: u64) -> usize {
    usize::try_from(at).expect("a buffer fits into memory")
}

/// Bytes on their way into a buffer, gathered into words.
struct Output<'r> {
    ring: &'r Ring,
    /// Where `word` goes.
    pos: u64,
    word: u64,
    /// Bytes of `word` that are there, 0 to 7.
    filled: u32,
}

impl Output<'_> {
    /// Adds the `len` low bytes of a value, 1 to 8; the others are zero.
    fn put(&mut self, value: u64, len: u32) {
        self.word |= value << (8 * self.filled);
        let room = 8 - self.filled;
        if len < room {
            self.filled += len;
            return;
        }
        self.ring.cell(self.pos).store(self.word, Ordering::Relaxed);
        self.pos += 8;
        self.word = value.checked_shr(8 * room).unwrap_or(0);
        self.filled = len - room;
    }

    fn copy(&mut self, from: GuestSlice<'_>) {
        let len = u32::try_from(from.len()).expect("a guest slice is shorter than the window");
        let words = len / 8 * 8;
        for at in (0..words).step_by(8) {
            self.put(from.get::<u64>(at), 8);
        }
        for at in words..len {
            self.put(u64::from(from.get::<u8>(at)), 1);
        }
    }

    /// Writes a last word that is not full; its other bytes, the padding, stay as they
    /// were.
    fn finish(&mut self) {
        if self.filled > 0 {
            let cell = self.ring.cell(self.pos);
            let kept = cell.load(Ordering::Relaxed) & u64::MAX << (8 * self.filled);
            cell.store(self.word | kept, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_gathered_from_pieces_of_any_length() {
        let ring = Ring::new(1, WakeUp::Events(1)).expect("memory");
        let mut to = Output { ring: &ring, pos: 4088, word: 0, filled: 0 };
        to.put(0x0403_0201, 4);
        to.put(0x0c0b_0a09_0807_0605, 8);
        to.put(0x0d, 1);
        to.put(0x1514_1312_1110_0f0e, 8);
        to.finish();
        let mut bytes = [0; 21];
        ring.read(4088, &mut bytes);
        assert_eq!(bytes.to_vec(), (1..=21).collect::<Vec<u8>>());
    }

    #[test]
    fn a_buffer_has_a_power_of_two_of_pages() {
        for (pages, errno) in [
            (0, Errno::EINVAL),
            (3, Errno::EINVAL),
            (1 << 31, Errno::ENOMEM),
            (u32::MAX, Errno::EINVAL),
        ] {
            assert_eq!(Ring::new(pages, WakeUp::Events(1)).map(drop), Err(errno), "{pages}");
        }
    }
}
