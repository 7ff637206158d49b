/* What a record makes of what a node holds: the table of docs/wire-format.md, section 3.2, row by row and at its edges,
 * and what OWNER makes of it. The node is node 1 of PoP 1; the flow's home is that node in PoP 1 and node 1 in PoP 2. */
#include "check.h"
#include "fleet.h"
#include "state.h"

/* Backends: A and B are PoP 2's, A has the smaller id. U is not configured, of a PoP that is; Z is of no PoP. */
enum { A = 2 << 20 | 1, B = 2 << 20 | 2, U = 2 << 20 | 9, Z = 9 << 20 | 1, OWN = 1 << 20 | 1 };
enum { NONE, HALF, EST, CLOSING };
enum { SELF = 0, OWNER = 2, SIBLING = 3 };	/* node rows; SIBLING is of the owner's PoP */

struct entry {
	uint32_t backend;	/* 0: nothing is held */
	uint16_t state, age, idle;
	bool cached;
};

struct merge {
	struct entry held, record;
	int from;		/* 0: it does not matter who says it */
	struct entry then;
	int won, lost;
};

#define NOTHING { 0 }

static const struct merge merges[] = {
	/* Nothing is held. */
	{ NOTHING, { A, NONE, 5, 0, 0 }, 0, NOTHING, 0, 0 },
	{ NOTHING, { A, EST, 10, 3, 0 }, OWNER, { A, EST, 10, 3, 0 }, 0, 0 },
	{ NOTHING, { A, EST, 10, 15, 0 }, OWNER, { A, EST, 10, 15, 0 }, 0, 0 },
	{ NOTHING, { A, EST, 10, 16, 0 }, OWNER, { A, EST, 10, 15, 0 }, 0, 0 },
	{ NOTHING, { A, EST, 10, 16, 0 }, SIBLING, { A, EST, 10, 16, 0 }, 0, 0 },
	{ NOTHING, { A, CLOSING, 10, 16, 0 }, OWNER, { A, CLOSING, 10, 0, 0 }, 0, 0 },
	{ NOTHING, { A, EST, 10, 3, 0 }, SIBLING, { A, EST, 10, 3, 0 }, 0, 0 },
	{ NOTHING, { A, HALF, 0, 0, 0 }, OWNER, { A, HALF, 0, 0, 0 }, 0, 0 },
	{ NOTHING, { U, EST, 10, 3, 0 }, OWNER, { U, EST, 10, 3, 0 }, 0, 0 },
	{ NOTHING, { Z, EST, 10, 3, 0 }, 0, NOTHING, 0, 0 },
	{ NOTHING, { A, EST, 1029, 0, 0 }, OWNER, { A, EST, 511, 0, 0 }, 0, 0 },
	/* The same backend: who heard of it later. */
	{ { A, EST, 20, 5, 0 }, { A, CLOSING, 20, 9, 0 }, OWNER, { A, CLOSING, 20, 0, 0 }, 0, 0 },
	{ { A, EST, 20, 5, 0 }, { A, CLOSING, 20, 5, 0 }, SIBLING, { A, CLOSING, 20, 5, 0 }, 0, 0 },
	{ { A, EST, 20, 5, 0 }, { A, EST, 21, 5, 0 }, SIBLING, { A, EST, 21, 5, 0 }, 0, 0 },
	{ { A, EST, 20, 5, 0 }, { A, HALF, 20, 5, 0 }, SIBLING, { A, EST, 20, 5, 0 }, 0, 0 },
	{ { A, EST, 20, 5, 0 }, { A, CLOSING, 20, 6, 0 }, SIBLING, { A, EST, 20, 5, 0 }, 0, 0 },
	/* No life goes back into its handshake, whoever says it, and however late. */
	{ { A, EST, 20, 5, 0 }, { A, HALF, 20, 4, 0 }, SIBLING, { A, EST, 20, 5, 0 }, 0, 0 },
	{ { A, EST, 20, 5, 0 }, { A, HALF, 20, 4, 0 }, OWNER, { A, EST, 20, 5, 0 }, 0, 0 },
	{ { A, EST, 20, 5, 0 }, { A, HALF, 18, 4, 0 }, OWNER, { A, HALF, 18, 4, 0 }, 0, 0 },
	/* The owner knows best, but not when this node last heard of it. */
	{ { A, HALF, 20, 3, 0 }, { A, EST, 20, 7, 0 }, OWNER, { A, EST, 20, 3, 0 }, 0, 0 },
	{ { A, HALF, 20, 3, 0 }, { A, EST, 20, 7, 0 }, SIBLING, { A, HALF, 20, 3, 0 }, 0, 0 },
	{ { A, CLOSING, 100, 0, 0 }, { A, HALF, 99, 0, 0 }, SIBLING, { A, CLOSING, 100, 0, 0 }, 0, 0 },
	/* The owner takes back what it said of an end. */
	{ { A, CLOSING, 100, 0, 0 }, { A, HALF, 99, 0, 0 }, OWNER, { A, HALF, 99, 0, 0 }, 0, 0 },
	{ { A, CLOSING, 100, 0, 0 }, { A, EST, 100, 0, 0 }, OWNER, { A, EST, 100, 0, 0 }, 0, 0 },
	{ { A, CLOSING, 100, 0, 0 }, { A, EST, 100, 1, 0 }, OWNER, { A, EST, 100, 0, 0 }, 0, 0 },
	{ { A, CLOSING, 100, 0, 0 }, { A, HALF, 99, 1, 0 }, OWNER, { A, HALF, 99, 0, 0 }, 0, 0 },
	{ { A, EST, 100, 0, 0 }, { A, HALF, 100, 0, 0 }, OWNER, { A, EST, 100, 0, 0 }, 0, 0 },
	/* Another life of the flow: begun later than the entry, and earlier. */
	{ { A, CLOSING, 100, 0, 0 }, { A, HALF, 98, 0, 0 }, OWNER, { A, HALF, 98, 0, 0 }, 0, 0 },
	{ { A, CLOSING, 100, 0, 0 }, { A, HALF, 0, 0, 0 }, OWNER, { A, HALF, 0, 0, 0 }, 0, 0 },
	{ { A, CLOSING, 100, 3, 0 }, { A, HALF, 0, 4, 0 }, SIBLING, { A, CLOSING, 100, 3, 0 }, 0, 0 },
	{ { A, EST, 10, 5, 0 }, { A, CLOSING, 11, 0, 0 }, SIBLING, { A, CLOSING, 11, 0, 0 }, 0, 0 },
	{ { A, EST, 10, 5, 0 }, { A, CLOSING, 12, 0, 0 }, SIBLING, { A, EST, 10, 5, 0 }, 0, 0 },
	{ { A, EST, 10, 5, 0 }, { A, CLOSING, 12, 0, 0 }, OWNER, { A, CLOSING, 12, 0, 0 }, 0, 0 },
	/* The end of the flow's last life, begun a unit before, or of this one. */
	{ { A, EST, 10, 5, 0 }, { A, CLOSING, 11, 5, 0 }, SIBLING, { A, EST, 10, 5, 0 }, 0, 0 },
	{ { A, EST, 10, 5, 0 }, { A, CLOSING, 11, 4, 0 }, SIBLING, { A, EST, 10, 5, 0 }, 0, 0 },
	{ { A, EST, 10, 5, 0 }, { A, CLOSING, 11, 3, 0 }, SIBLING, { A, CLOSING, 11, 3, 0 }, 0, 0 },
	{ { A, EST, 10, 5, 0 }, { A, CLOSING, 10, 4, 0 }, SIBLING, { A, CLOSING, 10, 4, 0 }, 0, 0 },
	{ { A, EST, 10, 5, 0 }, { A, CLOSING, 11, 5, 0 }, OWNER, { A, CLOSING, 11, 0, 0 }, 0, 0 },
	{ { A, EST, 10, 5, 1 }, { A, CLOSING, 11, 5, 0 }, SIBLING, { A, CLOSING, 11, 5, 0 }, 0, 0 },
	{ { A, EST, 511, 5, 0 }, { A, CLOSING, 600, 5, 0 }, SIBLING, { A, CLOSING, 511, 5, 0 }, 0, 0 },
	{ { A, HALF, 0, 0, 0 }, { A, CLOSING, 1, 0, 0 }, SIBLING, { A, HALF, 0, 0, 0 }, 0, 0 },
	{ { A, CLOSING, 10, 5, 0 }, { A, CLOSING, 11, 4, 0 }, SIBLING, { A, CLOSING, 11, 4, 0 }, 0, 0 },
	/* The end. */
	{ { A, EST, 10, 5, 0 }, { A, NONE, 10, 5, 0 }, OWNER, NOTHING, 0, 0 },
	{ { A, EST, 10, 5, 0 }, { A, NONE, 11, 5, 0 }, OWNER, NOTHING, 0, 0 },
	{ { A, EST, 10, 5, 0 }, { A, NONE, 12, 5, 0 }, OWNER, { A, EST, 10, 5, 0 }, 0, 0 },
	{ { A, EST, 10, 5, 0 }, { A, NONE, 3, 0, 0 }, OWNER, NOTHING, 0, 0 },
	{ { A, EST, 10, 5, 0 }, { A, NONE, 10, 0, 0 }, SIBLING, { A, EST, 10, 5, 0 }, 0, 0 },
	{ { B, EST, 10, 5, 0 }, { A, NONE, 10, 0, 0 }, 0, { B, EST, 10, 5, 0 }, 0, 0 },
	{ { B, HALF, 10, 5, 0 }, { A, NONE, 3, 0, 0 }, 0, { B, HALF, 10, 5, 0 }, 0, 0 },
	/* A cached entry is worth nothing next to a record. */
	{ { A, EST, 10, 0, 1 }, { A, HALF, 10, 7, 0 }, SIBLING, { A, HALF, 10, 7, 0 }, 0, 0 },
	{ { A, EST, 10, 0, 1 }, { A, NONE, 10, 0, 0 }, OWNER, NOTHING, 0, 0 },
	/* Another backend: one past its handshake against one in it. */
	{ { A, HALF, 10, 5, 0 }, { B, EST, 400, 3, 0 }, OWNER, { B, EST, 400, 3, 0 }, 0, 1 },
	{ { A, HALF, 10, 5, 0 }, { B, CLOSING, 400, 3, 0 }, SIBLING, { B, CLOSING, 400, 3, 0 }, 0, 1 },
	{ { A, EST, 400, 5, 0 }, { B, HALF, 0, 0, 0 }, 0, { A, EST, 400, 5, 0 }, 1, 0 },
	{ { A, CLOSING, 400, 5, 0 }, { B, HALF, 0, 0, 0 }, 0, { A, CLOSING, 400, 5, 0 }, 1, 0 },
	/* Else the younger, */
	{ { A, EST, 10, 5, 0 }, { B, EST, 12, 0, 0 }, 0, { A, EST, 10, 5, 0 }, 1, 0 },
	{ { A, EST, 10, 5, 0 }, { B, EST, 8, 5, 0 }, SIBLING, { B, EST, 8, 5, 0 }, 0, 1 },
	{ { B, HALF, 10, 5, 0 }, { A, HALF, 12, 0, 0 }, 0, { B, HALF, 10, 5, 0 }, 1, 0 },
	{ { A, CLOSING, 10, 5, 0 }, { B, EST, 8, 5, 0 }, OWNER, { B, EST, 8, 5, 0 }, 0, 1 },
	/* else the smaller id. */
	{ { A, EST, 10, 5, 0 }, { B, EST, 9, 0, 0 }, 0, { A, EST, 10, 5, 0 }, 1, 0 },
	{ { A, EST, 10, 5, 0 }, { B, EST, 11, 0, 0 }, 0, { A, EST, 10, 5, 0 }, 1, 0 },
	{ { B, EST, 10, 5, 0 }, { A, EST, 11, 5, 0 }, SIBLING, { A, EST, 11, 5, 0 }, 0, 1 },
	{ { B, EST, 10, 5, 0 }, { A, EST, 9, 5, 0 }, OWNER, { A, EST, 9, 5, 0 }, 0, 1 },
	{ { B, EST, 511, 5, 0 }, { A, EST, 600, 5, 0 }, SIBLING, { A, EST, 511, 5, 0 }, 0, 1 },
	{ { B, EST, 510, 5, 0 }, { A, EST, 600, 5, 0 }, SIBLING, { A, EST, 511, 5, 0 }, 0, 1 },
	{ { B, EST, 509, 5, 0 }, { A, EST, 600, 5, 0 }, SIBLING, { B, EST, 509, 5, 0 }, 1, 0 },
};

