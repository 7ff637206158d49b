/* explain.c against the data path itself: whatever a node of a running fleet is given, a copy of it says
 * beforehand what will happen, and the node is as it was. */
#include "check.h"
#include "explain.h"
#include "fleet.h"

enum { CLIENT = 0xcb007101, SYN = SC_TCP_SYN, ACK = SC_TCP_ACK, FLOWS = 40, ROUNDS = 1500 };

static uint64_t rnd;
static unsigned int compared, dropped, left_node;

static uint32_t below(uint32_t n)
{
	return (uint32_t)(check_random(&rnd) % n);
}

struct told {
	struct sc_explanation e;
	struct sc_out out;
	uint8_t data[SC_OUT_MAX][2048];
	uint32_t len[SC_OUT_MAX];
	unsigned int n;
};

/* Control messages carry what waits for other peers' batches: they are no part of the answer. */
static bool is_control(const struct sc_packet *p)
{
	return p->egress == SC_EGRESS_WIRE && p->len > 32 && p->data[0] == 0x45 && p->data[9] == SC_PROTO_UDP &&
	       sc_get16(p->data + 22) == SC_GUE_PORT && p->data[28] & SC_GUE_CONTROL;
}

static void keep(struct told *t)
{
	t->n = 0;
	for (unsigned int i = 0; i < t->out.n; i++) {
		const struct sc_packet *p = &t->out.p[i];

		if (is_control(p))
			continue;
		REQUIRE(p->len <= sizeof(t->data[0]));
		memcpy(t->data[t->n], p->data, p->len);
		t->len[t->n++] = p->len;
	}
}

static void ask(struct fleet *f, int i, const uint8_t *data, uint32_t len, struct told *t)
{
	struct sc_node_options o = { .boot_id = 1, .flow_entries = 1 };
	struct sc_generation *g = fleet_generation(f, i / f->nodes_per_pop + 1, i % f->nodes_per_pop + 1);
	uint64_t *counters = calloc(sc_counter_slots(g), sizeof(uint64_t)), flow;
	struct exact e = exact_copy(data, len);
	struct sc_node *copy, before = *f->node[i];

	REQUIRE(sc_node_new(&o, g, counters, &copy) == 0);
	sc_explain_flow(copy, &e.p, &flow);
	sc_explain_copy(f->node[i], copy, flow, f->now_us);
	sc_explain(copy, &e.p, f->now_us, &t->out, &t->e);
	keep(t);
	CHECK(memcmp(&before, f->node[i], sizeof(before)) == 0);
	exact_free(&e);
	sc_node_free(copy);
	free(counters);
}

static void hand(struct fleet *f, int i, const uint8_t *data, uint32_t len)
{
	struct exact e = exact_copy(data, len);
	struct told *t = malloc(sizeof(*t));
	struct sc_out *out = malloc(sizeof(*out));
	uint64_t before[SC_COUNTER_COUNT];
	unsigned int n = 0;

	if (f->dead[i])
		goto done;
	ask(f, i, data, len, t);
	memcpy(before, f->counters[i], sizeof(before));
	sc_forward(f->node[i], &e.p, 1, f->now_us, out);
	CHECK(t->e.reason == SC_OK || t->e.counted[t->e.reason] == 1);
	/* A batch for a peer may be full with what waited before. */
	for (int c = 0; c < SC_COUNTER_COUNT; c++)
		if (c < SC_C_publish_flows_sent || c > SC_C_publish_overflow)
			CHECK_EQ(f->counters[i][c] - before[c], t->e.counted[c]);
	for (unsigned int k = 0; k < out->n; k++) {
		if (is_control(&out->p[k]))
			continue;
		REQUIRE(n < t->n);
		CHECK_EQ(out->p[k].len, t->len[n]);
		CHECK(memcmp(out->p[k].data, t->data[n], t->len[n]) == 0);
		n++;
	}
	CHECK_EQ(n, t->n);
	compared++;
	dropped += t->e.reason != SC_OK;
	left_node += n > 0;
	fleet_carry(f, out);
done:
	free(out);
	free(t);
	exact_free(&e);
}

/* Instead of the network: the packet is explained on its way in. */
static unsigned int explained(struct fleet *f, int to, const uint8_t *data, uint32_t len, uint64_t delay_us[FLEET_COPIES])
{
	struct sc_packet p = { .data = (uint8_t *)data, .len = len };

	(void)delay_us;
	if (is_control(&p))
		return 1;
	hand(f, to, data, len);
	return 0;
}

static void client(struct fleet *f, int i)
{
	static const uint8_t flags[] = { SYN, ACK, ACK, ACK, ACK, ACK | SC_TCP_FIN, SC_TCP_RST };
	uint32_t payload = below(20) ? below(100) : 1440;
	uint8_t b[SC_PACKET_MAX];
	uint32_t len;

	len = client_tcp(b, CLIENT, (uint16_t)(1000 + below(FLOWS)), flags[below(sizeof(flags))], payload);
	hand(f, i, b, len);
}

