/* Corners where a living connection was reset or stuck: links cut inside a PoP, peers left out of the file and put back, cuts of
 * a quarter of an hour that another PoP bridges, spilled SYNs, classes of timeouts, REACH in large fleets, long handshakes. */
#include "check.h"
#include "fleet.h"
#include "state.h"

enum { CLIENT = 0xcb007101, SYN = SC_TCP_SYN, ACK = SC_TCP_ACK };

static int cut_a = -1, cut_b = -1;	/* node indexes that do not hear each other */

static int node_at(const struct fleet *f, const uint8_t *data)
{
	uint32_t ip = sc_get32(data + 12);

	return fleet_index(f, ip >> 16 & 0xff, ip & 0xff);
}

static unsigned int pass(struct fleet *f, int to, const uint8_t *data, uint32_t len, uint64_t delay_us[FLEET_COPIES])
{
	int from = node_at(f, data);

	(void)len;
	if (from / f->nodes_per_pop != to / f->nodes_per_pop)
		delay_us[0] = 20 * SC_MS;
	return (from == cut_a && to == cut_b) || (from == cut_b && to == cut_a) ? 0 : 1;
}

TEST("a node that is asked although another is the flow's home is not certain of a no")
{
	struct fleet f;
	uint16_t port = 0;
	uint64_t flow;
	uint32_t at, got = 0;
	int h;

	cut_a = cut_b = -1;
	fleet_shape(&f, 2, 3, 2);
	f.fate = pass;
	fleet_begin(&f, 1024);
	fleet_run(&f, 5 * SC_S);
	/* home in PoP 1 is node row h; next alive in order must not be the ingress */
	for (port = 1;; port++) {
		flow = fleet_flow(CLIENT, port);
		h = sc_home(f.node[0], flow, 0);
		const struct sc_pop *p = &f.node[0]->g->pops[0];
		int second = p->nodes[p->order[sc_home_row(flow)][1]];
		if (h == 2 && second == 1)
			break;
	}
	fleet_client(&f, 2, 1, CLIENT, port, SYN, 0);
	fleet_run(&f, 100 * SC_MS);
	fleet_client(&f, 2, 1, CLIENT, port, ACK, 0);
	fleet_run(&f, 100 * SC_MS);
	fleet_client(&f, 2, 1, CLIENT, port, ACK, 10);
	fleet_run(&f, 100 * SC_MS);
	at = f.delivered_to;
	CHECK_EQ(at >> 16, 0x0a02);
	cut_a = 0;
	cut_b = h;
	fleet_run(&f, 1 * SC_S);
	for (int i = 0; i < 4; i++) {
		fleet_client(&f, 1, 1, CLIENT, port, ACK, 10);
		fleet_run(&f, 300 * SC_MS);
		if (f.delivered_to)
			got = f.delivered_to;
	}
	CHECK_EQ(got, at);
	CHECK_EQ(f.counters[1][SC_C_certain_no], 0);
	fleet_stop(&f);
}

static bool left_out;
static void leave_out(const struct fleet *f, struct plan *p, int pop, int self)
{
	uint32_t n = 0;

	(void)f;
	(void)self;
	if (pop != 1 || !left_out)
		return;
	for (uint32_t i = 0; i < p->h.nodes; i++)
		if (p->node[i].pop != 2)
			p->node[n++] = p->node[i];
	p->h.nodes = n;
}

TEST("a peer that was left out of the file for a moment is heard again at once")
{
	struct fleet f;
	struct sc_node_view v;

	cut_a = cut_b = -1;
	left_out = false;
	fleet_shape(&f, 3, 1, 2);
	f.change = leave_out;
	f.fate = pass;
	fleet_begin(&f, 1024);
	fleet_run(&f, 300 * SC_S);
	sc_node_look(f.node[0], f.now_us, &v);
	CHECK_EQ(v.peers[0].up, 1);
	left_out = true;
	fleet_reload_node(&f, 1, 1);
	fleet_run(&f, 5 * SC_S);
	left_out = false;
	fleet_reload_node(&f, 1, 1);
	fleet_run(&f, 5 * SC_S);
	sc_node_look(f.node[0], f.now_us, &v);
	CHECK_EQ(v.peers[0].up, 1);
	CHECK_EQ(f.counters[1][SC_DROP_replayed], 0);
	fleet_stop(&f);
}

