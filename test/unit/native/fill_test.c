/* When a node has filled, what it tells then, when it recalls; and every clause of what makes a "no" certain. */
#include "check.h"
#include "fleet.h"
#include "state.h"

enum { CLIENT = 0xcb007101, SYN = SC_TCP_SYN, ACK = SC_TCP_ACK, ENTRIES = 1024 };

static const struct sc_memory_id SELF = { .hash_seed = FLEET_SEED, .clock = "boot 1", .node = 101 };

static bool certain(const struct fleet *f, uint64_t since_us)
{
	return sc_certain(f->node[0], since_us, &(uint64_t){ 0 });
}

static uint64_t missing(const struct fleet *f)
{
	uint64_t pops = 99;

	CHECK(!sc_certain(f->node[0], 0, &pops));
	return pops;
}

TEST("a no is certain only when every single thing is right that makes it so, and the PoPs that lack are named")
{
	struct fleet f;
	struct sc_node *node;
	struct sc_peer *peer;

	fleet_start(&f, 2, 2, 1, 64);
	fleet_run(&f, 5 * SC_S);
	f.now_us += 20000 * SC_S;
	fleet_run(&f, 5 * SC_S);
	node = f.node[0];
	peer = &node->peers[3];
	REQUIRE(certain(&f, 0));
	node->filled = false;
	CHECK_EQ(missing(&f), 0);
	node->filled = true;
	/* What was forgotten lives on in copies, for 15 minutes. */
	node->forgot_us = node->now_us - SC_COPY_S * SC_S;
	CHECK_EQ(missing(&f), 0);
	node->forgot_us--;
	CHECK(certain(&f, 0));
	node->forgot_us = 0;
	/* Every live peer. */
	peer->peer_filled = false;
	CHECK_EQ(missing(&f), 1 << 1);
	peer->peer_filled = true;
	peer->withholds = true;
	CHECK_EQ(missing(&f), 1 << 1);
	peer->withholds = false;
	peer->pub.said_walk_done = false;
	CHECK_EQ(missing(&f), 1 << 1);
	peer->pub.said_walk_done = true;
	peer->pub.said_sent = peer->pub.taken + 1;
	CHECK_EQ(missing(&f), 1 << 1);
	node->peers[1].peer_filled = false;
	CHECK_EQ(missing(&f), 1 << 1 | 1 << 0);
	node->peers[1].peer_filled = true;
	peer->pub.said_sent = peer->pub.taken;
	CHECK(certain(&f, 0));
	/* And every dead one, while there are copies of what it held. */
	peer->alive = false;
	peer->last_alive_us = node->now_us - SC_COPY_S * SC_S;
	CHECK_EQ(missing(&f), 1 << 1);
	peer->last_alive_us--;
	CHECK(certain(&f, 0));
	fleet_stop(&f);
}

TEST("a second no is certain only by HELLOs that left their senders after the first")
{
	struct fleet f;
	struct sc_peer *peer;
	uint64_t since;

	fleet_start(&f, 2, 1, 1, 64);
	fleet_run(&f, 5 * SC_S);
	peer = &f.node[0]->peers[1];
	peer->rtt_us = 70 * SC_MS;
	since = peer->heard_us - peer->rtt_us - SC_FLUSH_US;
	CHECK(certain(&f, since));
	CHECK(!certain(&f, since + 1));
	peer->rtt_us = 0;	/* not known */
	CHECK(!certain(&f, since));
	CHECK(certain(&f, 0));
	fleet_stop(&f);
}

TEST("whoever is configured and was never heard counts as down since this node started, on any clock")
{
	struct fleet f;

	fleet_shape(&f, 2, 1, 2);
	f.now_us = 50000 * SC_S;
	fleet_begin(&f, 64);
	f.dead[1] = true;
	fleet_run_in_steps(&f, 899 * SC_S, 100 * SC_MS);
	CHECK(f.node[0]->filled);
	CHECK(!certain(&f, 0));
	fleet_run_in_steps(&f, 2 * SC_S, 100 * SC_MS);
	CHECK(certain(&f, 0));
	fleet_stop(&f);
}

TEST("a peer that dies after a long life is missed for 15 minutes, too")
{
	struct fleet f;

	fleet_start(&f, 2, 1, 2, 64);
	fleet_run_in_steps(&f, 2000 * SC_S, 100 * SC_MS);
	CHECK(certain(&f, 0));
	fleet_stop_node(&f, 2, 1);
	fleet_run_in_steps(&f, 898 * SC_S, 100 * SC_MS);
	CHECK(!certain(&f, 0));
	fleet_run_in_steps(&f, 6 * SC_S, 100 * SC_MS);
	CHECK(certain(&f, 0));
	fleet_stop(&f);
}

