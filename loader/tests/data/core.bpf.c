// CO-RE relocations: one kind that the object answers itself, and others.
#include "common.h"
#include <bpf/bpf_core_read.h>

struct task {
	int pid;
	int tgid;
} __attribute__((preserve_access_index));

enum state { RUNNING = 1 };

SEC("raw_tp/local") int local(void *ctx)
{
	return bpf_core_type_id_local(struct task);
}

SEC("raw_tp/exists") int exists(struct task *task)
{
	return bpf_core_field_exists(task->tgid);
}

SEC("raw_tp/offset") int offset(struct task *task)
{
	int tgid = 0;

	bpf_probe_read_kernel(&tgid, sizeof(tgid), &task->tgid);
	return tgid + bpf_core_enum_value(enum state, RUNNING);
}

SEC("raw_tp/none") int none(void *ctx)
{
	return 7;
}
