/* The data path run on one packet, for a reader; see explain.h. */
#include "explain.h"

#include "flow_id.h"
#include "gue.h"

static void copy_peer(struct sc_peer *to, const struct sc_peer *from)
{
	struct sc_batch *ring = to->pub.ring;

	*to = *from;
	to->pub.ring = ring;
	to->pub.open_count = 0;
	to->owner_count = 0;
}

static void copy_flow(const struct sc_node *node, struct sc_node *copy, uint64_t flow)
{
	const struct sc_flow_entry *e = sc_flow_find(&node->table, flow);
	const uint32_t slot = (uint32_t)flow & (SC_NEGATIVE_SLOTS - 1);
	struct sc_flow_entry *made, gone;
	enum sc_eviction evicted;

	copy->refusals[slot] = node->refusals[slot];
	if (!e)
		return;
	made = sc_flow_insert(&copy->table, flow, e->backend, e->state, e->seen, &evicted, &gone);
	if (!made)
		return;
	made->seen = e->seen;
	made->begun = e->begun;
	made->timeouts = e->timeouts;
	made->cached = e->cached;
}

void sc_explain_copy(const struct sc_node *node, struct sc_node *copy, uint64_t flow, uint64_t now_us)
{
	sc_generation_keep_classes(copy->g, node->g);
	copy->boot_id = node->boot_id;
	copy->version = node->version;
	copy->started_us = node->started_us;
	copy->now_us = now_us;
	copy->tick = sc_tick(now_us);
	copy->filled = node->filled;
	copy->forgot_us = node->forgot_us;
	copy->withheld_us = node->withheld_us;
	copy->shed_us = node->shed_us;
	copy->timers_us = node->timers_us;
	copy->sweep_us = node->sweep_us;
	copy->icmp = node->icmp;
	copy->half_open = node->half_open;
	copy->relay = node->relay;
	copy->spill = node->spill;
	for (uint32_t i = 0; i < node->g->h.nodes && i < copy->g->h.nodes; i++)
		copy_peer(&copy->peers[i], &node->peers[i]);
	copy_flow(node, copy, flow);
}

void sc_explain_assume(struct sc_node *node, uint64_t now_us)
{
	struct sc_out none;

	sc_enter(node, now_us, &none);
	node->filled = true;
	for (uint32_t i = 0; i < node->g->h.nodes; i++) {
		struct sc_peer *peer = &node->peers[i];

		if (i == node->g->self)
			continue;
		peer->boot = 1;
		peer->alive = true;
		peer->peer_filled = true;
		peer->version = node->version;
		peer->rtt_us = SC_MS;
		peer->heard_us = peer->mutual_us = peer->last_alive_us = now_us;
		peer->pub.said_walk_done = true;
	}
	node->out = NULL;
}

static void tell_flow(const struct sc_node *node, uint64_t flow, struct sc_explained_flow *f)
{
	const struct sc_flow_entry *e = sc_flow_find(&node->table, flow);

	*f = (struct sc_explained_flow){ .known = e != NULL, .pop = SC_NO_ROW, .owner = SC_NO_ROW };
	if (!e)
		return;
	f->cached = e->cached;
	f->backend = e->backend;
	f->pop = sc_place_of(node->g, e->backend).pop;
	if (f->pop != SC_NO_ROW)
		f->owner = sc_home(node, flow, f->pop);
	f->state = e->state;
	f->age_s = sc_flow_age(e, node->tick) * SC_TICK_S;
	f->idle_s = sc_flow_idle(e, node->tick) * SC_TICK_S;
}

/* Parse, GUE and service, on a copy of the packet: what they leave in w is what the way
 * itself will have. */
static void look(struct sc_way *w, struct sc_explanation *e)
{
	struct sc_node *node = w->node;

	if (sc_parse(w->packet->data, w->packet->len, &w->ip) != SC_OK)
		return;
	e->parsed = true;
	e->outer = w->ip;
	e->gue = sc_is_gue(node, &w->ip);
	if (e->gue && sc_gue_open(w) != SC_OK)
		return;
	e->verb = w->verb;
	e->version = w->version;
	e->origin = w->origin;
	e->named = w->named;
	if ((w->verb >= SC_VERB_HELLO && w->verb <= SC_VERB_REACH) ||
	    (!e->gue && sc_addr_eq(&w->ip.dst, &node->self)))
		return;
	e->opened = true;
	e->ip = w->ip;
	e->matched = sc_match_service(w) == SC_OK;
	e->service = w->service;
	e->flow = w->flow;
}

