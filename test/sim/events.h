/* What the files of the event table (events.c) share: the events of each file, each
 * true when it did anything, and the small draws that they have in common. */
#ifndef SC_SIM_EVENTS_H
#define SC_SIM_EVENTS_H

#include "sim.h"

static inline int any_pop(struct world *w, struct rng *r)
{
	return (int)rng_below(r, (uint32_t)w->npops);
}

static inline int other_pop(struct world *w, struct rng *r, int pop)
{
	int q = any_pop(w, r);

	return q == pop ? (q + 1) % w->npops : q;
}

static inline int any_node(struct world *w, struct rng *r)
{
	return (int)rng_below(r, (uint32_t)w->nnodes);
}

static inline uint64_t some_s(struct rng *r, uint64_t low, uint64_t high)
{
	return rng_range(r, low * SC_S, high * SC_S);
}

/* events.c: clients' routes, the network. */
void move_catchment_of(struct world *w, int from, int to);
void move_catchment_back(struct world *w, uint64_t after_us, int from, int to);

/* deaths.c */
bool kill_node(struct world *w, struct rng *r);
bool kill_pop(struct world *w, struct rng *r);
bool reboot(struct world *w, struct rng *r);
bool damage_memory(struct world *w, struct rng *r);
bool long_outage(struct world *w, struct rng *r);
bool rolling_restart(struct world *w, struct rng *r);
bool upgrade(struct world *w, struct rng *r);
bool maintenance(struct world *w, struct rng *r);
bool freeze(struct world *w, struct rng *r);

/* reload.c */
bool change_backend(struct world *w, struct rng *r);
bool add_backend(struct world *w, struct rng *r);
bool remove_backend(struct world *w, struct rng *r);
bool empty_pop(struct world *w, struct rng *r);
bool rotate_keys(struct world *w, struct rng *r);
bool resize_pop(struct world *w, struct rng *r);

/* attacks.c: what others send, and what backends' kernels do. */
bool flood(struct world *w, struct rng *r);
bool great_flood(struct world *w, struct rng *r);
bool spoof(struct world *w, struct rng *r);
bool forget(struct world *w, struct rng *r);
bool press_backend(struct world *w, struct rng *r);

#endif
