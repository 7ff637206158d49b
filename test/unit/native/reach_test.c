/* REACH, its second half: which services a PoP says that it does not serve, what that makes of spill, which message counts,
 * and what outlives a reload. Three PoPs of one node; PoP 1 is nearest to PoP 2, PoP 3 further. Which PoPs are heard: relay_test.c. */
#include "check.h"
#include "fleet.h"
#include "state.h"

enum { CLIENT = 0xcb007101, SYN = SC_TCP_SYN };

/* By PoP: what its generation says. */
static struct {
	bool empty[5];		/* no table has a backend */
	uint8_t flags[5];	/* of its services */
	uint16_t services;
	bool backwards;		/* the last service first */
} say;

static void change(const struct fleet *f, struct plan *p, int pop, int self)
{
	(void)f;
	(void)self;
	for (uint16_t i = 0; i < say.services; i++) {
		uint16_t row = say.backwards ? say.services - 1 - i : i;

		p->service[row] = p->service[0];
		p->service[row].flags = say.flags[pop];
		p->service[row].label = row;
	}
	for (uint16_t i = 0; i < say.services; i++)
		p->service[say.backwards ? say.services - 1 - i : i].port = (uint16_t)(80 + i);
	p->h.services = say.services;
	if (say.empty[pop])
		p->pool[0].size = 0;
}

static unsigned int pass(struct fleet *f, int to, const uint8_t *data, uint32_t len, uint64_t delay_us[FLEET_COPIES])
{
	int from = sc_get32(data + 12) >> 16 & 0xff, pop = to / f->nodes_per_pop + 1;

	(void)len;
	delay_us[0] = from + pop == 5 ? 30000 : 10000;
	return 1;
}

static void begin(struct fleet *f, uint16_t services)
{
	memset(&say, 0, sizeof(say));
	say.services = services;
	fleet_shape(f, 3, 1, 2);
	f->change = change;
	f->fate = pass;
}

static void start(struct fleet *f)
{
	fleet_begin(f, 256);
	fleet_run(f, 5 * SC_S);
}

static bool unserved(const struct fleet *f, int pop, int by, uint16_t service)
{
	return sc_unserved(&f->node[pop - 1]->peers[by - 1], service);
}

/* The PoP whose node delivers a SYN that comes to PoP 2; 0: none. */
static int lands(struct fleet *f)
{
	uint64_t before[3];
	int at = 0;

	for (int i = 0; i < 3; i++)
		before[i] = f->counters[i][SC_C_delivered_gue];
	fleet_client(f, 2, 1, CLIENT, 1, SYN, 0);
	fleet_run(f, 100 * SC_MS);
	for (int i = 0; i < 3; i++)
		if (f->counters[i][SC_C_delivered_gue] != before[i])
			at = i + 1;
	return at;
}

TEST("a PoP without a ready backend says so of its services, and hands new connections to the nearest that serves them")
{
	static const struct { bool empty1, empty3, withheld1; int to; } cases[] = {
		{ false, false, false, 1 }, { true, false, false, 3 }, { false, false, true, 3 }, { true, true, false, 0 },
		{ false, true, true, 0 },
	};

	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fleet f;

		begin(&f, 2);
		say.empty[2] = true;
		say.empty[1] = cases[i].empty1;
		say.empty[3] = cases[i].empty3;
		say.flags[1] = cases[i].withheld1 ? SC_SERVICE_WITHHELD : 0;
		start(&f);
		for (uint16_t s = 0; s < 2; s++) {
			CHECK(unserved(&f, 1, 2, s) && unserved(&f, 3, 2, s));
			CHECK_EQ(unserved(&f, 2, 1, s), cases[i].empty1 || cases[i].withheld1);
			CHECK_EQ(unserved(&f, 2, 3, s), cases[i].empty3);
		}
		CHECK_EQ(lands(&f), cases[i].to);
		CHECK_EQ(f.counters[1][SC_C_spilled], cases[i].to != 0);
		CHECK_EQ(f.counters[1][SC_DROP_no_backend], cases[i].to == 0);
		fleet_stop(&f);
	}
}

