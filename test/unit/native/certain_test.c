/* When a node may say that nobody knows a flow: a certain "no" ends in the backend's RST, so that a wrong one kills a
 * living connection. */
#include "check.h"
#include "fleet.h"
#include "state.h"

enum { CLIENT = 0xcb007101, SYN = SC_TCP_SYN, ACK = SC_TCP_ACK };

#define NEAR_STEP	(50 * SC_MS)

static bool certain(const struct fleet *f, int pop, int n)
{
	return sc_certain(f->node[fleet_index(f, pop, n)], 0, &(uint64_t){ 0 });
}

static uint16_t port_at_home(const struct fleet *f, int pop, int n, uint16_t from)
{
	const struct sc_node *node = f->node[fleet_index(f, pop, n)];

	while (sc_home(node, fleet_flow(CLIENT, from), node->g->own_pop) != node->g->self)
		from++;
	return from;
}

static uint64_t certain_nos(const struct fleet *f)
{
	uint64_t n = 0;

	for (int i = 0; i < f->n; i++)
		n += f->dead[i] ? 0 : f->counters[i][SC_C_certain_no];
	return n;
}

/* Between which PoPs (1, 2, 3) nothing passes: bit a * 4 + b of f->random. */
static unsigned int cut(struct fleet *f, int to, const uint8_t *data, uint32_t len,
			uint64_t delay_us[FLEET_COPIES])
{
	int from = sc_get32(data + 12) >> 16 & 0xff;

	(void)len;
	(void)delay_us;
	return f->random >> (from * 4 + to / f->nodes_per_pop + 1) & 1 ? 0 : 1;
}

static uint64_t both_ways(int a, int b)
{
	return 1ull << (a * 4 + b) | 1ull << (b * 4 + a);
}

TEST("a node is certain of nothing before it has filled")
{
	struct fleet f;

	fleet_start(&f, 2, 1, 2, 64);
	CHECK(!certain(&f, 1, 1));
	f.dead[1] = true;
	fleet_run(&f, 2900 * SC_MS);
	CHECK(!f.node[0]->filled);
	fleet_run(&f, 200 * SC_MS);
	CHECK(f.node[0]->filled);
	CHECK(!certain(&f, 1, 1));
	f.dead[1] = false;
	fleet_run(&f, 2 * SC_S);
	CHECK(certain(&f, 1, 1));
	CHECK(certain(&f, 2, 1));
	fleet_stop(&f);
}

TEST("a node alone in its fleet is certain at once")
{
	struct fleet f;

	fleet_start(&f, 1, 1, 2, 64);
	fleet_run(&f, 2 * SC_MS);
	CHECK(certain(&f, 1, 1));
	fleet_stop(&f);
}

TEST("a configured peer that is down makes a node uncertain for 15 minutes, as long as copies live")
{
	struct fleet f;

	fleet_start(&f, 3, 1, 2, 64);
	fleet_run(&f, 5 * SC_S);
	CHECK(certain(&f, 1, 1));
	fleet_stop_node(&f, 3, 1);
	fleet_run_in_steps(&f, 4 * SC_S, NEAR_STEP);
	CHECK(!certain(&f, 1, 1));
	fleet_run_in_steps(&f, 890 * SC_S, NEAR_STEP);
	CHECK(!certain(&f, 1, 1));
	fleet_run_in_steps(&f, 20 * SC_S, NEAR_STEP);
	CHECK(certain(&f, 1, 1));
	fleet_stop(&f);
}

TEST("a peer that never was up counts as down since the node started")
{
	struct fleet f;

	fleet_start(&f, 2, 1, 2, 64);
	f.dead[1] = true;
	fleet_run_in_steps(&f, 895 * SC_S, NEAR_STEP);
	CHECK(!certain(&f, 1, 1));
	fleet_run_in_steps(&f, 15 * SC_S, NEAR_STEP);
	CHECK(certain(&f, 1, 1));
	fleet_stop(&f);
}

