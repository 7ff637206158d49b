/* A node's own memory: what a restarted node takes from the table of its earlier life, and what it does not believe. */
#include "check.h"
#include "fleet.h"
#include "state.h"

enum { CLIENT = 0xcb007101, SYN = SC_TCP_SYN, ACK = SC_TCP_ACK, ENTRIES = 1024 };

static const struct sc_memory_id SELF = { .hash_seed = FLEET_SEED, .clock = "boot 1", .node = 101 };

/* Of node 1 of PoP 1 alone. */
static uint8_t *memory, *past;

static uint8_t *region(void)
{
	uint8_t *r = aligned_alloc(64, sc_memory_size(ENTRIES));

	memset(r, 0, sc_memory_size(ENTRIES));
	sc_memory_init(r, ENTRIES, &SELF);
	return r;
}

static void remember(const struct fleet *f, int i, struct sc_node_options *o)
{
	(void)f;
	if (i != 0)
		return;
	o->memory = memory;
	o->past = past;
}

static void begin(struct fleet *f, int pops, int nodes)
{
	memory = region();
	past = NULL;
	fleet_shape(f, pops, nodes, 2);
	f->options = remember;
	fleet_begin(f, ENTRIES);
	fleet_run(f, 5 * SC_S);
}

static void stop(struct fleet *f)
{
	fleet_stop_node(f, 1, 1);
	past = memory;
	memory = region();
}

static void start_again(struct fleet *f)
{
	static uint64_t boot = 0x7000;

	if (past && sc_memory_doubt(past, sc_memory_size(ENTRIES), &SELF)) {
		free(past);
		past = NULL;
	}
	fleet_start_node(f, 1, 1, ++boot, ENTRIES);
}

static void end(struct fleet *f)
{
	fleet_stop(f);
	free(memory);
	free(past);
}

static uint32_t connect(struct fleet *f, uint16_t port)
{
	uint32_t at = fleet_client(f, 1, 1, CLIENT, port, SYN, 0);

	fleet_client(f, 1, 1, CLIENT, port, ACK, 0);
	return at;
}

static uint64_t recalled(const struct fleet *f)
{
	return f->counters[0][SC_C_flows_recalled];
}

/* Only backend 2 of each PoP is ready from now on: a Maglev choice would show. */
static void only_second(const struct fleet *f, struct plan *p, int pop, int self)
{
	(void)self;
	for (int i = 0; i < FLEET_SLOTS; i++)
		p->slot[i] = (uint16_t)((pop - 1) * f->backends_per_pop + 1);
}

TEST("the single node of a fleet knows every flow again, backend for backend, and answers at once")
{
	struct fleet f;
	uint32_t at[100];

	begin(&f, 1, 1);
	for (uint16_t i = 0; i < 100; i++)
		at[i] = connect(&f, i);
	fleet_run(&f, 10 * SC_MS);
	f.change = only_second;
	stop(&f);
	f.now_us += SC_S;
	start_again(&f);
	fleet_run(&f, 10 * SC_MS);
	CHECK(f.node[0]->filled && f.node[0]->past == NULL);
	CHECK_EQ(recalled(&f), 100);
	for (uint16_t i = 0; i < 100; i++) {
		CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, i, ACK, 0), at[i]);
		CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, i, SYN, 0), at[i]);
	}
	end(&f);
}

TEST("a flow that nobody else had heard of survives in a fleet of several PoPs, and all hear of it")
{
	struct fleet f;
	uint32_t at;

	begin(&f, 2, 1);
	at = connect(&f, 1);	/* the node dies before its publication is sent */
	sc_memory_mark(memory, f.now_us, true);
	f.change = only_second;
	stop(&f);
	f.now_us += SC_S;
	start_again(&f);
	fleet_run(&f, 5 * SC_S);
	CHECK_EQ(recalled(&f), 1);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0), at);
	CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, 1, ACK, 0), at);
	end(&f);
}

