/* The flow table: two buckets a flow, who gives way, counts, ages over the wrap of the tick, and a comparison with a
 * naive map. */
#include "check.h"
#include "flow_table.h"

static struct sc_flow_entry *insert(struct sc_flow_table *t, uint64_t flow, enum sc_flow_state state,
				    uint16_t now, enum sc_eviction *evicted, struct sc_flow_entry *gone)
{
	return sc_flow_insert(t, flow, (uint32_t)flow, state, now, evicted, gone);
}

/* A table of one bucket, full of flows 1 to 4 in the given states, seen at the given ticks. */
static void fill_bucket(struct sc_flow_table *t, const enum sc_flow_state state[4], const uint16_t seen[4])
{
	enum sc_eviction evicted;
	struct sc_flow_entry gone;

	sc_flow_table_new(t, 4);
	for (unsigned int i = 0; i < 4; i++)
		insert(t, i + 1, state[i], seen[i], &evicted, &gone);
}

TEST("a table has room for at least what was asked for, in whole buckets of a power of two")
{
	static const struct { uint32_t entries, buckets; } sizes[] = {
		{ 1, 1 }, { 4, 1 }, { 5, 2 }, { 8, 2 }, { 9, 4 }, { 1024, 256 }, { 1025, 512 },
	};

	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct sc_flow_table t;

		REQUIRE(sc_flow_table_new(&t, sizes[i].entries) == 0);
		CHECK_EQ(t.mask + 1, sizes[i].buckets);
		CHECK_EQ((uintptr_t)t.buckets % 64, 0);
		sc_flow_table_free(&t);
	}
}

TEST("flow id 0 is a flow like any other, and an empty slot is not it")
{
	struct sc_flow_table t;
	struct sc_flow_entry gone;
	enum sc_eviction evicted;

	sc_flow_table_new(&t, 16);
	CHECK(sc_flow_find(&t, 0) == NULL);
	CHECK(insert(&t, 0, SC_FLOW_HALF_OPEN, 7, &evicted, &gone) != NULL);
	CHECK(sc_flow_find(&t, 0) != NULL);
	sc_flow_remove(&t, sc_flow_find(&t, 0));
	CHECK(sc_flow_find(&t, 0) == NULL);
	sc_flow_table_free(&t);
}

TEST("a flow goes to the emptier of its two buckets, and is found in either")
{
	struct sc_flow_table t;
	struct sc_flow_entry gone;
	enum sc_eviction evicted;
	uint32_t first = 0;

	sc_flow_table_new(&t, 4096);
	/* All of these have bucket 5 for their first one; their second differ. */
	for (uint64_t i = 0; i < 64; i++) {
		CHECK(insert(&t, i << 32 | 5, SC_FLOW_ESTABLISHED, 1, &evicted, &gone) != NULL);
		CHECK_EQ(evicted, SC_EVICTED_NONE);
	}
	for (uint64_t i = 0; i < 64; i++) {
		struct sc_flow_entry *e = sc_flow_find(&t, i << 32 | 5);

		REQUIRE(e != NULL);
		CHECK_EQ(e->flow, i << 32 | 5);
		first += e >= t.buckets[5].way && e < t.buckets[5].way + SC_FLOW_WAYS;
	}
	CHECK(first >= 1 && first <= SC_FLOW_WAYS);
	sc_flow_table_free(&t);
}

TEST("half-open gives way first, then closing, then the longest idle")
{
	static const struct {
		enum sc_flow_state state[4];
		uint16_t seen[4];
		uint64_t victim;
		enum sc_eviction why;
	} cases[] = {
		{ { 2, 3, 1, 3 }, { 1, 1, 99, 1 }, 3, SC_EVICTED_HALF_OPEN },
		{ { 1, 1, 1, 1 }, { 9, 3, 5, 7 }, 2, SC_EVICTED_HALF_OPEN },
		{ { 2, 3, 3, 2 }, { 1, 50, 40, 1 }, 3, SC_EVICTED_CLOSING },
		{ { 2, 2, 2, 3 }, { 1, 2, 3, 99 }, 4, SC_EVICTED_CLOSING },
		{ { 2, 2, 2, 2 }, { 30, 20, 10, 40 }, 3, SC_EVICTED_IDLE },
	};

	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sc_flow_table t;
		struct sc_flow_entry gone;
		enum sc_eviction evicted;

		fill_bucket(&t, cases[i].state, cases[i].seen);
		CHECK(insert(&t, 100, SC_FLOW_ESTABLISHED, 100, &evicted, &gone) != NULL);
		CHECK_EQ(evicted, cases[i].why);
		CHECK_EQ(gone.flow, cases[i].victim);
		CHECK_EQ(gone.backend, cases[i].victim);
		CHECK(sc_flow_find(&t, cases[i].victim) == NULL);
		CHECK(sc_flow_find(&t, 100) != NULL);
		sc_flow_table_free(&t);
	}
}

