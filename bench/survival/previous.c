/* Current and previous: nodes remember nothing; every slot of the PoP's table names the
 * server that takes new connections and the one that took them before. A server hands what
 * is no SYN and has no socket to the previous one, which takes it or answers RST. Sources:
 * V. Olteanu et al., "Stateless Datacenter Load-balancing with Beamer", NSDI'18 (stable
 * hashing, daisy chaining); D. Wragg, "Unimog - Cloudflare's edge load balancer", 2020
 * ("Maintaining established connections": first and second hop).
 * Given credit for: all nodes change the table at the same instant; a previous server never
 * expires; a slot changes hands only when it must, and goes back to the server it was
 * taken from.
 *
 * The same across PoPs: nobody has published this. Of Plurimog, which redirects between
 * Cloudflare's data centres, it is public that the packet carries where it landed to another
 * data centre's Unimog, not how that one is chosen (docs/survival.md). What is modelled is
 * the most that the published idea gives when it is carried on: every PoP knows at once
 * whose catchment came to it last (at first: the nearest PoP) and hands what neither of its
 * own two servers has to the same two of that PoP.
 */
#include "survival.h"

struct previous {
	struct sv_world *w;
	uint8_t current[SV_POPS][SV_SLOTS], before[SV_POPS][SV_SLOTS];
	uint8_t came_from[SV_POPS];	/* PoP that is asked next, SV_NONE */
};

static void backends_changed(void *state, int pop)
{
	struct previous *v = state;

	for (uint32_t slot = 0; slot < SV_SLOTS; slot++) {
		uint8_t order[SV_BACKENDS_PER_POP], first = SV_NONE;
		int n = sv_rendezvous(v->w, pop, slot, order);

		for (int i = 0; i < n && first == SV_NONE; i++)
			if (v->w->backend[order[i]] == SV_READY)
				first = order[i];
		if (first == v->current[pop][slot])
			continue;
		v->before[pop][slot] = v->current[pop][slot];
		v->current[pop][slot] = first;
	}
}

static void *start(struct sv_world *w)
{
	struct previous *v = calloc(1, sizeof(*v));

	if (!v)
		abort();
	v->w = w;
	memset(v->current, SV_NONE, sizeof(v->current));
	memset(v->came_from, SV_NONE, sizeof(v->came_from));
	for (int pop = 0; pop < SV_POPS; pop++)
		backends_changed(v, pop);
	return v;
}

static void *start_far(struct sv_world *w)
{
	struct previous *v = start(w);

	for (int pop = 0; pop < SV_POPS; pop++) {
		int nearest = pop == 0 ? 1 : 0;

		for (int q = 0; q < SV_POPS; q++)
			if (q != pop && w->s->delay_us[pop][q] < w->s->delay_us[pop][nearest])
				nearest = q;
		v->came_from[pop] = (uint8_t)nearest;
	}
	return v;
}

static void catchment_moved(void *state, int from, int to)
{
	struct previous *v = state;

	v->came_from[to] = (uint8_t)from;
}

static void arrive(void *state, int node, const struct sv_packet *p)
{
	struct previous *v = state;
	uint8_t pop = (uint8_t)(node / SV_NODES_PER_POP), far = v->came_from[pop], asked[4], n = 0;
	uint32_t slot = sv_slot(v->w, p);

	if (v->before[pop][slot] != SV_NONE)
		asked[n++] = v->before[pop][slot];
	if (far != SV_NONE) {
		asked[n++] = v->current[far][slot];
		if (v->before[far][slot] != SV_NONE)
			asked[n++] = v->before[far][slot];
	}
	for (uint8_t i = 0, at = v->current[pop][slot];; at = asked[i++])
		if (p->number == 0 || i == n || sv_has_socket(v->w, p, at)) {
			sv_deliver(v->w, p, at);
			return;
		}
}

const struct sv_strategy sv_previous = {
	.name = "previous", .start = start, .stop = free, .arrive = arrive,
	.backends_changed = backends_changed,
};

const struct sv_strategy sv_previous_far = {
	.name = "previous-far", .start = start_far, .stop = free, .arrive = arrive,
	.backends_changed = backends_changed, .catchment_moved = catchment_moved,
};