static void look_at_copy(struct sc_node *node, const struct sc_packet *p, struct sc_explanation *e)
{
	uint8_t buffer[SC_HEADROOM + SC_PACKET_MAX];
	struct sc_packet copy = { .data = buffer + SC_HEADROOM, .len = p->len };
	struct sc_way w = { .node = node, .packet = &copy, .origin = SC_NO_ROW };

	memcpy(copy.data, p->data, p->len);
	e->origin = SC_NO_ROW;
	look(&w, e);
}

bool sc_explain_flow(struct sc_node *node, const struct sc_packet *p, uint64_t *flow)
{
	struct sc_explanation e = { 0 };

	look_at_copy(node, p, &e);
	*flow = e.flow;
	return e.matched;
}

static void tell_inputs(const struct sc_node *node, struct sc_explanation *e)
{
	const struct sc_generation *g = node->g;
	const uint32_t table = g->services[e->service].table;
	const struct sc_refusal *refusal = &node->refusals[(uint32_t)e->flow & (SC_NEGATIVE_SLOTS - 1)];

	for (uint16_t pop = 0; pop < g->npops; pop++)
		e->home[pop] = sc_home(node, e->flow, pop);
	e->slots = g->pools[table].size;
	e->slot = e->slots ? sc_maglev_slot(e->flow, e->slots) : 0;
	e->choice = sc_maglev(g, table, e->flow);
	tell_flow(node, e->flow, &e->before);
	e->filled = node->filled;
	e->certain = sc_certain(node, 0, &e->missing);
	if (refusal->since_us != 0 && refusal->flow == e->flow)
		e->refused_us = node->now_us - refusal->since_us;
}

static void tell_private(struct sc_explained_out *o, const uint8_t *gue, uint32_t len)
{
	const uint8_t *m = gue + SC_GUE_LEN;
	const uint32_t words = gue[0] & 0x1f;
	const bool control = gue[0] & SC_GUE_CONTROL;

	o->inner_len = control ? 0 : len - SC_GUE_LEN - words * 4;
	if (!control && words == 0)
		return;
	o->version = m[0] >> 4;
	o->verb = m[0] & 0xf;
	o->key = m[1];
	o->backend = control ? 0 : sc_get32(m + 4);
}

static void tell_out(const struct sc_packet *p, struct sc_explained_out *o)
{
	*o = (struct sc_explained_out){ .len = p->len, .egress = p->egress };
	if (sc_parse(p->data, p->len, &o->ip) != SC_OK)
		return;
	o->gue = p->egress == SC_EGRESS_WIRE && o->ip.kind == SC_KIND_UDP && o->ip.dport == SC_GUE_PORT;
	if (o->gue)
		tell_private(o, p->data + o->ip.payload_offset, p->len - o->ip.payload_offset);
}

void sc_explain(struct sc_node *node, struct sc_packet *p, uint64_t now_us, struct sc_out *out,
		struct sc_explanation *e)
{
	struct sc_way w = { .node = node, .packet = p, .origin = SC_NO_ROW };
	uint64_t before[SC_COUNTER_COUNT];

	memset(e, 0, sizeof(*e));
	sc_enter(node, now_us, out);
	look_at_copy(node, p, e);
	if (e->matched)
		tell_inputs(node, e);
	memcpy(before, node->counters, sizeof(before));
	e->reason = sc_way_of(&w);
	if (e->reason != SC_OK)
		sc_count(node, (unsigned int)e->reason);
	sc_owner_flush(node);
	if (e->matched)
		tell_flow(node, e->flow, &e->after);
	for (unsigned int i = 0; i < SC_COUNTER_COUNT; i++)
		e->counted[i] = node->counters[i] - before[i];
	e->nout = out->n;
	for (unsigned int i = 0; i < out->n; i++)
		tell_out(&out->p[i], &e->out[i]);
}
