/* RELAY and REACH: what a node cannot reach, a third PoP can. PoPs are cut from each other one way or both. */
#include "check.h"
#include "fleet.h"
#include "state.h"

enum { CLIENT = 0xcb007101, SYN = SC_TCP_SYN, ACK = SC_TCP_ACK };

static bool cut[8][8];		/* [from PoP][to PoP]: nothing passes */
static uint64_t latency_us[8];	/* of PoP p, one way */
static uint8_t versions[8];	/* of the nodes of PoP p, 0: the highest */

static unsigned int pass(struct fleet *f, int to, const uint8_t *data, uint32_t len, uint64_t delay_us[FLEET_COPIES])
{
	int from = sc_get32(data + 12) >> 16 & 0xff, pop = to / f->nodes_per_pop + 1;

	(void)len;
	if (from != pop)
		delay_us[0] = latency_us[from] + latency_us[pop];
	return cut[from][pop] ? 0 : 1;
}

static void speak(const struct fleet *f, int i, struct sc_node_options *o)
{
	o->wire_version = versions[i / f->nodes_per_pop + 1];
}

static void apart(int a, int b)
{
	cut[a][b] = cut[b][a] = true;
}

static void begin(struct fleet *f, int pops)
{
	memset(cut, 0, sizeof(cut));
	memset(latency_us, 0, sizeof(latency_us));
	fleet_shape(f, pops, 1, 2);
	f->fate = pass;
	f->options = speak;
	fleet_begin(f, 1024);
	fleet_run(f, 5 * SC_S);
}

static void end(struct fleet *f)
{
	for (int i = 0; i < f->n; i++)
		CHECK_EQ(fleet_unaccounted(f, i), 0);
	fleet_stop(f);
	memset(versions, 0, sizeof(versions));
}

/* A connection of PoP 1 that everyone has heard of. */
static uint32_t connect(struct fleet *f, uint16_t port)
{
	uint32_t at = fleet_client(f, 1, 1, CLIENT, port, SYN, 0);

	fleet_client(f, 1, 1, CLIENT, port, ACK, 0);
	fleet_run(f, SC_S);
	return at;
}

static uint64_t count(const struct fleet *f, int pop, int counter)
{
	return f->counters[pop - 1][counter];
}

TEST("a flow whose owner node is out of reach goes through a PoP that reaches it")
{
	struct fleet f;
	uint32_t at;

	begin(&f, 3);
	at = connect(&f, 1);
	apart(1, 3);
	fleet_run(&f, 5 * SC_S);
	CHECK_EQ(fleet_client(&f, 3, 1, CLIENT, 1, ACK, 10), at);
	CHECK_EQ(count(&f, 3, SC_C_relayed), 1);
	CHECK_EQ(count(&f, 2, SC_C_relay_received), 1);
	CHECK_EQ(count(&f, 2, SC_C_forwarded), 1);
	CHECK_EQ(count(&f, 1, SC_C_forward_received), 1);
	end(&f);
}

TEST("so does a flow that this PoP never heard of, because it began beyond the cut")
{
	struct fleet f;
	uint32_t at;

	begin(&f, 3);
	apart(1, 3);
	fleet_run(&f, 5 * SC_S);
	at = connect(&f, 1);
	CHECK_EQ(fleet_client(&f, 3, 1, CLIENT, 1, ACK, 10), at);
	CHECK_EQ(count(&f, 3, SC_C_relayed), 1);
	/* What the relay told is known here now, and relayed by name. */
	fleet_run(&f, 10 * SC_MS);
	CHECK(sc_flow_find(&f.node[2]->table, fleet_flow(CLIENT, 1)) != NULL);
	CHECK_EQ(fleet_client(&f, 3, 1, CLIENT, 1, ACK, 10), at);
	end(&f);
}

