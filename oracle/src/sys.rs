//! The system calls: `bpf(2)`, the buffers it reads and writes, `perf_event_open(2)` and
//! `mmap`.
//!
//! Invariant K1: an address in an [`Attr`] is that of a [`Buf`] which outlives the
//! call. A `Buf` is a mapping of its own whose last byte is followed by a page
//! without access, so whatever length the kernel takes the buffer for, it reads
//! and writes there or answers `EFAULT`.
//!
//! Invariant K2: a [`Mapping`] stays mapped, readable, for as long as it lives, and
//! is read and written by atomic accesses only, since the kernel writes it too.

#![expect(unsafe_code, reason = "bpf(2), perf_event_open(2) and mmap have no safe wrapper")]

use std::ffi::c_void;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::{io, slice};

use rustix::mm::{self, MapFlags, MprotectFlags, ProtFlags};

use crate::Errno;

/// Bytes of a page.
pub(crate) fn page() -> usize {
    rustix::param::page_size()
}

/// `enum bpf_cmd` of the UAPI.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cmd {
    MapCreate = 0,
    MapLookup = 1,
    MapUpdate = 2,
    MapDelete = 3,
    MapGetNextKey = 4,
    ProgLoad = 5,
    ProgTestRun = 10,
    MapGetFdById = 14,
    GetInfoByFd = 15,
    BtfLoad = 18,
    MapLookupAndDelete = 21,
    MapFreeze = 22,
    MapLookupBatch = 24,
    MapLookupAndDeleteBatch = 25,
    MapUpdateBatch = 26,
    MapDeleteBatch = 27,
}

/// Memory lent to the kernel: `len` bytes, then a page without access (K1).
#[derive(Debug)]
pub(crate) struct Buf {
    base: NonNull<c_void>,
    mapped: usize,
    start: usize,
    len: usize,
}

impl Buf {
    /// `len` zero bytes.
    pub(crate) fn zeroed(len: usize) -> Self {
        let body = len.next_multiple_of(page());
        let mapped = body + page();
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice
        // overlaps nothing.
        let base = unsafe {
            mm::mmap_anonymous(
                ptr::null_mut(),
                mapped,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        }
        .expect("a buffer for bpf(2) can be mapped");
        let base = NonNull::new(base).expect("mmap never maps page zero");
        let this = Self { base, mapped, start: body - len, len };
        let guard = this.base.as_ptr().wrapping_byte_add(body);
        // SAFETY: the last page of the mapping made above, which nothing refers to.
        unsafe { mm::mprotect(guard, page(), MprotectFlags::empty()) }
            .expect("a page of an own mapping can be protected");
        this
    }

    /// A copy of `bytes`.
    pub(crate) fn copy_of(bytes: &[u8]) -> Self {
        let mut this = Self::zeroed(bytes.len());
        this.bytes_mut().copy_from_slice(bytes);
        this
    }

    /// The bytes as they are now.
    pub(crate) fn bytes(&self) -> &[u8] {
        let start = self.base.as_ptr().wrapping_byte_add(self.start).cast::<u8>();
        // SAFETY: `len` mapped, initialised bytes end where the guard page begins;
        // the kernel writes them only during a call, which borrows `self` mutably (K1).
        unsafe { slice::from_raw_parts(start, self.len) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let start = self.base.as_ptr().wrapping_byte_add(self.start).cast::<u8>();
        // SAFETY: as in `bytes`, and `self` is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(start, self.len) }
    }

    fn address(&self) -> u64 {
        self.base.as_ptr().wrapping_byte_add(self.start).addr() as u64
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        // SAFETY: the mapping belongs to `self`, and no borrow of it is left.
        unsafe { mm::munmap(self.base.as_ptr(), self.mapped) }
            .expect("an own mapping can be unmapped");
    }
}

/// `union bpf_attr`, written by offset; the buffers it points at stay borrowed.
#[derive(Debug)]
pub(crate) struct Attr<'b> {
    bytes: [u64; 24],
    len: usize,
    bufs: PhantomData<&'b mut Buf>,
}

impl<'b> Attr<'b> {
    /// An attribute of `len` zero bytes.
    pub(crate) fn new(len: usize) -> Self {
        assert!(len <= 24 * 8, "bpf_attr is shorter than {len} bytes");
        Self { bytes: [0; 24], len, bufs: PhantomData }
    }

