/* RELAY: a packet that this node can neither deliver nor forward is handed to another
 * PoP, once; what that one does with it is forward.c's. docs/wire-format.md, section 2.2.
 * Called by forward.c. Guarantees: what came by RELAY is never handed on; what a flood
 * can cause is bounded (SC_RELAY_PER_S, SC_SPILL_PER_S). */
#include "state.h"

static uint64_t bit(uint16_t pop)
{
	return 1ull << pop;
}

static uint64_t others(const struct sc_node *node)
{
	return ~bit(node->g->own_pop);
}

/* Whether a node of the PoP that answers does not say that it does not serve. */
static bool serves(const struct sc_node *node, uint16_t pop, uint16_t service)
{
	const struct sc_pop *p = &node->g->pops[pop];

	for (uint16_t i = 0; i < p->count; i++)
		if (sc_serving(node, p->nodes[i]) && !sc_unserved(&node->peers[p->nodes[i]], service))
			return true;
	return false;
}

/* The flow's home in one of the PoPs of among: that which reaches most of missing, and
 * at least one; of equals the nearest. Not one that does not serve the service, if one
 * is given. SC_NO_ROW: none. */
static uint16_t whom(const struct sc_node *node, uint64_t flow, uint64_t among, uint64_t missing,
		     uint16_t service)
{
	int fewest = __builtin_popcountll(missing);
	uint16_t best = SC_NO_ROW;
	uint32_t nearest = 0;

	for (uint16_t pop = 0; pop < node->g->npops; pop++) {
		uint16_t row = among & bit(pop) ? sc_home(node, flow, pop) : SC_NO_ROW;
		const struct sc_peer *peer = &node->peers[row == SC_NO_ROW ? 0 : row];
		uint32_t far;
		int lacks;

		if (row == SC_NO_ROW || !sc_serving(node, row) || peer->version < SC_WIRE_VERSION_RELAY ||
		    (service != SC_NO_ROW && !serves(node, pop, service)))
			continue;
		far = peer->rtt_us ? peer->rtt_us : UINT32_MAX;
		lacks = __builtin_popcountll(missing & peer->unreached & ~bit(pop));
		if (missing && (lacks == __builtin_popcountll(missing) || lacks > fewest))
			continue;
		if (best != SC_NO_ROW && lacks == fewest && far >= nearest)
			continue;
		best = row;
		fewest = lacks;
		nearest = far;
	}
	return best;
}

static enum sc_reason hand(struct sc_way *w, uint16_t row, uint32_t backend, enum sc_counter exit)
{
	enum sc_reason r = sc_gue_to_node(w, row, SC_VERB_RELAY, backend);

	if (r == SC_OK)
		sc_count(w->node, exit);
	return r;
}

enum sc_reason sc_relay_known(struct sc_way *w, uint16_t pop, uint32_t backend)
{
	uint16_t row = whom(w->node, w->flow, others(w->node), bit(pop), SC_NO_ROW);

	return row == SC_NO_ROW ? SC_DROP_peer_unreachable : hand(w, row, backend, SC_C_relayed);
}

enum sc_reason sc_relay_unknown(struct sc_way *w, uint64_t missing)
{
	struct sc_node *node = w->node;
	uint16_t row = whom(node, w->flow, others(node), missing & others(node), SC_NO_ROW);

	if (row == SC_NO_ROW || !sc_allows(node, &node->relay, SC_RELAY_PER_S))
		return SC_DROP_uncertain;
	return hand(w, row, 0, SC_C_relayed);
}

enum sc_reason sc_spill(struct sc_way *w)
{
	struct sc_node *node = w->node;
	uint64_t ready = node->g->pool_pops[node->g->services[w->service].pool];
	uint16_t row = whom(node, w->flow, ready & others(node), 0, w->service);

	if (row == SC_NO_ROW || !sc_allows(node, &node->spill, SC_SPILL_PER_S))
		return SC_DROP_no_backend;
	return hand(w, row, 0, SC_C_spilled);
}
