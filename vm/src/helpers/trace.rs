//! Helpers that print.

use skep_maps::Errno;
use skep_memory::{Access, GuestSlice};

use super::args::{self, Size};
use super::format::format;
use super::{Call, Return};
use crate::run::Run;

/// The most arguments of a format (`MAX_BPRINTF_VARARGS`).
const MOST_ARGS: u64 = 12;
/// The longest line (`MAX_BPRINTF_BUF`), its NUL included.
const LINE: usize = 1024;

pub(super) fn printk(
    run: &mut Run<'_>,
    _call: &Call<'_>,
    text: GuestSlice<'_>,
    _size: Size,
    a: u64,
    b: u64,
    c: u64,
) -> Return {
    print(run, text, &[a, b, c])
}

pub(super) fn vprintk(
    run: &mut Run<'_>,
    call: &Call<'_>,
    text: GuestSlice<'_>,
    _size: Size,
    data: u64,
    len: u64,
) -> Return {
    match read_args(run, call, data, len)? {
        Ok(args) => print(run, text, &args),
        Err(errno) => Ok(errno.to_r0()),
    }
}

fn print(run: &mut Run<'_>, text: GuestSlice<'_>, args: &[u64]) -> Return {
    let text = text.to_vec();
    let Some(end) = text.iter().position(|&byte| byte == 0) else {
        return Ok(Errno::EINVAL.to_r0());
    };
    match format(run, &text[..end], args) {
        Ok(mut line) => {
            let len = line.len() as u64;
            line.truncate(LINE - 1);
            let line = String::from_utf8_lossy(&line);
            run.scratch.printk.push(line.strip_suffix('\n').unwrap_or(&line).to_owned());
            Ok(len)
        }
        Err(errno) => Ok(errno.to_r0()),
    }
}

pub(super) fn snprintf(
    run: &mut Run<'_>,
    call: &Call<'_>,
    to: GuestSlice<'_>,
    _size: Size,
    text: Vec<u8>,
    data: u64,
    len: u64,
) -> Return {
    let args = match read_args(run, call, data, len)? {
        Ok(args) => args,
        Err(errno) => return Ok(errno.to_r0()),
    };
    match format(run, &text, &args) {
        Ok(line) => {
            if let Some(room) = to.len().checked_sub(1) {
                let kept = line.len().min(room);
                let kept32 = u32::try_from(kept).unwrap_or(u32::MAX);
                to.part(0, kept32).write(&line[..kept]);
                to.set(kept32, 0u8);
            }
            Ok(line.len() as u64 + 1)
        }
        Err(errno) => Ok(errno.to_r0()),
    }
}

/// Reads the array of arguments, of `len` bytes at `data` (kernel: `data_len` checks of
/// `bpf_snprintf`).
fn read_args(
    run: &Run<'_>,
    call: &Call<'_>,
    data: u64,
    len: u64,
) -> Result<Result<Vec<u64>, Errno>, crate::run::Trap> {
    let _ = call;
    let len = len & u64::from(u32::MAX);
    if !len.is_multiple_of(8) || len > MOST_ARGS * 8 || (len > 0 && data == 0) {
        return Ok(Err(Errno::EINVAL));
    }
    let memory = args::memory(run, data, len, Access::Read)
        .map_err(|problem| super::refuse(run, "snprintf", 4, problem))?;
    let bytes = memory.to_vec();
    let (words, _) = bytes.as_chunks::<8>();
    Ok(Ok(words.iter().map(|word| u64::from_le_bytes(*word)).collect()))
}
