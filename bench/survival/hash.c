/* A hash alone: every node of a PoP looks every packet up in the same consistent table and
 * remembers nothing. Source: the lookup table of Eisenbud et al., "Maglev", NSDI'16,
 * section 3.4, without the connection tracking of section 3.3.
 * Given credit for: the table of a modern balancer instead of a modulus (a change moves
 * few flows more than it must); all nodes change it at the same instant. */
#include "survival.h"

struct hash {
	struct sv_world *w;
	uint8_t slot[SV_POPS][SV_SLOTS];
};

static void backends_changed(void *state, int pop)
{
	struct hash *h = state;

	sv_maglev(h->w, pop, h->slot[pop]);
}

static void *start(struct sv_world *w)
{
	struct hash *h = calloc(1, sizeof(*h));

	if (!h)
		abort();
	h->w = w;
	for (int pop = 0; pop < SV_POPS; pop++)
		backends_changed(h, pop);
	return h;
}

static void arrive(void *state, int node, const struct sv_packet *p)
{
	struct hash *h = state;

	sv_deliver(h->w, p, h->slot[node / SV_NODES_PER_POP][sv_slot(h->w, p)]);
}

const struct sv_strategy sv_hash = {
	.name = "hash", .start = start, .stop = free, .arrive = arrive, .backends_changed = backends_changed,
};
