/* How long a flow is remembered: by state, by its service's timeouts, here and at other nodes, over hours of virtual
 * time. */
#include "check.h"
#include "fleet.h"
#include "state.h"

enum {
	CLIENT = 0xcb007101,
	SYN = SC_TCP_SYN,
	ACK = SC_TCP_ACK,
	FIN = SC_TCP_FIN | SC_TCP_ACK,
	RST = SC_TCP_RST,
};

#define FAR_STEP	(250 * SC_MS)	/* fleets with one node a PoP */
#define NEAR_STEP	(50 * SC_MS)

static struct sc_flow_entry *entry(struct fleet *f, int pop, int n, uint16_t port)
{
	return sc_flow_find(&f->node[fleet_index(f, pop, n)]->table, fleet_flow(CLIENT, port));
}

/* A client port whose flows have node n for home in PoP pop, when all are there. */
static uint16_t port_at_home(const struct fleet *f, int pop, int n, uint16_t from)
{
	const struct sc_node *node = f->node[fleet_index(f, pop, n)];

	while (sc_home(node, fleet_flow(CLIENT, from), node->g->own_pop) != node->g->self)
		from++;
	return from;
}

static void establish(struct fleet *f, int pop, int n, uint16_t port)
{
	fleet_client(f, pop, n, CLIENT, port, SYN, 0);
	fleet_client(f, pop, n, CLIENT, port, ACK, 0);
}

static uint64_t expired(const struct fleet *f)
{
	return f->counters[0][SC_C_flows_expired];
}

TEST("a half-open flow is remembered for its 65 s, and no longer")
{
	struct fleet f;

	fleet_start(&f, 1, 1, 2, 64);
	fleet_run(&f, 4 * SC_S);
	fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	fleet_run_in_steps(&f, 63 * SC_S, FAR_STEP);
	CHECK(sc_known(f.node[0], fleet_flow(CLIENT, 1)) != NULL);
	fleet_run_in_steps(&f, 6 * SC_S, FAR_STEP);
	CHECK(sc_known(f.node[0], fleet_flow(CLIENT, 1)) == NULL);
	CHECK_EQ(expired(&f), 1);
	fleet_stop(&f);
}

TEST("an established flow is remembered for three idle hours, and no longer")
{
	struct fleet f;
	uint32_t at;

	fleet_start(&f, 1, 1, 2, 64);
	fleet_run(&f, 4 * SC_S);
	establish(&f, 1, 1, 1);
	at = f.delivered_to;
	fleet_run_in_steps(&f, 10795 * SC_S, FAR_STEP);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0), at);
	CHECK_EQ(expired(&f), 0);
	fleet_run_in_steps(&f, 10900 * SC_S, FAR_STEP);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0), 0);
	CHECK_EQ(expired(&f), 1);
	fleet_stop(&f);
}

TEST("a flow lives on over the wrap of the 16-bit tick")
{
	struct fleet f;
	uint32_t at;

	fleet_start(&f, 1, 1, 2, 64);
	f.now_us = 65536ull * SC_TICK_US - 100 * SC_S;
	fleet_run(&f, 4 * SC_S);
	establish(&f, 1, 1, 1);
	at = f.delivered_to;
	for (int i = 0; i < 10; i++) {
		fleet_run_in_steps(&f, 1000 * SC_S, FAR_STEP);
		CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0), at);
	}
	fleet_run_in_steps(&f, 10900 * SC_S, FAR_STEP);
	CHECK_EQ(expired(&f), 1);
	fleet_stop(&f);
}

TEST("a flow that ended with a FIN is remembered for 60 s after its last packet")
{
	struct fleet f;
	uint32_t at;

	fleet_start(&f, 1, 1, 2, 64);
	fleet_run(&f, 4 * SC_S);
	establish(&f, 1, 1, 1);
	at = f.delivered_to;
	fleet_client(&f, 1, 1, CLIENT, 1, FIN, 0);
	for (int i = 0; i < 5; i++) {
		fleet_run_in_steps(&f, 50 * SC_S, FAR_STEP);
		CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0), at);
	}
	fleet_run_in_steps(&f, 64 * SC_S, FAR_STEP);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0), 0);
	fleet_stop(&f);
}

TEST("a RST does not end a flow at once: packets that follow it still find their backend")
{
	struct fleet f;
	uint32_t at;

	fleet_start(&f, 1, 1, 2, 64);
	fleet_run(&f, 4 * SC_S);
	establish(&f, 1, 1, 1);
	at = f.delivered_to;
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, RST, 0), at);
	for (int i = 0; i < 10; i++) {
		fleet_run_in_steps(&f, 55 * SC_S, FAR_STEP);
		CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0), at);
	}
	fleet_run_in_steps(&f, 64 * SC_S, FAR_STEP);
	CHECK_EQ(expired(&f), 0 + (uint64_t)(entry(&f, 1, 1, 1) == NULL));
	CHECK(sc_known(f.node[0], fleet_flow(CLIENT, 1)) == NULL);
	fleet_stop(&f);
}