TEST("what a copy says of a packet is what the node then does with it, and asking changes nothing")
{
	struct fleet f;

	rnd = check_seed();
	compared = dropped = left_node = 0;
	fleet_shape(&f, 2, 2, 3);
	f.fate = explained;
	fleet_begin(&f, 1024);
	fleet_run(&f, 5 * SC_S);
	for (int round = 0; round < ROUNDS; round++) {
		client(&f, (int)below(4));
		if (below(8) == 0)
			fleet_run(&f, below(40) * 10 * SC_MS);
		if (round == ROUNDS / 3)
			fleet_stop_node(&f, 2, 1);
		if (round == ROUNDS / 2)
			fleet_start_node(&f, 2, 1, 77, 1024);
	}
	CHECK(compared > ROUNDS);
	CHECK(dropped > 50);
	CHECK(left_node > ROUNDS / 2);
	fleet_stop(&f);
}

enum { OWN_SLOTS = 7 };

/* The service has a Maglev table of its own, in which the PoP's last backend has every slot. */
static void own_table(const struct fleet *f, struct plan *p, int pop, int self)
{
	(void)self;
	p->h.pools = 2;
	p->h.slots = FLEET_SLOTS + OWN_SLOTS;
	p->pool[1] = (struct sc_pool_row){ .first = FLEET_SLOTS, .size = OWN_SLOTS };
	p->service[0].table = 1;
	for (int i = 0; i < OWN_SLOTS; i++)
		p->slot[FLEET_SLOTS + i] = (uint16_t)(pop * f->backends_per_pop - 1);
}

TEST("an explanation names the flow's home, its Maglev slot, its entry and what leaves")
{
	struct fleet f;
	struct told *t = malloc(sizeof(*t));
	uint8_t b[SC_PACKET_MAX];
	uint32_t len;
	uint64_t flow = fleet_flow(CLIENT, 1234);

	fleet_shape(&f, 2, 1, 2);
	f.change = own_table;
	fleet_begin(&f, 1024);
	fleet_run(&f, 5 * SC_S);
	len = client_tcp(b, CLIENT, 1234, SYN, 0);
	ask(&f, 0, b, len, t);
	CHECK_EQ(t->e.reason, SC_OK);
	CHECK(t->e.matched);
	CHECK_EQ(t->e.flow, flow);
	CHECK_EQ(t->e.home[0], 0);
	CHECK_EQ(t->e.home[1], 1);
	CHECK_EQ(t->e.slots, OWN_SLOTS);
	CHECK_EQ(t->e.slot, sc_maglev_slot(flow, OWN_SLOTS));
	CHECK_EQ(t->e.choice, 1);
	CHECK_EQ(t->e.after.backend, fleet_backend_id(1, 2));
	CHECK(!t->e.before.known);
	CHECK(t->e.after.known);
	CHECK_EQ(t->e.after.state, SC_FLOW_HALF_OPEN);
	CHECK_EQ(t->e.counted[SC_C_flows_new], 1);
	CHECK_EQ(t->e.counted[SC_C_delivered_gue], 1);
	CHECK_EQ(t->e.nout, 1);
	CHECK(t->e.out[0].gue);
	CHECK_EQ(t->e.out[0].verb, 0);
	CHECK_EQ(t->e.out[0].inner_len, 40);
	/* It lives at PoP 1: PoP 2 forwards it to there. */
	fleet_hand(&f, 0, b, len);
	fleet_client(&f, 1, 1, CLIENT, 1234, ACK, 0);
	fleet_run(&f, 10 * SC_S);
	len = client_tcp(b, CLIENT, 1234, ACK, 100);
	ask(&f, 1, b, len, t);
	CHECK(t->e.before.known);
	CHECK_EQ(t->e.before.state, SC_FLOW_ESTABLISHED);
	CHECK_EQ(t->e.before.owner, 0);
	CHECK(t->e.before.age_s >= 8 && t->e.before.age_s <= 12);
	CHECK_EQ(t->e.counted[SC_C_misrouted_home], 1);
	CHECK_EQ(t->e.out[0].verb, SC_VERB_FORWARD);
	CHECK_EQ(t->e.out[0].key, FLEET_KEY_ID);
	CHECK_EQ(t->e.out[0].backend, t->e.before.backend);
	/* At home a packet has just passed. */
	fleet_client(&f, 1, 1, CLIENT, 1234, ACK, 0);
	ask(&f, 0, b, len, t);
	CHECK(t->e.before.age_s >= 8);
	CHECK_EQ(t->e.before.idle_s, 0);
	fleet_stop(&f);
	free(t);
}

TEST("a node that was told to take all for well answers as one of a healthy fleet")
{
	struct fleet f;
	struct told *t = malloc(sizeof(*t));
	uint8_t b[SC_PACKET_MAX];
	uint32_t len;
	struct exact e;

	fleet_start(&f, 3, 2, 2, 1024);
	sc_explain_assume(f.node[0], f.now_us);
	for (uint16_t port = 1; port < 50; port++) {
			len = client_tcp(b, CLIENT, port, port & 1 ? SYN : ACK, 0);
		e = exact_copy(b, len);
		sc_explain(f.node[0], &e.p, f.now_us, &t->out, &t->e);
		CHECK(t->e.certain);
		if (t->e.home[0] != 0)
			CHECK_EQ(t->e.counted[SC_C_asked], 1);
		else if (port & 1)
			CHECK_EQ(t->e.counted[SC_C_delivered_gue], 1);
		else
			CHECK_EQ(t->e.reason, SC_DROP_first_refusal);
		exact_free(&e);
	}
	fleet_stop(&f);
	free(t);
}

CHECK_MAIN
