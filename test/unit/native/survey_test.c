/* What survey.c counts of the flows that name each backend, when, and that a reload shows no half of it. */
#include "check.h"
#include "fleet.h"
#include "state.h"

enum { CLIENT = 0xcb007101, SYN = SC_TCP_SYN, ACK = SC_TCP_ACK, ENTRIES = 1 << 16 };

static void step(struct fleet *f)
{
	fleet_run_in_steps(f, 10 * SC_MS, 10 * SC_MS);
}

static uint64_t counted(const struct fleet *f, int node, enum sc_census what, int backend)
{
	const struct sc_node *n = f->node[node];

	return n->counts.flows[(uint32_t)what * n->g->h.backends + (uint32_t)backend];
}

static void connect_all(struct fleet *f, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		fleet_client(f, 1, 1, CLIENT, i, SYN, 0);
		fleet_client(f, 1, 1, CLIENT, i, ACK, 0);
	}
	fleet_run(f, 100 * SC_MS);
}

static void survey(struct fleet *f)
{
	for (int i = 0; i < f->n; i++)
		sc_node_survey(f->node[i]);
	fleet_run(f, 200 * SC_MS);
}

TEST("every flow of a PoP has one owner node among its nodes, and each node that holds a copy counts it too")
{
	struct fleet f;
	uint64_t owned = 0, flows = 0;

	fleet_start(&f, 2, 2, 1, 1024);
	fleet_run(&f, 5 * SC_S);
	connect_all(&f, 100);
	survey(&f);
	for (int i = 0; i < f.n; i++) {
		owned += counted(&f, i, SC_CENSUS_OWNED, 0);
		flows += counted(&f, i, SC_CENSUS_FLOWS, 0);
		CHECK(i < 2 || counted(&f, i, SC_CENSUS_OWNED, 0) == 0);
	}
	CHECK_EQ(owned, 100);
	/* Both nodes of PoP 1, and one of PoP 2. */
	CHECK_EQ(flows, 300);
	fleet_stop(&f);
}

TEST("the oldest flow has the age of its beginning, and those without a packet for half a minute are not active")
{
	struct fleet f;

	fleet_start(&f, 1, 1, 1, 1024);
	fleet_run(&f, 10 * SC_MS);
	connect_all(&f, 3);
	fleet_run_in_steps(&f, 40 * SC_S, 50 * SC_MS);
	fleet_client(&f, 1, 1, CLIENT, 0, ACK, 0);
	fleet_client(&f, 1, 1, CLIENT, 7, SYN, 0);
	survey(&f);
	CHECK_EQ(counted(&f, 0, SC_CENSUS_OWNED, 0), 4);
	CHECK_EQ(counted(&f, 0, SC_CENSUS_ACTIVE, 0), 2);
	CHECK_EQ(counted(&f, 0, SC_CENSUS_OLDEST_S, 0), 40);
	fleet_stop(&f);
}

TEST("a flow that has expired is counted no more, though no sweep has taken it away")
{
	struct fleet f;

	fleet_start(&f, 1, 1, 1, ENTRIES);
	fleet_run(&f, 10 * SC_MS);
	fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	survey(&f);
	CHECK_EQ(counted(&f, 0, SC_CENSUS_FLOWS, 0), 1);
	sc_flow_find(&f.node[0]->table, fleet_flow(CLIENT, 1))->seen -= 5000;
	survey(&f);
	CHECK_EQ(counted(&f, 0, SC_CENSUS_FLOWS, 0), 0);
	fleet_stop(&f);
}

TEST("a closing flow that was heard of alone, and is silent for longer than any closing flow lives, is not one to wait for, though its entry lives on")
{
	struct sc_flow_entry *e;
	struct fleet f;

	fleet_start(&f, 1, 1, 1, 1024);
	fleet_run(&f, 10 * SC_MS);
	connect_all(&f, 2);
	e = sc_flow_find(&f.node[0]->table, fleet_flow(CLIENT, 1));
	e->state = SC_FLOW_CLOSING;
	e->timeouts = 0;
	e->seen -= 58 / SC_TICK_S;
	survey(&f);
	CHECK_EQ(counted(&f, 0, SC_CENSUS_OWNED, 0), 2);
	e->seen -= 8 / SC_TICK_S;
	survey(&f);
	CHECK_EQ(counted(&f, 0, SC_CENSUS_OWNED, 0), 1);
	CHECK_EQ(counted(&f, 0, SC_CENSUS_FLOWS, 0), 2);
	CHECK(sc_known(f.node[0], fleet_flow(CLIENT, 1)) == e);
	fleet_stop(&f);
}

