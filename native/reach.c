/* REACH: what a node tells other PoPs of its own: which PoPs it does not hear, and which
 * services it does not serve. docs/wire-format.md, section 3.3. Sent and received by
 * peer.c, asked by relay.c and the control plane; swap.c carries what was said over to
 * another generation. Guarantees: of several messages the last one sent counts; ids that
 * are not configured are remembered, for a generation that has them. */
#include "state.h"

static uint64_t bit(uint16_t pop)
{
	return 1ull << pop;
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

static bool serves(const struct sc_generation *g, const struct sc_service_row *s)
{
	return g->pools[s->table].size > 0 && !(s->flags & SC_SERVICE_WITHHELD);
}

/* The ids of services that this node does not serve; SC_REACH_SERVES_NONE: more than can
 * be named. */
static uint16_t put_services(const struct sc_generation *g, uint8_t *at)
{
	uint16_t count = 0;

	for (uint16_t i = 0; i < g->h.services; i++) {
		if (serves(g, &g->services[i]))
			continue;
		if (count == SC_REACH_SERVICES)
			return SC_REACH_SERVES_NONE;
		sc_put32(at + 4 * count++, g->service_id[i]);
	}
	return count;
}

/* false: out of buffers. */
static bool send_reach(struct sc_node *node, struct sc_peer *peer)
{
	uint8_t body[SC_REACH_HEAD + 2 * SC_MAX_POPS + 4 * SC_REACH_SERVICES] = { 0 };
	uint64_t unheard = silent(node);
	uint16_t pops = 0, services, len;

	for (uint16_t pop = 0; pop < node->g->npops; pop++)
		if (unheard & bit(pop))
			sc_put16(body + SC_REACH_HEAD + 2 * pops++, node->g->pops[pop].id);
	services = put_services(node->g, body + SC_REACH_HEAD + 2 * pops);
	sc_put16(body, pops);
	sc_put16(body + 2, services);
	len = (uint16_t)(SC_REACH_HEAD + 2 * pops + (services == SC_REACH_SERVES_NONE ? 0 : 4 * services));
	if (sc_send_control(node, peer, SC_VERB_REACH, body, len, peer->boot) != SC_OK)
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

static bool says_unserved(const struct sc_reach *said, uint32_t id)
{
	for (uint16_t i = 0; said->nservices != SC_REACH_SERVES_NONE && i < said->nservices; i++)
		if (said->services[i] == id)
			return true;
	return said->nservices == SC_REACH_SERVES_NONE;
}

void sc_reach_index(const struct sc_generation *g, struct sc_peer *peer)
{
	peer->unreached = 0;
	memset(peer->unserved, 0, sizeof(peer->unserved));
	for (uint16_t i = 0; i < peer->said.npops; i++) {
		uint16_t pop = sc_find_pop(g, peer->said.pops[i]);

		if (pop != SC_NO_ROW)
			peer->unreached |= bit(pop);
	}
	for (uint16_t i = 0; i < g->h.services; i++)
		if (says_unserved(&peer->said, g->service_id[i]))
			peer->unserved[i / 64] |= 1ull << i % 64;
}

void sc_reach_forget(struct sc_peer *peer)
{
	peer->reach_seq = 0;
	peer->unreached = 0;
	memset(&peer->said, 0, sizeof(peer->said));
	memset(peer->unserved, 0, sizeof(peer->unserved));
}

enum sc_reason sc_reach_receive(struct sc_node *node, struct sc_peer *peer, const uint8_t *body,
				uint16_t len, uint64_t seq)
{
	uint16_t pops = len < SC_REACH_HEAD ? SC_MAX_POPS + 1 : sc_get16(body);
	uint16_t services = len < SC_REACH_HEAD ? 0 : sc_get16(body + 2);
	uint16_t named = services == SC_REACH_SERVES_NONE ? 0 : services;

	if (pops > SC_MAX_POPS || named > SC_REACH_SERVICES || len != SC_REACH_HEAD + 2 * pops + 4 * named)
		return SC_DROP_bad_message;
	sc_count(node, SC_C_reach_received);
	if (seq < peer->reach_seq)
		return SC_OK;
	body += SC_REACH_HEAD;
	for (uint16_t i = 0; i < pops; i++)
		peer->said.pops[i] = sc_get16(body + 2 * i);
	body += 2 * pops;
	for (uint16_t i = 0; i < named; i++)
		peer->said.services[i] = sc_get32(body + 4 * i);
	peer->said.npops = pops;
	peer->said.nservices = services;
	peer->reach_seq = seq;
	sc_reach_index(node->g, peer);
	return SC_OK;
}