TEST("what the peers tell comes before what the node remembers")
{
	struct fleet f;
	uint32_t at, elsewhere;

	begin(&f, 2, 1);
	at = connect(&f, 1);
	fleet_run(&f, SC_S);
	stop(&f);
	/* The flow ends, and its port is used again at the other PoP. */
	f.now_us += 5 * SC_S;
	fleet_run(&f, 5 * SC_S);
	sc_flow_remove(&f.node[1]->table, sc_flow_find(&f.node[1]->table, fleet_flow(CLIENT, 1)));
	elsewhere = fleet_client(&f, 2, 1, CLIENT, 1, SYN, 0);
	CHECK_EQ(elsewhere >> 16, 0x0a02);
	CHECK(at != elsewhere);
	start_again(&f);
	fleet_run(&f, 5 * SC_S);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0), elsewhere);
	CHECK_EQ(recalled(&f), 0);
	end(&f);
}

TEST("two nodes that begin anew together do not wait for each other")
{
	struct fleet f;
	uint32_t at;

	begin(&f, 2, 1);
	at = connect(&f, 1);
	fleet_run(&f, SC_S);
	stop(&f);
	fleet_stop_node(&f, 2, 1);
	f.now_us += SC_S;
	fleet_start_node(&f, 2, 1, 0x9000, ENTRIES);
	start_again(&f);
	fleet_run(&f, 4 * SC_S);
	CHECK(f.node[0]->filled && f.node[1]->filled);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0), at);
	CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, 1, ACK, 0), at);
	end(&f);
}

TEST("what an earlier life left is needed until this one has filled: the table that replaces it is not trusted before")
{
	struct sc_node_view v;
	struct fleet f;
	int between = 0;

	begin(&f, 2, 1);
	connect(&f, 1);
	fleet_run(&f, SC_S);
	stop(&f);
	fleet_stop_node(&f, 2, 1);
	f.now_us += SC_S;
	fleet_start_node(&f, 2, 1, 0x9000, ENTRIES);
	start_again(&f);
	for (int i = 0; i < 4000; i++) {
		fleet_run(&f, SC_MS);
		sc_node_look(f.node[0], f.now_us, &v);
		between += !f.node[0]->past && !f.node[0]->filled;
		CHECK_EQ(v.recalling, sc_memory_doubt(memory, sc_memory_size(ENTRIES), &SELF) != NULL);
	}
	CHECK(between > 0);
	end(&f);
}

TEST("a node that is cut off from all others at its start still follows what it knew of their flows")
{
	struct fleet f;
	uint32_t at;

	begin(&f, 2, 1);
	at = fleet_client(&f, 2, 1, CLIENT, 1, SYN, 0);
	fleet_client(&f, 2, 1, CLIENT, 1, ACK, 0);
	fleet_run(&f, SC_S);
	stop(&f);
	f.now_us += SC_S;
	f.dead[1] = true;	/* as good as cut off */
	start_again(&f);
	fleet_run(&f, 5 * SC_S);
	CHECK(f.node[0]->filled);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0), 0);	/* a forged one, say */
	f.dead[1] = false;
	fleet_run(&f, 5 * SC_S);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0), at);
	end(&f);
}

TEST("after a minute the siblings' word is enough, after a quarter of an hour nothing is recalled")
{
	static const struct { int nodes; uint64_t away_s; bool all; } cases[] = {
		{ 2, 50, true }, { 2, 100, false }, { 1, 800, true }, { 1, 1000, false },
	};

	for (int i = 0; i < 4; i++) {
		struct fleet f;
		uint64_t n;

		begin(&f, 1, cases[i].nodes);
		for (uint16_t k = 0; k < 50; k++)
			connect(&f, k);
		fleet_run(&f, 10 * SC_MS);
		n = f.node[0]->table.count[SC_FLOW_ESTABLISHED];
		stop(&f);
		/* The sibling forgets what is not its own, so that what is recalled shows. */
		if (cases[i].nodes == 2)
			for (uint16_t k = 0; k < 50; k++) {
				struct sc_flow_entry *e = sc_flow_find(&f.node[1]->table, fleet_flow(CLIENT, k));

				if (e)
					sc_flow_remove(&f.node[1]->table, e);
			}
		f.now_us += (cases[i].away_s - 1) * SC_S;
		fleet_run(&f, SC_S);
		start_again(&f);
		fleet_run(&f, 5 * SC_S);
		CHECK(f.node[0]->filled && f.node[0]->past == NULL);
		CHECK_EQ(recalled(&f), cases[i].all ? n : 0);
		end(&f);
	}
}

