/* The flow table: flow id -> backend and state, 16 bytes an entry, four entries to
 * a cache line, two candidate buckets a flow; no allocation after creation. Called
 * by the data path of one node; not shared between threads.
 * Time is in ticks of 2 s that wrap; an entry is looked at often enough (sweep)
 * that a wrap cannot be mistaken. */
#ifndef SC_FLOW_TABLE_H
#define SC_FLOW_TABLE_H

#include "limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SC_TICK_US	(2 * SC_S)
enum {
	SC_TICK_S = 2,
	SC_AGE_MAX = 511,	/* ticks; an older entry's age stays there */
};

enum sc_flow_state {
	SC_FLOW_NONE = 0,	/* empty slot; on the wire: ended */
	SC_FLOW_HALF_OPEN = 1,
	SC_FLOW_ESTABLISHED = 2,
	SC_FLOW_CLOSING = 3,
	SC_FLOW_STATES,
};

struct sc_flow_entry {
	uint64_t flow;
	uint32_t backend;
	uint16_t seen;		/* tick of the last packet or publication */
	uint16_t begun:10;	/* tick of the beginning, modulo 1024 */
	uint16_t timeouts:3;	/* class of timeouts; 0: not known */
	uint16_t cached:1;	/* learned from OWNER: trusted for SC_OWNER_CACHE_S, then gone */
	uint16_t state:2;	/* enum sc_flow_state */
};

struct sc_flow_bucket {
	_Alignas(64) struct sc_flow_entry way[SC_FLOW_WAYS];
};

_Static_assert(sizeof(struct sc_flow_entry) == 16, "an entry is 16 bytes");
_Static_assert(sizeof(struct sc_flow_bucket) == 64, "a bucket is a cache line");

struct sc_flow_table {
	struct sc_flow_bucket *buckets;
	uint32_t mask;				/* number of buckets - 1 */
	uint32_t count[SC_FLOW_STATES];		/* entries by state */
};

/* Buckets, less one, of a table with room for at least entries flows. */
uint32_t sc_flow_table_mask(uint32_t entries);

/* A table of its own with room for at least entries flows. -ENOMEM. */
int sc_flow_table_new(struct sc_flow_table *t, uint32_t entries);
void sc_flow_table_free(struct sc_flow_table *t);

/* A table in buckets of the caller's: mask + 1 of them, zeroed. */
void sc_flow_table_init(struct sc_flow_table *t, struct sc_flow_bucket *buckets, uint32_t mask);

/* Whether an entry of this flow belongs into the bucket of that number. */
bool sc_flow_belongs(uint32_t mask, uint64_t flow, uint32_t bucket);

struct sc_flow_entry *sc_flow_find(const struct sc_flow_table *t, uint64_t flow);

/* What had to go for a new entry. */
enum sc_eviction { SC_EVICTED_NONE, SC_EVICTED_HALF_OPEN, SC_EVICTED_CLOSING, SC_EVICTED_IDLE, SC_EVICTED_REFUSED };

/* Makes an entry of a flow that is not there, in the given state, begun and seen
 * now. When both buckets are full one entry gives way: a cached one first, then
 * half-open, then closing, then the longest idle; for a half-open one (a SYN) an
 * established one that is not cached never does: NULL, SC_EVICTED_REFUSED. *gone is
 * the entry that gave way. */
struct sc_flow_entry *sc_flow_insert(struct sc_flow_table *t, uint64_t flow, uint32_t backend,
				     enum sc_flow_state state, uint16_t now,
				     enum sc_eviction *evicted, struct sc_flow_entry *gone);

void sc_flow_remove(struct sc_flow_table *t, struct sc_flow_entry *e);
void sc_flow_set_state(struct sc_flow_table *t, struct sc_flow_entry *e, enum sc_flow_state s);

/* Ticks since the last packet. */
static inline uint16_t sc_flow_idle(const struct sc_flow_entry *e, uint16_t now)
{
	return (uint16_t)(now - e->seen);
}

/* Ticks since the beginning, at most SC_AGE_MAX, given that the entry is looked at
 * every SC_AGE_MAX ticks. */
static inline uint16_t sc_flow_age(const struct sc_flow_entry *e, uint16_t now)
{
	uint16_t age = (uint16_t)(now - e->begun) & 1023;

	return age > SC_AGE_MAX ? SC_AGE_MAX : age;
}

static inline void sc_flow_set_age(struct sc_flow_entry *e, uint16_t now, uint16_t age)
{
	e->begun = (uint16_t)(now - (age > SC_AGE_MAX ? SC_AGE_MAX : age)) & 1023;
}

static inline uint16_t sc_tick(uint64_t now_us)
{
	return (uint16_t)(now_us / SC_TICK_US);
}

#endif
