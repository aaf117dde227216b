# SPDX-License-Identifier: MIT OR Apache-2.0
"""Programs that must be refused before they run, or must fault while running."""

from model import M32, M64, MAX32, MIN32, MIN64, SIZES, emit, suffix, x

LD, LDX, ST, STX, ALU, JMP, JMP32, ALU64 = range(8)
EXIT = 0x95
OPS = {"add": 0x00, "sub": 0x10, "mul": 0x20, "div": 0x30, "or": 0x40, "and": 0x50, "lsh": 0x60, "rsh": 0x70,
       "neg": 0x80, "mod": 0x90, "xor": 0xA0, "mov": 0xB0, "arsh": 0xC0}
JUMPS = {"jeq": 0x10, "jgt": 0x20, "jge": 0x30, "jset": 0x40, "jne": 0x50, "jsgt": 0x60, "jsge": 0x70,
         "jlt": 0xA0, "jle": 0xB0, "jslt": 0xC0, "jsle": 0xD0}
SIZE_BITS = {"w": 0x00, "h": 0x08, "b": 0x10, "dw": 0x18}


def insn(opcode, dst=0, src=0, off=0, imm=0):
    return opcode | dst << 8 | src << 12 | (off & 0xFFFF) << 16 | (imm & M32) << 32


MOV0 = insn(0xB7)  # mov %r0, 0
MOV1 = insn(0xB7, 1)  # mov %r1, 0
STACK = insn(0x7A, 10, 0, -8)  # stdw [%r10-8], 0


def refuse(name, title, *slots, why, before=(MOV0, MOV1), after=(insn(EXIT),)):
    emit(f"refuse-{name}", title, raw=[*before, *slots, *after], error=f"load: {why}")


def reserved(name, fields, before=(MOV0, MOV1), after=(insn(EXIT),), **valid):
    """One vector for each field that the instruction does not use."""
    for field, value in fields.items():
        given = dict(valid)
        given[field] = value
        refuse(f"{name}-{field}", f"{name} with something in a field that must be zero", insn(**given),
               why="reserved field is not zero", before=before, after=after)


