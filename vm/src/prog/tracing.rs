//! Programs whose context is plain bytes that the user gives: tracepoint records,
//! registers, arguments, the structure of a syscall program.

use skep_memory::Access;

use super::{Context, ProgType};

pub(super) const TYPES: &[&ProgType] = &[
    &KPROBE,
    &TRACEPOINT,
    &PERF_EVENT,
    &RAW_TRACEPOINT,
    &RAW_TRACEPOINT_WRITABLE,
    &TRACING,
    &LSM,
    &SYSCALL,
];

const fn raw(
    name: &'static str,
    id: u32,
    sections: &'static [&'static str],
    access: Access,
) -> ProgType {
    ProgType {
        name,
        id,
        sections,
        context: Context::Raw(access),
        most_context: U16_MAX,
        legacy_loads: false,
        fields: &[],
        verdicts: &[],
    }
}

/// Bytes that any context may have (the limit of syscall programs).
const U16_MAX: u32 = 0xffff;
/// Twelve arguments of eight bytes (`MAX_BPF_FUNC_ARGS`).
const ARGUMENTS: u32 = 12 * 8;

static KPROBE: ProgType = raw(
    "kprobe",
    2,
    &[
        "kprobe+",
        "kretprobe+",
        "uprobe+",
        "uretprobe+",
        "uprobe.s+",
        "uretprobe.s+",
        "kprobe.multi+",
        "kretprobe.multi+",
        "kprobe.session+",
        "uprobe.multi+",
        "uretprobe.multi+",
        "uprobe.session+",
        "uprobe.multi.s+",
        "uretprobe.multi.s+",
        "uprobe.session.s+",
        "ksyscall+",
        "kretsyscall+",
        "usdt+",
        "usdt.s+",
    ],
    Access::Read,
);

static TRACEPOINT: ProgType = raw("tracepoint", 5, &["tracepoint+", "tp+"], Access::Read);

static PERF_EVENT: ProgType = raw("perf_event", 7, &["perf_event"], Access::Read);

static RAW_TRACEPOINT: ProgType = ProgType {
    most_context: ARGUMENTS,
    ..raw("raw_tracepoint", 17, &["raw_tracepoint+", "raw_tp+"], Access::Read)
};

static RAW_TRACEPOINT_WRITABLE: ProgType = ProgType {
    most_context: ARGUMENTS,
    ..raw("raw_tracepoint_writable", 24, &["raw_tracepoint.w+", "raw_tp.w+"], Access::Read)
};

static TRACING: ProgType = raw(
    "tracing",
    26,
    &[
        "tp_btf+",
        "fentry+",
        "fmod_ret+",
        "fexit+",
        "fentry.s+",
        "fmod_ret.s+",
        "fexit.s+",
        "fsession+",
        "iter+",
        "iter.s+",
    ],
    Access::Read,
);

static LSM: ProgType = raw("lsm", 29, &["lsm+", "lsm.s+", "lsm_cgroup+"], Access::Read);

/// `BPF_PROG_TYPE_SYSCALL`.
pub static SYSCALL: ProgType = raw("syscall", 31, &["syscall"], Access::ReadWrite);
