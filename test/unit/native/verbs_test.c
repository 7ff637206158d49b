/* What a node does with a client's packet, by how it came: raw, ASK, FORWARD or RELAY; and by what it knows of the flow. */
#include "check.h"
#include "private.h"
#include "state.h"

enum { CLIENT = 0xcb007101, FIN = SC_TCP_FIN, SYN = SC_TCP_SYN, RST = SC_TCP_RST, ACK = SC_TCP_ACK, GAME = 9000 };

static struct draft d;

/* TCP 80 and UDP 9000. */
static void with_udp(const struct fleet *f, struct plan *p, int pop, int self)
{
	(void)f;
	(void)pop;
	(void)self;
	p->h.services = 2;
	p->service[1] = p->service[0];
	p->service[1].proto = SC_PROTO_UDP;
	p->service[1].port = GAME;
}

static void begin(struct fleet *f, int pops, int nodes)
{
	fleet_shape(f, pops, nodes, 2);
	f->change = with_udp;
	fleet_begin(f, 256);
	fleet_run(f, 5 * SC_S);
}

static uint64_t count(const struct fleet *f, int i, int counter)
{
	return f->counters[i][counter];
}

static void end(struct fleet *f)
{
	for (int i = 0; i < f->n; i++)
		CHECK_EQ(fleet_unaccounted(f, i), 0);
	fleet_stop(f);
}

/* A packet of client port sport to node 1 of PoP to, from node 1 of PoP from. Returns the backend reached, 0: none. */
static uint32_t private_from(struct fleet *f, int from, int to, uint8_t version, uint8_t verb, uint32_t backend, uint8_t proto,
			     uint16_t sport, uint8_t flags)
{
	uint8_t b[SC_PACKET_MAX];
	uint32_t n;

	draft_client(&d, 4, proto, CLIENT, FLEET_VIP, sport, proto == SC_PROTO_TCP ? 80 : GAME, flags, 0);
	n = private_packet(f, b, fleet_node_ip(from, 1), to, fleet_node_id(from, 1), version, verb, backend, d.b, d.len);
	return fleet_arrive(f, to, 1, b, n);
}

static uint32_t udp(struct fleet *f, int pop, uint16_t sport)
{
	draft_client(&d, 4, SC_PROTO_UDP, CLIENT, FLEET_VIP, sport, GAME, 0, 20);
	return fleet_arrive(f, pop, 1, d.b, d.len);
}

static struct sc_flow_entry *put(struct sc_node *node, uint64_t flow, uint32_t backend, enum sc_flow_state state)
{
	struct sc_flow_entry gone;
	enum sc_eviction evicted;

	return sc_flow_insert(&node->table, flow, backend, state, node->tick, &evicted, &gone);
}

TEST("a FORWARD of UDP goes to the backend that it names, whatever Maglev would choose, and leaves no flow behind")
{
	struct fleet f;

	begin(&f, 2, 1);
	for (uint16_t port = 1; port < 10; port++)
		for (int b = 1; b <= 2; b++)
			CHECK_EQ(private_from(&f, 2, 1, 1, SC_VERB_FORWARD, fleet_backend_id(1, b), SC_PROTO_UDP, port, 0),
				 fleet_backend_ip(1, b));
	CHECK_EQ(f.node[0]->table.count[SC_FLOW_ESTABLISHED] + f.node[0]->table.count[SC_FLOW_HALF_OPEN], 0);
	end(&f);
}

static uint64_t between(const struct fleet *f, int i, int other, enum sc_between way)
{
	return f->node[i]->counts.between[other * SC_BETWEEN_COUNT + (int)way];
}

TEST("what goes between two nodes is counted by both, whatever the verb")
{
	struct fleet f;
	uint64_t sums[2] = { 0, 0 };

	begin(&f, 2, 2);
	for (uint16_t port = 1; port <= 40; port++) {
		fleet_client(&f, 1, 1, CLIENT, port, SYN, 0);
		fleet_client(&f, 1, 2, CLIENT, port, ACK, 0);
		fleet_run(&f, 20 * SC_MS);
		fleet_client(&f, 2, 1, CLIENT, port, ACK, 0);
	}
	for (int i = 0; i < f.n; i++) {
		uint64_t sent = 0;

		for (int k = 0; k < f.n; k++) {
			CHECK_EQ(between(&f, i, k, SC_BETWEEN_SENT), between(&f, k, i, SC_BETWEEN_RECEIVED));
			sent += between(&f, i, k, SC_BETWEEN_SENT);
		}
		CHECK_EQ(between(&f, i, i, SC_BETWEEN_SENT), 0);
		CHECK_EQ(sent, count(&f, i, SC_C_asked) + count(&f, i, SC_C_forwarded) + count(&f, i, SC_C_relayed) +
				       count(&f, i, SC_C_spilled));
		sums[i / 2] += sent;
	}
	CHECK(sums[0] > 20);
	CHECK(sums[1] >= 40);
	end(&f);
}

