/* What is a service's and how it is delivered: UDP, fragments, pings, ICMP errors, backends of a node's own machine,
 * backends that drain or are down. */
#include "check.h"
#include "fleet.h"
#include "state.h"

enum { CLIENT = 0xcb007101, SYN = SC_TCP_SYN, ACK = SC_TCP_ACK, FIN = SC_TCP_FIN | SC_TCP_ACK, DNS = 53, GAME = 9000 };

static struct draft d, q;

/* UDP 53, which expects fragments, and UDP 9000, which does not, in both families. */
static void with_udp(const struct fleet *f, struct plan *p, int pop, int self)
{
	(void)f;
	(void)pop;
	(void)self;
	p->h.services = 6;
	for (int i = 1; i < 6; i++) {
		p->service[i] = p->service[0];
		if (i & 1)
			p->service[i].vip = ip6(FLEET_VIP);
		if (i >= 2)
			p->service[i].proto = SC_PROTO_UDP;
	}
	p->service[2].port = p->service[3].port = DNS;
	p->service[2].flags = p->service[3].flags = SC_SERVICE_FRAGMENTS;
	p->service[4].port = p->service[5].port = GAME;
}

static void start_udp(struct fleet *f, int pops, int nodes, int backends)
{
	fleet_shape(f, pops, nodes, backends);
	f->change = with_udp;
	fleet_begin(f, 256);
	fleet_run(f, 5 * SC_S);
}

static uint32_t arrive(struct fleet *f, int pop, int n)
{
	uint32_t at = fleet_arrive(f, pop, n, d.b, d.len);

	CHECK_EQ(fleet_unaccounted(f, fleet_index(f, pop, n)), 0);
	return at;
}

TEST("UDP goes by Maglev alone: the same backend from either node of a PoP, and nothing remembered")
{
	struct fleet f;
	bool used[4] = { false };

	start_udp(&f, 1, 2, 3);
	for (uint16_t port = 1; port < 100; port++) {
		uint32_t at;

		draft_client(&d, 4 + 2 * (port % 2), SC_PROTO_UDP, CLIENT, FLEET_VIP, port, GAME, 0, 20);
		at = arrive(&f, 1, 1);
		REQUIRE(at != 0);
		used[at & 3] = true;
		CHECK_EQ(arrive(&f, 1, 2), at);
	}
	CHECK(used[1] && used[2] && used[3]);
	for (int s = 1; s < SC_FLOW_STATES; s++)
		CHECK_EQ(f.node[0]->table.count[s], 0);
	fleet_stop(&f);
}

TEST("where fragments are expected all of them go to one backend, whatever their ports")
{
	struct fleet f;

	start_udp(&f, 1, 2, 3);
	for (uint32_t client = CLIENT; client < CLIENT + 50; client++) {
		uint32_t at;

		draft_client(&d, 4, SC_PROTO_UDP, client, FLEET_VIP, 1, DNS, 0, 20);
		at = arrive(&f, 1, 1);
		REQUIRE(at != 0);
		draft_client(&d, 4, SC_PROTO_UDP, client, FLEET_VIP, 2, DNS, 0, 20);
		CHECK_EQ(arrive(&f, 1, 1), at);
		draft_ip4(&d, SC_PROTO_UDP, client, FLEET_VIP, 0, 0x2000);
		draft_udp(&d, 3, DNS, 800);
		draft_done(&d);
		CHECK_EQ(arrive(&f, 1, 1), at);
		draft_ip4(&d, SC_PROTO_UDP, client, FLEET_VIP, 0, 101);
		draft_payload(&d, 300);
		d.proto = 0xff;
		draft_done(&d);
		CHECK_EQ(arrive(&f, 1, 2), at);
		draft_client(&q, 4, SC_PROTO_UDP, FLEET_VIP, client, DNS, 4, 0, 20);
		draft_ip4(&d, SC_PROTO_ICMP, 0x08080808, FLEET_VIP, 0, 0);
		draft_icmp(&d, 3, 3);
		memcpy(d.b + d.len, q.b, 28);
		d.len += 28;
		draft_done(&d);
		CHECK_EQ(arrive(&f, 1, 2), at);
	}
	fleet_stop(&f);
}

