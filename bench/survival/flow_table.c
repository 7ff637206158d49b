/* A consistent hash with a flow table in each node: a packet of a known flow goes where the
 * flow went before, any other to the hash's choice, which is remembered. Nodes share
 * nothing; a restart forgets. Sources: Eisenbud et al., "Maglev", NSDI'16, sections 3.3
 * (connection tracking, and what it cannot help: another machine after a change of ECMP)
 * and 3.4 (the table); Katran (github.com/facebookincubator/katran, README: LRU of
 * connections, Maglev hash).
 * Given credit for: a table that is never full and never evicts; a draining backend keeps
 * the flows that any node remembers; all nodes change the hash's table at the same instant. */
#include "survival.h"

struct flow_table {
	struct sv_world *w;
	uint8_t slot[SV_POPS][SV_SLOTS];
	uint8_t *known[SV_NODES];	/* [flow] its backend, SV_NONE */
};

static void backends_changed(void *state, int pop)
{
	struct flow_table *t = state;

	sv_maglev(t->w, pop, t->slot[pop]);
}

static void node_down(void *state, int node)
{
	struct flow_table *t = state;

	memset(t->known[node], SV_NONE, t->w->s->nflows);
}

static void *start(struct sv_world *w)
{
	struct flow_table *t = calloc(1, sizeof(*t));

	if (!t)
		abort();
	t->w = w;
	for (int pop = 0; pop < SV_POPS; pop++)
		backends_changed(t, pop);
	for (int n = 0; n < SV_NODES; n++) {
		t->known[n] = malloc(w->s->nflows);
		if (!t->known[n])
			abort();
		node_down(t, n);
	}
	return t;
}

static void stop(void *state)
{
	struct flow_table *t = state;

	for (int n = 0; n < SV_NODES; n++)
		free(t->known[n]);
	free(t);
}

static void arrive(void *state, int node, const struct sv_packet *p)
{
	struct flow_table *t = state;
	uint8_t *known = &t->known[node][p->flow];

	if (*known == SV_NONE || p->number == 0)
		*known = t->slot[node / SV_NODES_PER_POP][sv_slot(t->w, p)];
	sv_deliver(t->w, p, *known);
}

const struct sv_strategy sv_flow_table = {
	.name = "flow-table", .start = start, .stop = stop, .arrive = arrive,
	.backends_changed = backends_changed, .node_down = node_down,
};
