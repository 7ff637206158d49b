/* A small fleet in one process for native tests: the blob, the nodes, an in-memory
 * network that carries outer packets by destination, virtual time, and a builder of
 * client packets. Node n of PoP p is 10.p.0.n, backend b of PoP p is 10.p.1.b (p, n
 * and b count from 1); the VIP is 198.51.100.10, TCP port 80. */
#ifndef SC_TEST_FLEET_H
#define SC_TEST_FLEET_H

#include <stdlib.h>

#include "flow_id.h"
#include "generation.h"
#include "node.h"
#include "wire.h"

enum { FLEET_MAX_NODES = 16, FLEET_SLOTS = 251, FLEET_ROOM = SC_HEADROOM + SC_PACKET_MAX };

struct fleet {
	int pops, nodes_per_pop, backends_per_pop, n;
	struct sc_node *node[FLEET_MAX_NODES];
	uint64_t *counters[FLEET_MAX_NODES];
	bool dead[FLEET_MAX_NODES];
	uint64_t now_us;
	int lose;			/* drop this many of the next packets between nodes */
	uint32_t delivered_to;		/* IPv4 address of the last backend reached, 0: none */
	unsigned int deliveries;
	uint8_t last[SC_PACKET_MAX];	/* the last packet that left for a backend, outer headers included */
	uint32_t last_len;
};

static inline struct sc_addr ip4(uint32_t v)
{
	uint8_t b[4];

	sc_put32(b, v);
	return sc_addr4(b);
}

#define FLEET_VIP 0xc633640au
#define FLEET_SEED 0x9f1c5e7702ab44d1ull

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

/* The blob of node self of PoP pop. The caller frees it. */
static inline uint8_t *fleet_blob(const struct fleet *f, int pop, int self, size_t *len)
{
	uint32_t nb = (uint32_t)(f->pops * f->backends_per_pop);
	struct sc_generation_header h = {
		.magic = SC_GENERATION_MAGIC, .keys = 1, .nodes = (uint32_t)f->n, .backends = nb,
		.services = 1, .pools = 1, .slots = FLEET_SLOTS, .self = (uint16_t)(pop * 100 + self),
		.mtu = 1500, .hash_seed = FLEET_SEED,
	};
	struct sc_key key = { .id = 7, .key = "0123456789abcdef" };
	struct sc_service_row service = {
		.vip = ip4(FLEET_VIP), .port = 80, .proto = SC_PROTO_TCP, .half_open_s = 65,
		.idle_s = 10800, .closing_s = 60,
	};
	struct sc_pool_row pool = { .size = FLEET_SLOTS };
	uint8_t *blob, *at;

	*len = sizeof(h) + sizeof(key) + h.nodes * sizeof(struct sc_node_row) +
	       nb * sizeof(struct sc_backend_row) + sizeof(service) + sizeof(pool) + (FLEET_SLOTS + 1) * 2;
	at = blob = calloc(1, *len);
	memcpy(at, &h, sizeof(h));
	at += sizeof(h);
	memcpy(at, &key, sizeof(key));
	at += sizeof(key);
	for (int p = 1; p <= f->pops; p++) {
		for (int n = 1; n <= f->nodes_per_pop; n++, at += sizeof(struct sc_node_row)) {
			struct sc_node_row row = {
				.addr = ip4(fleet_node_ip(p, n)), .id = (uint16_t)(p * 100 + n), .pop = (uint16_t)p,
			};
			memcpy(at, &row, sizeof(row));
		}
	}
	for (int p = 1; p <= f->pops; p++) {
		for (int b = 1; b <= f->backends_per_pop; b++, at += sizeof(struct sc_backend_row)) {
			struct sc_backend_row row = {
				.addr = ip4(fleet_backend_ip(p, b)), .id = fleet_backend_id(p, b), .pop = (uint16_t)p,
			};
			memcpy(at, &row, sizeof(row));
		}
	}
	memcpy(at, &service, sizeof(service));
	at += sizeof(service);
	memcpy(at, &pool, sizeof(pool));
	at += sizeof(pool);
	for (int i = 0; i < FLEET_SLOTS; i++) {
		uint16_t slot = (uint16_t)((pop - 1) * f->backends_per_pop + i % f->backends_per_pop);

		memcpy(at + i * 2, &slot, 2);
	}
	return blob;
}

static inline int fleet_index(const struct fleet *f, int pop, int n)
{
	return (pop - 1) * f->nodes_per_pop + n - 1;
}