TEST("what a PoP without a ready backend cannot begin is handed on once: TCP, UDP and pings, and not back again")
{
	for (int ready = 0; ready < 2; ready++) {
		struct fleet f;

		begin(&f, 2, 1);
		f.node[0]->g->pools[0].size = 0;
		if (!ready)
			f.node[1]->g->pools[0].size = 0;	/* what its peer has not heard yet */
		CHECK_EQ(udp(&f, 1, 1) != 0, ready);
		CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0) != 0, ready);
		draft_ip4(&d, SC_PROTO_ICMP, CLIENT, FLEET_VIP, 0, 0);
		draft_icmp(&d, 8, 0);
		draft_done(&d);
		CHECK_EQ(fleet_arrive(&f, 1, 1, d.b, d.len) != 0, ready);
		CHECK_EQ(count(&f, 0, SC_C_spilled), 3);
		CHECK_EQ(count(&f, 0, SC_DROP_no_backend), 0);
		CHECK_EQ(count(&f, 1, SC_C_spilled), 0);
		CHECK_EQ(count(&f, 1, SC_DROP_no_backend), ready ? 0 : 3);
		end(&f);
	}
}

TEST("what came by RELAY is not relayed again, though the backend's PoP is out of reach and a third would help")
{
	struct fleet f;

	begin(&f, 3, 1);
	f.node[0]->peers[2].alive = false;
	CHECK_EQ(private_from(&f, 2, 1, 2, SC_VERB_RELAY, fleet_backend_id(3, 1), SC_PROTO_TCP, 1, ACK), 0);
	CHECK_EQ(count(&f, 0, SC_DROP_peer_unreachable), 1);
	put(f.node[0], fleet_flow(CLIENT, 2), fleet_backend_id(3, 1), SC_FLOW_ESTABLISHED);
	CHECK_EQ(private_from(&f, 2, 1, 2, SC_VERB_RELAY, 0, SC_PROTO_TCP, 2, ACK), 0);
	CHECK_EQ(count(&f, 0, SC_DROP_peer_unreachable), 2);
	CHECK_EQ(private_from(&f, 2, 1, 2, SC_VERB_RELAY, 0, SC_PROTO_TCP, 3, ACK), 0);
	CHECK_EQ(count(&f, 0, SC_DROP_relay_unknown), 1);
	CHECK_EQ(count(&f, 0, SC_C_relayed), 0);
	/* A raw packet of the same flow is. */
	fleet_client(&f, 1, 1, CLIENT, 2, ACK, 0);
	CHECK_EQ(count(&f, 0, SC_C_relayed), 1);
	end(&f);
}

/* What RELAY with a backend does at PoP 1, by what that knows of the flow. Returns the backend reached. */
static uint32_t relay_named(struct fleet *f, uint32_t known, uint32_t named, uint16_t port)
{
	uint32_t at;

	if (known)
		put(f->node[0], fleet_flow(CLIENT, port), known, SC_FLOW_ESTABLISHED);
	at = private_from(f, 3, 1, 2, SC_VERB_RELAY, named, SC_PROTO_TCP, port, ACK);
	return at;
}

