/* The packet's way through a node, top to bottom. Called by the worker, the
 * Node-API addon's memory nodes, test programs and simulators through
 * sc_forward(). Every packet ends in what leaves (an exit counter) or in exactly
 * one drop counter.
 *
 *   raw VIP packet --parse--service--flow id--> ingress --> home --> deliver | forward
 *   ASK            --parse--tag-----service----flow id---> home --> deliver | forward
 *   FORWARD        --parse--tag-----service----flow id------------> owner --> deliver
 *   RELAY          --parse--tag-----service----flow id---> relayed --> deliver | forward
 *   control        --parse--tag--> session --> flow table
 */
#include "flow_id.h"
#include "state.h"

static enum sc_reason stateless(struct sc_way *w);
static enum sc_reason ingress(struct sc_way *w);
static enum sc_reason home(struct sc_way *w);
static enum sc_reason relayed(struct sc_way *w);
static enum sc_reason owner(struct sc_way *w);
static enum sc_reason plain(struct sc_way *w);
static bool has_state(const struct sc_way *w);

enum sc_reason sc_way_of(struct sc_way *w)
{
	enum sc_reason r;

	if ((r = sc_parse(w->packet->data, w->packet->len, &w->ip)) != SC_OK)
		return r;
	if (sc_is_gue(w->node, &w->ip)) {
		if ((r = sc_gue_open(w)) != SC_OK)
			return r;
		if (w->verb >= SC_VERB_HELLO && w->verb <= SC_VERB_REACH) {
			r = sc_control_receive(w);
			if (r == SC_OK)
				sc_count(w->node, SC_C_consumed);
			return r;
		}
	} else if (sc_addr_eq(&w->ip.dst, &w->node->self)) {
		return SC_DROP_not_ours;
	}
	if ((r = sc_match_service(w)) != SC_OK)
		return r;
	if (w->verb == SC_VERB_PLAIN)
		return plain(w);
	if (w->verb == SC_VERB_RELAY && w->version < SC_WIRE_VERSION_RELAY)
		return SC_DROP_relay_unsupported;
	/* ASK is for this PoP's nodes, RELAY for the others'. */
	if ((w->verb == SC_VERB_ASK || w->verb == SC_VERB_RELAY) &&
	    (w->node->g->node_pop[w->origin] == w->node->g->own_pop) != (w->verb == SC_VERB_ASK))
		return SC_DROP_unknown_origin;
	if (w->origin != SC_NO_ROW)
		w->node->counts.between[w->origin * SC_BETWEEN_COUNT + SC_BETWEEN_RECEIVED]++;
	switch (w->verb) {
	case SC_VERB_ASK:
		sc_count(w->node, SC_C_ask_received);
		return has_state(w) ? home(w) : stateless(w);
	case SC_VERB_FORWARD:
		sc_count(w->node, SC_C_forward_received);
		return owner(w);
	case SC_VERB_RELAY:
		sc_count(w->node, SC_C_relay_received);
		return has_state(w) ? relayed(w) : stateless(w);
	default:
		/* Its own connections through the VIP tell nothing of who routes packets here. */
		if (!sc_addr_eq(&w->ip.src, &w->node->self))
			sc_count(w->node, SC_C_ingress_packets);
		return has_state(w) ? ingress(w) : stateless(w);
	}
}

void sc_forward_burst(struct sc_node *node, struct sc_packet *burst, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		struct sc_way w = { .node = node, .packet = &burst[i], .origin = SC_NO_ROW };
		enum sc_reason r = sc_way_of(&w);

		if (r != SC_OK)
			sc_count(node, (unsigned int)r);
	}
	sc_owner_flush(node);
}

/* TCP needs an owner; UDP and pings go by Maglev alone. */
static bool has_state(const struct sc_way *w)
{
	return w->ip.proto == SC_PROTO_TCP;
}

enum sc_reason sc_match_service(struct sc_way *w)
{
	const struct sc_generation *g = w->node->g;
	struct sc_parsed *ip = &w->ip;
	bool portless = ip->kind == SC_KIND_FRAGMENT || ip->first_fragment;