TEST("a half-closed connection streams for hours, at its own PoP and from another")
{
	struct fleet f;
	uint32_t at;

	fleet_start(&f, 2, 1, 2, 64);
	fleet_run(&f, 5 * SC_S);
	establish(&f, 1, 1, 1);
	at = f.delivered_to;
	fleet_client(&f, 1, 1, CLIENT, 1, FIN, 0);
	for (int i = 0; i < 4 * 60; i++) {
		fleet_run_in_steps(&f, 60 * SC_S, FAR_STEP);
		CHECK_EQ(fleet_client(&f, 1 + i / 20 % 2, 1, CLIENT, 1, ACK, 100), at);
	}
	fleet_stop(&f);
}

static void with_timeouts(const struct fleet *f, struct plan *p, int pop, int self)
{
	(void)f;
	(void)pop;
	(void)self;
	p->h.services = 2;
	p->service[1] = p->service[0];
	p->service[1].port = 8080;
	p->service[1].half_open_s = 10;
	p->service[1].idle_s = 100;
	p->service[1].closing_s = 6;
}

static bool remembers(struct fleet *f, uint16_t dport)
{
	struct sc_addr src = ip4(CLIENT), vip = ip4(FLEET_VIP);

	return sc_known(f->node[0], sc_flow_id(&src, &vip, 9, dport, SC_PROTO_TCP, FLEET_SEED)) != NULL;
}

static void send_to(struct fleet *f, uint16_t dport, uint8_t flags)
{
	struct draft *d = malloc(sizeof(*d));

	draft_client(d, 4, SC_PROTO_TCP, CLIENT, FLEET_VIP, 9, dport, flags, 0);
	fleet_hand(f, 0, d->b, d->len);
	free(d);
}

TEST("each service has its own timeouts in each state")
{
	struct fleet f;

	fleet_shape(&f, 1, 1, 2);
	f.change = with_timeouts;
	fleet_begin(&f, 64);
	fleet_run(&f, 4 * SC_S);
	send_to(&f, 80, SYN);
	send_to(&f, 8080, SYN);
	fleet_run(&f, 8 * SC_S);
	CHECK(remembers(&f, 8080));
	fleet_run(&f, 6 * SC_S);
	CHECK(!remembers(&f, 8080));
	CHECK(remembers(&f, 80));

	send_to(&f, 80, ACK);
	send_to(&f, 8080, SYN);
	send_to(&f, 8080, ACK);
	fleet_run_in_steps(&f, 96 * SC_S, FAR_STEP);
	CHECK(remembers(&f, 8080));
	fleet_run_in_steps(&f, 8 * SC_S, FAR_STEP);
	CHECK(!remembers(&f, 8080));
	CHECK(remembers(&f, 80));

	send_to(&f, 8080, SYN);
	send_to(&f, 8080, FIN);
	send_to(&f, 80, FIN);
	fleet_run(&f, 4 * SC_S);
	CHECK(remembers(&f, 8080));
	fleet_run(&f, 6 * SC_S);
	CHECK(!remembers(&f, 8080));
	CHECK(remembers(&f, 80));
	fleet_stop(&f);
}

TEST("copies live for hours because their owner publishes again, and 15 minutes after the last time")
{
	struct fleet f;
	uint32_t at;

	fleet_start(&f, 2, 1, 2, 64);
	fleet_run(&f, 5 * SC_S);
	establish(&f, 1, 1, 1);
	at = f.delivered_to;
	fleet_run_in_steps(&f, 10000 * SC_S, FAR_STEP);
	CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, 1, ACK, 0), at);
	fleet_stop_node(&f, 1, 1);
	fleet_run_in_steps(&f, 550 * SC_S, FAR_STEP);
	CHECK(entry(&f, 2, 1, 1) != NULL);
	fleet_run_in_steps(&f, 450 * SC_S, FAR_STEP);
	CHECK(entry(&f, 2, 1, 1) == NULL);
	fleet_stop(&f);
}

TEST("the others hear that a flow has ended after, never before, its owner has forgotten it")
{
	struct fleet f;

	fleet_start(&f, 3, 1, 2, 64);
	fleet_run(&f, 5 * SC_S);
	establish(&f, 1, 1, 1);
	fleet_client(&f, 1, 1, CLIENT, 1, FIN, 0);
	for (int i = 0; i < 800; i++) {
		fleet_run_in_steps(&f, 250 * SC_MS, FAR_STEP);
		if (entry(&f, 1, 1, 1))
			CHECK(entry(&f, 2, 1, 1) && entry(&f, 3, 1, 1));
	}
	for (int pop = 1; pop <= 3; pop++)
		CHECK(entry(&f, pop, 1, 1) == NULL);
	fleet_stop(&f);
}

