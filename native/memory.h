/* A node's own memory: the region that its flow table lives in. Kept where it outlives
 * the process, a restarted node recalls from it what nobody else could tell (recall.c).
 * Owned by io/memory_file.c, or by whoever made the region; written by one node.
 * Guarantees: what an earlier life left is looked at only when its layout, its names
 * and its clock are this node's, and every entry is judged by itself; a process that
 * was killed at any instruction leaves no flow with a backend that it never had. */
#ifndef SC_MEMORY_H
#define SC_MEMORY_H

#include "flow_table.h"

enum {
	SC_MEMORY_LAYOUT = 1,		/* changes with the header, the entry or the choice of buckets */
	SC_MEMORY_HEADER = 4096,	/* bytes in front of the buckets */
};

/* Whose memory a region is. */
struct sc_memory_id {
	uint64_t hash_seed;
	uint8_t clock[16];	/* the machine's boot: another one counts time anew */
	uint16_t node;
};

/* Bytes of a region for at least entries flows. */
size_t sc_memory_size(uint32_t entries);

/* Makes a zeroed region of that size an empty memory. */
void sc_memory_init(void *region, uint32_t entries, const struct sc_memory_id *id);

/* Why a region of size bytes is not to be recalled by this node; NULL: it may be. */
const char *sc_memory_doubt(const void *region, size_t size, const struct sc_memory_id *id);

struct sc_flow_bucket *sc_memory_buckets(void *region);
uint32_t sc_memory_mask(const void *region);

/* When its node's timers were last called, and whether it had filled by then: before,
 * it held only what it had been told. */
void sc_memory_mark(void *region, uint64_t now_us, bool filled);
uint64_t sc_memory_alive_us(const void *region);

/* Which life (boot id, 0: none) of the peer at a row had filled and was heard then: who
 * lives on has heard what happened since. */
void sc_memory_mark_peer(void *region, uint16_t row, uint64_t boot);
bool sc_memory_heard(const void *region, uint64_t boot);

#endif
