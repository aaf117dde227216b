// SPDX-License-Identifier: MIT OR Apache-2.0
// flags: -mcpu=v4 -mllvm -gotol-abs-low-bound=3
//
// The instructions that version 4 of the instruction set added.
//
// Signed division and remainder, sign-extending moves and loads, unconditional
// byte swaps and the long jump. The option above makes the compiler use long
// jumps (`gotol`) for distances that would not need one.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* Inputs: not constants to the compiler. */
volatile __s64 a64 = -1000;
volatile __s64 b64 = 7;
volatile __s32 a32 = -1000;
volatile __s32 b32 = 7;
volatile __s8 byte = -2;
volatile __s16 half = -300;
volatile __s32 word = -70000;
volatile __u64 bytes = 0x1122334455667788ULL;

__s64 quotient64, remainder64, from_byte, from_half, from_word, moved8, moved16, moved32;
__s32 quotient32, remainder32, moved8w, moved16w;
__u64 swapped16, swapped32, swapped64;

SEC("raw_tp/sys_enter")
int arithmetic(void *ctx)
{
	__u64 value = bytes;

	quotient64 = a64 / b64;
	remainder64 = a64 % b64;
	quotient32 = a32 / b32;
	remainder32 = a32 % b32;

	/* Loads that extend the sign. */
	from_byte = byte;
	from_half = half;
	from_word = word;

	/* Moves that extend the sign, to 64 and to 32 bits. */
	moved8 = (__s8)value;
	moved16 = (__s16)value;
	moved32 = (__s32)value;
	moved8w = (__s8)value;
	moved16w = (__s16)value;

	swapped16 = __builtin_bswap16(value);
	swapped32 = __builtin_bswap32(value);
	swapped64 = __builtin_bswap64(value);
	return 0;
}

/* Counts the set bits of the first eight bytes of the context. */
SEC("raw_tp/sys_enter")
int jumps(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 value = ctx->args[0];
	int bits = 0;

#pragma clang loop unroll(disable)
	for (int i = 0; i < 64; i++) {
		if (value & 1)
			bits++;
		else
			a64++;
		value >>= 1;
	}
	return bits;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
