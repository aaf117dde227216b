//! Small programs that write what they see into a map.

use std::sync::Arc;

use skep_maps::{Map, MapType};
use skep_oracle::asm::{Asm, R0, R1, R6, R7};
use skep_vm::{Input, Outcome, Program};

use crate::lab::{Lab, counting, def, set, words};

/// A program with a map for its answers: r6 is the context, r7 the map's value,
/// [`Probe::WORDS`] words of 8 bytes that are all ones at first.
pub(crate) struct Probe<'l> {
    lab: &'l Lab,
    pub(crate) program: Arc<Program>,
    out: Arc<dyn Map>,
}

/// The index of the map for answers; other maps follow.
pub(crate) const OUT: i32 = 0;

impl<'l> Probe<'l> {
    pub(crate) const WORDS: usize = 32;

    /// Writes the program between a prologue and `return 0`.
    ///
    /// # Errors
    ///
    /// Why it is refused.
    pub(crate) fn new(
        lab: &'l Lab,
        prog_type: &str,
        others: &[Arc<dyn Map>],
        body: impl FnOnce(&mut Asm),
    ) -> Result<Self, String> {
        Self::returning(lab, prog_type, others, |asm| {
            body(asm);
            asm.label("end").mov(R0, 0).exit();
        })
    }

    /// Writes the program after a prologue.
    ///
    /// # Errors
    ///
    /// Why it is refused.
    pub(crate) fn returning(
        lab: &'l Lab,
        prog_type: &str,
        others: &[Arc<dyn Map>],
        body: impl FnOnce(&mut Asm),
    ) -> Result<Self, String> {
        let out = lab.map(&def(MapType::Array, 4, 8 * 32, 1));
        let mut asm = Asm::new();
        asm.mov_reg(R6, R1).map_value(R7, OUT, 0);
        body(&mut asm);
        let maps = [&[Arc::clone(&out)], others].concat();
        let program = lab.load(prog_type, asm.build(), &maps)?;
        Ok(Self { lab, program, out })
    }

    /// Runs the program; its answers are from this run alone.
    ///
    /// # Errors
    ///
    /// What ended the run.
    pub(crate) fn run(&self, input: &Input) -> Result<(Outcome, Vec<i64>), String> {
        set(&*self.out, &[0xff; 8 * Self::WORDS]);
        let outcome = self.lab.run(&self.program, input)?;
        Ok((outcome, words(&*self.out)))
    }

    /// Runs the program on a packet, and on words of the caller's instead of all ones.
    ///
    /// # Errors
    ///
    /// What ended the run.
    pub(crate) fn run_on(&self, given: &[i64]) -> Result<Vec<i64>, String> {
        let mut value = [0xff; 8 * Self::WORDS];
        for (place, word) in value.as_chunks_mut::<8>().0.iter_mut().zip(given) {
            *place = word.to_le_bytes();
        }
        set(&*self.out, &value);
        self.lab.run(&self.program, &Input::packet(counting(64)))?;
        Ok(words(&*self.out))
    }

    /// What the last run answered.
    pub(crate) fn answers(&self) -> Vec<i64> {
        words(&*self.out)
    }
}