/* Node 1 of PoP 1, not filled, with a live peer at PoP 2 that says nothing more. */
static struct sc_peer *halfway(struct fleet *f, bool peer_filled, bool told)
{
	struct sc_peer *peer;

	fleet_start(f, 2, 1, 2, ENTRIES);
	fleet_run(f, 5 * SC_S);
	f->dead[1] = true;
	f->node[0]->filled = false;
	peer = &f->node[0]->peers[1];
	peer->peer_filled = peer_filled;
	peer->pub.said_walk_done = told;
	return peer;
}

TEST("a node has filled when every live peer has told it all, whether that has filled itself or not")
{
	for (int peer_filled = 0; peer_filled < 2; peer_filled++) {
		for (int told = 0; told < 2; told++) {
			struct fleet f;

			halfway(&f, peer_filled, told);
			fleet_run(&f, 10 * SC_MS);
			CHECK_EQ(f.node[0]->filled, told);
			fleet_stop(&f);
		}
	}
}

static uint8_t *past_of(uint32_t entries, const struct fleet *f, uint64_t flow)
{
	uint8_t *past = aligned_alloc(64, sc_memory_size(entries));
	struct sc_flow_entry gone, *e;
	struct sc_flow_table t;
	enum sc_eviction evicted;

	memset(past, 0, sc_memory_size(entries));
	sc_memory_init(past, entries, &SELF);
	sc_memory_mark(past, f->node[0]->started_us, true);
	sc_flow_table_init(&t, sc_memory_buckets(past), sc_memory_mask(past));
	e = sc_flow_insert(&t, flow, fleet_backend_id(1, 1), SC_FLOW_ESTABLISHED, f->node[0]->tick, &evicted, &gone);
	e->timeouts = 0;
	return past;
}

TEST("a node recalls when those who have filled told it all, and does not wait for who fills as it does; then it tells what it recalled")
{
	static const struct { bool peer_filled, told, recalls; } cases[] = {
		{ true, false, false }, { true, true, true }, { false, false, true }, { false, true, true },
	};

	for (int i = 0; i < 4; i++) {
		struct sc_peer *peer;
		uint64_t walks, told;
		struct fleet f;
		uint8_t *past;

		peer = halfway(&f, cases[i].peer_filled, cases[i].told);
		past = past_of(ENTRIES, &f, 4711);
		f.node[0]->past = past;
		walks = f.counters[0][SC_C_walks_started];
		told = f.counters[0][SC_C_publish_flows_sent];
		fleet_run(&f, 20 * SC_MS);
		CHECK_EQ(f.counters[0][SC_C_flows_recalled], cases[i].recalls);
		CHECK_EQ(f.node[0]->past == NULL, cases[i].recalls);
		CHECK_EQ(f.node[0]->filled, cases[i].recalls && cases[i].told);
		CHECK_EQ(f.counters[0][SC_C_walks_started] - walks, cases[i].recalls + f.node[0]->filled);
		CHECK_EQ(f.counters[0][SC_C_publish_flows_sent] - told >= 1, cases[i].recalls);
		CHECK(peer->alive);
		f.node[0]->past = NULL;
		free(past);
		fleet_stop(&f);
	}
}

/* Recalls one established flow of backend, first in order at node 1 of its PoP or at node 2, left away_us before the node began,
 * by when all peers had lived that live now. change may make it doubtful. Returns whether it is in the table then. */
static bool recalls(struct fleet *f, uint32_t backend, int home, uint64_t away_us, void (*change)(struct sc_flow_bucket *, struct sc_flow_entry *))
{
	struct sc_node *node = f->node[0];
	uint16_t pop = (uint16_t)((backend >> 20) - 1);
	uint64_t flow = 1ull << 32;
	struct sc_flow_bucket *b;
	uint8_t *past;
	bool there;

	while (pop < f->pops && node->g->pops[pop].order[sc_home_row(flow)][0] != home - 1)
		flow += 1ull << 32;
	past = past_of(ENTRIES, f, flow);
	sc_memory_mark(past, node->started_us - away_us, true);
	for (uint16_t row = 1; row < f->n; row++)
		sc_memory_mark_peer(past, row, node->peers[row].boot);
	b = sc_memory_buckets(past);
	while (!b->way[0].state && !b->way[1].state && !b->way[2].state && !b->way[3].state)
		b++;
	for (int i = 0; i < SC_FLOW_WAYS; i++)
		if (b->way[i].state) {
			b->way[i].backend = backend;
			if (change)
				change(b, &b->way[i]);
		}
	node->past = past;
	node->recall_next = 0;
	CHECK(sc_recall(node));
	CHECK(node->past == NULL);
	there = sc_flow_find(&node->table, flow) != NULL;
	if (there)
		sc_flow_remove(&node->table, sc_flow_find(&node->table, flow));
	free(past);
	return there;
}

