/* Reload: nodes go over from one generation to the next while connections live. */
#include <errno.h>

#include "check.h"
#include "fleet.h"
#include "state.h"

enum { CLIENT = 0xcb007101, SYN = SC_TCP_SYN, ACK = SC_TCP_ACK, NEW_BACKEND = 9 };

/* What the fleet file says now. */
static struct {
	bool reversed, added, keys_swapped, second_key, only_second, timeouts, third_node;
	bool departed;		/* backend 1 of PoP 1: its own PoP keeps it, draining */
	int drained;		/* backend of PoP 1, 0: none */
} file;

static void rewrite(const struct fleet *f, struct plan *p, int pop, int self)
{
	struct sc_key old = p->key[0], new = { .id = 8, .key = "fedcba9876543210" };

	(void)self;
	if (file.second_key) {
		p->h.keys = 2;
		p->key[0] = file.keys_swapped ? new : old;
		p->key[1] = file.keys_swapped ? old : new;
	}
	if (file.only_second)
		p->key[0] = new;
	if (file.added) {
		p->backend[p->h.backends] = p->backend[0];
		p->backend[p->h.backends].id = fleet_backend_id(1, NEW_BACKEND);
		p->backend[p->h.backends].addr = ip4(fleet_backend_ip(1, NEW_BACKEND));
		if (pop == 1)
			for (int i = 0; i < FLEET_SLOTS; i += 2)
				p->slot[i] = (uint16_t)p->h.backends;
		p->h.backends++;
	}
	if (file.departed && pop != 1) {
		p->backend[0] = p->backend[--p->h.backends];
		for (int i = 0; i < FLEET_SLOTS; i++)
			if (p->slot[i] == p->h.backends)
				p->slot[i] = 0;
	}
	if (file.drained && !(file.departed && pop != 1)) {
		p->backend[file.drained - 1].state = SC_BACKEND_DRAINING;
		for (int i = 0; pop == 1 && i < FLEET_SLOTS; i++)
			if (p->slot[i] == file.drained - 1)
				p->slot[i] = (uint16_t)(file.drained % f->backends_per_pop);
	}
	if (file.reversed)
		for (uint32_t i = 0; i < p->h.backends / 2; i++) {
			struct sc_backend_row b = p->backend[i];

			p->backend[i] = p->backend[p->h.backends - 1 - i];
			p->backend[p->h.backends - 1 - i] = b;
		}
	for (int i = 0; file.reversed && i < FLEET_SLOTS; i++)
		p->slot[i] = (uint16_t)(p->h.backends - 1 - p->slot[i]);
	if (file.timeouts) {
		p->service[1] = p->service[0];
		p->service[0].port = 81;
		p->service[0].idle_s = 500;
		p->h.services = 2;
	}
}

static void begin(struct fleet *f, int pops, int nodes, int backends)
{
	memset(&file, 0, sizeof(file));
	fleet_shape(f, pops, nodes, backends);
	f->change = rewrite;
	fleet_begin(f, 1024);
	fleet_run(f, 5 * SC_S);
}

static void end(struct fleet *f)
{
	for (int i = 0; i < f->n; i++)
		if (!f->dead[i])
			CHECK_EQ(fleet_unaccounted(f, i), 0);
	fleet_stop(f);
}

static uint32_t connect(struct fleet *f, uint16_t port)
{
	uint32_t at = fleet_client(f, 1, 1, CLIENT, port, SYN, 0);

	fleet_client(f, 1, 1, CLIENT, port, ACK, 0);
	fleet_run(f, 20 * SC_MS);
	return at;
}