static uint64_t flow;

static void begin(struct fleet *f)
{
	fleet_start(f, 2, 2, 2, 64);
	f->now_us = 20000 * SC_S;
	fleet_run(f, 5 * SC_S);
	for (flow = 1ull << 32; sc_home(f->node[0], flow, 0) != SELF || sc_home(f->node[0], flow, 1) != OWNER;)
		flow += 1ull << 32;
}

static struct sc_flow_entry *hold(struct sc_node *node, const struct entry *held)
{
	struct sc_flow_entry gone, *e;
	enum sc_eviction evicted;

	if (held->backend == 0)
		return NULL;
	e = sc_flow_insert(&node->table, flow, held->backend, held->state, node->tick, &evicted, &gone);
	e->seen = (uint16_t)(e->seen - held->idle);
	e->cached = held->cached;
	e->timeouts = 1;
	sc_flow_set_age(e, node->tick, held->age);
	return e;
}

/* n names the row of the test's table, should it fail. */
static void check_entry(const struct sc_node *node, const struct entry *want, size_t n)
{
	const struct sc_flow_entry *e = sc_flow_find(&node->table, flow);
	unsigned int before = check_failures;

	CHECK_EQ(e != NULL, want->backend != 0);
	if (e && want->backend) {
		CHECK_EQ(e->backend, want->backend);
		CHECK_EQ(e->state, want->state);
		CHECK_EQ(e->cached, want->cached);
		CHECK_EQ(sc_flow_age(e, node->tick), want->age);
		CHECK_EQ(sc_flow_idle(e, node->tick), want->idle);
	}
	if (check_failures != before)
		printf("#   above: row %zu\n", n);
}