def refused():
    for op, code in OPS.items():
        for cls, bits in ((ALU64, 64), (ALU, 32)):
            name = f"{op}{bits}"
            if op == "neg":
                reserved(name, {"src": 1, "off": 1, "imm": 1}, opcode=code | cls)
                continue
            # 1 selects the signed forms of div and mod, and mov has offsets of its own.
            off = 2 if op in ("div", "mod") else 7 if op == "mov" else 1
            reserved(f"{name}_imm", {"src": 1, "off": 8 if op == "mov" else off}, opcode=code | cls, imm=1)
            reserved(f"{name}_reg", {"imm": 1, "off": off}, opcode=code | cls | 8, src=1)
    reserved("movsx3232", {"off": 32}, opcode=0xBC, src=1)
    for width in (8, 16, 32):
        reserved(f"movsx{width}64", {"imm": 1}, opcode=0xBF, src=1, off=width)
    for op in ("div", "mod"):
        for cls, bits in ((ALU64, 64), (ALU, 32)):
            for sign, off in (("", 0), ("s", 1)):
                refuse(f"{sign}{op}{bits}-by-0", "division by an immediate zero",
                       insn(OPS[op] | cls, off=off), why="division by zero")
    for name, code in (("le", 0xD4), ("be", 0xDC), ("swap", 0xD7)):
        reserved(f"{name}32", {"src": 1, "off": 1}, opcode=code, imm=32)
        for width in (0, 8, 24, 128, -1):
            refuse(f"{name}-{width}", "a byte order of a width that does not exist", insn(code, imm=width),
                   why="unknown width")

    for op, code in JUMPS.items():
        for cls, bits in ((JMP, 64), (JMP32, 32)):
            reserved(f"{op}{bits}_imm", {"src": 1}, opcode=code | cls)
            reserved(f"{op}{bits}_reg", {"imm": 1}, opcode=code | cls | 8, src=1)
    reserved("ja", {"dst": 1, "src": 1, "imm": 1}, opcode=0x05)
    reserved("ja32", {"dst": 1, "src": 1, "off": 1}, opcode=0x06, after=(MOV0, insn(EXIT)))
    reserved("may_goto", {"dst": 1, "src": 1, "imm": 1}, opcode=0xE5)
    reserved("call", {"dst": 1, "off": 1}, opcode=0x85, imm=5)
    reserved("call_local", {"dst": 1, "off": 1}, opcode=0x85, src=1, imm=1, after=(insn(EXIT), MOV0, insn(EXIT)))
    for src in range(3, 16):
        refuse(f"call-kind-{src}", "a call of a kind that does not exist", insn(0x85, src=src, imm=5),
               why="unknown kind of call")
    reserved("exit", {"dst": 1, "src": 1, "off": 1, "imm": 1}, opcode=EXIT, after=())

    # %r1 = %r10 - 8, which holds a number.
    pointer = (MOV0, STACK, insn(0xBF, 1, 10), insn(0x07, 1, imm=-8))
    for size, code in SIZE_BITS.items():
        reserved(f"ldx{size}", {"imm": 1}, opcode=0x61 | code, src=1, before=pointer)
        reserved(f"st{size}", {"src": 1}, opcode=0x62 | code, dst=1, before=pointer)
        reserved(f"stx{size}", {"imm": 1}, opcode=0x63 | code, dst=1, before=pointer)
        if size != "dw":
            reserved(f"ldxs{size}", {"imm": 1}, opcode=0x81 | code, src=1, before=pointer)
    reserved("lddw", {"off": 1}, opcode=0x18, after=(0, insn(EXIT)))
    for field, slot in (("opcode", insn(0xB7)), ("dst", insn(0, 1)), ("src", insn(0, 0, 1)), ("off", insn(0, 0, 0, 1))):
        refuse(f"lddw-second-{field}", "lddw with something but an immediate in its second half", insn(0x18), slot,
               why="reserved field is not zero")
    for src in range(7, 16):
        refuse(f"lddw-kind-{src}", "lddw of a kind that does not exist", insn(0x18, src=src), 0,
               why="unknown kind of lddw")

    for size in ("w", "dw"):
        for imm in (0x02, 0x10, 0x20, 0x30, 0x51 | 0x100, 0xB1, 0xE0, 0xF0, 0x101, 0x111, 0x120, -1):
            refuse(f"atomic{size}-0x{imm & M32:x}", "an atomic operation that does not exist",
                   insn(0xC3 | SIZE_BITS[size], 1, 0, 0, imm), why="unknown atomic operation", before=pointer)
    for size in ("b", "h"):
        for imm in (0x00, 0x01, 0xE1, 0xF1):
            refuse(f"atomic{size}-0x{imm:x}", "an atomic operation on less than 32 bits",
                   insn(0xC3 | SIZE_BITS[size], 1, 0, 0, imm), why="unknown atomic operation", before=pointer)

    registers(pointer)
    targets()

    # Whatever no instruction has for an opcode. 0x20 to 0x50 are the legacy packet loads.
    known = {0x18, 0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x05, 0x06, 0x85, 0x95, 0xE5, 0x87, 0x84, 0xD4, 0xDC, 0xD7,
             0xC3, 0xCB, 0xD3, 0xDB, 0x81, 0x89, 0x91}
    known |= {code | cls | src for op, code in OPS.items() if op != "neg" for cls in (ALU, ALU64) for src in (0, 8)}
    known |= {code | cls | src for code in JUMPS.values() for cls in (JMP, JMP32) for src in (0, 8)}
    known |= {mode | code for mode in (0x61, 0x62, 0x63) for code in SIZE_BITS.values()}
    for opcode in sorted(set(range(256)) - known):
        refuse(f"opcode-{opcode:02x}", "an opcode that no instruction has", insn(opcode), why="unknown opcode")


