//! Small programs that write what they see into a map.

use skep_oracle::asm::*;
use skep_oracle::{
    Kernel, Map, MapSpec, Prog, ProgSpec, Ran, Rejection, TestRun, map_type, prog_type,
};

/// A program type that packets are test-run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Type {
    pub(crate) name: &'static str,
    pub(crate) id: u32,
    pub(crate) attach: u32,
}

pub(crate) const XDP: Type = Type { name: "xdp", id: prog_type::XDP, attach: 0 };
pub(crate) const XDP_DEVMAP: Type = Type { name: "xdp/devmap", id: prog_type::XDP, attach: 33 };
pub(crate) const XDP_CPUMAP: Type = Type { name: "xdp/cpumap", id: prog_type::XDP, attach: 35 };
pub(crate) const SOCKET_FILTER: Type =
    Type { name: "socket_filter", id: prog_type::SOCKET_FILTER, attach: 0 };
pub(crate) const SCHED_CLS: Type = Type { name: "sched_cls", id: prog_type::SCHED_CLS, attach: 0 };
pub(crate) const CGROUP_SKB: Type =
    Type { name: "cgroup_skb", id: prog_type::CGROUP_SKB, attach: 0 };
pub(crate) const CGROUP_SKB_EGRESS: Type =
    Type { name: "cgroup_skb/egress", id: prog_type::CGROUP_SKB, attach: 1 };

pub(crate) const SKB_TYPES: [Type; 4] = [SOCKET_FILTER, SCHED_CLS, CGROUP_SKB, CGROUP_SKB_EGRESS];
pub(crate) const TYPES: [Type; 5] = [XDP, SOCKET_FILTER, SCHED_CLS, CGROUP_SKB, CGROUP_SKB_EGRESS];

/// A program with a map for its answers: r6 is the context, r7 the map's value,
/// [`Probe::WORDS`] words of 8 bytes that are all ones at first.
#[derive(Debug)]
pub(crate) struct Probe {
    prog: Prog,
    out: Map,
}

impl Probe {
    pub(crate) const WORDS: usize = 32;
    const SIZE: u32 = 8 * 32;

    /// Writes the program between a prologue and `return 0`.
    pub(crate) fn new(
        kernel: &Kernel,
        ty: Type,
        body: impl FnOnce(&mut Asm),
    ) -> Result<Self, Rejection> {
        Self::returning(kernel, ty, |asm| {
            body(asm);
            asm.label("end").mov(R0, 0).exit();
        })
    }

    /// Writes the program after a prologue.
    pub(crate) fn returning(
        kernel: &Kernel,
        ty: Type,
        body: impl FnOnce(&mut Asm),
    ) -> Result<Self, Rejection> {
        let out = kernel
            .create_map(&MapSpec::new(map_type::ARRAY, 4, Self::SIZE, 1))
            .expect("an array can be made");
        let mut asm = Asm::new();
        asm.mov_reg(R6, R1).map_value(R7, out.fd(), 0);
        body(&mut asm);
        let insns = asm.build();
        let spec = ProgSpec::new(ty.id, &insns).expected_attach_type(ty.attach);
        Ok(Self { prog: kernel.load(&spec)?, out })
    }

    /// Runs the program; its answers are from this run alone.
    pub(crate) fn run(&self, run: &TestRun<'_>) -> (Ran, Vec<i64>) {
        self.out.update(&[0; 4], &[0xff; 8 * Self::WORDS], 0).unwrap();
        let ran = self.prog.test_run(run);
        (ran, self.answers())
    }

    /// Runs the program on words of the caller's instead of all ones.
    pub(crate) fn run_on(&self, words: &[i64]) -> Vec<i64> {
        let mut value = [0xff; 8 * Self::WORDS];
        for (place, word) in value.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *place = word.to_ne_bytes();
        }
        self.out.update(&[0; 4], &value, 0).unwrap();
        self.prog.test_run(&TestRun::new().data_in(&counting(64))).ok().unwrap();
        self.answers()
    }

    fn answers(&self) -> Vec<i64> {
        let value = self.out.lookup(&[0; 4], 0).unwrap();
        value.as_chunks::<8>().0.iter().map(|&word| i64::from_ne_bytes(word)).collect()
    }
}

/// A map of one value that no one can change, as the helpers want it for formats.
pub(crate) fn rodata(kernel: &Kernel, bytes: &[u8]) -> Map {
    const RDONLY_PROG: u32 = 1 << 7;
    let len = u32::try_from(bytes.len()).unwrap();
    let spec = MapSpec::new(map_type::ARRAY, 4, len, 1).flags(RDONLY_PROG);
    let map = kernel.create_map(&spec).unwrap();
    map.update(&[0; 4], bytes, 0).unwrap();
    map.freeze().unwrap();
    map
}

/// `n` bytes that count up from 0.
pub(crate) fn counting(n: usize) -> Vec<u8> {
    (0..=255).cycle().take(n).collect()
}

/// A line of a log that says why a program was refused: the last but the statistics.
pub(crate) fn reason(refused: &Rejection) -> &str {
    refused.log.lines().rfind(|line| !line.starts_with("processed ")).unwrap_or("")
}
