/* The events: rows 1 to 8, 10 and 11 of what goes wrong over anycast, and what makes
 * them worse. Each begins at once, ends by itself (sim_until) and draws all it needs
 * from its own stream, so that leaving out another one changes nothing here. In this
 * file: the table, clients' routes and the network. */
#include "events.h"

void sim_until(struct world *w, uint64_t us)
{
	if (w->now_us + us > w->end_us)
		w->end_us = w->now_us + us;
}

/* Row 1. */
static bool switch_clients(struct world *w, struct rng *r)
{
	uint32_t share = 1 + rng_below(r, 100), moved = 0;

	for (int i = 0; i < w->nclients; i++)
		if (rng_below(r, 100) < share) {
			w->client[i].route = any_pop(w, r);
			w->client[i].moved_us = w->now_us;
			moved++;
		}
	sim_say(w, "%u clients are routed to other PoPs", moved);
	return moved > 0;
}

void move_catchment_of(struct world *w, int from, int to)
{
	for (int i = 0; i < w->nclients; i++)
		if (w->client[i].route == from) {
			w->client[i].route = to;
			w->client[i].moved_us = w->now_us;
		}
	sim_say(w, "the catchment of PoP %d moves to PoP %d", from + 1, to + 1);
}

static void move_back(struct world *w, void *p, uint32_t from, uint32_t to)
{
	(void)p;
	move_catchment_of(w, (int)from, (int)to);
}

void move_catchment_back(struct world *w, uint64_t after_us, int from, int to)
{
	sim_in(w, after_us, move_back, NULL, (uint32_t)from, (uint32_t)to);
	sim_until(w, after_us);
}

/* Rows 1 and 8. */
static bool move_catchment(struct world *w, struct rng *r)
{
	int from = any_pop(w, r), to = other_pop(w, r, from);
	uint64_t back_us = some_s(r, 1, 30);

	move_catchment_of(w, from, to);
	if (rng_below(r, 2))
		move_catchment_back(w, back_us, to, from);
	return from != to;
}

/* Rows 2 and 3. */
static bool split_clients(struct world *w, struct rng *r)
{
	uint32_t share = 1 + rng_below(r, 20);
	bool end = rng_below(r, 3) == 0;

	for (int i = 0; i < w->nclients; i++)
		if (rng_below(r, 100) < share) {
			w->client[i].split = end ? -1 : any_pop(w, r);
			w->client[i].moved_us = w->now_us;
		}
	sim_say(w, "%u%% of the clients %s", share, end ? "are split no more" : "are split");
	return true;
}

/* Row 4. */
static bool reshuffle(struct world *w, struct rng *r)
{
	int pop = any_pop(w, r);

	w->ecmp_salt[pop]++;
	sim_say(w, "ECMP of PoP %d is reshuffled", pop + 1);
	return true;
}

static void heal(struct world *w, void *p, uint32_t from, uint32_t to)
{
	(void)p;
	if (--w->link[from][to].cuts == 0)
		w->cut_us[from][to] = 0;
	sim_say(w, "PoP %u to PoP %u: healed", from + 1, to + 1);
}

static void cut(struct world *w, int from, int to, uint64_t us)
{
	if (from == to)
		return;
	sim_say(w, "PoP %d to PoP %d: cut for %.1f s", from + 1, to + 1, (double)us / 1e6);
	if (w->link[from][to].cuts++ == 0)
		w->cut_us[from][to] = w->now_us;
	sim_in(w, us, heal, NULL, (uint32_t)from, (uint32_t)to);
	sim_until(w, us);
	sim_disturbed_between(w, from, to, w->now_us + us + 10 * SC_S);
}

/* Two PoPs, or one and all others, do not hear each other; or only one way. */
static bool partition(struct world *w, struct rng *r)
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
	return a != b;
}

/* Two PoPs do not hear each other for long, and others hear both: they bridge it. */
static bool long_partition(struct world *w, struct rng *r)
{
	int a = any_pop(w, r), b = other_pop(w, r, a);
	bool one_way = rng_below(r, 2);
	uint64_t us = some_s(r, 30, 60);

	cut(w, a, b, us);
	if (!one_way)
		cut(w, b, a, us);
	return w->npops > 2;
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
static bool bad_link(struct world *w, struct rng *r)
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
	return true;
}

static void calm_answers(struct world *w, void *p, uint32_t pop, uint32_t b)
{
	(void)p;
	(void)b;
	w->answers[pop].burst = 0;
	w->access[pop].burst = 0;
}

/* SYN-ACKs are lost, or the clients' own packets. */
static bool bad_access(struct world *w, struct rng *r)
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
	if (w->odd_us[pop] < w->now_us + us)
		w->odd_us[pop] = w->now_us + us;
	return true;
}

/* Row 10. */
static bool shrink_paths(struct world *w, struct rng *r)
{
	for (int i = 0; i < w->nclients; i++)
		if (rng_below(r, 100) < 20)
			w->client[i].path_mtu = 1280;
	sim_say(w, "every fifth client's path takes 1280 bytes now");
	return true;
}

const struct sim_event sim_events[] = {
	{ "switch", 12, switch_clients },
	{ "move-catchment", 8, move_catchment },
	{ "split", 6, split_clients },
	{ "reshuffle", 6, reshuffle },
	{ "partition", 8, partition },
	{ "long-partition", 4, long_partition },
	{ "bad-link", 8, bad_link },
	{ "bad-access", 4, bad_access },
	{ "kill-node", 10, kill_node },
	{ "kill-pop", 3, kill_pop },
	{ "reboot", 3, reboot },
	{ "damage-memory", 3, damage_memory },
	{ "long-outage", 2, long_outage },
	{ "rolling-restart", 3, rolling_restart },
	{ "upgrade", 2, upgrade },
	{ "maintenance", 3, maintenance },
	{ "freeze", 4, freeze },
	{ "change-backend", 6, change_backend },
	{ "add-backend", 3, add_backend },
	{ "remove-backend", 3, remove_backend },
	{ "empty-pop", 3, empty_pop },
	{ "rotate-keys", 3, rotate_keys },
	{ "resize-pop", 2, resize_pop },
	{ "press-backend", 3, press_backend },
	{ "flood", 3, flood },
	{ "great-flood", 1, great_flood },
	{ "spoof", 4, spoof },
	{ "forget", 3, forget },
	{ "shrink-paths", 2, shrink_paths },
};

const unsigned int sim_nevents = sizeof(sim_events) / sizeof(sim_events[0]);

_Static_assert(sizeof(sim_events) / sizeof(sim_events[0]) <= (size_t)SIM_KINDS, "kinds are counted by number");
