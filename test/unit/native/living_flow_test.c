/* Regressions: sequences in which a living flow once lost its backend to an older, a
 * forged or a forgetful claim. One test a bug. */
#include "check.h"
#include "fleet.h"
#include "state.h"

enum {
	CLIENT = 0xcb007101,
	SYN = SC_TCP_SYN,
	ACK = SC_TCP_ACK,
};

/* Between which node indices nothing passes: bit from * 8 + to of f->random. */
static unsigned int cut(struct fleet *f, int to, const uint8_t *data, uint32_t len,
			uint64_t delay_us[FLEET_COPIES])
{
	uint32_t ip = sc_get32(data + 12);
	int from = fleet_index(f, ip >> 16 & 0xff, ip & 0xff);

	(void)len;
	(void)delay_us;
	return f->random >> (from * 8 + to) & 1 ? 0 : 1;
}

static uint64_t one_way(int from, int to)
{
	return 1ull << (from * 8 + to);
}

static uint64_t apart(int a, int b)
{
	return one_way(a, b) | one_way(b, a);
}

TEST("a batch that waited out a partition does not make an old claim the younger one")
{
	struct fleet f;
	uint32_t at;

	fleet_start(&f, 2, 1, 2, 1024);
	fleet_run(&f, 5 * SC_S);
	f.fate = cut;
	f.random = apart(0, 1);
	CHECK(fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0) != 0);
	fleet_run(&f, 50 * SC_S);
	at = fleet_client(&f, 2, 1, CLIENT, 1, SYN, 0);
	fleet_run(&f, 5 * SC_S);
	f.random = 0;
	fleet_run(&f, 5 * SC_S);
	for (int i = 0; i < 20; i++) {
		CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, 1, ACK, 0), at);
		CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0), at);
		fleet_run(&f, SC_S);
	}
	fleet_stop(&f);
}

TEST("a sibling does not deliver past the home because the home has published anew: the home would see no life")
{
	struct fleet f;
	int home, other;

	fleet_start(&f, 1, 2, 2, 1024);
	fleet_run(&f, 5 * SC_S);
	home = sc_home(f.node[0], fleet_flow(CLIENT, 1), 0);
	other = 1 - home;
	CHECK(fleet_client(&f, 1, home + 1, CLIENT, 1, SYN, 0) != 0);
	fleet_client(&f, 1, home + 1, CLIENT, 1, ACK, 0);
	fleet_run(&f, (SC_OWNER_CACHE_S + SC_TICK_S) * SC_S);
	for (int i = 0; i < SC_REPUBLISH_S; i += 5) {
		const struct sc_flow_entry *e = sc_flow_find(&f.node[other]->table, fleet_flow(CLIENT, 1));

		REQUIRE(e != NULL);
		CHECK(sc_flow_idle(e, f.node[other]->tick) * SC_TICK_S >= SC_OWNER_CACHE_S);
		fleet_run(&f, 5 * SC_S);
	}
	CHECK(fleet_client(&f, 1, other + 1, CLIENT, 1, ACK, 0) != 0);
	CHECK_EQ(f.counters[other][SC_C_asked], 1);
	CHECK_EQ(sc_flow_idle(sc_flow_find(&f.node[home]->table, fleet_flow(CLIENT, 1)), f.node[home]->tick), 0);
	fleet_stop(&f);
}

TEST("a SYN at a node that has not filled is silent, and steals no living flow")
{
	struct fleet f;
	uint32_t at;

	fleet_start(&f, 2, 1, 2, 1024);
	fleet_run(&f, 5 * SC_S);
	at = fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0);
	fleet_run(&f, SC_S);
	fleet_stop_node(&f, 2, 1);
	fleet_start_node(&f, 2, 1, 0x9999, 1024);
	CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, 1, SYN, 0), 0);
	fleet_run(&f, 5 * SC_S);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0), at);
	CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, 1, ACK, 0), at);
	CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, 1, SYN, 0), at);
	fleet_stop(&f);
}

TEST("a half-open claim of another PoP takes no established flow away, though it is younger")
{
	struct fleet f;
	uint32_t at;

	fleet_start(&f, 2, 1, 2, 1024);
	fleet_run(&f, 5 * SC_S);
	f.fate = cut;
	f.random = apart(0, 1);
	at = fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0);
	fleet_run(&f, 30 * SC_S);
	CHECK(fleet_client(&f, 2, 1, CLIENT, 1, SYN, 0) != 0);	/* forged, say */
	f.random = 0;
	fleet_run(&f, 5 * SC_S);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0), at);
	CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, 1, ACK, 0), at);
	fleet_stop(&f);
}

