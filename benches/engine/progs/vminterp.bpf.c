// SPDX-License-Identifier: MIT OR Apache-2.0
//
// An interpreter of a small bytecode, 256 steps over code on the stack: branches that are
// hard to predict, and functions that get a pointer to the caller's frame.
#include "bench.h"

struct vm {
	u64 acc, x, y, pc;
	u64 code[24];
};

global_fn int steps(struct vm *v)
{
	u64 acc, x, y;
	u32 pc;

	if (!v)
		return 0;
	acc = v->acc;
	x = v->x;
	y = v->y;
	pc = v->pc;
	for (u32 n = 0; n < 8; n++) {
		u32 op = ((u8 *)v->code)[pc & 127];

		pc++;
		switch (op & 15) {
		case 0: acc += x; break;
		case 1: acc ^= y; break;
		case 2: x = acc >> 3; break;
		case 3: y += acc; break;
		case 4: acc *= 5; break;
		case 5: x -= y; break;
		case 6: if (acc & 1) pc += op >> 4; break;
		case 7: acc = ~acc; break;
		case 8: y ^= x << 7; break;
		case 9: acc += op; break;
		case 10: x ^= acc; break;
		case 11: if (x > y) acc++; break;
		case 12: y = y >> 1 | y << 63; break;
		case 13: acc -= y; break;
		case 14: x += 0x9e3779b9; break;
		default: y += n;
		}
	}
	v->acc = acc;
	v->x = x;
	v->y = y;
	v->pc = pc & 127;
	return 1;
}

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	PACKET(512);
	struct vm v;
	u64 acc;

	v.acc = 1;
	v.x = 7;
	v.y = 3;
	v.pc = 0;
	for (u32 i = 0; i < 24; i++)
		v.code[i] = ((u64 *)(data + 64))[i];
	for (u32 i = 0; i < 32; i++)
		steps(&v);
	acc = v.acc ^ v.x ^ v.y;
	return (u32)(acc ^ (acc >> 32)) & 0x7fffffff;
}
