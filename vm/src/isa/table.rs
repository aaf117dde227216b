//! The instruction set as one table. Everything that knows instructions is made
//! from it: [`Op`](super::Op) and its rows, decoder, encoder, disassembler,
//! assembler and the interpreter's arms.
//!
//! To add an instruction, add its row here (and, for native code, its lowering).
//!
//! A consumer is a macro that takes all groups at once:
//! `isa!(consumer)` expands to `consumer! { alu { … } unary { … } … }`.
//! Semantics are expressions over the operands named between the bars; they are
//! written once for `u64` and `u32` (see [`Int`](super::Int)). Sources: RFC 9669 §4
//! and §5; for what the RFC leaves open, what Linux does.

macro_rules! isa {
    ($consumer:ident) => { $consumer! {
        // dst = dst ∘ src. The opcode byte is `bits`, plus 0x08 for a register source,
        // plus class ALU64 (7) or ALU (4); `off` is the offset field. Results of 32-bit
        // operations are zero-extended.
        //
        // name bits off mnemonic symbol [64-bit imm, 64-bit reg, 32-bit imm, 32-bit reg] semantics
        alu {
            Add  0x00 0 "add"  "+="   [Add64Imm  Add64Reg  Add32Imm  Add32Reg ] |a, b| a.wrapping_add(b);
            Sub  0x10 0 "sub"  "-="   [Sub64Imm  Sub64Reg  Sub32Imm  Sub32Reg ] |a, b| a.wrapping_sub(b);
            Mul  0x20 0 "mul"  "*="   [Mul64Imm  Mul64Reg  Mul32Imm  Mul32Reg ] |a, b| a.wrapping_mul(b);
            Div  0x30 0 "div"  "/="   [Div64Imm  Div64Reg  Div32Imm  Div32Reg ] |a, b| a.checked_div(b).unwrap_or(0);
            Sdiv 0x30 1 "sdiv" "s/="  [Sdiv64Imm Sdiv64Reg Sdiv32Imm Sdiv32Reg] |a, b| a.sdiv(b);
            Or   0x40 0 "or"   "|="   [Or64Imm   Or64Reg   Or32Imm   Or32Reg  ] |a, b| a | b;
            And  0x50 0 "and"  "&="   [And64Imm  And64Reg  And32Imm  And32Reg ] |a, b| a & b;
            Lsh  0x60 0 "lsh"  "<<="  [Lsh64Imm  Lsh64Reg  Lsh32Imm  Lsh32Reg ] |a, b| a.lsh(b);
            Rsh  0x70 0 "rsh"  ">>="  [Rsh64Imm  Rsh64Reg  Rsh32Imm  Rsh32Reg ] |a, b| a.rsh(b);
            Mod  0x90 0 "mod"  "%="   [Mod64Imm  Mod64Reg  Mod32Imm  Mod32Reg ] |a, b| a.checked_rem(b).unwrap_or(a);
            Smod 0x90 1 "smod" "s%="  [Smod64Imm Smod64Reg Smod32Imm Smod32Reg] |a, b| a.smod(b);
            Xor  0xa0 0 "xor"  "^="   [Xor64Imm  Xor64Reg  Xor32Imm  Xor32Reg ] |a, b| a ^ b;
            Mov  0xb0 0 "mov"  "="    [Mov64Imm  Mov64Reg  Mov32Imm  Mov32Reg ] |_a, b| b;
            Arsh 0xc0 0 "arsh" "s>>=" [Arsh64Imm Arsh64Reg Arsh32Imm Arsh32Reg] |a, b| a.arsh(b);
        }
        // dst = f(dst), computed in `width`. `key` is the immediate field (0 for neg).
        //
        // op width code key mnemonic text-before-the-operand semantics
        unary {
            Neg64  u64 0x87 0  "neg"    "-"       |a| a.wrapping_neg();
            Neg32  u32 0x84 0  "neg32"  "-"       |a| a.wrapping_neg();
            Le16   u64 0xd4 16 "le16"   "le16 "   |a| a & 0xffff;
            Le32   u64 0xd4 32 "le32"   "le32 "   |a| a & 0xffff_ffff;
            Le64   u64 0xd4 64 "le64"   "le64 "   |a| a;
            Be16   u64 0xdc 16 "be16"   "be16 "   |a| a.swap_bytes() >> 48;
            Be32   u64 0xdc 32 "be32"   "be32 "   |a| a.swap_bytes() >> 32;
            Be64   u64 0xdc 64 "be64"   "be64 "   |a| a.swap_bytes();
            Swap16 u64 0xd7 16 "swap16" "bswap16 " |a| a.swap_bytes() >> 48;
            Swap32 u64 0xd7 32 "swap32" "bswap32 " |a| a.swap_bytes() >> 32;
            Swap64 u64 0xd7 64 "swap64" "bswap64 " |a| a.swap_bytes();
        }
        // dst = sign-extended src, computed in `width`. `off` is the offset field: the
        // width of the source.
        //
        // op width code off mnemonic cast semantics
        movsx {
            Movsx8to64  u64 0xbf 8  "movsx864"  "s8"  |a| a.sign_extend(8);
            Movsx16to64 u64 0xbf 16 "movsx1664" "s16" |a| a.sign_extend(16);
            Movsx32to64 u64 0xbf 32 "movsx3264" "s32" |a| a.sign_extend(32);
            Movsx8to32  u32 0xbc 8  "movsx832"  "s8"  |a| a.sign_extend(8);
            Movsx16to32 u32 0xbc 16 "movsx1632" "s16" |a| a.sign_extend(16);
        }
        // dst = *(cast *)(src + off).
        //
        // op word code mnemonic cast semantics
        load {
            LdxB  u8  0x71 "ldxb"  "u8"  |v| v;
            LdxH  u16 0x69 "ldxh"  "u16" |v| v;
            LdxW  u32 0x61 "ldxw"  "u32" |v| v;
            LdxDw u64 0x79 "ldxdw" "u64" |v| v;
            LdxsB u8  0x91 "ldxsb" "s8"  |v| v.sign_extend(8);
            LdxsH u16 0x89 "ldxsh" "s16" |v| v.sign_extend(16);
            LdxsW u32 0x81 "ldxsw" "s32" |v| v.sign_extend(32);
        }
        // *(cast *)(dst + off) = imm, or = src.
        //
        // word cast [imm: op code mnemonic] [reg: op code mnemonic]
        store {
            u8  "u8"  [StB  0x72 "stb" ] [StxB  0x73 "stxb" ];
            u16 "u16" [StH  0x6a "sth" ] [StxH  0x6b "stxh" ];
            u32 "u32" [StW  0x62 "stw" ] [StxW  0x63 "stxw" ];
            u64 "u64" [StDw 0x7a "stdw"] [StxDw 0x7b "stxdw"];
        }
        // Atomic *(dst + off) ∘= src; opcode 0xdb (64 bits) or 0xc3 (32 bits), `imm` is
        // the immediate field. `then` says whether src receives the old value.
        //
        // name imm mnemonic text [64 bits, 32 bits] method of the atomic type, then
        atomic {
            Add  0x00 "add"       "+="               [AtomicAdd64      AtomicAdd32     ] fetch_add forget;
            Or   0x40 "or"        "|="               [AtomicOr64       AtomicOr32      ] fetch_or  forget;
            And  0x50 "and"       "&="               [AtomicAnd64      AtomicAnd32     ] fetch_and forget;
            Xor  0xa0 "xor"       "^="               [AtomicXor64      AtomicXor32     ] fetch_xor forget;
            Add  0x01 "fetch add" "atomic_fetch_add" [AtomicFetchAdd64 AtomicFetchAdd32] fetch_add keep;
            Or   0x41 "fetch or"  "atomic_fetch_or"  [AtomicFetchOr64  AtomicFetchOr32 ] fetch_or  keep;
            And  0x51 "fetch and" "atomic_fetch_and" [AtomicFetchAnd64 AtomicFetchAnd32] fetch_and keep;
            Xor  0xa1 "fetch xor" "atomic_fetch_xor" [AtomicFetchXor64 AtomicFetchXor32] fetch_xor keep;
            Xchg 0xe1 "xchg"      "xchg"             [AtomicXchg64     AtomicXchg32    ] swap      keep;
        }
        // Atomic loads and stores that order what comes after or before them.
        //
        // word cast [acquire: op code mnemonic] [release: op code mnemonic]
        ordered {
            u8  "u8"  [LoadAcqB  0xd3 "load_acqb" ] [StoreRelB  0xd3 "store_relb" ];
            u16 "u16" [LoadAcqH  0xcb "load_acqh" ] [StoreRelH  0xcb "store_relh" ];
            u32 "u32" [LoadAcqW  0xc3 "load_acqw" ] [StoreRelW  0xc3 "store_relw" ];
            u64 "u64" [LoadAcqDw 0xdb "load_acqdw"] [StoreRelDw 0xdb "store_reldw"];
        }
        // if dst ∘ src goto +off; opcode byte as for `alu`, classes JMP (5) and JMP32 (6).
        //
        // name bits mnemonic symbol [64-bit imm, 64-bit reg, 32-bit imm, 32-bit reg] semantics
        jump {
            Eq   0x10 "jeq"  "=="  [Jeq64Imm  Jeq64Reg  Jeq32Imm  Jeq32Reg ] |a, b| a == b;
            Gt   0x20 "jgt"  ">"   [Jgt64Imm  Jgt64Reg  Jgt32Imm  Jgt32Reg ] |a, b| a > b;
            Ge   0x30 "jge"  ">="  [Jge64Imm  Jge64Reg  Jge32Imm  Jge32Reg ] |a, b| a >= b;
            Set  0x40 "jset" "&"   [Jset64Imm Jset64Reg Jset32Imm Jset32Reg] |a, b| a & b != 0;
            Ne   0x50 "jne"  "!="  [Jne64Imm  Jne64Reg  Jne32Imm  Jne32Reg ] |a, b| a != b;
            Sgt  0x60 "jsgt" "s>"  [Jsgt64Imm Jsgt64Reg Jsgt32Imm Jsgt32Reg] |a, b| a.signed() > b.signed();
            Sge  0x70 "jsge" "s>=" [Jsge64Imm Jsge64Reg Jsge32Imm Jsge32Reg] |a, b| a.signed() >= b.signed();
            Lt   0xa0 "jlt"  "<"   [Jlt64Imm  Jlt64Reg  Jlt32Imm  Jlt32Reg ] |a, b| a < b;
            Le   0xb0 "jle"  "<="  [Jle64Imm  Jle64Reg  Jle32Imm  Jle32Reg ] |a, b| a <= b;
            Slt  0xc0 "jslt" "s<"  [Jslt64Imm Jslt64Reg Jslt32Imm Jslt32Reg] |a, b| a.signed() < b.signed();
            Sle  0xd0 "jsle" "s<=" [Jsle64Imm Jsle64Reg Jsle32Imm Jsle32Reg] |a, b| a.signed() <= b.signed();
        }
        // Everything that is one of its kind; engines implement these by name.
        //
        // op code key shape mnemonic text
        misc {
            AtomicCmpxchg64 0xdb (Imm 0xf1) Atomic   "cmpxchg"   "cmpxchg_64";
            AtomicCmpxchg32 0xc3 (Imm 0xf1) Atomic   "cmpxchg32" "cmpxchg32_32";
            AddrSpaceCast   0xbf (Off 1)    Cast     "addr_space_cast" "addr_space_cast";
            Ja              0x05 (None 0)   Goto     "ja"        "goto";
            Ja32            0x06 (None 0)   GotoLong "ja32"      "gotol";
            MayGoto         0xe5 (None 0)   Goto     "may_goto"  "may_goto";
            CallHelper      0x85 (Src 0)    Call     "call"      "call";
            CallLocal       0x85 (Src 1)    Call     "call local" "call";
            CallKfunc       0x85 (Src 2)    CallBtf  "call runtime" "call";
            CallReg         0x8d (None 0)   CallReg  "callx"     "callx";
            Exit            0x95 (None 0)   Exit     "exit"      "exit";
            Lddw            0x18 (Src 0)    Lddw     "lddw"      "";
            LddwMapFd       0x18 (Src 1)    Lddw     "lddw map_fd" "map_fd";
            LddwMapValue    0x18 (Src 2)    Lddw     "lddw map_value" "map_value";
            LddwBtfId       0x18 (Src 3)    Lddw     "lddw btf_id" "btf_id";
            LddwFunc        0x18 (Src 4)    Lddw     "lddw func" "func";
            LddwMapIdx      0x18 (Src 5)    Lddw     "lddw map_idx" "map_idx";
            LddwMapIdxValue 0x18 (Src 6)    Lddw     "lddw map_idx_value" "map_idx_value";
            LdAbsB          0x30 (None 0)   LdAbs    "ldabsb"    "u8";
            LdAbsH          0x28 (None 0)   LdAbs    "ldabsh"    "u16";
            LdAbsW          0x20 (None 0)   LdAbs    "ldabsw"    "u32";
            LdIndB          0x50 (None 0)   LdInd    "ldindb"    "u8";
            LdIndH          0x48 (None 0)   LdInd    "ldindh"    "u16";
            LdIndW          0x40 (None 0)   LdInd    "ldindw"    "u32";
        }
    } };
}
pub(crate) use isa;