TEST("a PoP is counted on while one of its nodes serves, whoever of them the flow's home is")
{
	struct fleet f;
	int landed = 0;

	memset(&say, 0, sizeof(say));
	say.services = 1;
	say.empty[2] = true;
	fleet_shape(&f, 2, 2, 2);
	f.change = change;
	start(&f);
	/* Node 1 of PoP 1 drains. */
	f.node[2]->peers[0].said.nservices = SC_REACH_SERVES_NONE;
	sc_reach_index(f.node[2]->g, &f.node[2]->peers[0]);
	f.node[3]->peers[0].said.nservices = SC_REACH_SERVES_NONE;
	sc_reach_index(f.node[3]->g, &f.node[3]->peers[0]);
	for (uint16_t port = 1; port <= 20; port++)
		landed += fleet_client(&f, 2, 1, CLIENT, port, SYN, 0) != 0;
	CHECK_EQ(landed, 20);
	fleet_stop(&f);
}

TEST("a PoP that serves again says so at once, and is counted on")
{
	struct fleet f;

	begin(&f, 1);
	say.empty[1] = say.empty[2] = true;
	start(&f);
	CHECK(unserved(&f, 2, 1, 0));
	/* Between two that are sent by the second. */
	fleet_run(&f, SC_S / 2);
	say.empty[1] = false;
	fleet_reload(&f);
	fleet_run(&f, 100 * SC_MS);
	CHECK(!unserved(&f, 2, 1, 0));
	CHECK_EQ(lands(&f), 1);
	fleet_stop(&f);
}

TEST("one REACH names several PoPs that a node does not hear and several services that it does not serve, each as itself")
{
	struct fleet f;

	begin(&f, 3);
	f.pops = f.n = 4;
	say.empty[1] = true;
	start(&f);
	fleet_stop_node(&f, 3, 1);
	fleet_stop_node(&f, 4, 1);
	fleet_run(&f, 5 * SC_S);
	CHECK_EQ(f.node[1]->peers[0].unreached, 1 << 2 | 1 << 3);
	for (uint16_t s = 0; s < 3; s++) {
		CHECK(unserved(&f, 2, 1, s));
		CHECK(!unserved(&f, 1, 2, s));
	}
	fleet_stop(&f);
}

/* A REACH of PoP 1 to PoP 2's node: only that PoP is not heard, only that service row not served. */
static void tell(struct fleet *f, uint64_t seq, uint16_t pop, uint16_t service)
{
	uint8_t body[SC_REACH_HEAD + 2 + 4] = { [1] = 1, [3] = 1 };

	sc_put16(body + SC_REACH_HEAD, pop);
	sc_put32(body + SC_REACH_HEAD + 2, f->node[1]->g->service_id[service]);
	CHECK_EQ(sc_reach_receive(f->node[1], &f->node[1]->peers[0], body, sizeof(body), seq), SC_OK);
}

/* SC_NO_ROW: it serves all. */
static void check_told(struct fleet *f, uint64_t unreached, uint16_t service)
{
	CHECK_EQ(f->node[1]->peers[0].unreached, unreached);
	for (uint16_t s = 0; s < 3; s++)
		CHECK_EQ(unserved(f, 2, 1, s), s == service);
}

TEST("a REACH that comes after a later one changes nothing, also at a reload; a new session has heard none of them")
{
	struct fleet f;
	uint64_t seq;

	begin(&f, 3);
	start(&f);
	seq = f.node[1]->peers[0].reach_seq + 10;
	tell(&f, seq, 3, 1);
	check_told(&f, 1 << 2, 1);
	tell(&f, seq - 1, 2, 2);
	check_told(&f, 1 << 2, 1);
	fleet_reload(&f);
	check_told(&f, 1 << 2, 1);
	tell(&f, seq + 1, 2, 2);
	check_told(&f, 1 << 1, 2);
	sc_reach_forget(&f.node[1]->peers[0]);
	check_told(&f, 0, SC_NO_ROW);
	fleet_reload(&f);
	check_told(&f, 0, SC_NO_ROW);
	tell(&f, 1, 3, 0);
	check_told(&f, 1 << 2, 0);
	fleet_stop(&f);
}

