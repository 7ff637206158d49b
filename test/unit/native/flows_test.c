/* What flows.c decides about single entries: whose they are, how long they live, what is told of them and what not. A
 * node's time is set by hand where only its own table matters. */
#include "check.h"
#include "fleet.h"
#include "state.h"

enum { CLIENT = 0xcb007101, SYN = SC_TCP_SYN, ACK = SC_TCP_ACK, FIN = SC_TCP_FIN | SC_TCP_ACK };

static void with_short_times(const struct fleet *f, struct plan *p, int pop, int self)
{
	(void)f;
	(void)pop;
	(void)self;
	p->service[0].half_open_s = 12;
	p->service[0].idle_s = 40;
	p->service[0].closing_s = 6;
}

static void begin(struct fleet *f, int pops, int nodes, uint32_t entries)
{
	fleet_shape(f, pops, nodes, 2);
	f->change = with_short_times;
	fleet_begin(f, entries);
	fleet_run(f, 5 * SC_S);
}

/* The time of node, and of nobody else. */
static void at(struct sc_node *node, uint64_t us)
{
	node->now_us = us;
	node->tick = sc_tick(us);
}

/* A flow that node 1 of PoP 1 is, or is not, the home of. */
static uint64_t flow_at_home(const struct sc_node *node, bool home)
{
	uint64_t flow = 1;

	while ((sc_home(node, flow << 32, node->g->own_pop) == node->g->self) != home)
		flow++;
	return flow << 32;
}

static struct sc_flow_entry *put(struct sc_node *node, uint64_t flow, uint32_t backend, enum sc_flow_state state)
{
	struct sc_flow_entry gone;
	enum sc_eviction evicted;

	return sc_flow_insert(&node->table, flow, backend, state, node->tick, &evicted, &gone);
}

/* The last whole tick, in seconds, at which the entry is still known. */
static uint32_t life_s(struct sc_node *node, const struct sc_flow_entry *e)
{
	const struct sc_flow_entry entry = *e;
	uint64_t begin_us = node->now_us;
	uint32_t s = 0;

	while (sc_known(node, entry.flow) && s < 2000) {
		s += SC_TICK_S;
		at(node, begin_us + s * SC_S);
	}
	at(node, begin_us);
	return s - SC_TICK_S;
}

TEST("how long an entry lives: by state, by whether this node is its owner and saw it itself, by whether others of the PoP may see its packets")
{
	enum { HALF_OPEN = 1, ESTABLISHED, CLOSING, COPY };
	static const struct { int nodes, what; bool heard; uint32_t life_s; } cases[] = {
		{ 1, HALF_OPEN, false, 12 }, { 1, HALF_OPEN, true, 312 }, { 2, HALF_OPEN, false, 12 }, { 2, HALF_OPEN, true, 312 },
		{ 1, ESTABLISHED, false, 40 }, { 1, ESTABLISHED, true, 340 }, { 2, ESTABLISHED, false, 70 }, { 2, ESTABLISHED, true, 370 },
		{ 1, CLOSING, false, 6 }, { 1, CLOSING, true, 306 }, { 2, CLOSING, false, 30 }, { 2, CLOSING, true, 330 },
		{ 2, COPY, false, 900 }, { 2, COPY, true, 900 },
	};

	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum sc_flow_state state = cases[i].what == COPY ? SC_FLOW_ESTABLISHED : (enum sc_flow_state)cases[i].what;
		struct sc_flow_entry *e;
		struct sc_node *node;
		struct fleet f;

		begin(&f, 2, cases[i].nodes, 64);
		node = f.node[0];
		e = put(node, flow_at_home(node, cases[i].what != COPY), fleet_backend_id(1, 1), state);
		e->timeouts = cases[i].heard ? 0 : node->g->service_class[0] & 7;
		CHECK_EQ(life_s(node, e), cases[i].life_s);
		fleet_stop(&f);
	}
}

TEST("what is only cached, or of another PoP, is nobody's own: 30 s and 900 s, though this node is the home")
{
	struct sc_flow_entry *e;
	struct sc_node *node;
	struct fleet f;

	begin(&f, 2, 1, 64);
	node = f.node[0];
	e = put(node, 7, fleet_backend_id(1, 1), SC_FLOW_CLOSING);
	e->cached = 1;
	CHECK_EQ(life_s(node, e), SC_OWNER_CACHE_S);
	e = put(node, 8, fleet_backend_id(2, 1), SC_FLOW_CLOSING);
	CHECK_EQ(life_s(node, e), SC_COPY_S);
	fleet_stop(&f);
}

