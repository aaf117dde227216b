// SPDX-License-Identifier: MIT OR Apache-2.0
#include "maps.h"

#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>

/* An element: links, its hash, then key and value, each padded to 8 bytes. */
struct node {
	struct node *next;
	/* Neighbours in an LRU map's list, the newer and the older. */
	struct node *newer, *older;
	uint32_t hash;
	uint8_t data[];
};

struct hash {
	uint32_t mask;
	struct node **buckets;
	struct node *free;
	struct node *newest, *oldest;
	/* Of a trie: bit n is set when there is a prefix of n bits. */
	uint64_t lengths;
};

struct ring {
	uint64_t mask, produced, consumed;
	uint8_t *data;
};

/* A key of a trie for IPv4 addresses. */
struct prefix {
	uint32_t bits;
	uint8_t address[4];
};

#define BUSY (1ull << 31)

static uint32_t padded(uint32_t size)
{
	return (size + 7) & ~7u;
}

static void *zeroed(size_t count, size_t size)
{
	void *memory = calloc(count, size);

	if (!memory)
		abort();
	return memory;
}

static uint64_t fold(uint64_t a, uint64_t b)
{
	__uint128_t product = (__uint128_t)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint32_t hash_of(const void *key, uint32_t size)
{
	uint64_t a = 0, b = 0;

	/* The sizes of the programs' keys, spelled out so that copies are loads. */
	if (size == 4) {
		memcpy(&a, key, 4);
	} else if (size == 8) {
		memcpy(&a, key, 8);
	} else {
		memcpy(&a, key, 8);
		memcpy(&b, (const uint8_t *)key + 8, 8);
	}
	return fold(a ^ 0xa0761d6478bd642full, b ^ 0xe7037ed1a0b428dbull);
}

static int equal(const void *a, const void *b, uint32_t size)
{
	if (size == 4)
		return !memcmp(a, b, 4);
	if (size == 8)
		return !memcmp(a, b, 8);
	return !memcmp(a, b, 16);
}

static void *value_of(const struct native_map *map, struct node *node)
{
	return node->data + padded(map->key_size);
}

static struct node *find(const struct native_map *map, const void *key, uint32_t hash)
{
	struct hash *h = map->state;

	for (struct node *node = h->buckets[hash & h->mask]; node; node = node->next)
		if (node->hash == hash && equal(node->data, key, map->key_size))
			return node;
	return NULL;
}

static void remove_from_bucket(struct hash *h, struct node *node)
{
	struct node **at = &h->buckets[node->hash & h->mask];

	while (*at != node)
		at = &(*at)->next;
	*at = node->next;
}

static void lru_unlink(struct hash *h, struct node *node)
{
	*(node->newer ? &node->newer->older : &h->newest) = node->older;
	*(node->older ? &node->older->newer : &h->oldest) = node->newer;
}

static void lru_push(struct hash *h, struct node *node)
{
	node->newer = NULL;
	node->older = h->newest;
	*(h->newest ? &h->newest->newer : &h->oldest) = node;
	h->newest = node;
}

/* The first `bits` bits of an address, as a key. */
static struct prefix prefix_of(uint32_t address, uint32_t bits)
{
	struct prefix p = { .bits = bits };

	address = bits ? address & (~0u << (32 - bits)) : 0;
	address = __builtin_bswap32(address);
	memcpy(p.address, &address, 4);
	return p;
}

static uint32_t address_of(const struct prefix *p)
{
	uint32_t address;

	memcpy(&address, p->address, 4);
	return __builtin_bswap32(address);
}

/* A hash for all prefixes, asked for each length that occurs. */
static void *trie_lookup(const struct native_map *map, const struct prefix *key)
{
	struct hash *h = map->state;
	uint32_t address = address_of(key);

	for (int bits = key->bits; bits >= 0; bits--) {
		struct prefix p;
		struct node *node;

		if (!(h->lengths >> bits & 1))
			continue;
		p = prefix_of(address, bits);
		node = find(map, &p, hash_of(&p, sizeof(p)));
		if (node)
			return value_of(map, node);
	}
	return NULL;
}

static void hash_init(struct native_map *map)
{
	struct hash *h = zeroed(1, sizeof(*h));
	size_t size = sizeof(struct node) + padded(map->key_size) + padded(map->value_size);
	uint8_t *slab;
	uint32_t buckets = 1;

	while (buckets < map->max_entries)
		buckets *= 2;
	h->mask = buckets - 1;
	h->buckets = zeroed(buckets, sizeof(*h->buckets));
	slab = zeroed(map->max_entries, (size + 7) & ~(size_t)7);
	for (uint32_t i = 0; i < map->max_entries; i++) {
		struct node *node = (void *)(slab + i * ((size + 7) & ~(size_t)7));

		node->next = h->free;
		h->free = node;
	}
	map->state = h;
}

static void ring_init(struct native_map *map)
{
	struct ring *ring = zeroed(1, sizeof(*ring));

	ring->mask = map->max_entries - 1;
	ring->data = zeroed(map->max_entries, 1);
	/* As the kernel does: no page is touched for the first time in a run. */
	memset(ring->data, 1, map->max_entries);
	map->state = ring;
}

static void fill_with_arrays(struct native_map *outer)
{
	for (uint32_t key = 0; key < outer->max_entries; key++) {
		struct native_map *inner = zeroed(1, sizeof(*inner));

		*inner = (struct native_map){ BPF_MAP_TYPE_ARRAY, 4, 8, 64, NULL };
		native_map_init(inner);
		bpf_map_update_elem(outer, &key, &inner, 0);
	}
}

void native_map_init(struct native_map *map)
{
	switch (map->type) {
	case BPF_MAP_TYPE_ARRAY:
	case BPF_MAP_TYPE_PERCPU_ARRAY:
		map->state = zeroed(map->max_entries, padded(map->value_size));
		break;
	case BPF_MAP_TYPE_RINGBUF:
		ring_init(map);
		break;
	default:
		hash_init(map);
	}
	if (map->type == BPF_MAP_TYPE_HASH_OF_MAPS)
		fill_with_arrays(map);
}

void native_map_drain(struct native_map *map)
{
	struct ring *ring = map->state;

	if (map->type == BPF_MAP_TYPE_RINGBUF)
		ring->consumed = ring->produced;
}

void *bpf_map_lookup_elem(void *of, const void *key)
{
	struct native_map *map = of;
	struct hash *h = map->state;
	struct node *node;

	switch (map->type) {
	case BPF_MAP_TYPE_ARRAY:
	case BPF_MAP_TYPE_PERCPU_ARRAY: {
		uint32_t index = *(const uint32_t *)key;

		if (index >= map->max_entries)
			return NULL;
		return (uint8_t *)map->state + (size_t)index * padded(map->value_size);
	}
	case BPF_MAP_TYPE_LPM_TRIE:
		return trie_lookup(map, key);
	}
	node = find(map, key, hash_of(key, map->key_size));
	if (!node)
		return NULL;
	if (map->type == BPF_MAP_TYPE_LRU_HASH) {
		lru_unlink(h, node);
		lru_push(h, node);
	}
	/* The values of maps of maps are pointers to maps. */
	if (map->type == BPF_MAP_TYPE_HASH_OF_MAPS)
		return *(void **)value_of(map, node);
	return value_of(map, node);
}

long bpf_map_update_elem(void *of, const void *key, const void *value, uint64_t flags)
{
	struct native_map *map = of;
	struct hash *h = map->state;
	struct prefix p;
	struct node *node;
	uint32_t hash;

	if (map->type == BPF_MAP_TYPE_LPM_TRIE) {
		const struct prefix *given = key;

		p = prefix_of(address_of(given), given->bits);
		h->lengths |= 1ull << p.bits;
		key = &p;
	}
	hash = hash_of(key, map->key_size);
	node = find(map, key, hash);
	if (node) {
		memcpy(value_of(map, node), value, map->value_size);
		return 0;
	}
	node = h->free;
	if (node) {
		h->free = node->next;
	} else if (map->type == BPF_MAP_TYPE_LRU_HASH) {
		node = h->oldest;
		lru_unlink(h, node);
		remove_from_bucket(h, node);
	} else {
		return -7; /* E2BIG */
	}
	node->hash = hash;
	memcpy(node->data, key, map->key_size);
	memcpy(value_of(map, node), value, map->value_size);
	node->next = h->buckets[hash & h->mask];
	h->buckets[hash & h->mask] = node;
	if (map->type == BPF_MAP_TYPE_LRU_HASH)
		lru_push(h, node);
	return 0;
}

long bpf_map_delete_elem(void *of, const void *key)
{
	struct native_map *map = of;
	struct hash *h = map->state;
	struct node *node = find(map, key, hash_of(key, map->key_size));

	if (!node)
		return -2; /* ENOENT */
	remove_from_bucket(h, node);
	if (map->type == BPF_MAP_TYPE_LRU_HASH)
		lru_unlink(h, node);
	node->next = h->free;
	h->free = node;
	return 0;
}

void *bpf_ringbuf_reserve(void *of, uint64_t size, uint64_t flags)
{
	struct native_map *map = of;
	struct ring *ring = map->state;
	uint64_t total = (size + 8 + 7) & ~7ull, capacity = ring->mask + 1;
	uint64_t position = ring->produced, consumed, offset;

	consumed = __atomic_load_n(&ring->consumed, __ATOMIC_ACQUIRE);
	if (position + total - consumed > capacity)
		return NULL;
	offset = position & ring->mask;
	/* The memory is mapped once: a record does not go over its end. */
	if (offset + total > capacity) {
		position += capacity - offset;
		offset = 0;
	}
	*(uint64_t *)(ring->data + offset) = size | BUSY;
	__atomic_store_n(&ring->produced, position + total, __ATOMIC_RELEASE);
	return ring->data + offset + 8;
}

void bpf_ringbuf_submit(void *record, uint64_t flags)
{
	uint64_t *header = (uint64_t *)((uint8_t *)record - 8);

	__atomic_store_n(header, *header & ~BUSY, __ATOMIC_RELEASE);
}