TEST("where fragments are not expected they are dropped as fragments, and where there is no VIP as no service")
{
	struct fleet f;
	uint32_t vip;

	fleet_start(&f, 1, 1, 2, 64);
	for (int i = 0; i < 2; i++) {
		vip = FLEET_VIP + (uint32_t)i;
		for (int proto = 0; proto <= SC_PROTO_UDP; proto++) {
			draft_ip4(&d, (uint8_t)proto, CLIENT, vip, 0, 101);
			draft_payload(&d, 300);
			d.proto = 0xff;
			draft_done(&d);
			CHECK_EQ(arrive(&f, 1, 1), 0);
		}
		draft_ip4(&d, SC_PROTO_TCP, CLIENT, vip, 0, 0x2000);
		draft_tcp(&d, 1, 80, ACK, 0, 100);
		draft_done(&d);
		CHECK_EQ(arrive(&f, 1, 1), 0);
	}
	CHECK_EQ(f.counters[0][SC_DROP_fragment], 19);
	CHECK_EQ(f.counters[0][SC_DROP_no_service], 19);
	fleet_stop(&f);
}

TEST("a later fragment of protocol 0 is nobody's, even where fragments are expected")
{
	struct fleet f;

	start_udp(&f, 1, 1, 2);
	draft_ip4(&d, 0, CLIENT, FLEET_VIP, 0, 101);
	draft_payload(&d, 64);
	d.proto = 0xff;
	draft_done(&d);
	CHECK_EQ(arrive(&f, 1, 1), 0);
	CHECK_EQ(f.counters[0][SC_DROP_fragment], 1);
	fleet_stop(&f);
}

TEST("ports and protocols that are no service's are dropped")
{
	struct fleet f;

	start_udp(&f, 1, 1, 2);
	draft_client(&d, 4, SC_PROTO_TCP, CLIENT, FLEET_VIP, 1, DNS, SYN, 0);
	CHECK_EQ(arrive(&f, 1, 1), 0);
	draft_client(&d, 4, SC_PROTO_UDP, CLIENT, FLEET_VIP, 1, 80, 0, 0);
	CHECK_EQ(arrive(&f, 1, 1), 0);
	draft_client(&d, 4, SC_PROTO_TCP, CLIENT, FLEET_VIP + 1, 1, 80, SYN, 0);
	CHECK_EQ(arrive(&f, 1, 1), 0);
	CHECK_EQ(f.counters[0][SC_DROP_no_service], 3);
	draft_client(&d, 4, SC_PROTO_TCP, CLIENT, fleet_node_ip(1, 1), 1, 80, SYN, 0);
	CHECK_EQ(arrive(&f, 1, 1), 0);
	CHECK_EQ(f.counters[0][SC_DROP_not_ours], 1);
	fleet_stop(&f);
}

TEST("a ping to a VIP is delivered to a backend, the same for the same client, in both families")
{
	struct fleet f;

	start_udp(&f, 1, 2, 3);
	for (int family = 4; family <= 6; family += 2) {
		uint32_t at = 0;

		for (int i = 0; i < 4; i++) {
			if (family == 4)
				draft_ip4(&d, SC_PROTO_ICMP, CLIENT, FLEET_VIP, 0, 0);
			else
				draft_ip6(&d, SC_PROTO_ICMP6, CLIENT, FLEET_VIP);
			draft_icmp(&d, family == 4 ? 8 : 128, 0);
			draft_payload(&d, 56);
			sc_put32(d.b + d.l4 + 4, (uint32_t)i * 77);
			draft_done(&d);
			if (i == 0)
				at = arrive(&f, 1, 1);
			else
				CHECK_EQ(arrive(&f, 1, 1 + i % 2), at);
		}
		CHECK(at != 0);
		d.b[d.l4 - 1]++;	/* another VIP */
		draft_done(&d);
		CHECK_EQ(arrive(&f, 1, 1), 0);
	}
	fleet_stop(&f);
}

