/* Steadycast: no model. The nodes are the data path's own (native/, sc_node_new and
 * sc_forward), they are given real packets, and what they send each other travels with the
 * schedule's delays. A backend takes packets out of GUE by sc_backend_receive().
 * What differs from the models is to Steadycast's disadvantage: nodes learn of a change of
 * backends one after the other (sc_swap), and one that restarts is announced again only when
 * it has filled. A node's memory (native/memory.h) outlives its process, not its machine.
 * Node n of PoP p is 10.p.0.n, backend b is 10.p.1.b, counted from 1. */
#include "../../test/sim/sim.h"
#include "memory.h"
#include "plan.h"
#include "survival.h"

enum {
	MTU = 1500,
	PAYLOAD = 64,
	KEY_ID = 7,
};

#define TICK_US		(20 * SC_MS)	/* between two calls of a quiet node's timers */
#define RELOAD_US	(500 * SC_MS)	/* between two nodes' taking over a new generation */

struct member {
	struct sc_node *node;		/* NULL: down */
	uint64_t *counters;
	uint64_t skew_us;		/* how far its clock is ahead */
	uint32_t boots;
	bool soon, announced;
	void *memory, *past;		/* of this life and the one before */
};
struct steadycast {
	struct sv_world *w;
	struct member member[SV_NODES];
	struct sc_generation *backend_side[SV_POPS];
	uint64_t backend_counters[SC_COUNTER_COUNT];
	struct sc_out out;
};
struct flight {
	uint32_t len;
	uint8_t data[];
};

static uint16_t node_id(int node)
{
	return (uint16_t)(node / SV_NODES_PER_POP * 100 + node % SV_NODES_PER_POP + 101);
}

static struct sc_addr node_addr(int node)
{
	return sim_machine_addr(false, node / SV_NODES_PER_POP + 1, node % SV_NODES_PER_POP + 1);
}

static struct sc_addr backend_addr(int backend)
{
	return sim_machine_addr(false, backend / SV_BACKENDS_PER_POP + 1, 256 + backend % SV_BACKENDS_PER_POP + 1);
}

/* The fleet as it is configured now, for a node of pop, or (self < 0) its backends. */
static struct sc_generation *generation_of(const struct sv_world *w, int pop, int self)
{
	static const uint8_t states[] = {
		[SV_OUT] = SC_BACKEND_DOWN, [SV_READY] = SC_BACKEND_READY, [SV_DRAINING] = SC_BACKEND_DRAINING,
	};
	struct plan *p = calloc(1, sizeof(*p));
	struct sc_generation *g;
	uint8_t slot[SV_SLOTS];
	const char *why;

	if (!p)
		abort();
	p->h = (struct sc_generation_header){
		.magic = SC_GENERATION_MAGIC, .keys = 1, .services = 1, .pools = 1, .mtu = MTU,
		.self = self < 0 ? 0 : node_id(self), .hash_seed = SIM_HASH_SEED,
		.nodes = SV_NODES, .backends = SV_BACKENDS,
	};
	p->key[0] = (struct sc_key){ .id = KEY_ID, .key = "0123456789abcdef" };
	for (int n = 0; n < SV_NODES; n++)
		p->node[n] = (struct sc_node_row){
			.addr = node_addr(n), .id = node_id(n), .pop = (uint16_t)(n / SV_NODES_PER_POP + 1),
		};
	for (int b = 0; b < SV_BACKENDS; b++)
		p->backend[b] = (struct sc_backend_row){
			.addr = backend_addr(b), .id = (uint32_t)b + 1, .state = states[w->backend[b]],
			.pop = (uint16_t)(b / SV_BACKENDS_PER_POP + 1),
		};
	p->service[0] = (struct sc_service_row){
		.vip = sim_vip(0), .port = 80, .proto = SC_PROTO_TCP, .half_open_s = 65, .idle_s = 10800,
		.closing_s = 60,
	};
	sv_maglev(w, pop, slot);
	for (uint32_t i = 0; i < SV_SLOTS; i++)
		p->slot[i] = slot[i];
	if (self >= 0)
		p->pool[0].size = p->h.slots = SV_SLOTS;
	if (plan_load(p, &g, &why) < 0) {
		fprintf(stderr, "survival: the generation does not load: %s\n", why);
		abort();
	}
	free(p);
	return g;
}

