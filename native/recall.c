/* Recall: what a restarted node takes from its own memory of before. Called by peer.c
 * when the peers that can tell have told, before the node counts as filled. See memory.h.
 * Its peers' word comes first: they heard what happened since, unless it is of the end of
 * a port's last connection and older than the next one. What they did not tell is
 * recalled; after a minute's absence only that for which nobody else answers. */
#include "state.h"

/* An entry of a process that may have died in the midst of anything, in memory that
 * anything may have happened to since. Backends of its own PoP a node has configured,
 * also those that departed; of others it need not. That an entry was not seen in the
 * future sc_take_back() finds: it would have expired long ago. */
static bool believable(const struct sc_node *node, const struct sc_flow_entry *e, uint32_t bucket)
{
	struct sc_place at = sc_place_of(node->g, e->backend);

	return e->state != SC_FLOW_NONE && !e->cached &&
	       sc_flow_belongs(sc_memory_mask(node->past), e->flow, bucket) &&
	       at.pop != SC_NO_ROW && (at.row != SC_NO_ROW || at.pop != node->g->own_pop);
}

/* Whether the flow's owner node, or who stands in for it, had the time to tell, and has
 * lived on since this node died. Otherwise what it did not tell it may have lost with its
 * own machine, or never have heard: this memory may be the last. */
static bool answered_for(const struct sc_node *node, const struct sc_flow_entry *e, uint64_t away_us)
{
	uint16_t row = sc_home(node, e->flow, sc_place_of(node->g, e->backend).pop);

	return away_us > SC_RECALL_BESIDE_S * SC_S && row != SC_NO_ROW && row != node->g->self &&
	       sc_serving(node, row) && sc_memory_heard(node->past, node->peers[row].boot);
}

bool sc_recall(struct sc_node *node)
{
	uint64_t alive_us, away_us;

	if (!node->past)
		return true;
	alive_us = sc_memory_alive_us(node->past);
	away_us = node->started_us - alive_us;
	if (node->started_us < alive_us || away_us > SC_RECALL_S * SC_S) {
		node->past = NULL;
		return true;
	}
	for (uint32_t n = 0; n < SC_WALK_BUCKETS; n++) {
		const struct sc_flow_bucket *b = &sc_memory_buckets(node->past)[node->recall_next];

		for (int i = 0; i < SC_FLOW_WAYS; i++)
			if (believable(node, &b->way[i], node->recall_next) &&
			    !answered_for(node, &b->way[i], away_us))
				sc_take_back(node, &b->way[i]);
		if (node->recall_next++ == sc_memory_mask(node->past)) {
			node->past = NULL;
			return true;
		}
	}
	return false;
}
