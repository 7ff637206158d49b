/* One seed's run, from the first node's start to the judge's last word; and its
 * schedule. */
#include "sim.h"

enum { CLIENTS_PER_CONNECTION = 6, LONG_SEEDS = 12, HOMES_TRIES = 5 };

static void run_event(struct world *w, void *p, uint32_t kind, uint32_t number)
{
	struct rng r = rng_of(w->o.seed, 'e', number);

	(void)p;
	rng_next(&r);
	sim_say(w, "--- event %u: %s", number, sim_events[kind].name);
	w->result->events++;
	w->result->fired[kind] += sim_events[kind].run(w, &r);
}

/* Events come in pairs and crowds as often as alone. */
static void schedule(struct world *w)
{
	uint64_t from = SIM_START_US + SIM_WARM_US + 2 * SC_S, at = from, last = w->end_us;
	uint32_t total = 0;

	for (unsigned int k = 0; k < sim_nevents; k++)
		total += sim_events[k].weight;
	for (uint32_t i = 0; i < (uint32_t)w->o.events; i++) {
		struct rng r = rng_of(w->o.seed, 't', i);
		uint32_t pick = rng_below(&r, total), k = 0;

		if (i == 0 || rng_below(&r, 3))
			at = rng_range(&r, from, w->end_us);
		else
			at += rng_range(&r, 0, 3 * SC_S);
		while (pick >= sim_events[k].weight)
			pick -= sim_events[k++].weight;
		if (w->o.no_event && w->o.no_event[i])
			continue;
		w->result->events_left++;
		sim_at(w, at, run_event, NULL, k, i);
		if (at > last)
			last = at;
	}
	w->end_us = last;
}

/* A home that forgets, for the test that the judge sees it. */
static void sabotage(struct world *w, void *p, uint32_t conn, uint32_t b)
{
	(void)p;
	for (int i = 0; i < w->nnodes; i++) {
		struct sc_flow_entry *e = sim_entry(w, i, w->conn[conn].flow);

		if (e && w->conn[conn].fate == FATE_LIVING)
			sc_flow_remove(&w->node[i].node->table, e);
	}
	if (w->now_us < w->end_us)
		sim_in(w, 100 * SC_MS, sabotage, NULL, (conn + 1) % w->nconns, b);
}

static void watch_bounds(struct world *w, void *p, uint32_t a, uint32_t b)
{
	(void)p;
	for (int i = 0; i < w->nnodes; i++) {
		sim_judge_tables(w, i, false);
		sim_judge_counters(w, i);
	}
	sim_memory_pass(w);
	sim_judge_rates(w);
	sim_judge_flood(w);
	sim_judge_progress(w);
	sim_in(w, SC_S, watch_bounds, NULL, a, b);
}

static void shape(struct world *w)
{
	static const uint64_t steps_us[] = { 2 * SC_MS, 5 * SC_MS, 10 * SC_MS, 20 * SC_MS, 20 * SC_MS, 20 * SC_MS };
	struct rng r = rng_of(w->o.seed, 'w', 0);
	bool is_long = rng_below(&r, LONG_SEEDS) == 0;
	uint64_t span_us = rng_range(&r, is_long ? 900 * SC_S : 30 * SC_S, is_long ? 1800 * SC_S : 150 * SC_S);

	w->half_open_s = 65;
	w->idle_s = is_long ? (uint32_t)rng_range(&r, 600, 1200) : (uint32_t)rng_range(&r, 120, 300);
	w->closing_s = 60;
	w->step_us = is_long ? 20 * SC_MS : steps_us[rng_below(&r, 6)];
	w->end_us = SIM_START_US + SIM_WARM_US + span_us;
	w->npops = w->o.pops ? w->o.pops : (int)rng_range(&r, 2, SIM_DRAWN_POPS);
	for (int p = 0; p < w->npops; p++)
		w->nodes_of[p] = w->o.nodes ? w->o.nodes : (int)rng_range(&r, 1, SIM_DRAWN_NODES);
	w->nconns = (uint32_t)w->o.connections;
	w->nclients = w->o.connections / CLIENTS_PER_CONNECTION + 1;
	if (w->nclients > SIM_MAX_CLIENTS)
		w->nclients = SIM_MAX_CLIENTS;
}

static struct world *world_new(const struct sim_options *o, struct sim_result *r)
{
	struct world *w = calloc(1, sizeof(*w));

	if (!w)
		abort();
	w->o = *o;
	w->result = r;
	w->now_us = SIM_START_US;
	w->net = rng_of(o->seed, 'p', 0);
	w->misc = rng_of(o->seed, 'm', 0);
	w->rollout = rng_of(o->seed, 'v', 0);
	shape(w);
	w->sockets_room = 16384 + 4 * w->nconns;
	w->client = calloc((size_t)w->nclients, sizeof(*w->client));
	w->conn = calloc(w->nconns, sizeof(*w->conn));
	w->socket = calloc(w->sockets_room, sizeof(*w->socket));
	w->out = malloc(sizeof(*w->out));
	r->failed = calloc(w->nconns, 1);
	if (!w->client || !w->conn || !w->socket || !w->out || !r->failed)
		abort();
	w->free_socket = -1;
	memset(w->chain, 0xff, sizeof(w->chain));
	return w;
}

static void run_until(struct world *w, uint64_t us)
{
	while (sim_step(w, us))
		;
}

/* Three lost HELLOs of a living peer: then it is seen again soon. */
static void judge_homes(struct world *w)
{
	char how[120];

	for (int i = 0; !sim_same_homes(w, how, sizeof(how)); i++) {
		if (i == HOMES_TRIES) {
			sim_violation(w, "%s", how);
			return;
		}
		run_until(w, w->now_us + SC_S);
	}
}

void sim_run(const struct sim_options *o, struct sim_result *r)
{
	struct world *w;

	memset(r, 0, sizeof(*r));
	w = world_new(o, r);
	sim_network_init(w);
	sim_clients_init(w);
	sim_fleet_init(w);
	sim_trace_init(w);
	schedule(w);
	sim_in(w, SC_S, watch_bounds, NULL, 0, 0);
	if (o->sabotage)
		sim_in(w, 10 * SC_S, sabotage, NULL, 0, 0);
	while (w->now_us < w->end_us)
		run_until(w, w->end_us);
	sim_say(w, "--- the last event is over");
	run_until(w, w->now_us + SIM_CALM_US);
	sim_say(w, "--- everyone goes on");
	sim_ask_last(w);
	sim_zombies(w);
	run_until(w, w->now_us + SIM_BOUND_US);
	sim_judge_end(w);
	judge_homes(w);
	sim_trace_end(w);
	r->simulated_us = w->now_us - SIM_START_US;
	sim_fleet_free(w);
	sim_queue_free(w);
	free(w->client);
	free(w->conn);
	free(w->socket);
	free(w->out);
	free(w);
}

void sim_result_free(struct sim_result *r)
{
	free(r->failed);
	r->failed = NULL;
}
