/* Whom a node hands a packet that it can neither deliver nor forward: by what the others reach, by nearness, by limit.
 * And what REACH says and who hears it. Peers are described by hand; the node is PoP 1's. */
#include "check.h"
#include "fleet.h"
#include "state.h"

enum { CLIENT = 0xcb007101, POPS = 5, SYN = SC_TCP_SYN, ACK = SC_TCP_ACK };

/* The PoP and the backend of the last RELAY, 0: none. */
static int relayed_to;
static uint32_t relayed_backend;
static uint8_t reach[SC_REACH_HEAD + 2 * SC_MAX_POPS];
static unsigned int reaches, reaches_near;

static unsigned int listen(struct fleet *f, int to, const uint8_t *data, uint32_t len, uint64_t delay_us[FLEET_COPIES])
{
	const uint8_t *m = data + 28 + SC_GUE_LEN;

	(void)delay_us;
	if (!(data[28] & SC_GUE_CONTROL) && (m[0] & 15) == SC_VERB_RELAY) {
		relayed_to = to / f->nodes_per_pop + 1;
		relayed_backend = sc_get32(m + 4);
		return 0;
	}
	if (data[28] & SC_GUE_CONTROL && (m[0] & 15) == SC_VERB_REACH && sc_get32(data + 12) == fleet_node_ip(1, 1)) {
		if (to == 1 && f->nodes_per_pop > 1) {
			reaches_near++;
		} else {
			reaches++;
			memcpy(reach, m + SC_CONTROL_LEN, len - 28 - SC_GUE_LEN - SC_CONTROL_LEN);
		}
	}
	return 1;
}

static void begin(struct fleet *f)
{
	fleet_shape(f, POPS, 1, 1);
	f->fate = listen;
	fleet_begin(f, 256);
	fleet_run(f, 5 * SC_S);
	for (int i = 1; i < POPS; i++) {
		f->node[0]->peers[i].rtt_us = 50 * SC_MS;
		f->node[0]->peers[i].unreached = 0;
	}
}

/* PoP's node as this one sees it. */
static struct sc_peer *pop(struct fleet *f, int p)
{
	return &f->node[0]->peers[p - 1];
}

static uint64_t pops(int a, int b, int c)
{
	return (a ? 1ull << (a - 1) : 0) | (b ? 1ull << (b - 1) : 0) | (c ? 1ull << (c - 1) : 0);
}

/* A packet of an unknown flow; or of one of PoP p's backend. */
static int hand_unknown(struct fleet *f)
{
	relayed_to = 0;
	fleet_client(f, 1, 1, CLIENT, 1, ACK, 0);
	return relayed_to;
}

static int hand_known(struct fleet *f, int p)
{
	struct sc_flow_entry gone;
	enum sc_eviction evicted;

	relayed_to = 0;
	sc_flow_insert(&f->node[0]->table, fleet_flow(CLIENT, 9), fleet_backend_id(p, 1), SC_FLOW_ESTABLISHED, f->node[0]->tick,
		       &evicted, &gone);
	fleet_client(f, 1, 1, CLIENT, 9, ACK, 0);
	sc_flow_remove(&f->node[0]->table, sc_flow_find(&f->node[0]->table, fleet_flow(CLIENT, 9)));
	return relayed_to;
}

TEST("what is known goes to the nearest PoP that reaches the owner's, with the backend's name, and never to the owner's own")
{
	struct fleet f;

	begin(&f);
	pop(&f, 2)->alive = false;
	pop(&f, 4)->rtt_us = 30 * SC_MS;
	CHECK_EQ(hand_known(&f, 2), 4);
	CHECK_EQ(relayed_backend, fleet_backend_id(2, 1));
	pop(&f, 4)->unreached = pops(2, 0, 0);
	CHECK_EQ(hand_known(&f, 2), 3);
	pop(&f, 4)->unreached = pops(3, 5, 0);
	CHECK_EQ(hand_known(&f, 2), 4);
	/* Who has not measured is far. */
	pop(&f, 4)->rtt_us = 0;
	CHECK_EQ(hand_known(&f, 2), 3);
	/* Who fills, is dead, or speaks version 1 is no help. */
	pop(&f, 3)->peer_filled = false;
	CHECK_EQ(hand_known(&f, 2), 5);
	pop(&f, 5)->version = 1;
	CHECK_EQ(hand_known(&f, 2), 4);
	pop(&f, 4)->alive = false;
	CHECK_EQ(hand_known(&f, 2), 0);
	CHECK_EQ(f.counters[0][SC_DROP_peer_unreachable], 1);
	CHECK_EQ(f.counters[0][SC_C_relayed], 6);
	fleet_stop(&f);
}