TEST("flows, sessions and counts stay when rows change their order")
{
	struct fleet f;
	uint32_t at[20];
	uint64_t boot, sent, new_flows, first;

	begin(&f, 2, 2, 2);
	for (uint16_t i = 0; i < 20; i++)
		at[i] = connect(&f, i);
	boot = f.node[0]->peers[2].boot;
	sent = f.node[0]->peers[2].pub.sent;
	new_flows = f.counters[0][SC_C_flows_new];
	first = f.node[0]->counts.backend[SC_TRAFFIC_PACKETS];
	CHECK(first > 0);
	file.reversed = true;
	fleet_reload(&f);
	CHECK_EQ(f.node[0]->peers[2].boot, boot);
	CHECK_EQ(f.node[0]->peers[2].pub.sent, sent);
	CHECK_EQ(f.counters[0][SC_C_flows_new], new_flows);
	CHECK_EQ(f.node[0]->counts.backend[3 * SC_TRAFFIC_COUNT + SC_TRAFFIC_PACKETS], first);
	CHECK(f.node[0]->filled && sc_certain(f.node[0], 0, &(uint64_t){ 0 }));
	for (uint16_t i = 0; i < 20; i++) {
		CHECK_EQ(fleet_client(&f, 1, 2, CLIENT, i, ACK, 0), at[i]);
		CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, i, ACK, 0), at[i]);
	}
	end(&f);
}

TEST("a new backend gets its share, also of flows that arrive where it is not known yet")
{
	struct fleet f;
	uint16_t port = 0;
	uint32_t at;

	begin(&f, 2, 1, 2);
	file.added = true;
	fleet_reload_node(&f, 1, 1);
	do
		at = connect(&f, ++port);
	while (at != fleet_backend_ip(1, NEW_BACKEND) && port < 200);
	CHECK_EQ(at, fleet_backend_ip(1, NEW_BACKEND));
	/* PoP 2 has the old picture: it forwards by the backend's id. */
	CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, port, ACK, 0), at);
	CHECK_EQ(f.counters[1][SC_C_certain_no] + f.counters[1][SC_DROP_backend_gone], 0);
	fleet_reload_node(&f, 2, 1);
	CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, port, ACK, 0), at);
	end(&f);
}

TEST("a node with the old picture asks its PoP's home for a backend that it does not know, every time")
{
	struct fleet f;
	uint16_t port = 0;
	uint32_t at;

	begin(&f, 1, 2, 2);
	file.added = true;
	fleet_reload_node(&f, 1, 1);
	do {
		while (sc_home(f.node[0], fleet_flow(CLIENT, port), 0) != 0)
			port++;
		at = connect(&f, port++);
	} while (at != fleet_backend_ip(1, NEW_BACKEND) && port < 500);
	CHECK_EQ(at, fleet_backend_ip(1, NEW_BACKEND));
	for (int i = 0; i < 3; i++)
		CHECK_EQ(fleet_client(&f, 1, 2, CLIENT, (uint16_t)(port - 1), ACK, 0), at);
	CHECK_EQ(f.counters[1][SC_C_asked], 3);
	end(&f);
}

TEST("a drained backend keeps its flows, and a SYN in their name too, and gets no new ones")
{
	struct fleet f;
	uint32_t at;

	begin(&f, 2, 1, 2);
	at = connect(&f, 1);
	file.drained = (int)(at & 0xff);
	fleet_reload(&f);
	for (int pop = 1; pop <= 2; pop++) {
		CHECK_EQ(fleet_client(&f, pop, 1, CLIENT, 1, ACK, 0), at);
		CHECK_EQ(fleet_client(&f, pop, 1, CLIENT, 1, SYN, 0), at);
	}
	for (uint16_t port = 100; port < 150; port++)
		CHECK(connect(&f, port) != at);
	end(&f);
}

TEST("a departed backend's flows are told to its PoP's node that lost its memory, by nodes that do not know the backend")
{
	struct fleet f;
	uint32_t at;
	uint16_t port = 0;

	begin(&f, 2, 1, 2);
	do
		at = connect(&f, ++port);
	while (at != fleet_backend_ip(1, 1));
	file.departed = true;
	file.drained = 1;
	fleet_reload(&f);
	CHECK_EQ(sc_find_backend(f.node[1]->g, fleet_backend_id(1, 1)), SC_NO_ROW);
	fleet_stop_node(&f, 1, 1);
	fleet_start_node(&f, 1, 1, 77, 1024);
	fleet_run(&f, 5 * SC_S);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, port, ACK, 0), at);
	CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, port, ACK, 0), at);
	end(&f);
}