TEST("a cached entry gives way before any other, also to a SYN and though it is the last seen of established ones")
{
	for (enum sc_flow_state s = SC_FLOW_HALF_OPEN; s <= SC_FLOW_CLOSING; s++) {
		for (enum sc_flow_state new = SC_FLOW_HALF_OPEN; new <= SC_FLOW_CLOSING; new++) {
			static const uint16_t seen[4] = { 1, 1, 99, 1 };
			const enum sc_flow_state state[4] = { 1, 2, s, 3 };
			struct sc_flow_table t;
			struct sc_flow_entry gone;
			enum sc_eviction evicted;

			fill_bucket(&t, state, seen);
			sc_flow_find(&t, 3)->cached = 1;
			CHECK(insert(&t, 100, new, 100, &evicted, &gone) != NULL);
			CHECK_EQ(gone.flow, 3);
			CHECK_EQ(gone.cached, 1);
			CHECK_EQ(sc_flow_find(&t, 100)->cached, 0);
			sc_flow_table_free(&t);
		}
	}
}

TEST("who gives way is looked for in both buckets of the new flow")
{
	for (uint64_t victim = 0; victim < 2 * SC_FLOW_WAYS; victim++) {
		struct sc_flow_table t;
		struct sc_flow_entry gone;
		enum sc_eviction evicted;
		uint64_t flow = 0;

		sc_flow_table_new(&t, 2 * SC_FLOW_WAYS);
		for (uint64_t i = 0; i < 2 * SC_FLOW_WAYS; i++, flow++) {
			/* Flows of which each belongs into either bucket. */
			while (!sc_flow_belongs(t.mask, flow, 0) || !sc_flow_belongs(t.mask, flow, 1))
				flow++;
			insert(&t, flow, SC_FLOW_ESTABLISHED, i == victim ? 1 : 2, &evicted, &gone);
			CHECK_EQ(evicted, SC_EVICTED_NONE);
		}
		while (!sc_flow_belongs(t.mask, flow, 0) || !sc_flow_belongs(t.mask, flow, 1))
			flow++;
		CHECK(insert(&t, flow, SC_FLOW_ESTABLISHED, 3, &evicted, &gone) != NULL);
		CHECK_EQ(gone.seen, 1);
		CHECK(sc_flow_find(&t, flow) != NULL && sc_flow_find(&t, gone.flow) == NULL);
		sc_flow_table_free(&t);
	}
}

TEST("the longest idle is found over the wrap of the tick")
{
	static const enum sc_flow_state state[4] = { 2, 2, 2, 2 };
	static const uint16_t seen[4] = { 2, 65530, 65500, 9 };
	struct sc_flow_table t;
	struct sc_flow_entry gone;
	enum sc_eviction evicted;

	fill_bucket(&t, state, seen);
	insert(&t, 100, SC_FLOW_CLOSING, 10, &evicted, &gone);
	CHECK_EQ(gone.flow, 3);
	sc_flow_table_free(&t);
}

TEST("a SYN never evicts an established flow, however long that has been idle")
{
	static const enum sc_flow_state state[4] = { 2, 2, 2, 2 };
	static const uint16_t seen[4] = { 0, 0, 0, 0 };
	struct sc_flow_table t;
	struct sc_flow_entry gone;
	enum sc_eviction evicted;

	fill_bucket(&t, state, seen);
	for (uint64_t flow = 100; flow < 1100; flow++) {
		CHECK(insert(&t, flow, SC_FLOW_HALF_OPEN, 40000, &evicted, &gone) == NULL);
		CHECK_EQ(evicted, SC_EVICTED_REFUSED);
	}
	CHECK_EQ(t.count[SC_FLOW_ESTABLISHED], 4);
	sc_flow_set_state(&t, sc_flow_find(&t, 2), SC_FLOW_CLOSING);
	CHECK(insert(&t, 100, SC_FLOW_HALF_OPEN, 40000, &evicted, &gone) != NULL);
	CHECK_EQ(gone.flow, 2);
	CHECK_EQ(t.count[SC_FLOW_HALF_OPEN], 1);
	CHECK_EQ(t.count[SC_FLOW_CLOSING], 0);
	CHECK_EQ(t.count[SC_FLOW_ESTABLISHED], 3);
	sc_flow_table_free(&t);
}

