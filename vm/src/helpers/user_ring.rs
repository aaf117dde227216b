//! The helper on user ring buffers.

use skep_maps::flags::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use skep_maps::{Drain, Errno, UserNext, UserRingBuf};
use skep_memory::{Access, Backing, GuestPtr, Label, Span, SpanRequest};

use super::{Call, Return};
use crate::dynptr::Data;
use crate::engine::call_function;
use crate::run::{Run, Trap};

/// The most samples at once, discarded ones included (`BPF_MAX_USER_RINGBUF_SAMPLES`).
const MOST_SAMPLES: u64 = 128 << 10;

/// Calls back with each sample until there are no more or a callback returns anything but
/// 0 (kernel `bpf_user_ringbuf_drain`). When a callback faults, its sample stays in the
/// ring.
pub(super) fn drain(
    run: &mut Run<'_>,
    call: &Call<'_>,
    ring: &UserRingBuf,
    function: u64,
    ctx: u64,
    flags: u64,
) -> Return {
    if flags & !(BPF_RB_NO_WAKEUP | BPF_RB_FORCE_WAKEUP) != 0 {
        return Ok(Errno::EINVAL.to_r0());
    }
    let mut drain = match ring.drain() {
        Ok(drain) => drain,
        Err(errno) => return Ok(errno.to_r0()),
    };
    // The callback's dynptr is the kernel's, not on the program's stack.
    let request = SpanRequest {
        len: 16,
        align: 8,
        access: Access::None,
        label: Label::one("dynptr of a sample"),
        backing: Backing::Anonymous,
    };
    let Ok(dynptr) = Span::new(run.window(), request) else {
        return Ok(Errno::ENOMEM.to_r0());
    };
    let callback = Callback { function, ctx, dynptr: dynptr.ptr() };
    let mut met = Met::default();
    let result = samples(run, call, &mut drain, &callback, &mut met)?;
    drop(drain);
    ring.drained(met.samples, flags);
    Ok(result.map_or_else(Errno::to_r0, |()| met.samples - met.discarded))
}

struct Callback {
    function: u64,
    ctx: u64,
    /// Where the dynptr stands that it gets.
    dynptr: GuestPtr,
}

/// How many samples a drain met.
#[derive(Default)]
struct Met {
    samples: u64,
    discarded: u64,
}

fn samples(
    run: &mut Run<'_>,
    call: &Call<'_>,
    drain: &mut Drain<'_>,
    callback: &Callback,
    met: &mut Met,
) -> Result<Result<(), Errno>, Trap> {
    let program = call.program(run);
    while met.samples < MOST_SAMPLES {
        let sample = match drain.peek() {
            Ok(UserNext::Empty) => break,
            Ok(UserNext::Discarded) => {
                met.samples += 1;
                met.discarded += 1;
                continue;
            }
            Ok(UserNext::Sample(sample)) => sample,
            Err(errno) => return Ok(Err(errno)),
        };
        run.lend_sample(callback.dynptr, Data { ptr: sample.ptr(), size: sample.size() });
        let args = [callback.dynptr.addr(), callback.ctx, 0, 0, 0];
        let stops = call_function(run, &program, callback.function, args)? != 0;
        run.take_sample_back(callback.dynptr);
        drain.consume(sample);
        met.samples += 1;
        run.poll()?;
        if stops {
            break;
        }
    }
    Ok(Ok(()))
}