TEST("a node that had to forget living flows is certain of nothing until copies have expired")
{
	struct fleet f;
	struct sc_node *b;

	fleet_start(&f, 2, 1, 2, 1024);
	fleet_stop_node(&f, 2, 1);
	fleet_start_node(&f, 2, 1, 0x9999, 64);
	fleet_run(&f, 5 * SC_S);
	b = f.node[1];
	CHECK(sc_certain(b, 0, &(uint64_t){ 0 }));
	for (uint16_t port = 1; port < 400; port++) {
		fleet_client(&f, 1, 1, CLIENT, port, SYN, 0);
		fleet_client(&f, 1, 1, CLIENT, port, ACK, 0);
	}
	fleet_run(&f, 2 * SC_S);
	CHECK(!sc_certain(b, 0, &(uint64_t){ 0 }));
	fleet_run_in_steps(&f, (SC_COPY_S + 10) * SC_S, 250 * SC_MS);
	CHECK_EQ(f.counters[1][SC_C_certain_no], 0);
	fleet_stop(&f);
}

TEST("a sibling that does not hear this node is not its flows' home")
{
	struct fleet f;
	unsigned int delivered = 0;

	fleet_start(&f, 1, 2, 2, 1024);
	fleet_run(&f, 5 * SC_S);
	f.fate = cut;
	f.random = one_way(0, 1);
	fleet_run(&f, 2 * SC_S);
	for (uint16_t port = 1; port <= 40; port++)
		delivered += fleet_client(&f, 1, 1, CLIENT, port, SYN, 0) != 0;
	CHECK_EQ(delivered, 40);
	f.random = 0;
	fleet_run(&f, 2 * SC_S);
	CHECK(f.node[0]->peers[1].alive && f.node[1]->peers[0].alive);
	fleet_stop(&f);
}

TEST("a node that stood still for a while takes its peers for alive")
{
	struct fleet f;
	struct sc_out *out = malloc(sizeof(*out));

	fleet_start(&f, 1, 2, 2, 1024);
	fleet_run(&f, 5 * SC_S);
	f.now_us += 900 * SC_MS;
	sc_timers(f.node[0], f.now_us, out);
	CHECK(f.node[0]->peers[1].alive);
	free(out);
	fleet_stop(&f);
}

TEST("a restarted node has not filled before it knows what its peer recorded while it was away")
{
	struct fleet f;

	fleet_start(&f, 2, 1, 2, 1024);
	fleet_run(&f, 5 * SC_S);
	fleet_stop_node(&f, 1, 1);
	fleet_run(&f, 10 * SC_S);
	fleet_client(&f, 2, 1, CLIENT, 1, SYN, 0);
	fleet_start_node(&f, 1, 1, 0x9999, 1024);
	for (int i = 0; i < 2000 && !f.node[0]->filled; i++)
		fleet_run(&f, SC_TIMER_US);
	CHECK(f.node[0]->filled);
	CHECK(sc_known(f.node[0], fleet_flow(CLIENT, 1)) != NULL);
	fleet_stop(&f);
}

TEST("the owner's word about a flow counts, however old it says that the flow is")
{
	struct fleet f;
	struct sc_flow_entry *e;
	struct sc_record r;

	fleet_start(&f, 2, 1, 2, 1024);
	fleet_run(&f, 5 * SC_S);
	fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0);
	fleet_run(&f, SC_S);
	e = sc_flow_find(&f.node[1]->table, fleet_flow(CLIENT, 1));
	REQUIRE(e != NULL);
	r = sc_make_record(f.node[1], e, SC_FLOW_ESTABLISHED);
	r.age = 300;
	e->seen = (uint16_t)(e->seen - 400);
	sc_take_record(f.node[1], &r, 0);
	CHECK_EQ(sc_flow_idle(e, f.node[1]->tick), 0);
	fleet_stop(&f);
}

TEST("an owner that learns its own flow again tells it to the others")
{
	struct fleet f;
	struct sc_record r = { .state = SC_FLOW_ESTABLISHED };

	fleet_start(&f, 3, 1, 1, 1024);
	fleet_run(&f, 5 * SC_S);
	r.flow = fleet_flow(CLIENT, 1);
	r.backend = fleet_backend_id(1, 1);
	sc_take_record(f.node[0], &r, 1);
	fleet_run(&f, 100 * SC_MS);
	CHECK(sc_flow_find(&f.node[2]->table, r.flow) != NULL);
	fleet_stop(&f);
}

CHECK_MAIN
