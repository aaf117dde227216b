//! From the mid-level form to Cranelift's, one function at a time.
//!
//! BPF registers are variables; the builder makes SSA values of them. A block of the form
//! is a block here. What ends a run is a `trapnz` with the number of its site as source
//! location; [`link`](super::link) makes an exit of it.

mod alu;
mod call;
mod control;
mod map;
mod memory;

use std::mem::offset_of;
use std::sync::OnceLock;

use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{
    self, AliasRegion, AliasRegionData, ExtFuncData, ExternalName, FuncRef, InstBuilder,
    MemFlagsData, Signature, SourceLoc, TrapCode, Type, UserExternalName, UserFuncName, Value,
    types,
};
use cranelift_codegen::isa::{CallConv, OwnedTargetIsa, TargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{CompiledCode, Context};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};

use super::fold::Folds;
use super::pace::Pace;
use super::plan::Plan;
use super::site::{Site, Why};
use super::stack::MOST_FRAME;
use super::{Mode, Refusal, Whole};
use crate::analysis::Facts;
use crate::interp::POISON;
use crate::ir::{Flow, Function, Ir};
use crate::program::Program;
use crate::state::State;
use control::Then;

/// A function in machine code, not yet in its place.
pub(super) struct Compiled {
    /// Its number in the program.
    pub(super) number: usize,
    /// The slot of its first instruction, for messages.
    pub(super) slot: u32,
    pub(super) code: CompiledCode,
    /// Its sites; the source location of a trap is an index into them, plus one.
    pub(super) sites: Vec<Site>,
    /// The functions it calls, by the numbers of their names.
    pub(super) callees: Vec<usize>,
    /// Whether Rust code that it calls needs the run.
    pub(super) needs_run: bool,
}

/// The processor and settings that code is made for.
pub(super) fn isa() -> Result<&'static dyn TargetIsa, Refusal> {
    static ISA: OnceLock<Result<OwnedTargetIsa, String>> = OnceLock::new();
    match ISA.get_or_init(make_isa) {
        Ok(isa) => Ok(&**isa),
        Err(problem) => Err(Refusal::Processor(problem.clone())),
    }
}

fn make_isa() -> Result<OwnedTargetIsa, String> {
    let mut flags = settings::builder();
    for (name, value) in [
        ("opt_level", "speed"),
        ("is_pic", "false"),
        // The stack has a guard larger than any frame; see `stack.rs`.
        ("enable_probestack", "false"),
        // The state is in r15 (N2).
        ("enable_pinned_reg", "true"),
        // `return_call` relies on them.
        ("preserve_frame_pointers", "true"),
        ("unwind_info", "false"),
        ("enable_verifier", if cfg!(test) { "true" } else { "false" }),
    ] {
        flags.set(name, value).map_err(|e| e.to_string())?;
    }
    let isa = cranelift_native::builder().map_err(str::to_owned)?;
    isa.finish(settings::Flags::new(flags)).map_err(|e| e.to_string())
}

/// Compiles a function.
pub(super) fn function(
    isa: &dyn TargetIsa,
    whole: Whole<'_>,
    number: usize,
) -> Result<Compiled, Refusal> {
    let ir = whole.program.ir();
    let extent = &ir.functions[number];
    let slot = ir.insns[extent.start as usize].slot;
    let mut context = Context::new();
    let name = UserFuncName::user(0, u32::try_from(number).expect("no more than slots"));
    context.func = ir::Function::with_name_signature(name, signature(whole.plan, number));
    let mut builder_context = FunctionBuilderContext::new();
    let builder = FunctionBuilder::new(&mut context.func, &mut builder_context);
    let translator = Translator::new(builder, whole, number);
    let (sites, needs_run) = translator.translate(isa);
    let compiler =
        |e: &dyn std::fmt::Display| Refusal::Compiler { insn: slot, problem: e.to_string() };
    let compiled = context.compile(isa, &mut ControlPlane::default());
    compiled.map_err(|e| compiler(&format!("{:?}", e.inner)))?;
    let code = context.take_compiled_code().expect("it was just compiled");
    let frame = code.buffer.frame_layout().map_or(0, |layout| layout.frame_to_fp_offset + 16);
    if frame > MOST_FRAME {
        return Err(compiler(&format!(
            "its native frame takes {frame} bytes, more than {MOST_FRAME}"
        )));
    }
    let names = context.func.params.user_named_funcs().values();
    let callees = names.map(|name| name.index as usize).collect();
    Ok(Compiled { number, slot, code, sites, callees, needs_run })
}