static void carry(struct steadycast *c, int from);

static void tick(void *ctx, void *p, uint32_t node, uint32_t boots)
{
	struct steadycast *c = ctx;
	struct member *m = &c->member[node];

	(void)p;
	if (!m->node || m->boots != boots)
		return;
	sc_timers(m->node, c->w->now_us + m->skew_us, &c->out);
	carry(c, (int)node);
	if (!m->announced && m->node->filled) {
		m->announced = true;
		sv_announce(c->w, (int)node, true);
	}
	sv_in(c->w, TICK_US, tick, c, NULL, node, boots);
}

/* A worker calls the timers every SC_TIMER_US; here only who has just handled a packet. */
static void tick_soon(void *ctx, void *p, uint32_t node, uint32_t boots)
{
	struct steadycast *c = ctx;
	struct member *m = &c->member[node];

	(void)p;
	if (!m->node || m->boots != boots)
		return;
	m->soon = false;
	sc_timers(m->node, c->w->now_us + m->skew_us, &c->out);
	carry(c, (int)node);
}

static void hand(struct steadycast *c, int node, const uint8_t *data, uint32_t len)
{
	uint8_t room[SC_HEADROOM + SC_PACKET_MAX];
	struct sc_packet p = { .data = room + SC_HEADROOM, .len = len };
	struct member *m = &c->member[node];

	if (!m->node)
		return;
	memcpy(p.data, data, len);
	sc_forward(m->node, &p, 1, c->w->now_us + m->skew_us, &c->out);
	carry(c, node);
	if (!m->soon) {
		m->soon = true;
		sv_in(c->w, SC_TIMER_US, tick_soon, c, NULL, (uint32_t)node, m->boots);
	}
}

static void land_node(void *ctx, void *p, uint32_t node, uint32_t b)
{
	struct flight *f = p;

	(void)b;
	hand(ctx, (int)node, f->data, f->len);
	free(f);
}

static void land_backend(void *ctx, void *p, uint32_t backend, uint32_t b)
{
	struct steadycast *c = ctx;
	struct flight *f = p;
	struct sc_packet packet = { .data = f->data, .len = f->len };
	struct sc_addr self = backend_addr((int)backend);
	uint16_t pop = (uint16_t)(backend / SV_BACKENDS_PER_POP + 1);
	struct segment s;
	bool too_big;

	(void)b;
	sc_backend_receive(c->backend_side[pop - 1], &self, pop, &packet, 1, c->backend_counters, &c->out);
	if (c->out.n != 1 || !sim_read(c->out.p[0].data, c->out.p[0].len, &s, &too_big)) {
		fprintf(stderr, "survival: backend %u refuses what a node sent it\n", backend);
		abort();
	}
	sv_deliver(c->w, &(struct sv_packet){ s.conn, s.serial, s.flags & SC_TCP_FIN }, (uint8_t)backend);
	free(f);
}

static void carry_one(struct steadycast *c, int from, const struct sc_packet *p)
{
	const uint8_t *dst = p->data + 16;
	int pop = dst[1] - 1, low = dst[3] - 1;
	struct flight *f = malloc(sizeof(*f) + p->len);

	if (!f || dst[0] != 10)
		abort();
	f->len = p->len;
	memcpy(f->data, p->data, p->len);
	if (dst[2] == 1)
		sv_in(c->w, c->w->s->delay_us[pop][pop], land_backend, c, f, (uint32_t)(pop * SV_BACKENDS_PER_POP + low), 0);
	else
		sv_in(c->w, c->w->s->delay_us[from / SV_NODES_PER_POP][pop], land_node, c, f,
		      (uint32_t)(pop * SV_NODES_PER_POP + low), 0);
}

static void carry(struct steadycast *c, int from)
{
	for (unsigned int i = 0; i < c->out.n; i++)
		carry_one(c, from, &c->out.p[i]);
}

static void arrive(void *state, int node, const struct sv_packet *p)
{
	struct steadycast *c = state;
	const struct sv_flow *f = &c->w->s->flow[p->flow];
	struct segment s = {
		.client = f->client, .sport = f->sport, .conn = p->flow, .serial = p->number, .seq = p->number, .ack = 1,
		.flags = p->number == 0 ? SC_TCP_SYN : p->last ? SC_TCP_FIN | SC_TCP_ACK : SC_TCP_ACK,
		.len = p->number > 1 ? PAYLOAD : 0,
	};
	uint8_t bytes[256];

	hand(c, node, bytes, sim_write_tcp(&s, bytes));
}

