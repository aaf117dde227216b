// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Runs one of the programs, compiled to native code, as benches/engine/child.rs asks.
//
//   native NAME
//
// The packet comes first, in hexadecimal, and the answer is `ready`. `mode N` sets the
// packet's mode; `run N` runs the program so often and answers with the nanoseconds of
// CPU time of all runs and the last one's return value.
#define _GNU_SOURCE
#include "maps.h"

#include <linux/bpf.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define LOW 0x10000000ul
#define PACKET_AT 4352
#define MOST 2048
#define MODE_AT 8

typedef int (*program)(struct xdp_md *);

#define P(NAME) int prog_##NAME(struct xdp_md *);
#include "programs.h"
#undef P

static const struct {
	const char *name;
	program run;
} programs[] = {
#define P(NAME) { #NAME, prog_##NAME },
#include "programs.h"
};

extern struct native_map __start_native_maps[], __stop_native_maps[];

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static program find(const char *name)
{
	for (size_t i = 0; i < sizeof(programs) / sizeof(*programs); i++)
		if (!strcmp(programs[i].name, name))
			return programs[i].run;
	return NULL;
}

/* A line of hexadecimal digits; how many bytes they are. */
static size_t read_packet(uint8_t *packet)
{
	size_t len = 0;
	unsigned byte;

	while (len < MOST && scanf("%2x", &byte) == 1) {
		packet[len++] = byte;
		/* The line's end: what follows are commands, which are words. */
		int next = getchar();

		if (next == '\n')
			break;
		ungetc(next, stdin);
	}
	return len;
}

int main(int count, char **arguments)
{
	/* The context's pointers have 32 bits: a wish for an address that nobody has. */
	uint8_t *low = mmap((void *)LOW, 16384, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct xdp_md *ctx = (struct xdp_md *)low;
	uint8_t *packet = low + PACKET_AT;
	program volatile run = count == 2 ? find(arguments[1]) : NULL;
	char word[8];
	unsigned long long number;

	if ((uintptr_t)low > UINT32_MAX - 16384 || !run) {
		printf("cannot run it\n");
		return 1;
	}
	ctx->data = (uint32_t)(uintptr_t)packet;
	ctx->data_end = ctx->data + read_packet(packet);
	for (struct native_map *map = __start_native_maps; map < __stop_native_maps; map++)
		native_map_init(map);
	printf("ready\n");
	fflush(stdout);

	while (scanf("%7s %llu", word, &number) == 2) {
		if (!strcmp(word, "mode")) {
			packet[MODE_AT] = number;
			continue;
		}
		uint64_t start;
		uint32_t result = 0;

		for (struct native_map *map = __start_native_maps; map < __stop_native_maps; map++)
			native_map_drain(map);
		start = now();
		for (unsigned long long i = 0; i < number; i++)
			result = run(ctx);
		printf("%llu %u\n", (unsigned long long)(now() - start), result);
		fflush(stdout);
	}
	return 0;
}
