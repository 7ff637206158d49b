/* Reload: a node goes over from one generation to the next. Prepared by the control
 * plane's thread (napi.c), applied by the worker between two bursts. See node.h.
 * Guarantees: flows, sessions, counts and what waits to be published stay; applying
 * allocates nothing; all that was replaced is in the swap afterwards, to be freed. */
#include <errno.h>
#include <stdlib.h>

#include "state.h"

struct sc_swap {
	struct sc_generation *g;
	struct sc_peer *peers;
	uint32_t npeers;
	uint64_t *counters;	/* the caller's */
	uint64_t *survey_rows;
	uint8_t *scratch;
	uint32_t scratch_size;
};

static const char *cannot_change(const struct sc_generation *old, const struct sc_generation *g)
{
	if (g->self == SC_NO_ROW || g->h.self != old->h.self)
		return "the node's id";
	if (g->nodes[g->self].pop != old->nodes[old->self].pop)
		return "the node's PoP";
	if (!sc_addr_eq(&g->nodes[g->self].addr, &old->nodes[old->self].addr))
		return "the node's address";
	return g->h.hash_seed != old->h.hash_seed ? "hash_seed" : NULL;
}

int sc_swap_prepare(const struct sc_node *node, struct sc_generation *g, uint64_t *counters,
		    struct sc_swap **out, const char **why)
{
	struct sc_swap *s;

	*why = cannot_change(node->g, g);
	if (*why)
		return -EINVAL;
	*why = "memory";
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->npeers = g->h.nodes;
	s->peers = sc_peers_new(g);
	s->survey_rows = sc_survey_rows(g);
	s->scratch_size = sc_scratch_size(g);
	s->scratch = malloc((size_t)SC_SCRATCH * s->scratch_size);
	if (!s->peers || !s->survey_rows || !s->scratch) {
		sc_swap_free(s);
		return -ENOMEM;
	}
	s->g = g;
	s->counters = counters;
	sc_generation_keep_classes(g, node->g);
	*out = s;
	return 0;
}

/* Copies the rows of counts that both generations have. */
static void count_on(const struct sc_node *node, const struct sc_swap *s)
{
	const struct sc_generation *old = node->g, *g = s->g;
	struct sc_counts to = sc_counts_of(s->counters, g);
	const size_t row_size = SC_TRAFFIC_COUNT * sizeof(uint64_t);

	memcpy(s->counters, node->counters, SC_COUNTER_COUNT * sizeof(uint64_t));
	for (uint32_t i = 0; i < g->h.services; i++) {
		const struct sc_service_row *row = &g->services[i];
		uint16_t was = sc_find_service(old, &row->vip, row->port, row->proto);

		if (was != SC_NO_ROW)
			memcpy(to.service + i * SC_TRAFFIC_COUNT,
			       node->counts.service + was * SC_TRAFFIC_COUNT, row_size);
	}
	for (uint32_t i = 0; i < g->h.backends; i++) {
		uint16_t was = sc_find_backend(old, g->backends[i].id);

		if (was == SC_NO_ROW)
			continue;
		memcpy(to.backend + i * SC_TRAFFIC_COUNT, node->counts.backend + was * SC_TRAFFIC_COUNT, row_size);
		for (int c = 0; c < SC_CENSUS_COUNT; c++)
			to.flows[c * g->h.backends + i] = node->counts.flows[c * old->h.backends + was];
	}
	for (uint32_t i = 0; i < g->h.nodes; i++) {
		uint16_t was = old->node_by_id[g->nodes[i].id];

		if (was != SC_NO_ROW)
			memcpy(to.between + i * SC_BETWEEN_COUNT, node->counts.between + was * SC_BETWEEN_COUNT,
			       SC_BETWEEN_COUNT * sizeof(uint64_t));
	}
}

/* Moves the peers that stay. Returns whether the nodes of the fleet are others now. */
static bool move_peers(struct sc_node *node, struct sc_swap *s)
{
	const struct sc_generation *old = node->g, *g = s->g;
	uint32_t stay = 0;

	for (uint16_t i = 0; i < g->h.nodes; i++) {
		const struct sc_node_row *row = &g->nodes[i];
		uint16_t was = old->node_by_id[row->id];
		struct sc_peer fresh = s->peers[i];

		if (i == g->self || was == SC_NO_ROW || old->nodes[was].pop != row->pop ||
		    !sc_addr_eq(&old->nodes[was].addr, &row->addr))
			continue;
		s->peers[i] = node->peers[was];
		s->peers[i].row = i;
		sc_reach_index(g, &s->peers[i]);
		node->peers[was] = fresh;
		stay++;
	}
	return stay + 1 != g->h.nodes || stay + 1 != old->h.nodes;
}

/* Whether each backend has the row that it had: then a count of flows goes on. Health
 * changes generations more often than a large table can be counted. */
static bool same_backends(const struct sc_generation *old, const struct sc_generation *g)
{
	bool same = old->h.backends == g->h.backends;

	for (uint32_t i = 0; same && i < g->h.backends; i++)
		same = old->backends[i].id == g->backends[i].id;
	return same;
}

void sc_swap_apply(struct sc_node *node, struct sc_swap *s)
{
	struct sc_swap old = {
		.g = node->g, .peers = node->peers, .npeers = node->g->h.nodes,
		.survey_rows = node->survey.rows, .scratch = node->scratch, .scratch_size = node->scratch_size,
	};
	bool others, survey_goes_on = same_backends(node->g, s->g);

	if (survey_goes_on)
		memcpy(s->survey_rows, node->survey.rows, SC_CENSUS_COUNT * s->g->h.backends * sizeof(*s->survey_rows));
	count_on(node, s);
	others = move_peers(node, s);
	node->g = s->g;
	node->peers = s->peers;
	node->counters = s->counters;
	node->counts = sc_counts_of(s->counters, s->g);
	node->survey.rows = s->survey_rows;
	if (!survey_goes_on) {
		node->survey.next = 0;
		node->survey.asked = true;
	}
	node->scratch = s->scratch;
	node->scratch_size = s->scratch_size;
	*s = old;
	if (node->started_us == 0)
		return;
	sc_peers_changed(node, others);
	sc_reach_changed(node);
}

void sc_swap_free(struct sc_swap *s)
{
	if (!s)
		return;
	sc_peers_free(s->peers, s->npeers);
	free(s->survey_rows);
	free(s->scratch);
	sc_generation_free(s->g);
	free(s);
}
