/* Connections that a node makes itself and that are to reach a backend that it names: sc_node_pin(). */
#include "check.h"
#include "fleet.h"
#include "state.h"

enum { CLIENT = 0x0a010001, SYN = SC_TCP_SYN, ACK = SC_TCP_ACK };

static bool pin(struct fleet *f, int node, uint16_t sport, uint16_t dport, uint32_t backend)
{
	struct sc_pin p = {
		.client = ip4(CLIENT), .vip = ip4(FLEET_VIP), .sport = sport, .dport = dport, .backend = backend,
	};
	static struct sc_out out;
	bool done = sc_node_pin(f->node[node], &p, f->now_us, &out);

	fleet_carry(f, &out);
	return done;
}

TEST("a pinned connection reaches its backend whatever Maglev says, and is known like any other")
{
	struct fleet f;
	unsigned int elsewhere = 0;

	fleet_start(&f, 2, 1, 3, 1024);
	fleet_run(&f, 5 * SC_S);
	for (uint16_t port = 1; port <= 60; port++) {
		int b = 1 + port % 3;
		uint32_t at = fleet_backend_ip(1, b);

		elsewhere += fleet_client(&f, 1, 1, CLIENT, (uint16_t)(port + 1000), SYN, 0) != at;
		REQUIRE(pin(&f, 0, port, 80, fleet_backend_id(1, b)));
		CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, port, SYN, 0), at);
		CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, port, ACK, 0), at);
	}
	CHECK(elsewhere > 20);
	CHECK_EQ(f.counters[0][SC_C_flows_new], 60);
	fleet_run(&f, SC_S);
	for (uint16_t port = 1; port <= 60; port++)
		CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, port, ACK, 0), fleet_backend_ip(1, 1 + port % 3));
	CHECK_EQ(fleet_unaccounted(&f, 0), 0);
	fleet_stop(&f);
}

static void idle_second(const struct fleet *f, struct plan *p, int pop, int self)
{
	(void)f, (void)self;
	for (int i = 0; i < FLEET_SLOTS; i++)
		p->slot[i] = (uint16_t)((pop - 1) * 2);
	p->backend[1].state = SC_BACKEND_DRAINING;
}

TEST("a backend that takes no new connections takes the pinned ones")
{
	struct fleet f;

	fleet_shape(&f, 2, 1, 2);
	f.change = idle_second;
	fleet_begin(&f, 64);
	fleet_run(&f, 5 * SC_S);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0), fleet_backend_ip(1, 1));
	CHECK(pin(&f, 0, 2, 80, fleet_backend_id(1, 2)));
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 2, SYN, 0), fleet_backend_ip(1, 2));
	fleet_stop(&f);
}

TEST("a node pins no flow that it knows, that is another's, or that would lead nowhere")
{
	struct fleet f;
	unsigned int pinned[2] = { 0, 0 };

	fleet_start(&f, 2, 2, 2, 1024);
	CHECK(!pin(&f, 0, 1, 80, fleet_backend_id(1, 1)));	/* before it has filled */
	fleet_run(&f, 5 * SC_S);
	CHECK(!pin(&f, 0, 1, 81, fleet_backend_id(1, 1)));
	CHECK(!pin(&f, 0, 1, 80, fleet_backend_id(1, 3)));
	CHECK(!pin(&f, 0, 1, 80, fleet_backend_id(2, 1)));
	for (uint16_t port = 1; port <= 100; port++) {
		bool first = pin(&f, 0, port, 80, fleet_backend_id(1, 1));
		bool second = pin(&f, 1, port, 80, fleet_backend_id(1, 2));

		CHECK(first != second);
		CHECK(!pin(&f, first ? 0 : 1, port, 80, fleet_backend_id(1, 1)));
		pinned[second]++;
	}
	CHECK(pinned[0] > 20);
	CHECK(pinned[1] > 20);
	fleet_stop(&f);
}

CHECK_MAIN