/* How many records wait for the peer, or were sent to it. */
static uint64_t told(const struct fleet *f, int i, int to)
{
	const struct sc_publication *pub = &f->node[i]->peers[to].pub;

	return f->counters[i][SC_C_publish_flows_sent] + pub->open_count;
}

TEST("an owner tells the end of its flow; who holds a copy, or a cached entry, forgets in silence")
{
	struct sc_node *node;
	struct fleet f;

	begin(&f, 2, 2, 64);
	node = f.node[0];
	for (int what = 0; what < 3; what++) {
		uint64_t flow = flow_at_home(node, what != 1), before = told(&f, 0, 2) + node->peers[3].pub.open_count;
		struct sc_flow_entry *e = put(node, flow, fleet_backend_id(1, 1), SC_FLOW_ESTABLISHED);
		uint64_t us = node->now_us;

		e->cached = what == 2;
		at(node, us + 2000 * SC_S);
		CHECK(sc_known(node, flow) == NULL);
		CHECK_EQ(told(&f, 0, 2) + node->peers[3].pub.open_count, before + (what == 0));
		at(node, us);
	}
	fleet_stop(&f);
}

TEST("the end of a flow is told as its end, also in a batch that goes out with it and began a tick before")
{
	struct sc_record filler = { .flow = 1ull << 40, .backend = fleet_backend_id(1, 1), .state = SC_FLOW_ESTABLISHED };
	struct sc_out *out = malloc(sizeof(*out));
	struct sc_publication *pub;
	struct sc_node *node;
	struct fleet f;

	begin(&f, 2, 1, 64);
	node = f.node[0];
	pub = &node->peers[1].pub;
	out->n = 0;
	node->out = out;
	put(node, 5, fleet_backend_id(1, 1), SC_FLOW_ESTABLISHED);
	for (int i = 0; i < SC_BATCH_FLOWS - 1; i++)
		sc_publish_to(node, &node->peers[1], &filler);
	at(node, node->now_us + 1000 * SC_S);
	CHECK(sc_known(node, 5) == NULL);
	REQUIRE(pub->open_count == 0);
	CHECK_EQ(pub->ring[pub->sent % SC_PUBLISH_WINDOW].record[SC_BATCH_FLOWS - 1].flow, 5);
	CHECK_EQ(pub->ring[pub->sent % SC_PUBLISH_WINDOW].record[SC_BATCH_FLOWS - 1].state, SC_FLOW_NONE);
	free(out);
	fleet_stop(&f);
}

static void two_services(const struct fleet *f, struct plan *p, int pop, int self)
{
	with_short_times(f, p, pop, self);
	p->h.services = 2;
	p->service[1] = p->service[0];
	p->service[1].port = 8080;
	p->service[1].half_open_s = 20;
}

TEST("a node says H for as long as any service's handshake may last, and a tick")
{
	struct sc_node *node;
	struct fleet f;
	uint64_t us;

	fleet_shape(&f, 1, 1, 1);
	f.change = two_services;
	fleet_begin(&f, 64);
	fleet_run(&f, 10 * SC_MS);
	node = f.node[0];
	us = node->now_us;
	CHECK(!sc_withholds(node));
	node->withheld_us = us;
	CHECK(sc_withholds(node));
	at(node, us + 22 * SC_S);
	CHECK(sc_withholds(node));
	at(node, us + 22 * SC_S + 1);
	CHECK(!sc_withholds(node));
	fleet_stop(&f);
}

/* The last record that node 1 has for its peer. */
static struct sc_record last_told(const struct fleet *f)
{
	const struct sc_publication *pub = &f->node[0]->peers[1].pub;

	return pub->open_count ? pub->open[pub->open_count - 1] : (struct sc_record){ 0 };
}