TEST("an age counts up over the wrap of its 10 bits and of the tick, and stays at its greatest when swept")
{
	struct sc_flow_table t;
	struct sc_flow_entry gone, *e;
	enum sc_eviction evicted;
	uint16_t now = 65000;

	sc_flow_table_new(&t, 4);
	e = insert(&t, 1, SC_FLOW_ESTABLISHED, now, &evicted, &gone);
	for (uint32_t age = 0; age < 70000; age++, now++) {
		CHECK_EQ(sc_flow_age(e, now), age < SC_AGE_MAX ? age : SC_AGE_MAX);
		if (age % 30 == 0)
			sc_flow_set_age(e, now, sc_flow_age(e, now));
	}
	for (uint16_t age = 500; age < 8192; age++) {
		sc_flow_set_age(e, now, age);
		CHECK_EQ(sc_flow_age(e, now), age < SC_AGE_MAX ? age : SC_AGE_MAX);
	}
	sc_flow_set_age(e, now, 5);
	CHECK_EQ(sc_flow_age(e, (uint16_t)(now + 3)), 8);
	sc_flow_table_free(&t);
}

TEST("idleness counts over the wrap of the tick")
{
	struct sc_flow_entry e = { .seen = 65535 };

	CHECK_EQ(sc_flow_idle(&e, 65535), 0);
	CHECK_EQ(sc_flow_idle(&e, 0), 1);
	CHECK_EQ(sc_flow_idle(&e, 5399), 5400);
	CHECK_EQ(sc_tick(65535 * SC_TICK_US), 65535);
	CHECK_EQ(sc_tick(65536 * SC_TICK_US), 0);
}

/* Entries out of 65536 that made another one give way. */
static uint32_t crowded(uint32_t load, uint64_t random)
{
	struct sc_flow_table t;
	struct sc_flow_entry gone;
	enum sc_eviction evicted;
	uint32_t full = 0;

	sc_flow_table_new(&t, 1 << 16);
	for (uint32_t i = 0; i < load; i++) {
		insert(&t, check_random(&random), SC_FLOW_ESTABLISHED, 1, &evicted, &gone);
		full += evicted != SC_EVICTED_NONE;
	}
	sc_flow_table_free(&t);
	return full;
}

TEST("hardly a flow gives way at 60% load, one in fifty at 80%")
{
	uint64_t random = check_seed();

	CHECK(crowded((1 << 16) * 6 / 10, random) < 66);
	CHECK(crowded((1 << 16) * 8 / 10, random) < 1300);
}

enum { KEYS = 1638, CAPACITY = 2048 };

/* A naive map: flow i is at [i]. */
struct naive {
	struct { uint64_t flow; uint32_t backend; uint8_t state; bool there; } e[KEYS];
};

static void check_same(const struct sc_flow_table *t, const struct naive *map)
{
	uint32_t count[SC_FLOW_STATES] = { 0 };

	for (int i = 0; i < KEYS; i++) {
		struct sc_flow_entry *e = sc_flow_find(t, map->e[i].flow);

		if (!CHECK_EQ(e != NULL, map->e[i].there) || !e)
			continue;
		CHECK_EQ(e->backend, map->e[i].backend);
		CHECK_EQ(e->state, map->e[i].state);
		count[e->state]++;
	}
	for (int s = 1; s < SC_FLOW_STATES; s++)
		CHECK_EQ(t->count[s], count[s]);
}

TEST("at 80% load the table does what a naive map does, for any order of insertions, changes and removals")
{
	uint64_t random = check_seed();
	struct naive *map = calloc(1, sizeof(*map));
	struct sc_flow_table t;

	sc_flow_table_new(&t, CAPACITY);
	for (int i = 0; i < KEYS; i++)
		map->e[i].flow = check_random(&random);
	for (int step = 0; step < 100000; step++) {
		int i = (int)(check_random(&random) % KEYS);
		uint32_t roll = (uint32_t)check_random(&random) % 100;
		struct sc_flow_entry gone, *e = sc_flow_find(&t, map->e[i].flow);
		enum sc_flow_state state = 1 + check_random(&random) % 3;
		enum sc_eviction evicted = SC_EVICTED_NONE;

		if (e && roll < 10) {
			sc_flow_remove(&t, e);
			map->e[i].there = false;
		} else if (e) {
			sc_flow_set_state(&t, e, state);
			map->e[i].state = (uint8_t)state;
		} else {
			e = sc_flow_insert(&t, map->e[i].flow, (uint32_t)step, state, (uint16_t)step, &evicted, &gone);
			map->e[i].there = e != NULL;
			map->e[i].backend = (uint32_t)step;
			map->e[i].state = (uint8_t)state;
			for (int k = 0; evicted != SC_EVICTED_NONE && e && k < KEYS; k++)
				if (map->e[k].flow == gone.flow)
					map->e[k].there = false;
		}
		if (step % 5000 == 0)
			check_same(&t, map);
	}
	check_same(&t, map);
	sc_flow_table_free(&t);
	free(map);
}

CHECK_MAIN
