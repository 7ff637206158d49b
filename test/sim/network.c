/* The network: what becomes of a packet between PoPs, inside one, from clients and to
 * them: delay, loss, bursts of loss, duplication, reordering, cuts (one-directional
 * ones too); and which node a client's packet lands on. */
#include "flow_id.h"
#include "sim.h"

enum { COPIES = 2 };

struct flight {
	uint32_t len;
	uint8_t data[];
};

struct client_flight {
	struct segment s;
	int pop;
};

/* How many copies arrive, and after how long. */
static unsigned int fate_of(struct world *w, const struct link *l, uint64_t delay_us[COPIES])
{
	unsigned int copies;

	if (l->cuts > 0 || rng_chance(&w->net, l->loss) || (l->burst > 0 && rng_chance(&w->net, l->burst)))
		return 0;
	copies = l->duplicate > 0 && rng_chance(&w->net, l->duplicate) ? 2 : 1;
	for (unsigned int i = 0; i < copies; i++)
		delay_us[i] = l->delay_us + rng_range(&w->net, 0, l->jitter_us) + (i ? l->delay_us / 2 : 0);
	return copies;
}

static void land_node(struct world *w, void *p, uint32_t node, uint32_t b)
{
	struct flight *f = p;

	(void)b;
	sim_node_hand(w, (int)node, f->data, f->len);
	free(f);
}

static void land_backend(struct world *w, void *p, uint32_t backend, uint32_t b)
{
	struct flight *f = p;

	(void)b;
	sim_backend_receive(w, (int)backend, f->data, f->len);
	free(f);
}

static void land_client(struct world *w, void *p, uint32_t a, uint32_t b)
{
	(void)a;
	(void)b;
	sim_client_receive(w, p);
	free(p);
}

static struct flight *flight_of(const uint8_t *data, uint32_t len)
{
	struct flight *f = malloc(sizeof(*f) + len);

	if (!f)
		abort();
	f->len = len;
	memcpy(f->data, data, len);
	return f;
}

void sim_to_node(struct world *w, int from_pop, int node, const uint8_t *data, uint32_t len)
{
	uint64_t delay_us[COPIES];
	unsigned int copies = fate_of(w, &w->link[from_pop][w->node[node].pop], delay_us);

	if (copies > 1) {
		uint32_t serial = sim_serial(data, len);
		struct handled *h = &w->handled[serial % HANDLED];

		if (serial && h->serial == serial)
			h->copies++;
	}
	for (unsigned int i = 0; i < copies; i++)
		sim_in(w, delay_us[i], land_node, flight_of(data, len), (uint32_t)node, 0);
}

void sim_to_backend(struct world *w, int backend, const uint8_t *data, uint32_t len)
{
	int pop = w->backend[backend].pop;
	uint64_t delay_us[COPIES];
	unsigned int copies = fate_of(w, &w->link[pop][pop], delay_us);

	for (unsigned int i = 0; i < copies; i++)
		sim_in(w, delay_us[i], land_backend, flight_of(data, len), (uint32_t)backend, 0);
}

/* ECMP: one of the PoP's nodes whose route is up. -1: none. */
static int ecmp(const struct world *w, int pop, const struct segment *s)
{
	uint8_t key[12];
	int up[SIM_MAX_NODES], n = 0;

	for (int i = w->first_node[pop]; i < w->first_node[pop] + w->nodes_of[pop]; i++)
		if (w->node[i].announced)
			up[n++] = i;
	if (n == 0)
		return -1;
	sc_put32(key, s->client);
	sc_put16(key + 4, s->sport);
	sc_put16(key + 6, s->service);
	sc_put32(key + 8, w->ecmp_salt[pop]);
	return up[sc_xxh64(key, sizeof(key), 1) % (uint64_t)n];
}

/* A SYN of a flow whose backend is down begins anew by design: so would a forged one. */
static bool forged_in_vain(const struct world *w, const struct segment *s)
{
	return s->spoofed && s->conn < w->nconns && w->conn[s->conn].backend >= 0 &&
	       sim_down_somewhere(w, w->conn[s->conn].backend);
}

/* A port that its client used before, at another PoP. */
static void see_reuse(struct world *w, int pop, const struct segment *s)
{
	const struct connection *c = s->conn < w->nconns ? &w->conn[s->conn] : NULL;
	uint8_t *last;

	if (!c || s->spoofed || !(s->flags & SC_TCP_SYN) || c->claimed >= 0)
		return;
	last = &w->client[c->client].port_pop[c->service][c->sport - SIM_FIRST_PORT];
	w->result->seen[SAW_PORT_ELSEWHERE] += *last && *last != pop + 1;
	*last = (uint8_t)(pop + 1);
}

static void land_vip(struct world *w, void *p, uint32_t a, uint32_t b)
{
	struct client_flight *f = p;
	uint8_t bytes[SC_PACKET_MAX];
	int node = ecmp(w, f->pop, &f->s);

	(void)a;
	(void)b;
	if (forged_in_vain(w, &f->s))
		node = -1;
	if (node >= 0) {
		f->s.serial = ++w->serial;
		/* What would not fit is cut in two: as good as a copy. */
		w->handled[f->s.serial % HANDLED] = (struct handled){
			.serial = f->s.serial, .conn = f->s.conn, .copies = f->s.len > 1300,
		};
		sim_trace_segment(w, "arrives", &f->s, NULL);
		see_reuse(w, f->pop, &f->s);
		sim_judge_syn(w, f->pop, &f->s);
		w->result->packets++;
		sim_node_hand(w, node, bytes, sim_write_tcp(&f->s, bytes));
	}
	free(f);
}