    /// Writes a 32-bit field.
    pub(crate) fn u32(&mut self, at: usize, value: u32) -> &mut Self {
        let shift = at % 8 * 8;
        let word = &mut self.bytes[at / 8];
        *word = *word & !(0xffff_ffff << shift) | u64::from(value) << shift;
        self
    }

    /// Writes a 64-bit field that is not an address.
    pub(crate) fn u64(&mut self, at: usize, value: u64) -> &mut Self {
        assert!(at.is_multiple_of(8), "a 64-bit field is aligned");
        self.bytes[at / 8] = value;
        self
    }

    /// Writes a name of at most 16 bytes.
    pub(crate) fn name(&mut self, at: usize, name: &str) -> &mut Self {
        let mut bytes = [0; 16];
        let len = name.len().min(16);
        bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
        for (i, &word) in bytes.as_chunks::<4>().0.iter().enumerate() {
            self.u32(at + 4 * i, u32::from_le_bytes(word));
        }
        self
    }

    /// Writes the address of `buf`, which the kernel may read and write (K1).
    pub(crate) fn buf(&mut self, at: usize, buf: &'b mut Buf) -> &mut Self {
        self.u64(at, buf.address())
    }

    /// Writes the address of `buf`, or NULL.
    pub(crate) fn opt(&mut self, at: usize, buf: Option<&'b mut Buf>) -> &mut Self {
        if let Some(buf) = buf {
            self.buf(at, buf);
        }
        self
    }