	if (ip->kind == SC_KIND_ICMP_ECHO) {
		w->service = sc_find_portless_service(g, &ip->dst, 0);
		portless = true;
	} else if (portless) {
		/* Protocol 0 would be any. */
		w->service = ip->proto ? sc_find_portless_service(g, &ip->dst, ip->proto) : SC_NO_ROW;
		if (w->service == SC_NO_ROW && sc_find_portless_service(g, &ip->dst, 0) != SC_NO_ROW)
			return SC_DROP_fragment;
	} else {
		w->service = sc_find_service(g, &ip->dst, ip->dport, ip->proto);
	}
	if (w->service == SC_NO_ROW)
		return SC_DROP_no_service;
	portless = portless || g->services[w->service].flags & SC_SERVICE_FRAGMENTS;
	w->flow = sc_flow_id(&ip->src, &ip->dst, portless ? 0 : ip->sport, portless ? 0 : ip->dport,
			     ip->proto, g->h.hash_seed);
	return SC_OK;
}

static void count_traffic(struct sc_way *w, uint16_t backend)
{
	uint64_t *s = w->node->counts.service + w->service * SC_TRAFFIC_COUNT;
	uint64_t *b = w->node->counts.backend + backend * SC_TRAFFIC_COUNT;

	s[SC_TRAFFIC_PACKETS]++;
	b[SC_TRAFFIC_PACKETS]++;
	s[SC_TRAFFIC_BYTES] += w->ip.total_len;
	b[SC_TRAFFIC_BYTES] += w->ip.total_len;
}

/* To a backend of this PoP, which is at row backend. */
static enum sc_reason deliver(struct sc_way *w, uint16_t backend)
{
	struct sc_node *node = w->node;
	const struct sc_backend_row *b = &node->g->backends[backend];
	enum sc_reason r;

	if (b->deliver == SC_DELIVER_LOCAL && b->node == node->self_id) {
		w->packet->len = w->ip.total_len;
		r = sc_emit(node, w->packet, SC_EGRESS_LOCAL);
		if (r == SC_OK)
			sc_count(node, SC_C_delivered_local);
	} else {
		r = sc_gue_to_backend(w, &b->addr);
		if (r == SC_OK)
			sc_count(node, SC_C_delivered_gue);
	}
	if (r == SC_OK) {
		count_traffic(w, backend);
		if (w->ip.kind == SC_KIND_ICMP_ERROR)
			sc_count(node, SC_C_icmp_steered);
	}
	return r;
}

/* By Maglev alone, nothing remembered. */
static enum sc_reason stateless(struct sc_way *w)
{
	uint16_t backend = sc_maglev(w->node->g, w->node->g->services[w->service].table, w->flow);

	if (backend != SC_NO_BACKEND)
		return deliver(w, backend);
	return w->verb == SC_VERB_RELAY ? SC_DROP_no_backend : sc_spill(w);
}

/* To a backend of another PoP: to the flow's owner node there, or past what lies
 * between. known: what this node knows of the flow, if it does. */
static enum sc_reason forward(struct sc_way *w, uint32_t backend, uint16_t pop,
			      const struct sc_flow_entry *known)
{
	struct sc_node *node = w->node;
	uint16_t row = pop == SC_NO_ROW ? SC_NO_ROW : sc_home(node, w->flow, pop);
	enum sc_reason r;

	if (pop == SC_NO_ROW)
		return SC_DROP_backend_gone;
	if (row == SC_NO_ROW)
		return w->verb == SC_VERB_RELAY ? SC_DROP_peer_unreachable : sc_relay_known(w, pop, backend);
	r = sc_gue_to_node(w, row, SC_VERB_FORWARD, backend);
	if (r != SC_OK)
		return r;
	sc_count(node, SC_C_forwarded);
	if (known)
		sc_count(node, known->cached ? SC_C_misrouted_cached : SC_C_misrouted_home);
	return SC_OK;
}

