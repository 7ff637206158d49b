/* How many flows name each backend: a pass over the whole flow table, once a minute and
 * whenever asked. Called by the timers (node.c). See enum sc_census in node.h.
 * Guarantees: counts appear together, when a pass has come to its end; a pass is spread
 * over calls of the timers. */
#include <stdlib.h>

#include "state.h"

uint64_t *sc_survey_rows(const struct sc_generation *g)
{
	return calloc((size_t)SC_CENSUS_COUNT * g->h.backends + 1, sizeof(uint64_t));
}

void sc_node_survey(struct sc_node *node)
{
	node->survey.asked = true;
}

/* An entry may live on for what this node does not see of its flow (life_s in flows.c). A
 * closing one that is silent for longer than any closing flow lives has nothing left that
 * a drain would have to wait for. */
static bool is_over(const struct sc_node *node, const struct sc_flow_entry *e)
{
	uint32_t closing_s = node->g->timeouts[0].closing_s;

	if (node->g->pops[node->g->own_pop].count > 1 && closing_s < SC_OWNER_CACHE_S)
		closing_s = SC_OWNER_CACHE_S;
	return e->state == SC_FLOW_CLOSING && sc_flow_idle(e, node->tick) * SC_TICK_S > closing_s;
}

static void count_flow(struct sc_node *node, const struct sc_flow_entry *e)
{
	uint16_t backend = sc_find_backend(node->g, e->backend);
	uint32_t n = node->g->h.backends;
	uint64_t age_s = (uint64_t)sc_flow_age(e, node->tick) * SC_TICK_S, *row;

	if (backend == SC_NO_ROW || e->cached || sc_expired(node, e))
		return;
	row = node->survey.rows + backend;
	row[SC_CENSUS_FLOWS * n]++;
	if (!sc_owned(node, e) || is_over(node, e))
		return;
	row[SC_CENSUS_OWNED * n]++;
	row[SC_CENSUS_ACTIVE * n] += sc_flow_idle(e, node->tick) * SC_TICK_S <= SC_OWNER_CACHE_S;
	if (row[SC_CENSUS_OLDEST_S * n] < age_s)
		row[SC_CENSUS_OLDEST_S * n] = age_s;
}

static bool begin(struct sc_node *node)
{
	struct sc_survey *s = &node->survey;

	if (!s->asked && s->begun_us != 0 && node->now_us - s->begun_us < SC_SURVEY_US)
		return false;
	s->asked = false;
	s->begun_us = node->now_us;
	memset(s->rows, 0, (size_t)SC_CENSUS_COUNT * node->g->h.backends * sizeof(*s->rows));
	return true;
}

void sc_survey_timers(struct sc_node *node)
{
	struct sc_survey *s = &node->survey;
	uint32_t buckets = node->table.mask + 1, end;

	if (s->next == 0 && !begin(node))
		return;
	end = buckets - s->next > SC_SURVEY_BUCKETS ? s->next + SC_SURVEY_BUCKETS : buckets;
	for (; s->next < end; s->next++)
		for (int i = 0; i < SC_FLOW_WAYS; i++)
			if (node->table.buckets[s->next].way[i].state != SC_FLOW_NONE)
				count_flow(node, &node->table.buckets[s->next].way[i]);
	if (s->next < buckets)
		return;
	s->next = 0;
	s->counted_us = s->begun_us;
	memcpy(node->counts.flows, s->rows,
	       (size_t)SC_CENSUS_COUNT * node->g->h.backends * sizeof(*s->rows));
}