TEST("RELAY with a backend: delivered, forwarded, or refused with OWNER, by what this PoP knows of the flow")
{
	const uint32_t own = fleet_backend_id(1, 1), other = fleet_backend_id(2, 1);
	const struct sc_flow_entry *e;
	struct fleet f;

	begin(&f, 3, 1);
	CHECK_EQ(relay_named(&f, own, own, 1), fleet_backend_ip(1, 1));
	CHECK_EQ(relay_named(&f, other, other, 2), fleet_backend_ip(2, 1));
	CHECK_EQ(count(&f, 0, SC_C_forwarded), 1);
	/* Who named the right one is told nothing. */
	for (uint16_t port = 1; port <= 2; port++)
		CHECK(sc_flow_find(&f.node[2]->table, fleet_flow(CLIENT, port)) == NULL);
	CHECK_EQ(count(&f, 0, SC_C_owner_sent), 0);
	/* Unknown here. */
	CHECK_EQ(relay_named(&f, 0, own, 3), fleet_backend_ip(1, 1));
	e = sc_flow_find(&f.node[0]->table, fleet_flow(CLIENT, 3));
	CHECK(e != NULL && e->backend == own);
	CHECK_EQ(relay_named(&f, 0, other, 4), fleet_backend_ip(2, 1));
	CHECK(sc_flow_find(&f.node[0]->table, fleet_flow(CLIENT, 4)) == NULL);
	CHECK_EQ(count(&f, 0, SC_C_flows_learned), 1);
	/* Known with another backend. */
	CHECK_EQ(relay_named(&f, other, own, 5), 0);
	CHECK_EQ(relay_named(&f, own, other, 6), 0);
	CHECK_EQ(count(&f, 0, SC_DROP_owner_differs), 2);
	for (uint16_t port = 5; port <= 6; port++) {
		e = sc_flow_find(&f.node[2]->table, fleet_flow(CLIENT, port));
		REQUIRE(e != NULL);
		CHECK_EQ(e->backend, port == 5 ? other : own);
	}
	/* Of no PoP, and of this one but not configured. */
	CHECK_EQ(relay_named(&f, 0, fleet_backend_id(9, 1), 7), 0);
	CHECK_EQ(count(&f, 0, SC_DROP_backend_gone), 1);
	CHECK_EQ(relay_named(&f, 0, fleet_backend_id(1, 9), 8), 0);
	CHECK_EQ(count(&f, 0, SC_DROP_backend_gone), 2);
	end(&f);
}

TEST("RELAY without a backend: a SYN begins here and its origin is told, unless this PoP has no backend or has not filled")
{
	const struct sc_flow_entry *e;
	struct fleet f;
	uint32_t at;

	begin(&f, 3, 1);
	at = private_from(&f, 3, 1, 2, SC_VERB_RELAY, 0, SC_PROTO_TCP, 1, SYN);
	CHECK_EQ(at >> 16, 0x0a01);
	CHECK_EQ(count(&f, 0, SC_C_flows_new), 1);
	e = sc_flow_find(&f.node[2]->table, fleet_flow(CLIENT, 1));
	REQUIRE(e != NULL);
	CHECK_EQ(e->backend, fleet_backend_id(1, at & 0xff));
	f.node[0]->g->pools[0].size = 0;
	CHECK_EQ(private_from(&f, 3, 1, 2, SC_VERB_RELAY, 0, SC_PROTO_TCP, 2, SYN), 0);
	CHECK_EQ(count(&f, 0, SC_DROP_no_backend), 1);
	f.node[0]->filled = false;
	CHECK_EQ(private_from(&f, 3, 1, 2, SC_VERB_RELAY, 0, SC_PROTO_TCP, 3, SYN), 0);
	CHECK_EQ(count(&f, 0, SC_DROP_uncertain), 1);
	end(&f);
}

TEST("RELAY is not spoken in version 1 and not taken from one's own PoP; ASK is taken from there only")
{
	struct fleet f;

	begin(&f, 2, 2);
	CHECK_EQ(private_from(&f, 2, 1, 1, SC_VERB_RELAY, 0, SC_PROTO_TCP, 1, SYN), 0);
	CHECK_EQ(count(&f, 0, SC_DROP_relay_unsupported), 1);
	CHECK_EQ(private_from(&f, 2, 1, 2, SC_VERB_ASK, 0, SC_PROTO_TCP, 1, SYN), 0);
	CHECK_EQ(count(&f, 0, SC_DROP_unknown_origin), 1);
	draft_client(&d, 4, SC_PROTO_TCP, CLIENT, FLEET_VIP, 1, 80, SYN, 0);
	for (uint8_t verb = SC_VERB_ASK; verb <= SC_VERB_RELAY; verb++) {
		uint8_t b[1000];
		uint32_t n = private_packet(&f, b, fleet_node_ip(1, 2), 1, fleet_node_id(1, 2), 2, verb, fleet_backend_id(1, 1),
					    d.b, d.len);

		CHECK_EQ(fleet_arrive(&f, 1, 1, b, n) != 0, verb != SC_VERB_RELAY);
	}
	CHECK_EQ(count(&f, 0, SC_DROP_unknown_origin), 2);
	end(&f);
}