TEST("what is unknown goes to the PoP that reaches most of those whose word is missing, at least one; of equals to the nearest")
{
	struct fleet f;

	begin(&f);
	/* The word of 2 and 3 is missing, though both are alive. */
	pop(&f, 2)->pub.said_walk_done = pop(&f, 3)->pub.said_walk_done = false;
	pop(&f, 4)->rtt_us = 10 * SC_MS;
	pop(&f, 5)->rtt_us = 20 * SC_MS;
	pop(&f, 4)->unreached = pops(2, 0, 0);
	pop(&f, 2)->unreached = pop(&f, 3)->unreached = pops(2, 3, 0);	/* each but itself */
	CHECK_EQ(hand_unknown(&f), 5);
	CHECK_EQ(relayed_backend, 0);
	pop(&f, 5)->unreached = pops(2, 3, 0);
	CHECK_EQ(hand_unknown(&f), 4);
	pop(&f, 4)->unreached = pops(2, 3, 0);
	/* Now only they themselves know their own. */
	pop(&f, 3)->rtt_us = 40 * SC_MS;
	CHECK_EQ(hand_unknown(&f), 3);
	pop(&f, 3)->rtt_us = 60 * SC_MS;
	CHECK_EQ(hand_unknown(&f), 2);
	/* More is better than near, in whatever order they are looked at. */
	pop(&f, 2)->unreached = pops(3, 0, 0);
	pop(&f, 5)->unreached = 0;
	pop(&f, 5)->rtt_us = SC_S;
	CHECK_EQ(hand_unknown(&f), 5);
	pop(&f, 5)->unreached = pops(2, 3, 0);
	pop(&f, 2)->unreached = 0;
	pop(&f, 2)->rtt_us = 2 * SC_S;
	CHECK_EQ(hand_unknown(&f), 2);
	/* Nobody: those that are left reach none of the two. */
	pop(&f, 2)->alive = pop(&f, 3)->alive = false;
	CHECK_EQ(hand_unknown(&f), 0);
	CHECK_EQ(f.counters[0][SC_DROP_uncertain], 1);
	fleet_stop(&f);
}

TEST("a node that lacks its own PoP's word hands a packet to the nearest PoP, whatever that reaches")
{
	struct fleet f;

	begin(&f);
	f.node[0]->forgot_us = f.now_us;
	pop(&f, 4)->rtt_us = 10 * SC_MS;
	pop(&f, 4)->unreached = pops(1, 2, 3);
	CHECK_EQ(hand_unknown(&f), 4);
	fleet_stop(&f);

	/* A sibling that has not told all. */
	fleet_shape(&f, 3, 2, 1);
	f.fate = listen;
	fleet_begin(&f, 256);
	fleet_run(&f, 5 * SC_S);
	f.node[0]->peers[1].pub.said_walk_done = false;
	f.node[0]->peers[1].peer_filled = false;	/* so that node 1 is the home */
	for (int i = 2; i < 6; i++) {
		f.node[0]->peers[i].unreached = 1;
		f.node[0]->peers[i].rtt_us = (uint32_t)(i < 4 ? 50 : 10) * SC_MS;
	}
	CHECK_EQ(hand_unknown(&f), 3);
	fleet_stop(&f);
}

