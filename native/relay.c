/* RELAY: a packet that this node can neither deliver nor forward is handed to another
 * PoP, once; what that one does with it is forward.c's. And REACH, by which nodes tell
 * each other which PoPs they do not hear. docs/wire-format.md, sections 2.2 and 3.3.
 * Called by forward.c and peer.c. Guarantees: what came by RELAY is never handed on;
 * what a flood can cause is bounded (SC_RELAY_PER_S, SC_SPILL_PER_S). */
#include "state.h"

static uint64_t bit(uint16_t pop)
{
	return 1ull << pop;
}

static uint64_t others(const struct sc_node *node)
{
	return ~bit(node->g->own_pop);
}

/* The flow's home in one of the PoPs of among: that which reaches most of missing, and
 * at least one; of equals the nearest. SC_NO_ROW: none. */
static uint16_t whom(const struct sc_node *node, uint64_t flow, uint64_t among, uint64_t missing)
{
	int fewest = __builtin_popcountll(missing);
	uint16_t best = SC_NO_ROW;
	uint32_t nearest = 0;

	for (uint16_t pop = 0; pop < node->g->npops; pop++) {
		uint16_t row = among & bit(pop) ? sc_home(node, flow, pop) : SC_NO_ROW;
		const struct sc_peer *peer = &node->peers[row == SC_NO_ROW ? 0 : row];
		uint32_t far;
		int lacks;

		if (row == SC_NO_ROW || !sc_serving(node, row) || peer->version < SC_WIRE_VERSION_RELAY)
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
	uint16_t row = whom(w->node, w->flow, others(w->node), bit(pop));

	return row == SC_NO_ROW ? SC_DROP_peer_unreachable : hand(w, row, backend, SC_C_relayed);
}

enum sc_reason sc_relay_unknown(struct sc_way *w, uint64_t missing)
{
	struct sc_node *node = w->node;
	uint16_t row = whom(node, w->flow, others(node), missing & others(node));

	if (row == SC_NO_ROW || !sc_allows(node, &node->relay, SC_RELAY_PER_S))
		return SC_DROP_uncertain;
	return hand(w, row, 0, SC_C_relayed);
}

enum sc_reason sc_spill(struct sc_way *w)
{
	struct sc_node *node = w->node;
	uint64_t ready = node->g->pool_pops[node->g->services[w->service].pool];
	uint16_t row = whom(node, w->flow, ready & others(node), 0);

	if (row == SC_NO_ROW || !sc_allows(node, &node->spill, SC_SPILL_PER_S))
		return SC_DROP_no_backend;
	return hand(w, row, 0, SC_C_spilled);
}

/* The PoPs of which this node hears nobody. */
static uint64_t silent(const struct sc_node *node)
{
	uint64_t heard = bit(node->g->own_pop), all = 0;

	for (uint16_t i = 0; i < node->g->h.nodes; i++)
		if (i != node->g->self && node->peers[i].alive)
			heard |= bit(node->g->node_pop[i]);
	for (uint16_t pop = 0; pop < node->g->npops; pop++)
		all |= bit(pop);
	return all & ~heard;
}

/* false: out of buffers. */
static bool send_reach(struct sc_node *node, struct sc_peer *peer)
{
	uint8_t body[SC_REACH_HEAD + 2 * SC_MAX_POPS] = { 0 };
	uint64_t unheard = silent(node);
	uint16_t count = 0;

	for (uint16_t pop = 0; pop < node->g->npops; pop++)
		if (unheard & bit(pop))
			sc_put16(body + SC_REACH_HEAD + 2 * count++, node->g->pops[pop].id);
	sc_put16(body, count);
	if (sc_send_control(node, peer, SC_VERB_REACH, body, (uint16_t)(SC_REACH_HEAD + 2 * count),
			    peer->boot) != SC_OK)
		return false;
	sc_count(node, SC_C_reach_sent);
	return true;
}

void sc_reach_timers(struct sc_node *node, struct sc_peer *peer)
{
	if (peer->near || peer->version < SC_WIRE_VERSION_RELAY || node->now_us < peer->reach_due_us)
		return;
	if (send_reach(node, peer))
		peer->reach_due_us = node->now_us + SC_HELLO_FAR_US;
}

void sc_reach_changed(struct sc_node *node)
{
	for (uint16_t i = 0; i < node->g->h.nodes; i++)
		node->peers[i].reach_due_us = node->now_us;
}

enum sc_reason sc_reach_receive(struct sc_node *node, struct sc_peer *peer, const uint8_t *body,
				uint16_t len, uint64_t seq)
{
	uint16_t count = len < SC_REACH_HEAD ? SC_MAX_POPS + 1 : sc_get16(body);
	uint64_t unreached = 0;

	if (count > SC_MAX_POPS || len != SC_REACH_HEAD + 2 * count)
		return SC_DROP_bad_message;
	sc_count(node, SC_C_reach_received);
	if (seq < peer->reach_seq)
		return SC_OK;
	for (uint16_t i = 0; i < count; i++) {
		uint16_t pop = sc_find_pop(node->g, sc_get16(body + SC_REACH_HEAD + 2 * i));

		if (pop != SC_NO_ROW)
			unreached |= bit(pop);
	}
	peer->reach_seq = seq;
	peer->unreached = unreached;
	return SC_OK;
}