TEST("keys rotate in three steps, node by node, and nothing is refused")
{
	struct fleet f;
	uint32_t at;

	begin(&f, 2, 2, 2);
	at = connect(&f, 1);
	for (int step = 0; step < 3; step++) {
		file.second_key = step < 2;
		file.keys_swapped = step == 1;
		file.only_second = step == 2;
		for (int p = 1; p <= 2; p++)
			for (int n = 1; n <= 2; n++) {
				fleet_reload_node(&f, p, n);
				fleet_run(&f, 1500 * SC_MS);
				CHECK_EQ(fleet_client(&f, 1, 2, CLIENT, 1, ACK, 0), at);
				CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, 1, ACK, 0), at);
			}
	}
	for (int i = 0; i < f.n; i++) {
		CHECK_EQ(f.counters[i][SC_DROP_unknown_key] + f.counters[i][SC_DROP_bad_tag], 0);
		for (int k = 0; k < f.n; k++)
			CHECK(k == i || f.node[i]->peers[k].alive);
	}
	end(&f);
}

TEST("what a node is cannot change while it runs, and the refused swap leaves everything as it was")
{
	static const char *const names[] = { "the node's id", "the node's PoP", "the node's address", "hash_seed" };
	struct fleet f;

	begin(&f, 2, 1, 1);
	for (int what = 0; what < 4; what++) {
		struct plan *p = malloc(sizeof(*p));
		struct sc_generation *g;
		struct sc_swap *swap;
		const char *why;

		fleet_plan(&f, p, 1, 1);
		if (what == 0)
			p->h.self = fleet_node_id(2, 1);
		if (what == 1)
			p->node[0].pop = 2;
		if (what == 2)
			p->node[0].addr = ip4(0x0a000009);
		if (what == 3)
			p->h.hash_seed++;
		REQUIRE(plan_load(p, &g, &why) == 0);
		CHECK_EQ(sc_swap_prepare(f.node[0], g, f.counters[0], &swap, &why), -EINVAL);
		CHECK_STR(why, names[what]);
		sc_generation_free(g);
		free(p);
	}
	CHECK(connect(&f, 1) != 0);
	end(&f);
}

TEST("a swap that is not applied is freed whole")
{
	struct fleet f;
	struct sc_generation *g;
	struct sc_swap *swap;
	const char *why;

	begin(&f, 2, 1, 1);
	g = fleet_generation(&f, 1, 1);
	REQUIRE(sc_swap_prepare(f.node[0], g, f.counters[0], &swap, &why) == 0);
	sc_swap_free(swap);
	sc_swap_free(NULL);
	end(&f);
}

TEST("entries keep their timeouts when another service takes the first row")
{
	struct fleet f;
	const struct sc_flow_entry *e;

	begin(&f, 1, 1, 1);
	connect(&f, 1);
	e = sc_flow_find(&f.node[0]->table, fleet_flow(CLIENT, 1));
	REQUIRE(e != NULL);
	CHECK_EQ(f.node[0]->g->timeouts[e->timeouts].idle_s, 10800);
	file.timeouts = true;
	fleet_reload(&f);
	CHECK_EQ(f.node[0]->g->timeouts[e->timeouts].idle_s, 10800);
	CHECK_EQ(f.node[0]->g->timeouts[f.node[0]->g->service_class[0]].idle_s, 500);
	/* And when their service is gone. */
	file.timeouts = false;
	fleet_reload(&f);
	CHECK_EQ(f.node[0]->g->timeouts[e->timeouts].idle_s, 10800);
	end(&f);
}

/* Node 3 of each PoP is left out of everybody's picture, but for its own, until file.third_node. */
static void without_third(const struct fleet *f, struct plan *p, int pop, int self)
{
	uint32_t n = 0;

	(void)f;
	if (file.third_node || self == 3)
		return;
	(void)pop;
	for (uint32_t i = 0; i < p->h.nodes; i++)
		if (p->node[i].id % 100 != 3)
			p->node[n++] = p->node[i];
	p->h.nodes = n;
}

