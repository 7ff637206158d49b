/* The fleet: real nodes of the data path, each with the picture of the fleet it was
 * started with; their life, their timers, and where what they emit goes.
 * Node n of PoP p is 10.p.0.n (fd00::10.p.0.n), backend b is 10.p.1.b; PoPs, nodes and
 * backends count from 1 on the wire and from 0 in here. */
#include "flow_id.h"
#include "plan.h"
#include "sim.h"

enum {
	SLOTS = 251,
	FLOW_ENTRIES_MIN = 1024,
	MTU = 1500,
};

static uint16_t pop_id(int pop)
{
	return (uint16_t)(pop + 1);
}

/* Which backend of the PoP a slot is given to: weighted rendezvous, so that a change
 * moves little, as Maglev does. */
static uint16_t slot_of(const struct world *w, int pop, uint32_t slot)
{
	uint16_t best = SC_NO_BACKEND;
	uint64_t high = 0;

	for (int i = w->first_backend[pop]; i < w->first_backend[pop] + w->backends_of[pop]; i++) {
		const struct backend *b = &w->backend[i];

		for (int k = 0; b->state == SC_BACKEND_READY && k < b->weight; k++) {
			uint32_t key[3] = { b->id, slot, (uint32_t)k };
			uint64_t score = sc_xxh64(key, sizeof(key), 7);

			if (best == SC_NO_BACKEND || score > high) {
				high = score;
				best = (uint16_t)i;
			}
		}
	}
	return best;
}

/* The picture of the fleet as it is configured now, for a node, or (-1) for the
 * backends' side. */
static struct sc_generation *picture(const struct world *w, int self)
{
	struct plan *p = calloc(1, sizeof(*p));
	struct sc_generation *g;
	const char *why;

	if (!p)
		abort();
	p->h = (struct sc_generation_header){
		.magic = SC_GENERATION_MAGIC, .keys = 1, .services = SIM_FAMILIES, .pools = 1,
		.self = self < 0 ? 0 : w->node[self].id, .mtu = MTU, .hash_seed = SIM_HASH_SEED,
		.nodes = (uint32_t)w->nnodes, .backends = (uint32_t)w->nbackends,
	};
	p->key[0] = (struct sc_key){ .id = 7, .key = "0123456789abcdef" };
	for (int i = 0; i < w->nnodes; i++)
		p->node[i] = (struct sc_node_row){
			.addr = w->node[i].addr, .id = w->node[i].id, .pop = pop_id(w->node[i].pop),
		};
	for (int i = 0; i < w->nbackends; i++) {
		const struct backend *b = &w->backend[i];

		p->backend[i] = (struct sc_backend_row){
			.addr = b->addr, .id = b->id, .pop = pop_id(b->pop), .state = b->state,
			.deliver = b->node < 0 ? SC_DELIVER_GUE : SC_DELIVER_LOCAL,
			.node = b->node < 0 ? 0 : w->node[b->node].id,
		};
	}
	for (uint8_t s = 0; s < SIM_FAMILIES; s++)
		p->service[s] = (struct sc_service_row){
			.vip = sim_vip(s), .port = 80, .proto = SC_PROTO_TCP, .half_open_s = w->half_open_s,
			.idle_s = w->idle_s, .closing_s = w->closing_s,
		};
	for (uint32_t k = 0; self >= 0 && k < SLOTS; k++)
		p->slot[k] = slot_of(w, w->node[self].pop, k);
	if (self >= 0 && p->slot[0] != SC_NO_BACKEND)
		p->pool[0].size = p->h.slots = SLOTS;
	if (plan_load(p, &g, &why) < 0) {
		fprintf(stderr, "sim: the generation does not load: %s\n", why);
		abort();
	}
	free(p);
	return g;
}

static void carry_one(struct world *w, int from, const struct sc_packet *p)
{
	const uint8_t *dst = p->data + (p->data[0] >> 4 == 4 ? 16 : 36);
	int pop = dst[1] - 1, low = dst[3] - 1;

	if (p->egress == SC_EGRESS_LOCAL) {
		sim_backend_local(w, from, p->data, p->len);
		return;
	}
	if (dst[0] != 10)
		return;		/* an answer to a client: packet too big */
	if (pop < 0 || pop >= w->npops || low < 0 || low >= (dst[2] ? w->backends_of[pop] : w->nodes_of[pop])) {
		sim_violation(w, "node %d.%d sends a packet to 10.%d.%d.%d, where nobody is",
			      w->node[from].pop + 1, w->node[from].number, dst[1], dst[2], dst[3]);
		return;
	}
	if (dst[2] == 1)
		sim_to_backend(w, w->first_backend[pop] + low, p->data, p->len);
	else
		sim_to_node(w, w->node[from].pop, w->first_node[pop] + low, p->data, p->len);
}