/* A router's "unreachable" about port's flow, quoting 8 transport bytes. */
static void icmp_about(uint16_t port)
{
	draft_client(&q, 4, SC_PROTO_TCP, FLEET_VIP, CLIENT, 80, port, ACK, 0);
	draft_ip4(&d, SC_PROTO_ICMP, 0x08080808, FLEET_VIP, 0, 0);
	draft_icmp(&d, 3, 4);
	memcpy(d.b + d.len, q.b, 28);
	d.len += 28;
	draft_done(&d);
}

TEST("an ICMP error goes where its flow goes, from every node, and does not touch the flow")
{
	struct fleet f;
	uint32_t at[20];

	fleet_start(&f, 2, 2, 3, 256);
	fleet_run(&f, 5 * SC_S);
	for (uint16_t port = 0; port < 20; port++)
		at[port] = fleet_client(&f, 1, 1, CLIENT, port, SYN, 0);
	fleet_run(&f, 10 * SC_MS);
	for (uint16_t port = 0; port < 20; port++) {
		for (int i = 0; i < 4; i++) {
			icmp_about(port);
			CHECK_EQ(arrive(&f, 1 + i / 2, 1 + i % 2), at[port]);
			CHECK_MEM(f.last + f.last_len - d.len, d.b, d.len);
		}
		CHECK_EQ(sc_flow_find(&f.node[0]->table, fleet_flow(CLIENT, port))->state, SC_FLOW_HALF_OPEN);
	}
	CHECK_EQ(f.counters[0][SC_C_icmp_steered] + f.counters[1][SC_C_icmp_steered], 80);
	fleet_stop(&f);
}

/* Every node is a backend itself. */
static void all_local(const struct fleet *f, struct plan *p, int pop, int self)
{
	with_udp(f, p, pop, self);
	for (uint32_t i = 0; i < p->h.backends; i++) {
		p->backend[i].deliver = SC_DELIVER_LOCAL;
		p->backend[i].addr = p->node[i].addr;
		p->backend[i].node = p->node[i].id;
	}
}

TEST("a local backend gets the client's packet as it is, on its own node; on another by plain GUE")
{
	struct fleet f;
	unsigned int deliveries[2] = { 0 };

	fleet_shape(&f, 1, 2, 2);
	f.change = all_local;
	fleet_begin(&f, 256);
	fleet_run(&f, 5 * SC_S);
	for (uint16_t port = 0; port < 40; port++) {
		uint64_t before = f.counters[0][SC_C_delivered_local];

		draft_client(&d, 4, SC_PROTO_TCP, CLIENT, FLEET_VIP, port, 80, SYN, 9);
		d.len += 6;	/* padding of the link */
		f.locals = 0;
		CHECK_EQ(arrive(&f, 1, 1), 0);
		CHECK_EQ(f.locals, 1);
		CHECK_EQ(f.last_len, d.len - 6);
		CHECK_MEM(f.last, d.b, d.len - 6);
		deliveries[f.counters[0][SC_C_delivered_local] == before]++;
		draft_client(&d, 6, SC_PROTO_UDP, CLIENT, FLEET_VIP, port, DNS, 0, 9);
		CHECK_EQ(arrive(&f, 1, 1), 0);
		CHECK_EQ(f.locals, 2);
		CHECK_MEM(f.last, d.b, d.len);
	}
	CHECK(deliveries[0] > 0 && deliveries[1] > 0);
	CHECK_EQ(f.counters[1][SC_C_delivered_local] + f.counters[0][SC_C_delivered_local], 80);
	CHECK_EQ(fleet_unaccounted(&f, 1), 0);
	fleet_stop(&f);
}

TEST("a local backend's packets are delivered on its own machine, never on another's that is the flow's home")
{
	struct fleet f;
	uint64_t want[2] = { 0 };

	fleet_shape(&f, 1, 2, 2);
	f.change = all_local;
	fleet_begin(&f, 256);
	fleet_run(&f, 5 * SC_S);
	for (uint16_t port = 0; port < 60; port++) {
		const struct sc_generation *g = f.node[0]->g;
		uint16_t backend = sc_maglev(g, 0, fleet_flow(CLIENT, port));

		want[g->backends[backend].node == fleet_node_id(1, 1) ? 0 : 1]++;
		draft_client(&d, 4, SC_PROTO_TCP, CLIENT, FLEET_VIP, port, 80, SYN, 0);
		arrive(&f, 1, 1 + port % 2);
	}
	for (int i = 0; i < 2; i++) {
		CHECK(want[i] > 10);
		CHECK_EQ(f.counters[i][SC_C_delivered_local], want[i]);
	}
	fleet_stop(&f);
}

