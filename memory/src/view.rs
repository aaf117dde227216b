//! The accesses themselves: the only code that touches guest memory.
#![expect(unsafe_code, reason = "guest memory is reached by raw pointers")]

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use crate::{Access, Denied, Why, Window, Word, index};

/// A window's memory and shadow, ready for access; cheap to copy.
///
/// The checked accesses ([`View::load`], [`View::store`], [`View::atomic32`],
/// [`View::atomic64`]) are what programs get: they check the whole 64-bit address
/// and the shadow of each byte. Whatever the address, none leaves the window (M1).
#[derive(Debug, Clone, Copy)]
pub struct View<'w> {
    base: NonNull<u8>,
    shadow: NonNull<u8>,
    len: u64,
    window: PhantomData<&'w Window>,
}

// SAFETY: a view is a borrow of a window, which is `Sync`; all it does to the
// window's memory is volatile or atomic (M2).
unsafe impl Send for View<'_> {}
// SAFETY: as above.
unsafe impl Sync for View<'_> {}

/// A word at any alignment.
#[derive(Clone, Copy)]
#[repr(C, packed)]
struct Unaligned<W>(W);

impl<'w> View<'w> {
    /// A view of `len` bytes at `base` with their shadow at `shadow`.
    ///
    /// # Safety
    ///
    /// Both pointers must satisfy M1 for `len` as long as `'w`.
    pub(crate) unsafe fn new(base: NonNull<u8>, shadow: NonNull<u8>, len: u64) -> Self {
        Self { base, shadow, len, window: PhantomData }
    }

    /// Size of the window in bytes.
    #[inline(always)]
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the window has no bytes; it never is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The address of the window's first byte, for native code, which checks its accesses
    /// itself.
    #[must_use]
    pub fn base_ptr(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// The address of the first byte of the window's shadow.
    #[must_use]
    pub fn shadow_ptr(&self) -> *mut u8 {
        self.shadow.as_ptr()
    }

    /// Loads a word as a program would: `None` when the address is outside the
    /// window or a byte of it is not readable.
    #[inline(always)]
    #[must_use]
    pub fn load<W: Word>(&self, addr: u64) -> Option<W> {
        if addr >= self.len || !W::readable(self.shadow_word(addr)) {
            return None;
        }
        Some(self.raw_load(addr))
    }

    /// Stores a word as a program would: `false`, and nothing stored, when the
    /// address is outside the window or a byte of it is not writable.
    #[inline(always)]
    #[must_use]
    pub fn store<W: Word>(&self, addr: u64, word: W) -> bool {
        if addr >= self.len || !W::read_writable(self.shadow_word(addr)) {
            return self.store_write_only(addr, word);
        }
        self.raw_store(addr, word);
        true
    }

    /// The store when a byte may not both be read and written: it need not be readable.
    #[cold]
    #[inline(never)]
    fn store_write_only<W: Word>(self, addr: u64, word: W) -> bool {
        let allowed = addr < self.len && W::writable(self.shadow_word(addr));
        if allowed {
            self.raw_store(addr, word);
        }
        allowed
    }

    /// A readable and writable, aligned 32-bit cell for an atomic operation.
    #[inline(always)]
    #[must_use]
    pub fn atomic32(&self, addr: u64) -> Option<&'w AtomicU32> {
        if addr >= self.len
            || !addr.is_multiple_of(4)
            || !u32::read_writable(self.shadow_word(addr))
        {
            return None;
        }
        // SAFETY: `addr` is below `len`, so four bytes there are mapped for `'w`
        // (M1); the base is page-aligned, so they are aligned; others access them
        // by volatile operations and atomics alone (M2).
        Some(unsafe { AtomicU32::from_ptr(self.at(addr).cast().as_ptr()) })
    }