TEST("a packet is handed to a PoP that hears what this one lacks, not to a nearer one that does not")
{
	struct fleet f;
	uint32_t at;

	begin(&f, 4);
	at = connect(&f, 1);
	latency_us[4] = 50 * SC_MS;
	apart(1, 3);
	cut[1][2] = true;		/* one way: 2 is heard, and hears nothing */
	fleet_run(&f, 6 * SC_S);
	CHECK(f.node[2]->peers[1].unreached & 1);
	CHECK(!(f.node[2]->peers[3].unreached & 1));
	CHECK_EQ(fleet_client(&f, 3, 1, CLIENT, 1, ACK, 10), 0);
	fleet_run(&f, SC_S);
	CHECK_EQ(f.delivered_to, at);
	CHECK_EQ(count(&f, 4, SC_C_relay_received), 1);
	CHECK_EQ(count(&f, 2, SC_C_relay_received), 0);
	end(&f);
}

TEST("of two PoPs that reach it the nearer relays")
{
	struct fleet f;

	begin(&f, 4);
	connect(&f, 1);
	latency_us[2] = 30 * SC_MS;
	apart(1, 3);
	fleet_run(&f, 6 * SC_S);
	fleet_client(&f, 3, 1, CLIENT, 1, ACK, 10);
	fleet_run(&f, SC_S);
	CHECK_EQ(count(&f, 4, SC_C_relay_received), 1);
	CHECK_EQ(count(&f, 2, SC_C_relay_received), 0);
	end(&f);
}

TEST("where nobody reaches it the packet is dropped as unreachable, and healed it goes the straight way")
{
	struct fleet f;
	uint32_t at;

	begin(&f, 3);
	at = connect(&f, 1);
	apart(1, 3);
	apart(1, 2);
	fleet_run(&f, 5 * SC_S);
	CHECK_EQ(fleet_client(&f, 3, 1, CLIENT, 1, ACK, 10), 0);
	CHECK_EQ(count(&f, 3, SC_DROP_peer_unreachable), 1);
	memset(cut, 0, sizeof(cut));
	fleet_run(&f, 5 * SC_S);
	CHECK_EQ(fleet_client(&f, 3, 1, CLIENT, 1, ACK, 10), at);
	CHECK_EQ(count(&f, 3, SC_C_relayed), 0);
	end(&f);
}

TEST("nothing is relayed to a peer that speaks version 1, which is spoken to in it")
{
	struct fleet f;

	versions[2] = 1;
	begin(&f, 3);
	connect(&f, 1);
	CHECK_EQ(f.node[2]->peers[1].version, 1);
	CHECK_EQ(f.node[2]->peers[0].version, 2);
	apart(1, 3);
	fleet_run(&f, 5 * SC_S);
	CHECK_EQ(fleet_client(&f, 3, 1, CLIENT, 1, ACK, 10), 0);
	CHECK_EQ(count(&f, 3, SC_DROP_peer_unreachable), 1);
	CHECK_EQ(count(&f, 2, SC_C_reach_received), 0);
	CHECK_EQ(count(&f, 2, SC_DROP_unknown_version), 0);
	CHECK_EQ(count(&f, 2, SC_DROP_unknown_verb), 0);
	end(&f);
}

TEST("a flow that nobody knows is answered by whom it is relayed to only when that one is certain, twice")
{
	struct fleet f;

	begin(&f, 4);
	apart(1, 3);
	apart(2, 4);
	fleet_run(&f, 5 * SC_S);
	for (int i = 0; i < 4; i++) {
		CHECK_EQ(fleet_client(&f, 3, 1, CLIENT, 9, ACK, 10), 0);
		fleet_run(&f, SC_S);
	}
	CHECK_EQ(count(&f, 2, SC_DROP_relay_unknown) + count(&f, 4, SC_DROP_relay_unknown), 4);
	cut[2][4] = cut[4][2] = false;
	fleet_run(&f, 5 * SC_S);
	CHECK_EQ(fleet_client(&f, 3, 1, CLIENT, 9, ACK, 10), 0);
	fleet_run(&f, 3 * SC_S);
	CHECK_EQ(fleet_client(&f, 3, 1, CLIENT, 9, ACK, 10) >> 16, 0x0a02);
	CHECK_EQ(count(&f, 2, SC_C_certain_no), 1);
	CHECK_EQ(f.deliveries, 1);
	end(&f);
}

