//! Maps through the system call.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::{fs, io};

use crate::sys::{Attr, Buf, Cmd};
use crate::{Btf, Errno, Kernel, map_type};

/// What a map is made from; the fields of `BPF_MAP_CREATE`, unchecked.
#[derive(Debug, Clone, Default)]
pub struct MapSpec<'a> {
    /// `enum bpf_map_type`.
    pub map_type: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Entries, or bytes of a ring buffer.
    pub max_entries: u32,
    /// `BPF_F_*`.
    pub flags: u32,
    /// Type-specific extra.
    pub map_extra: u64,
    /// The NUMA node, heeded with `BPF_F_NUMA_NODE`.
    pub numa_node: u32,
    /// The map's name, at most 15 bytes for the kernel to accept it.
    pub name: &'a str,
    /// The template for inner maps.
    pub inner: Option<&'a Map>,
    /// Types with the ids of key and value: `(types, key, value)`.
    pub btf: Option<(&'a Btf, u32, u32)>,
}

impl<'a> MapSpec<'a> {
    /// A map without flags.
    #[must_use]
    pub fn new(map_type: u32, key_size: u32, value_size: u32, max_entries: u32) -> Self {
        Self { map_type, key_size, value_size, max_entries, ..Self::default() }
    }

    /// Sets the `BPF_F_*` flags.
    #[must_use]
    pub fn flags(mut self, flags: u32) -> Self {
        self.flags = flags;
        self
    }

    /// Sets the template for inner maps.
    #[must_use]
    pub fn inner(mut self, inner: &'a Map) -> Self {
        self.inner = Some(inner);
        self
    }

    /// Sets the types of key and value.
    #[must_use]
    pub fn btf(mut self, btf: &'a Btf, key: u32, value: u32) -> Self {
        self.btf = Some((btf, key, value));
        self
    }
}

/// A map in the kernel; gone when dropped.
///
/// Keys and values are bytes of any length; the kernel reads the map's sizes, so a
/// slice that is too short gives `EFAULT`. An empty slice is passed as NULL.
#[derive(Debug)]
pub struct Map {
    fd: OwnedFd,
    info: MapInfo,
    value_len: usize,
}

/// What the kernel tells of a map (`struct bpf_map_info`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MapInfo {
    /// `enum bpf_map_type`.
    pub map_type: u32,
    /// The map's id, which maps of maps return for it.
    pub id: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value, on one CPU.
    pub value_size: u32,
    /// Entries.
    pub max_entries: u32,
    /// Flags, as the kernel kept them.
    pub flags: u32,
    /// Type-specific extra.
    pub map_extra: u64,
    /// The name.
    pub name: String,
}

impl Kernel {
    /// Creates a map.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn create_map(&self, spec: &MapSpec<'_>) -> Result<Map, Errno> {
        let mut attr = Attr::new(72);
        attr.u32(0, spec.map_type).u32(4, spec.key_size).u32(8, spec.value_size);
        attr.u32(12, spec.max_entries).u32(16, spec.flags).u32(24, spec.numa_node);
        attr.name(28, spec.name).u64(64, spec.map_extra);
        if let Some(inner) = spec.inner {
            attr.u32(20, inner.fd().cast_unsigned());
        }
        if let Some((btf, key, value)) = spec.btf {
            attr.u32(48, btf.fd().cast_unsigned()).u32(52, key).u32(56, value);
        }
        let fd = attr.call_fd(Cmd::MapCreate)?;
        let info = info(fd.as_fd())?;
        let value_len = self.value_len(&info);
        Ok(Map { fd, info, value_len })
    }

    /// Bytes of a value as the system call sees it.
    fn value_len(&self, info: &MapInfo) -> usize {
        let size = info.value_size as usize;
        match info.map_type {
            map_type::PERCPU_HASH | map_type::PERCPU_ARRAY | map_type::LRU_PERCPU_HASH => {
                size.next_multiple_of(8) * self.possible_cpus()
            }
            _ => size,
        }
    }
}

impl Map {
    /// The descriptor's number, for `lddw` and for values of maps of maps.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// What the kernel told when the map was created.
    #[must_use]
    pub fn info(&self) -> &MapInfo {
        &self.info
    }