TEST("a flow of another PoP's local backend arrives there by FORWARD and, if need be, plain GUE")
{
	struct fleet f;

	fleet_shape(&f, 2, 2, 2);
	f.change = all_local;
	fleet_begin(&f, 256);
	fleet_run(&f, 5 * SC_S);
	for (uint16_t port = 0; port < 40; port++) {
		draft_client(&d, 4, SC_PROTO_TCP, CLIENT, FLEET_VIP, port, 80, SYN, 0);
		arrive(&f, 1, 1);
	}
	fleet_run(&f, 10 * SC_MS);
	for (uint16_t port = 0; port < 40; port++) {
		draft_client(&d, 4, SC_PROTO_TCP, CLIENT, FLEET_VIP, port, 80, ACK, 100);
		f.locals = 0;
		arrive(&f, 2, 1 + port % 2);
		CHECK_EQ(f.locals, 1);
		CHECK_MEM(f.last, d.b, d.len);
	}
	CHECK_EQ(f.counters[2][SC_C_delivered_local] + f.counters[3][SC_C_delivered_local], 0);
	fleet_stop(&f);
}

TEST("plain GUE is taken from the PoP's nodes only, and only for a backend of this node")
{
	struct fleet f;
	struct draft *outer = malloc(sizeof(*outer));
	uint32_t from[] = { fleet_node_ip(1, 2), fleet_node_ip(2, 1), 0x0a010909 };

	for (int local = 0; local < 2; local++) {
		fleet_shape(&f, 2, 2, 2);
		f.change = local ? all_local : NULL;
		fleet_begin(&f, 256);
		draft_client(&d, 4, SC_PROTO_TCP, CLIENT, FLEET_VIP, 1, 80, ACK, 0);
		for (int i = 0; i < 3; i++) {
			draft_ip4(outer, SC_PROTO_UDP, from[i], fleet_node_ip(1, 1), 0, 0);
			draft_udp(outer, 0xc000, 6080, 4 + d.len);
			sc_put32(outer->b + 28, 0x00040000);
			memcpy(outer->b + 32, d.b, d.len);
			draft_done(outer);
			f.locals = 0;
			fleet_arrive(&f, 1, 1, outer->b, outer->len);
			CHECK_EQ(f.locals, local && i == 0);
		}
		CHECK_EQ(f.counters[0][SC_DROP_not_a_peer], 2);
		CHECK_EQ(f.counters[0][SC_DROP_wrong_backend], !local);
		fleet_stop(&f);
	}
	free(outer);
}

/* Backends 1 and 2 are both of node 1's machine, each in a pool of its own: ports 80 and 81. */
static void two_local_pools(const struct fleet *f, struct plan *p, int pop, int self)
{
	(void)f;
	(void)pop;
	(void)self;
	p->h.services = p->h.pools = 2;
	p->service[1] = p->service[0];
	p->service[1].port = 81;
	p->service[1].pool = 1;
	p->pool[1] = p->pool[0];
	for (uint32_t i = 0; i < 2; i++) {
		p->backend[i].deliver = SC_DELIVER_LOCAL;
		p->backend[i].addr = p->node[0].addr;
		p->backend[i].node = p->node[0].id;
		p->backend[i].pool = (uint16_t)i;
	}
}

