/* Events: the fleet file changes, and reaches each node in its own time: backends
 * (row 5), a PoP without any that is ready (spill), keys, and which nodes a PoP has. */
#include "events.h"

static const char *const state_names[] = { "ready", "draining", "down", "not configured" };

static uint64_t some_rollout(struct rng *r)
{
	return rng_range(r, 200 * SC_MS, 15 * SC_S);
}

static bool old_wire(const struct world *w)
{
	for (int i = 0; i < w->nnodes; i++)
		if (w->node[i].version < SC_WIRE_VERSION_RELAY)
			return true;
	return false;
}

/* Whether this one may cease to be ready: while no PoP but its own has one that is, or
 * none could be handed anything, the last one stays. */
static bool may_go(const struct world *w, int backend)
{
	bool elsewhere = false;

	if (sim_newest(w)->state[backend] != SC_BACKEND_READY || sim_ready_in(w, w->backend[backend].pop) > 1)
		return true;
	for (int p = 0; p < w->npops; p++)
		elsewhere |= p != w->backend[backend].pop && sim_ready_in(w, p) > 0;
	return elsewhere && !old_wire(w);
}

static void set_state(struct world *w, int backend, uint8_t state)
{
	struct backend *b = &w->backend[backend];
	struct file *f = sim_edit(w);

	f->state[backend] = state;
	sim_say(w, "file %u: backend %d.%d is %s, weight %d", w->files - 1, b->pop + 1, b->number, state_names[state],
		f->weight[backend]);
	if (state != SIM_ABSENT)
		return;
	b->gone_us = w->now_us;
	sim_in(w, 20 * SC_S, sim_watch_removed, NULL, (uint32_t)backend, 0);
}

/* Drained, down, ready again, or of another weight. */
bool change_backend(struct world *w, struct rng *r)
{
	int at = (int)rng_below(r, (uint32_t)w->nbackends);
	uint8_t state = (uint8_t)rng_below(r, 3), before = sim_newest(w)->state[at];

	if (before == SIM_ABSENT)
		return false;
	if (rng_below(r, 3) == 0)
		state = before;
	if (state != SC_BACKEND_READY && !may_go(w, at))
		state = SC_BACKEND_READY;
	set_state(w, at, state);
	w->file[w->files - 1].weight[at] = (uint8_t)rng_range(r, 1, 4);
	sim_roll_out(w, some_rollout(r));
	return true;
}

static int any_in_state(struct world *w, struct rng *r, bool absent)
{
	for (int tries = 0; tries < 50; tries++) {
		int at = (int)rng_below(r, (uint32_t)w->nbackends);

		if ((sim_newest(w)->state[at] == SIM_ABSENT) == absent)
			return at;
	}
	return -1;
}

/* Configured for the first time, or again. */
bool add_backend(struct world *w, struct rng *r)
{
	int at = any_in_state(w, r, true);

	if (at < 0)
		return false;
	set_state(w, at, SC_BACKEND_READY);
	sim_roll_out(w, some_rollout(r));
	return true;
}

/* Removed from the file, most often while connections to it live. */
bool remove_backend(struct world *w, struct rng *r)
{
	int at = any_in_state(w, r, false);

	if (at < 0 || !may_go(w, at))
		return false;
	set_state(w, at, SIM_ABSENT);
	sim_roll_out(w, some_rollout(r));
	return true;
}

static void refill_pop(struct world *w, void *p, uint32_t pop, uint32_t within_s)
{
	(void)p;
	for (int i = w->first_backend[pop]; i < w->first_backend[pop] + w->backends_of[pop]; i++)
		if (sim_newest(w)->state[i] == SC_BACKEND_DOWN || sim_newest(w)->state[i] == SC_BACKEND_DRAINING)
			set_state(w, i, SC_BACKEND_READY);
	sim_roll_out(w, within_s * SC_S);
}