TEST("a sibling that began after the node's death does not answer for what only the node knew, however long that was away")
{
	struct fleet f;
	uint64_t n;

	begin(&f, 1, 2);
	for (uint16_t k = 0; k < 50; k++)
		connect(&f, k);
	fleet_run(&f, 10 * SC_MS);
	n = f.node[0]->table.count[SC_FLOW_ESTABLISHED];
	CHECK(n > 0);
	stop(&f);
	fleet_stop_node(&f, 1, 2);
	fleet_start_node(&f, 1, 2, 0x9000, ENTRIES);
	f.now_us += 99 * SC_S;
	fleet_run(&f, 5 * SC_S);
	CHECK(f.node[1]->filled);
	start_again(&f);
	fleet_run(&f, 5 * SC_S);
	CHECK(f.node[0]->filled);
	CHECK_EQ(recalled(&f), n);
	end(&f);
}

TEST("a table that is doubtful is not believed, and the reason says why")
{
	static const struct { size_t at; const char *why; } damages[] = {
		{ 0, "it is no flow table" },
		{ 8, "it is of another layout" },
		{ 12, "its header is damaged" },
		{ 16, "its header is damaged" },
		{ 24, "its header is damaged" },
		{ 40, "its header is damaged" },
		{ 42, "it is of another layout" },
		{ 44, "it is of another layout" },
		{ 48, "its header is damaged" },
	};
	struct sc_memory_id other = SELF;
	uint8_t *r = region();
	size_t size = sc_memory_size(ENTRIES);

	CHECK_STR(sc_memory_doubt(r, size, &SELF), "its node had not filled");
	sc_memory_mark(r, 5, false);
	CHECK_STR(sc_memory_doubt(r, size, &SELF), "its node had not filled");
	sc_memory_mark(r, 5, true);
	CHECK(sc_memory_doubt(r, size, &SELF) == NULL);
	sc_memory_mark(r, 7, true);
	CHECK_EQ(sc_memory_alive_us(r), 7);
	CHECK_STR(sc_memory_doubt(r, size - 64, &SELF), "its header is damaged");
	CHECK_STR(sc_memory_doubt(r, 10, &SELF), "it is no flow table");
	for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
		r[damages[i].at] ^= 1;
		CHECK_STR(sc_memory_doubt(r, size, &SELF), damages[i].why);
		r[damages[i].at] ^= 1;
	}
	other.node++;
	CHECK_STR(sc_memory_doubt(r, size, &other), "it is another node's");
	other = SELF;
	other.hash_seed++;
	CHECK_STR(sc_memory_doubt(r, size, &other), "it is another node's");
	other = SELF;
	other.clock[15]++;
	CHECK_STR(sc_memory_doubt(r, size, &other), "the machine was started anew since");
	free(r);
}

