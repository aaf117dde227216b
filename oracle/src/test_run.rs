//! `BPF_PROG_TEST_RUN`.

use crate::sys::{Attr, Buf, Cmd};
use crate::{Errno, Prog};

/// What a program is run on; the fields of `BPF_PROG_TEST_RUN`.
#[derive(Debug, Clone, Default)]
pub struct TestRun<'a> {
    /// The packet, or NULL.
    pub data_in: Option<&'a [u8]>,
    /// Room for the packet afterwards, or NULL.
    pub data_out: Option<u32>,
    /// The context (`__sk_buff`, `xdp_md`, arguments), or NULL.
    pub ctx_in: Option<&'a [u8]>,
    /// Room for the context afterwards, or NULL.
    pub ctx_out: Option<u32>,
    /// How often to run; 0 counts as 1.
    pub repeat: u32,
    /// `BPF_F_TEST_*`.
    pub flags: u32,
    /// The CPU, heeded for raw tracepoints with `BPF_F_TEST_RUN_ON_CPU`.
    pub cpu: u32,
    /// Frames at a time, for live XDP frames.
    pub batch_size: u32,
}

impl<'a> TestRun<'a> {
    /// No packet, no context, one run.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the packet.
    #[must_use]
    pub fn data_in(mut self, data: &'a [u8]) -> Self {
        self.data_in = Some(data);
        self
    }

    /// Makes room for `len` bytes of packet.
    #[must_use]
    pub fn data_out(mut self, len: u32) -> Self {
        self.data_out = Some(len);
        self
    }

    /// Sets the context.
    #[must_use]
    pub fn ctx_in(mut self, ctx: &'a [u8]) -> Self {
        self.ctx_in = Some(ctx);
        self
    }

    /// Makes room for `len` bytes of context.
    #[must_use]
    pub fn ctx_out(mut self, len: u32) -> Self {
        self.ctx_out = Some(len);
        self
    }

    /// Sets how often to run.
    #[must_use]
    pub fn repeat(mut self, repeat: u32) -> Self {
        self.repeat = repeat;
        self
    }
}

/// What a run left behind, whether the kernel called it a success or not: with
/// `ENOSPC` the sizes and the beginning of the data are still there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ran {
    /// The kernel's errno, if the call failed.
    pub errno: Option<Errno>,
    /// What the program returned.
    pub retval: u32,
    /// The packet afterwards, cut to the room there was.
    pub data_out: Vec<u8>,
    /// The packet's length as the kernel reports it.
    pub data_size_out: u32,
    /// The context afterwards, cut to the room there was.
    pub ctx_out: Vec<u8>,
    /// The context's length as the kernel reports it.
    pub ctx_size_out: u32,
    /// The context that was given, afterwards: syscall programs write to it.
    pub ctx_in: Vec<u8>,
    /// Nanoseconds of one run, on average.
    pub duration: u32,
}

impl Ran {
    /// The run, if the kernel called it a success.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn ok(self) -> Result<Self, Errno> {
        match self.errno {
            None => Ok(self),
            Some(errno) => Err(errno),
        }
    }
}

impl Prog {
    /// Runs the program on input of the caller's.
    #[must_use]
    pub fn test_run(&self, run: &TestRun<'_>) -> Ran {
        let len = |data: Option<&[u8]>| {
            u32::try_from(data.unwrap_or_default().len()).expect("input is shorter than 4 GiB")
        };
        let mut data_in = run.data_in.map(Buf::copy_of);
        let mut ctx_in = run.ctx_in.map(Buf::copy_of);
        let mut data_out = run.data_out.map(|len| Buf::zeroed(len as usize));
        let mut ctx_out = run.ctx_out.map(|len| Buf::zeroed(len as usize));
        let mut attr = Attr::new(80);
        attr.u32(0, self.fd().cast_unsigned());
        attr.u32(8, len(run.data_in)).u32(12, run.data_out.unwrap_or(0));
        attr.opt(16, data_in.as_mut()).opt(24, data_out.as_mut());
        attr.u32(32, run.repeat);
        attr.u32(40, len(run.ctx_in)).u32(44, run.ctx_out.unwrap_or(0));
        attr.opt(48, ctx_in.as_mut()).opt(56, ctx_out.as_mut());
        attr.u32(64, run.flags).u32(68, run.cpu).u32(72, run.batch_size);
        let errno = attr.call(Cmd::ProgTestRun).err();
        let retval = attr.get_u32(4);
        let data_size_out = attr.get_u32(12);
        let ctx_size_out = attr.get_u32(44);
        let duration = attr.get_u32(36);
        Ran {
            errno,
            retval,
            data_out: cut(data_out, data_size_out),
            data_size_out,
            ctx_out: cut(ctx_out, ctx_size_out),
            ctx_size_out,
            ctx_in: ctx_in.map_or_else(Vec::new, |buf| buf.bytes().to_vec()),
            duration,
        }
    }
}

fn cut(buf: Option<Buf>, len: u32) -> Vec<u8> {
    let Some(buf) = buf else { return Vec::new() };
    let bytes = buf.bytes();
    bytes[..bytes.len().min(len as usize)].to_vec()
}
