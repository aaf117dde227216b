#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Writes the instruction vectors: one small program a file, with its result.

    generate.py           writes every *.data file beside this script
    generate.py --check   reports files that differ from what would be written

What is right is decided in model.py, by plain Python integers after RFC 9669; no
BPF engine has a part in it. What must not run is in refusals.py.

The format is that of the public bpf_conformance suite:

    -- asm      a program in the syntax below
    -- raw      or its instructions, each as one little-endian 64-bit number
    -- mem      bytes in hex; %r1 points to them (writable), %r2 is their count
    -- result   what the program leaves in %r0
    -- error    or why it does not run: `load: ...` if it must be refused before
                it runs, `run: ...` if it must fault while running

Many values to a file. A vector named after an instruction tries that one
instruction on all of its edge values, numbered from 1. The program returns
PASSED (0x600d) or the number of the first case that went wrong; the comment
with that number shows the operands and the right result. So a file fails as a
whole, yet points at a value; and there is one file for each row of the
instruction table, width and kind of source:

    reg     both operands come from memory, so that nobody can compute the
            result before the program runs
    imm     the first operand comes from memory, the second is in the instruction
    const   both operands are constants, so that somebody may compute it before

The register numbers change from case to case, and every case that has a source
register also checks that the source kept its value. What a program needs to
report (mov, lddw, ldxdw, jne, exit) is tested by itself in the files base-*.

Assembler syntax: one instruction a line, `# comment`, `label:` on its own line.
REG is %r0 to %r10, IMM a decimal number or 0x..., TARGET a label or +N or -N
(in instructions, from the next one), MEM is [REG], [REG+N] or [REG-N].

    add sub mul div sdiv mod smod or and xor lsh rsh arsh mov   REG, REG|IMM
    the same with the suffix 32
    neg neg32 le16 le32 le64 be16 be32 be64 swap16 swap32 swap64   REG
    movsx832 movsx1632 movsx864 movsx1664 movsx3264   REG, REG
    lddw REG, IMM64
    ldxb ldxh ldxw ldxdw ldxsb ldxsh ldxsw   REG, MEM
    stb sth stw stdw   MEM, IMM
    stxb stxh stxw stxdw   MEM, REG
    lock [fetch] add|or|and|xor[32]   MEM, REG
    lock xchg|cmpxchg[32]   MEM, REG
    load_acqb load_acqh load_acqw load_acqdw   REG, MEM
    store_relb store_relh store_relw store_reldw   MEM, REG
    ja TARGET    ja32 TARGET    may_goto TARGET
    jeq jne jgt jge jlt jle jsgt jsge jslt jsle jset   REG, REG|IMM, TARGET
    the same with the suffix 32
    call N    call local TARGET    exit