TEST("any garbage in the buckets is harmless: what cannot be true is left out, and what is recalled obeys the bounds")
{
	uint64_t random = check_seed();

	for (int round = 0; round < 20; round++) {
		struct fleet f;
		uint32_t count[SC_FLOW_STATES] = { 0 };
		const struct sc_flow_table *t;

		begin(&f, 2, 2);
		for (uint16_t i = 0; i < 100; i++)
			connect(&f, i);
		fleet_run(&f, 10 * SC_MS);
		stop(&f);
		for (int k = 0; k < 5000; k++)
			past[SC_MEMORY_HEADER + check_random(&random) % (sc_memory_size(ENTRIES) - SC_MEMORY_HEADER)] =
				(uint8_t)check_random(&random);
		start_again(&f);
		fleet_run(&f, 5 * SC_S);
		CHECK(f.node[0]->filled);
		t = &f.node[0]->table;
		for (uint32_t b = 0; b <= t->mask; b++)
			for (int k = 0; k < SC_FLOW_WAYS; k++) {
				const struct sc_flow_entry *e = &t->buckets[b].way[k];

				count[e->state]++;
				CHECK(e->state == SC_FLOW_NONE || sc_flow_belongs(t->mask, e->flow, b));
			}
		for (int s = 1; s < SC_FLOW_STATES; s++)
			CHECK_EQ(count[s], t->count[s]);
		end(&f);
	}
}

TEST("an entry whose backend is not configured is not recalled")
{
	struct fleet f;
	struct sc_flow_entry *e;

	begin(&f, 1, 1);
	connect(&f, 1);
	connect(&f, 2);
	e = sc_flow_find(&f.node[0]->table, fleet_flow(CLIENT, 1));
	REQUIRE(e != NULL);
	e->backend ^= 0x100;
	stop(&f);
	f.now_us += SC_S;
	start_again(&f);
	fleet_run(&f, 10 * SC_MS);
	CHECK_EQ(recalled(&f), 1);
	CHECK(sc_flow_find(&f.node[0]->table, fleet_flow(CLIENT, 2)) != NULL);
	end(&f);
}

TEST("a departed backend of another PoP is known there alone: its flows are recalled")
{
	struct fleet f;
	struct sc_flow_entry *e;

	begin(&f, 2, 1);
	fleet_client(&f, 2, 1, CLIENT, 1, SYN, 0);
	fleet_client(&f, 2, 1, CLIENT, 1, ACK, 0);
	fleet_run(&f, SC_S);
	e = sc_flow_find(&f.node[0]->table, fleet_flow(CLIENT, 1));
	REQUIRE(e != NULL);
	e->backend ^= 0x100;
	CHECK_EQ(sc_find_backend(f.node[0]->g, e->backend), SC_NO_ROW);
	stop(&f);
	fleet_stop_node(&f, 2, 1);
	f.now_us += SC_S;
	start_again(&f);
	fleet_run(&f, 5 * SC_S);
	CHECK_EQ(recalled(&f), 1);
	end(&f);
}

TEST("what another PoP's flows were is recalled though its home is back: it may have come back without them")
{
	struct fleet f;
	uint32_t at;

	begin(&f, 2, 1);
	at = fleet_client(&f, 2, 1, CLIENT, 1, SYN, 0);
	fleet_client(&f, 2, 1, CLIENT, 1, ACK, 0);
	fleet_run(&f, SC_S);
	fleet_stop_node(&f, 2, 1);
	stop(&f);
	fleet_start_node(&f, 2, 1, 0x9000, ENTRIES);
	fleet_run(&f, 4 * SC_S);
	CHECK(f.node[1]->filled);
	start_again(&f);
	fleet_run(&f, 5 * SC_S);
	CHECK_EQ(recalled(&f), 1);
	CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, 1, ACK, 0), at);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0), at);
	end(&f);
}

TEST("what a sibling only cached, and told back while the node filled, does not stand in the way of what it recalls")
{
	struct fleet f;
	enum sc_eviction evicted;
	struct sc_flow_entry *e, gone;
	uint32_t at;

	begin(&f, 1, 1);
	at = connect(&f, 1);
	stop(&f);
	f.now_us += SC_S;
	start_again(&f);
	e = sc_flow_insert(&f.node[0]->table, fleet_flow(CLIENT, 1), fleet_backend_id(1, at & 0xff), SC_FLOW_ESTABLISHED,
			   sc_tick(f.now_us), &evicted, &gone);
	e->cached = 1;
	fleet_run(&f, 10 * SC_MS);
	CHECK(!e->cached);
	CHECK_EQ(recalled(&f), 1);
	fleet_run_in_steps(&f, 60 * SC_S, 50 * SC_MS);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0), at);
	end(&f);
}