TEST("two noes less than 500 ms apart are one")
{
	struct fleet f;

	fleet_start(&f, 1, 1, 2, 64);
	fleet_run(&f, 2 * SC_MS);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0), 0);
	for (int i = 0; i < 49; i++) {
		fleet_run(&f, 10 * SC_MS);
		CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0), 0);
	}
	fleet_run(&f, 10 * SC_MS);
	CHECK(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0) != 0);
	CHECK_EQ(certain_nos(&f), 1);
	CHECK_EQ(f.node[0]->table.count[SC_FLOW_ESTABLISHED], 0);
	fleet_stop(&f);
}

TEST("a first no is forgotten after 10 s")
{
	struct fleet f;

	fleet_start(&f, 1, 1, 2, 64);
	fleet_run(&f, 2 * SC_MS);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0), 0);
	fleet_run(&f, 10100 * SC_MS);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0), 0);
	fleet_run(&f, 600 * SC_MS);
	CHECK(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0) != 0);
	fleet_stop(&f);
}

TEST("a lost batch makes its receiver uncertain until it has come")
{
	struct fleet f;

	fleet_start(&f, 2, 1, 2, 64);
	fleet_run(&f, 5 * SC_S);
	fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	f.lose = 1;
	fleet_run(&f, 4 * SC_MS);
	REQUIRE(f.lose == 0);
	f.node[0]->peers[1].hello_due_us = f.now_us;
	fleet_run(&f, 4 * SC_MS);
	CHECK(!certain(&f, 2, 1));
	fleet_run(&f, 400 * SC_MS);
	CHECK(certain(&f, 2, 1));
	CHECK(sc_known(f.node[1], fleet_flow(CLIENT, 1)) != NULL);
	fleet_stop(&f);
}

TEST("a node is certain only when it and all its live peers have filled")
{
	struct fleet f;

	fleet_start(&f, 3, 1, 2, 64);
	fleet_run(&f, 5 * SC_S);
	REQUIRE(certain(&f, 1, 1));
	f.node[0]->peers[2].peer_filled = false;
	CHECK(!certain(&f, 1, 1));
	f.node[0]->peers[2].peer_filled = true;
	f.node[0]->filled = false;
	CHECK(!certain(&f, 1, 1));
	fleet_stop(&f);
}

/* Every packet takes 100 ms; with f->lose set it is lost. */
static unsigned int slow(struct fleet *f, int to, const uint8_t *data, uint32_t len,
			 uint64_t delay_us[FLEET_COPIES])
{
	(void)f;
	(void)to;
	(void)data;
	(void)len;
	delay_us[0] = 100 * SC_MS;
	return 1;
}

/* A flow is begun at PoP 1 right after its node's HELLO left; nothing that leaves after
 * it arrives, so that PoP 2 holds all that it has been told of. Its client's packets
 * come to PoP 2 from then on. */
static void begin_unheard(bool slowly)
{
	struct fleet f;
	uint64_t due;

	fleet_shape(&f, 2, 1, 2);
	f.fate = slowly ? slow : NULL;
	fleet_begin(&f, 64);
	fleet_run(&f, 6 * SC_S);
	due = f.node[0]->peers[1].hello_due_us;
	for (int i = 0; i < 1000 && f.node[0]->peers[1].hello_due_us == due; i++)
		fleet_run(&f, 2 * SC_MS);
	CHECK(fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0) != 0);
	f.lose = 1 << 30;
	for (int i = 0; i < 45; i++) {
		CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, 1, ACK, 0), 0);
		fleet_run(&f, 20 * SC_MS);
	}
	CHECK(f.counters[1][SC_DROP_first_refusal] > 30);
	CHECK_EQ(certain_nos(&f), 0);
	fleet_stop(&f);
}

TEST("what a peer said before a flow was asked for does not make the second no certain")
{
	begin_unheard(false);
}

TEST("what a peer said before, and was heard after, does not either")
{
	begin_unheard(true);
}

TEST("a node whose walk is under way leaves its peer uncertain until the walk's last batch")
{
	struct fleet f;

	fleet_start(&f, 2, 1, 2, 1 << 15);
	fleet_run(&f, 5 * SC_S);
	for (uint16_t port = 0; port < 5000; port++) {
		fleet_client(&f, 1, 1, CLIENT, port, SYN, 0);
		if (port % 500 == 0)
			fleet_run(&f, 50 * SC_MS);
	}
	fleet_run(&f, SC_S);
	fleet_stop_node(&f, 2, 1);
	fleet_start_node(&f, 2, 1, 0x9999, 1 << 15);
	for (int i = 0; i < 4000 && !f.node[1]->filled; i++) {
		CHECK(!certain(&f, 2, 1));
		fleet_run(&f, 2 * SC_MS);
	}
	CHECK_EQ(f.node[1]->table.count[SC_FLOW_HALF_OPEN], 5000);
	fleet_run(&f, 3 * SC_S);
	CHECK(certain(&f, 2, 1));
	fleet_stop(&f);
}

