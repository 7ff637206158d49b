/* A small fleet in one process for native tests: the nodes, an in-memory network that
 * carries outer packets by destination, virtual time, and clients. Node n of PoP p is
 * 10.p.0.n, backend b of PoP p is 10.p.1.b (p, n and b count from 1), or fd00::10.p.0.n
 * and so on where outer packets are IPv6; the VIP is 198.51.100.10, TCP port 80. */
#ifndef SC_TEST_FLEET_H
#define SC_TEST_FLEET_H

#include <stdio.h>
#include <stdlib.h>

#include "flow_id.h"
#include "node.h"
#include "packets.h"
#include "plan.h"
#include "wire.h"

enum {
	FLEET_MAX_NODES = 16,
	FLEET_SLOTS = 251,
	FLEET_KEY_ID = 7,
	FLEET_COPIES = 2,
	FLEET_ROOM = SC_HEADROOM + SC_PACKET_MAX,
};

#define FLEET_VIP 0xc633640au
#define FLEET_SEED 0x9f1c5e7702ab44d1ull

/* A packet on its way between nodes. */
struct flight {
	struct flight *next;
	uint64_t due_us;
	int to;
	uint32_t len;
	uint8_t data[];
};

struct fleet {
	int pops, nodes_per_pop, backends_per_pop, n;
	struct sc_node *node[FLEET_MAX_NODES];
	uint64_t *counters[FLEET_MAX_NODES];
	bool dead[FLEET_MAX_NODES];
	uint64_t handed[FLEET_MAX_NODES];	/* packets that node was given since it started */
	uint64_t skew_us[FLEET_MAX_NODES];	/* how far its clock is ahead */
	uint64_t now_us;
	bool ip6;			/* outer packets are IPv6 */
	/* Changes what node self of PoP pop starts with; NULL: nothing. */
	void (*change)(const struct fleet *f, struct plan *p, int pop, int self);
	/* Changes the options that node i starts with; NULL: nothing. */
	void (*options)(const struct fleet *f, int i, struct sc_node_options *o);
	/* Says how many copies (<= FLEET_COPIES) of a packet between nodes arrive, and
	 * after how long each; NULL: one, at once. */
	unsigned int (*fate)(struct fleet *f, int to, const uint8_t *data, uint32_t len,
			     uint64_t delay_us[FLEET_COPIES]);
	uint64_t random;		/* for the hooks */
	struct flight *flights;
	int lose;			/* drop this many of the next packets between nodes */
	uint32_t delivered_to;		/* IPv4 address of the last backend reached, 0: none */
	unsigned int deliveries, locals, answers;	/* to backends, to a node's own stack, to clients */
	uint8_t last[SC_PACKET_MAX];	/* the last packet of any of these, outer headers included */
	uint32_t last_len;
};

static inline uint32_t fleet_node_ip(int pop, int n)
{
	return 0x0a000000u | (uint32_t)pop << 16 | (uint32_t)n;
}

static inline uint32_t fleet_backend_ip(int pop, int b)
{
	return fleet_node_ip(pop, b) | 0x100;
}

static inline uint32_t fleet_backend_id(int pop, int b)
{
	return (uint32_t)pop << 20 | (uint32_t)b;
}

static inline uint16_t fleet_node_id(int pop, int n)
{
	return (uint16_t)(pop * 100 + n);
}

static inline struct sc_addr fleet_addr(const struct fleet *f, uint32_t ip)
{
	return f->ip6 ? ip6(ip) : ip4(ip);
}

static inline int fleet_index(const struct fleet *f, int pop, int n)
{
	return (pop - 1) * f->nodes_per_pop + n - 1;
}

/* What node self of PoP pop is given. */
static inline void fleet_plan(const struct fleet *f, struct plan *p, int pop, int self)
{
	memset(p, 0, sizeof(*p));
	p->h = (struct sc_generation_header){
		.magic = SC_GENERATION_MAGIC, .keys = 1, .services = 1, .pools = 1, .slots = FLEET_SLOTS,
		.self = fleet_node_id(pop, self), .mtu = 1500, .hash_seed = FLEET_SEED,
	};
	p->key[0] = (struct sc_key){ .id = FLEET_KEY_ID, .key = "0123456789abcdef" };
	for (int q = 1; q <= f->pops; q++) {
		for (int n = 1; n <= f->nodes_per_pop; n++)
			p->node[p->h.nodes++] = (struct sc_node_row){
				.addr = fleet_addr(f, fleet_node_ip(q, n)), .id = fleet_node_id(q, n), .pop = (uint16_t)q,
			};
		for (int b = 1; b <= f->backends_per_pop; b++)
			p->backend[p->h.backends++] = (struct sc_backend_row){
				.addr = fleet_addr(f, fleet_backend_ip(q, b)), .id = fleet_backend_id(q, b), .pop = (uint16_t)q,
			};
	}
	p->service[0] = (struct sc_service_row){
		.vip = ip4(FLEET_VIP), .port = 80, .proto = SC_PROTO_TCP, .half_open_s = 65,
		.idle_s = 10800, .closing_s = 60,
	};
	p->pool[0] = (struct sc_pool_row){ .size = FLEET_SLOTS };
	for (int i = 0; i < FLEET_SLOTS; i++)
		p->slot[i] = (uint16_t)((pop - 1) * f->backends_per_pop + i % f->backends_per_pop);
	if (f->change)
		f->change(f, p, pop, self);
}

