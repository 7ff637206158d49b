/* The fleet: real nodes of the data path; their life, their timers, and where what they
 * emit goes.
 * Node n of PoP p is 10.p.0.n (fd00::10.p.0.n), backend b is 10.p.1.b; PoPs, nodes and
 * backends count from 1 on the wire and from 0 in here. */
#include "sim.h"

enum { FLOW_ENTRIES_MIN = 1024, SPARES = 4 };

#define TICKS_WRAP_US	(65536 * SC_TICK_US)

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
	if (dst[2] == 1) {
		sim_to_backend(w, w->first_backend[pop] + low, p->data, p->len);
		return;
	}
	if (pop != w->node[from].pop)
		sim_judge_crossing(w, from, w->first_node[pop] + low, p->data, p->len);
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
		sim_memory_done(w, (int)node);
		if (!n->filled_us && n->node->filled)
			n->filled_us = w->now_us;
		if (!n->announced && !n->leaving && (n->filled_us || n->how & DEATH_EAGER)) {
			n->announced = true;
			sim_say(w, "node %d.%d is announced%s", n->pop + 1, n->number,
				n->filled_us ? "" : " before it has filled");
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

/* What its machine's clock shows more than ours. One that was started anew begins
 * anew; some are about to wrap the data path's ticks. */
static uint64_t skew_of(struct world *w, struct rng *r, uint32_t reboots)
{
	if (reboots > 0)
		return rng_range(r, 10 * SC_S, 20 * SC_S) - w->now_us;
	if (rng_below(r, 8) == 0)
		return TICKS_WRAP_US - rng_range(r, 0, 200 * SC_S) - w->now_us;
	return rng_range(r, 0, 100 * SC_S);
}

void sim_node_start(struct world *w, int node)
{
	struct sim_node *n = &w->node[node];
	struct rng r = rng_of(w->o.seed, 'b', (uint64_t)node << 32 | ++n->boots);
	struct sc_node_options o = {
		.boot_id = rng_next(&r) | 1, .flow_entries = w->flow_entries, .wire_version = n->version,
	};

	if (n->boots == 1 || n->how & DEATH_REBOOT)
		n->skew_us = skew_of(w, &r, n->reboots);
	n->g = sim_picture(w, node, &w->file[n->disk]);
	n->works_from = n->disk;
	n->counters = calloc(sc_counter_slots(n->g), sizeof(uint64_t));
	sim_memory_begin(w, node, &o);
	if (!n->counters || sc_node_new(&o, n->g, n->counters, &n->node) < 0)
		abort();
	w->result->seen[SAW_OLD_VERSION] += n->version == SC_WIRE_VERSION_LOW;
	n->handed = 0;
	n->soon = n->frozen = n->leaving = false;
	n->began_us = w->now_us;
	n->filled_us = 0;
	sim_say(w, "node %d.%d starts with file %u, wire version %u", n->pop + 1, n->number, n->disk, n->version);
	sim_in(w, rng_range(&r, 0, w->step_us), tick, NULL, (uint32_t)node, n->boots);
}

void sim_node_stop(struct world *w, int node)
{
	struct sim_node *n = &w->node[node];
	struct rng r = rng_of(w->o.seed, 'x', (uint64_t)node << 32 | n->boots);

	if (!n->node)
		return;
	sim_say(w, "node %d.%d dies", n->pop + 1, n->number);
	sim_memory_done(w, node);
	sim_judge_counters(w, node);
	sim_judge_tables(w, node, true);
	sim_judge_death(w, node);
	sim_tally(w, node);
	sc_node_free(n->node);
	free(n->counters);
	n->node = NULL;
	n->g = NULL;
	n->counters = NULL;
	n->died_us = w->now_us;
	if (!sim_newest(w)->node[node])
		sim_memory_retire(w, node);
	if (n->how & DEATH_REBOOT)
		sim_memory_wipe(w, node);
	if (n->how & DEATH_CORRUPT)
		sim_memory_corrupt(w, node, &r);
}

/* A running node takes over the file that it has: reload. */
void sim_node_adopt(struct world *w, int node)
{
	struct sim_node *n = &w->node[node];
	struct sc_generation *g = sim_picture(w, node, &w->file[n->disk]);
	uint64_t *counters = calloc(sc_counter_slots(g), sizeof(uint64_t)), *before = n->counters;
	struct sc_swap *s;
	const char *why;

	if (!counters)
		abort();
	if (sc_swap_prepare(n->node, g, counters, &s, &why) < 0) {
		sim_violation(w, "node %d.%d refuses file %u: %s", n->pop + 1, n->number, n->disk, why);
		sc_generation_free(g);
		free(counters);
		return;
	}
	sc_swap_apply(n->node, s);
	sc_swap_free(s);
	free(before);
	n->counters = counters;
	n->g = g;
	n->works_from = n->disk;
	w->result->seen[SAW_ADOPTED]++;
	sim_say(w, "node %d.%d works from file %u", n->pop + 1, n->number, n->disk);
}

bool sim_serving(const struct world *w, int node)
{
	return w->node[node].node && w->node[node].node->filled;
}

/* Nobody's flows live in memory alone: a node may lose its memory while another one of
 * its PoP has filled, or while another PoP is whole. */
bool sim_may_lose(const struct world *w, int node)
{
	int pop = w->node[node].pop;

	for (int i = w->first_node[pop]; i < w->first_node[pop] + w->nodes_of[pop]; i++)
		if (i != node && sim_serving(w, i))
			return true;
	for (int q = 0; q < w->npops; q++) {
		bool whole = q != pop;

		for (int i = w->first_node[q]; i < w->first_node[q] + w->nodes_of[q]; i++)
			if (sim_newest(w)->node[i])
				whole = whole && sim_serving(w, i) && w->now_us - w->node[i].began_us > SIM_WARM_US;
		if (whole)
			return true;
	}
	return false;
}

static void come_back(struct world *w, void *p, uint32_t node, uint32_t boot)
{
	struct sim_node *n = &w->node[node];

	(void)p;
	if (!n->node && n->boots == boot && w->file[n->disk].node[node])
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

static void go_down(struct world *w, int node, uint64_t before_us, uint64_t down_us)
{
	struct sim_node *n = &w->node[node];

	n->leaving = true;
	n->quiet = 0;
	for (int q = 0; q < w->npops; q++)
		if (w->now_us >= w->bad_us[n->pop][q])
			n->quiet |= 1u << q;
	if (before_us > 0)
		n->announced = false;
	else
		sim_in(w, rng_range(&w->misc, 0, 3 * SC_S), route_falls, NULL, (uint32_t)node, n->boots);
	sim_in(w, before_us, stop_now, NULL, (uint32_t)node, n->boots);
	sim_until(w, before_us + down_us + SIM_WARM_US);
	sim_disturbed_pop(w, n->pop, w->now_us + before_us + down_us + 10 * SC_S);
}

/* A node dies and returns after down_us. how: enum sim_death. */
bool sim_kill(struct world *w, int node, uint64_t down_us, unsigned int how)
{
	struct sim_node *n = &w->node[node];
	uint64_t before_us = how & DEATH_CLEAN ? 500 * SC_MS : 0;

	if (!n->node || (how & (DEATH_REBOOT | DEATH_CORRUPT) && !sim_may_lose(w, node)))
		return false;
	n->how = (uint8_t)how;
	go_down(w, node, before_us, down_us);
	sim_in(w, before_us + down_us, come_back, NULL, (uint32_t)node, n->boots);
	return true;
}

/* A node is stopped for good. */
void sim_node_retire(struct world *w, int node)
{
	w->node[node].how = DEATH_CLEAN;
	go_down(w, node, 500 * SC_MS, 0);
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
		int n = (int)rng_range(r, 2, 5);
		bool local = rng_below(r, 4) == 0;

		w->first_backend[p] = w->nbackends;
		w->backends_of[p] = n;
		for (int k = 0; k < n; k++) {
			struct backend *b = &w->backend[w->nbackends++];

			*b = (struct backend){ .pop = p, .number = k + 1, .node = -1 };
			b->id = (uint32_t)(p + 1) << 20 | (rng_below(r, 1 << 16) << 3 | (uint32_t)(k + 1));
			b->addr = sim_machine_addr(w->ip6, p + 1, 256 + k + 1);
			if (local && k < w->nodes_of[p] && !w->node[w->first_node[p] + k].spare) {
				b->node = w->first_node[p] + k;
				b->addr = w->node[b->node].addr;
			}
		}
	}
}

/* Some PoPs have a node more, that is not configured yet. */
static void init_nodes(struct world *w, struct rng *r)
{
	for (int p = 0; p < w->npops; p++) {
		int configured = w->nodes_of[p];

		w->first_node[p] = w->nnodes;
		if (rng_below(r, SPARES) == 0 && w->npops * configured > 1 && configured < SC_MAX_NODES_PER_POP)
			w->nodes_of[p]++;
		for (int k = 0; k < w->nodes_of[p]; k++) {
			struct sim_node *n = &w->node[w->nnodes++];

			n->pop = p;
			n->number = k + 1;
			n->spare = k >= configured;
			n->id = (uint16_t)(1 + (rng_below(r, 600) * 100u + (uint32_t)(w->nnodes - 1)));
			n->addr = sim_machine_addr(w->ip6, p + 1, k + 1);
		}
	}
}

/* Fleets in the midst of an upgrade, on the older wire altogether, or on the newer. */
static void init_versions(struct world *w, struct rng *r)
{
	uint32_t mix = rng_below(r, 6);

	for (int i = 0; i < w->nnodes; i++)
		w->node[i].version = mix == 0 || (mix == 1 && rng_below(r, 2)) ? SC_WIRE_VERSION_LOW : SC_WIRE_VERSION;
}

void sim_fleet_init(struct world *w)
{
	struct rng r = rng_of(w->o.seed, 'f', 0);

	w->ip6 = rng_below(&r, 3) == 0;
	init_nodes(w, &r);
	init_versions(w, &r);
	init_backends(w, &r);
	sim_config_init(w, &r);
	w->flow_entries = w->nconns * 4 < FLOW_ENTRIES_MIN ? FLOW_ENTRIES_MIN : w->nconns * 4;
	for (int p = 0; p < w->npops; p++)
		w->backend_side[p] = sim_picture(w, -1, sim_newest(w));
	for (int i = 0; i < w->nnodes; i++)
		if (!w->node[i].spare)
			sim_node_start(w, i);
}

void sim_fleet_free(struct world *w)
{
	for (int i = 0; i < w->nnodes; i++) {
		sc_node_free(w->node[i].node);
		free(w->node[i].counters);
		sim_memory_free(&w->node[i]);
	}
	free(w->file);
	for (int p = 0; p < w->npops; p++)
		sc_generation_free(w->backend_side[p]);
}
