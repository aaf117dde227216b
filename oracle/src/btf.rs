//! Types for maps with special fields and for programs with callbacks.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::sys::{Attr, Buf, Cmd};
use crate::{Errno, Kernel};

/// Types in the kernel; gone when dropped.
#[derive(Debug)]
pub struct Btf {
    fd: OwnedFd,
}

impl Kernel {
    /// Loads a BTF blob.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn load_btf(&self, blob: &[u8]) -> Result<Btf, Errno> {
        let mut buf = Buf::copy_of(blob);
        let mut attr = Attr::new(32);
        attr.buf(0, &mut buf);
        attr.u32(16, u32::try_from(blob.len()).map_err(|_| Errno::E2BIG)?);
        attr.call_fd(Cmd::BtfLoad).map(|fd| Btf { fd })
    }
}

impl Btf {
    /// The descriptor's number.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Writes a BTF blob, type by type; each method returns the new type's id.
#[derive(Debug, Clone, Default)]
pub struct BtfWriter {
    types: Vec<u8>,
    strings: Vec<u8>,
    last: u32,
}

const KIND_INT: u32 = 1;
const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_DECL_TAG: u32 = 17;
const KIND_TYPE_TAG: u32 = 18;
const INT_SIGNED: u32 = 1 << 24;

impl BtfWriter {
    /// No types but `void`, whose id is 0.
    #[must_use]
    pub fn new() -> Self {
        Self { types: Vec::new(), strings: vec![0], last: 0 }
    }

    /// A signed integer of `size` bytes.
    pub fn int(&mut self, name: &str, size: u32) -> u32 {
        let name = self.string(name);
        self.put(&[name, KIND_INT << 24, size, INT_SIGNED | (size * 8)])
    }

    /// A pointer.
    pub fn ptr(&mut self, to: u32) -> u32 {
        self.put(&[0, KIND_PTR << 24, to])
    }

    /// `len` elements of a type, counted by the integer type `index`.
    pub fn array(&mut self, element: u32, index: u32, len: u32) -> u32 {
        self.put(&[0, KIND_ARRAY << 24, 0, element, index, len])
    }

    /// A type with a tag, as pointers' targets have one.
    pub fn type_tag(&mut self, tag: &str, target: u32) -> u32 {
        let name = self.string(tag);
        self.put(&[name, KIND_TYPE_TAG << 24, target])
    }

    /// A tag on a member of a structure, by the member's index.
    pub fn decl_tag(&mut self, tag: &str, target: u32, member: u32) -> u32 {
        let name = self.string(tag);
        self.put(&[name, KIND_DECL_TAG << 24, target, member])
    }

    /// A structure of `(name, type, offset in bytes)`.
    pub fn structure(&mut self, name: &str, size: u32, members: &[(&str, u32, u32)]) -> u32 {
        let mut words = vec![self.string(name), KIND_STRUCT << 24 | vlen(members.len()), size];
        for &(name, id, offset) in members {
            words.extend([self.string(name), id, offset * 8]);
        }
        self.put(&words)
    }

    /// A static function `returns name(parameters)`; its prototype is made with it.
    pub fn func(&mut self, name: &str, returns: u32, parameters: &[(&str, u32)]) -> u32 {
        let mut words = vec![0, KIND_FUNC_PROTO << 24 | vlen(parameters.len()), returns];
        for &(name, id) in parameters {
            words.extend([self.string(name), id]);
        }
        let proto = self.put(&words);
        let name = self.string(name);
        self.put(&[name, KIND_FUNC << 24, proto])
    }

    /// The blob.
    #[must_use]
    pub fn blob(&self) -> Vec<u8> {
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).expect("the blob is small");
        let mut blob = vec![0x9f, 0xeb, 1, 0];
        let types = len(&self.types);
        for word in [24, 0, types, types, len(&self.strings)] {
            blob.extend(word.to_ne_bytes());
        }
        blob.extend(&self.types);
        blob.extend(&self.strings);
        blob
    }

    fn string(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = u32::try_from(self.strings.len()).expect("the blob is small");
        self.strings.extend(name.as_bytes());
        self.strings.push(0);
        at
    }

    fn put(&mut self, words: &[u32]) -> u32 {
        self.types.extend(words.iter().flat_map(|w| w.to_ne_bytes()));
        self.last += 1;
        self.last
    }
}

fn vlen(len: usize) -> u32 {
    u32::from(u16::try_from(len).expect("a type has fewer than 65,536 members"))
}