TEST("only a SYN without ACK, FIN and RST begins a connection")
{
	struct fleet f;

	begin(&f, 1, 1);
	for (uint16_t flags = 0; flags < 256; flags++) {
		bool begins = (flags & SYN) && !(flags & (ACK | FIN | RST));

		CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, flags, (uint8_t)flags, 0) != 0, begins);
		CHECK_EQ(sc_flow_find(&f.node[0]->table, fleet_flow(CLIENT, flags)) != NULL, begins);
	}
	end(&f);
}

TEST("a known flow whose backend is not configured any more is dropped as such, and its SYN begins anew")
{
	struct fleet f;
	uint32_t at;

	begin(&f, 1, 1);
	put(f.node[0], fleet_flow(CLIENT, 1), fleet_backend_id(1, 9), SC_FLOW_ESTABLISHED);
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0), 0);
	CHECK_EQ(count(&f, 0, SC_DROP_backend_gone), 1);
	at = fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	CHECK(at != 0);
	CHECK_EQ(sc_flow_find(&f.node[0]->table, fleet_flow(CLIENT, 1))->backend, fleet_backend_id(1, at & 0xff));
	CHECK_EQ(f.node[0]->table.count[SC_FLOW_HALF_OPEN], 1);
	CHECK_EQ(f.node[0]->table.count[SC_FLOW_ESTABLISHED], 0);
	end(&f);
}

TEST("a SYN of a flow of another PoP's backend that is not configured here goes there: it may be new")
{
	struct fleet f;

	begin(&f, 2, 1);
	put(f.node[0], fleet_flow(CLIENT, 1), fleet_backend_id(2, 9), SC_FLOW_ESTABLISHED);
	fleet_client(&f, 1, 1, CLIENT, 1, SYN, 0);
	CHECK_EQ(count(&f, 0, SC_C_forwarded), 1);
	CHECK_EQ(count(&f, 1, SC_C_forward_received), 1);
	CHECK_EQ(count(&f, 0, SC_C_flows_new), 0);
	CHECK_EQ(sc_flow_find(&f.node[0]->table, fleet_flow(CLIENT, 1))->backend, fleet_backend_id(2, 9));
	end(&f);
}

/* A client port whose home in PoP 1 is node 2. */
static uint16_t port_elsewhere(const struct fleet *f, uint16_t from)
{
	while (sc_home(f->node[0], fleet_flow(CLIENT, from), 0) == 0)
		from++;
	return from;
}

TEST("an ingress node follows what it knows by hearsay only for established flows, young news, and packets that turn nothing")
{
	static const struct { uint32_t backend; enum sc_flow_state state; uint16_t idle; uint8_t flags; bool cached, asks; } cases[] = {
		{ 2 << 20 | 1, SC_FLOW_ESTABLISHED, 0, ACK, true, false },
		{ 2 << 20 | 1, SC_FLOW_ESTABLISHED, 0, ACK, false, false },
		{ 1 << 20 | 1, SC_FLOW_ESTABLISHED, 14, ACK | SC_TCP_PSH, true, false },
		{ 1 << 20 | 1, SC_FLOW_ESTABLISHED, 15, ACK, true, true },
		{ 1 << 20 | 1, SC_FLOW_ESTABLISHED, 15, ACK, false, true },
		{ 1 << 20 | 1, SC_FLOW_HALF_OPEN, 0, ACK, true, true },
		{ 1 << 20 | 1, SC_FLOW_CLOSING, 0, ACK, true, true },
		{ 1 << 20 | 1, SC_FLOW_ESTABLISHED, 0, SYN, true, true },
		{ 1 << 20 | 1, SC_FLOW_ESTABLISHED, 0, FIN | ACK, true, true },
		{ 1 << 20 | 1, SC_FLOW_ESTABLISHED, 0, RST, true, true },
		{ 1 << 20 | 9, SC_FLOW_ESTABLISHED, 0, ACK, true, true },	/* not configured, but maybe at the home */
		{ 2 << 20 | 9, SC_FLOW_ESTABLISHED, 0, ACK, true, false },	/* its PoP may know better */
	};
	uint16_t port = 0;
	struct fleet f;

	begin(&f, 2, 2);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t asked = count(&f, 0, SC_C_asked), cached = count(&f, 0, SC_C_misrouted_cached);
		uint64_t home = count(&f, 0, SC_C_misrouted_home);
		bool other_pop = cases[i].backend >> 20 == 2;
		struct sc_flow_entry *e;

		port = port_elsewhere(&f, (uint16_t)(port + 1));
		e = put(f.node[0], fleet_flow(CLIENT, port), cases[i].backend, cases[i].state);
		e->seen = (uint16_t)(e->seen - cases[i].idle);
		e->cached = cases[i].cached;
		fleet_client(&f, 1, 1, CLIENT, port, cases[i].flags, 0);
		if (!CHECK_EQ(count(&f, 0, SC_C_asked) - asked, cases[i].asks))
			printf("#   above: case %zu\n", i);
		CHECK_EQ(count(&f, 0, SC_C_misrouted_cached) - cached, !cases[i].asks && other_pop && cases[i].cached);
		CHECK_EQ(count(&f, 0, SC_C_misrouted_home) - home, !cases[i].asks && other_pop && !cases[i].cached);
	}
	end(&f);
}