/* The PoP where the client's next packet lands, -1: nobody announces the VIP. */
int sim_catchment(struct world *w, uint32_t client)
{
	struct client *c = &w->client[client];
	int pop = c->route;

	if (c->split >= 0 && c->sent++ & 1)
		pop = c->split;
	if (pop >= 0 && sim_pop_announces(w, pop))
		return pop;
	for (int i = 0; i < w->npops; i++)
		if (sim_pop_announces(w, c->prefers[i]))
			return c->prefers[i];
	return -1;
}

/* A client's segment to the VIP, or one that someone sends in its name. */
void sim_to_vip(struct world *w, const struct segment *s)
{
	uint32_t at = s->client < (uint32_t)w->nclients ? s->client : s->client % (uint32_t)w->nclients;
	bool forged = s->spoofed || s->client != at;
	int pop = forged ? (int)rng_below(&w->misc, (uint32_t)w->npops) : sim_catchment(w, at);
	uint64_t delay_us[COPIES];
	unsigned int copies;

	if (pop < 0)
		return;
	sim_trace_segment(w, s->spoofed ? "forged" : "client sends", s, NULL);
	copies = fate_of(w, &w->access[pop], delay_us);
	for (unsigned int i = 0; i < copies; i++) {
		struct client_flight *f = malloc(sizeof(*f));

		if (!f)
			abort();
		*f = (struct client_flight){ *s, pop };
		sim_in(w, delay_us[i] + w->client[at].delay_us[pop], land_vip, f, 0, 0);
	}
}

static void land_too_big(struct world *w, void *p, uint32_t pop, uint32_t b)
{
	struct flight *f = p;
	struct segment who = { .client = b };
	int node = ecmp(w, (int)pop, &who);

	if (node >= 0)
		sim_node_hand(w, node, f->data, f->len);
	free(f);
}

/* A backend's answer, straight to the client; too big for its path: an ICMP error to
 * the VIP, wherever the router that sends it has its route. */
void sim_to_client(struct world *w, const struct segment *s)
{
	const struct backend *b = &w->backend[s->backend];
	uint64_t delay_us[COPIES];
	unsigned int copies;

	if (s->client >= (uint32_t)w->nclients)
		return;
	if (s->len > 0 && s->len + 40u + 20u > w->client[s->client].path_mtu) {
		int pop = (int)rng_below(&w->net, (uint32_t)w->npops);
		uint8_t bytes[256];
		uint32_t len = sim_write_too_big(s, w->client[s->client].path_mtu,
						 rng_chance(&w->net, 0.5) ? 8 : 32, bytes);

		sim_in(w, 10 * SC_MS, land_too_big, flight_of(bytes, len), (uint32_t)pop, s->client);
		return;
	}
	copies = fate_of(w, &w->answers[b->pop], delay_us);
	if (copies == 0 && (s->flags & (SC_TCP_SYN | SC_TCP_ACK)) == (SC_TCP_SYN | SC_TCP_ACK) &&
	    w->client[s->client].split >= 0)
		w->result->seen[SAW_SPLIT_SYN_ACK_LOST]++;
	for (unsigned int i = 0; i < copies; i++) {
		struct segment *f = malloc(sizeof(*f));

		if (!f)
			abort();
		*f = *s;
		sim_in(w, delay_us[i] + w->client[s->client].delay_us[b->pop], land_client, f, 0, 0);
	}
}

static struct link link_of(struct rng *r, uint64_t low_us, uint64_t high_us, double loss, double duplicate)
{
	uint64_t delay_us = rng_range(r, low_us, high_us);

	return (struct link){
		.delay_us = delay_us, .jitter_us = delay_us / 10, .loss = loss, .duplicate = duplicate,
	};
}

void sim_network_init(struct world *w)
{
	static const double losses[] = { 0, 0, 0.0005, 0.002, 0.01, 0.03 };
	struct rng r = rng_of(w->o.seed, 'n', 0);
	double far = losses[rng_below(&r, 6)], access = losses[rng_below(&r, 6)];
	double duplicate = rng_below(&r, 3) == 0 ? 0.005 : 0;
	double near = rng_below(&r, 4) == 0 ? 0.0005 : 0;

	w->far_loss = far > access ? far : access;
	for (int p = 0; p < w->npops; p++) {
		for (int q = 0; q < p; q++) {
			w->link[p][q] = link_of(&r, 2 * SC_MS, 120 * SC_MS, far, duplicate);
			w->link[q][p] = w->link[p][q];
		}
		w->link[p][p] = link_of(&r, 50, 400, near, 0);
		w->access[p] = link_of(&r, 1 * SC_MS, 3 * SC_MS, access, duplicate);
		w->answers[p] = link_of(&r, 1 * SC_MS, 3 * SC_MS, access, duplicate);
	}
	for (int i = 0; i < w->nclients; i++) {
		struct client *c = &w->client[i];
		struct rng own = rng_of(w->o.seed, 'c', (uint64_t)i);

		for (int p = 0; p < w->npops; p++)
			c->delay_us[p] = rng_range(&own, 1 * SC_MS, 90 * SC_MS);
		for (int p = 0; p < w->npops; p++) {
			int at = p;

			for (; at > 0 && c->delay_us[c->prefers[at - 1]] > c->delay_us[p]; at--)
				c->prefers[at] = c->prefers[at - 1];
			c->prefers[at] = (uint8_t)p;
		}
		c->route = c->prefers[0];
		c->split = rng_chance(&own, 0.03) && w->npops > 1 ? c->prefers[1] : -1;
		c->path_mtu = rng_chance(&own, 0.05) ? 1280 : 1500;
	}
}