/// What a function gets and returns.
fn signature(plan: &Plan, number: usize) -> Signature {
    let function = plan.function(number);
    let count = usize::from(function.takes_fp) + function.args().count();
    plain_signature(CallConv::Tail, count, 1)
}

fn plain_signature(convention: CallConv, params: usize, returns: usize) -> Signature {
    let mut signature = Signature::new(convention);
    signature.params = vec![ir::AbiParam::new(types::I64); params];
    signature.returns = vec![ir::AbiParam::new(types::I64); returns];
    signature
}

/// Kinds of memory that do not overlap.
struct Regions {
    guest: AliasRegion,
    state: AliasRegion,
    shadow: AliasRegion,
}

/// Translates one function.
struct Translator<'a> {
    b: FunctionBuilder<'a>,
    program: &'a Program,
    ir: &'a Ir,
    plan: &'a Plan,
    facts: &'a Facts,
    pace: &'a Pace,
    number: usize,
    mode: Mode,
    acquires: bool,
    locks: bool,
    regs: [Variable; 11],
    /// How often `may_goto` was passed.
    may_goto: Variable,
    blocks: Vec<ir::Block>,
    folds: Folds,
    first_block: u32,
    regions: Regions,
    sites: Vec<Site>,
    /// Whether it calls Rust code that needs the run.
    needs_run: bool,
    /// The frame pointer, if the function has one.
    fp: Option<Value>,
    /// The host address of the window's first byte, and of its shadow's.
    base: Value,
    shadow: Value,
    /// The host address that the frame pointer stands for.
    host_fp: Option<Value>,
    /// The instruction that is being translated.
    at: u32,
    /// The block that is being translated.
    block_at: u32,
    /// Counted instructions that come behind it.
    ahead: u32,
    /// Length of the window in bytes.
    window_len: u64,
}