static struct sc_record record_of(const struct entry *r)
{
	return (struct sc_record){ .flow = flow, .backend = r->backend, .state = (uint8_t)r->state, .age = r->age,
				   .idle = r->idle };
}

static bool same(const struct entry *a, const struct entry *b)
{
	return a->backend == b->backend && a->state == b->state && a->age == b->age && a->idle == b->idle &&
	       a->cached == b->cached;
}

static void try(struct fleet *f, const struct merge *m, int from)
{
	struct sc_record r = record_of(&m->record);
	uint64_t won = f->counters[0][SC_C_claims_won], lost = f->counters[0][SC_C_claims_lost];
	struct sc_flow_entry *e = hold(f->node[0], &m->held);
	unsigned int before = check_failures;

	sc_take_record(f->node[0], &r, (uint16_t)from);
	check_entry(f->node[0], &m->then, (size_t)(m - merges));
	CHECK_EQ(f->counters[0][SC_C_claims_won] - won, m->won);
	CHECK_EQ(f->counters[0][SC_C_claims_lost] - lost, m->lost);
	/* Timeouts are those of packets seen here, until another tells. */
	if (e && m->then.backend)
		CHECK_EQ(e->timeouts, same(&m->held, &m->then) ? 1 : 0);
	if (check_failures != before)
		printf("#   above: row %td of the merges, said by %d\n", m - merges, from);
	e = sc_flow_find(&f->node[0]->table, flow);
	if (e)
		sc_flow_remove(&f->node[0]->table, e);
}

