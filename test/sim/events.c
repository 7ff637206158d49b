/* The events: rows 1 to 8, 10 and 11 of what goes wrong over anycast, and what makes
 * them worse. Each begins at once, ends by itself (sim_until) and draws all it needs
 * from its own stream, so that leaving out another one changes nothing here.
 * Events of which the data path does not know enough yet have a feature, off by
 * default; sim_feature_names and docs/simulator.md say what each waits for. */
#include "sim.h"

const char *const sim_feature_names[SIM_FEATURES] = {
	[SIM_RELAY] = "relay",			/* RELAY: progress while a third PoP can bridge a cut */
	[SIM_SPILL] = "spill",			/* a PoP without a ready backend hands new flows on */
	[SIM_ROTATION] = "key-rotation",	/* keys changed in a running node */
	[SIM_RELOAD] = "reload",		/* a running node takes over a new generation */
	[SIM_MEMORY] = "own-memory",		/* a restarted node recovers its own table */
	[SIM_VERSIONS] = "two-versions",	/* nodes of two adjacent wire versions in one fleet */
	[SIM_DRAIN_REUSE] = "drain-reuse",	/* a SYN of a flow whose backend drains makes no second claim */
};

void sim_until(struct world *w, uint64_t us)
{
	if (w->now_us + us > w->end_us)
		w->end_us = w->now_us + us;
}

static int any_pop(struct world *w, struct rng *r)
{
	return (int)rng_below(r, (uint32_t)w->npops);
}

static int other_pop(struct world *w, struct rng *r, int pop)
{
	int q = any_pop(w, r);

	return q == pop ? (q + 1) % w->npops : q;
}

static int any_node(struct world *w, struct rng *r)
{
	return (int)rng_below(r, (uint32_t)w->nnodes);
}

static uint64_t some_s(struct rng *r, uint64_t low, uint64_t high)
{
	return rng_range(r, low * SC_S, high * SC_S);
}

/* Row 1. */
static void switch_clients(struct world *w, struct rng *r)
{
	uint32_t share = 1 + rng_below(r, 100), moved = 0;

	for (int i = 0; i < w->nclients; i++)
		if (rng_below(r, 100) < share) {
			w->client[i].route = any_pop(w, r);
			moved++;
		}
	sim_say(w, "%u clients are routed to other PoPs", moved);
}

static void move(struct world *w, int from, int to)
{
	for (int i = 0; i < w->nclients; i++)
		if (w->client[i].route == from)
			w->client[i].route = to;
	sim_say(w, "the catchment of PoP %d moves to PoP %d", from + 1, to + 1);
}

static void move_back(struct world *w, void *p, uint32_t from, uint32_t to)
{
	(void)p;
	move(w, (int)from, (int)to);
}

/* Rows 1 and 8. */
static void move_catchment(struct world *w, struct rng *r)
{
	int from = any_pop(w, r), to = other_pop(w, r, from);
	uint64_t back_us = some_s(r, 1, 30);

	move(w, from, to);
	if (rng_below(r, 2)) {
		sim_in(w, back_us, move_back, NULL, (uint32_t)to, (uint32_t)from);
		sim_until(w, back_us);
	}
}

/* Rows 2 and 3. */
static void split_clients(struct world *w, struct rng *r)
{
	uint32_t share = 1 + rng_below(r, 20);
	bool end = rng_below(r, 3) == 0;

	for (int i = 0; i < w->nclients; i++)
		if (rng_below(r, 100) < share)
			w->client[i].split = end ? -1 : any_pop(w, r);
	sim_say(w, "%u%% of the clients %s", share, end ? "are split no more" : "are split");
}

/* Row 4. */
static void reshuffle(struct world *w, struct rng *r)
{
	int pop = any_pop(w, r);

	w->ecmp_salt[pop]++;
	sim_say(w, "ECMP of PoP %d is reshuffled", pop + 1);
}

static void heal(struct world *w, void *p, uint32_t from, uint32_t to)
{
	(void)p;
	w->link[from][to].cuts--;
	sim_say(w, "PoP %u to PoP %u: healed", from + 1, to + 1);
}