/* The same as a blob. The caller frees it. */
static inline uint8_t *fleet_blob(const struct fleet *f, int pop, int self, size_t *len)
{
	struct plan *plan = malloc(sizeof(*plan));
	uint8_t *blob;

	fleet_plan(f, plan, pop, self);
	blob = plan_pack(plan, len);
	free(plan);
	return blob;
}

static inline struct sc_generation *fleet_generation(const struct fleet *f, int pop, int self)
{
	struct sc_generation *g;
	const char *why;
	size_t len;
	uint8_t *blob = fleet_blob(f, pop, self, &len);

	if (sc_generation_load(blob, len, &g, &why) < 0) {
		fprintf(stderr, "fleet.h: the generation does not load: %s\n", why);
		abort();
	}
	free(blob);
	return g;
}

static inline void fleet_start_node(struct fleet *f, int pop, int n, uint64_t boot, uint32_t entries)
{
	int i = fleet_index(f, pop, n);
	struct sc_node_options o = { .boot_id = boot, .flow_entries = entries };
	struct sc_generation *g;

	g = fleet_generation(f, pop, n);
	if (f->options)
		f->options(f, i, &o);
	f->counters[i] = calloc(sc_counter_slots(g), sizeof(uint64_t));
	if (sc_node_new(&o, g, f->counters[i], &f->node[i]) < 0)
		abort();
	f->handed[i] = 0;
	f->dead[i] = false;
}

static inline void fleet_stop_node(struct fleet *f, int pop, int n)
{
	int i = fleet_index(f, pop, n);

	sc_node_free(f->node[i]);
	free(f->counters[i]);
	f->node[i] = NULL;
	f->dead[i] = true;
}

/* Node n of PoP pop goes over to what f->change says now. */
static inline void fleet_reload_node(struct fleet *f, int pop, int n)
{
	int i = fleet_index(f, pop, n);
	struct sc_generation *g = fleet_generation(f, pop, n);
	uint64_t *counters = calloc(sc_counter_slots(g), sizeof(uint64_t));
	struct sc_swap *swap;
	const char *why;

	if (sc_swap_prepare(f->node[i], g, counters, &swap, &why) < 0) {
		fprintf(stderr, "fleet.h: no reload: %s\n", why);
		abort();
	}
	sc_swap_apply(f->node[i], swap);
	sc_swap_free(swap);
	free(f->counters[i]);
	f->counters[i] = counters;
}

static inline void fleet_reload(struct fleet *f)
{
	for (int p = 1; p <= f->pops; p++)
		for (int n = 1; n <= f->nodes_per_pop; n++)
			if (!f->dead[fleet_index(f, p, n)])
				fleet_reload_node(f, p, n);
}

/* A fleet that has not begun: its hooks can be set. */
static inline void fleet_shape(struct fleet *f, int pops, int nodes, int backends)
{
	memset(f, 0, sizeof(*f));
	f->pops = pops;
	f->nodes_per_pop = nodes;
	f->backends_per_pop = backends;
	f->n = pops * nodes;
	f->now_us = SC_S;
}

static inline void fleet_begin(struct fleet *f, uint32_t entries)
{
	for (int p = 1; p <= f->pops; p++)
		for (int n = 1; n <= f->nodes_per_pop; n++)
			fleet_start_node(f, p, n, 0x1000u + fleet_node_id(p, n), entries);
}

static inline void fleet_start(struct fleet *f, int pops, int nodes, int backends, uint32_t entries)
{
	fleet_shape(f, pops, nodes, backends);
	fleet_begin(f, entries);
}

static inline void fleet_stop(struct fleet *f)
{
	for (struct flight *next; f->flights; f->flights = next) {
		next = f->flights->next;
		free(f->flights);
	}
	for (int p = 1; p <= f->pops; p++)
		for (int n = 1; n <= f->nodes_per_pop; n++)
			if (f->node[fleet_index(f, p, n)])
				fleet_stop_node(f, p, n);
}

static inline void fleet_carry(struct fleet *f, const struct sc_out *out);

/* Hands node i one packet, copied, and carries what leaves to its end. */
static inline void fleet_hand(struct fleet *f, int i, const uint8_t *data, uint32_t len)
{
	struct exact e = exact_copy(data, len);
	struct sc_out *out = malloc(sizeof(*out));

	if (!f->dead[i]) {
		f->handed[i]++;
		sc_forward(f->node[i], &e.p, 1, f->now_us + f->skew_us[i], out);
		fleet_carry(f, out);
	}
	free(out);
	exact_free(&e);
}