TEST("what spills goes to the nearest PoP that has a ready backend")
{
	struct fleet f;

	begin(&f);
	f.node[0]->g->pools[0].size = 0;
	f.node[0]->g->pool_pops[0] = pops(1, 3, 5);
	pop(&f, 2)->rtt_us = SC_MS;
	pop(&f, 3)->rtt_us = 20 * SC_MS;
	pop(&f, 5)->rtt_us = 10 * SC_MS;
	pop(&f, 5)->unreached = ~0ull;		/* it is not asked to reach anyone */
	relayed_to = 0;
	fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	CHECK_EQ(relayed_to, 5);
	CHECK_EQ(relayed_backend, 0);
	pop(&f, 5)->alive = false;
	fleet_client(&f, 1, 1, CLIENT, 2, SYN, 0);
	CHECK_EQ(relayed_to, 3);
	pop(&f, 3)->alive = false;
	fleet_client(&f, 1, 1, CLIENT, 3, SYN, 0);
	CHECK_EQ(f.counters[0][SC_DROP_no_backend], 1);
	CHECK_EQ(f.counters[0][SC_C_spilled], 2);
	fleet_stop(&f);
}

TEST("what is relayed and what is spilled have a limit each, anew every second")
{
	struct fleet f;

	begin(&f);
	f.node[0]->forgot_us = f.now_us;
	f.node[0]->g->pools[0].size = 0;
	f.node[0]->relay = (struct sc_rate){ .since_us = f.now_us, .used = 8192 };
	CHECK_EQ(hand_unknown(&f), 0);
	relayed_to = 0;
	fleet_client(&f, 1, 1, CLIENT, 2, SYN, 0);
	CHECK(relayed_to != 0);
	f.node[0]->spill = (struct sc_rate){ .since_us = f.now_us, .used = 16384 };
	relayed_to = 0;
	fleet_client(&f, 1, 1, CLIENT, 3, SYN, 0);
	CHECK_EQ(relayed_to, 0);
	f.now_us += SC_S - 1;
	CHECK_EQ(hand_unknown(&f), 0);
	f.now_us++;
	CHECK(hand_unknown(&f) != 0);
	CHECK_EQ(f.node[0]->relay.used, 1);
	f.node[0]->relay.used = 8191;
	CHECK(hand_unknown(&f) != 0);
	CHECK_EQ(hand_unknown(&f), 0);
	fleet_stop(&f);
}

TEST("REACH names the PoPs of which nobody is heard, once a second, to other PoPs' nodes that speak version 2")
{
	struct fleet f;

	fleet_shape(&f, 3, 2, 1);
	f.fate = listen;
	fleet_begin(&f, 256);
	fleet_run(&f, 5 * SC_S);
	reaches = reaches_near = 0;
	fleet_run(&f, 10 * SC_S);
	CHECK(reaches >= 4 * 10 && reaches <= 4 * 11);
	CHECK_EQ(reaches_near, 0);
	CHECK_EQ(sc_get16(reach), 0);
	/* One of two nodes is enough. */
	f.node[0]->peers[4].alive = false;
	sc_reach_changed(f.node[0]);
	fleet_run(&f, SC_TIMER_US);
	CHECK_EQ(sc_get16(reach), 0);
	f.node[0]->peers[5].alive = false;
	f.node[0]->peers[3].version = 1;
	sc_reach_changed(f.node[0]);
	reaches = 0;
	fleet_run(&f, SC_TIMER_US);
	CHECK_EQ(sc_get16(reach), 1);
	CHECK_EQ(sc_get16(reach + SC_REACH_HEAD), 3);
	CHECK_EQ(reaches, 1);	/* PoP 2's node 1; its node 2 speaks version 1, PoP 3's are dead */
	fleet_stop(&f);
	/* A node alone in its PoP hears its own. */
	fleet_shape(&f, 2, 1, 1);
	f.fate = listen;
	fleet_begin(&f, 256);
	fleet_run(&f, 5 * SC_S);
	CHECK_EQ(sc_get16(reach), 0);
	fleet_stop(&f);
}

CHECK_MAIN