static void cut(struct world *w, int from, int to, uint64_t us)
{
	if (from == to)
		return;
	sim_say(w, "PoP %d to PoP %d: cut for %.1f s", from + 1, to + 1, (double)us / 1e6);
	w->link[from][to].cuts++;
	sim_in(w, us, heal, NULL, (uint32_t)from, (uint32_t)to);
	sim_until(w, us);
	sim_disturbed_between(w, from, to, w->now_us + us + 10 * SC_S);
}

static void partition(struct world *w, struct rng *r)
{
	int a = any_pop(w, r), b = other_pop(w, r, a);
	bool one_way = rng_below(r, 3) == 0, alone = rng_below(r, 3) == 0;
	uint64_t us = some_s(r, 1, 20);

	for (int q = 0; q < w->npops; q++) {
		if (q != b && !alone)
			continue;
		cut(w, a, q, us);
		if (!one_way)
			cut(w, q, a, us);
	}
}

static void calm_link(struct world *w, void *p, uint32_t from, uint32_t to)
{
	struct link *l = &w->link[from][to];

	(void)p;
	l->burst = 0;
	l->jitter_us = l->delay_us / 10;
	if (l->duplicate > 0.01)
		l->duplicate = 0;
}

/* A link loses much, reorders, or doubles for a while. */
static void bad_link(struct world *w, struct rng *r)
{
	int a = any_pop(w, r), b = any_pop(w, r);
	struct link *l = &w->link[a][b];
	uint64_t us = some_s(r, 1, 15);
	uint32_t how = rng_below(r, 3);

	if (how == 0)
		l->burst = a == b ? 0.2 : 0.2 + 0.1 * rng_below(r, 8);
	else if (how == 1)
		l->jitter_us = a == b ? 5 * SC_MS : 400 * SC_MS;
	else
		l->duplicate = 0.3;
	sim_say(w, "PoP %d to PoP %d: %s for %.1f s", a + 1, b + 1,
		how == 0 ? "loses much" : how == 1 ? "reorders" : "doubles", (double)us / 1e6);
	sim_in(w, us, calm_link, NULL, (uint32_t)a, (uint32_t)b);
	sim_until(w, us);
	sim_disturbed_between(w, a, b, w->now_us + us + 10 * SC_S);
}

static void calm_answers(struct world *w, void *p, uint32_t pop, uint32_t b)
{
	(void)p;
	(void)b;
	w->answers[pop].burst = 0;
	w->access[pop].burst = 0;
}

/* SYN-ACKs are lost, or the clients' own packets. */
static void bad_access(struct world *w, struct rng *r)
{
	int pop = any_pop(w, r);
	uint64_t us = some_s(r, 1, 8);

	if (rng_below(r, 2))
		w->answers[pop].burst = 0.7;
	else
		w->access[pop].burst = 0.5;
	sim_say(w, "clients and PoP %d: %s are lost for %.1f s", pop + 1,
		w->answers[pop].burst > 0 ? "answers" : "packets", (double)us / 1e6);
	sim_in(w, us, calm_answers, NULL, (uint32_t)pop, 0);
	sim_until(w, us);
	sim_disturbed(w, w->now_us + us);
}

/* Row 7. */
static void kill_node(struct world *w, struct rng *r)
{
	sim_kill(w, any_node(w, r), rng_range(r, 100 * SC_MS, 20 * SC_S), rng_below(r, 3) == 0, rng_below(r, 4) == 0);
}

/* Row 9: all nodes of a PoP at once. */
static void kill_pop(struct world *w, struct rng *r)
{
	int pop = any_pop(w, r);

	for (int i = w->first_node[pop]; i < w->first_node[pop] + w->nodes_of[pop]; i++)
		sim_kill(w, i, some_s(r, 1, 15), false, false);
}

enum { ROLL_KILLED = 1u << 31, ROLL_TRIES = 1u << 16, ROLL_LAST = 0xffff };

