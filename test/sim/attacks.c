/* Events: what strangers send, floods and forged SYNs; and backends' kernels that answer
 * with SYN cookies or lose sockets. */
#include "events.h"

static void relieve(struct world *w, void *p, uint32_t backend, uint32_t b)
{
	(void)p;
	(void)b;
	w->backend[backend].pressed = false;
}

bool press_backend(struct world *w, struct rng *r)
{
	uint32_t at = rng_below(r, (uint32_t)w->nbackends);
	uint64_t us = some_s(r, 5, 30);

	w->backend[at].pressed = true;
	sim_say(w, "backend %d.%d answers with SYN cookies", w->backend[at].pop + 1, w->backend[at].number);
	sim_in(w, us, relieve, NULL, at, 0);
	sim_until(w, us);
	return true;
}

static void flood_packet(struct world *w, void *p, uint32_t client, uint32_t flags)
{
	struct segment s = {
		.client = SIM_MAX_CLIENTS + client % 1000003, .sport = (uint16_t)(client >> 16), .flags = (uint8_t)flags,
		.seq = client, .conn = SIM_NOBODY, .backend = -1, .spoofed = true,
	};

	(void)p;
	sim_to_vip(w, &s);
}

/* Row 11, as far as the table has room: SYNs or ACKs of nobody's. */
bool flood(struct world *w, struct rng *r)
{
	uint32_t n = 50 + rng_below(r, w->flow_entries / 16), flags = rng_below(r, 2) ? SC_TCP_SYN : SC_TCP_ACK;
	uint64_t us = some_s(r, 1, 5);

	sim_say(w, "a flood of %u %ss", n, flags == SC_TCP_SYN ? "SYN" : "ACK");
	for (uint32_t i = 0; i < n; i++)
		sim_in(w, rng_range(r, 0, us), flood_packet, NULL, (uint32_t)rng_next(r), flags);
	sim_until(w, us);
	return true;
}

/* A flood that is too much for every limit: nodes get it in bursts, at their PoP's door. */
struct great_flood {
	struct rng r;
	uint32_t flags, packets, repeats;
	int pop, left;
};

enum { GREAT_STEP_US = 4 * SC_MS };

static void flood_step(struct world *w, void *p, uint32_t a, uint32_t b)
{
	struct great_flood *f = p;
	uint8_t bytes[256];

	for (uint32_t i = 0; i < f->packets; i++) {
		int node = w->first_node[f->pop] + (int)rng_below(&f->r, (uint32_t)w->nodes_of[f->pop]);
		uint32_t client = SIM_MAX_CLIENTS + rng_below(&f->r, f->repeats);
		struct segment s = {
			.client = client, .sport = (uint16_t)client, .service = (uint8_t)(client & 1), .flags = (uint8_t)f->flags,
			.seq = client, .conn = SIM_NOBODY, .backend = -1, .spoofed = true,
		};

		w->result->packets++;
		if (w->node[node].announced)
			sim_node_hand(w, node, bytes, sim_write_tcp(&s, bytes));
	}
	if (--f->left == 0) {
		free(f);
		return;
	}
	sim_in(w, GREAT_STEP_US, flood_step, f, a, b);
}

/* SYNs and ACKs above the limits of every node of a PoP; those of ACKs while nobody is
 * certain of anything. */
bool great_flood(struct world *w, struct rng *r)
{
	struct great_flood *f = malloc(sizeof(*f));
	uint64_t us = rng_range(r, 700 * SC_MS, 1500 * SC_MS);
	uint32_t per_s;
	bool syn = rng_below(r, 2);

	if (!f)
		abort();
	*f = (struct great_flood){
		.r = *r, .pop = any_pop(w, r), .flags = syn ? SC_TCP_SYN : SC_TCP_ACK, .left = (int)(us / GREAT_STEP_US),
		.repeats = rng_below(r, 4) ? 4000000 : 4000,
	};
	per_s = (syn ? SC_HALF_OPEN_PER_S : SC_RELAY_PER_S) / 2 * 3 * (uint32_t)w->nodes_of[f->pop];
	f->packets = (uint32_t)(per_s * GREAT_STEP_US / SC_S);
	sim_say(w, "a flood of %u %ss a second upon PoP %d", per_s, syn ? "SYN" : "ACK", f->pop + 1);
	if (!syn && w->nnodes > 1)
		sim_kill(w, (w->first_node[f->pop] + w->nodes_of[f->pop]) % w->nnodes, some_s(r, 5, 10), 0);
	sim_in(w, 4 * SC_S, flood_step, f, 0, 0);
	sim_until(w, us + 4 * SC_S);
	if (w->now_us > w->flood_us)
		w->flooded_us = w->now_us + 4 * SC_S;
	w->flood_us = w->now_us + us + 7 * SC_S;
	return true;
}

static struct connection *any_living(struct world *w, struct rng *r)
{
	for (int i = 0; i < 50; i++) {
		struct connection *c = &w->conn[rng_below(r, w->nconns)];

		if (c->fate == FATE_LIVING)
			return c;
	}
	return NULL;
}

static void forge_syn(struct world *w, void *p, uint32_t conn, uint32_t seq)
{
	const struct connection *c = &w->conn[conn];
	struct segment s = {
		.client = c->client, .sport = c->sport, .service = c->service, .flags = SC_TCP_SYN, .seq = seq,
		.conn = conn, .backend = -1, .spoofed = true,
	};

	(void)p;
	if (c->fate == FATE_LIVING)
		sim_to_vip(w, &s);
}

/* SYNs in the name of living connections. */
bool spoof(struct world *w, struct rng *r)
{
	uint32_t n = 1 + rng_below(r, 40);
	bool any = false;

	sim_say(w, "%u SYNs in the name of living connections", n);
	for (uint32_t i = 0; i < n; i++) {
		struct connection *c = any_living(w, r);

		if (c)
			sim_in(w, rng_range(r, 0, 3 * SC_S), forge_syn, NULL, (uint32_t)(c - w->conn), (uint32_t)rng_next(r));
		any |= c != NULL;
	}
	sim_until(w, 3 * SC_S);
	return any;
}

/* Backends lose sockets: their clients are to be told. */
bool forget(struct world *w, struct rng *r)
{
	bool any = false;

	for (uint32_t i = 1 + rng_below(r, 4); i > 0; i--) {
		struct connection *c = any_living(w, r);

		if (c)
			sim_forget(w, c);
		any |= c != NULL;
	}
	return any;
}

