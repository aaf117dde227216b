// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The primes below 4096 by Eratosthenes' sieve, in the value of an array: byte stores
// with strides, one lookup.
#include "bench.h"

struct table {
	u8 composite[4096];
};
MAP(sieve, BPF_MAP_TYPE_ARRAY, u32, struct table, 1);

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	u32 key = 0, primes = 0;
	struct table *t = bpf_map_lookup_elem(&sieve, &key);

	if (!t)
		return 0;
#ifdef __bpf__
	for (u32 i = 0; i < 512; i++) {
		((u64 *)t)[i] = 0;
		/* Or clang asks for a memset that is not there. */
		asm volatile("" ::: "memory");
	}
#else
	__builtin_memset(t, 0, 4096);
#endif
	for (u32 i = 2; i < 64; i++) {
		if (t->composite[i])
			continue;
		for (u32 j = i * i; j < 4096; j += i)
			t->composite[j & 4095] = 1;
	}
	for (u32 i = 2; i < 4096; i++)
		primes += !t->composite[i];
	return primes;
}