TEST("a node that its peer thinks dead is uncertain, though it hears the peer")
{
	struct fleet f;

	fleet_start(&f, 2, 1, 2, 64);
	fleet_run(&f, 5 * SC_S);
	f.fate = cut;
	f.random = 1ull << (2 * 4 + 1);		/* nothing passes from PoP 2 to PoP 1 */
	fleet_run(&f, 5 * SC_S);
	fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	for (int i = 0; i < 100; i++) {
		fleet_run(&f, 200 * SC_MS);
		CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, 1, ACK, 0), 0);
		CHECK(!certain(&f, 2, 1));
	}
	f.random = 0;
	fleet_run(&f, 3 * SC_S);
	CHECK(certain(&f, 2, 1));
	CHECK(fleet_client(&f, 2, 1, CLIENT, 1, ACK, 0) != 0);
	CHECK_EQ(certain_nos(&f), 0);
	fleet_stop(&f);
}

TEST("a restart makes no neighbour certain about flows that only the restarted node held")
{
	struct fleet f;
	uint32_t at[40];
	uint16_t port = 0, ports[40];

	fleet_start(&f, 2, 2, 2, 1024);
	fleet_run(&f, 5 * SC_S);
	for (int i = 0; i < 40; i++) {
		port = port_at_home(&f, 2, 1, port + 1);
		ports[i] = port;
		at[i] = fleet_client(&f, 1, 1, CLIENT, port, SYN, 0);
		fleet_client(&f, 1, 1, CLIENT, port, ACK, 0);
	}
	fleet_run(&f, SC_S);
	fleet_stop_node(&f, 2, 1);
	fleet_run(&f, 500 * SC_MS);
	fleet_start_node(&f, 2, 1, 0x9999, 1024);
	for (int k = 0; k < 80; k++) {
		fleet_run(&f, 100 * SC_MS);
		for (int i = 0; i < 40; i++) {
			uint32_t got = fleet_client(&f, 2, 2, CLIENT, ports[i], ACK, 0);

			CHECK(got == 0 || got == at[i]);
		}
	}
	CHECK_EQ(certain_nos(&f), 0);
	for (int i = 0; i < 40; i++)
		CHECK_EQ(fleet_client(&f, 2, 2, CLIENT, ports[i], ACK, 0), at[i]);
	fleet_stop(&f);
}

TEST("what a node had not yet told when it restarted is told before anyone is certain")
{
	struct fleet f;
	uint32_t at;

	fleet_start(&f, 3, 1, 2, 1024);
	fleet_run(&f, 5 * SC_S);
	f.fate = cut;
	f.random = both_ways(1, 3);
	at = fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0);
	fleet_run(&f, 100 * SC_MS);
	CHECK(sc_known(f.node[1], fleet_flow(CLIENT, 1)) != NULL);
	CHECK(sc_known(f.node[2], fleet_flow(CLIENT, 1)) == NULL);
	fleet_stop_node(&f, 1, 1);
	f.random = 0;
	fleet_start_node(&f, 1, 1, 0x9999, 1024);
	for (int k = 0; k < 100; k++) {
		uint32_t got = fleet_client(&f, 3, 1, CLIENT, 1, ACK, 0);

		CHECK(got == 0 || got == at);
		fleet_run(&f, 100 * SC_MS);
	}
	CHECK_EQ(certain_nos(&f), 0);
	CHECK_EQ(fleet_client(&f, 3, 1, CLIENT, 1, ACK, 0), at);
	fleet_stop(&f);
}