TEST("when the limit of half-open publications is used up, only beginnings and ends of handshakes wait, and only beginnings make it say H")
{
	struct sc_node *node;
	struct fleet f;

	begin(&f, 2, 1, 64);
	node = f.node[0];
	node->half_open = (struct sc_rate){ .since_us = f.now_us, .used = 16384 };
	/* Its end: a handshake that was told before the flood. */
	put(node, 5, fleet_backend_id(1, 1), SC_FLOW_HALF_OPEN)->seen -= 400;
	CHECK(sc_known(node, 5) == NULL);
	CHECK_EQ(f.counters[0][SC_C_publish_withheld], 1);
	CHECK_EQ(node->withheld_us, 0);
	/* Its beginning. */
	fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	CHECK_EQ(f.counters[0][SC_C_publish_withheld], 2);
	CHECK_EQ(node->withheld_us, f.now_us);
	CHECK_EQ(node->peers[1].pub.open_count, 0);
	/* What comes after, and the end of what is past its handshake. */
	fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0);
	CHECK_EQ(last_told(&f).state, SC_FLOW_ESTABLISHED);
	fleet_client(&f, 1, 1, CLIENT, 1, FIN, 0);
	CHECK_EQ(last_told(&f).state, SC_FLOW_CLOSING);
	put(node, 6, fleet_backend_id(1, 1), SC_FLOW_ESTABLISHED)->seen -= 400;
	CHECK(sc_known(node, 6) == NULL);
	CHECK_EQ(last_told(&f).flow, 6);
	CHECK_EQ(last_told(&f).state, SC_FLOW_NONE);
	CHECK_EQ(f.counters[0][SC_C_publish_withheld], 2);
	/* A handshake that ends at once was withheld; its FIN is not. */
	fleet_client(&f, 1, 1, CLIENT, 2, SYN, 0);
	fleet_client(&f, 1, 1, CLIENT, 2, FIN, 0);
	CHECK_EQ(last_told(&f).flow, fleet_flow(CLIENT, 2));
	fleet_stop(&f);
}

/* Fills the one bucket of node 1's table with entries like e, flows 1 to 4. */
static void fill(struct sc_node *node, struct sc_flow_entry like)
{
	for (uint64_t flow = 1; flow <= SC_FLOW_WAYS; flow++)
		put(node, flow, like.backend, like.state)->cached = like.cached;
}

TEST("what gave way: a handshake of this node's own is told as ended, one of another PoP is not; neither is a living flow forgotten")
{
	for (int pop = 1; pop <= 2; pop++) {
		struct sc_record r = { .flow = 99, .backend = fleet_backend_id(2, 1), .state = SC_FLOW_ESTABLISHED };
		struct fleet f;

		begin(&f, 2, 1, 4);
		fill(f.node[0], (struct sc_flow_entry){ .backend = fleet_backend_id(pop, 1), .state = SC_FLOW_HALF_OPEN });
		sc_take_record(f.node[0], &r, 1);
		CHECK_EQ(f.counters[0][SC_C_flows_evicted_half_open], 1);
		CHECK_EQ(f.node[0]->forgot_us, 0);
		CHECK_EQ(f.node[0]->peers[1].pub.open_count, pop == 1);
		CHECK_EQ(last_told(&f).state, SC_FLOW_NONE);
		CHECK_EQ(last_told(&f).backend, pop == 1 ? fleet_backend_id(1, 1) : 0);
		fleet_stop(&f);
	}
}

TEST("a living flow that gave way is forgotten, and told as ended to nobody; a cached entry is no loss")
{
	for (int cached = 0; cached < 2; cached++) {
		struct sc_record r = { .flow = 99, .backend = fleet_backend_id(2, 1), .state = SC_FLOW_ESTABLISHED };
		struct fleet f;

		begin(&f, 2, 1, 4);
		fill(f.node[0], (struct sc_flow_entry){ .backend = fleet_backend_id(1, 1), .state = SC_FLOW_ESTABLISHED,
							.cached = cached & 1 });
		sc_take_record(f.node[0], &r, 1);
		CHECK(sc_known(f.node[0], 99) != NULL);
		CHECK_EQ(f.node[0]->forgot_us, cached ? 0 : f.node[0]->now_us);
		CHECK_EQ(f.counters[0][SC_C_flows_evicted_idle], !cached);
		CHECK_EQ(f.node[0]->peers[1].pub.open_count, 0);
		fleet_stop(&f);
	}
}

