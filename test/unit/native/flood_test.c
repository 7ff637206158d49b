/* Floods: more SYNs than may be published, more than the table holds, and ACKs of nobody's flows. */
#include "check.h"
#include "fleet.h"
#include "state.h"

enum { CLIENT = 0xcb007101, STRANGER = 0x0b000000, SYN = SC_TCP_SYN, ACK = SC_TCP_ACK };

static uint64_t count(const struct fleet *f, int i, int counter)
{
	return f->counters[i][counter];
}

static bool certain(const struct fleet *f, int i)
{
	uint64_t missing;

	return sc_certain(f->node[i], 0, &missing);
}

static uint32_t connect(struct fleet *f, uint16_t port)
{
	uint32_t at = fleet_client(f, 1, 1, CLIENT, port, SYN, 0);

	fleet_client(f, 1, 1, CLIENT, port, ACK, 0);
	fleet_run(f, 10 * SC_MS);
	return at;
}

static void flood(struct fleet *f, uint32_t from, uint32_t n, uint8_t flags)
{
	for (uint32_t i = 0; i < n; i++)
		fleet_client(f, 1, 1, STRANGER + from + i, 7, flags, 0);
}

TEST("of a flood of SYNs no more than the limit is published, and the others hear that this is so")
{
	struct fleet f;
	uint64_t before;
	uint32_t at;

	fleet_start(&f, 2, 1, 2, 1 << 18);
	fleet_run(&f, 5 * SC_S);
	at = connect(&f, 1);
	fleet_run(&f, SC_S);
	before = count(&f, 0, SC_C_publish_flows_sent);
	flood(&f, 0, SC_HALF_OPEN_PER_S + 2000, SYN);
	fleet_run(&f, 100 * SC_MS);
	CHECK_EQ(count(&f, 0, SC_C_publish_withheld), 2000);
	CHECK(count(&f, 0, SC_C_publish_flows_sent) - before <= SC_HALF_OPEN_PER_S);
	fleet_run(&f, SC_S);
	CHECK(f.node[1]->peers[0].withholds);
	CHECK(certain(&f, 0) && !certain(&f, 1));
	/* Who is past its handshake is published as ever. */
	fleet_client(&f, 1, 1, STRANGER + SC_HALF_OPEN_PER_S + 1000, 7, ACK, 0);
	fleet_run(&f, 10 * SC_MS);
	CHECK(sc_flow_find(&f.node[1]->table, fleet_flow(STRANGER + SC_HALF_OPEN_PER_S + 1000, 7)) != NULL);
	CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, 1, ACK, 0), at);
	/* A minute later nothing withheld can be half-open any more. */
	fleet_run_in_steps(&f, 70 * SC_S, 50 * SC_MS);
	CHECK(!f.node[1]->peers[0].withholds && certain(&f, 1));
	fleet_stop(&f);
}

TEST("a handshake that a flood kept from being published goes on when it is split, through the PoP that knows it")
{
	struct fleet f;
	uint32_t at;

	fleet_start(&f, 2, 1, 2, 1 << 18);
	fleet_run(&f, 5 * SC_S);
	flood(&f, 0, SC_HALF_OPEN_PER_S, SYN);
	at = fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	fleet_run(&f, 1100 * SC_MS);
	CHECK(sc_flow_find(&f.node[1]->table, fleet_flow(CLIENT, 1)) == NULL);
	CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, 1, ACK, 0), at);
	CHECK_EQ(count(&f, 1, SC_C_relayed), 1);
	fleet_stop(&f);
}

TEST("a flood larger than every table evicts no established flow, here or where it is published")
{
	struct fleet f;
	uint32_t at[200];

	fleet_start(&f, 2, 2, 2, 4096);
	fleet_run(&f, 5 * SC_S);
	for (uint16_t i = 0; i < 200; i++)
		at[i] = connect(&f, i);
	for (int round = 0; round < 10; round++) {
		flood(&f, (uint32_t)round << 16, 4000, SYN);
		fleet_run(&f, 200 * SC_MS);
	}
	for (uint16_t i = 0; i < 200; i++) {
		CHECK_EQ(fleet_client(&f, 1, 1 + i % 2, CLIENT, i, ACK, 0), at[i]);
		CHECK_EQ(fleet_client(&f, 2, 1 + i % 2, CLIENT, i, ACK, 0), at[i]);
	}
	for (int i = 0; i < f.n; i++) {
		CHECK_EQ(count(&f, i, SC_C_flows_evicted_idle), 0);
		CHECK_EQ(f.node[i]->forgot_us, 0);
		CHECK_EQ(fleet_unaccounted(&f, i), 0);
	}
	CHECK(count(&f, 0, SC_C_flows_evicted_half_open) > 0);
	fleet_stop(&f);
}

