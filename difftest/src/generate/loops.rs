//! Loops.

use skep_vm::isa::Op;

use super::Writer;
use crate::code::Label;

impl Writer<'_> {
    /// A loop of a few turns.
    pub(super) fn repeat(&mut self) {
        let Some(counter) = self.keep() else {
            return self.arithmetic();
        };
        self.depth += 1;
        let kinds = if self.profile.has_shapes() { 6 } else { 3 };
        match self.rng.below(kinds) {
            0 => self.count_down(counter),
            1 => self.count_up(counter),
            2 => self.count_unknown(counter),
            3 => self.count_steps(counter),
            4 => self.may_goto_loop(counter),
            _ => self.irreducible(counter),
        }
        self.depth -= 1;
        self.locked.retain(|&r| r != counter);
    }

    fn turns(&mut self) -> i32 {
        self.rng.between(1, 5)
    }

    /// The body of a loop, whose statements may leave it or go on with the next turn.
    fn turn(&mut self, next: Label, over: Label) {
        self.loops.push((next, over, self.held.len()));
        self.block();
        self.loops.pop();
        self.code.place(next);
    }

    fn count_down(&mut self, counter: u8) {
        let turns = self.turns();
        self.code.mark("loop: down to 0");
        self.code.mov(counter, turns);
        let (top, next, over) = (self.code.here(), self.code.label(), self.code.label());
        self.turn(next, over);
        let (add, jump) = if self.rng.one_in(2) {
            (Op::Add64Imm, Op::Jne64Imm)
        } else {
            (Op::Add32Imm, Op::Jne32Imm)
        };
        self.code.alu(add, counter, -1);
        self.code.jump_imm(jump, counter, 0, top);
        self.code.place(over);
    }

    fn count_up(&mut self, counter: u8) {
        let turns = self.turns();
        self.code.mark("loop: up to a limit");
        self.code.mov(counter, 0);
        let (top, next, over) = (self.code.here(), self.code.label(), self.code.label());
        self.turn(next, over);
        self.code.alu(Op::Add64Imm, counter, 1);
        let jumps =
            [Op::Jlt64Imm, Op::Jslt64Imm, Op::Jlt32Imm, Op::Jslt32Imm, Op::Jne64Imm, Op::Jne32Imm];
        let jump = *self.rng.pick(&jumps);
        self.code.jump_imm(jump, counter, turns, top);
        self.code.place(over);
    }

    /// How many turns there are is not known before.
    fn count_unknown(&mut self, counter: u8) {
        self.code.mark("loop: an unknown number of turns");
        self.code.alu(Op::And64Imm, counter, 3);
        let (top, next, over) = (self.code.here(), self.code.label(), self.code.label());
        self.code.jump_imm(Op::Jeq64Imm, counter, 0, over);
        self.turn(next, over);
        self.code.alu(Op::Sub64Imm, counter, 1);
        self.goto(top);
        self.code.place(over);
    }

    /// Steps of more than one, to a limit that they may not meet.
    fn count_steps(&mut self, counter: u8) {
        let (turns, step) = (self.turns(), self.rng.between(2, 7));
        let beyond = self.rng.between(0, step - 1);
        self.code.mark("loop: steps");
        let up = self.rng.one_in(2);
        let first = if up { self.rng.between(-3, 3) } else { turns * step };
        self.code.mov(counter, first);
        let (top, next, over) = (self.code.here(), self.code.label(), self.code.label());
        if up {
            let jump = *self.rng.pick(&[Op::Jsgt64Imm, Op::Jsge64Imm, Op::Jsgt32Imm]);
            self.code.jump_imm(jump, counter, first + turns * step - beyond, over);
        } else {
            let jump = *self.rng.pick(&[Op::Jslt64Imm, Op::Jsle64Imm, Op::Jsle32Imm]);
            self.code.jump_imm(jump, counter, beyond, over);
        }
        self.turn(next, over);
        let add = if self.rng.one_in(2) { Op::Add64Imm } else { Op::Add32Imm };
        self.code.alu(add, counter, if up { step } else { -step });
        self.goto(top);
        self.code.place(over);
    }

    /// A loop that ends when data says so; the verifier takes it for its `may_goto`.
    fn may_goto_loop(&mut self, counter: u8) {
        self.code.mark("loop: may_goto");
        let mask = *self.rng.pick(&[1, 7, 31]);
        self.code.alu(Op::And64Imm, counter, mask);
        let (top, next, over) = (self.code.here(), self.code.label(), self.code.label());
        self.code.jump(Op::MayGoto, crate::code::Fields::default(), over);
        self.code.jump_imm(Op::Jeq64Imm, counter, 0, over);
        self.turn(next, over);
        if self.rng.one_in(2) {
            self.code.alu(Op::Rsh64Imm, counter, 1);
        } else {
            self.code.alu(Op::Sub64Imm, counter, 1);
            self.code.alu(Op::And64Imm, counter, mask);
        }
        self.goto(top);
        self.code.place(over);
    }

    /// A loop with two entries.
    fn irreducible(&mut self, counter: u8) {
        let turns = self.turns();
        self.code.mark("loop: two entries");
        self.code.mov(counter, turns);
        let (middle, next, over) = (self.code.label(), self.code.label(), self.code.label());
        self.jump_if(middle);
        let top = self.code.here();
        self.arithmetic();
        self.access();
        self.code.place(middle);
        self.turn(next, over);
        self.code.alu(Op::Add64Imm, counter, -1);
        self.code.jump_imm(Op::Jne64Imm, counter, 0, top);
        self.code.place(over);
    }

    /// Leaves the loop, or goes on with its next turn, if something holds.
    pub(super) fn leave_loop(&mut self) {
        let Some(&(next, over, held)) = self.loops.last() else {
            return self.branch();
        };
        // Pointers that are held would be left behind.
        if held != self.held.len() {
            return self.arithmetic();
        }
        if self.rng.one_in(2) {
            self.code.mark("loop: break");
            self.jump_if(over);
        } else {
            self.code.mark("loop: continue");
            self.jump_if(next);
        }
    }
}