TEST("a packet at its home makes an entry this node's own: seen now, not cached, with its service's timeouts")
{
	struct sc_flow_entry *e;
	struct fleet f;

	begin(&f, 2, 1, 64);
	e = put(f.node[0], fleet_flow(CLIENT, 1), fleet_backend_id(1, 1), SC_FLOW_ESTABLISHED);
	e->cached = 1;
	e->seen -= 3;
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0), fleet_backend_ip(1, 1));
	CHECK_EQ(e->cached, 0);
	CHECK_EQ(e->seen, f.node[0]->tick);
	CHECK_EQ(e->timeouts, f.node[0]->g->service_class[0]);
	CHECK(e->timeouts != 0);
	fleet_stop(&f);
}

TEST("only a change of state is told, and only a new life of a port begins a new age")
{
	static const struct { uint8_t flags; enum sc_flow_state after; bool told, new; uint32_t payload; } steps[] = {
		{ SYN, SC_FLOW_HALF_OPEN, true, true, 0 },	       { SYN, SC_FLOW_HALF_OPEN, false, false, 0 },
		{ ACK, SC_FLOW_ESTABLISHED, true, false, 0 },     { ACK, SC_FLOW_ESTABLISHED, false, false, 0 },
		{ SYN, SC_FLOW_ESTABLISHED, false, false, 0 },    { FIN, SC_FLOW_CLOSING, true, false, 0 },
		{ ACK, SC_FLOW_CLOSING, false, false, 0 },	       { FIN, SC_FLOW_CLOSING, false, false, 0 },
		{ SC_TCP_RST, SC_FLOW_CLOSING, false, false, 0 }, { SYN, SC_FLOW_HALF_OPEN, true, true, 0 },
		{ SC_TCP_RST, SC_FLOW_CLOSING, true, false, 0 },  { SYN | ACK, SC_FLOW_HALF_OPEN, true, true, 0 },
		/* Who has closed sends nothing new: that FIN was forged, or another connection's. */
		{ FIN, SC_FLOW_CLOSING, true, false, 0 },	       { ACK, SC_FLOW_ESTABLISHED, true, false, 1 },
		{ FIN, SC_FLOW_CLOSING, true, false, 1 },
		{ SYN, SC_FLOW_HALF_OPEN, true, true, 1 },
	};
	uint16_t age = 0;
	struct fleet f;

	begin(&f, 2, 1, 64);
	for (unsigned int i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		uint64_t before;
		struct sc_flow_entry *e;

		fleet_run(&f, SC_TICK_US);
		before = told(&f, 0, 1);
		CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, steps[i].flags, steps[i].payload) != 0, true);
		e = sc_flow_find(&f.node[0]->table, fleet_flow(CLIENT, 1));
		REQUIRE(e != NULL);
		age = steps[i].new ? 0 : (uint16_t)(age + 1);
		CHECK_EQ(e->state, steps[i].after);
		CHECK_EQ(sc_flow_age(e, f.node[0]->tick), age);
		CHECK_EQ(told(&f, 0, 1) - before, steps[i].told);
		if (steps[i].told) {
			CHECK_EQ(last_told(&f).state, steps[i].after);
			CHECK_EQ(last_told(&f).age, age);
		}
	}
	fleet_stop(&f);
}

TEST("a home of another PoP sees that a handshake is over, also when the owner node dies before it tells")
{
	static const struct { uint8_t flags; enum sc_flow_state after; } steps[] = {
		{ SYN, SC_FLOW_HALF_OPEN }, { SYN | ACK, SC_FLOW_HALF_OPEN }, { ACK, SC_FLOW_ESTABLISHED },
		{ SYN, SC_FLOW_ESTABLISHED }, { FIN, SC_FLOW_ESTABLISHED },
	};
	struct fleet f;

	begin(&f, 2, 1, 64);
	put(f.node[1], fleet_flow(CLIENT, 1), fleet_backend_id(1, 1), SC_FLOW_HALF_OPEN);
	for (unsigned int i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		fleet_client(&f, 2, 1, CLIENT, 1, steps[i].flags, 0);
		CHECK_EQ(sc_flow_find(&f.node[1]->table, fleet_flow(CLIENT, 1))->state, steps[i].after);
	}
	CHECK_EQ(f.node[1]->table.count[SC_FLOW_ESTABLISHED], 1);
	fleet_stop(&f);
}

