// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Text: formatting, parsing and comparing.
//
// Formats are the kernel's, not C's: at most twelve arguments, each passed as a
// 64-bit number, strings by address; flags and width but no precision; %pI4 and
// the like for addresses.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

const char word[] = "straw";
const __u8 ipv4[4] = {192, 0, 2, 33};
const __u8 ipv6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 0x01};

/* The lengths, the final zero byte included, and the texts. */
__s64 numbers_len, padded_len, others_len, cut_len, count_len;
char numbers[64], padded[64], others[128], cut[8];

SEC("raw_tp/sys_enter")
int format(void *ctx)
{
	numbers_len = BPF_SNPRINTF(numbers, sizeof(numbers), "%d %i %u %x %X %ld %lu %llx", -1, -2,
				   (__u32)-3, 0xbee, 0xbee, -4L, 5UL, -6LL);
	padded_len = BPF_SNPRINTF(padded, sizeof(padded), "[%5d|%-5d|%05d|%+d|% d|%08llx]", 42, 42,
				  42, 42, 42, 0xc0ffeeULL);
	others_len = BPF_SNPRINTF(others, sizeof(others), "%s %c %% %pi4 %pI4 %pi6 %pI6 %px", word, 'k',
				  ipv4, ipv4, ipv6, ipv6, 0x1234);
	/* Too long for its buffer: cut off, the full length returned. */
	cut_len = BPF_SNPRINTF(cut, sizeof(cut), "%s%s", word, word);
	/* No buffer at all: only the length. */
	count_len = BPF_SNPRINTF((char *)0, 0, "%d", 12345);
	return 0;
}

/* Up to three arguments go through bpf_trace_printk, more through its successor. */
SEC("raw_tp/sys_enter")
int print(void *ctx)
{
	bpf_printk("no arguments");
	bpf_printk("%d %s", 7, word);
	bpf_printk("%d %u %x %lld %s", -7, 7, 0xb, -8LL, word);
	return 0;
}

__s64 decimal, hex, octal, negative;
__u64 unsigned_max;
__s32 decimal_len, hex_len, octal_len, negative_len, unsigned_len;
__s32 no_digits, too_large, bad_base, minus_unsigned;

SEC("raw_tp/sys_enter")
int parse(void *ctx)
{
	char text[24] = "  1234xyz";
	char small[4] = "-12";
	char huge[24] = "18446744073709551615";
	__s64 ignored;
	__u64 also_ignored;

	/* The length counts the blanks before the number as well. */
	decimal_len = bpf_strtol(text, sizeof(text), 10, (long *)&decimal);
	octal_len = bpf_strtol(text, sizeof(text), 8, (long *)&octal);
	negative_len = bpf_strtol(small, sizeof(small), 0, (long *)&negative);
	unsigned_len = bpf_strtoul(huge, sizeof(huge), 10, (unsigned long *)&unsigned_max);
	/* A literal: the compiler puts it into a section .rodata.str1.1. */
	__builtin_memcpy(text, "0xBEE!", 7);
	hex_len = bpf_strtol(text, sizeof(text), 0, (long *)&hex);

	no_digits = bpf_strtol(text + 5, sizeof(text) - 5, 10, (long *)&ignored);
	too_large = bpf_strtol(huge, sizeof(huge), 10, (long *)&ignored);
	bad_base = bpf_strtol(text, sizeof(text), 7, (long *)&ignored);
	minus_unsigned = bpf_strtoul(small, sizeof(small), 10, (unsigned long *)&also_ignored);
	return 0;
}

/* Signs of comparisons with "straw". */
__s32 equal, less, greater, prefix;

SEC("raw_tp/sys_enter")
int compare(void *ctx)
{
	char text[8] = "straw";

	equal = bpf_strncmp(text, sizeof(text), word);
	prefix = bpf_strncmp(text, 3, word); /* only three bytes are compared */
	text[0] = 'a';
	less = bpf_strncmp(text, sizeof(text), word) < 0;
	text[0] = 'z';
	greater = bpf_strncmp(text, sizeof(text), word) > 0;
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
