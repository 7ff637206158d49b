/* The flow table. See flow_table.h. A flow lives in one of two buckets, chosen by
 * different bits of its id; a new one goes to the emptier (Azar et al., "Balanced
 * allocations", 1994). */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "flow_table.h"

uint32_t sc_flow_table_mask(uint32_t entries)
{
	uint64_t buckets = 1;

	while (buckets * SC_FLOW_WAYS < entries)
		buckets *= 2;
	return (uint32_t)(buckets - 1);
}

void sc_flow_table_init(struct sc_flow_table *t, struct sc_flow_bucket *buckets, uint32_t mask)
{
	memset(t, 0, sizeof(*t));
	t->buckets = buckets;
	t->mask = mask;
}

int sc_flow_table_new(struct sc_flow_table *t, uint32_t entries)
{
	uint32_t mask = sc_flow_table_mask(entries);
	size_t size = ((size_t)mask + 1) * sizeof(struct sc_flow_bucket);
	struct sc_flow_bucket *buckets = aligned_alloc(64, size);

	if (!buckets)
		return -ENOMEM;
	memset(buckets, 0, size);
	sc_flow_table_init(t, buckets, mask);
	return 0;
}

void sc_flow_table_free(struct sc_flow_table *t)
{
	free(t->buckets);
	t->buckets = NULL;
}

/* For whoever reads the buckets after the process was killed: what the program wrote
 * before stays before. */
static void in_order(void)
{
	atomic_signal_fence(memory_order_seq_cst);
}

static uint32_t first_of(uint32_t mask, uint64_t flow)
{
	return (uint32_t)flow & mask;
}

static uint32_t second_of(uint32_t mask, uint64_t flow)
{
	return (uint32_t)(flow * 0x9e3779b97f4a7c15ull >> 32) & mask;
}

bool sc_flow_belongs(uint32_t mask, uint64_t flow, uint32_t bucket)
{
	return bucket == first_of(mask, flow) || bucket == second_of(mask, flow);
}

static struct sc_flow_bucket *first_bucket(const struct sc_flow_table *t, uint64_t flow)
{
	return &t->buckets[first_of(t->mask, flow)];
}

static struct sc_flow_bucket *second_bucket(const struct sc_flow_table *t, uint64_t flow)
{
	return &t->buckets[second_of(t->mask, flow)];
}

static struct sc_flow_entry *find_in(struct sc_flow_bucket *b, uint64_t flow)
{
	for (int i = 0; i < SC_FLOW_WAYS; i++)
		if (b->way[i].flow == flow && b->way[i].state != SC_FLOW_NONE)
			return &b->way[i];
	return NULL;
}

struct sc_flow_entry *sc_flow_find(const struct sc_flow_table *t, uint64_t flow)
{
	struct sc_flow_entry *e = find_in(first_bucket(t, flow), flow);

	return e ? e : find_in(second_bucket(t, flow), flow);
}

static struct sc_flow_entry *free_way(struct sc_flow_bucket *b, int *used)
{
	struct sc_flow_entry *empty = NULL;

	*used = 0;
	for (int i = 0; i < SC_FLOW_WAYS; i++) {
		if (b->way[i].state == SC_FLOW_NONE)
			empty = &b->way[i];
		else
			++*used;
	}
	return empty;
}

/* How soon an entry gives way: by state first, then by idleness. */
static uint32_t dispensable(const struct sc_flow_entry *e, uint16_t now)
{
	static const uint32_t by_state[SC_FLOW_STATES] = {
		[SC_FLOW_HALF_OPEN] = 3, [SC_FLOW_CLOSING] = 2, [SC_FLOW_ESTABLISHED] = 1,
	};

	return (e->cached ? 4 : by_state[e->state]) << 16 | sc_flow_idle(e, now);
}

static struct sc_flow_entry *most_dispensable(struct sc_flow_bucket *a, struct sc_flow_bucket *b,
					      uint16_t now)
{
	struct sc_flow_entry *victim = &a->way[0];

	for (int i = 1; i < 2 * SC_FLOW_WAYS; i++) {
		struct sc_flow_entry *e = i < SC_FLOW_WAYS ? &a->way[i] : &b->way[i - SC_FLOW_WAYS];

		if (dispensable(e, now) > dispensable(victim, now))
			victim = e;
	}
	return victim;
}

static struct sc_flow_entry *make_room(struct sc_flow_table *t, uint64_t flow,
				       enum sc_flow_state state, uint16_t now,
				       enum sc_eviction *evicted, struct sc_flow_entry *gone)
{
	static const enum sc_eviction cause[SC_FLOW_STATES] = {
		[SC_FLOW_HALF_OPEN] = SC_EVICTED_HALF_OPEN, [SC_FLOW_CLOSING] = SC_EVICTED_CLOSING,
		[SC_FLOW_ESTABLISHED] = SC_EVICTED_IDLE,
	};
	struct sc_flow_bucket *a = first_bucket(t, flow), *b = second_bucket(t, flow);
	struct sc_flow_entry *victim;
	int used_a, used_b;
	struct sc_flow_entry *free_a = free_way(a, &used_a), *free_b = free_way(b, &used_b);

	*evicted = SC_EVICTED_NONE;
	if (free_a && (used_a <= used_b || !free_b))
		return free_a;
	if (free_b)
		return free_b;
	victim = most_dispensable(a, b, now);
	if (state == SC_FLOW_HALF_OPEN && victim->state == SC_FLOW_ESTABLISHED && !victim->cached) {
		*evicted = SC_EVICTED_REFUSED;
		return NULL;
	}
	*evicted = cause[victim->state];
	*gone = *victim;
	sc_flow_remove(t, victim);
	return victim;
}

struct sc_flow_entry *sc_flow_insert(struct sc_flow_table *t, uint64_t flow, uint32_t backend,
				     enum sc_flow_state state, uint16_t now,
				     enum sc_eviction *evicted, struct sc_flow_entry *gone)
{
	struct sc_flow_entry *e = make_room(t, flow, state, now, evicted, gone);

	if (!e)
		return NULL;
	*e = (struct sc_flow_entry){ .flow = flow, .backend = backend, .seen = now };
	sc_flow_set_age(e, now, 0);
	in_order();
	e->state = (uint16_t)state & 3;
	t->count[state]++;
	return e;
}

void sc_flow_remove(struct sc_flow_table *t, struct sc_flow_entry *e)
{
	t->count[e->state]--;
	e->state = SC_FLOW_NONE;
	in_order();
	memset(e, 0, sizeof(*e));
}

void sc_flow_set_state(struct sc_flow_table *t, struct sc_flow_entry *e, enum sc_flow_state s)
{
	t->count[e->state]--;
	t->count[s]++;
	e->state = (uint16_t)s & 3;
}