/* What the last life left is the past of this one, unless the machine is lost with it. */
static void turn_memory(struct steadycast *c, int node, uint32_t entries)
{
	const struct sc_memory_id id = { .hash_seed = SIM_HASH_SEED, .node = node_id(node) };
	struct member *m = &c->member[node];

	free(m->past);
	m->past = m->memory;
	m->memory = calloc(1, sc_memory_size(entries));
	if (!m->memory)
		abort();
	sc_memory_init(m->memory, entries, &id);
	if (c->w->s->scenario->has & SV_MACHINES_LOST) {
		free(m->past);
		m->past = NULL;
	}
}

static void start_node(void *state, int node)
{
	struct steadycast *c = state;
	struct member *m = &c->member[node];
	struct rng r = rng_of(c->w->s->seed, 'b', (uint64_t)node << 32 | ++m->boots);
	struct sc_node_options o = { .boot_id = rng_next(&r) | 1, .flow_entries = c->w->s->nflows * 4 };
	struct sc_generation *g = generation_of(c->w, node / SV_NODES_PER_POP, node);

	turn_memory(c, node, o.flow_entries);
	o.memory = m->memory;
	o.past = m->past;
	m->counters = calloc(sc_counter_slots(g), sizeof(uint64_t));
	if (!m->counters || sc_node_new(&o, g, m->counters, &m->node) < 0)
		abort();
	m->soon = m->announced = false;
	sv_in(c->w, rng_range(&r, 0, TICK_US), tick, c, NULL, (uint32_t)node, m->boots);
}

static void stop_node(void *state, int node)
{
	struct steadycast *c = state;
	struct member *m = &c->member[node];

	if (!m->node)
		return;
	sc_node_free(m->node);
	free(m->counters);
	m->node = NULL;
}

static void reload(void *ctx, void *p, uint32_t node, uint32_t b)
{
	struct steadycast *c = ctx;
	struct member *m = &c->member[node];
	struct sc_generation *g;
	struct sc_swap *swap;
	uint64_t *counters;
	const char *why;

	(void)p;
	(void)b;
	if (!m->node)
		return;		/* it starts with the new picture */
	g = generation_of(c->w, (int)node / SV_NODES_PER_POP, (int)node);
	counters = calloc(sc_counter_slots(g), sizeof(uint64_t));
	if (!counters || sc_swap_prepare(m->node, g, counters, &swap, &why) < 0)
		abort();
	sc_swap_apply(m->node, swap);
	sc_swap_free(swap);
	free(m->counters);
	m->counters = counters;
}

static void backends_changed(void *state, int pop)
{
	struct steadycast *c = state;

	for (uint32_t i = 0; i < SV_NODES_PER_POP; i++)
		sv_in(c->w, i * RELOAD_US, reload, c, NULL, (uint32_t)pop * SV_NODES_PER_POP + i, 0);
}

static void *start(struct sv_world *w)
{
	struct steadycast *c = calloc(1, sizeof(*c));

	if (!c)
		abort();
	c->w = w;
	for (int pop = 0; pop < SV_POPS; pop++)
		c->backend_side[pop] = generation_of(w, pop, -1);
	for (int n = 0; n < SV_NODES; n++) {
		struct rng r = rng_of(w->s->seed, 's', (uint64_t)n);

		c->member[n].skew_us = rng_range(&r, 0, 100 * SC_S);
		start_node(c, n);
	}
	return c;
}

static void stop(void *state)
{
	struct steadycast *c = state;

	for (int n = 0; n < SV_NODES; n++) {
		stop_node(c, n);
		free(c->member[n].memory);
		free(c->member[n].past);
	}
	for (int pop = 0; pop < SV_POPS; pop++)
		sc_generation_free(c->backend_side[pop]);
	free(c);
}

const struct sv_strategy sv_steadycast = {
	.name = "steadycast", .start = start, .stop = stop, .arrive = arrive,
	.backends_changed = backends_changed, .node_down = stop_node, .node_up = start_node,
};