TEST("and a quarter of an hour later nobody's connection is reset")
{
	struct fleet f;
	uint32_t at, got = 0;

	cut_a = cut_b = -1;
	left_out = false;
	fleet_shape(&f, 2, 1, 2);
	f.change = leave_out;
	f.fate = pass;
	fleet_begin(&f, 1024);
	fleet_run_in_steps(&f, 3600 * SC_S, 50 * SC_MS);
	left_out = true;
	fleet_reload_node(&f, 1, 1);
	fleet_run_in_steps(&f, 5 * SC_S, 50 * SC_MS);
	left_out = false;
	fleet_reload_node(&f, 1, 1);
	fleet_run_in_steps(&f, 910 * SC_S, 50 * SC_MS);
	fleet_client(&f, 1, 1, CLIENT, 7, SYN, 0);
	at = f.delivered_to;
	fleet_client(&f, 1, 1, CLIENT, 7, ACK, 0);
	fleet_run(&f, SC_S);
	for (int i = 0; i < 4; i++) {
		fleet_client(&f, 2, 1, CLIENT, 7, ACK, 10);
		fleet_run(&f, 300 * SC_MS);
		if (f.delivered_to)
			got = f.delivered_to;
	}
	CHECK(got == 0 || got == at);
	CHECK_EQ(f.counters[1][SC_C_certain_no], 0);
	fleet_stop(&f);
}

TEST("a PoP that is not heard for longer than copies live, but by another, is not taken for gone")
{
	struct fleet f;
	uint32_t at, got = 0;

	cut_a = cut_b = -1;
	fleet_shape(&f, 3, 1, 2);
	f.fate = pass;
	fleet_begin(&f, 1024);
	fleet_run(&f, 5 * SC_S);
	cut_a = 0;
	cut_b = 2;
	fleet_run_in_steps(&f, 16 * 60 * SC_S, 50 * SC_MS);
	fleet_client(&f, 1, 1, CLIENT, 7, SYN, 0);
	at = f.delivered_to;
	fleet_client(&f, 1, 1, CLIENT, 7, ACK, 0);
	fleet_run(&f, SC_S);
	for (int i = 0; i < 4; i++) {
		fleet_client(&f, 3, 1, CLIENT, 7, ACK, 10);
		fleet_run(&f, 300 * SC_MS);
		if (f.delivered_to)
			got = f.delivered_to;
	}
	CHECK_EQ(got, at);
	CHECK_EQ(f.counters[2][SC_C_certain_no], 0);
	fleet_stop(&f);
}

static bool down;
static void go_down(const struct fleet *f, struct plan *p, int pop, int self)
{
	(void)f;
	(void)self;
	if (!down || pop != 1)
		return;
	p->backend[0].state = p->backend[1].state = SC_BACKEND_DOWN;
	for (int i = 0; i < FLEET_SLOTS; i++)
		p->slot[i] = SC_NO_BACKEND;
}

TEST("a SYN whose old backend is down, spilled, does not come back to it")
{
	struct fleet f;

	cut_a = cut_b = -1;
	down = false;
	fleet_shape(&f, 2, 1, 2);
	f.change = go_down;
	f.fate = pass;
	fleet_begin(&f, 1024);
	fleet_run(&f, 5 * SC_S);
	fleet_client(&f, 1, 1, CLIENT, 7, SYN, 0);
	fleet_client(&f, 1, 1, CLIENT, 7, ACK, 0);
	fleet_run(&f, SC_S);
	down = true;
	fleet_reload_node(&f, 1, 1);
	fleet_run(&f, 2 * SC_S);
	for (int i = 0; i < 7; i++) {
		fleet_client(&f, 1, 1, CLIENT, 7, SYN, 0);
		fleet_run(&f, SC_S << (i > 5 ? 5 : i));
			CHECK_EQ(f.delivered_to >> 16, 0x0a02);
	}
	fleet_stop(&f);
}

static int change;
static void timeouts(const struct fleet *f, struct plan *p, int pop, int self)
{
	(void)f;
	(void)pop;
	(void)self;
	p->service[1] = p->service[0];
	p->service[1].port = 81;
	p->service[1].idle_s = 7200;
	p->h.services = 2;
	if (change) {
		/* the same two services in the other order, both with new times */
		struct sc_service_row s = p->service[0];
		p->service[0] = p->service[1];
		p->service[1] = s;
		p->service[0].idle_s = 60;	/* port 81 */
		p->service[1].idle_s = 9000;	/* port 80 */
	}
}

TEST("timeouts that only old entries name stay while there is room")
{
	struct fleet f;
	const struct sc_flow_entry *e;

	change = 0;
	fleet_shape(&f, 1, 1, 2);
	f.change = timeouts;
	fleet_begin(&f, 1024);
	fleet_run(&f, 5 * SC_S);
	fleet_client(&f, 1, 1, CLIENT, 7, SYN, 0);
	fleet_client(&f, 1, 1, CLIENT, 7, ACK, 0);
	e = sc_flow_find(&f.node[0]->table, fleet_flow(CLIENT, 7));
	CHECK_EQ(f.node[0]->g->timeouts[e->timeouts].idle_s, 10800);
	change = 1;
	fleet_reload(&f);
	CHECK_EQ(f.node[0]->g->timeouts[e->timeouts].idle_s, 10800);
	fleet_stop(&f);
}