impl<'a> Translator<'a> {
    fn new(mut b: FunctionBuilder<'a>, whole: Whole<'a>, number: usize) -> Self {
        let Whole { program, plan, facts, pace, mode, acquires, locks } = whole;
        let ir = program.ir();
        let function = &ir.functions[number];
        let entry = b.create_block();
        b.append_block_params_for_function_params(entry);
        b.switch_to_block(entry);
        let mut region = |user_id, description: &'static str| {
            let description = description.into();
            b.func.dfg.alias_regions.insert(AliasRegionData { user_id, description })
        };
        let regions = Regions {
            guest: region(1, "guest memory"),
            state: region(2, "state of the run"),
            shadow: region(3, "shadow"),
        };
        let blocks = function.blocks.clone().map(|_| b.create_block()).collect();
        // Counting needs to know which arm was executed.
        let folds = match mode {
            Mode::Plain => Folds::of(ir, function, &facts.functions[number].flow),
            Mode::Counting => Folds::default(),
        };
        let regs = std::array::from_fn(|_| b.declare_var(types::I64));
        let may_goto = b.declare_var(types::I32);
        let none = b.ins().iconst(types::I64, 0);
        Self {
            first_block: function.blocks.start,
            b,
            program,
            ir,
            plan,
            facts,
            pace,
            number,
            mode,
            acquires,
            locks,
            regs,
            may_goto,
            blocks,
            folds,
            regions,
            sites: Vec::new(),
            needs_run: false,
            fp: None,
            base: none,
            shadow: none,
            host_fp: None,
            at: function.start,
            block_at: function.blocks.start,
            ahead: 0,
            window_len: program.window_len(),
        }
    }

    fn function(&self) -> &'a Function {
        &self.ir.functions[self.number]
    }

    fn flow(&self) -> &'a Flow {
        &self.facts.functions[self.number].flow
    }

    /// Translates everything; gives the sites, and whether the code needs the run.
    fn translate(mut self, isa: &dyn TargetIsa) -> (Vec<Site>, bool) {
        self.prologue();
        for number in self.function().blocks.clone() {
            let reached = self.flow().is_reached((number - self.first_block) as usize);
            if reached && !self.folds.is_arm(number) {
                self.block(number);
            }
        }
        self.b.seal_all_blocks();
        self.b.finalize(isa.frontend_config());
        (self.sites, self.needs_run)
    }

    /// Gets the arguments, gives the other registers their first values, opens and clears
    /// the frame.
    fn prologue(&mut self) {
        let entry = self.b.current_block().expect("the entry");
        let params = self.b.block_params(entry).to_vec();
        let mut params = params.into_iter();
        let plan = self.plan.function(self.number);
        let poison = self.b.ins().iconst(types::I64, POISON.cast_signed());
        for reg in self.regs {
            self.b.def_var(reg, poison);
        }
        let none = self.b.ins().iconst(types::I32, 0);
        self.b.def_var(self.may_goto, none);
        if plan.takes_fp {
            let fp = params.next().expect("as in the signature");
            self.fp = Some(fp);
            self.b.def_var(self.regs[10], fp);
        }
        for reg in plan.args() {
            let value = params.next().expect("as in the signature");
            self.b.def_var(self.regs[usize::from(reg)], value);
        }
        let fixed = self.state_flags().with_readonly().with_can_move();
        self.base = self.load_state(types::I64, fixed, offset_of!(State, base));
        self.shadow = self.load_state(types::I64, fixed, offset_of!(State, shadow));
        if let Some(fp) = self.fp {
            self.host_fp = Some(self.b.ins().iadd(self.base, fp));
        }
        if self.function().stack.framed {
            self.open_frame();
            self.clear_frame();
        }
        let first = self.blocks[0];
        self.b.ins().jump(first, &[]);
    }

    fn block(&mut self, number: u32) {
        let block = self.blocks[(number - self.first_block) as usize];
        self.block_at = number;
        self.b.switch_to_block(block);
        let ir = self.ir;
        let extent = &ir.blocks[number as usize];
        for index in extent.start..extent.end {
            self.at = index;
            self.count(extent);
            if self.pace.looks_before(index) {
                self.look();
            }
            if self.insn(&ir.insns[index as usize], extent) == Then::End {
                return;
            }
        }
        // The block ends because the next one begins.
        self.go_on(extent);
    }

    fn reg(&mut self, number: u8) -> Value {
        self.b.use_var(self.regs[usize::from(number)])
    }

    fn set_reg(&mut self, number: u8, value: Value) {
        self.b.def_var(self.regs[usize::from(number)], value);
    }

    fn number(&mut self, value: u64) -> Value {
        self.b.ins().iconst(types::I64, value.cast_signed())
    }

    // The state.

    fn state_flags(&self) -> MemFlagsData {
        MemFlagsData::trusted().with_alias_region(Some(self.regions.state))
    }

    fn state(&mut self) -> Value {
        self.b.ins().get_pinned_reg(types::I64)
    }

    fn load_state(&mut self, ty: Type, flags: MemFlagsData, offset: usize) -> Value {
        let state = self.state();
        self.b.ins().load(ty, flags, state, displacement(offset))
    }

    fn store_state(&mut self, value: Value, offset: usize) {
        let (flags, state) = (self.state_flags(), self.state());
        self.b.ins().store(flags, value, state, displacement(offset));
    }

    // Exits.

    /// Ends the run here when `condition` is not zero.
    fn exit_if(&mut self, condition: Value, why: Why) {
        self.exit_at(condition, Site { insn: self.at, why, ahead: self.ahead });
    }

    fn exit_at(&mut self, condition: Value, site: Site) {
        self.sites.push(site);
        let number = u32::try_from(self.sites.len()).expect("a few for each instruction");
        self.b.set_srcloc(SourceLoc::new(number));
        self.b.ins().trapnz(condition, EXIT);
        self.b.set_srcloc(SourceLoc::default());
    }

    /// Ends the run here. The condition is not known to the compiler, so that the trap is
    /// one like all others.
    fn exit(&mut self, why: Why) {
        let flags = self.state_flags();
        let offset = offset_of!(State, last);
        let not_zero = self.load_state(types::I64, flags, offset);
        self.exit_if(not_zero, why);
        self.b.ins().trap(UNREACHABLE);
    }

    /// A function of this program, to be called.
    fn callee(&mut self, number: usize) -> FuncRef {
        let signature = self.b.import_signature(signature(self.plan, number));
        let index = u32::try_from(number).expect("no more than slots");
        let name = UserExternalName::new(0, index);
        let name = self.b.func.declare_imported_user_function(name);
        self.b.import_function(ExtFuncData {
            name: ExternalName::user(name),
            signature,
            colocated: true,
            patchable: false,
        })
    }
}

/// The trap of all exits; sites tell them apart.
pub(super) const EXIT: TrapCode = TrapCode::unwrap_user(1);
/// What stands behind an exit that is always taken.
pub(super) const UNREACHABLE: TrapCode = TrapCode::unwrap_user(2);

/// An offset into the state as a displacement.
fn displacement(offset: usize) -> i32 {
    i32::try_from(offset).expect("the state is small")
}

/// A block of the form.
type Extent = crate::ir::Block;
