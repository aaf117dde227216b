/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Maps for the programs compiled to native code: the simplest that do the work
 * on one thread, behind the helpers' names.
 */
#pragma once
#include <stdint.h>

/* A map's definition, and what `native_map_init` made from it. */
struct native_map {
	uint32_t type, key_size, value_size, max_entries;
	void *state;
};

/* Makes the map, and for a hash of maps the 16 arrays in it. */
void native_map_init(struct native_map *map);
/* Empties a ring buffer. */
void native_map_drain(struct native_map *map);

void *bpf_map_lookup_elem(void *map, const void *key);
long bpf_map_update_elem(void *map, const void *key, const void *value, uint64_t flags);
long bpf_map_delete_elem(void *map, const void *key);
void *bpf_ringbuf_reserve(void *map, uint64_t size, uint64_t flags);
void bpf_ringbuf_submit(void *record, uint64_t flags);