TEST("a flow that is learned in its midst is told as old as can be, so that it takes nothing from a younger one")
{
	struct fleet f;
	struct sc_flow_entry *e;

	begin(&f, 2, 1, 64);
	e = sc_record_flow(f.node[0], 5, fleet_backend_id(1, 1), SC_FLOW_ESTABLISHED, 1, SC_AGE_MAX);
	REQUIRE(e != NULL);
	CHECK_EQ(sc_flow_age(e, f.node[0]->tick), SC_AGE_MAX);
	CHECK_EQ(last_told(&f).age, SC_AGE_MAX);
	fleet_stop(&f);
}

static void let_pass(struct fleet *f, uint64_t us)
{
	fleet_run_in_steps(f, us, 250 * SC_MS);
}

TEST("an age stays at its greatest however long the flow lives")
{
	struct fleet f;
	struct sc_flow_entry *e;

	fleet_start(&f, 1, 1, 1, 64);
	fleet_run(&f, 10 * SC_MS);
	fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0);
	e = sc_flow_find(&f.node[0]->table, fleet_flow(CLIENT, 1));
	for (int i = 0; i < 40; i++) {
		let_pass(&f, 100 * SC_S);
		CHECK_EQ(sc_flow_age(e, f.node[0]->tick), i < 10 ? 50 * (i + 1) : 511);
	}
	fleet_stop(&f);
}

TEST("every living flow past its handshake is told again once in 300 s, a fifth of them in each minute; copies and handshakes are not")
{
	enum { OWN = 1000 };
	struct sc_node *node;
	uint64_t before, minute;
	struct fleet f;

	fleet_start(&f, 2, 1, 1, 4096);
	fleet_run(&f, 5 * SC_S);
	node = f.node[0];
	for (uint64_t flow = 1; flow <= OWN; flow++) {
		put(node, flow * 0x9e3779b97f4a7c15ull, fleet_backend_id(1, 1), flow % 2 ? SC_FLOW_ESTABLISHED : SC_FLOW_CLOSING);
		put(node, flow * 0xbf58476d1ce4e5b9ull, fleet_backend_id(2, 1), SC_FLOW_ESTABLISHED);
		put(node, flow * 0x94d049bb133111ebull, fleet_backend_id(1, 1), SC_FLOW_HALF_OPEN);
	}
	before = f.counters[0][SC_C_publish_flows_sent];
	for (int i = 0; i < 5; i++) {
		minute = f.counters[0][SC_C_publish_flows_sent];
		let_pass(&f, 60 * SC_S);
		minute = f.counters[0][SC_C_publish_flows_sent] - minute;
		CHECK(minute > OWN / 5 - 100 && minute < OWN / 5 + 100);
	}
	CHECK(f.counters[0][SC_C_publish_flows_sent] - before > OWN - 20 && f.counters[0][SC_C_publish_flows_sent] - before < OWN + 20);
	fleet_stop(&f);
}

TEST("a node that stood still for a minute or longer looks at every entry at once, and only once")
{
	struct sc_out *out = malloc(sizeof(*out));
	struct sc_node *node;
	struct fleet f;

	begin(&f, 1, 1, 4096);
	node = f.node[0];
	for (uint64_t flow = 1; flow <= 1000; flow++)
		put(node, flow * 0x9e3779b97f4a7c15ull, fleet_backend_id(1, 1), SC_FLOW_HALF_OPEN)->timeouts = 1;
	sc_timers(node, f.now_us + 61 * SC_S, out);
	CHECK_EQ(f.counters[0][SC_C_flows_expired], 1000);
	CHECK_EQ(node->table.count[SC_FLOW_HALF_OPEN], 0);
	CHECK_EQ(node->sweep_us, f.now_us + 61 * SC_S);
	free(out);
	fleet_stop(&f);
}

TEST("of the flows that name a backend cached entries are not counted")
{
	struct fleet f;

	fleet_start(&f, 1, 1, 1, 64);
	fleet_run(&f, 10 * SC_MS);
	put(f.node[0], 1, fleet_backend_id(1, 1), SC_FLOW_ESTABLISHED);
	let_pass(&f, 100 * SC_S);
	put(f.node[0], 2, fleet_backend_id(1, 1), SC_FLOW_ESTABLISHED)->cached = 1;
	for (int i = 0; i < 140; i++) {
		let_pass(&f, SC_S);
		sc_flow_find(&f.node[0]->table, 2)->seen = f.node[0]->tick;
	}
	CHECK_EQ(f.node[0]->counts.flows[0], 1);
	fleet_stop(&f);
}

CHECK_MAIN