TEST("recalled is what the peers did not tell, and after more than a minute only that for which nobody else answers")
{
	const uint32_t own = fleet_backend_id(1, 1), other = fleet_backend_id(2, 1);
	const uint64_t minute = SC_RECALL_BESIDE_S * SC_S;
	struct sc_node *node;
	struct fleet f;

	fleet_shape(&f, 2, 2, 2);
	f.now_us = 5000 * SC_S;
	fleet_begin(&f, ENTRIES);
	fleet_run(&f, 5 * SC_S);
	node = f.node[0];
	CHECK(recalls(&f, own, 1, 0, NULL));
	CHECK(recalls(&f, own, 1, SC_RECALL_S * SC_S, NULL));
	CHECK(!recalls(&f, own, 1, SC_RECALL_S * SC_S + 1, NULL));
	CHECK(recalls(&f, own, 2, minute, NULL));
	CHECK(!recalls(&f, own, 2, minute + 1, NULL));
	CHECK(recalls(&f, other, 1, minute, NULL));
	CHECK(!recalls(&f, other, 1, minute + 1, NULL));
	CHECK(!recalls(&f, fleet_backend_id(9, 1), 1, 0, NULL));
	/* Before this node has filled it is asked about nothing, and its own are still its own. */
	node->filled = false;
	CHECK(recalls(&f, own, 1, 0, NULL));
	node->filled = true;
	/* Those that fill themselves, or are out of reach, answer for nothing. */
	node->peers[1].peer_filled = node->peers[2].peer_filled = node->peers[3].peer_filled = false;
	CHECK(recalls(&f, other, 1, minute + 1, NULL));
	CHECK(recalls(&f, own, 2, minute + 1, NULL));
	node->peers[1].alive = node->peers[2].alive = node->peers[3].alive = false;
	CHECK(recalls(&f, other, 1, minute + 1, NULL));
	fleet_stop(&f);
}

static void as_cached(struct sc_flow_bucket *b, struct sc_flow_entry *e)
{
	(void)b;
	e->cached = 1;
}

static void as_misplaced(struct sc_flow_bucket *b, struct sc_flow_entry *e)
{
	struct sc_flow_entry moved = *e;

	memset(e, 0, sizeof(*e));
	b[1].way[0] = moved;
	if (sc_flow_belongs(ENTRIES / SC_FLOW_WAYS - 1, moved.flow, 1))
		b[2].way[0] = moved, memset(&b[1], 0, sizeof(b[1]));
}

TEST("an entry that was cached, or is where it does not belong, is not recalled")
{
	struct fleet f;

	fleet_start(&f, 2, 1, 2, ENTRIES);
	fleet_run(&f, 5 * SC_S);
	CHECK(recalls(&f, fleet_backend_id(1, 1), 1, 0, NULL));
	CHECK(!recalls(&f, fleet_backend_id(1, 1), 1, 0, as_cached));
	CHECK(!recalls(&f, fleet_backend_id(1, 1), 1, 0, as_misplaced));
	fleet_stop(&f);
}

static void idle_20_hours(struct sc_flow_bucket *b, struct sc_flow_entry *e)
{
	(void)b;
	e->seen = (uint16_t)(e->seen - 36000);
}

static void from_the_future(struct sc_flow_bucket *b, struct sc_flow_entry *e)
{
	(void)b;
	e->seen++;
}

static void with_a_day(const struct fleet *f, struct plan *p, int pop, int self)
{
	(void)f;
	(void)pop;
	(void)self;
	p->service[0].idle_s = SC_MAX_TIMEOUT_S;
}