def registers(pointer):
    forms = {
        "mov": (0xBF, {"dst": 0, "src": 1}), "mov32_imm": (0xB4, {"dst": 0}), "neg": (0x87, {"dst": 0}),
        "be16": (0xDC, {"dst": 0, "imm": 16}), "jeq": (0x1D, {"dst": 0, "src": 1}), "jeq_imm": (0x15, {"dst": 0}),
        "ldxb": (0x71, {"dst": 0, "src": 1}), "stxb": (0x73, {"dst": 1, "src": 0}), "stb": (0x72, {"dst": 1}),
        "atomic": (0xDB, {"dst": 1, "src": 0}), "load_acq": (0xDB, {"dst": 0, "src": 1, "imm": 0x100}),
        "store_rel": (0xDB, {"dst": 1, "src": 0, "imm": 0x110}),
    }
    for form, (opcode, fields) in forms.items():
        for field in ("dst", "src"):
            if field not in fields:
                continue
            for number in range(11, 16) if form in ("mov", "ldxb") else (11, 15):
                refuse(f"register-{form}-{field}-{number}", "a register that does not exist",
                       insn(opcode, **{**fields, field: number}), why="unknown register", before=pointer)
    for number in (11, 15):
        refuse(f"register-lddw-dst-{number}", "a register that does not exist", insn(0x18, number), 0,
               why="unknown register")

    writes = {
        "mov": insn(0xBF, 10, 0), "mov_imm": insn(0xB7, 10), "mov32": insn(0xBC, 10, 0), "movsx864": insn(0xBF, 10, 0, 8),
        "add": insn(0x07, 10, imm=8), "sub_reg": insn(0x1F, 10, 0), "neg": insn(0x87, 10), "le64": insn(0xD4, 10, imm=64),
        "swap64": insn(0xD7, 10, imm=64), "ldxdw": insn(0x79, 10, 1), "ldxsb": insn(0x91, 10, 1),
        "fetch_add": insn(0xDB, 1, 10, imm=1), "xchg": insn(0xDB, 1, 10, imm=0xE1),
        "load_acq": insn(0xDB, 10, 1, imm=0x100),
    }
    for name, slot in writes.items():
        refuse(f"write-r10-{name}", "the frame pointer is read-only", slot, why="write to %r10", before=pointer)
    refuse("write-r10-lddw", "the frame pointer is read-only", insn(0x18, 10), 0, why="write to %r10")


def targets():
    jumps_by_name = {"ja": (0x05, "off"), "ja32": (0x06, "imm"), "jeq": (0x15, "off"), "jne32": (0x56, "off"),
                     "may_goto": (0xE5, "off")}
    for name, (opcode, field) in jumps_by_name.items():
        # Two instructions before, one after: -4 is before the first, 1 after the last.
        for distance in (1, 2, -4, 32767, -32768):
            refuse(f"jump-{name}{distance:+}", "a jump out of the program", insn(opcode, **{field: distance}),
                   why="jump out of the program")
        refuse(f"jump-{name}-into-lddw", "a jump into the second half of an lddw",
               insn(opcode, **{field: 1}), insn(0x18), 0, why="jump into the middle of an instruction")
        refuse(f"jump-{name}-back-into-lddw", "a jump back into the second half of an lddw",
               insn(0x18), 0, insn(opcode, **{field: -2}), why="jump into the middle of an instruction")
    for distance in (MAX32, -MIN32, 65536):
        refuse(f"jump-ja32{distance:+}", "a long jump out of the program", insn(0x06, imm=distance),
               why="jump out of the program")
    for distance in (1, 2, -4, MAX32, -MIN32):
        refuse(f"call{distance:+}", "a call out of the program", insn(0x85, src=1, imm=distance),
               why="call out of the program")
    refuse("call-into-lddw", "a call into the second half of an lddw",
           insn(0x85, src=1, imm=2), insn(EXIT), insn(0x18), 0, why="call into the middle of an instruction")

    last = {"mov": MOV0, "jeq": insn(0x15, off=-1), "call": insn(0x85, imm=5), "lddw": insn(0x18),
            "may_goto": insn(0xE5, off=-1), "store": STACK}
    for name, slot in last.items():
        slots = (slot, 0) if name == "lddw" else (slot,)
        refuse(f"end-{name}", "the end of the program can be reached without an exit", *slots, after=(),
               why="falls off the end")
    refuse("end-subprog", "the end of a sub-program can be reached without an exit",
           insn(0x85, src=1, imm=1), insn(EXIT), MOV0, after=(), why="falls off the end")
    refuse("fall-into-subprog", "a function runs on into the next one",
           insn(0x85, src=1, imm=1), MOV0, MOV0, why="falls off the end")
    refuse("jump-into-subprog", "a function jumps into another one",
           insn(0x85, src=1, imm=2), insn(0x05, off=2), insn(EXIT), MOV0, MOV0, why="jump out of the function")
    refuse("lddw-truncated", "the second half of an lddw is missing", insn(0x18), after=(), why="truncated instruction")
    emit("refuse-callx", "a call to an address in a register", raw=[MOV0, insn(0x8D, 0), insn(EXIT)],
         error="load: unknown opcode")