/* Restarts node after node up to the last one; waits until each is whole again. */
static void roll(struct world *w, void *p, uint32_t node, uint32_t how)
{
	uint32_t last = how & ROLL_LAST, tries = (how & ~ROLL_KILLED) >> 16;

	(void)p;
	if (node > last)
		return;
	sim_until(w, 1 * SC_S);
	if (!(how & ROLL_KILLED) && sim_kill(w, (int)node, 300 * SC_MS, rng_below(&w->misc, 2), false)) {
		sim_in(w, 2 * SC_S, roll, NULL, node, last | ROLL_KILLED);
		return;
	}
	if (tries > 60 || ((how & ROLL_KILLED) && sim_serving(w, (int)node))) {
		sim_in(w, rng_range(&w->misc, 0, 3 * SC_S), roll, NULL, node + 1, last);
		return;
	}
	sim_in(w, 1 * SC_S, roll, NULL, node, how + ROLL_TRIES);
}

static void roll_fleet(struct world *w)
{
	sim_say(w, "a rolling restart of the fleet begins");
	roll(w, NULL, 0, (uint32_t)w->nnodes - 1);
}

/* Row 6. */
static void rolling_restart(struct world *w, struct rng *r)
{
	int pop = any_pop(w, r);

	if (rng_below(r, 3) == 0) {
		roll_fleet(w);
		return;
	}
	sim_say(w, "a rolling restart of PoP %d begins", pop + 1);
	roll(w, NULL, (uint32_t)w->first_node[pop], (uint32_t)(w->first_node[pop] + w->nodes_of[pop] - 1));
}

/* Row 8: its catchment leaves, its nodes restart one after the other, it returns. */
static void maintenance(struct world *w, struct rng *r)
{
	int pop = any_pop(w, r), to = other_pop(w, r, pop);

	move(w, pop, to);
	sim_in(w, 3 * SC_S, roll, NULL, (uint32_t)w->first_node[pop],
	       (uint32_t)(w->first_node[pop] + w->nodes_of[pop] - 1));
	sim_in(w, 30 * SC_S, move_back, NULL, (uint32_t)to, (uint32_t)pop);
	sim_until(w, 30 * SC_S);
}

/* A node stands still, and goes on as if nothing had been. */
static void thaw(struct world *w, void *p, uint32_t node, uint32_t boot)
{
	(void)p;
	if (w->node[node].boots == boot)
		w->node[node].frozen = false;
}

static void freeze(struct world *w, struct rng *r)
{
	int node = any_node(w, r);
	uint64_t us = rng_range(r, 100 * SC_MS, 6 * SC_S);

	if (!w->node[node].node)
		return;
	w->node[node].frozen = true;
	sim_say(w, "node %d.%d stands still for %.1f s", w->node[node].pop + 1, w->node[node].number, (double)us / 1e6);
	sim_in(w, us, thaw, NULL, (uint32_t)node, w->node[node].boots);
	sim_until(w, us);
	for (int q = 0; q < w->npops; q++)
		sim_disturbed_between(w, w->node[node].pop, q, w->now_us + us + 10 * SC_S);
}

static int ready_in(const struct world *w, int pop)
{
	int n = 0;

	for (int i = w->first_backend[pop]; i < w->first_backend[pop] + w->backends_of[pop]; i++)
		n += w->backend[i].state == SC_BACKEND_READY;
	return n;
}

/* Row 5: a backend is drained, down, ready again, or weighs another share. Nodes learn
 * it when they are restarted, one after the other (reload: at once). */
static void change_backend(struct world *w, struct rng *r)
{
	static const char *const names[] = { "ready", "draining", "down" };
	struct backend *b = &w->backend[rng_below(r, (uint32_t)w->nbackends)];
	uint8_t state = (uint8_t)rng_below(r, 3);

	if (state != SC_BACKEND_READY && b->state == SC_BACKEND_READY && ready_in(w, b->pop) == 1 &&
	    !w->o.feature[SIM_SPILL])
		state = SC_BACKEND_READY;
	b->state = state;
	b->was_down |= state == SC_BACKEND_DOWN;
	b->was_draining |= state == SC_BACKEND_DRAINING;
	b->weight = (int)rng_range(r, 1, 4);
	sim_say(w, "backend %d.%d is to be %s with weight %d", b->pop + 1, b->number, names[state], b->weight);
	roll_fleet(w);
}