TEST("a dead connection is told also where its PoP has no ready backend: by the nearest that has")
{
	struct fleet f;

	begin(&f, 2);
	f.node[1]->g->pools[0].size = 0;
	fleet_client(&f, 2, 1, CLIENT, 9, ACK, 0);
	for (int i = 0; i < 2; i++) {
		fleet_run(&f, 3 * SC_S);
		CHECK_EQ(f.deliveries, 0);
		fleet_client(&f, 2, 1, CLIENT, 9, ACK, 0);
	}
	CHECK_EQ(f.delivered_to >> 16, 0x0a01);
	CHECK_EQ(count(&f, 2, SC_C_spilled), 2);
	end(&f);
}

TEST("a flood of what nobody knows crosses between PoPs up to the limit, and no more")
{
	struct fleet f;
	uint64_t flood = SC_RELAY_PER_S + 500;

	begin(&f, 3);
	apart(1, 3);
	fleet_run(&f, 5 * SC_S);
	for (uint64_t i = 0; i < flood; i++)
		fleet_client(&f, 3, 1, CLIENT + (uint32_t)i, 9, ACK, 0);
	CHECK_EQ(count(&f, 3, SC_C_relayed), SC_RELAY_PER_S);
	CHECK_EQ(count(&f, 3, SC_DROP_uncertain), 500);
	fleet_run(&f, SC_S);
	fleet_client(&f, 3, 1, CLIENT, 9, ACK, 0);
	CHECK_EQ(count(&f, 3, SC_C_relayed), SC_RELAY_PER_S + 1);
	end(&f);
}

TEST("while its own PoP's nodes fill, a node hands packets of flows that it does not know yet to one that has filled")
{
	struct fleet f;
	uint32_t at;

	begin(&f, 2);
	at = connect(&f, 1);
	latency_us[1] = 20 * SC_MS;
	fleet_run(&f, SC_S);
	fleet_stop_node(&f, 2, 1);
	fleet_start_node(&f, 2, 1, 77, 1024);
	fleet_run(&f, 60 * SC_MS);
	CHECK(!f.node[1]->filled && f.node[1]->peers[0].alive);
	fleet_client(&f, 2, 1, CLIENT, 1, ACK, 10);
	fleet_run(&f, 100 * SC_MS);
	CHECK_EQ(f.delivered_to, at);
	end(&f);
}

TEST("a spilled connection belongs to the PoP that took it, also when its own PoP asks again")
{
	struct fleet f;
	uint32_t at;

	begin(&f, 3);
	f.node[2]->g->pools[0].size = 0;
	latency_us[1] = 30 * SC_MS;
	fleet_run(&f, 3 * SC_S);
	at = fleet_client(&f, 3, 1, CLIENT, 1, SYN, 0);
	CHECK_EQ(at >> 16, 0x0a02);
	CHECK_EQ(fleet_client(&f, 3, 1, CLIENT, 1, SYN, 0), at);
	CHECK_EQ(fleet_client(&f, 3, 1, CLIENT, 1, ACK, 0), at);
	CHECK_EQ(count(&f, 2, SC_C_flows_new), 1);
	fleet_run(&f, SC_S);
	fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0);
	fleet_run(&f, SC_S);
	CHECK_EQ(f.delivered_to, at);
	end(&f);
}

TEST("new connections spill up to the limit")
{
	struct fleet f;

	begin(&f, 2);
	f.node[1]->g->pools[0].size = 0;
	for (uint32_t i = 0; i < SC_SPILL_PER_S + 100; i++)
		fleet_client(&f, 2, 1, CLIENT + i, 9, SYN, 0);
	CHECK_EQ(count(&f, 2, SC_C_spilled), SC_SPILL_PER_S);
	CHECK_EQ(count(&f, 2, SC_DROP_no_backend), 100);
	end(&f);
}

CHECK_MAIN