def faults():
    def fault(name, title, *asm, why, mem=b""):
        emit(f"fault-{name}", title, asm=[*asm, "mov %r0, 0", "exit"], mem=mem, error=f"run: {why}")

    for size_suffix, size in SIZES.items():
        fault(f"ldx{size_suffix}-after", "a load of which the last byte is one too far",
              f"ldx{size_suffix} %r0, [%r1+{16 - size}]", f"ldx{size_suffix} %r0, [%r1+{17 - size}]",
              why="load outside of every region", mem=bytes(16))
        fault(f"ldx{size_suffix}-before", "a load of which the first byte is one too far",
              f"ldx{size_suffix} %r0, [%r1+0]", f"ldx{size_suffix} %r0, [%r1-1]",
              why="load outside of every region", mem=bytes(16))
        fault(f"stx{size_suffix}-after", "a store of which the last byte is one too far",
              "mov %r0, 0", f"stx{size_suffix} [%r1+{16 - size}], %r0", f"stx{size_suffix} [%r1+{17 - size}], %r0",
              why="store outside of every region", mem=bytes(16))
        fault(f"st{size_suffix}-above-stack", "a store above the stack",
              f"st{size_suffix} [%r10-{size}], 1", f"st{size_suffix} [%r10+0], 1", why="store outside of every region")
        fault(f"st{size_suffix}-below-stack", "a store below the stack",
              f"st{size_suffix} [%r10-512], 1", f"st{size_suffix} [%r10-513], 1", why="store outside of every region")
        fault(f"ldx{size_suffix}-null", "a load from address 0", "mov %r3, 0", f"ldx{size_suffix} %r0, [%r3+0]",
              why="load outside of every region")
    for name, address in (("page", 4088), ("high", MIN64), ("top", M64 - 7), ("window", 1 << 32), ("sign", 0xFFFFFFFF80000000)):
        fault(f"ldxdw-{name}", "a load from an address that is nothing", f"lddw %r3, {x(address)}",
              "ldxdw %r0, [%r3+0]", why="load outside of every region")
    fault("upper-bits", "a pointer with something in its upper half is not the pointer",
          "ldxb %r0, [%r1+0]", "lddw %r3, 0x100000000", "add %r3, %r1", "ldxb %r0, [%r3+0]",
          why="load outside of every region", mem=bytes(16))
    for op in ("add", "fetch add", "xchg", "cmpxchg"):
        fault(f"atomic-{op.replace(' ', '-')}-after", "an atomic operation outside of memory", "mov %r0, 0", "mov %r3, 0",
              f"lock {op} [%r10+0], %r3", why="store outside of every region")
    fault("load_acq-above-stack", "a load above the stack", "load_acqw %r0, [%r10+0]", why="load outside of every region")
    fault("store_rel-above-stack", "a store above the stack", "mov %r0, 0", "store_relw [%r10+0], %r0",
          why="store outside of every region")
    for bits, offset in ((64, -12), (32, -10)):
        fault(f"atomic{bits}-unaligned", "an atomic operation at an odd address", "stdw [%r10-8], 0", "stdw [%r10-16], 0",
              "mov %r3, 1", f"lock add{suffix(bits)} [%r10{offset}], %r3", why="unaligned atomic operation")
    fault("helper", "a call of a helper that does not exist", "call 9999", why="unknown helper")

    asm = ["call local f2", "exit"]
    for depth in range(2, 10):
        asm += [f"f{depth}:", *([f"call local f{depth + 1}"] if depth < 9 else ["mov %r0, 0"]), "exit"]
    emit("fault-call-depth-9", "a ninth frame", asm=asm, error="run: too many frames")
    emit("fault-recursion", "a function that calls itself for ever",
         asm=["call local again", "exit", "again:", "call local again", "exit"], error="run: too many frames")
