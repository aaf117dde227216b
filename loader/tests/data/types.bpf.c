// A value with a member of every shape.
#include "common.h"

enum colour { RED, GREEN = 5 };
enum wide { NEGATIVE = -2, HUGE = 0x1122334455667788LL };
typedef __u32 id_t;
struct node;
struct item;
typedef int (*callback_t)(struct node *restrict node);

struct node {
	struct node *next;
	callback_t call;
};

struct everything {
	_Bool flag;
	char text[5];
	signed char small;
	unsigned char byte;
	__s16 half;
	id_t id;
	__s64 large;
	__int128 larger;
	enum colour colour;
	enum wide wide;
	float f;
	double d;
	unsigned int low : 3;
	int middle : 7;
	unsigned long long high : 40;
	enum colour narrow : 4;
	const volatile __u32 grid[2][3];
	struct node node;
	union {
		__u32 word;
		__u8 bytes[4];
	};
	const char *const constant;
	__u8 rest[];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, id_t);
	__type(value, struct everything);
} types SEC(".maps");

__attribute__((btf_decl_tag("comment:tag"))) int sum(struct everything *e, id_t id)
{
	return e->id + id;
}

SEC("syscall") int touch(void *ctx)
{
	id_t id = 1;
	struct everything *e = bpf_map_lookup_elem(&types, &id);

	return e ? sum(e, 2) : 0;
}
