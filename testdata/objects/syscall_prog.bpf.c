// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A program that user space calls like a function.
//
// A `syscall` program is never attached. Its context is a structure of the
// caller's own; what the program writes there, the caller reads afterwards.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

enum operation { ADD, SUBTRACT, MULTIPLY, DIVIDE };

struct request {
	__u64 left;
	__u64 right;
	__u32 operation;
	__u32 calls; /* counted by the program */
	__u64 result;
};

SEC("syscall")
int calculate(struct request *request)
{
	__u64 left = request->left, right = request->right;

	request->calls++;
	switch (request->operation) {
	case ADD:
		request->result = left + right;
		return 0;
	case SUBTRACT:
		request->result = left - right;
		return 0;
	case MULTIPLY:
		request->result = left * right;
		return 0;
	case DIVIDE:
		request->result = left / right; /* 0 where right is 0 */
		return 0;
	}
	return -22; /* EINVAL */
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