TEST("a smaller table recalls from a larger one")
{
	struct fleet f;
	uint32_t at[50];

	begin(&f, 1, 1);
	for (uint16_t i = 0; i < 50; i++)
		at[i] = connect(&f, i);
	fleet_run(&f, 10 * SC_MS);
	fleet_stop_node(&f, 1, 1);
	past = memory;
	memory = aligned_alloc(64, sc_memory_size(256));
	memset(memory, 0, sc_memory_size(256));
	sc_memory_init(memory, 256, &SELF);
	f.now_us += SC_S;
	fleet_start_node(&f, 1, 1, 5, 256);
	fleet_run(&f, 10 * SC_MS);
	for (uint16_t i = 0; i < 50; i++)
		CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, i, ACK, 0), at[i]);
	end(&f);
}

TEST("what is recalled is as old and as long idle as it was; what has expired, or is known, is not; what finds no room makes the node uncertain")
{
	const struct sc_flow_entry left = { .flow = 5, .backend = fleet_backend_id(1, 1), .timeouts = 3, .state = SC_FLOW_CLOSING };
	struct sc_flow_entry e, *got;
	struct sc_node *node;
	struct fleet f;

	fleet_start(&f, 2, 1, 2, 4);
	f.now_us = 20000 * SC_S;
	fleet_run(&f, 5 * SC_S);
	node = f.node[0];
	e = left;
	e.seen = (uint16_t)(node->tick - 7);
	sc_flow_set_age(&e, node->tick, 100);
	sc_take_back(node, &e);
	got = sc_flow_find(&node->table, 5);
	REQUIRE(got != NULL);
	CHECK_EQ(sc_flow_idle(got, node->tick), 7);
	CHECK_EQ(sc_flow_age(got, node->tick), 100);
	CHECK_EQ(got->backend, left.backend);
	CHECK_EQ(got->state, SC_FLOW_CLOSING);
	CHECK_EQ(got->timeouts, 0);	/* those were of another generation */
	CHECK_EQ(recalled(&f), 1);
	/* Known: what was told since counts. */
	e.backend = fleet_backend_id(1, 2);
	sc_take_back(node, &e);
	CHECK_EQ(got->backend, left.backend);
	/* Known by hearsay only: what this node itself had told, or another's flow. */
	got->cached = 1;
	got->seen = node->tick;
	sc_take_back(node, &e);
	CHECK(got->backend == left.backend && got->cached == 1);
	CHECK_EQ(recalled(&f), 1);
	e.backend = left.backend;
	sc_flow_set_age(&e, node->tick, 200);
	sc_take_back(node, &e);
	CHECK_EQ(got->cached, 0);
	CHECK_EQ(sc_flow_age(got, node->tick), 200);
	CHECK_EQ(sc_flow_idle(got, node->tick), 0);
	CHECK_EQ(recalled(&f), 2);
	/* Expired: a closing one lives 60 s, and 300 s by hearsay. */
	e.flow = 6;
	e.seen = (uint16_t)(node->tick - 181);
	sc_take_back(node, &e);
	CHECK(sc_flow_find(&node->table, 6) == NULL);
	e.seen = (uint16_t)(node->tick - 180);
	sc_take_back(node, &e);
	CHECK(sc_flow_find(&node->table, 6) != NULL);
	CHECK_EQ(recalled(&f), 3);
	CHECK_EQ(node->forgot_us, 0);
	/* No room: for a handshake, among established ones. */
	for (uint64_t flow = 10; flow < 14; flow++)
		sc_take_record(node, &(struct sc_record){ .flow = flow, .backend = fleet_backend_id(2, 1), .state = 2 }, 1);
	node->forgot_us = 0;
	e.flow = 7;
	e.state = SC_FLOW_HALF_OPEN;
	e.seen = node->tick;
	sc_take_back(node, &e);
	CHECK(sc_flow_find(&node->table, 7) == NULL);
	CHECK_EQ(node->shed_us, node->now_us);
	CHECK_EQ(recalled(&f), 3);
	fleet_stop(&f);
}

