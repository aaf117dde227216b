//! Programs: loading them, or learning why the verifier will not have them.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use skep_vm::isa::Insn;

use crate::sys::{Attr, Buf, Cmd};
use crate::{Btf, Errno, Kernel, Map};

/// What a program is made from; the fields of `BPF_PROG_LOAD`.
#[derive(Debug, Clone)]
pub struct ProgSpec<'a> {
    /// `enum bpf_prog_type`.
    pub prog_type: u32,
    /// `enum bpf_attach_type`.
    pub expected_attach_type: u32,
    /// The instructions; `lddw` of a map holds a descriptor ([`Map::fd`]) or an index
    /// into `maps`.
    pub insns: &'a [Insn],
    /// The licence; `GPL` unless set.
    pub license: &'a str,
    /// `BPF_F_*` of programs.
    pub flags: u32,
    /// Maps that `lddw` with source 5 or 6 refers to by index.
    pub maps: &'a [&'a Map],
    /// Types, with one `(instruction, id of a FUNC)` for each function, the main
    /// one first.
    pub func_info: Option<(&'a Btf, &'a [(u32, u32)])>,
}

impl<'a> ProgSpec<'a> {
    /// A program with the licence GPL and nothing else.
    #[must_use]
    pub fn new(prog_type: u32, insns: &'a [Insn]) -> Self {
        Self {
            prog_type,
            expected_attach_type: 0,
            insns,
            license: "GPL",
            flags: 0,
            maps: &[],
            func_info: None,
        }
    }

    /// Sets `enum bpf_attach_type`.
    #[must_use]
    pub fn expected_attach_type(mut self, attach_type: u32) -> Self {
        self.expected_attach_type = attach_type;
        self
    }

    /// Sets the maps that `lddw` refers to by index.
    #[must_use]
    pub fn maps(mut self, maps: &'a [&'a Map]) -> Self {
        self.maps = maps;
        self
    }

    /// Sets the types of the program's functions.
    #[must_use]
    pub fn func_info(mut self, btf: &'a Btf, functions: &'a [(u32, u32)]) -> Self {
        self.func_info = Some((btf, functions));
        self
    }
}

/// A program in the kernel; gone when dropped.
#[derive(Debug)]
pub struct Prog {
    fd: OwnedFd,
}

/// The kernel did not take a program.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the kernel refused the program with {errno:?}:\n{log}")]
pub struct Rejection {
    /// The kernel's errno: `EINVAL` or `EACCES` for most programs.
    pub errno: Errno,
    /// What the verifier says.
    pub log: String,
}

/// Room for the verifier's log; a longer one keeps its end.
const LOG_SIZE: u32 = 1 << 20;

/// `probe_write_user` could write this process's memory.
const PROBE_WRITE_USER: i32 = 36;

impl Kernel {
    /// Loads a program. It is not attached to anything.
    ///
    /// # Errors
    /// The kernel's errno and the verifier's log; `EPERM`, without asking the kernel,
    /// for a program that calls `probe_write_user`.
    pub fn load(&self, spec: &ProgSpec<'_>) -> Result<Prog, Rejection> {
        let errno = match self.load_without_log(spec) {
            Ok(prog) => return Ok(prog),
            Err(errno) => errno,
        };
        if writes_memory(spec) {
            let log = "the program could write this process's memory".to_owned();
            return Err(Rejection { errno, log });
        }
        let mut log = Buf::zeroed(LOG_SIZE as usize);
        // Loaded again for the log alone: without one the verifier is much faster.
        let _ = load(spec, Some(&mut log));
        let text = log.bytes().split(|&b| b == 0).next().unwrap_or_default();
        Err(Rejection { errno, log: String::from_utf8_lossy(text).into_owned() })
    }

    /// Loads a program without asking why, if the kernel refuses it: some programs keep
    /// the verifier busy for a second, and ten times as long when it writes a log.
    ///
    /// # Errors
    /// The kernel's errno; `EPERM`, without asking the kernel, for a program that calls
    /// `probe_write_user`.
    pub fn load_without_log(&self, spec: &ProgSpec<'_>) -> Result<Prog, Errno> {
        if writes_memory(spec) {
            return Err(Errno::EPERM);
        }
        load(spec, None).map(|fd| Prog { fd })
    }
}

fn writes_memory(spec: &ProgSpec<'_>) -> bool {
    let call = |insn: &Insn| {
        insn.code == crate::asm::CALL && insn.src == 0 && insn.imm == PROBE_WRITE_USER
    };
    spec.insns.iter().any(call)
}

impl Prog {
    /// The descriptor's number, for the values of program arrays.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// The program's id, which program arrays return for it.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn id(&self) -> Result<u32, Errno> {
        let mut info = Buf::zeroed(8);
        let mut attr = Attr::new(16);
        attr.u32(0, self.fd().cast_unsigned()).u32(4, 8).buf(8, &mut info);
        attr.call(Cmd::GetInfoByFd)?;
        let id = info.bytes()[4..8].try_into().expect("the slice has four bytes");
        Ok(u32::from_ne_bytes(id))
    }
}

fn load(spec: &ProgSpec<'_>, log: Option<&mut Buf>) -> Result<OwnedFd, Errno> {
    let insns: Vec<u8> = spec.insns.iter().flat_map(|i| i.to_le_bytes()).collect();
    let mut insns = Buf::copy_of(&insns);
    let mut license = Buf::copy_of(format!("{}\0", spec.license).as_bytes());
    let fds: Vec<u8> = spec.maps.iter().flat_map(|m| m.fd().to_ne_bytes()).collect();
    let mut fds = (!fds.is_empty()).then(|| Buf::copy_of(&fds));
    let (btf, functions) = spec.func_info.map_or((None, &[][..]), |(b, f)| (Some(b), f));
    let records: Vec<u8> =
        functions.iter().flat_map(|&(at, id)| [at, id]).flat_map(u32::to_ne_bytes).collect();
    let mut records = Buf::copy_of(&records);

    let mut attr = Attr::new(144);
    attr.u32(0, spec.prog_type).u32(4, len32(spec.insns.len()));
    attr.buf(8, &mut insns).buf(16, &mut license);
    attr.u32(44, spec.flags).u32(68, spec.expected_attach_type);
    attr.opt(120, fds.as_mut());
    if let Some(btf) = btf {
        attr.u32(72, btf.fd().cast_unsigned()).u32(76, 8);
        attr.buf(80, &mut records).u32(88, len32(functions.len()));
    }
    if let Some(log) = log {
        attr.u32(24, 1).u32(28, LOG_SIZE).buf(32, log);
    }
    // The verifier gives up with EAGAIN when a signal arrives.
    for _ in 0..5 {
        match attr.call_fd(Cmd::ProgLoad) {
            Err(Errno::EAGAIN) => {}
            result => return result,
        }
    }
    Err(Errno::EAGAIN)
}

fn len32(len: usize) -> u32 {
    u32::try_from(len).expect("a program has fewer than 2^32 instructions")
}