TEST("plain GUE is for the local backend of its service's pool")
{
	struct fleet f;
	struct draft *outer = malloc(sizeof(*outer));

	fleet_shape(&f, 1, 2, 2);
	f.change = two_local_pools;
	fleet_begin(&f, 256);
	for (uint16_t i = 0; i < 2; i++) {
		draft_client(&d, 4, SC_PROTO_TCP, CLIENT, FLEET_VIP, 1, (uint16_t)(80 + i), ACK, 0);
		draft_ip4(outer, SC_PROTO_UDP, fleet_node_ip(1, 2), fleet_node_ip(1, 1), 0, 0);
		draft_udp(outer, 0xc000, 6080, 4 + d.len);
		sc_put32(outer->b + 28, 0x00040000);
		memcpy(outer->b + 32, d.b, d.len);
		draft_done(outer);
		fleet_arrive(&f, 1, 1, outer->b, outer->len);
		for (int b = 0; b < 2; b++)
			CHECK_EQ(f.node[0]->counts.backend[b * SC_TRAFFIC_COUNT + SC_TRAFFIC_PACKETS], b <= i);
	}
	free(outer);
	fleet_stop(&f);
}

/* One pool, two services: none of its backends takes new connections of the second one, and the first backend, of node
 * 1's machine, is down. */
static void table_of_its_own(const struct fleet *f, struct plan *p, int pop, int self)
{
	two_local_pools(f, p, pop, self);
	p->service[1].pool = 0;
	p->service[1].table = 1;
	p->pool[1] = (struct sc_pool_row){ 0 };
	p->backend[0].state = SC_BACKEND_DOWN;
	p->backend[1] = (struct sc_backend_row){
		.addr = fleet_addr(f, fleet_backend_ip(1, 2)), .id = fleet_backend_id(1, 2), .pop = 1,
	};
	for (int i = 0; i < FLEET_SLOTS; i++)
		p->slot[i] = 1;
}

TEST("services of one pool choose by their own tables, and plain GUE reaches the pool's local backend although it is down")
{
	struct fleet f;
	struct draft *outer = malloc(sizeof(*outer));

	fleet_shape(&f, 1, 2, 2);
	f.change = table_of_its_own;
	fleet_begin(&f, 256);
	fleet_run(&f, 5 * SC_S);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 7, SYN, 0), fleet_backend_ip(1, 2));
	for (uint16_t port = 1; port <= 20; port++) {
		draft_client(&d, 4, SC_PROTO_TCP, CLIENT, FLEET_VIP, port, 81, SYN, 0);
		fleet_arrive(&f, 1, 1, d.b, d.len);
	}
	CHECK_EQ(f.counters[0][SC_DROP_no_backend] + f.counters[1][SC_DROP_no_backend], 20);

	draft_client(&d, 4, SC_PROTO_TCP, CLIENT, FLEET_VIP, 1, 81, ACK, 0);
	draft_ip4(outer, SC_PROTO_UDP, fleet_node_ip(1, 2), fleet_node_ip(1, 1), 0, 0);
	draft_udp(outer, 0xc000, 6080, 4 + d.len);
	sc_put32(outer->b + 28, 0x00040000);
	memcpy(outer->b + 32, d.b, d.len);
	draft_done(outer);
	f.locals = 0;
	fleet_arrive(&f, 1, 1, outer->b, outer->len);
	CHECK_EQ(f.locals, 1);
	CHECK_EQ(f.node[0]->counts.backend[0 * SC_TRAFFIC_COUNT + SC_TRAFFIC_PACKETS], 1);
	free(outer);
	fleet_stop(&f);
}

static void set_state(struct fleet *f, uint8_t state)
{
	for (int i = 0; i < f->n; i++) {
		struct sc_generation *g = f->node[i]->g;

		g->backends[0].state = state;
		for (uint32_t s = 0; s < g->h.slots; s++)
			if (g->slots[s] == 0)
				g->slots[s] = 1;
	}
}

TEST("packets of a flow follow it to a backend that drains or is down, and so does a repeated SYN")
{
	for (uint8_t state = SC_BACKEND_DRAINING; state <= SC_BACKEND_DOWN; state++) {
		struct fleet f;
		uint16_t port = 0;

		fleet_start(&f, 2, 1, 2, 64);
		fleet_run(&f, 5 * SC_S);
		while (fleet_client(&f, 1, 1, CLIENT, ++port, SYN, 0) != fleet_backend_ip(1, 1) && port < 1000)
			;
		set_state(&f, state);
		/* Half-open: the handshake goes on where it began. */
		CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, port, SYN, 0), fleet_backend_ip(1, 1));
		CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, port, ACK, 0), fleet_backend_ip(1, 1));
		fleet_run(&f, 10 * SC_MS);
		CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, port, ACK, 0), fleet_backend_ip(1, 1));
		/* A new flow does not get there. */
		for (uint16_t other = 1000; other < 1050; other++)
			CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, other, SYN, 0), fleet_backend_ip(1, 2));
		fleet_stop(&f);
	}
}