TEST("nodes that are added or removed take homes along, and every flow stays with its backend")
{
	struct fleet f;
	uint32_t at[60];

	memset(&file, 0, sizeof(file));
	fleet_shape(&f, 2, 3, 2);
	f.change = without_third;
	for (int p = 1; p <= 2; p++) {
		f.dead[fleet_index(&f, p, 3)] = true;
		for (int n = 1; n <= 2; n++)
			fleet_start_node(&f, p, n, 0x1000u + fleet_node_id(p, n), 1024);
	}
	fleet_run(&f, 5 * SC_S);
	for (uint16_t i = 0; i < 60; i++)
		at[i] = connect(&f, i);
	for (int round = 0; round < 2; round++) {
		file.third_node = round == 0;
		for (int p = 1; p <= 2; p++)
			for (int n = 1; n <= 2; n++) {
				fleet_reload_node(&f, p, n);
				fleet_run(&f, 500 * SC_MS);
				for (uint16_t i = 0; i < 60; i++)
					CHECK_EQ(fleet_client(&f, 1 + i % 2, 1 + i / 2 % 2, CLIENT, i, ACK, 0), at[i]);
			}
		for (int p = 1; p <= 2; p++) {
			if (round == 0)
				fleet_start_node(&f, p, 3, 0x2000u + (unsigned int)p, 1024);
			else
				fleet_stop_node(&f, p, 3);
		}
		fleet_run(&f, 5 * SC_S);
		for (uint16_t i = 0; i < 60; i++)
			CHECK_EQ(fleet_client(&f, 1 + i % 2, 1 + i / 2 % 2, CLIENT, i, ACK, 0), at[i]);
	}
	for (int i = 0; i < f.n; i++)
		CHECK(f.dead[i] || f.counters[i][SC_C_certain_no] == 0);
	end(&f);
}

TEST("the flows that name a backend are counted within two minutes, also over a reload")
{
	struct fleet f;
	uint32_t n = 0;

	begin(&f, 1, 1, 2);
	for (uint16_t i = 0; i < 40; i++)
		n += connect(&f, i) == fleet_backend_ip(1, 1);
	fleet_run_in_steps(&f, 121 * SC_S, 50 * SC_MS);
	CHECK_EQ(f.node[0]->counts.flows[0], n);
	CHECK_EQ(f.node[0]->counts.flows[1], 40 - n);
	file.reversed = true;
	fleet_reload(&f);
	CHECK_EQ(f.node[0]->counts.flows[1], n);
	connect(&f, 50);
	fleet_run_in_steps(&f, 121 * SC_S, 50 * SC_MS);
	CHECK_EQ(f.node[0]->counts.flows[0] + f.node[0]->counts.flows[1], 41);
	end(&f);
}

/* What becomes of the peers' rows: PoP 2's node 1 is row 2 before. */
static enum { AS_BEFORE, NODES_REVERSED, MOVED_POP, MOVED_ADDRESS, LARGER_MTU } rows;

static void change_rows(const struct fleet *f, struct plan *p, int pop, int self)
{
	(void)f;
	(void)pop;
	(void)self;
	if (rows == NODES_REVERSED)
		for (uint32_t i = 0; i < p->h.nodes / 2; i++) {
			struct sc_node_row n = p->node[i];

			p->node[i] = p->node[p->h.nodes - 1 - i];
			p->node[p->h.nodes - 1 - i] = n;
		}
	if (rows == MOVED_POP)
		p->node[2].pop = 1;
	if (rows == MOVED_ADDRESS)
		p->node[2].addr = ip4(0x0a0200ff);
	if (rows == LARGER_MTU)
		p->h.mtu = 9000;
}