/* Where a known flow goes. */
static enum sc_reason follow(struct sc_way *w, const struct sc_flow_entry *e, struct sc_place at)
{
	if (at.pop == w->node->g->own_pop)
		return at.row == SC_NO_ROW ? SC_DROP_backend_gone : deliver(w, at.row);
	return forward(w, e->backend, at.pop, e);
}

static bool is_syn(const struct sc_way *w)
{
	return w->ip.kind == SC_KIND_TCP &&
	       (w->ip.tcp_flags & (SC_TCP_SYN | SC_TCP_ACK | SC_TCP_RST | SC_TCP_FIN)) == SC_TCP_SYN;
}

/* A raw VIP packet. What this node may know by hearsay is good for a while; the
 * beginning and the end of a flow are the home's to see. */
static enum sc_reason ingress(struct sc_way *w)
{
	struct sc_node *node = w->node;
	uint16_t at = sc_home(node, w->flow, node->g->own_pop);
	const uint8_t turning = SC_TCP_SYN | SC_TCP_FIN | SC_TCP_RST;
	struct sc_flow_entry *e;
	enum sc_reason r;

	if (at == node->g->self)
		return home(w);
	e = sc_known(node, w->flow);
	if (e && e->state == SC_FLOW_ESTABLISHED && !(w->ip.tcp_flags & turning) &&
	    sc_flow_idle(e, node->tick) * SC_TICK_S < SC_OWNER_CACHE_S) {
		struct sc_place to = sc_place_of(node->g, e->backend);

		/* The home may have a newer picture. */
		if (to.row != SC_NO_ROW || to.pop != node->g->own_pop)
			return follow(w, e, to);
	}
	r = sc_gue_to_node(w, at, SC_VERB_ASK, 0);
	if (r == SC_OK)
		sc_count(node, SC_C_asked);
	return r;
}

/* The Maglev choice for a SYN of a flow that is new, or whose old backend will not
 * have it. */
static enum sc_reason choose(struct sc_way *w, struct sc_flow_entry *e)
{
	struct sc_node *node = w->node;
	const struct sc_generation *g = node->g;
	uint16_t backend = sc_maglev(g, g->services[w->service].table, w->flow);

	if (e)
		sc_end_flow(node, e);
	if (backend == SC_NO_BACKEND)
		return w->verb == SC_VERB_RELAY ? SC_DROP_no_backend : sc_spill(w);
	e = sc_record_flow(node, w->flow, g->backends[backend].id, SC_FLOW_HALF_OPEN,
			   g->service_class[w->service], 0);
	if (!e)
		return SC_DROP_table_full;
	sc_count(node, SC_C_flows_new);
	node->counts.service[w->service * SC_TRAFFIC_COUNT + SC_TRAFFIC_NEW_FLOWS]++;
	node->counts.backend[backend * SC_TRAFFIC_COUNT + SC_TRAFFIC_NEW_FLOWS]++;
	if (w->origin != SC_NO_ROW)
		sc_owner_to(node, w->origin, e);
	return deliver(w, backend);
}

/* A flow that its home does not know: silence, unless the "no" is certain twice. */
static enum sc_reason unknown(struct sc_way *w)
{
	struct sc_node *node = w->node;
	struct sc_refusal *slot = &node->refusals[(uint32_t)w->flow & (SC_NEGATIVE_SLOTS - 1)];
	uint64_t past = node->now_us - slot->since_us, missing;

	/* What the flow's home knows others need not have been told. */
	if (sc_home(node, w->flow, node->g->own_pop) != node->g->self)
		return w->verb == SC_VERB_RELAY ? SC_DROP_relay_unknown : sc_relay_unknown(w, 0);
	if (!sc_certain(node, 0, &missing))
		return w->verb == SC_VERB_RELAY ? SC_DROP_relay_unknown : sc_relay_unknown(w, missing);
	if (w->ip.kind != SC_KIND_TCP)
		return SC_DROP_unknown_icmp;
	if (slot->since_us == 0 || slot->flow != w->flow || past > SC_NEGATIVE_US) {
		*slot = (struct sc_refusal){ w->flow, node->now_us };
		return SC_DROP_first_refusal;
	}
	if (past < SC_CERTAIN_US || !sc_certain(node, slot->since_us, &missing))
		return SC_DROP_first_refusal;
	sc_count(node, SC_C_certain_no);
	return stateless(w);
}

