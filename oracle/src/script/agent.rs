//! Programs in the kernel that call one helper on one map.

use super::program::{Arg, Desk, ProgramOp};
use super::{Failure, Outcome, ProgramCall, Reply, Shape, types};
use crate::asm::Asm;
use crate::btf::BtfWriter;
use crate::{Btf, Kernel, Map, MapSpec, Prog, ProgSpec, TestRun, map_type};

/// A program that calls one helper on one map.
#[derive(Debug)]
pub struct Agent {
    prog: Prog,
    desk: Desk,
    place: Map,
}

/// Where functions begin, and the ids of their types.
type Functions = [(u32, u32); 2];

impl Agent {
    /// Loads a program for calls of `op` on `map` with values of `given` bytes.
    ///
    /// # Errors
    /// [`Failure::Refused`] when the verifier does not take it.
    pub fn new(
        kernel: &Kernel,
        map: &Map,
        op: &ProgramOp,
        shape: Shape,
        given: usize,
    ) -> Outcome<Self> {
        let desk = Desk::new(op, shape, given);
        let place = kernel.create_map(&MapSpec::new(map_type::ARRAY, 4, desk.size(), 1))?;
        let asm = desk
            .write(op, place.fd(), map.fd())
            .ok_or_else(|| Failure::Other("values are too long for a program".to_owned()))?;
        let prog_type = types::prog_type(op.prog_type)
            .ok_or_else(|| Failure::Other(format!("no type `{}`", op.prog_type)))?;
        let types = callback_types(kernel, op, &asm)?;
        let insns = asm.build();
        let mut spec = ProgSpec::new(prog_type, &insns);
        if let Some((btf, functions)) = &types {
            spec = spec.func_info(btf, functions);
        }
        let prog = kernel.load_without_log(&spec).map_err(|_| Failure::Refused)?;
        Ok(Self { prog, desk, place })
    }

    /// Calls the helper, on the CPU that this thread runs on.
    ///
    /// # Errors
    /// When the kernel does not run the program.
    pub fn call(&self, call: &ProgramCall<'_>) -> Outcome<Reply> {
        self.place.update(&[0; 4], &self.desk.fill(call), 0)?;
        // Tracing programs take no packet.
        let run = match types::takes_packet(call.op.prog_type) {
            true => TestRun::new().data_in(&[0; 64]),
            false => TestRun::new(),
        };
        self.prog.test_run(&run).ok()?;
        Ok(self.desk.reply(call, &self.place.lookup(&[0; 4], 0)?))
    }
}

/// The types of the functions of a program with a callback, and where these begin.
fn callback_types(kernel: &Kernel, op: &ProgramOp, asm: &Asm) -> Outcome<Option<(Btf, Functions)>> {
    if !op.args.contains(&Arg::Callback) {
        return Ok(None);
    }
    let mut types = BtfWriter::new();
    let (int, long, ptr) = (types.int("int", 4), types.int("long", 8), types.ptr(0));
    let main = types.func("main", int, &[("ctx", ptr)]);
    let parameters = [("a", ptr), ("b", ptr), ("c", ptr), ("d", ptr)];
    let body = types.func("body", long, &parameters);
    let at = u32::try_from(asm.at("body")).expect("a program is short");
    let btf = kernel.load_btf(&types.blob())?;
    Ok(Some((btf, [(0, main), (at, body)])))
}