TEST("a record makes of an entry what the page's table says, in every row and on both sides of every edge")
{
	struct fleet f;

	begin(&f);
	for (size_t i = 0; i < sizeof(merges) / sizeof(merges[0]); i++) {
		if (merges[i].from != SIBLING)
			try(&f, &merges[i], OWNER);
		if (merges[i].from != OWNER)
			try(&f, &merges[i], SIBLING);
	}
	fleet_stop(&f);
}

TEST("a sibling that still tells of the end of a port's last connection does not close the new one at the same backend")
{
	static const struct entry last = { A, CLOSING, 1, 0, 0 }, begun = { A, HALF, 0, 0, 0 }, open = { A, EST, 0, 0, 0 };
	static const struct { struct entry record; int from; } told[] = {
		{ last, SIBLING }, { begun, OWNER }, { last, SIBLING }, { open, OWNER }, { last, SIBLING },
	};
	struct fleet f;

	begin(&f);
	for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
		struct sc_record r = record_of(&told[i].record);

		sc_take_record(f.node[0], &r, (uint16_t)told[i].from);
	}
	check_entry(f.node[0], &open, 0);
	fleet_stop(&f);
}

TEST("a node tells on what it learns only if it is the flow's owner")
{
	static const struct { uint32_t backend; bool told; } cases[] = { { OWN, true }, { A, false } };

	for (int i = 0; i < 2; i++) {
		struct sc_record r = { .backend = cases[i].backend, .state = EST };
		struct fleet f;

		begin(&f);
		r.flow = flow;
		sc_take_record(f.node[0], &r, OWNER);
		CHECK_EQ(f.node[0]->peers[1].pub.open_count, cases[i].told);
		CHECK_EQ(f.node[0]->peers[OWNER].pub.open_count, cases[i].told);
		fleet_stop(&f);
	}
}

