//! Helpers that call back.

use std::sync::Arc;

use skep_maps::{Cursor, Errno, Map};
use skep_memory::{Access, Backing, Label, Span, SpanRequest};

use super::{Call, Return};
use crate::engine::call_function;
use crate::run::{MAX_LOOPS, Run};

pub(super) fn bpf_loop(
    run: &mut Run<'_>,
    call: &Call<'_>,
    count: u64,
    function: u64,
    ctx: u64,
    flags: u64,
) -> Return {
    if flags != 0 {
        return Ok(Errno::EINVAL.to_r0());
    }
    if count > MAX_LOOPS {
        // The kernel inlines calls with constant flags; there the limit is compared with
        // all 64 bits, and the number is a 32-bit one, zero-extended.
        return Ok(Errno::E2BIG.to_r0() & u64::from(u32::MAX));
    }
    let program = call.program(run);
    for index in 0..count {
        if call_function(run, &program, function, [index, ctx, 0, 0, 0])? != 0 {
            return Ok(index + 1);
        }
        run.poll()?;
    }
    Ok(count)
}

pub(super) fn for_each(
    run: &mut Run<'_>,
    call: &Call<'_>,
    map: &Arc<dyn Map>,
    function: u64,
    ctx: u64,
    flags: u64,
) -> Return {
    if flags != 0 {
        return Ok(Errno::EINVAL.to_r0());
    }
    let def = map.core().def();
    // The callback sees a copy of the key, which it cannot write.
    let request = SpanRequest {
        len: u64::from(def.key_size),
        align: 8,
        access: Access::Read,
        label: Label::one(format!("key of map `{}`", def.name)),
        backing: Backing::Anonymous,
    };
    let Ok(copy) = Span::new(run.window(), request) else {
        return Ok(Errno::ENOMEM.to_r0());
    };
    let program = call.program(run);
    let (mut cursor, mut key) = (Cursor::default(), Vec::new());
    let mut visited = 0;
    while let Some(value) = map.visit(&mut cursor, &mut key, run.cpu.number) {
        copy.part(0, def.key_size).write(&key);
        let args = [map.core().handle().addr(), copy.ptr().addr(), value.addr(), ctx, 0];
        visited += 1;
        if call_function(run, &program, function, args)? != 0 {
            break;
        }
        run.poll()?;
    }
    Ok(visited)
}

/// Engines make tail calls themselves; a call that gets here falls through.
pub(super) fn tail_call(
    _run: &mut Run<'_>,
    _call: &Call<'_>,
    _ctx: (),
    _map: &Arc<dyn Map>,
    _index: u64,
) -> Return {
    Ok(crate::interp::POISON)
}
