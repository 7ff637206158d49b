/* The layout of a node's own memory. See memory.h. */
#include <string.h>

#include "flow_id.h"
#include "memory.h"

#define MAGIC 0x776f6c6673746353ull	/* "Sctsflow" */

struct header {
	/* Written once; checked by the sum. */
	uint64_t magic;
	uint32_t layout;
	uint32_t mask;
	uint64_t hash_seed;
	uint8_t clock[16];
	uint16_t node;
	uint16_t ways, entry_size;
	uint16_t pad;
	uint64_t sum;
	/* Written while the node lives. */
	uint64_t alive_us;
	uint64_t filled;
	uint64_t peers[SC_MAX_NODES];	/* boot ids; none in what an older release left */
};

_Static_assert(sizeof(struct header) == 72 + 8 * SC_MAX_NODES, "no padding in the header");
_Static_assert(sizeof(struct header) <= (size_t)SC_MEMORY_HEADER, "the header has its page");

static uint64_t sum_of(const struct header *h)
{
	return sc_xxh64(h, offsetof(struct header, sum), SC_MEMORY_LAYOUT);
}

size_t sc_memory_size(uint32_t entries)
{
	return SC_MEMORY_HEADER + ((size_t)sc_flow_table_mask(entries) + 1) * sizeof(struct sc_flow_bucket);
}

void sc_memory_init(void *region, uint32_t entries, const struct sc_memory_id *id)
{
	struct header *h = region;

	*h = (struct header){
		.magic = MAGIC, .layout = SC_MEMORY_LAYOUT, .mask = sc_flow_table_mask(entries),
		.hash_seed = id->hash_seed, .node = id->node, .ways = SC_FLOW_WAYS,
		.entry_size = sizeof(struct sc_flow_entry),
	};
	memcpy(h->clock, id->clock, sizeof(h->clock));
	h->sum = sum_of(h);
}

const char *sc_memory_doubt(const void *region, size_t size, const struct sc_memory_id *id)
{
	const struct header *h = region;

	if (size < SC_MEMORY_HEADER || h->magic != MAGIC)
		return "it is no flow table";
	if (h->layout != SC_MEMORY_LAYOUT || h->ways != SC_FLOW_WAYS ||
	    h->entry_size != sizeof(struct sc_flow_entry))
		return "it is of another layout";
	if (h->sum != sum_of(h) || (h->mask & (h->mask + 1ull)) != 0 ||
	    size != SC_MEMORY_HEADER + (h->mask + 1ull) * sizeof(struct sc_flow_bucket))
		return "its header is damaged";
	if (h->hash_seed != id->hash_seed || h->node != id->node)
		return "it is another node's";
	if (memcmp(h->clock, id->clock, sizeof(h->clock)) != 0)
		return "the machine was started anew since";
	if (h->alive_us == 0 || !h->filled)
		return "its node had not filled";
	return NULL;
}

struct sc_flow_bucket *sc_memory_buckets(void *region)
{
	return (struct sc_flow_bucket *)((uint8_t *)region + SC_MEMORY_HEADER);
}

uint32_t sc_memory_mask(const void *region)
{
	return ((const struct header *)region)->mask;
}

void sc_memory_mark(void *region, uint64_t now_us, bool filled)
{
	struct header *h = region;

	h->alive_us = now_us;
	h->filled = filled;
}

uint64_t sc_memory_alive_us(const void *region)
{
	return ((const struct header *)region)->alive_us;
}

void sc_memory_mark_peer(void *region, uint16_t row, uint64_t boot)
{
	((struct header *)region)->peers[row] = boot;
}

bool sc_memory_heard(const void *region, uint64_t boot)
{
	const struct header *h = region;

	for (int i = 0; i < SC_MAX_NODES; i++)
		if (boot != 0 && h->peers[i] == boot)
			return true;
	return false;
}
