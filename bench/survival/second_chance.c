/* One second chance: nodes remember nothing; a table names a primary and a secondary for
 * every slot. The primary takes SYNs and what it has a socket for, and hands everything
 * else to the secondary, which takes it or answers RST. Source: GitHub's GLB Director,
 * docs/development/second-chance-design.md and glb-hashing.md ("Making changes to
 * proxies": draining swaps the two; a new one becomes the primary of its slots and the old
 * primary the secondary; one server at a time in any state but active).
 * Given credit for: all nodes change the table at the same instant; a server that drains
 * stays in the table as long as it drains; never are two of a PoP draining. */
#include "survival.h"

struct second_chance {
	struct sv_world *w;
	uint8_t primary[SV_POPS][SV_SLOTS], secondary[SV_POPS][SV_SLOTS];
};

/* The first two in rendezvous order, an active one first. */
static void backends_changed(void *state, int pop)
{
	struct second_chance *g = state;

	for (uint32_t slot = 0; slot < SV_SLOTS; slot++) {
		uint8_t order[SV_BACKENDS_PER_POP];
		int n = sv_rendezvous(g->w, pop, slot, order);
		bool swap = n > 1 && g->w->backend[order[0]] == SV_DRAINING;

		g->primary[pop][slot] = n > 0 ? order[swap] : SV_NONE;
		g->secondary[pop][slot] = n > 1 ? order[!swap] : SV_NONE;
	}
}

static void *start(struct sv_world *w)
{
	struct second_chance *g = calloc(1, sizeof(*g));

	if (!g)
		abort();
	g->w = w;
	for (int pop = 0; pop < SV_POPS; pop++)
		backends_changed(g, pop);
	return g;
}

static void arrive(void *state, int node, const struct sv_packet *p)
{
	struct second_chance *g = state;
	int pop = node / SV_NODES_PER_POP;
	uint8_t primary = g->primary[pop][sv_slot(g->w, p)];
	bool takes = p->number == 0 || sv_has_socket(g->w, p, primary);

	sv_deliver(g->w, p, takes ? primary : g->secondary[pop][sv_slot(g->w, p)]);
}

const struct sv_strategy sv_second_chance = {
	.name = "second-chance", .start = start, .stop = free, .arrive = arrive,
	.backends_changed = backends_changed,
};