static void many(const struct fleet *f, struct plan *p, int pop, int self)
{
	(void)f;
	(void)self;
	if (pop != 1)
		return;
	p->h.nodes = 0;
	for (int q = 1; q <= 50; q++)
		for (int n = 1; n <= 5; n++)
			p->node[p->h.nodes++] = (struct sc_node_row){
				.addr = ip4(fleet_node_ip(q, n)), .id = fleet_node_id(q, n), .pop = (uint16_t)q };
}

TEST("REACH goes to all peers of a large fleet")
{
	struct fleet f;
	struct sc_out *out = malloc(sizeof(*out));
	static unsigned int reached[256];
	unsigned int never = 0, far = 0;

	memset(reached, 0, sizeof(reached));
	fleet_shape(&f, 1, 1, 1);
	f.change = many;
	fleet_begin(&f, 1024);
	sc_timers(f.node[0], f.now_us, out);
	for (uint64_t end = f.now_us + 20 * SC_S; f.now_us < end; f.now_us += 2000) {
		for (uint16_t i = 0; i < f.node[0]->g->h.nodes; i++) {
			struct sc_peer *p = &f.node[0]->peers[i];
			p->alive = p->pub.walk_done = true;
			p->boot = 5;
			p->version = 2;
			p->mutual_us = p->heard_us = f.now_us;
			p->heard_seq = 1;
		}
		sc_timers(f.node[0], f.now_us, out);
		for (unsigned int k = 0; k < out->n; k++) {
			const uint8_t *d = out->p[k].data;
			if ((d[28 + 4] & 0xf) == SC_VERB_REACH)
				reached[f.node[0]->g->node_by_id[fleet_node_id(d[17], d[19])]]++;
		}
	}
	for (uint16_t i = 0; i < f.node[0]->g->h.nodes; i++)
		if (f.node[0]->g->node_pop[i] != f.node[0]->g->own_pop) {
			far++;
			never += reached[i] == 0;
		}
	CHECK_EQ(never, 0);
	free(out);
	fleet_stop(&f);
}

TEST("a handshake that was held back, and whose SYN came again, is still in doubt")
{
	struct fleet f;
	uint32_t at, got = 0;

	cut_a = cut_b = -1;
	fleet_shape(&f, 2, 1, 2);
	f.fate = pass;
	fleet_begin(&f, 1024);
	fleet_run(&f, 5 * SC_S);
	f.node[0]->half_open = (struct sc_rate){ f.now_us, SC_HALF_OPEN_PER_S };
	fleet_client(&f, 1, 1, CLIENT, 7, SYN, 0);
	at = f.delivered_to;
	fleet_run(&f, 31 * SC_S);
	fleet_client(&f, 1, 1, CLIENT, 7, SYN, 0);
	fleet_run(&f, 32 * SC_S);
	fleet_client(&f, 1, 1, CLIENT, 7, SYN, 0);
	fleet_run(&f, 10 * SC_S);
	for (int i = 0; i < 4; i++) {
		fleet_client(&f, 2, 1, CLIENT, 7, ACK, 10);
		fleet_run(&f, 300 * SC_MS);
		if (f.delivered_to)
			got = f.delivered_to;
	}
	CHECK(got == 0 || got == at);
	CHECK_EQ(f.counters[1][SC_C_certain_no], 0);
	fleet_stop(&f);
}

TEST("an active connection goes on through a bridged cut of half an hour")
{
	struct fleet f;
	uint32_t at;

	cut_a = cut_b = -1;
	fleet_shape(&f, 3, 1, 2);
	f.fate = pass;
	fleet_begin(&f, 1024);
	fleet_run(&f, 5 * SC_S);
	for (uint16_t port = 1; port < 10; port++) {
		fleet_client(&f, 1, 1, CLIENT, port, SYN, 0);
		fleet_client(&f, 1, 1, CLIENT, port, ACK, 0);
	}
	fleet_run(&f, SC_S);
	cut_a = 0;
	cut_b = 2;
	fleet_run(&f, 4 * SC_S);
	for (int s = 0; s < 1800 && f.counters[2][SC_C_certain_no] == 0; s += 5) {
		for (uint16_t port = 1; port < 10; port++) {
			fleet_client(&f, 3, 1, CLIENT, port, ACK, 10);
			fleet_run_in_steps(&f, 50 * SC_MS, 50 * SC_MS);
			at = f.delivered_to;
			CHECK(at == 0 || at >> 16 == 0x0a01);
		}
		fleet_run_in_steps(&f, 600 * SC_MS, 50 * SC_MS);
		for (uint16_t port = 1; port < 10; port++) {
			fleet_client(&f, 3, 1, CLIENT, port, ACK, 10);
			fleet_run_in_steps(&f, 50 * SC_MS, 50 * SC_MS);
			at = f.delivered_to;
			CHECK(at == 0 || at >> 16 == 0x0a01);
		}
		fleet_run_in_steps(&f, 3500 * SC_MS, 50 * SC_MS);
	}
	CHECK_EQ(f.counters[2][SC_C_certain_no], 0);
	fleet_stop(&f);
}

CHECK_MAIN