    /// Reads a 32-bit field, after the call as the kernel left it.
    pub(crate) fn get_u32(&self, at: usize) -> u32 {
        let bytes = (self.bytes[at / 8] >> (at % 8 * 8)).to_le_bytes();
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    /// Makes the system call.
    pub(crate) fn call(&mut self, cmd: Cmd) -> Result<i32, Errno> {
        // SAFETY: `bytes` holds `len` bytes and more, and every address in them is
        // that of a `Buf` borrowed for `'b` (K1).
        let ret = unsafe {
            libc::syscall(libc::SYS_bpf, cmd as libc::c_int, self.bytes.as_mut_ptr(), self.len)
        };
        checked(ret)
    }

    /// Makes a system call that returns a new file descriptor.
    pub(crate) fn call_fd(&mut self, cmd: Cmd) -> Result<OwnedFd, Errno> {
        debug_assert!(matches!(
            cmd,
            Cmd::MapCreate | Cmd::ProgLoad | Cmd::BtfLoad | Cmd::MapGetFdById
        ));
        let fd = self.call(cmd)?;
        // SAFETY: these commands return a new descriptor that nobody else owns.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

/// `struct perf_event_attr` of the UAPI, up to and with `aux_sample_size`'s successor: 136
/// bytes in words of 8, of which a test sets few.
pub(crate) type PerfAttr = [u64; 17];

/// Opens an event that counts or samples on one CPU, or, without a CPU, this thread.
pub(crate) fn perf_event_open(attr: &PerfAttr, cpu: Option<u32>) -> Result<OwnedFd, Errno> {
    const CLOEXEC: libc::c_ulong = 1 << 3;
    let (pid, cpu) = match cpu {
        Some(cpu) => (-1, libc::c_int::try_from(cpu).map_err(|_| Errno::EINVAL)?),
        None => (0, -1),
    };
    // SAFETY: the kernel reads `attr`, whose second word holds its size, and writes that
    // field alone when it knows another size; no other address is passed.
    let ret = unsafe {
        libc::syscall(libc::SYS_perf_event_open, &raw const *attr, pid, cpu, -1, CLOEXEC)
    };
    let fd = checked(ret)?;
    // SAFETY: the call returned a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The id that records of an event carry (`PERF_EVENT_IOC_ID`).
pub(crate) fn perf_event_id(fd: impl AsFd) -> Result<u64, Errno> {
    const ID: libc::c_ulong = 0x8008_2407;
    let mut id = 0u64;
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: the request writes the eight bytes of `id`.
    let ret = unsafe { libc::ioctl(fd, ID, &raw mut id) };
    checked(libc::c_long::from(ret)).map(|_| id)
}

/// What a system call returned, or its errno.
fn checked(ret: libc::c_long) -> Result<i32, Errno> {
    if ret < 0 {
        let errno = io::Error::last_os_error().raw_os_error();
        return Err(Errno(errno.expect("a failed system call sets errno")));
    }
    Ok(i32::try_from(ret).expect("the call returns an int"))
}

/// Who may write a [`Mapping`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// Kernel and process.
    ReadWrite,
    /// The kernel alone.
    ReadOnly,
}

/// Memory of a map, shared with the kernel (K2).
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<c_void>,
    len: usize,
    share: Share,
}

// SAFETY: a mapping belongs to the process, not to a thread, and is only accessed
// atomically (K2).
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps `len` bytes of `fd` from `offset` on.
    pub(crate) fn new(fd: impl AsFd, offset: u64, len: usize, share: Share) -> Result<Self, Errno> {
        let prot = match share {
            Share::ReadWrite => ProtFlags::READ | ProtFlags::WRITE,
            Share::ReadOnly => ProtFlags::READ,
        };
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps
        // nothing.
        let base = unsafe { mm::mmap(ptr::null_mut(), len, prot, MapFlags::SHARED, fd, offset) }
            .map_err(|e| Errno(e.raw_os_error()))?;
        let base = NonNull::new(base).expect("mmap never maps page zero");
        Ok(Self { base, len, share })
    }

    fn at(&self, offset: usize, width: usize) -> *mut u8 {
        assert!(offset.is_multiple_of(width), "an atomic access is aligned");
        assert!(offset + width <= self.len, "{offset}+{width} is outside {} bytes", self.len);
        self.base.as_ptr().wrapping_byte_add(offset).cast()
    }

    /// Loads 8 bytes, acquiring.
    pub(crate) fn load_u64(&self, offset: usize) -> u64 {
        let at = self.at(offset, 8).cast();
        // SAFETY: `at` checked that 8 aligned bytes lie in the mapping (K2).
        unsafe { AtomicU64::from_ptr(at) }.load(Ordering::Acquire)
    }

    /// Stores 8 bytes, releasing.
    pub(crate) fn store_u64(&self, offset: usize, value: u64) {
        assert_eq!(self.share, Share::ReadWrite, "the mapping is not writable");
        let at = self.at(offset, 8).cast();
        // SAFETY: `at` checked that 8 aligned bytes lie in the mapping (K2).
        unsafe { AtomicU64::from_ptr(at) }.store(value, Ordering::Release);
    }

    /// Loads 4 bytes, acquiring.
    pub(crate) fn load_u32(&self, offset: usize) -> u32 {
        let at = self.at(offset, 4).cast();
        // SAFETY: `at` checked that 4 aligned bytes lie in the mapping (K2).
        unsafe { AtomicU32::from_ptr(at) }.load(Ordering::Acquire)
    }

    /// Stores 4 bytes, releasing.
    pub(crate) fn store_u32(&self, offset: usize, value: u32) {
        assert_eq!(self.share, Share::ReadWrite, "the mapping is not writable");
        let at = self.at(offset, 4).cast();
        // SAFETY: `at` checked that 4 aligned bytes lie in the mapping (K2).
        unsafe { AtomicU32::from_ptr(at) }.store(value, Ordering::Release);
    }

    /// Copies bytes in.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        assert_eq!(self.share, Share::ReadWrite, "the mapping is not writable");
        for (i, &byte) in bytes.iter().enumerate() {
            let at = self.at(offset + i, 1);
            // SAFETY: `at` checked that the byte lies in the mapping (K2).
            unsafe { AtomicU8::from_ptr(at) }.store(byte, Ordering::Relaxed);
        }
    }

    /// Copies `len` bytes out.
    pub(crate) fn copy(&self, offset: usize, len: usize) -> Vec<u8> {
        (offset..offset + len)
            .map(|i| {
                let at = self.at(i, 1);
                // SAFETY: `at` checked that the byte lies in the mapping (K2).
                unsafe { AtomicU8::from_ptr(at) }.load(Ordering::Relaxed)
            })
            .collect()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping belongs to `self`, and no access to it is under way.
        unsafe { mm::munmap(self.base.as_ptr(), self.len) }
            .expect("an own mapping can be unmapped");
    }
}