/* Whether a SYN of a known flow begins anew elsewhere: its backend is down, or not even
 * configured in its PoP. One that drains still gets it: its kernel knows whether the
 * connection lives. */
static bool given_up(const struct sc_node *node, const struct sc_flow_entry *e, struct sc_place at)
{
	if (at.row == SC_NO_ROW)
		return at.pop == node->g->own_pop;
	return node->g->backends[at.row].state == SC_BACKEND_DOWN && e->state != SC_FLOW_HALF_OPEN;
}

/* Whether the PoP itself handed the SYN on, because its own backends will not have it. */
static bool spilled_by(const struct sc_way *w, uint16_t pop)
{
	return w->verb == SC_VERB_RELAY && w->named == 0 && w->node->g->node_pop[w->origin] == pop;
}

/* The flow's home in this PoP. */
static enum sc_reason home(struct sc_way *w)
{
	struct sc_node *node = w->node;
	struct sc_flow_entry *e = sc_known(node, w->flow);
	struct sc_place at;

	if (!e && !is_syn(w))
		return unknown(w);
	if (!e)		/* before it has filled, its PoPs may know the flow */
		return node->filled ? choose(w, NULL) : SC_DROP_uncertain;
	at = sc_place_of(node->g, e->backend);
	if (is_syn(w) && (given_up(node, e, at) || spilled_by(w, at.pop)))
		return choose(w, e);
	if (at.pop == node->g->own_pop)
		sc_touch(node, e, w);
	else
		sc_witness(node, e, w);
	if (w->origin != SC_NO_ROW)
		sc_owner_to(node, w->origin, e);
	return follow(w, e, at);
}

/* The flow's home in another PoP than the one that the packet reached and that could not
 * help it. Handed on no more. */
static enum sc_reason relayed(struct sc_way *w)
{
	uint16_t pop = sc_place_of(w->node->g, w->named).pop;
	const struct sc_flow_entry *e;

	if (w->named == 0)
		return home(w);
	if (pop == w->node->g->own_pop)
		return owner(w);
	e = sc_known(w->node, w->flow);
	if (e && e->backend != w->named) {
		sc_owner_to(w->node, w->origin, e);
		return SC_DROP_owner_differs;
	}
	return forward(w, w->named, pop, e);
}

/* The owner node, or who stands in for it. */
static enum sc_reason owner(struct sc_way *w)
{
	struct sc_node *node = w->node;
	struct sc_place at = sc_place_of(node->g, w->named);
	struct sc_flow_entry *e;

	if (at.pop != node->g->own_pop)
		return SC_DROP_wrong_backend;
	e = sc_known(node, w->flow);
	if (e && e->backend != w->named) {
		sc_owner_to(node, w->origin, e);
		return SC_DROP_owner_differs;
	}
	if (at.row == SC_NO_ROW)
		return SC_DROP_backend_gone;
	if (!e && w->ip.kind == SC_KIND_TCP) {
		e = sc_record_flow(node, w->flow, w->named,
				   is_syn(w) ? SC_FLOW_HALF_OPEN : SC_FLOW_ESTABLISHED,
				   node->g->service_class[w->service], is_syn(w) ? 0 : SC_AGE_MAX);
		if (e)
			sc_count(node, SC_C_flows_learned);
	}
	if (e)
		sc_touch(node, e, w);
	return deliver(w, at.row);
}

/* Plain GUE from a node of this PoP: one of the backends that this node delivers to
 * locally. */
static enum sc_reason plain(struct sc_way *w)
{
	const struct sc_generation *g = w->node->g;
	uint16_t backend = g->local_backend[g->services[w->service].pool];

	return backend == SC_NO_ROW ? SC_DROP_wrong_backend : deliver(w, backend);
}