static inline void fleet_send(struct fleet *f, int to, const uint8_t *data, uint32_t len)
{
	uint64_t delay_us[FLEET_COPIES] = { 0 };
	unsigned int copies = f->fate ? f->fate(f, to, data, len, delay_us) : 1;

	for (unsigned int i = 0; i < copies; i++) {
		struct flight *flight = malloc(sizeof(*flight) + len);

		*flight = (struct flight){ .due_us = f->now_us + delay_us[i], .to = to, .len = len };
		memcpy(flight->data, data, len);
		if (delay_us[i] == 0) {
			fleet_hand(f, to, flight->data, len);
			free(flight);
		} else {
			flight->next = f->flights;
			f->flights = flight;
		}
	}
}

static inline void fleet_land(struct fleet *f)
{
	struct flight **at = &f->flights;

	while (*at) {
		struct flight *flight = *at;

		if (flight->due_us > f->now_us) {
			at = &flight->next;
			continue;
		}
		*at = flight->next;
		fleet_hand(f, flight->to, flight->data, flight->len);
		free(flight);
		at = &f->flights;	/* the list may have grown */
	}
}

static inline void fleet_keep(struct fleet *f, const struct sc_packet *p)
{
	f->last_len = p->len;
	memcpy(f->last, p->data, p->len);
}

static inline void fleet_carry_one(struct fleet *f, const struct sc_packet *p)
{
	uint32_t dst = sc_get32(p->data + (p->data[0] >> 4 == 4 ? 16 : 36));
	int pop = dst >> 16 & 0xff, low = dst & 0xff;

	if (p->egress == SC_EGRESS_LOCAL) {
		f->locals++;
		fleet_keep(f, p);
	} else if (dst >> 24 != 10) {
		f->answers++;
		fleet_keep(f, p);
	} else if ((dst & 0xff00) == 0x100) {
		f->delivered_to = dst;
		f->deliveries++;
		fleet_keep(f, p);
	} else if (f->lose > 0) {
		f->lose--;
	} else {
		fleet_send(f, fleet_index(f, pop, low), p->data, p->len);
	}
}

static inline void fleet_carry(struct fleet *f, const struct sc_out *out)
{
	for (unsigned int i = 0; i < out->n; i++)
		fleet_carry_one(f, &out->p[i]);
}

/* Lets time pass in steps, calling every node's timers as the worker does. Steps of
 * more than 100 ms make nodes of one PoP think each other dead, of more than 1 s others. */
static inline void fleet_run_in_steps(struct fleet *f, uint64_t us, uint64_t step_us)
{
	uint64_t end = f->now_us + us;
	struct sc_out *out = malloc(sizeof(*out));

	while (f->now_us < end) {
		f->now_us += step_us;
		fleet_land(f);
		for (int i = 0; i < f->n; i++) {
			if (f->dead[i])
				continue;
			sc_timers(f->node[i], f->now_us + f->skew_us[i], out);
			fleet_carry(f, out);
		}
	}
	free(out);
}

static inline void fleet_run(struct fleet *f, uint64_t us)
{
	fleet_run_in_steps(f, us, SC_TIMER_US);
}

/* A TCP packet of a client for the VIP. Returns its length. */
static inline uint32_t client_tcp(uint8_t *b, uint32_t client, uint16_t sport, uint8_t flags,
				  uint32_t payload)
{
	struct draft *d = malloc(sizeof(*d));
	uint32_t len;

	draft_client(d, 4, SC_PROTO_TCP, client, FLEET_VIP, sport, 80, flags, payload);
	len = d->len;
	memcpy(b, d->b, len);
	free(d);
	return len;
}

/* A packet arrives at node n of PoP pop. Returns the IPv4 address of the backend that
 * got it, 0 when none did. */
static inline uint32_t fleet_arrive(struct fleet *f, int pop, int n, const uint8_t *b, uint32_t len)
{
	f->delivered_to = 0;
	fleet_hand(f, fleet_index(f, pop, n), b, len);
	return f->delivered_to;
}

static inline uint32_t fleet_client(struct fleet *f, int pop, int n, uint32_t client, uint16_t sport,
				    uint8_t flags, uint32_t payload)
{
	uint8_t b[SC_PACKET_MAX];
	uint32_t len = client_tcp(b, client, sport, flags, payload);

	return fleet_arrive(f, pop, n, b, len);
}

/* The flow id of such a client's flow. */
static inline uint64_t fleet_flow(uint32_t client, uint16_t sport)
{
	struct sc_addr src = ip4(client), vip = ip4(FLEET_VIP);

	return sc_flow_id(&src, &vip, sport, 80, SC_PROTO_TCP, FLEET_SEED);
}

/* How much of what the node was given its counters do not account for: 0. */
static inline int64_t fleet_unaccounted(const struct fleet *f, int i)
{
	const uint64_t *c = f->counters[i];
	uint64_t ends = 0;

	for (int r = 0; r < SC_DROP_COUNT; r++)
		ends += c[r];
	for (int x = SC_C_EXIT_BASE; x <= SC_C_consumed; x++)
		ends += c[x];
	return (int64_t)(f->handed[i] - ends);
}

#endif
