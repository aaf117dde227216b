// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Reading memory through an address that is only a number.
//
// The bpf_probe_read family takes any address and fails instead of faulting;
// on failure the destination is zeroed. Here the addresses are of this
// program's own variables, and of nothing.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char text[16] = "compiled object";
__u64 number = 0x1122334455667788ULL;

__s64 read_result, kernel_result, kernel_str_result, cut_str_result;
__s64 user_result, user_str_result, null_result, null_str_result;
__u64 read, kernel, after_null = 1;
char kernel_str[16], cut_str[8];

SEC("raw_tp/sys_enter")
int probe(void *ctx)
{
	__u64 on_stack = 42, user;
	char user_str[8];

	read_result = bpf_probe_read(&read, sizeof(read), &on_stack);
	kernel_result = bpf_probe_read_kernel(&kernel, sizeof(kernel), &number);

	/* The result is the length with the final zero byte, cut to the buffer. */
	kernel_str_result = bpf_probe_read_kernel_str(kernel_str, sizeof(kernel_str), text);
	cut_str_result = bpf_probe_read_kernel_str(cut_str, sizeof(cut_str), text);

	/* In the kernel this memory is not a user's: both fail there. */
	user_result = bpf_probe_read_user(&user, sizeof(user), &number);
	user_str_result = bpf_probe_read_user_str(user_str, sizeof(user_str), text);

	null_result = bpf_probe_read_kernel(&after_null, sizeof(after_null), (void *)0);
	null_str_result = bpf_probe_read_kernel_str(user_str, sizeof(user_str), (void *)0);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
