//! Where the match looks at the limits on long ways on which nothing jumps.
//!
//! Jumps look at them; but a program may go on for a million instructions without one, or
//! without one that is taken. So here and there [`Code::Look`] stands in for an operation, and
//! the driver looks, and executes the operation itself. Inside of loops there is none, unless
//! they are long.

use super::op::{Code, Op};
use crate::analysis::access_of;
use crate::ir::Ir;

/// So much is executed between two looks where no jump leads back, by weight.
const MOST: u64 = 1 << 16;
/// And so much where one does, which may never be taken.
const MOST_OF_ALL: u64 = 1 << 17;
/// What an access outside of the frame weighs: it may find no page.
const FAR: u64 = 16;
/// The longest fused operation, which would pass over a look that stands alone.
const LONGEST: usize = 3;

/// Puts looks into a program's operations.
pub(super) fn place(ir: &Ir, fused: &mut [Op]) {
    if (fused.len() as u64).saturating_mul(FAR) <= MOST {
        return;
    }
    let mut led_back_to = vec![false; fused.len()];
    for (index, insn) in ir.insns.iter().enumerate() {
        if let Some(target) = insn.jump_target().map(|target| target as usize)
            && target <= index
        {
            led_back_to[target] = true;
        }
    }
    let (mut since_loop, mut since_look) = (0, 0);
    let mut left = 0;
    for (index, insn) in ir.insns.iter().enumerate() {
        if led_back_to[index] {
            since_loop = 0;
        }
        let weight = match access_of(insn) {
            Some((base, ..)) if base != 10 => FAR,
            _ => 1,
        };
        since_loop += weight;
        since_look += weight;
        if since_loop > MOST || since_look > MOST_OF_ALL {
            left = LONGEST;
        }
        if left > 0 {
            fused[index].code = Code::Look;
            left -= 1;
            (since_loop, since_look) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Compiled;
    use super::*;
    use crate::isa::assemble;
    use crate::machine::Machine;
    use crate::program::ProgramSpec;

    /// Where a program has looks.
    fn looks(asm: &str) -> Vec<usize> {
        let machine = Machine::new(1).expect("memory");
        let insns = assemble(asm).expect("right");
        let program = machine.load(ProgramSpec { insns, ..ProgramSpec::default() });
        let compiled = Compiled::new(program.expect("valid").ir());
        let looks = compiled.fused.iter().enumerate().filter(|(_, op)| op.code == Code::Look);
        looks.map(|(index, _)| index).collect()
    }

    #[test]
    fn long_ways_have_looks_and_short_loops_have_none() {
        let way = |body: &str, times: usize| format!("{}\nmov %r0, 0\nexit", body.repeat(times));
        assert_eq!(looks(&way("add %r2, 1\n", 4000)), []);
        let stores = looks(&way("stxdw [%r1], %r2\n", 10_000));
        assert_eq!(stores, [4096, 4097, 4098, 8192 + 3, 8192 + 4, 8192 + 5]);
        let to_frame = looks(&way("stxdw [%r10-8], %r2\n", 10_000));
        assert_eq!(to_frame, []);
        let loops = (0..10_000).map(|at| format!("l{at}:\nadd %r2, 1\njeq %r2, 7, l{at}\n"));
        assert_eq!(looks(&way(&loops.collect::<String>(), 1)), []);
    }
}