TEST("when two claims met, whoever of this PoP has the one that does not stay hears of the other, nobody else does")
{
	enum { SELF_HOME, NEAR_HOME, NEAR = 1, OWN_2 = OWN + 1 };
	static const struct { struct entry held, record; int home, from; uint32_t near_hears; } cases[] = {
		/* The one that is held stays. */
		{ { OWN, EST, 3, 0, 0 }, { A, EST, 400, 0, 0 }, SELF_HOME, NEAR, OWN },
		{ { OWN, EST, 3, 0, 0 }, { A, EST, 400, 0, 0 }, SELF_HOME, OWNER, 0 },
		{ { OWN, EST, 3, 0, 0 }, { A, EST, 400, 0, 0 }, SELF_HOME, SIBLING, 0 },
		{ { OWN, EST, 3, 0, 0 }, { A, HALF, 0, 0, 0 }, SELF_HOME, NEAR, 0 },
		{ { OWN, EST, 3, 0, 1 }, { A, EST, 400, 0, 0 }, SELF_HOME, NEAR, 0 },
		{ { OWN, EST, 3, 0, 0 }, { OWN_2, NONE, 3, 0, 0 }, NEAR_HOME, NEAR, 0 },
		{ { OWN, EST, 3, 0, 0 }, { OWN, EST, 3, 5, 0 }, SELF_HOME, NEAR, 0 },
		/* It does not. */
		{ { OWN, EST, 400, 0, 0 }, { A, EST, 3, 0, 0 }, SELF_HOME, OWNER, A },
		{ { OWN, EST, 400, 0, 0 }, { A, EST, 3, 0, 0 }, SELF_HOME, NEAR, 0 },
		{ { OWN, EST, 400, 0, 1 }, { A, EST, 3, 0, 0 }, SELF_HOME, OWNER, 0 },
		{ { B, EST, 400, 0, 0 }, { A, EST, 3, 0, 0 }, SELF_HOME, OWNER, 0 },
	};
	struct fleet f;

	begin(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sc_publication *near = &f.node[0]->peers[NEAR].pub;
		struct sc_record r;

		while ((sc_home(f.node[0], flow, 0) != SELF) != (cases[i].home == NEAR_HOME) || sc_home(f.node[0], flow, 1) != OWNER)
			flow += 1ull << 32;
		r = record_of(&cases[i].record);
		near->open_count = 0;
		hold(f.node[0], &cases[i].held);
		sc_take_record(f.node[0], &r, (uint16_t)cases[i].from);
		if (!CHECK_EQ(near->open_count, cases[i].near_hears != 0))
			printf("#   above: case %zu\n", i);
		if (near->open_count)
			CHECK_EQ(near->open[0].backend, cases[i].near_hears);
		CHECK_EQ(f.node[0]->peers[OWNER].pub.open_count + f.node[0]->peers[SIBLING].pub.open_count, 0);
		sc_flow_remove(&f.node[0]->table, sc_flow_find(&f.node[0]->table, flow));
	}
	fleet_stop(&f);
}

TEST("a living flow that finds no room makes its node uncertain, one in its handshake for as long as that may last")
{
	for (int state = HALF; state <= CLOSING; state++) {
		struct sc_record r = { .backend = A, .state = (uint8_t)state };
		struct fleet f;

		fleet_start(&f, 2, 2, 2, 4);
		fleet_run(&f, 5 * SC_S);
		for (r.flow = 1; r.flow <= 4; r.flow++)
			sc_take_record(f.node[0], &(struct sc_record){ .flow = r.flow, .backend = A, .state = EST }, OWNER);
		CHECK_EQ(f.node[0]->forgot_us, 0);
		sc_take_record(f.node[0], &r, OWNER);
		CHECK_EQ(f.node[0]->forgot_us != 0, state != HALF);
		CHECK_EQ(f.node[0]->shed_us, state == HALF ? f.now_us : 0);
		CHECK_EQ(sc_flow_find(&f.node[0]->table, r.flow) != NULL, state != HALF);
		fleet_stop(&f);
	}
}

/* A flow whose home in PoP 1 is the other node. */
static void elsewhere(const struct fleet *f)
{
	while (sc_home(f->node[0], flow, 0) == SELF)
		flow += 1ull << 32;
}

