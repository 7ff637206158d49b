/* Events: nodes, whole PoPs and machines that die, stand still, restart one after the
 * other, or change the version of the wire that they speak. */
#include "events.h"

/* Row 7. */
bool kill_node(struct world *w, struct rng *r)
{
	int node = any_node(w, r);
	uint64_t down_us = rng_range(r, 100 * SC_MS, 20 * SC_S);

	return sim_kill(w, node, down_us, (rng_below(r, 3) == 0 ? DEATH_CLEAN : 0) | (rng_below(r, 4) == 0 ? DEATH_EAGER : 0));
}

/* Row 9: all nodes of a PoP at once. */
bool kill_pop(struct world *w, struct rng *r)
{
	int pop = any_pop(w, r);
	bool any = false;

	for (int i = w->first_node[pop]; i < w->first_node[pop] + w->nodes_of[pop]; i++)
		any |= sim_kill(w, i, some_s(r, 1, 15), 0);
	return any;
}

/* The machine is started anew: its memory is gone, its clock another. */
bool reboot(struct world *w, struct rng *r)
{
	return sim_kill(w, any_node(w, r), some_s(r, 2, 40), DEATH_REBOOT | (rng_below(r, 3) == 0 ? DEATH_CLEAN : 0));
}

bool damage_memory(struct world *w, struct rng *r)
{
	return sim_kill(w, any_node(w, r), rng_range(r, 200 * SC_MS, 5 * SC_S), DEATH_CORRUPT);
}

/* Longer than siblings' word outweighs a memory, or than any is recalled. */
bool long_outage(struct world *w, struct rng *r)
{
	uint64_t down_us = some_s(r, SC_RECALL_BESIDE_S - 10, SC_RECALL_BESIDE_S + 20);
	int node = any_node(w, r);

	if (w->idle_s > SC_RECALL_S && rng_below(r, 2))
		down_us = some_s(r, SC_RECALL_S - 10, SC_RECALL_S + 20);
	return sim_may_lose(w, node) && sim_kill(w, node, down_us, DEATH_CLEAN);
}

/* A rolling restart: node after node up to last, each when the one before is whole
 * again. */
enum { ROLL_DOWN_US = 300 * SC_MS, ROLL_TRIES = 60 };

struct roll {
	int node, last, tries;
	uint8_t version;	/* of the wire from then on, 0: as before */
	bool killed;
};

static void roll(struct world *w, void *p, uint32_t a, uint32_t b)
{
	struct roll *o = p;
	struct sim_node *n;

	if (o->node > o->last) {
		free(o);
		return;
	}
	sim_until(w, 1 * SC_S);
	n = &w->node[o->node];
	if (!o->killed && o->version)
		n->version = o->version;
	if (!o->killed && sim_kill(w, o->node, ROLL_DOWN_US, rng_below(&w->misc, 2) ? DEATH_CLEAN : 0)) {
		o->killed = true;
		sim_in(w, 2 * SC_S, roll, o, a, b);
		return;
	}
	if (o->tries++ < ROLL_TRIES && (o->killed ? !sim_serving(w, o->node) : sim_newest(w)->node[o->node])) {
		sim_in(w, 1 * SC_S, roll, o, a, b);
		return;
	}
	*o = (struct roll){ .node = o->node + 1, .last = o->last, .version = o->version };
	sim_in(w, rng_range(&w->misc, 0, 3 * SC_S), roll, o, a, b);
}

static void roll_later(struct world *w, uint64_t us, int node, int last, uint8_t version)
{
	struct roll *o = malloc(sizeof(*o));

	if (!o)
		abort();
	*o = (struct roll){ .node = node, .last = last, .version = version };
	sim_in(w, us, roll, o, 0, 0);
	sim_until(w, us + SC_S);
}

/* Row 6. */
bool rolling_restart(struct world *w, struct rng *r)
{
	int pop = any_pop(w, r);

	if (rng_below(r, 3) == 0) {
		sim_say(w, "a rolling restart of the fleet begins");
		roll_later(w, 0, 0, w->nnodes - 1, 0);
		return true;
	}
	sim_say(w, "a rolling restart of PoP %d begins", pop + 1);
	roll_later(w, 0, w->first_node[pop], w->first_node[pop] + w->nodes_of[pop] - 1, 0);
	return true;
}

/* A rolling upgrade to the newer wire, or back. Nodes of the older one hand nothing on,
 * so that nobody goes back while a PoP depends on it. */
bool upgrade(struct world *w, struct rng *r)
{
	uint8_t version = SC_WIRE_VERSION;
	bool any = false;

	(void)r;
	for (int i = 0; i < w->nnodes; i++)
		any |= w->node[i].version != version;
	if (!any)
		version = SC_WIRE_VERSION_LOW;
	if (!any && sim_pop_without_ready(w))
		return false;
	sim_say(w, "a rolling upgrade to wire version %u begins", version);
	for (int i = 0; i < w->nnodes; i++)
		if (!w->node[i].node)
			w->node[i].version = version;
	roll_later(w, 0, 0, w->nnodes - 1, version);
	return true;
}

/* Row 8: its catchment leaves, its nodes restart one after the other, it returns. */
bool maintenance(struct world *w, struct rng *r)
{
	int pop = any_pop(w, r), to = other_pop(w, r, pop);

	move_catchment_of(w, pop, to);
	roll_later(w, 3 * SC_S, w->first_node[pop], w->first_node[pop] + w->nodes_of[pop] - 1, 0);
	move_catchment_back(w, 30 * SC_S, to, pop);
	return true;
}

/* A node stands still, and goes on as if nothing had been. */
static void thaw(struct world *w, void *p, uint32_t node, uint32_t boot)
{
	(void)p;
	if (w->node[node].boots == boot)
		w->node[node].frozen = false;
}

bool freeze(struct world *w, struct rng *r)
{
	int node = any_node(w, r);
	uint64_t us = rng_range(r, 100 * SC_MS, 6 * SC_S);

	if (!w->node[node].node)
		return false;
	w->node[node].frozen = true;
	sim_say(w, "node %d.%d stands still for %.1f s", w->node[node].pop + 1, w->node[node].number, (double)us / 1e6);
	sim_in(w, us, thaw, NULL, (uint32_t)node, w->node[node].boots);
	sim_until(w, us);
	sim_disturbed_pop(w, w->node[node].pop, w->now_us + us + 10 * SC_S);
	return true;
}