static void begin_rows(struct fleet *f)
{
	rows = AS_BEFORE;
	fleet_shape(f, 2, 2, 1);
	f->change = change_rows;
	fleet_begin(f, 256);
	fleet_run(f, 5 * SC_S);
}

TEST("peers keep their sessions when nodes change their rows, and what each of them does not reach is asked again")
{
	struct fleet f;
	uint64_t boot[4];

	begin_rows(&f);
	for (int i = 1; i < 4; i++)
		boot[i] = f.node[0]->peers[i].boot;
	f.node[0]->peers[2].unreached = 1;
	for (int i = 0; i < 4 * SC_BETWEEN_COUNT; i++)
		f.node[0]->counts.between[i] = 100 + (uint64_t)i;
	rows = NODES_REVERSED;
	fleet_reload(&f);
	for (int i = 1; i < 4; i++) {
		CHECK_EQ(f.node[0]->peers[3 - i].boot, boot[i]);
		CHECK_EQ(f.node[0]->peers[3 - i].row, 3 - i);
		CHECK(f.node[0]->peers[3 - i].alive);
		for (int way = 0; way < SC_BETWEEN_COUNT; way++)
			CHECK_EQ(f.node[0]->counts.between[(3 - i) * SC_BETWEEN_COUNT + way],
				 100 + (uint64_t)(i * SC_BETWEEN_COUNT + way));
	}
	CHECK_EQ(f.node[0]->peers[1].unreached, 0);
	fleet_run(&f, 5 * SC_S);
	for (int i = 0; i < 4; i++) {
		CHECK_EQ(f.counters[i][SC_DROP_unknown_origin] + f.counters[i][SC_DROP_bad_tag], 0);
		for (int k = 0; k < 4; k++)
			CHECK(k == 3 - i || f.node[i]->peers[k].alive);
	}
	CHECK_EQ(f.counters[0][SC_C_walks_started], f.counters[3][SC_C_walks_started]);
	fleet_stop(&f);
}

TEST("a node that moved to another PoP or address is another peer")
{
	for (int how = MOVED_POP; how <= MOVED_ADDRESS; how++) {
		struct fleet f;

		begin_rows(&f);
		CHECK(f.node[0]->peers[2].boot != 0);
		rows = how;
		fleet_reload_node(&f, 1, 1);
		CHECK_EQ(f.node[0]->peers[2].boot, 0);
		CHECK(!f.node[0]->peers[2].alive);
		CHECK(f.node[0]->peers[1].boot != 0 && f.node[0]->peers[3].boot != 0);
		CHECK(!sc_certain(f.node[0], 0, &(uint64_t){ 0 }));
		fleet_stop(&f);
	}
}

TEST("buffers grow with the MTU")
{
	struct fleet f;

	begin_rows(&f);
	rows = LARGER_MTU;
	fleet_reload(&f);
	CHECK_EQ(f.node[0]->scratch_size, sc_scratch_size(f.node[0]->g));
	CHECK(f.node[0]->scratch_size > 9000);
	CHECK(fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0) != 0);
	CHECK(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 8900) != 0);
	fleet_run(&f, SC_S);
	fleet_stop(&f);
}

TEST("a service's counts go with it to its new row")
{
	struct fleet f;
	uint64_t n;

	begin(&f, 1, 1, 2);
	for (uint16_t port = 1; f.node[0]->counts.backend[SC_TRAFFIC_PACKETS] != 6; port++)
		connect(&f, port);	/* 3 of them to the first backend */
	n = f.node[0]->counts.service[SC_TRAFFIC_PACKETS];
	CHECK(n > 6);
	file.timeouts = true;
	fleet_reload(&f);
	CHECK_EQ(f.node[0]->counts.service[SC_TRAFFIC_PACKETS], 0);
	CHECK_EQ(f.node[0]->counts.service[SC_TRAFFIC_COUNT + SC_TRAFFIC_PACKETS], n);
	CHECK_EQ(f.node[0]->counts.service[SC_TRAFFIC_COUNT + SC_TRAFFIC_NEW_FLOWS], n / 2);
	end(&f);
}

CHECK_MAIN