TEST("OWNER is the truth for 30 s at a node that is not the home, whatever that holds, and says nothing of ended or unknown")
{
	static const struct { struct entry held, record, then; } cases[] = {
		{ NOTHING, { A, EST, 20, 5, 0 }, { A, EST, 20, 0, 1 } },
		{ NOTHING, { A, CLOSING, 20, 5, 0 }, { A, CLOSING, 20, 0, 1 } },
		{ NOTHING, { A, NONE, 20, 5, 0 }, NOTHING },
		{ NOTHING, { Z, EST, 20, 5, 0 }, NOTHING },
		{ { B, EST, 3, 9, 1 }, { A, CLOSING, 20, 5, 0 }, { A, CLOSING, 20, 0, 1 } },
		{ { B, EST, 3, 9, 0 }, { A, EST, 20, 5, 0 }, { A, EST, 20, 0, 0 } },
		{ { A, EST, 3, 9, 1 }, { A, NONE, 3, 0, 0 }, { A, EST, 3, 9, 1 } },
		{ { A, EST, 3, 9, 1 }, { Z, EST, 3, 0, 0 }, { A, EST, 3, 9, 1 } },
	};
	struct fleet f;

	begin(&f);
	elsewhere(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sc_record r = record_of(&cases[i].record);
		struct sc_flow_entry *e;

		hold(f.node[0], &cases[i].held);
		sc_take_owner(f.node[0], &r, 1);
		check_entry(f.node[0], &cases[i].then, i);
		e = sc_flow_find(&f.node[0]->table, flow);
		if (e)
			sc_flow_remove(&f.node[0]->table, e);
	}
	fleet_stop(&f);
}

TEST("at the home OWNER is a record like any other, but that the PoP which refused a FORWARD knows better about its own flow")
{
	static const struct { struct entry held, record; int from; struct entry then; } cases[] = {
		{ NOTHING, { A, EST, 20, 5, 0 }, OWNER, { A, EST, 20, 5, 0 } },
		/* The refusing PoP is the backend's: its word counts, though it is the older claim. */
		{ { A, EST, 3, 9, 0 }, { B, EST, 400, 5, 0 }, OWNER, { B, EST, 400, 5, 0 } },
		/* Another PoP's is a claim like any other. */
		{ { OWN, EST, 3, 9, 0 }, { B, EST, 400, 5, 0 }, OWNER, { OWN, EST, 3, 9, 0 } },
		{ { A, EST, 3, 9, 0 }, { B, EST, 400, 5, 0 }, 1, { A, EST, 3, 9, 0 } },
		/* And it is no news that it names the same backend. */
		{ { A, CLOSING, 20, 0, 0 }, { A, EST, 20, 0, 0 }, SIBLING, { A, CLOSING, 20, 0, 0 } },
		{ { A, EST, 20, 9, 0 }, { A, NONE, 20, 5, 0 }, OWNER, { A, EST, 20, 9, 0 } },
	};
	struct fleet f;

	begin(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sc_record r = record_of(&cases[i].record);
		struct sc_flow_entry *e;

		hold(f.node[0], &cases[i].held);
		sc_take_owner(f.node[0], &r, (uint16_t)cases[i].from);
		check_entry(f.node[0], &cases[i].then, i);
		e = sc_flow_find(&f.node[0]->table, flow);
		if (e)
			sc_flow_remove(&f.node[0]->table, e);
	}
	fleet_stop(&f);
}

TEST("a cached entry makes no established flow give way, and a table full of such does without it")
{
	struct sc_record r = { .backend = A, .state = EST };
	struct fleet f;

	fleet_start(&f, 1, 2, 2, 4);
	fleet_run(&f, 5 * SC_S);
	for (flow = 1ull << 32; f.node[0]->table.count[EST] < 4; flow += 1ull << 32)
		hold(f.node[0], &(const struct entry){ OWN, EST, 3, 0, 0 });
	elsewhere(&f);
	r.flow = flow;
	r.backend = OWN;
	sc_take_owner(f.node[0], &r, 1);
	CHECK(sc_flow_find(&f.node[0]->table, flow) == NULL);
	CHECK_EQ(f.node[0]->table.count[EST], 4);
	CHECK_EQ(f.node[0]->forgot_us, 0);
	fleet_stop(&f);
}

CHECK_MAIN