static inline void fleet_start_node(struct fleet *f, int pop, int n, uint64_t boot, uint32_t entries)
{
	int i = fleet_index(f, pop, n);
	struct sc_node_options o = { .boot_id = boot, .flow_entries = entries };
	struct sc_generation *g;
	const char *why;
	size_t len;
	uint8_t *blob = fleet_blob(f, pop, n, &len);

	if (sc_generation_load(blob, len, &g, &why) < 0)
		abort();
	free(blob);
	f->counters[i] = calloc(sc_counter_slots(g), sizeof(uint64_t));
	if (sc_node_new(&o, g, f->counters[i], &f->node[i]) < 0)
		abort();
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

static inline void fleet_start(struct fleet *f, int pops, int nodes, int backends, uint32_t entries)
{
	memset(f, 0, sizeof(*f));
	f->pops = pops;
	f->nodes_per_pop = nodes;
	f->backends_per_pop = backends;
	f->n = pops * nodes;
	f->now_us = SC_S;
	for (int p = 1; p <= pops; p++)
		for (int n = 1; n <= nodes; n++)
			fleet_start_node(f, p, n, 0x1000u + (unsigned int)(p * 100 + n), entries);
}

static inline void fleet_stop(struct fleet *f)
{
	for (int p = 1; p <= f->pops; p++)
		for (int n = 1; n <= f->nodes_per_pop; n++)
			if (f->node[fleet_index(f, p, n)])
				fleet_stop_node(f, p, n);
}

static inline void fleet_carry(struct fleet *f, const struct sc_out *out);

/* Hands node i one packet, copied, and carries what leaves to its end. */
static inline void fleet_hand(struct fleet *f, int i, const uint8_t *data, uint32_t len)
{
	uint8_t *buffer = malloc(FLEET_ROOM);
	struct sc_out *out = malloc(sizeof(*out));
	struct sc_packet p = { .data = buffer + SC_HEADROOM, .len = len };

	if (!f->dead[i]) {
		memcpy(p.data, data, len);
		sc_forward(f->node[i], &p, 1, f->now_us, out);
		fleet_carry(f, out);
	}
	free(out);
	free(buffer);
}

static inline void fleet_carry_one(struct fleet *f, const struct sc_packet *p)
{
	uint32_t dst = sc_get32(p->data + 16);
	int pop = dst >> 16 & 0xff, low = dst & 0xff;

	if ((dst & 0xff00) == 0x100) {
		f->delivered_to = dst;
		f->deliveries++;
		f->last_len = p->len;
		memcpy(f->last, p->data, p->len);
	} else if (f->lose > 0) {
		f->lose--;
	} else {
		uint8_t *copy = malloc(p->len);

		memcpy(copy, p->data, p->len);
		fleet_hand(f, fleet_index(f, pop, low), copy, p->len);
		free(copy);
	}
}

static inline void fleet_carry(struct fleet *f, const struct sc_out *out)
{
	for (unsigned int i = 0; i < out->n; i++)
		fleet_carry_one(f, &out->p[i]);
}

/* Lets time pass, calling every node's timers as the worker does. */
static inline void fleet_run(struct fleet *f, uint64_t us)
{
	uint64_t end = f->now_us + us;
	struct sc_out *out = malloc(sizeof(*out));

	while (f->now_us < end) {
		f->now_us += SC_TIMER_US;
		for (int i = 0; i < f->n; i++) {
			if (f->dead[i])
				continue;
			sc_timers(f->node[i], f->now_us, out);
			fleet_carry(f, out);
		}
	}
	free(out);
}

/* A TCP packet of a client for the VIP. Returns its length. */
static inline uint32_t client_tcp(uint8_t *b, uint32_t client, uint16_t sport, uint8_t flags,
				  uint32_t payload)
{
	uint32_t len = 40 + payload;
	struct sc_parsed pseudo = { .src = ip4(client), .dst = ip4(FLEET_VIP), .family = 4 };

	memset(b, 0, len);
	b[0] = 0x45;
	sc_put16(b + 2, (uint16_t)len);
	sc_put16(b + 6, 0x4000);
	b[8] = 60;
	b[9] = SC_PROTO_TCP;
	sc_put32(b + 12, client);
	sc_put32(b + 16, FLEET_VIP);
	sc_put16(b + 10, (uint16_t)~sc_fold(sc_sum(b, 20, 0)));
	sc_put16(b + 20, sport);
	sc_put16(b + 22, 80);
	b[32] = 0x50;
	b[33] = flags;
	for (uint32_t i = 0; i < payload; i++)
		b[40 + i] = (uint8_t)i;
	sc_put16(b + 36, (uint16_t)~sc_fold(sc_sum(b + 20, len - 20,
						   sc_sum_pseudo(&pseudo, SC_PROTO_TCP, len - 20))));
	return len;
}

/* A client's packet arrives at node n of PoP pop. Returns the IPv4 address of the
 * backend that got it, 0 when none did. */
static inline uint32_t fleet_client(struct fleet *f, int pop, int n, uint32_t client, uint16_t sport,
				    uint8_t flags, uint32_t payload)
{
	uint8_t b[SC_PACKET_MAX];
	uint32_t len = client_tcp(b, client, sport, flags, payload);

	f->delivered_to = 0;
	fleet_hand(f, fleet_index(f, pop, n), b, len);
	return f->delivered_to;
}

#endif