TEST("a node is uncertain from the moment that its peer thinks it dead, not only once it thinks the same")
{
	struct fleet f;

	fleet_start(&f, 2, 1, 2, 64);
	fleet_run(&f, 5 * SC_S);
	f.fate = cut;
	f.random = 1ull << (2 * 4 + 1);		/* nothing passes from PoP 2 to PoP 1 */
	for (int i = 0; f.node[0]->peers[1].alive && i < 1000; i++)
		fleet_run(&f, 10 * SC_MS);
	CHECK(!f.node[0]->peers[1].alive);
	CHECK(f.node[1]->peers[0].alive);
	fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	for (int i = 0; i < 50; i++) {
		CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, 1, ACK, 0), 0);
		fleet_run(&f, 100 * SC_MS);
	}
	CHECK_EQ(certain_nos(&f), 0);
	fleet_stop(&f);
}

/* Nothing passes from PoP 2 to PoP 1, so that no batch is acknowledged. */
TEST("flows that wait behind a full window make their receiver uncertain")
{
	struct fleet f;

	fleet_start(&f, 2, 1, 2, 1 << 16);
	fleet_run(&f, 5 * SC_S);
	f.fate = cut;
	f.random = 1ull << (2 * 4 + 1);
	for (uint16_t i = 0; f.node[0]->peers[1].pub.sent < SC_PUBLISH_WINDOW && i < 0xf000; i++) {
		fleet_client(&f, 1, 1, CLIENT, i, SYN, 0);
		if (i % 64 == 63)
			fleet_run(&f, 4 * SC_MS);	/* in all more than a second: none is withheld */
	}
	CHECK_EQ(f.node[0]->counters[SC_C_publish_withheld], 0);
	CHECK_EQ(f.node[1]->peers[0].pub.taken, SC_PUBLISH_WINDOW);
	CHECK_EQ(f.node[0]->counters[SC_C_publish_overflow], 0);
	fleet_client(&f, 1, 1, CLIENT, 0xf000, SYN, 0);
	fleet_run(&f, 10 * SC_MS);
	CHECK(f.node[0]->peers[1].alive);
	f.node[0]->peers[1].hello_due_us = f.now_us;
	fleet_run(&f, 10 * SC_MS);
	CHECK(sc_known(f.node[1], fleet_flow(CLIENT, 0xf000)) == NULL);
	CHECK(!certain(&f, 2, 1));
	f.random = 0;
	fleet_run(&f, 3 * SC_S);
	CHECK(sc_known(f.node[1], fleet_flow(CLIENT, 0xf000)) != NULL);
	CHECK(certain(&f, 2, 1));
	fleet_stop(&f);
}

TEST("when a flow's home in another PoP dies, the next one there hears of the flow at once")
{
	struct fleet f;
	uint32_t at[40];

	fleet_start(&f, 2, 3, 2, 1024);
	fleet_run(&f, 5 * SC_S);
	for (uint16_t port = 0; port < 40; port++) {
		at[port] = fleet_client(&f, 1, 1, CLIENT, port, SYN, 0);
		fleet_client(&f, 1, 1, CLIENT, port, ACK, 0);
	}
	fleet_run(&f, SC_S);
	fleet_stop_node(&f, 2, 1);
	fleet_run(&f, 5 * SC_S);
	for (uint16_t port = 0; port < 40; port++)
		CHECK_EQ(fleet_client(&f, 2, 2, CLIENT, port, ACK, 0), at[port]);
	fleet_stop(&f);
}

TEST("ICMP errors about unknown flows never become a certain no")
{
	struct fleet f;
	struct draft *d = malloc(sizeof(*d)), *q = malloc(sizeof(*q));

	fleet_start(&f, 1, 1, 2, 64);
	fleet_run(&f, 2 * SC_MS);
	draft_client(q, 4, SC_PROTO_TCP, FLEET_VIP, CLIENT, 80, 1, ACK, 0);
	draft_ip4(d, SC_PROTO_ICMP, 0x08080808, FLEET_VIP, 0, 0);
	draft_icmp(d, 3, 1);
	memcpy(d->b + d->len, q->b, 28);
	d->len += 28;
	draft_done(d);
	for (int i = 0; i < 5; i++) {
		CHECK_EQ(fleet_arrive(&f, 1, 1, d->b, d->len), 0);
		fleet_run(&f, 600 * SC_MS);
	}
	CHECK_EQ(f.counters[0][SC_DROP_unknown_icmp], 5);
	free(d);
	free(q);
	fleet_stop(&f);
}

CHECK_MAIN