    /// Asks the kernel for the map's information anew.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn read_info(&self) -> Result<MapInfo, Errno> {
        info(self.fd.as_fd())
    }

    /// Another open file of the same map, by the map's own id (`BPF_MAP_GET_FD_BY_ID`).
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn reopen(&self) -> Result<Self, Errno> {
        let mut attr = Attr::new(12);
        attr.u32(0, self.info.id);
        let fd = attr.call_fd(Cmd::MapGetFdById)?;
        Ok(Self { fd, info: self.info.clone(), value_len: self.value_len })
    }

    /// Bytes of a value as the system call sees it: all CPUs' slots for per-CPU maps.
    #[must_use]
    pub fn value_len(&self) -> usize {
        self.value_len
    }

    /// `BPF_MAP_LOOKUP_ELEM`.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn lookup(&self, key: &[u8], flags: u64) -> Result<Vec<u8>, Errno> {
        self.lookup_with(key, &vec![0; self.value_len], flags)
    }

    /// `BPF_MAP_LOOKUP_ELEM` with a value buffer that holds `value` before the
    /// call (bloom filters read it).
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn lookup_with(&self, key: &[u8], value: &[u8], flags: u64) -> Result<Vec<u8>, Errno> {
        self.fetch(Cmd::MapLookup, key, value, flags)
    }

    /// `BPF_MAP_LOOKUP_AND_DELETE_ELEM`.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn lookup_and_delete(&self, key: &[u8], flags: u64) -> Result<Vec<u8>, Errno> {
        self.fetch(Cmd::MapLookupAndDelete, key, &vec![0; self.value_len], flags)
    }

    /// `BPF_MAP_UPDATE_ELEM`.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.fetch(Cmd::MapUpdate, key, value, flags).map(drop)
    }

    /// `BPF_MAP_DELETE_ELEM`.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        self.delete_with(key, 0)
    }

    /// `BPF_MAP_DELETE_ELEM` with a `flags` field, which lies past the command's
    /// last one.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn delete_with(&self, key: &[u8], flags: u64) -> Result<(), Errno> {
        let mut key = nullable(key);
        let mut attr = self.elem();
        attr.opt(8, key.as_mut()).u64(24, flags);
        attr.call(Cmd::MapDelete).map(drop)
    }

    /// `BPF_MAP_GET_NEXT_KEY`; an empty `key` asks for the first.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn get_next_key(&self, key: &[u8]) -> Result<Vec<u8>, Errno> {
        self.get_next_key_with(key, 0)
    }

    /// `BPF_MAP_GET_NEXT_KEY` with a `flags` field, which lies past the command's
    /// last one.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn get_next_key_with(&self, key: &[u8], flags: u64) -> Result<Vec<u8>, Errno> {
        let mut key = nullable(key);
        let mut next = Buf::zeroed(self.info.key_size as usize);
        let mut attr = self.elem();
        attr.opt(8, key.as_mut()).buf(16, &mut next).u64(24, flags);
        attr.call(Cmd::MapGetNextKey)?;
        Ok(next.bytes().to_vec())
    }

    /// Every key, in the kernel's order.
    ///
    /// # Errors
    /// The kernel's errno, where it is not the end of the map.
    pub fn keys(&self) -> Result<Vec<Vec<u8>>, Errno> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        loop {
            let last = keys.last().map_or(&[][..], Vec::as_slice);
            match self.get_next_key(last) {
                Ok(key) => keys.push(key),
                Err(Errno::ENOENT) => return Ok(keys),
                Err(errno) => return Err(errno),
            }
        }
    }

    /// `BPF_MAP_FREEZE`.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn freeze(&self) -> Result<(), Errno> {
        let mut attr = Attr::new(4);
        attr.u32(0, self.fd().cast_unsigned());
        attr.call(Cmd::MapFreeze).map(drop)
    }

    /// The bytes that the kernel charges for the map: `memlock` in the descriptor's fdinfo.
    ///
    /// # Errors
    /// When the file cannot be read or has no such line.
    pub fn memlock(&self) -> io::Result<u64> {
        let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", self.fd()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("memlock:"));
        let bytes = line.and_then(|bytes| bytes.trim().parse().ok());
        bytes.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "fdinfo has no memlock"))
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn elem<'b>(&self) -> Attr<'b> {
        let mut attr = Attr::new(32);
        attr.u32(0, self.fd().cast_unsigned());
        attr
    }

    fn fetch(&self, cmd: Cmd, key: &[u8], value: &[u8], flags: u64) -> Result<Vec<u8>, Errno> {
        let mut key = nullable(key);
        let mut value = Buf::copy_of(value);
        let mut attr = self.elem();
        attr.opt(8, key.as_mut()).buf(16, &mut value).u64(24, flags);
        attr.call(cmd)?;
        Ok(value.bytes().to_vec())
    }
}

fn nullable(bytes: &[u8]) -> Option<Buf> {
    (!bytes.is_empty()).then(|| Buf::copy_of(bytes))
}

fn info(fd: BorrowedFd<'_>) -> Result<MapInfo, Errno> {
    let mut buf = Buf::zeroed(88);
    let mut attr = Attr::new(16);
    attr.u32(0, fd.as_raw_fd().cast_unsigned()).u32(4, 88).buf(8, &mut buf);
    attr.call(Cmd::GetInfoByFd)?;
    let bytes = buf.bytes();
    let word = |at: usize| {
        u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("the slice has four bytes"))
    };
    let name = bytes[24..40].split(|&b| b == 0).next().unwrap_or_default();
    Ok(MapInfo {
        map_type: word(0),
        id: word(4),
        key_size: word(8),
        value_size: word(12),
        max_entries: word(16),
        flags: word(20),
        name: String::from_utf8_lossy(name).into_owned(),
        map_extra: u64::from(word(80)) | u64::from(word(84)) << 32,
    })
}
