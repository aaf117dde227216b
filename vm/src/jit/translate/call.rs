//! Calls: of helpers, of functions, of other programs.

use std::mem::offset_of;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use cranelift_codegen::isa::CallConv;

use super::super::enter::Returned;
use super::super::shims;
use super::super::site::Why;
use super::{Translator, plain_signature};
use crate::helpers;
use crate::interp::POISON;
use crate::ir::{Insn, Link};
use crate::isa::Op;
use crate::stack::FRAME_STRIDE;
use crate::state::State;

impl Translator<'_> {
    /// Calls Rust code with the state, which leads it to the run, and `args`; gives the value
    /// and the status.
    pub(super) fn call_rust(&mut self, function: *const (), args: &[Value]) -> (Value, Value) {
        self.needs_run = true;
        self.call_shim(function, args)
    }

    /// As [`Translator::call_rust`], for what does without a run.
    fn call_shim(&mut self, function: *const (), args: &[Value]) -> (Value, Value) {
        let signature = plain_signature(CallConv::SystemV, args.len() + 1, 2);
        let signature = self.b.import_signature(signature);
        let callee = self.number(function as u64);
        let state = self.state();
        let args: Vec<Value> = [state].into_iter().chain(args.iter().copied()).collect();
        let call = self.b.ins().call_indirect(signature, callee, &args);
        let results = self.b.inst_results(call);
        (results[0], results[1])
    }

    /// After a call, r1 to r5 hold nothing.
    fn poison_scratch(&mut self) {
        let poison = self.number(POISON);
        for reg in 1..=5 {
            self.set_reg(reg, poison);
        }
    }

    /// Notes who calls, for Rust code that must know.
    fn note_caller(&mut self) {
        if let Some(fp) = self.fp {
            self.store_state(fp, offset_of!(State, caller_fp));
        }
    }

    pub(super) fn call_helper(&mut self, position: u32) {
        let helper = helpers::at(position as usize);
        if helpers::needs_frame(position) {
            self.note_caller();
        }
        let value = match self.call_directly(helper) {
            Some(value) => value,
            None => self.call_checked(helper),
        };
        self.set_reg(0, value);
        self.poison_scratch();
    }

    /// Calls a helper that checks its arguments.
    fn call_checked(&mut self, helper: &helpers::Helper) -> Value {
        let count = helper.args.len();
        let zero = self.number(0);
        let mut args = [zero; 5];
        for (arg, reg) in args.iter_mut().zip(1..).take(count) {
            *arg = self.reg(reg);
        }
        let (value, status) = self.call_rust(helper.native.address(), &args);
        self.exit_if(status, Why::Called);
        value
    }

    pub(super) fn call_local(&mut self, insn: &Insn) {
        let Link::Function(start) = insn.link else {
            return self.exit(Why::Impossible);
        };
        let number = self.ir.function_index(start).expect("each target starts a function");
        let plan = self.plan.function(number);
        let mut args = Vec::new();
        if plan.takes_fp {
            let fp = self.fp.expect("a caller has what its callees need");
            let stride = FRAME_STRIDE.cast_signed();
            args.push(self.b.ins().iadd_imm_s(fp, stride));
        }
        args.extend(plan.args().map(|reg| self.reg(reg)));
        let flags = self.state_flags();
        let body =
            plan.tail_calls.then(|| self.load_state(types::I64, flags, offset_of!(State, body_fp)));
        let callee = self.callee(number);
        let call = self.b.ins().call(callee, &args);
        let value = self.b.inst_results(call)[0];
        if let Some(body) = body {
            // Another program may have taken the callee's place; here, this one goes on.
            self.store_state(body, offset_of!(State, body_fp));
            let id = self.b.ins().iconst(types::I32, i64::from(self.program.id()));
            self.store_state(id, offset_of!(State, program));
        }
        self.set_reg(0, value);
        self.poison_scratch();
    }

    pub(super) fn tail_call(&mut self) {
        let args = [1, 2, 3].map(|reg| self.reg(reg));
        let (slow, fails) = (self.b.create_block(), self.b.create_block());
        if self.tail_call_directly(args, slow, fails) {
            self.b.set_cold_block(slow);
        } else {
            self.b.ins().jump(slow, &[]);
        }
        self.b.switch_to_block(slow);
        self.note_caller();
        let (value, status) = self.call_rust(shims::tail_call as *const (), &args);
        let ended = Returned::ENDED.cast_signed();
        let ended = self.b.ins().icmp_imm_u(IntCC::Equal, status, ended);
        self.exit_if(ended, Why::Called);
        let succeeds = self.b.create_block();
        self.b.ins().brif(status, succeeds, &[], fails, &[]);
        self.b.switch_to_block(succeeds);
        let (jumps, returns) = (self.b.create_block(), self.b.create_block());
        let native = shims::CODE.cast_signed();
        let is_native = self.b.ins().icmp_imm_u(IntCC::Equal, status, native);
        self.b.ins().brif(is_native, jumps, &[], returns, &[]);
        self.b.switch_to_block(jumps);
        // From the state, so that neither must be kept across the call: what was called found
        // that the program gave its own context, and knows whose frame it is.
        let flags = self.state_flags();
        let fp = self.load_state(types::I64, flags, offset_of!(State, caller_fp));
        let ctx = self.load_state(types::I64, flags, offset_of!(State, ctx));
        self.jump_to_program(value, fp, ctx);
        self.b.switch_to_block(returns);
        self.b.ins().return_(&[value]);
        self.b.switch_to_block(fails);
        let poison = self.number(POISON);
        self.set_reg(0, poison);
        self.poison_scratch();
    }

    /// Gives the frame to another program, whose code starts at an address.
    pub(super) fn jump_to_program(&mut self, code: Value, fp: Value, ctx: Value) {
        let signature = plain_signature(CallConv::Tail, 3, 1);
        let signature = self.b.import_signature(signature);
        let poison = self.number(POISON);
        self.b.ins().return_call_indirect(signature, code, &[fp, ctx, poison]);
    }

    /// `ld_abs` and `ld_ind`: a word of the packet, or the end of the function with result 0.
    pub(super) fn load_skb(&mut self, insn: &Insn, size: i64) {
        let imm = self.number(insn.imm);
        let offset = match insn.op {
            Op::LdAbsB | Op::LdAbsH | Op::LdAbsW => imm,
            _ => {
                let base = self.reg(insn.src);
                self.b.ins().iadd(base, imm)
            }
        };
        let ctx = self.reg(6);
        let size = self.b.ins().iconst(types::I64, size);
        let function = shims::load_skb as *const ();
        let (value, status) = self.call_rust(function, &[ctx, offset, size]);
        let ended = Returned::ENDED.cast_signed();
        let ended = self.b.ins().icmp_imm_u(IntCC::Equal, status, ended);
        self.exit_if(ended, Why::Called);
        let (beyond, inside) = (self.b.create_block(), self.b.create_block());
        self.b.ins().brif(status, beyond, &[], inside, &[]);
        self.b.switch_to_block(beyond);
        let zero = self.number(0);
        self.set_reg(0, zero);
        self.leave();
        self.b.switch_to_block(inside);
        self.set_reg(0, value);
        self.poison_scratch();
    }

    pub(super) fn call_open_frame(&mut self, fp: Value) {
        self.call_shim(shims::open_frame as *const (), &[fp]);
    }
}