TEST("a survey passes over a large table in several calls, says when it began, and comes again within a minute")
{
	struct sc_node_view *view = malloc(sizeof(*view));
	struct fleet f;
	int calls = 0;

	fleet_start(&f, 1, 1, 1, ENTRIES);
	sc_node_look(f.node[0], f.now_us, view);
	CHECK_EQ(view->counted_ms, UINT32_MAX);
	fleet_run(&f, 10 * SC_S);
	sc_node_survey(f.node[0]);
	for (f.node[0]->survey.counted_us = 0; f.node[0]->survey.counted_us == 0; calls++)
		step(&f);
	CHECK_EQ(calls, (f.node[0]->table.mask + 1) / SC_SURVEY_BUCKETS);
	CHECK(calls > 1);
	sc_node_look(f.node[0], f.now_us, view);
	CHECK_EQ(view->counted_ms, 10 * (calls - 1));
	fleet_run_in_steps(&f, 61 * SC_S, 50 * SC_MS);
	sc_node_look(f.node[0], f.now_us, view);
	CHECK(view->counted_ms < 2000);
	free(view);
	fleet_stop(&f);
}

TEST("reloads that come faster than a survey of a large table ends do not keep it from ending")
{
	struct fleet f;
	int calls = 0;

	fleet_start(&f, 1, 1, 1, ENTRIES);
	fleet_run(&f, 10 * SC_MS);
	connect_all(&f, 300);
	sc_node_survey(f.node[0]);
	for (f.node[0]->survey.counted_us = 0; f.node[0]->survey.counted_us == 0; calls++) {
		REQUIRE(calls < 100);
		step(&f);
		fleet_reload(&f);
	}
	CHECK_EQ(counted(&f, 0, SC_CENSUS_OWNED, 0), 300);
	fleet_stop(&f);
}

static bool renamed;

static void rename_backend(const struct fleet *f, struct plan *p, int pop, int self)
{
	(void)f;
	(void)pop;
	(void)self;
	if (renamed)
		p->backend[1].id ^= 0x1000;
}

TEST("a reload with other backends in the midst of a survey shows no half of it")
{
	struct fleet f;
	uint64_t flows;

	renamed = false;
	fleet_shape(&f, 1, 1, 2);
	f.change = rename_backend;
	fleet_begin(&f, ENTRIES);
	fleet_run(&f, 10 * SC_MS);
	connect_all(&f, 300);
	survey(&f);
	flows = counted(&f, 0, SC_CENSUS_FLOWS, 0);
	REQUIRE(flows > 0 && flows < 300);
	sc_node_survey(f.node[0]);
	step(&f);
	REQUIRE(f.node[0]->survey.next > 0);
	renamed = true;
	fleet_reload(&f);
	CHECK_EQ(f.node[0]->survey.next, 0);
	for (int i = 0; i < 20; i++) {
		CHECK_EQ(counted(&f, 0, SC_CENSUS_FLOWS, 0), flows);
		CHECK_EQ(counted(&f, 0, SC_CENSUS_OWNED, 0), flows);
		step(&f);
	}
	fleet_stop(&f);
}

TEST("what comes from outside is told from what nodes hand on, and from the node's own connections")
{
	struct fleet f;

	fleet_start(&f, 1, 2, 1, 1024);
	fleet_run(&f, 5 * SC_S);
	for (uint16_t i = 0; i < 20; i++)
		fleet_client(&f, 1, 1, CLIENT, i, SYN, 0);
	fleet_client(&f, 1, 1, fleet_node_ip(1, 1), 1, SYN, 0);
	CHECK_EQ(f.counters[0][SC_C_ingress_packets], 20);
	CHECK_EQ(f.counters[1][SC_C_ingress_packets], 0);
	CHECK(f.counters[1][SC_C_ask_received] > 0);
	fleet_stop(&f);
}

CHECK_MAIN