static void carry(struct world *w, int from)
{
	const struct sc_out *out = w->out;

	if (out->n > SC_OUT_MAX)
		sim_violation(w, "a call emitted %u packets", out->n);
	for (unsigned int i = 0; i < out->n; i++)
		carry_one(w, from, &out->p[i]);
}

static void timers(struct world *w, int node)
{
	struct sim_node *n = &w->node[node];

	if (w->heavy)
		sim_trace_before(w, node);
	sc_timers(n->node, w->now_us + n->skew_us, w->out);
	if (w->heavy)
		sim_trace_after(w, node, w->out, 0);
	carry(w, node);
}

static void tick_soon(struct world *w, void *p, uint32_t node, uint32_t boot)
{
	struct sim_node *n = &w->node[node];

	(void)p;
	if (!n->node || n->boots != boot)
		return;
	n->soon = false;
	if (!n->frozen)
		timers(w, (int)node);
}

/* A quiet node's timers are called more rarely than a worker does: what has just
 * handled a packet gets its call in time (tick_soon). */
static void tick(struct world *w, void *p, uint32_t node, uint32_t boot)
{
	struct sim_node *n = &w->node[node];

	(void)p;
	if (!n->node || n->boots != boot)
		return;
	if (!n->frozen) {
		timers(w, (int)node);
		if (!n->announced && (n->node->filled || n->eager)) {
			n->announced = true;
			sim_say(w, "node %d.%d is announced%s", n->pop + 1, n->number,
				n->node->filled ? "" : " before it has filled");
		}
	}
	sim_in(w, w->step_us, tick, NULL, node, boot);
}

/* Hands a node one packet. A dead or frozen one loses it. */
void sim_node_hand(struct world *w, int node, const uint8_t *data, uint32_t len)
{
	uint8_t room[SC_HEADROOM + SC_PACKET_MAX];
	struct sc_packet p = { .data = room + SC_HEADROOM, .len = len };
	struct sim_node *n = &w->node[node];
	uint32_t serial;

	if (!n->node || n->frozen)
		return;
	serial = sim_serial(data, len);
	/* Plain GUE is for a backend that is delivered locally here: the packet has arrived. */
	if (serial && !sim_is_plain(data))
		sim_judge_handled(w, node, serial);
	memcpy(p.data, data, len);
	n->handed++;
	if (w->heavy)
		sim_trace_before(w, node);
	sc_forward(n->node, &p, 1, w->now_us + n->skew_us, w->out);
	if (w->heavy)
		sim_trace_after(w, node, w->out, serial);
	carry(w, node);
	if (!n->soon) {
		n->soon = true;
		sim_in(w, SC_TIMER_US, tick_soon, NULL, (uint32_t)node, n->boots);
	}
}

void sim_node_start(struct world *w, int node)
{
	struct sim_node *n = &w->node[node];
	struct rng r = rng_of(w->o.seed, 'b', (uint64_t)node << 32 | ++n->boots);
	struct sc_node_options o = { .boot_id = rng_next(&r) | 1, .flow_entries = w->flow_entries };

	n->g = picture(w, node);
	n->counters = calloc(sc_counter_slots(n->g), sizeof(uint64_t));
	if (!n->counters || sc_node_new(&o, n->g, n->counters, &n->node) < 0)
		abort();
	n->handed = 0;
	n->soon = n->frozen = false;
	n->skew_us = rng_range(&r, 0, 100 * SC_S);
	n->began_us = w->now_us;
	sim_say(w, "node %d.%d starts", n->pop + 1, n->number);
	sim_in(w, rng_range(&r, 0, w->step_us), tick, NULL, (uint32_t)node, n->boots);
}

void sim_node_stop(struct world *w, int node)
{
	struct sim_node *n = &w->node[node];

	if (!n->node)
		return;
	sim_say(w, "node %d.%d dies", n->pop + 1, n->number);
	sim_judge_counters(w, node);
	sim_judge_tables(w, node, true);
	sim_judge_death(w, node);
	sim_tally(w, node);
	sc_node_free(n->node);
	free(n->counters);
	n->node = NULL;
	n->counters = NULL;
	n->died_us = w->now_us;
}

bool sim_serving(const struct world *w, int node)
{
	return w->node[node].node && w->node[node].node->filled;
}

/* Nobody's flows live in memory alone: a node may die while another one of its PoP has
 * filled, or while another PoP is whole. A fleet of one node may die; what it loses is
 * outside the promise. */
bool sim_may_die(const struct world *w, int node)
{
	int pop = w->node[node].pop;

	if (w->nnodes == 1 || w->o.feature[SIM_MEMORY])
		return true;
	for (int i = w->first_node[pop]; i < w->first_node[pop] + w->nodes_of[pop]; i++)
		if (i != node && sim_serving(w, i))
			return true;
	for (int q = 0; q < w->npops; q++) {
		bool whole = q != pop;

		for (int i = w->first_node[q]; i < w->first_node[q] + w->nodes_of[q]; i++)
			whole = whole && sim_serving(w, i) && w->now_us - w->node[i].began_us > SIM_WARM_US;
		if (whole)
			return true;
	}
	return false;
}