/* Every backend of a PoP drains, is down, or is removed: others serve what is new. */
bool empty_pop(struct world *w, struct rng *r)
{
	int pop = any_pop(w, r);
	uint64_t us = some_s(r, 10, 60);
	bool any = false;

	for (int i = w->first_backend[pop]; i < w->first_backend[pop] + w->backends_of[pop]; i++) {
		uint8_t state = (uint8_t)(1 + rng_below(r, 3));

		if (sim_newest(w)->state[i] != SC_BACKEND_READY || !may_go(w, i))
			continue;
		set_state(w, i, state);
		any = true;
	}
	if (!any)
		return false;
	sim_roll_out(w, some_rollout(r));
	if (rng_below(r, 3)) {
		sim_in(w, us, refill_pop, NULL, (uint32_t)pop, 1 + rng_below(r, 5));
		sim_until(w, us);
	}
	return sim_ready_in(w, pop) == 0;
}

/* The three usual steps: a key is known everywhere before anybody signs with it, and
 * stays known until nobody does any more. */
static void rotate(struct world *w, void *p, uint32_t step, uint32_t version)
{
	struct file *f;

	sim_until(w, 2 * SC_S);
	if (step > 0 && !sim_rolled_out(w, version)) {
		sim_in(w, SC_S, rotate, p, step, version);
		return;
	}
	if (step == 3) {
		if (--w->rotations > 0)
			rotate(w, p, 0, 0);
		return;
	}
	f = sim_edit(w);
	if (step == 0) {
		f->keys = 2;
		f->key[1] = (uint8_t)(f->key[0] + 1);
	} else if (step == 1) {
		uint8_t old = f->key[0];

		f->key[0] = f->key[1];
		f->key[1] = old;
	} else {
		f->keys = 1;
	}
	sim_say(w, "file %u: key %u signs, %u key%s known", w->files - 1, f->key[0], f->keys, f->keys > 1 ? "s are" : " is");
	sim_roll_out(w, rng_range(&w->rollout, 200 * SC_MS, 8 * SC_S));
	sim_in(w, SC_S, rotate, p, step + 1, w->files - 1);
}

bool rotate_keys(struct world *w, struct rng *r)
{
	(void)r;
	if (w->rotations++ == 0)
		rotate(w, NULL, 0, 0);
	return true;
}

static int configured_in(const struct world *w, int pop)
{
	int n = 0;

	for (int i = w->first_node[pop]; i < w->first_node[pop] + w->nodes_of[pop]; i++)
		n += sim_newest(w)->node[i];
	return n;
}

/* A new node starts when everybody knows it. */
static void start_new(struct world *w, void *p, uint32_t node, uint32_t version)
{
	struct sim_node *n = &w->node[node];

	sim_until(w, SIM_WARM_US);
	if (!sim_rolled_out(w, version)) {
		sim_in(w, SC_S, start_new, p, node, version);
		return;
	}
	if (!n->node && w->file[n->disk].node[node]) {
		n->how = 0;
		sim_node_start(w, (int)node);
	}
}

static bool add_node(struct world *w, int node)
{
	struct file *f = sim_edit(w);

	f->node[node] = true;
	sim_say(w, "file %u: node %d.%d is new", w->files - 1, w->node[node].pop + 1, w->node[node].number);
	sim_roll_out(w, rng_range(&w->rollout, SC_S, 8 * SC_S));
	sim_in(w, SC_S, start_new, NULL, (uint32_t)node, w->files - 1);
	return true;
}

/* It stops, and then everybody hears that it is no more. */
static bool remove_node(struct world *w, int node)
{
	for (int i = 0; i < w->nbackends; i++)
		if (w->backend[i].node == node)
			return false;
	if (!sim_serving(w, node) || !sim_may_lose(w, node) || configured_in(w, w->node[node].pop) < 2)
		return false;
	sim_node_retire(w, node);
	sim_edit(w)->node[node] = false;
	sim_say(w, "file %u: node %d.%d is removed", w->files - 1, w->node[node].pop + 1, w->node[node].number);
	sim_roll_out(w, rng_range(&w->rollout, SC_S, 8 * SC_S));
	return true;
}

/* A PoP gets a node, or loses one: homes move. */
bool resize_pop(struct world *w, struct rng *r)
{
	for (int tries = 0; tries < 20; tries++) {
		int node = any_node(w, r);

		if (sim_newest(w)->node[node] ? remove_node(w, node) : !w->node[node].node && add_node(w, node))
			return true;
	}
	return false;
}