TEST("a handshake is as old as its SYN, also where its owner told of it: the oldest gives way, not the one under way")
{
	struct fleet f;
	const struct sc_flow_entry *old;

	fleet_start(&f, 2, 1, 2, 256);
	fleet_run(&f, 5 * SC_S);
	fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	fleet_run(&f, 10 * SC_S);
	/* PoP 2 begins anew and is told everything. */
	fleet_stop_node(&f, 2, 1);
	fleet_start_node(&f, 2, 1, 0x77, 256);
	fleet_run(&f, 2 * SC_S);
	old = sc_flow_find(&f.node[1]->table, fleet_flow(CLIENT, 1));
	CHECK(old != NULL && sc_flow_idle(old, f.node[1]->tick) >= 5);
	fleet_stop(&f);
}

TEST("a handshake that a flood drove out of a table is not taken for certain to be over, anywhere")
{
	struct fleet f;

	fleet_start(&f, 2, 1, 2, 64);
	fleet_run(&f, 5 * SC_S);
	fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	fleet_run(&f, 3 * SC_S);
	flood(&f, 0, 500, SYN);
	fleet_run(&f, SC_S);
	CHECK(sc_flow_find(&f.node[0]->table, fleet_flow(CLIENT, 1)) == NULL);
	CHECK(sc_flow_find(&f.node[1]->table, fleet_flow(CLIENT, 1)) == NULL);
	fleet_run(&f, SC_S);
	CHECK(f.node[1]->peers[0].withholds && !certain(&f, 1));
	fleet_run_in_steps(&f, 70 * SC_S, 50 * SC_MS);
	CHECK(certain(&f, 0) && certain(&f, 1));
	fleet_stop(&f);
}

static void small_second(const struct fleet *f, int i, struct sc_node_options *o)
{
	(void)f;
	if (i == 1)
		o->flow_entries = 16;
}

TEST("nor one that only another PoP's table had no room for")
{
	struct fleet f;

	fleet_shape(&f, 2, 1, 2);
	f.options = small_second;
	fleet_begin(&f, 1024);
	fleet_run(&f, 5 * SC_S);
	fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	fleet_run(&f, 3 * SC_S);
	flood(&f, 0, 100, SYN);
	fleet_run(&f, 3 * SC_S);
	CHECK(!f.node[1]->peers[0].withholds && certain(&f, 0));
	CHECK(sc_shed(f.node[1]) && !certain(&f, 1));
	fleet_client(&f, 2, 1, CLIENT, 1, ACK, 0);
	CHECK_EQ(f.delivered_to >> 16, 0x0a01);
	fleet_run_in_steps(&f, 70 * SC_S, 50 * SC_MS);
	CHECK(certain(&f, 1));
	fleet_stop(&f);
}

TEST("a flood of ACKs of nobody's flows crosses no PoP's border while this PoP is certain")
{
	struct fleet f;
	uint64_t to_backends;

	fleet_start(&f, 2, 1, 2, 4096);
	fleet_run(&f, 5 * SC_S);
	to_backends = f.deliveries;
	flood(&f, 0, 20000, ACK);
	CHECK_EQ(count(&f, 0, SC_DROP_first_refusal), 20000);
	CHECK_EQ(count(&f, 0, SC_C_relayed) + count(&f, 0, SC_C_forwarded), 0);
	CHECK_EQ(f.deliveries, to_backends);
	CHECK_EQ(f.node[0]->table.count[SC_FLOW_ESTABLISHED] + f.node[0]->table.count[SC_FLOW_HALF_OPEN], 0);
	fleet_stop(&f);
}

CHECK_MAIN