static void come_back(struct world *w, void *p, uint32_t node, uint32_t boot)
{
	(void)p;
	if (!w->node[node].node && w->node[node].boots == boot)
		sim_node_start(w, (int)node);
}

static void route_falls(struct world *w, void *p, uint32_t node, uint32_t boot)
{
	(void)p;
	if (w->node[node].boots == boot)
		w->node[node].announced = false;
}

static void stop_now(struct world *w, void *p, uint32_t node, uint32_t boot)
{
	(void)p;
	if (w->node[node].boots == boot)
		sim_node_stop(w, (int)node);
}

/* A node dies, loses its memory and returns after down_us. clean: its route is withdrawn
 * first. eager: it is announced as soon as it is back, filled or not. */
bool sim_kill(struct world *w, int node, uint64_t down_us, bool clean, bool eager)
{
	struct sim_node *n = &w->node[node];
	uint64_t before_us = clean ? 500 * SC_MS : 0;

	if (!n->node || !sim_may_die(w, node))
		return false;
	n->eager = eager;
	n->troubled = w->now_us < w->disturbed_us;
	if (clean)
		n->announced = false;
	else
		sim_in(w, rng_range(&w->misc, 0, 3 * SC_S), route_falls, NULL, (uint32_t)node, n->boots);
	sim_in(w, before_us, stop_now, NULL, (uint32_t)node, n->boots);
	sim_in(w, before_us + down_us, come_back, NULL, (uint32_t)node, n->boots);
	sim_until(w, before_us + down_us + SIM_WARM_US);
	sim_disturbed(w, w->now_us + before_us + down_us + SIM_REPAIR_US);
	for (int q = 0; q < w->npops; q++)
		sim_disturbed_between(w, n->pop, q, w->now_us + before_us + down_us + 10 * SC_S);
	return true;
}

bool sim_pop_announces(const struct world *w, int pop)
{
	for (int i = w->first_node[pop]; i < w->first_node[pop] + w->nodes_of[pop]; i++)
		if (w->node[i].announced)
			return true;
	return false;
}

/* What the node knows of a flow, NULL: nothing. */
struct sc_flow_entry *sim_entry(const struct world *w, int node, uint64_t flow)
{
	return w->node[node].node ? sc_flow_find(&w->node[node].node->table, flow) : NULL;
}

static void init_backends(struct world *w, struct rng *r)
{
	for (int p = 0; p < w->npops; p++) {
		int n = (int)rng_range(r, 2, 4);
		bool local = rng_below(r, 4) == 0;

		w->first_backend[p] = w->nbackends;
		w->backends_of[p] = n;
		for (int k = 0; k < n; k++) {
			struct backend *b = &w->backend[w->nbackends++];

			*b = (struct backend){ .pop = p, .number = k + 1, .node = -1, .weight = 1 };
			b->id = (uint32_t)pop_id(p) << 20 | (rng_below(r, 1 << 16) << 3 | (uint32_t)(k + 1));
			b->addr = sim_machine_addr(w->ip6, p + 1, 256 + k + 1);
			if (local && k < w->nodes_of[p]) {
				b->node = w->first_node[p] + k;
				b->addr = w->node[b->node].addr;
			}
			/* Some are configured, and ready later. */
			if (k > 1 && rng_below(r, 2) == 0)
				b->state = SC_BACKEND_DOWN;
			b->was_down = b->state == SC_BACKEND_DOWN;
		}
	}
}

void sim_fleet_init(struct world *w)
{
	struct rng r = rng_of(w->o.seed, 'f', 0);

	w->ip6 = rng_below(&r, 3) == 0;
	for (int p = 0; p < w->npops; p++) {
		w->first_node[p] = w->nnodes;
		for (int k = 0; k < w->nodes_of[p]; k++) {
			struct sim_node *n = &w->node[w->nnodes++];

			n->pop = p;
			n->number = k + 1;
			n->id = (uint16_t)(1 + (rng_below(&r, 900) * 64u + (uint32_t)(w->nnodes - 1)));
			n->addr = sim_machine_addr(w->ip6, p + 1, k + 1);
		}
	}
	init_backends(w, &r);
	w->flow_entries = w->nconns * 4 < FLOW_ENTRIES_MIN ? FLOW_ENTRIES_MIN : w->nconns * 4;
	for (int p = 0; p < w->npops; p++)
		w->backend_side[p] = picture(w, -1);
	for (int i = 0; i < w->nnodes; i++)
		sim_node_start(w, i);
}

void sim_fleet_free(struct world *w)
{
	for (int i = 0; i < w->nnodes; i++) {
		sc_node_free(w->node[i].node);
		free(w->node[i].counters);
	}
	for (int p = 0; p < w->npops; p++)
		sc_generation_free(w->backend_side[p]);
}