    /// A readable and writable, aligned 64-bit cell for an atomic operation.
    #[inline(always)]
    #[must_use]
    pub fn atomic64(&self, addr: u64) -> Option<&'w AtomicU64> {
        if addr >= self.len
            || !addr.is_multiple_of(8)
            || !u64::read_writable(self.shadow_word(addr))
        {
            return None;
        }
        // SAFETY: as in `atomic32`, with eight bytes.
        Some(unsafe { AtomicU64::from_ptr(self.at(addr).cast().as_ptr()) })
    }

    /// Loads an aligned word with acquire ordering, as a program would.
    #[inline]
    #[must_use]
    pub fn load_acquire<W: Word>(&self, addr: u64) -> Option<W> {
        if !addr.is_multiple_of(u64::from(W::SIZE)) {
            return None;
        }
        let word = self.load(addr);
        // A fence behind a load gives it at least the order of a load-acquire.
        fence(Ordering::Acquire);
        word
    }

    /// Stores an aligned word with release ordering, as a program would.
    #[inline]
    #[must_use]
    pub fn store_release<W: Word>(&self, addr: u64, word: W) -> bool {
        // A fence before a store gives it at least the order of a store-release.
        fence(Ordering::Release);
        addr.is_multiple_of(u64::from(W::SIZE)) && self.store(addr, word)
    }

    /// Checks that a program may access each of `size` bytes at `addr`.
    ///
    /// # Errors
    ///
    /// [`Denied`] with the first byte that grants too little. An access of no
    /// bytes is always allowed.
    #[inline]
    pub fn check(&self, addr: u64, size: u64, wanted: Access) -> Result<(), Denied> {
        let Some(end) = addr.checked_add(size).filter(|&end| end <= self.len || size == 0) else {
            return Err(self.denied(addr, size, wanted));
        };
        let mut at = addr;
        while at < end && end - at >= 8 {
            if !allows(self.shadow_word::<u64>(at), wanted) {
                return Err(self.denied(addr, size, wanted));
            }
            at += 8;
        }
        while at < end {
            if !allows(self.shadow_word::<u8>(at), wanted) {
                return Err(self.denied(addr, size, wanted));
            }
            at += 1;
        }
        Ok(())
    }

    /// What was wrong with an access that was denied: its first byte that grants
    /// too little, or its alignment.
    #[cold]
    #[must_use]
    pub fn denied(&self, addr: u64, size: u64, wanted: Access) -> Denied {
        let end = addr.saturating_add(size).min(self.len);
        let bad = (addr..end).find(|&at| !self.access(at).allows(wanted));
        let (first, why) = match bad {
            Some(at) => (at, Why::Byte(self.access(at))),
            None if size > self.len.saturating_sub(addr) => (addr.max(self.len), Why::Outside),
            None => (addr, Why::Misaligned),
        };
        Denied { addr, size, wanted, first, why }
    }

    /// The rights of the byte at `addr`; none outside the window.
    #[must_use]
    pub fn access(&self, addr: u64) -> Access {
        if addr >= self.len { Access::None } else { Access::of_shadow(self.shadow_word(addr)) }
    }

    /// Loads a word of host-owned data, whatever its shadow says.
    #[inline(always)]
    pub(crate) fn peek<W: Word>(&self, at: u32) -> W {
        assert!(u64::from(at) < self.len, "guest pointer beyond the window");
        self.raw_load(u64::from(at))
    }

    /// Stores a word of host-owned data, whatever its shadow says.
    #[inline(always)]
    pub(crate) fn poke<W: Word>(&self, at: u32, word: W) {
        assert!(u64::from(at) < self.len, "guest pointer beyond the window");
        self.raw_store(u64::from(at), word);
    }

    /// A 64-bit cell of host-owned data, whatever its shadow says.
    #[inline]
    pub(crate) fn cell64(&self, at: u32) -> &'w AtomicU64 {
        assert!(u64::from(at) < self.len && at.is_multiple_of(8), "an aligned guest pointer");
        // SAFETY: as in `atomic64`.
        unsafe { AtomicU64::from_ptr(self.at(u64::from(at)).cast().as_ptr()) }
    }

    /// A 32-bit cell of host-owned data, whatever its shadow says.
    #[inline]
    pub(crate) fn cell32(&self, at: u32) -> &'w AtomicU32 {
        assert!(u64::from(at) < self.len && at.is_multiple_of(4), "an aligned guest pointer");
        // SAFETY: as in `atomic32`.
        unsafe { AtomicU32::from_ptr(self.at(u64::from(at)).cast().as_ptr()) }
    }

    /// Writes `byte` to `len` bytes of the shadow from `at`.
    pub(crate) fn fill_shadow(&self, at: u64, len: u64, byte: u8) {
        assert!(at.saturating_add(len) <= self.len, "a range of the window");
        fill(self.shadow, at, len, byte);
    }

    /// Writes `byte` to `len` bytes of guest memory from `at`.
    pub(crate) fn fill_memory(&self, at: u64, len: u64, byte: u8) {
        assert!(at.saturating_add(len) <= self.len, "a range of the window");
        fill(self.base, at, len, byte);
    }

    #[inline(always)]
    fn at(&self, addr: u64) -> NonNull<u8> {
        debug_assert!(addr < self.len);
        // SAFETY: `addr` is below `len`, so the result points into the mapping (M1).
        unsafe { self.base.add(index(addr)) }
    }

    #[inline(always)]
    fn raw_load<W: Word>(&self, addr: u64) -> W {
        let from = self.at(addr).cast::<Unaligned<W>>().as_ptr();
        // SAFETY: up to eight bytes from an address below `len` are mapped (M1);
        // `Unaligned` has alignment 1 and any bytes are a `W`; volatile (M2).
        unsafe { from.read_volatile() }.0
    }

    #[inline(always)]
    fn raw_store<W: Word>(&self, addr: u64, word: W) {
        let to = self.at(addr).cast::<Unaligned<W>>().as_ptr();
        // SAFETY: as in `raw_load`.
        unsafe { to.write_volatile(Unaligned(word)) }
    }

    #[inline(always)]
    fn shadow_word<W: Word>(&self, addr: u64) -> W {
        debug_assert!(addr < self.len);
        // SAFETY: `addr` is below `len`, so this points into the shadow's mapping (M1).
        let from = unsafe { self.shadow.add(index(addr)) };
        let from = from.cast::<Unaligned<W>>().as_ptr();
        // SAFETY: as in `raw_load`, for the shadow.
        unsafe { from.read_volatile() }.0
    }
}

#[inline(always)]
fn allows<W: Word>(shadow: W, wanted: Access) -> bool {
    match wanted {
        Access::None => true,
        Access::Read => W::readable(shadow),
        Access::Write => W::writable(shadow),
        Access::ReadWrite => W::read_writable(shadow),
    }
}

/// Fills `start..start + len` behind `base`, which the caller has checked against
/// the window.
fn fill(base: NonNull<u8>, start: u64, len: u64, byte: u8) {
    let word = u64::from_ne_bytes([byte; 8]);
    let end = start + len;
    let mut at = start;
    while at + 8 <= end {
        // SAFETY: the callers checked `end` against the mapping (M1).
        let to = unsafe { base.add(index(at)) }.cast::<Unaligned<u64>>().as_ptr();
        // SAFETY: eight bytes there are mapped; alignment 1; volatile (M2).
        unsafe { to.write_volatile(Unaligned(word)) };
        at += 8;
    }
    while at < end {
        // SAFETY: as above.
        let to = unsafe { base.add(index(at)) }.as_ptr();
        // SAFETY: as above, one byte.
        unsafe { to.write_volatile(byte) };
        at += 1;
    }
}