TEST("what a peer said outlives a reload that gives its services other rows")
{
	struct fleet f;

	begin(&f, 70);
	start(&f);
	for (uint16_t i = 0; i < 70; i++)
		CHECK(!unserved(&f, 2, 1, i));
	/* It serves port 80 no more, and ports 81 to 149. */
	f.node[1]->peers[0].said = (struct sc_reach){ .nservices = 1, .services = { f.node[1]->g->service_id[0] } };
	sc_reach_index(f.node[1]->g, &f.node[1]->peers[0]);
	for (uint16_t i = 0; i < 70; i++)
		CHECK_EQ(unserved(&f, 2, 1, i), i == 0);
	say.backwards = true;
	fleet_reload(&f);
	for (uint16_t i = 0; i < 70; i++)
		CHECK_EQ(unserved(&f, 2, 1, i), i == 69);
	fleet_stop(&f);
}

TEST("more services than a REACH can name are said to be none at all")
{
	for (uint16_t n = SC_REACH_SERVICES; n <= SC_REACH_SERVICES + 1; n++) {
		struct fleet f;

		begin(&f, n);
		say.empty[1] = true;
		start(&f);
		CHECK_EQ(f.node[1]->peers[0].said.nservices, n > SC_REACH_SERVICES ? SC_REACH_SERVES_NONE : n);
		for (uint16_t i = 0; i < n; i++)
			CHECK(unserved(&f, 2, 1, i) && !unserved(&f, 2, 3, i));
		CHECK_EQ(f.counters[1][SC_DROP_bad_message], 0);
		fleet_stop(&f);
	}
}

TEST("a node all of whose services are withheld drains, says so, and serves whom comes all the same")
{
	struct sc_node_view v;
	struct fleet f;

	begin(&f, 2);
	say.flags[1] = SC_SERVICE_WITHHELD;
	start(&f);
	sc_node_look(f.node[1], f.now_us, &v);
	CHECK(v.peers[0].draining && v.peers[0].told && v.peers[0].unserved[0] == 3);
	CHECK(!v.peers[1].draining && v.peers[1].told && v.peers[1].unserved[0] == 0);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0) >> 16 & 0xff, 1);
	CHECK(!v.peers[0].silent && !v.peers[1].silent);
	fleet_stop(&f);
}

TEST("a node that announces nothing says so, in its next HELLO, and is counted on all the same")
{
	struct sc_node_view v;
	struct fleet f;

	begin(&f, 2);
	say.empty[2] = true;
	say.flags[1] = SC_SERVICE_SILENT;
	start(&f);
	sc_node_look(f.node[1], f.now_us, &v);
	CHECK(v.peers[0].silent && !v.peers[0].draining && !v.peers[1].silent);
	CHECK_EQ(lands(&f), 1);
	say.flags[1] = 0;
	fleet_reload(&f);
	fleet_run(&f, SC_S + 100 * SC_MS);
	sc_node_look(f.node[1], f.now_us, &v);
	CHECK(!v.peers[0].silent);
	fleet_stop(&f);
}

TEST("a peer that has not told what it serves is counted on, and shown as one that has not")
{
	struct sc_node_view v;
	struct fleet f;

	begin(&f, 1);
	say.empty[2] = true;
	start(&f);
	sc_reach_forget(&f.node[1]->peers[0]);
	sc_node_look(f.node[1], f.now_us, &v);
	CHECK(!v.peers[0].told && v.peers[1].told);
	CHECK_EQ(lands(&f), 1);
	fleet_stop(&f);
}

CHECK_MAIN
