# SPDX-License-Identifier: MIT OR Apache-2.0
"""What each instruction does, and how a vector is put together (see generate.py)."""

PASSED = 0x600D
M64 = (1 << 64) - 1
M32 = (1 << 32) - 1
MIN64, MAX64 = 1 << 63, (1 << 63) - 1
MIN32, MAX32 = 1 << 31, (1 << 31) - 1
SIZES = {"b": 1, "h": 2, "w": 4, "dw": 8}
MINUS1 = M64

# --- The model: what each instruction does ------------------------------------


def signed(value, bits):
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def alu(op, bits, a, b):
    """The destination register after `a op b` in 32 or 64 bits."""
    mask = (1 << bits) - 1
    a, b = a & mask, b & mask
    sa, sb = signed(a, bits), signed(b, bits)
    shift = b & (bits - 1)
    if op == "add":
        result = a + b
    elif op == "sub":
        result = a - b
    elif op == "mul":
        result = a * b
    elif op == "div":
        result = a // b if b else 0
    elif op == "mod":
        result = a % b if b else a
    elif op == "sdiv":  # rounds towards zero, unlike Python's
        result = abs(sa) // abs(sb) * (1 if (sa < 0) == (sb < 0) else -1) if sb else 0
    elif op == "smod":  # has the sign of the dividend, unlike Python's
        result = abs(sa) % abs(sb) * (-1 if sa < 0 else 1) if sb else sa
    elif op == "or":
        result = a | b
    elif op == "and":
        result = a & b
    elif op == "xor":
        result = a ^ b
    elif op == "lsh":
        result = a << shift
    elif op == "rsh":
        result = a >> shift
    elif op == "arsh":
        result = sa >> shift
    elif op == "mov":
        result = b
    elif op == "neg":
        result = -a
    return result & mask  # 32-bit results are zero-extended


def compare(op, bits, a, b):
    """Whether the conditional jump is taken."""
    mask = (1 << bits) - 1
    a, b = a & mask, b & mask
    sa, sb = signed(a, bits), signed(b, bits)
    return {
        "jeq": a == b, "jne": a != b, "jset": a & b != 0,
        "jgt": a > b, "jge": a >= b, "jlt": a < b, "jle": a <= b,
        "jsgt": sa > sb, "jsge": sa >= sb, "jslt": sa < sb, "jsle": sa <= sb,
    }[op]


def swapped(value, bits):
    size = bits // 8
    return int.from_bytes((value & ((1 << bits) - 1)).to_bytes(size, "little"), "big")


def atomic(op, bits, memory, operand):
    """The memory word after an atomic operation."""
    if op == "xchg":
        return operand & ((1 << bits) - 1)
    return alu(op, bits, memory, operand)


# --- Vectors ------------------------------------------------------------------

VECTORS = {}


def emit(name, title, *, asm=None, raw=None, mem=b"", result=None, error=None):
    text = ["# SPDX-License-Identifier: MIT OR Apache-2.0", f"# {title}"]
    if asm is not None:
        text += ["-- asm"] + asm
    if raw is not None:
        text += ["-- raw"] + [f"0x{slot:016x}" for slot in raw]
    if mem:
        text.append("-- mem")
        text += [mem[i : i + 16].hex(" ") for i in range(0, len(mem), 16)]
    if result is not None:
        text += ["-- result", f"0x{result & M64:x}"]
    if error is not None:
        text += ["-- error", error]
    name += ".data"
    assert name not in VECTORS, name
    VECTORS[name] = "\n".join(text) + "\n"


class Cases:
    """A program that tries cases one after another and returns PASSED or the
    number of the first wrong one. %r1 keeps the memory, %r2 the number."""

    POOL = [0, 3, 4, 5, 6, 7, 8, 9]

    def __init__(self, name, title):
        self.name, self.title = name, title
        self.asm, self.mem, self.count = [], b"", 0

    def case(self, comment):
        self.count += 1
        self.asm += [f"# {self.count}: {comment}", f"mov %r2, {self.count}"]

    def registers(self, number):
        """Different registers, others in each case."""
        start, step = self.count % 8, (1, 3, 5, 7)[self.count // 8 % 4]
        return [self.POOL[(start + step * i) % 8] for i in range(number)]

    def data(self, register, value):
        """Loads a value of which nothing is known before the program runs."""
        self.asm.append(f"ldxdw %r{register}, [%r1+{len(self.mem)}]")
        self.mem += (value & M64).to_bytes(8, "little")

    def const(self, register, value):
        self.asm.append(f"lddw %r{register}, 0x{value & M64:x}")

    def add(self, *lines):
        self.asm += lines

    def expect(self, register, value, scratch):
        self.const(scratch, value)
        self.asm.append(f"jne %r{register}, %r{scratch}, fail")

    def finish(self, functions=()):
        asm = self.asm + [f"mov %r0, {PASSED}", "exit", "fail:", "mov %r0, %r2", "exit", *functions]
        emit(self.name, self.title, asm=asm, mem=self.mem, result=PASSED)


def x(value):
    return f"0x{value & M64:x}"


def suffix(bits):
    return "32" if bits == 32 else ""