static void relieve(struct world *w, void *p, uint32_t backend, uint32_t b)
{
	(void)p;
	(void)b;
	w->backend[backend].pressed = false;
}

static void press_backend(struct world *w, struct rng *r)
{
	uint32_t at = rng_below(r, (uint32_t)w->nbackends);
	uint64_t us = some_s(r, 5, 30);

	w->backend[at].pressed = true;
	sim_say(w, "backend %d.%d answers with SYN cookies", w->backend[at].pop + 1, w->backend[at].number);
	sim_in(w, us, relieve, NULL, at, 0);
	sim_until(w, us);
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
static void flood(struct world *w, struct rng *r)
{
	uint32_t n = 50 + rng_below(r, w->flow_entries / 16), flags = rng_below(r, 2) ? SC_TCP_SYN : SC_TCP_ACK;
	uint64_t us = some_s(r, 1, 5);

	sim_say(w, "a flood of %u %ss", n, flags == SC_TCP_SYN ? "SYN" : "ACK");
	for (uint32_t i = 0; i < n; i++)
		sim_in(w, rng_range(r, 0, us), flood_packet, NULL, (uint32_t)rng_next(r), flags);
	sim_until(w, us);
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
	if (c->fate != FATE_LIVING)
		return;
	/* A SYN of a flow whose backend is down begins anew by design: so may a forged one. */
	if (w->backend[c->backend].was_down ||
	    (w->backend[c->backend].was_draining && !w->o.feature[SIM_DRAIN_REUSE]))
		return;
	sim_to_vip(w, &s);
}

/* SYNs in the name of living connections. */
static void spoof(struct world *w, struct rng *r)
{
	uint32_t n = 1 + rng_below(r, 40);

	sim_say(w, "%u SYNs in the name of living connections", n);
	for (uint32_t i = 0; i < n; i++) {
		struct connection *c = any_living(w, r);

		if (c)
			sim_in(w, rng_range(r, 0, 3 * SC_S), forge_syn, NULL, (uint32_t)(c - w->conn), (uint32_t)rng_next(r));
	}
	sim_until(w, 3 * SC_S);
}

/* Backends lose sockets: their clients are to be told. */
static void forget(struct world *w, struct rng *r)
{
	for (uint32_t i = 1 + rng_below(r, 4); i > 0; i--) {
		struct connection *c = any_living(w, r);

		if (c)
			sim_forget(w, c);
	}
}

/* Row 10. */
static void shrink_paths(struct world *w, struct rng *r)
{
	for (int i = 0; i < w->nclients; i++)
		if (rng_below(r, 100) < 20)
			w->client[i].path_mtu = 1280;
	sim_say(w, "every fifth client's path takes 1280 bytes now");
}

const struct sim_event sim_events[] = {
	{ "switch", 12, -1, switch_clients },
	{ "move-catchment", 8, -1, move_catchment },
	{ "split", 6, -1, split_clients },
	{ "reshuffle", 6, -1, reshuffle },
	{ "partition", 8, -1, partition },
	{ "bad-link", 8, -1, bad_link },
	{ "bad-access", 4, -1, bad_access },
	{ "kill-node", 10, -1, kill_node },
	{ "kill-pop", 3, -1, kill_pop },
	{ "rolling-restart", 3, -1, rolling_restart },
	{ "maintenance", 3, -1, maintenance },
	{ "freeze", 4, -1, freeze },
	{ "change-backend", 3, -1, change_backend },
	{ "press-backend", 3, -1, press_backend },
	{ "flood", 3, -1, flood },
	{ "spoof", 4, -1, spoof },
	{ "forget", 3, -1, forget },
	{ "shrink-paths", 2, -1, shrink_paths },
};

const unsigned int sim_nevents = sizeof(sim_events) / sizeof(sim_events[0]);