TEST("an ingress node trusts OWNER for 30 s and asks again then")
{
	struct fleet f;
	uint16_t port;
	uint64_t asked;
	uint32_t at;

	fleet_start(&f, 2, 2, 2, 256);
	fleet_run(&f, 5 * SC_S);
	port = port_at_home(&f, 2, 2, 1);
	establish(&f, 1, 1, port);
	at = f.delivered_to;
	fleet_run(&f, 100 * SC_MS);
	CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, port, ACK, 0), at);
	asked = f.counters[2][SC_C_asked];
	CHECK_EQ(asked, 1);
	CHECK(entry(&f, 2, 1, port) && entry(&f, 2, 1, port)->cached);
	for (int i = 0; i < 9; i++) {
		fleet_run_in_steps(&f, 3 * SC_S, NEAR_STEP);
		CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, port, ACK, 0), at);
	}
	CHECK_EQ(f.counters[2][SC_C_asked], asked);
	fleet_run_in_steps(&f, 5 * SC_S, NEAR_STEP);
	CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, port, ACK, 0), at);
	CHECK_EQ(f.counters[2][SC_C_asked], asked + 1);
	fleet_run_in_steps(&f, 40 * SC_S, NEAR_STEP);
	CHECK(sc_known(f.node[2], fleet_flow(CLIENT, port)) == NULL);
	fleet_stop(&f);
}

TEST("a connection that is quiet for a minute after its first packets is still known to its home")
{
	struct fleet f;
	uint16_t port;
	uint32_t at;

	fleet_start(&f, 1, 2, 2, 256);
	fleet_run(&f, 5 * SC_S);
	port = port_at_home(&f, 1, 2, 1);
	establish(&f, 1, 1, port);
	at = f.delivered_to;
	fleet_run(&f, 100 * SC_MS);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, port, ACK, 100), at);
	fleet_run_in_steps(&f, 75 * SC_S, NEAR_STEP);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, port, ACK, 100), at);
	fleet_stop(&f);
}

TEST("what passes a node of the PoP that is not the home keeps a closing flow for its whole time")
{
	struct fleet f;
	uint16_t port;
	uint32_t at;

	fleet_start(&f, 1, 2, 2, 256);
	fleet_run(&f, 5 * SC_S);
	port = port_at_home(&f, 1, 2, 1);
	establish(&f, 1, 1, port);
	at = f.delivered_to;
	fleet_client(&f, 1, 1, CLIENT, port, FIN, 0);
	for (int i = 0; i < 20; i++) {
		fleet_run_in_steps(&f, (i % 2 ? 26 : 56) * SC_S, NEAR_STEP);
		CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, port, ACK, 100), at);
	}
	fleet_stop(&f);
}

static void with_short_idle(const struct fleet *f, struct plan *p, int pop, int self)
{
	(void)f;
	(void)pop;
	(void)self;
	p->service[0].idle_s = 20;
}

TEST("what passes by hearsay keeps a flow of a short idle time")
{
	struct fleet f;
	uint16_t port;
	uint32_t at;

	fleet_shape(&f, 1, 2, 2);
	f.change = with_short_idle;
	fleet_begin(&f, 256);
	fleet_run(&f, 5 * SC_S);
	port = port_at_home(&f, 1, 2, 1);
	establish(&f, 1, 1, port);
	at = f.delivered_to;
	for (int i = 0; i < 20; i++) {
		fleet_run_in_steps(&f, 16 * SC_S, NEAR_STEP);
		CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, port, ACK, 100), at);
	}
	fleet_stop(&f);
}

TEST("the return of a peer does not make a streaming half-closed flow older than it is")
{
	struct fleet f;
	uint32_t at;

	fleet_start(&f, 2, 1, 2, 64);
	fleet_run(&f, 5 * SC_S);
	establish(&f, 1, 1, 1);
	at = f.delivered_to;
	fleet_client(&f, 1, 1, CLIENT, 1, FIN, 0);
	for (int i = 0; i < 60; i++) {
		if (i % 6 == 5) {	/* the path between the PoPs is gone for 5 s */
			f.lose = 1 << 30;
			fleet_run(&f, 5 * SC_S);
			f.lose = 0;
		} else {
			fleet_run_in_steps(&f, 30 * SC_S, FAR_STEP);
		}
		CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 100), at);
	}
	fleet_stop(&f);
}

