// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Takes commands from a ring buffer that user space fills and answers them
// through another.
//
// Neither side trusts the other: the program sees each command as a dynptr,
// whose length is checked at each access. The answer is reserved as a dynptr,
// too, since its length is known at run time only: what came with the command
// goes back behind the result.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

enum operation { SET = 1, ADD = 2, DELETE = 3, STOP = 4 };

struct command {
	__u32 operation;
	__u32 key;
	__u64 value;
	/* A note of any length follows. */
};

struct answer {
	__s64 result;
	__u64 value;
	/* The note follows. */
};

struct {
	__uint(type, BPF_MAP_TYPE_USER_RINGBUF);
	__uint(max_entries, 4096);
} commands SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} answers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} values SEC(".maps");

/* Room for one note. */
struct note {
	char text[64];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct note);
} notes SEC(".maps");

/* Commands that were too short, and answers that found no room. */
__u64 too_short, no_room;

static long apply(const struct command *command, __u64 *result)
{
	__u64 *value;

	switch (command->operation) {
	case ADD:
		value = bpf_map_lookup_elem(&values, &command->key);
		if (value) {
			*result = *value += command->value;
			return 0;
		}
		/* fallthrough */
	case SET:
		*result = command->value;
		return bpf_map_update_elem(&values, &command->key, &command->value, BPF_ANY);
	case DELETE:
		return bpf_map_delete_elem(&values, &command->key);
	}
	return 0;
}

static long serve_one(struct bpf_dynptr *received, void *ctx)
{
	struct command command;
	struct answer answer = {};
	struct bpf_dynptr reply;
	struct note *note;
	__u32 zero = 0, length = 0;
	char *last;

	if (bpf_dynptr_read(&command, sizeof(command), received, 0, 0)) {
		too_short++;
		return 0;
	}
	answer.result = apply(&command, &answer.value);

	/* The note is as long as a read of it succeeds. */
	note = bpf_map_lookup_elem(&notes, &zero);
	if (!note)
		return 1;
	for (length = 0; length < sizeof(note->text); length++)
		if (bpf_dynptr_read(note->text + length, 1, received, sizeof(command) + length, 0))
			break;

	if (bpf_ringbuf_reserve_dynptr(&answers, sizeof(answer) + length, 0, &reply)) {
		no_room++;
		bpf_ringbuf_discard_dynptr(&reply, 0);
		return 1;
	}
	bpf_dynptr_write(&reply, 0, &answer, sizeof(answer), 0);
	if (length > 0 && length <= sizeof(note->text))
		bpf_dynptr_write(&reply, sizeof(answer), note->text, length, 0);
	/* A slice of it in place: the note's first byte in capitals. */
	last = bpf_dynptr_data(&reply, sizeof(answer), 1);
	if (last && *last >= 'a' && *last <= 'z')
		*last -= 'a' - 'A';
	bpf_ringbuf_submit_dynptr(&reply, 0);
	return command.operation == STOP;
}

SEC("tracepoint/syscalls/sys_enter_getpgid")
int serve(void *ctx)
{
	return bpf_user_ringbuf_drain(&commands, serve_one, NULL, 0);
}

/* The same kind of pointer to memory of the program's own. */
SEC("tracepoint/syscalls/sys_enter_getpgid")
int local(void *ctx)
{
	struct bpf_dynptr pointer;
	struct note *note;
	__u32 zero = 0;
	__u64 word = 0x0807060504030201, back = 0;

	note = bpf_map_lookup_elem(&notes, &zero);
	if (!note || bpf_dynptr_from_mem(note->text, 20, 0, &pointer))
		return 1;
	if (bpf_dynptr_write(&pointer, 12, &word, sizeof(word), 0) ||
	    bpf_dynptr_read(&back, sizeof(back), &pointer, 11, 0))
		return 2;
	/* One byte too far. */
	if (bpf_dynptr_write(&pointer, 13, &word, sizeof(word), 0) != -7)
		return 3;
	return back >> 8 == (word & ~(0xffULL << 56)) ? 0 : 4;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
