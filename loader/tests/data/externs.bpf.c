// Symbols that the object does not define.
#include "common.h"

extern int LINUX_KERNEL_VERSION __kconfig;
extern _Bool LINUX_HAS_BPF_COOKIE __kconfig;
extern int CONFIG_HZ __kconfig;
extern enum libbpf_tristate CONFIG_BPF_SYSCALL __kconfig __weak;

extern const int kernel_variable __ksym __weak;
extern const void must_exist __ksym;
extern int maybe(int x) __ksym __weak;
extern int surely(int x) __ksym;
extern int other_object(int x);

SEC("kprobe/a") int weak(void *ctx)
{
	if (maybe)
		return maybe(1);
	return &kernel_variable ? 1 : 2;
}

SEC("kprobe/b") int strong_function(void *ctx)
{
	return surely(1);
}

SEC("kprobe/c") int strong_variable(void *ctx)
{
	return &must_exist == ctx;
}

SEC("kprobe/d") int elsewhere(void *ctx)
{
	return other_object(2);
}

SEC("kprobe/e") int version(void *ctx)
{
	return LINUX_KERNEL_VERSION + LINUX_HAS_BPF_COOKIE + CONFIG_BPF_SYSCALL;
}

SEC("kprobe/f") int hertz(void *ctx)
{
	return CONFIG_HZ;
}