TEST("refusals of flows that share a place do not add up to a certain no, and each flow's own do")
{
	uint64_t mask = SC_NEGATIVE_SLOTS - 1;
	uint32_t other = CLIENT + 1;
	struct fleet f;

	begin(&f, 1, 1);
	while ((fleet_flow(other, 1) & mask) != (fleet_flow(CLIENT, 1) & mask))
		other++;
	for (int i = 0; i < 10; i++) {
		CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0), 0);
		CHECK_EQ(fleet_client(&f, 1, 1, other, 1, ACK, 0), 0);
		fleet_run(&f, 600 * SC_MS);
	}
	CHECK_EQ(count(&f, 0, SC_C_certain_no), 0);
	/* Those of others take no place away. */
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, ACK, 0) != 0, i);
		CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 2, ACK, 0) != 0, i);
		fleet_run(&f, 600 * SC_MS);
	}
	CHECK_EQ(count(&f, 0, SC_C_certain_no), 2);
	end(&f);
}

TEST("a packet of another PoP's flow tells its home nothing about the flow: only its owner sees it")
{
	struct sc_flow_entry *e, before;
	struct fleet f;

	begin(&f, 2, 1);
	e = put(f.node[0], fleet_flow(CLIENT, 1), fleet_backend_id(2, 1), SC_FLOW_ESTABLISHED);
	e->seen -= 3;
	before = *e;
	CHECK_EQ(fleet_client(&f, 1, 1, CLIENT, 1, ACK | FIN, 0), fleet_backend_ip(2, 1));
	CHECK_MEM(e, &before, sizeof(before));
	CHECK_EQ(f.node[0]->peers[1].pub.open_count, 0);
	CHECK_EQ(sc_flow_find(&f.node[1]->table, fleet_flow(CLIENT, 1))->state, SC_FLOW_CLOSING);
	end(&f);
}

TEST("a flow that FORWARD teaches is as old as can be, or new with its SYN, and knows its service's timeouts")
{
	const struct sc_flow_entry *e;
	struct fleet f;

	begin(&f, 2, 1);
	for (uint16_t port = 1; port <= 2; port++) {
		CHECK_EQ(private_from(&f, 2, 1, 2, SC_VERB_FORWARD, fleet_backend_id(1, 2), SC_PROTO_TCP, port, port == 1 ? SYN : ACK),
			 fleet_backend_ip(1, 2));
		e = sc_flow_find(&f.node[0]->table, fleet_flow(CLIENT, port));
		REQUIRE(e != NULL);
		CHECK_EQ(e->state, port == 1 ? SC_FLOW_HALF_OPEN : SC_FLOW_ESTABLISHED);
		CHECK_EQ(sc_flow_age(e, f.node[0]->tick), port == 1 ? 0 : SC_AGE_MAX);
		CHECK_EQ(e->timeouts, f.node[0]->g->service_class[0]);
		CHECK_EQ(count(&f, 0, SC_C_flows_learned), port);
		CHECK_EQ(f.node[0]->peers[1].pub.open_count, port);
		CHECK_EQ(f.node[0]->peers[1].pub.open[port - 1].state, e->state);
	}
	end(&f);
}

CHECK_MAIN
