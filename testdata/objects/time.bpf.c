// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What a program can ask about its surroundings: clocks, chance, CPU and task.
//
// The values differ from run to run (unless the host fixes them), so the
// program also returns the number of laws that it found broken: always 0.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u64 monotonic, later, boot, coarse, tai, jiffies;
__u32 random1, random2, cpu, node;
__u32 pid, tgid, uid, gid;
char comm[16];

/* Any program may look at the clocks but the coarse one, which tracing may not. */
SEC("xdp")
int clocks(struct xdp_md *ctx)
{
	int broken = 0;

	coarse = bpf_ktime_get_coarse_ns();
	monotonic = bpf_ktime_get_ns();
	later = bpf_ktime_get_ns();
	boot = bpf_ktime_get_boot_ns(); /* counts the time asleep as well */
	tai = bpf_ktime_get_tai_ns();
	jiffies = bpf_jiffies64();
	broken += later < monotonic;
	broken += monotonic < coarse;
	broken += boot < later;
	return broken;
}

/* Who runs, and where. */
SEC("raw_tp/sys_enter")
int identity(void *ctx)
{
	__u64 pair;
	int broken = 0;

	random1 = bpf_get_prandom_u32();
	random2 = bpf_get_prandom_u32();

	cpu = bpf_get_smp_processor_id();
	node = bpf_get_numa_node_id();

	/* The kernel's pid is a thread's; the tgid is what users call the pid. */
	pair = bpf_get_current_pid_tgid();
	pid = pair;
	tgid = pair >> 32;
	pair = bpf_get_current_uid_gid();
	uid = pair;
	gid = pair >> 32;
	broken += bpf_get_current_comm(comm, sizeof(comm)) != 0;
	broken += comm[sizeof(comm) - 1] != 0;
	return broken;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