TEST("a node's death does not end a half-closed connection that streams through its neighbour")
{
	struct fleet f;

	fleet_start(&f, 1, 2, 2, 4096);
	fleet_run(&f, 5 * SC_S);
	for (uint16_t port = 0; port < 40; port++) {
		establish(&f, 1, 1 + port % 2, port);
		fleet_client(&f, 1, 1 + port % 2, CLIENT, port, FIN, 0);
	}
	for (int i = 0; i < 8; i++) {
		fleet_run_in_steps(&f, 29 * SC_S, NEAR_STEP);
		for (uint16_t port = 0; port < 40; port++)
			CHECK(fleet_client(&f, 1, 1 + port % 2, CLIENT, port, ACK, 100) != 0);
	}
	fleet_stop_node(&f, 1, 1);
	fleet_run(&f, SC_S);
	for (int i = 0; i < 8; i++) {
		for (uint16_t port = 0; port < 40; port++)
			CHECK(fleet_client(&f, 1, 2, CLIENT, port, ACK, 100) != 0);
		fleet_run_in_steps(&f, 29 * SC_S, NEAR_STEP);
	}
	fleet_stop(&f);
}

TEST("a restart does not end a half-closed connection that streams")
{
	struct fleet f;
	uint32_t at;

	fleet_start(&f, 2, 1, 2, 64);
	fleet_run(&f, 5 * SC_S);
	establish(&f, 1, 1, 1);
	at = f.delivered_to;
	fleet_client(&f, 1, 1, CLIENT, 1, FIN, 0);
	for (int i = 0; i < 9; i++) {
		fleet_run_in_steps(&f, 29 * SC_S, FAR_STEP);
		CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 100), at);
	}
	fleet_stop_node(&f, 1, 1);
	fleet_run(&f, 2 * SC_S);
	fleet_start_node(&f, 1, 1, 0x9999, 64);
	fleet_run(&f, 6 * SC_S);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 100), at);
	fleet_stop(&f);
}

/* Nothing passes between the two nodes of PoP 1. */
static unsigned int split_pop(struct fleet *f, int to, const uint8_t *data, uint32_t len,
			      uint64_t delay_us[FLEET_COPIES])
{
	uint32_t src = sc_get32(data + 12), dst = sc_get32(data + 16);

	(void)f;
	(void)to;
	(void)len;
	(void)delay_us;
	return (src >> 16 & 0xff) == 1 && (dst >> 16 & 0xff) == 1 ? 0 : 1;
}

TEST("a node that is cut off from a flow's owner does not end it for everybody else")
{
	struct fleet f;
	uint16_t port;
	uint32_t at;

	fleet_start(&f, 2, 2, 2, 256);
	fleet_run(&f, 5 * SC_S);
	port = port_at_home(&f, 1, 1, 1);
	establish(&f, 1, 1, port);
	at = f.delivered_to;
	fleet_client(&f, 1, 1, CLIENT, port, FIN, 0);
	fleet_run(&f, SC_S);
	f.fate = split_pop;
	for (int i = 0; i < 40; i++) {
		fleet_run_in_steps(&f, 27 * SC_S, NEAR_STEP);
		CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, port, ACK, 100), at);
		CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, port, ACK, 100), at);
	}
	CHECK(entry(&f, 1, 2, port) == NULL);
	fleet_stop(&f);
}

TEST("a spoofed SYN changes neither the backend nor the lifetime of a living flow")
{
	struct fleet f;
	struct sc_flow_entry before;
	uint32_t at;

	fleet_start(&f, 1, 1, 2, 64);
	fleet_run(&f, 4 * SC_S);
	establish(&f, 1, 1, 1);
	at = f.delivered_to;
	before = *entry(&f, 1, 1, 1);
	for (int i = 0; i < 100; i++)
		CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0), at);
	CHECK_EQ(entry(&f, 1, 1, 1)->state, SC_FLOW_ESTABLISHED);
	CHECK_EQ(entry(&f, 1, 1, 1)->begun, before.begun);
	fleet_run_in_steps(&f, 10000 * SC_S, FAR_STEP);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0), at);
	CHECK_EQ(f.counters[0][SC_C_flows_new], 1);
	fleet_stop(&f);
}

TEST("a reused port begins a new life at the same backend")
{
	struct fleet f;
	uint32_t at;

	fleet_start(&f, 1, 1, 2, 64);
	fleet_run(&f, 4 * SC_S);
	establish(&f, 1, 1, 1);
	at = f.delivered_to;
	fleet_client(&f, 1, 1, CLIENT, 1, FIN, 0);
	fleet_run(&f, 20 * SC_S);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0), at);
	CHECK_EQ(entry(&f, 1, 1, 1)->state, SC_FLOW_HALF_OPEN);
	CHECK_EQ(sc_flow_age(entry(&f, 1, 1, 1), f.node[0]->tick), 0);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0), at);
	CHECK_EQ(entry(&f, 1, 1, 1)->state, SC_FLOW_ESTABLISHED);
	fleet_run_in_steps(&f, 10000 * SC_S, FAR_STEP);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0), at);
	fleet_stop(&f);
}

CHECK_MAIN