TEST("past its handshake a SYN goes elsewhere when the flow's backend is down, and all hear of it; one that drains gets it")
{
	for (uint8_t state = SC_BACKEND_DRAINING; state <= SC_BACKEND_DOWN; state++) {
		for (int closing = 0; closing < 2; closing++) {
			struct fleet f;
			uint16_t port = 0;
			uint32_t to = fleet_backend_ip(1, state == SC_BACKEND_DOWN ? 2 : 1);

			fleet_start(&f, 2, 1, 2, 64);
			fleet_run(&f, 5 * SC_S);
			while (fleet_client(&f, 1, 1, CLIENT, ++port, SYN, 0) != fleet_backend_ip(1, 1) && port < 1000)
				;
			fleet_client(&f, 1, 1, CLIENT, port, closing ? FIN : ACK, 0);
			fleet_run(&f, 20 * SC_S);
			set_state(&f, state);
			CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, port, SYN, 0), to);
			CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, port, ACK, 0), to);
			fleet_run(&f, 10 * SC_MS);
			CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, port, ACK, 0), to);
			fleet_stop(&f);
		}
	}
}

static void drained_everywhere(const struct fleet *f, struct plan *p, int pop, int self)
{
	(void)f;
	(void)pop;
	(void)self;
	p->pool[0].size = 0;
	for (uint32_t i = 0; i < p->h.backends; i++)
		p->backend[i].state = SC_BACKEND_DRAINING;
}

TEST("a new connection is dropped as such where no PoP has a ready backend")
{
	struct fleet f;

	fleet_shape(&f, 2, 1, 2);
	f.change = drained_everywhere;
	fleet_begin(&f, 64);
	fleet_run(&f, 5 * SC_S);
	CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, 2, SYN, 0), 0);
	CHECK_EQ(f.counters[1][SC_DROP_no_backend], 1);
	CHECK_EQ(fleet_unaccounted(&f, 1), 0);
	fleet_stop(&f);
}

TEST("a PoP without a ready backend hands new connections to one that has, and forwards the old ones")
{
	struct fleet f;
	uint32_t at, spilled;

	fleet_start(&f, 2, 1, 2, 64);
	fleet_run(&f, 5 * SC_S);
	at = fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	fleet_run(&f, 10 * SC_MS);
	f.node[1]->g->pools[0].size = 0;
	spilled = fleet_client(&f, 2, 1, CLIENT, 2, SYN, 0);
	CHECK_EQ(spilled >> 16, 0x0a01);
	CHECK_EQ(f.counters[1][SC_C_spilled], 1);
	CHECK_EQ(f.counters[0][SC_C_relay_received], 1);
	CHECK_EQ(f.counters[0][SC_C_flows_new], 2);
	CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, 2, ACK, 0), spilled);
	CHECK_EQ(fleet_client(&f, 2, 1, CLIENT, 1, ACK, 0), at);
	fleet_stop(&f);
}

TEST("traffic is counted by service and by backend, bytes and new flows too")
{
	struct fleet f;
	uint64_t *s, *b;

	fleet_start(&f, 1, 1, 1, 64);
	fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	fleet_client(&f, 1, 1, CLIENT, 1, ACK, 100);
	fleet_client(&f, 1, 1, CLIENT, 1, ACK, 1460);
	s = f.node[0]->counts.service;
	b = f.node[0]->counts.backend;
	for (int i = 0; i < 2; i++, s = b) {
		CHECK_EQ(s[SC_TRAFFIC_PACKETS], 3);
		CHECK_EQ(s[SC_TRAFFIC_BYTES], 40 + 140 + 1500);
		CHECK_EQ(s[SC_TRAFFIC_NEW_FLOWS], 1);
	}
	fleet_stop(&f);
}

CHECK_MAIN