`load_acq`, `store_rel` and `may_goto` are not in the public suite; they stand
for the atomic instructions with immediates 0x100 and 0x110, and for opcode 0xe5.
"""

import pathlib
import sys

sys.dont_write_bytecode = True  # leaves no cache beside the vectors

from model import (M32, M64, MAX32, MAX64, MIN32, MIN64, MINUS1, PASSED, SIZES, VECTORS, Cases, alu, atomic, compare,
                   emit, signed, suffix, swapped, x)
from refusals import faults, refused

HERE = pathlib.Path(__file__).resolve().parent

# --- The instructions that the programs report with ---------------------------


def base():
    for value in (0, 1, -1, MAX32, -MIN32, 0x1234):
        emit(f"base-mov-{value & M64:x}", "mov of an immediate extends its sign",
             asm=[f"mov %r0, {value}", "exit"], result=value)
    for value in (0, 1, M64, MIN64, MAX64, MIN32, M32, 1 << 32, 0x0123456789ABCDEF):
        emit(f"base-lddw-{value:x}", "lddw loads all 64 bits",
             asm=[f"lddw %r0, {x(value)}", "exit"], result=value)
    for a, b in ((0, 0), (0, 1), (1, 1), (1 << 32, 0), (0, 1 << 32), (M64, M32), (MIN64, 0), (M64, M64)):
        emit(f"base-jne-{a:x}-{b:x}", "jne compares all 64 bits",
             asm=[f"lddw %r3, {x(a)}", f"lddw %r4, {x(b)}", "mov %r0, 1", "jne %r3, %r4, +1",
                  "mov %r0, 2", "exit"],
             result=1 if a != b else 2)
    for offset, value in ((0, 0x0123456789ABCDEF), (8, MIN64)):
        emit(f"base-ldxdw-{offset}", "ldxdw loads eight bytes, the lowest first",
             asm=[f"ldxdw %r0, [%r1+{offset}]", "exit"],
             mem=(0x0123456789ABCDEF).to_bytes(8, "little") + MIN64.to_bytes(8, "little"), result=value)
    emit("base-length", "%r2 holds the number of bytes of memory",
         asm=["mov %r0, %r2", "exit"], mem=bytes(19), result=19)
    emit("base-exit-first", "nothing after the first exit runs",
         asm=["mov %r0, 7", "exit", "mov %r0, 8", "exit"], result=7)


# --- Arithmetic ---------------------------------------------------------------

BINARY = ["add", "sub", "mul", "div", "sdiv", "mod", "smod", "or", "and", "xor", "mov"]
SHIFTS = ["lsh", "rsh", "arsh"]
LEFT = {
    64: [0, 1, MINUS1, MIN64, MAX64, MIN32, 0x7FFFFFFF, 0x123456789ABCDEF0],
    32: [0, 1, M32, MIN32, 0x7FFFFFFF, 0xAAAAAAAA80000000, 0x5555555512345678, MINUS1],
}
RIGHT = {
    64: [0, 1, MINUS1, MIN64, MIN32, M32, 0xFFFFFFFF00000000, 7],
    32: [0, 1, M32, MIN32, 0x7FFFFFFF, 0xFFFFFFFF00000000, 0x1234567800000007, MINUS1],
}
COUNTS = [0, 1, 31, 32, 33, 63, 64, 65, MINUS1, 0x100000001]
IMMEDIATES = [0, 1, -1, 7, -7, MAX32, -MIN32, 0x12345678]


def operands(op, bits):
    if op in SHIFTS:
        return [(a, b) for a in LEFT[bits][1:7] for b in COUNTS]
    return [(a, b) for a in LEFT[bits] for b in RIGHT[bits]]


def immediates(op, bits):
    if op in SHIFTS:
        return [0, 1, 7, 31, 32, 63, 64, -1]
    if op in ("div", "mod", "sdiv", "smod"):
        return [i for i in IMMEDIATES if i]
    return IMMEDIATES


def arithmetic():
    for op in BINARY + SHIFTS:
        for bits in (64, 32):
            mnemonic = op + suffix(bits)

            cases = Cases(f"alu-{op}{bits}-reg", f"{mnemonic} of two registers, operands from memory")
            for a, b in operands(op, bits):
                result = alu(op, bits, a, b)
                cases.case(f"{x(a)}, {x(b)} -> {x(result)}")
                dst, src, scratch = cases.registers(3)
                cases.data(dst, a)
                cases.data(src, b)
                cases.add(f"{mnemonic} %r{dst}, %r{src}")
                cases.expect(dst, result, scratch)
                cases.expect(src, b, scratch)
            for a in LEFT[bits]:
                result = alu(op, bits, a, a)
                cases.case(f"{x(a)} with itself -> {x(result)}")
                dst, scratch = cases.registers(2)
                cases.data(dst, a)
                cases.add(f"{mnemonic} %r{dst}, %r{dst}")
                cases.expect(dst, result, scratch)
            cases.finish()

            cases = Cases(f"alu-{op}{bits}-imm", f"{mnemonic} of a register and an immediate")
            for a in LEFT[bits]:
                for immediate in immediates(op, bits):
                    result = alu(op, bits, a, immediate)
                    cases.case(f"{x(a)}, {immediate} -> {x(result)}")
                    dst, scratch = cases.registers(2)
                    cases.data(dst, a)
                    cases.add(f"{mnemonic} %r{dst}, {immediate}")
                    cases.expect(dst, result, scratch)
            cases.finish()

            cases = Cases(f"alu-{op}{bits}-const", f"{mnemonic} of two constants in registers")
            for a, b in operands(op, bits)[::2] + operands(op, bits)[1::6]:
                result = alu(op, bits, a, b)
                cases.case(f"{x(a)}, {x(b)} -> {x(result)}")
                dst, src, scratch = cases.registers(3)
                cases.const(dst, a)
                cases.const(src, b)
                cases.add(f"{mnemonic} %r{dst}, %r{src}")
                cases.expect(dst, result, scratch)
            cases.finish()

    values = sorted(set(LEFT[64] + LEFT[32] + [0x8080808080808080, 0x7F7F7F7F7F7F7F7F, 0x0102030405060708,
                                               0xFFFF8000, 0x7FFF, 0x80, 0x7F]))
    for bits in (64, 32):
        unary(f"alu-neg{bits}", f"neg{suffix(bits)}", values, lambda a: alu("neg", bits, a, 0))
    for bits in (16, 32, 64):
        mask = (1 << bits) - 1
        unary(f"endian-le{bits}", f"le{bits}", values, lambda a: a & mask)
        unary(f"endian-be{bits}", f"be{bits}", values, lambda a: swapped(a, bits))
        unary(f"endian-swap{bits}", f"swap{bits}", values, lambda a: swapped(a, bits))

    for width, bits in ((8, 32), (16, 32), (8, 64), (16, 64), (32, 64)):
        cases = Cases(f"alu-movsx{width}to{bits}", f"movsx from {width} to {bits} bits")
        for from_memory in (True, False):
            for a in values:
                result = signed(a, width) & ((1 << bits) - 1)
                cases.case(f"{x(a)} -> {x(result)}")
                dst, src, scratch = cases.registers(3)
                (cases.data if from_memory else cases.const)(src, a)
                if cases.count % 4 == 0:
                    dst = src
                else:
                    cases.const(dst, MINUS1)
                cases.add(f"movsx{width}{bits} %r{dst}, %r{src}")
                cases.expect(dst, result, scratch)
                if dst != src:
                    cases.expect(src, a, scratch)
        cases.finish()


def unary(name, mnemonic, values, model):
    cases = Cases(name, f"{mnemonic}, first of operands from memory, then of constants")
    for from_memory in (True, False):
        for a in values:
            result = model(a)
            cases.case(f"{x(a)} -> {x(result)}")
            dst, scratch = cases.registers(2)
            (cases.data if from_memory else cases.const)(dst, a)
            cases.add(f"{mnemonic} %r{dst}")
            cases.expect(dst, result, scratch)
    cases.finish()


# --- Jumps --------------------------------------------------------------------

CONDITIONS = ["jeq", "jne", "jgt", "jge", "jlt", "jle", "jsgt", "jsge", "jslt", "jsle", "jset"]


def jump_pairs(bits):
    edges = [0, MINUS1, MIN64, MAX64, MIN32, 0x7FFFFFFF, M32, 0xFFFFFFFF80000000]
    pairs = [(a, b & M64) for a in edges for b in (a, a + 1, a - 1)]
    pairs += [(a, b) for a in edges[:4] for b in edges[:4] if a != b]
    pairs += [(1 << 32, 1), (1, 1 << 32), (0xAAAAAAAA00000005, 0x5555555500000005), (0b1010, 0b0101), (6, 3)]
    return pairs


def jump_immediates(bits):
    pairs = []
    for immediate in (0, 1, -1, MAX32, -MIN32, 0x1234567, -0x1234567):
        value = immediate & M64
        pairs += [(a & M64, immediate) for a in (value, value + 1, value - 1, value & M32, value ^ MIN64,
                                                 value ^ (0xA5 << 32))]
    return pairs


class Jumps:
    """A program of jumps: returns PASSED or the number of the first wrong case."""

    def __init__(self, name, title):
        self.name, self.title, self.asm, self.mem, self.count = name, title, [], b"", 0
        self.outcomes = set()

    def case(self, op, bits, a, b, kind):
        taken = compare(op, bits, a, b)
        self.outcomes.add(taken)
        self.count += 1
        shown = b if kind == "imm" else x(b)
        self.asm += [f"# {self.count}: {x(a)}, {shown}: {'taken' if taken else 'not taken'}",
                     f"mov %r0, {self.count}"]
        first, second = 2 + self.count % 8, 2 + (self.count + 3) % 8
        self.operand(first, a, kind == "const")
        if kind == "imm":
            right = b
        else:
            self.operand(second, b, kind == "const")
            right = f"%r{second}"
        mnemonic = op + suffix(bits)
        if taken:
            self.asm += [f"{mnemonic} %r{first}, {right}, taken{self.count}", "exit", f"taken{self.count}:"]
        else:
            self.asm += [f"{mnemonic} %r{first}, {right}, fail"]

    def operand(self, register, value, constant):
        if constant:
            self.asm.append(f"lddw %r{register}, {x(value)}")
        else:
            self.asm.append(f"ldxdw %r{register}, [%r1+{len(self.mem)}]")
            self.mem += value.to_bytes(8, "little")

    def finish(self):
        assert self.outcomes == {True, False}, self.name
        emit(self.name, self.title, asm=self.asm + [f"mov %r0, {PASSED}", "fail:", "exit"],
             mem=self.mem, result=PASSED)


def jumps():
    for op in CONDITIONS:
        for bits in (64, 32):
            for kind, title in (("reg", "two registers, operands from memory"),
                                ("imm", "a register and an immediate"),
                                ("const", "two constants in registers")):
                program = Jumps(f"jump-{op}{bits}-{kind}", f"{op}{suffix(bits)} on {title}")
                for a, b in jump_immediates(bits) if kind == "imm" else jump_pairs(bits):
                    program.case(op, bits, a, b, kind)
                program.finish()

    # One loop for each condition; the jump back is taken until a counter runs out.
    loops = {  # condition: (start, step, operand), taken while it holds
        "jne": (10, -1, 0), "jgt": (10, -1, 0), "jge": (10, -1, 1), "jlt": (0, 1, 10), "jle": (1, 1, 10),
        "jsgt": (5, -1, -5), "jsge": (5, -1, -4), "jslt": (-5, 1, 5), "jsle": (-4, 1, 5), "jset": (8, 1, 8),
    }
    for bits in (64, 32):
        for kind in ("reg", "imm"):
            asm, turns = ["mov %r0, 0"], 0
            for op, (start, step, operand) in loops.items():
                asm += [f"mov %r3, {start}"]
                if kind == "reg":
                    asm += [f"mov %r4, {operand}"]
                asm += [f"{op}_loop:", "add %r0, 1", f"add %r3, {step}",
                        f"{op}{suffix(bits)} %r3, {'%r4' if kind == 'reg' else operand}, {op}_loop"]
                value = start
                while True:
                    turns += 1
                    value += step
                    if not compare(op, bits, value, operand):
                        break
            emit(f"jump-back{bits}-{kind}", "conditional jumps back, counting the turns of loops",
                 asm=asm + ["exit"], result=turns)

    for mnemonic in ("ja", "ja32"):
        # The jump on %r2, which is 0, keeps what is jumped over from being dead code.
        emit(f"jump-{mnemonic}", f"{mnemonic}: onwards, back, by nothing, and over an lddw",
             asm=["mov %r0, 1", "jne %r2, 0, over", f"{mnemonic} second", "first:", "lsh %r0, 4", "or %r0, 3",
                  f"{mnemonic} third", "second:", "lsh %r0, 4", "or %r0, 2", f"{mnemonic} first", "third:",
                  f"{mnemonic} +0", f"{mnemonic} +3", "over:", "lddw %r0, 0xbad", "add %r0, 1", "lsh %r0, 4",
                  "or %r0, 4", "exit"],
             result=0x1234)


# --- Loads and stores ---------------------------------------------------------


def pattern(count):
    """Bytes of which neighbours differ, half of them with the high bit set."""
    return bytes((i * 0x5D + 0x83) & 0xFF for i in range(count))


def loads():
    memory = pattern(64)
    for mnemonic, size, extend in ([(f"ldx{s}", n, False) for s, n in SIZES.items()]
                                   + [(f"ldxs{s}", n, True) for s, n in list(SIZES.items())[:3]]):
        cases = Cases(f"load-{mnemonic}", f"{mnemonic} at positive and negative offsets, aligned and not")
        cases.mem = memory

        def loaded(at):
            value = int.from_bytes(memory[at : at + size], "little")
            return signed(value, size * 8) & M64 if extend else value

        for base, offset in ([(0, o) for o in (0, 1, 2, 3, 4, 7, 8, 31, 64 - size)]
                             + [(32, o) for o in (-32, -8, -5, -1, 0, 1, 8, 32 - size)]
                             + [(32768, o) for o in (-32768, -32767, -32709 - size)]
                             + [(-32760, o) for o in (32760, 32767)]):
            at = base + offset
            cases.case(f"bytes {at} to {at + size - 1} -> {x(loaded(at))}")
            dst, src, scratch = cases.registers(3)
            cases.add(f"mov %r{src}, %r1")
            if base:
                cases.add(f"add %r{src}, {base}")
            cases.const(dst, MINUS1)
            if cases.count % 4 == 0:
                dst = src  # the address register is overwritten
            cases.add(f"{mnemonic} %r{dst}, [%r{src}{offset:+}]")
            cases.expect(dst, loaded(at), scratch)
        cases.finish()


def stores():
    for size_suffix, size in SIZES.items():
        bits = size * 8
        for kind in ("stx", "st"):
            mnemonic = kind + size_suffix
            source = "a register" if kind == "stx" else "an immediate"
            cases = Cases(f"store-{mnemonic}", f"{mnemonic} of {source}, and that the bytes around keep their values")
            values = ([0, 1, MINUS1, 0x0123456789ABCDEF, MIN64, MIN32, 0x80, 0x8000] if kind == "stx" else IMMEDIATES)
            for number, value in enumerate(values):
                for at in (8, 8 + number % 8 or 11):  # aligned, then not
                    memory = bytearray(pattern(24))
                    start = len(cases.mem)
                    cases.mem += bytes(memory)
                    memory[at : at + size] = (value & ((1 << bits) - 1)).to_bytes(size, "little")
                    cases.case(f"{x(value) if kind == 'stx' else value} at byte {at} of 24")
                    address, src, scratch = cases.registers(3)
                    forward = cases.count % 2
                    cases.add(f"mov %r{address}, %r1", f"add %r{address}, {start + (0 if forward else 24)}")
                    offset = at if forward else at - 24
                    if kind == "stx":
                        cases.const(src, value)
                    cases.add(f"{mnemonic} [%r{address}{offset:+}], {f'%r{src}' if kind == 'stx' else value}")
                    if kind == "stx":
                        cases.expect(src, value, scratch)
                    for word in range(3):
                        cases.add(f"ldxdw %r{src}, [%r1+{start + word * 8}]")
                        cases.expect(src, int.from_bytes(memory[word * 8 : word * 8 + 8], "little"), scratch)
            cases.finish()

    cases = Cases("store-stack", "the stack holds 512 bytes, down from %r10")
    slots = [-8, -16, -256, -504, -512]
    for number, offset in enumerate(slots):
        cases.case(f"{number + 1} at {offset}")
        cases.add(f"stdw [%r10{offset}], {number + 1}")
    for number, offset in enumerate(slots):
        cases.case(f"{number + 1} again at {offset}")
        cases.add(f"ldxdw %r3, [%r10{offset}]")
        cases.expect(3, number + 1, 4)
    cases.finish()

    value = 0x1122334455667788
    asm = ["mov %r0, 0", f"lddw %r3, {x(value)}", "stxdw [%r10-8], %r3"]
    total = 0
    for mnemonic, size, at in (("ldxw", 4, 0), ("ldxw", 4, 4), ("ldxh", 2, 6), ("ldxh", 2, 2), ("ldxb", 1, 7),
                               ("ldxb", 1, 5)):
        asm += [f"{mnemonic} %r4, [%r10{at - 8}]", "mul %r0, 31", "add %r0, %r4"]
        total = (total * 31 + (value >> (at * 8) & ((1 << size * 8) - 1))) & M64
    emit("store-stack-parts", "parts of a word on the stack", asm=asm + ["exit"], result=total)


def wide_immediates():
    cases = Cases("lddw", "lddw into every register")
    for value in (0, 1, M64, MIN64, MAX64, MIN32, MAX32, M32, 1 << 32, M32 << 32, 0x0123456789ABCDEF):
        cases.case(x(value))
        dst, other, scratch = cases.registers(3)
        cases.const(dst, value)
        # Built from its halves, by other instructions.
        cases.add(f"mov %r{other}, {signed(value >> 32, 32)}", f"lsh %r{other}, 32",
                  f"mov32 %r{scratch}, {signed(value, 32)}", f"or %r{other}, %r{scratch}",
                  f"jne %r{dst}, %r{other}, fail")
    cases.finish()


# --- Atomics ------------------------------------------------------------------

ATOMIC_VALUES = {
    64: [(0, 0), (0, 1), (1, MINUS1), (MINUS1, 1), (MAX64, 1), (MIN64, MIN64), (M32, 1), (1 << 32, MINUS1),
         (0xFF00FF00F0F0F0F0, 0x0FF000000000FF10)],
    32: [(0, 0), (M32, 1), (MAX64, 1), (MIN32, MIN32), (0xAAAAAAAAFFFFFFFF, 0x5555555500000001),
         (0x1234567890ABCDEF, MINUS1), (0x00000001FFFFFFFF, 0xFF), (MINUS1, 0x8000000080000000)],
}


def atomics():
    for op in ("add", "or", "and", "xor", "xchg"):
        for bits in (64, 32):
            for fetch in (True,) if op == "xchg" else (False, True):
                mnemonic = f"lock {'fetch ' if fetch and op != 'xchg' else ''}{op}{suffix(bits)}"
                name = f"atomic-{'fetch-' if fetch and op != 'xchg' else ''}{op}{bits}"
                cases = Cases(name, f"{mnemonic} on the stack")
                for memory, operand in ATOMIC_VALUES[bits]:
                    for half in (0, 4) if bits == 32 else (0,):
                        atomic_case(cases, mnemonic, op, bits, fetch, memory, operand, half)
                cases.finish()

    for bits in (64, 32):
        mnemonic = f"lock cmpxchg{suffix(bits)}"
        cases = Cases(f"atomic-cmpxchg{bits}", f"{mnemonic}, hit and miss, on the stack")
        mask = (1 << bits) - 1
        for memory, operand in ATOMIC_VALUES[bits]:
            low = memory & mask
            for expected in (low, low ^ 1, low ^ (1 << (bits - 1)), low | (M32 << 32)):
                for half in (0, 4) if bits == 32 else (0,):
                    word = memory if half == 0 else (memory & M32) << 32 | memory >> 32
                    hit = expected & mask == low
                    after = operand & mask if hit else low
                    if bits == 32:
                        after = (word & ~(mask << (half * 8))) | after << (half * 8)
                    cases.case(f"{x(low)} with {x(expected)}: {'hit' if hit else 'miss'}, store {x(operand)}")
                    src, base = [r for r in cases.registers(3) if r != 0][:2]
                    scratch = next(r for r in (9, 8, 7) if r not in (src, base))
                    cases.data(src, word)
                    cases.add(f"mov %r{base}, %r10", f"add %r{base}, -40", f"stxdw [%r{base}+8], %r{src}")
                    cases.data(src, operand)
                    cases.data(0, expected)
                    cases.add(f"{mnemonic} [%r{base}{8 + half:+}], %r{src}")
                    cases.expect(0, low, scratch)  # the old value, zero-extended, hit or miss
                    cases.expect(src, operand, scratch)
                    cases.add(f"ldxdw %r0, [%r{base}+8]")
                    cases.expect(0, after, scratch)
        cases.finish()

        # The operand is the comparand's register itself: stores what is there already.
        emit(f"atomic-cmpxchg{bits}-r0", f"{mnemonic} with %r0 as its source",
             asm=["lddw %r3, 0x8877665544332211", "stxdw [%r10-8], %r3", "mov %r0, 0x44332211" if bits == 32
                  else "mov %r0, %r3", f"{mnemonic} [%r10-8], %r0", "ldxdw %r4, [%r10-8]",
                  "jne %r4, %r3, +2", "xor %r0, %r3", "exit", "mov %r0, -1", "exit"],
             result=0x8877665500000000 if bits == 32 else 0)

    loads_and_stores_in_order()


def atomic_case(cases, mnemonic, op, bits, fetch, memory, operand, half):
    """One operation on the low or the high half of a word, or on all of it."""
    mask = (1 << bits) - 1
    old = memory & mask
    word = memory if half == 0 else (memory & M32) << 32 | memory >> 32
    new = atomic(op, bits, old, operand)
    after = new if bits == 64 else (word & ~(mask << (half * 8))) | new << (half * 8)
    cases.case(f"{x(old)}, {x(operand)} -> {x(new)}{', high half' if half else ''}")
    base, src, scratch = cases.registers(3)
    cases.data(src, word)
    if cases.count % 3 == 0:
        base_text, low = "%r10", -16
    else:
        cases.add(f"mov %r{base}, %r10", f"add %r{base}, -40")
        base_text, low = f"%r{base}", 8
    cases.add(f"stxdw [{base_text}{low:+}], %r{src}")
    cases.data(src, operand)
    cases.add(f"{mnemonic} [{base_text}{low + half:+}], %r{src}")
    cases.expect(src, old if fetch else operand, scratch)
    cases.add(f"ldxdw %r{src}, [{base_text}{low:+}]")
    cases.expect(src, after, scratch)


def loads_and_stores_in_order():
    word = 0x8877F6E5D4C3B2A1
    for size_suffix, size in SIZES.items():
        mask = (1 << size * 8) - 1
        cases = Cases(f"atomic-load_acq{size_suffix}",
                      f"load_acq{size_suffix}: a load that later accesses may not pass")
        for at in range(0, 8, size):
            expected = word >> (at * 8) & mask
            cases.case(f"byte {at} -> {x(expected)}")
            dst, base, scratch = cases.registers(3)
            cases.data(dst, word)
            cases.add("stxdw [%r10-8], %r" + str(dst), f"mov %r{base}, %r10", f"add %r{base}, -32",
                      f"load_acq{size_suffix} %r{dst}, [%r{base}+{24 + at}]")
            cases.expect(dst, expected, scratch)
            cases.case(f"byte {at} into the address register")
            cases.add(f"load_acq{size_suffix} %r{base}, [%r{base}+{24 + at}]")
            cases.expect(base, expected, scratch)
        cases.finish()

        cases = Cases(f"atomic-store_rel{size_suffix}",
                      f"store_rel{size_suffix}: a store that earlier accesses may not pass")
        for at in range(0, 8, size):
            for value in (0x0123456789ABCDEF, MINUS1, 0):
                after = word & ~(mask << (at * 8)) | (value & mask) << (at * 8)
                cases.case(f"{x(value)} at byte {at} -> {x(after)}")
                src, base, scratch = cases.registers(3)
                cases.data(src, word)
                cases.add("stxdw [%r10-8], %r" + str(src), f"mov %r{base}, %r10", f"add %r{base}, 8")
                cases.data(src, value)
                cases.add(f"store_rel{size_suffix} [%r{base}{at - 16:+}], %r{src}")
                cases.expect(src, value, scratch)
                cases.add(f"ldxdw %r{src}, [%r10-8]")
                cases.expect(src, after, scratch)
        cases.finish()


# --- Calls --------------------------------------------------------------------


def calls():
    emit("call-arguments", "a callee sees %r1 to %r5 and returns %r0",
         asm=["mov %r1, 1", "mov %r2, 2", "mov %r3, 3", "mov %r4, 4", "mov %r5, 5", "call local digits", "exit",
              "digits:", "mov %r0, %r1"] + [line for r in (2, 3, 4, 5) for line in ("mul %r0, 10", f"add %r0, %r{r}")]
             + ["exit"],
         result=12345)
    emit("call-callee-saved", "%r6 to %r9 keep their values across a call",
         asm=["mov %r6, 6", "mov %r7, 7", "mov %r8, 8", "mov %r9, 9", "mov %r1, 0", "call local wreck",
              "mov %r0, 0"] + [line for r in (6, 7, 8, 9) for line in ("mul %r0, 10", f"add %r0, %r{r}")]
             + ["exit", "wreck:"] + [f"mov %r{r}, -1" for r in (6, 7, 8, 9)] + ["mov %r0, 0", "exit"],
         result=6789)

    # Eight frames: the program and seven callees, each with values of its own.
    asm, total = ["mov %r1, 1", "call local f2", "exit"], 0
    for depth in range(2, 9):
        asm += [f"f{depth}:", "mov %r6, %r1", "stxdw [%r10-8], %r1", "mov %r0, 0"]
        if depth < 8:
            asm += ["mul %r1, 3", f"call local f{depth + 1}"]
        asm += ["jne %r6, 0, +1", "exit", "add %r0, %r6", "ldxdw %r7, [%r10-8]", "lsh %r7, 32", "add %r0, %r7", "exit"]
        total += 3 ** (depth - 2) * ((1 << 32) + 1)
    emit("call-depth-8", "eight frames, each with registers and a stack of its own", asm=asm, result=total)

    # Eight frames may be in use again and again.
    emit("call-many", "returning frees the frame",
         asm=["mov %r6, 0", "mov %r7, 0", "again:", "mov %r1, %r6", "call local one", "add %r7, %r0", "add %r6, 1",
              "jlt %r6, 20, again", "mov %r0, %r7", "exit", "one:", "mov %r6, %r1", "call local two",
              "add %r0, %r6", "exit", "two:", "mov %r0, 100", "exit"],
         result=sum(100 + i for i in range(20)))
    # The kernel allows 512 bytes for all frames together; here each frame has as many.
    for name, low in (("call-frames-apart", -240), ("call-frames-full", -512)):
        emit(name, "the caller's stack survives what the callee writes to its own",
             asm=["stdw [%r10-8], 1", f"stdw [%r10{low}], 2", "call local other", "ldxdw %r1, [%r10-8]",
                  f"ldxdw %r2, [%r10{low}]", "lsh %r1, 8", "or %r1, %r2", "lsh %r0, 16", "or %r0, %r1", "exit",
                  "other:", "stdw [%r10-8], 3", f"stdw [%r10{low}], 4", "ldxdw %r0, [%r10-8]", "exit"],
             result=0x30102)
    emit("call-caller-stack", "a callee may write to the caller's stack through a pointer",
         asm=["stdw [%r10-8], 1", "mov %r1, %r10", "add %r1, -8", "call local write", "ldxdw %r1, [%r10-8]",
              "add %r0, %r1", "exit", "write:", "ldxdw %r0, [%r1+0]", "stdw [%r1+0], 40", "exit"],
         result=41)
    emit("call-back", "a call to a function that stands before its caller",
         asm=["mov %r1, 5", "call local later", "exit", "earlier:", "mov %r0, %r1", "mul %r0, 2", "exit",
              "later:", "call local earlier", "add %r0, 1", "exit"],
         result=11)
    emit("call-result-32", "a result is 64 bits wide",
         asm=["call local wide", "exit", "wide:", "lddw %r0, 0xfedcba9876543210", "exit"],
         result=0xFEDCBA9876543210)
    emit("call-memory", "memory passed on to a callee",
         asm=["call local sum", "exit", "sum:", "ldxb %r0, [%r1+0]", "ldxb %r2, [%r1+1]", "add %r0, %r2", "exit"],
         mem=bytes([40, 2]), result=42)

    emit("may_goto-loop", "may_goto falls through while few turns have been made",
         asm=["mov %r0, 0", "again:", "may_goto out", "add %r0, 1", "jlt %r0, 100, again", "out:", "exit"],
         result=100)
    emit("may_goto-next", "may_goto to the next instruction does nothing",
         asm=["mov %r0, 5", "may_goto +0", "add %r0, 1", "exit"], result=6)
    emit("may_goto-endless", "may_goto ends a loop that has no other end",
         asm=["mov %r0, 7", "again:", "may_goto out", "ja again", "out:", "exit"], result=7)


# --- Mixtures -----------------------------------------------------------------


class Random:
    """A small generator of our own: the same numbers on every version of Python."""

    def __init__(self, seed):
        self.state = seed

    def below(self, limit):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & M64
        return (self.state >> 33) % limit

    def choice(self, items):
        return items[self.below(len(items))]


def mixtures():
    """Straight lines of random arithmetic on nine registers and two stack slots:
    what one instruction leaves behind, another finds."""
    registers = [0, 3, 4, 5, 6, 7, 8, 9, 2]
    edges = sorted(set(LEFT[64] + LEFT[32] + RIGHT[64] + RIGHT[32]))
    for number in range(24):
        random = Random(number)
        values = {r: random.choice(edges) ^ random.below(1 << 16) for r in registers}
        mem = b"".join(values[r].to_bytes(8, "little") for r in registers)
        asm = [f"ldxdw %r{r}, [%r1+{8 * i}]" for i, r in enumerate(registers)]
        slots = {-8: values[0], -16: values[3]}
        asm += ["stxdw [%r10-8], %r0", "stxdw [%r10-16], %r3"]
        for _ in range(150):
            dst, src, slot = random.choice(registers), random.choice(registers), random.choice(list(slots))
            kind = random.below(20)
            bits = random.choice((64, 32))
            if kind < 9:
                op = random.choice(BINARY[:-1] + SHIFTS)
                asm.append(f"{op}{suffix(bits)} %r{dst}, %r{src}")
                values[dst] = alu(op, bits, values[dst], values[src])
            elif kind < 14:
                op = random.choice(BINARY + SHIFTS)
                immediate = random.choice(immediates(op, bits))
                asm.append(f"{op}{suffix(bits)} %r{dst}, {immediate}")
                values[dst] = alu(op, bits, values[dst], immediate)
            elif kind == 14:
                asm.append(f"neg{suffix(bits)} %r{dst}")
                values[dst] = alu("neg", bits, values[dst], 0)
            elif kind == 15:
                width = random.choice((16, 32, 64))
                asm.append(f"swap{width} %r{dst}")
                values[dst] = swapped(values[dst], width)
            elif kind == 16:
                width = random.choice((8, 16))
                asm.append(f"movsx{width}{bits} %r{dst}, %r{src}")
                values[dst] = signed(values[src], width) & ((1 << bits) - 1)
            elif kind == 17:
                asm.append(f"stxdw [%r10{slot}], %r{src}")
                slots[slot] = values[src]
            elif kind == 18:
                asm.append(f"ldxdw %r{dst}, [%r10{slot}]")
                values[dst] = slots[slot]
            else:
                asm.append(f"lock fetch xor [%r10{slot}], %r{src}")
                slots[slot], values[src] = slots[slot] ^ values[src], slots[slot]
        result = values[0]
        for r in registers[1:]:
            asm += ["mul %r0, 31", f"add %r0, %r{r}"]
            result = (result * 31 + values[r]) & M64
        emit(f"mix-{number:02}", f"random arithmetic, seed {number}", asm=asm + ["exit"], mem=mem, result=result)


def main():
    for group in (base, arithmetic, jumps, loads, stores, wide_immediates, atomics, calls, mixtures, refused, faults):
        group()
    stale = {path.name for path in HERE.glob("*.data")} - VECTORS.keys()
    if sys.argv[1:] == ["--check"]:
        changed = [n for n, t in VECTORS.items() if not (HERE / n).exists() or (HERE / n).read_text() != t]
        for name in sorted(changed + list(stale)):
            print(f"{name} differs", file=sys.stderr)
        return 1 if changed or stale else 0
    for name in stale:
        (HERE / name).unlink()
    for name, text in VECTORS.items():
        (HERE / name).write_text(text)
    print(f"{len(VECTORS)} vectors, {sum(map(len, VECTORS.values()))} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