TEST("a flow that was idle for 20 of its 24 hours is recalled, one that was seen tomorrow is not")
{
	struct fleet f;

	fleet_shape(&f, 2, 1, 2);
	f.change = with_a_day;
	f.now_us = 80000 * SC_S;
	fleet_begin(&f, ENTRIES);
	fleet_run(&f, 5 * SC_S);
	CHECK(recalls(&f, fleet_backend_id(1, 1), 1, 0, idle_20_hours));
	CHECK(!recalls(&f, fleet_backend_id(1, 1), 1, 0, from_the_future));
	fleet_stop(&f);
}

TEST("a node that takes several calls to recall has not filled before the last one")
{
	enum { LARGE = 1 << 18, BUCKETS = LARGE / SC_FLOW_WAYS };
	struct sc_out *out = malloc(sizeof(*out));
	struct fleet f;
	uint8_t *past;

	fleet_start(&f, 1, 1, 2, ENTRIES);
	fleet_run(&f, 10 * SC_MS);
	past = past_of(LARGE, &f, BUCKETS - 1);		/* in the last bucket */
	f.node[0]->past = past;
	f.node[0]->filled = false;
	for (int call = 1; call <= BUCKETS / SC_WALK_BUCKETS; call++) {
		CHECK(!f.node[0]->filled && f.node[0]->past != NULL);
		CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0), 0);
		CHECK_EQ(f.counters[0][SC_C_flows_recalled], 0);
		f.now_us += SC_TIMER_US;
		sc_timers(f.node[0], f.now_us, out);
	}
	CHECK(f.node[0]->filled && f.node[0]->past == NULL);
	CHECK_EQ(f.counters[0][SC_C_flows_recalled], 1);
	free(past);
	free(out);
	fleet_stop(&f);
}

TEST("a node that has filled says so at once, and in the same HELLO that there is more to tell")
{
	struct fleet f;
	struct sc_peer *peer;

	fleet_start(&f, 2, 1, 2, ENTRIES);
	fleet_run(&f, 5 * SC_S);
	f.node[0]->filled = false;
	peer = &f.node[1]->peers[0];
	peer->peer_filled = false;
	f.node[0]->peers[1].hello_due_us = f.now_us + SC_S;
	for (uint64_t flow = 1; flow <= 600; flow++)	/* so that the walk has not ended when the HELLO goes */
		sc_take_record(f.node[0], &(struct sc_record){ .flow = flow * 0x9e3779b97f4a7c15ull, .backend = fleet_backend_id(2, 1),
							       .state = SC_FLOW_ESTABLISHED }, 1);
	fleet_run(&f, 2 * SC_TIMER_US);
	CHECK(f.node[0]->filled && !f.node[0]->peers[1].pub.walk_done);
	CHECK(!peer->pub.said_walk_done);
	CHECK(peer->peer_filled);
	CHECK_EQ(f.counters[0][SC_C_walks_started], 3);	/* met, first filled, and now */
	fleet_stop(&f);
}

/* The third node of PoP 2 is not configured before the reload. */
static bool third;

static void with_third(const struct fleet *f, struct plan *p, int pop, int self)
{
	(void)f;
	(void)pop;
	(void)self;
	if (!third)
		p->h.nodes--;
}

TEST("a fleet that has other nodes since a reload is told all anew, and nobody's no is certain for 15 minutes")
{
	struct fleet f;
	uint64_t walks;

	third = false;
	fleet_shape(&f, 3, 1, 2);
	f.change = with_third;
	f.dead[2] = true;
	fleet_start_node(&f, 1, 1, 0x1001, ENTRIES);
	fleet_start_node(&f, 2, 1, 0x1002, ENTRIES);
	fleet_run(&f, 5 * SC_S);
	CHECK(certain(&f, 0));
	walks = f.counters[0][SC_C_walks_started];
	fleet_reload(&f);		/* the same nodes: nothing happens */
	CHECK_EQ(f.counters[0][SC_C_walks_started], walks);
	CHECK(certain(&f, 0));
	third = true;
	fleet_reload(&f);
	CHECK_EQ(f.counters[0][SC_C_walks_started], walks + 1);
	fleet_start_node(&f, 3, 1, 0x1003, ENTRIES);
	fleet_run_in_steps(&f, 899 * SC_S, 100 * SC_MS);
	CHECK(f.node[2]->filled && f.node[0]->peers[2].alive);
	CHECK(!certain(&f, 0));
	fleet_run_in_steps(&f, 2 * SC_S, 100 * SC_MS);
	CHECK(certain(&f, 0));
	/* A node less is another fleet as well. */
	third = false;
	fleet_reload_node(&f, 1, 1);
	CHECK(!certain(&f, 0));
	fleet_stop(&f);
}

CHECK_MAIN