TEST("the end of a port's last connection, told by a peer that had missed the next, does not take the next one's place")
{
	static const struct { int told_pop, told_state, told_age, past_state, past_age; bool taken, hearsay; } cases[] = {
		{ 2, SC_FLOW_CLOSING, 20, SC_FLOW_ESTABLISHED, 18, true, false },
		/* A SYN alone, forged or not, takes nothing away. */
		{ 2, SC_FLOW_CLOSING, 20, SC_FLOW_HALF_OPEN, 18, false, false },
		{ 1, SC_FLOW_CLOSING, 20, SC_FLOW_ESTABLISHED, 18, true, false },
		/* Ages drift by a tick: the same time, and then the peer's word counts. */
		{ 2, SC_FLOW_CLOSING, 20, SC_FLOW_ESTABLISHED, 19, false, false },
		{ 2, SC_FLOW_CLOSING, 18, SC_FLOW_ESTABLISHED, 20, false, false },
		{ 1, SC_FLOW_CLOSING, 20, SC_FLOW_ESTABLISHED, 20, false, false },
		{ 2, SC_FLOW_CLOSING, 20, SC_FLOW_CLOSING, 10, false, false },
		/* Its beginning is not known. */
		{ 1, SC_FLOW_CLOSING, SC_AGE_MAX, SC_FLOW_ESTABLISHED, 10, false, false },
		{ 2, SC_FLOW_ESTABLISHED, 20, SC_FLOW_ESTABLISHED, 10, false, false },
		{ 2, SC_FLOW_CLOSING, 20, SC_FLOW_ESTABLISHED, 18, false, true },
	};
	struct fleet f;

	fleet_start(&f, 2, 1, 2, 4);
	f.now_us = 20000 * SC_S;
	fleet_run(&f, 5 * SC_S);
	for (uint64_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sc_node *node = f.node[0];
		struct sc_flow_entry *got, left = {
			.flow = 50 + i, .backend = fleet_backend_id(1, 1), .state = (uint8_t)cases[i].past_state,
			.seen = (uint16_t)(node->tick - 1),
		};

		sc_flow_set_age(&left, node->tick, (uint16_t)cases[i].past_age);
		sc_take_record(node, &(struct sc_record){
			.flow = 50 + i, .backend = fleet_backend_id(cases[i].told_pop, 1), .state = (uint8_t)cases[i].told_state,
			.age = (uint16_t)cases[i].told_age }, 1);
		sc_flow_find(&node->table, 50 + i)->cached = cases[i].hearsay;
		sc_take_back(node, &left);
		got = sc_flow_find(&node->table, 50 + i);
		REQUIRE(got != NULL);
		CHECK_EQ(got->backend, cases[i].taken ? left.backend : fleet_backend_id(cases[i].told_pop, 1));
		CHECK_EQ(got->state, cases[i].taken ? cases[i].past_state : cases[i].told_state);
	}
	CHECK_EQ(recalled(&f), 2);
	fleet_stop(&f);
}

TEST("what a node held before it had filled is not recalled: it had not heard all")
{
	struct fleet f;

	memory = region();
	past = NULL;
	fleet_shape(&f, 2, 1, 2);
	f.options = remember;
	f.dead[1] = true;
	fleet_start_node(&f, 1, 1, 0x1001, ENTRIES);
	fleet_run(&f, SC_S);
	CHECK(!f.node[0]->filled);
	CHECK_STR(sc_memory_doubt(memory, sc_memory_size(ENTRIES), &SELF), "its node had not filled");
	fleet_run(&f, 3 * SC_S);
	CHECK(f.node[0]->filled);
	CHECK(sc_memory_doubt(memory, sc_memory_size(ENTRIES), &SELF) == NULL);
	CHECK_EQ(sc_memory_alive_us(memory), f.now_us);
	end(&f);
}

CHECK_MAIN
