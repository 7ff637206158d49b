/* What a node knows of flows: recording, state, publication, and what others tell.
 * Called by forward.c, peer.c, publish.c and the timers. See state.h. */
#include "flow_id.h"
#include "state.h"

static const struct sc_timeouts *timeouts_of(const struct sc_node *node, const struct sc_flow_entry *e)
{
	return &node->g->timeouts[e->timeouts];
}

static uint16_t backend_pop(const struct sc_node *node, uint32_t backend)
{
	return sc_place_of(node->g, backend).pop;
}

bool sc_owned(const struct sc_node *node, const struct sc_flow_entry *e)
{
	return !e->cached && backend_pop(node, e->backend) == node->g->own_pop &&
	       sc_home(node, e->flow, node->g->own_pop) == node->g->self;
}

static uint32_t life_s(const struct sc_node *node, const struct sc_flow_entry *e)
{
	const struct sc_timeouts *t = timeouts_of(node, e);
	/* Packets that passed without its owner's seeing them: of a flow only heard of,
	 * since it was last published; of any, at this PoP's other nodes by hearsay. */
	uint32_t heard_s = e->timeouts == 0 ? SC_REPUBLISH_S : 0;
	uint32_t hearsay_s = node->g->pops[node->g->own_pop].count > 1 ? SC_OWNER_CACHE_S : 0;

	if (e->cached)
		return SC_OWNER_CACHE_S;
	if (!sc_owned(node, e))
		return SC_COPY_S;
	switch ((enum sc_flow_state)e->state) {
	case SC_FLOW_HALF_OPEN:
		return heard_s + t->half_open_s;
	case SC_FLOW_CLOSING:
		return heard_s + (t->closing_s > hearsay_s ? t->closing_s : hearsay_s);
	default:
		return heard_s + hearsay_s + t->idle_s;
	}
}

bool sc_expired(const struct sc_node *node, const struct sc_flow_entry *e)
{
	uint32_t idle = sc_flow_idle(e, node->tick);

	return idle > 0 && idle * SC_TICK_S > life_s(node, e);
}

void sc_end_flow(struct sc_node *node, struct sc_flow_entry *e)
{
	struct sc_flow_entry gone = *e;
	bool tell = sc_owned(node, e);

	sc_flow_remove(&node->table, e);
	if (tell)
		sc_publish(node, &gone, SC_FLOW_NONE);
}

static void expire(struct sc_node *node, struct sc_flow_entry *e)
{
	sc_end_flow(node, e);
	sc_count(node, SC_C_flows_expired);
}

struct sc_flow_entry *sc_known(struct sc_node *node, uint64_t flow)
{
	struct sc_flow_entry *e = sc_flow_find(&node->table, flow);

	if (e && sc_expired(node, e)) {
		expire(node, e);
		return NULL;
	}
	return e;
}

struct sc_record sc_make_record(const struct sc_node *node, const struct sc_flow_entry *e,
				enum sc_flow_state state)
{
	return (struct sc_record){
		.flow = e->flow, .backend = e->backend, .state = (uint8_t)state,
		.age = sc_flow_age(e, node->tick), .idle = sc_flow_idle(e, node->tick),
	};
}

/* Whether a handshake of that time may still be under way. */
static bool half_open_since(const struct sc_node *node, uint64_t us)
{
	return us != 0 && node->now_us - us <= (node->g->timeouts[0].half_open_s + SC_TICK_S) * SC_S;
}

bool sc_withholds(const struct sc_node *node)
{
	return half_open_since(node, node->withheld_us);
}

bool sc_shed(const struct sc_node *node)
{
	return half_open_since(node, node->shed_us);
}

void sc_publish(struct sc_node *node, const struct sc_flow_entry *e, enum sc_flow_state state)
{
	struct sc_record r = sc_make_record(node, e, state);
	uint16_t rows[SC_MAX_NODES];
	unsigned int n;

	if (e->state == SC_FLOW_HALF_OPEN && !sc_allows(node, &node->half_open, SC_HALF_OPEN_PER_S)) {
		sc_count(node, SC_C_publish_withheld);
		if (state == SC_FLOW_HALF_OPEN)
			node->withheld_us = node->now_us;
		return;
	}
	n = sc_holders(node, e->flow, backend_pop(node, e->backend), rows);
	for (unsigned int i = 0; i < n; i++)
		sc_publish_to(node, &node->peers[rows[i]], &r);
}

/* Makes room and an entry. A half-open flow that had to go is told as ended, if it was
 * this node's, and nobody is to be certain that it is over: its ACK may be on its way
 * to anywhere. One past its handshake lives on, and others may still know it. A cached
 * entry is no loss: its home still knows. */
static struct sc_flow_entry *insert(struct sc_node *node, uint64_t flow, uint32_t backend,
				    enum sc_flow_state state)
{
	static const int counter[] = {
		[SC_EVICTED_HALF_OPEN] = SC_C_flows_evicted_half_open,
		[SC_EVICTED_CLOSING] = SC_C_flows_evicted_closing,
		[SC_EVICTED_IDLE] = SC_C_flows_evicted_idle,
	};
	struct sc_flow_entry gone, *e;
	enum sc_eviction evicted;

	e = sc_flow_insert(&node->table, flow, backend, state, node->tick, &evicted, &gone);
	if (e && evicted != SC_EVICTED_NONE && !gone.cached) {
		sc_count(node, counter[evicted]);
		if (gone.state != SC_FLOW_HALF_OPEN) {
			node->forgot_us = node->now_us;
		} else if (sc_owned(node, &gone)) {
			node->withheld_us = node->now_us;
			sc_publish(node, &gone, SC_FLOW_NONE);
		} else {
			node->shed_us = node->now_us;
		}
	}
	return e;
}

struct sc_flow_entry *sc_record_flow(struct sc_node *node, uint64_t flow, uint32_t backend,
				     enum sc_flow_state state, uint8_t timeouts, uint16_t age)
{
	struct sc_flow_entry *e = insert(node, flow, backend, state);

	if (e) {
		e->timeouts = timeouts & 7;
		sc_flow_set_age(e, node->tick, age);
		sc_publish(node, e, state);
	}
	return e;
}

/* What a client's packet makes of a flow's state. A SYN never shortens a life: a
 * spoofed one must not. Nor does a FIN or RST that was forged, or comes late from the
 * port's last connection, for long: who has closed sends no new data. */
static enum sc_flow_state next_state(enum sc_flow_state s, const struct sc_parsed *ip)
{
	bool carries_data = ip->total_len > ip->payload_offset;

	if (ip->tcp_flags & (SC_TCP_FIN | SC_TCP_RST))
		return SC_FLOW_CLOSING;
	if (ip->tcp_flags & SC_TCP_SYN)
		return s == SC_FLOW_CLOSING ? SC_FLOW_HALF_OPEN : s;
	return s == SC_FLOW_HALF_OPEN || carries_data ? SC_FLOW_ESTABLISHED : s;
}

void sc_touch(struct sc_node *node, struct sc_flow_entry *e, const struct sc_way *w)
{
	enum sc_flow_state before = e->state, after;

	if (w->ip.kind != SC_KIND_TCP)
		return;
	after = next_state(before, &w->ip);
	e->cached = 0;
	e->seen = node->tick;
	e->timeouts = node->g->service_class[w->service] & 7;
	/* A SYN that is repeated lets the handshake live longer: so must the doubt. */
	if (after == before && after == SC_FLOW_HALF_OPEN && sc_withholds(node))
		node->withheld_us = node->now_us;
	if (after == before)
		return;
	if (after == SC_FLOW_HALF_OPEN)
		sc_flow_set_age(e, node->tick, 0);
	sc_flow_set_state(&node->table, e, after);
	sc_publish(node, e, after);
}

void sc_witness(struct sc_node *node, struct sc_flow_entry *e, const struct sc_way *w)
{
	if (e->state == SC_FLOW_HALF_OPEN && w->ip.kind == SC_KIND_TCP && !(w->ip.tcp_flags & SC_TCP_SYN))
		sc_flow_set_state(&node->table, e, SC_FLOW_ESTABLISHED);
}

/* Whether a record of the same backend tells nothing that the entry does not know. That
 * it seems to be of another, younger life does not make it news: ages drift by a tick
 * with every teller. No life goes back into its handshake; else the owner's word counts. */
static bool outdated(const struct sc_node *node, const struct sc_flow_entry *e, const struct sc_record *r,
		     uint16_t heard, bool other_life, bool owner_says)
{
	uint16_t mine = sc_flow_idle(e, node->tick), said = (uint16_t)(node->tick - heard);

	if (e->cached)
		return false;
	if (!other_life && r->state == SC_FLOW_HALF_OPEN && e->state == SC_FLOW_ESTABLISHED)
		return true;
	return !owner_says && (said > mine || (said == mine && !other_life && r->state < e->state));
}

/* Whether an end that another than the owner tells, of a flow that began a unit earlier,
 * may be that of the port's last connection. Who takes an end for none keeps an entry for
 * longer; who takes it for this one's forgets a living flow. */
static bool earlier_end(const struct sc_node *node, const struct sc_flow_entry *e, const struct sc_record *r,
			uint16_t heard)
{
	uint16_t mine = sc_flow_idle(e, node->tick), said = (uint16_t)(node->tick - heard);

	return !e->cached && r->state == SC_FLOW_CLOSING && e->state != SC_FLOW_CLOSING && said + 1 >= mine;
}

/* Of two claims to a flow, whose stays: one past its handshake, else the younger, else
 * the smaller backend id. */
static bool mine_stays(const struct sc_flow_entry *e, const struct sc_record *r, uint16_t age,
		       uint16_t said)
{
	bool mine_open = e->state == SC_FLOW_HALF_OPEN, said_open = r->state == SC_FLOW_HALF_OPEN;

	if (mine_open != said_open)
		return said_open;
	if (age + 1 < said || said + 1 < age)
		return age < said;
	return e->backend < r->backend;
}

/* docs/wire-format.md, section 3.2, the table. */
static void merge_record(struct sc_node *node, struct sc_flow_entry *e, const struct sc_record *r,
			 uint16_t heard, bool owner_says)
{
	uint16_t age = sc_flow_age(e, node->tick);
	uint16_t said = r->age > SC_AGE_MAX ? SC_AGE_MAX : r->age;
	bool other_life = age + 1 < said || said + 1 < age;

	if (e->backend != r->backend) {
		bool stays = r->state == SC_FLOW_NONE || mine_stays(e, r, age, said);

		if (r->state != SC_FLOW_NONE)
			sc_count(node, stays ? SC_C_claims_won : SC_C_claims_lost);
		if (stays)
			return;
	} else if (age + 1 < said && !(owner_says && r->state != SC_FLOW_NONE)) {
		return;
	} else if (r->state == SC_FLOW_NONE) {
		sc_flow_remove(&node->table, e);
		return;
	} else if (outdated(node, e, r, heard, other_life, owner_says)) {
		return;
	} else if (age < said && !owner_says && earlier_end(node, e, r, heard)) {
		return;
	} else if (!e->cached && !other_life && sc_flow_idle(e, node->tick) < (uint16_t)(node->tick - heard)) {
		heard = e->seen;
	}
	e->backend = r->backend;
	e->timeouts = 0;
	e->cached = 0;
	e->seen = heard;
	sc_flow_set_age(e, node->tick, said);
	sc_flow_set_state(&node->table, e, r->state);
}

/* Two claims met. The owner of the one that stays tells each PoP's home; who else in this
 * PoP has the other one, as its second copy or from its own memory, hears it from here.
 * That a handshake had to stand back decides nothing yet: it may come to its end. */
static void settle(struct sc_node *node, const struct sc_flow_entry *before, const struct sc_flow_entry *e,
		   const struct sc_record *said, uint16_t origin)
{
	struct sc_record r = sc_make_record(node, e, e->state);
	uint16_t rows[SC_MAX_NODES];
	unsigned int n;

	if (e->backend == before->backend && said->state != SC_FLOW_HALF_OPEN && node->peers[origin].near)
		sc_publish_to(node, &node->peers[origin], &r);
	if (e->backend == before->backend || backend_pop(node, before->backend) != node->g->own_pop)
		return;
	n = sc_holders(node, e->flow, node->g->own_pop, rows);
	for (unsigned int i = 0; i < n; i++)
		if (rows[i] != origin && node->peers[rows[i]].near)
			sc_publish_to(node, &node->peers[rows[i]], &r);
}

/* When a record was news. A handshake is as old as its SYN: the oldest gives way to a
 * flood. What the owner says now is as good as new, but no ground for this node to
 * deliver past the home, which has seen no packet for longer than hearsay is trusted. */
static uint16_t heard_at(const struct sc_node *node, const struct sc_record *r, bool owner_says)
{
	uint16_t trusted = SC_OWNER_CACHE_S / SC_TICK_S, ago = r->idle;

	if (owner_says && r->state == SC_FLOW_ESTABLISHED && ago > trusted)
		ago = trusted;
	if (owner_says && (r->state == SC_FLOW_CLOSING || r->state == SC_FLOW_NONE))
		ago = 0;
	return (uint16_t)(node->tick - ago);
}

void sc_take_record(struct sc_node *node, const struct sc_record *r, uint16_t origin)
{
	uint16_t pop = backend_pop(node, r->backend);
	struct sc_flow_entry *e = sc_known(node, r->flow);
	/* Only the owner's word makes a copy as good as new, and only the owner's word
	 * ends it. */
	bool owner_says = pop != SC_NO_ROW && sc_home(node, r->flow, pop) == origin;
	uint16_t heard = heard_at(node, r, owner_says);

	if (pop == SC_NO_ROW || (r->state == SC_FLOW_NONE && !owner_says))
		return;
	if (e) {
		struct sc_flow_entry before = *e;

		merge_record(node, e, r, heard, owner_says);
		if (r->state != SC_FLOW_NONE && r->backend != before.backend && !before.cached)
			settle(node, &before, e, r, origin);
		return;
	}
	if (r->state == SC_FLOW_NONE)
		return;
	e = insert(node, r->flow, r->backend, r->state);
	if (!e) {
		/* One in its handshake, as all that finds no room: it is told again when it is past it. */
		node->shed_us = node->now_us;
		return;
	}
	e->seen = heard;
	sc_flow_set_age(e, node->tick, r->age);
	/* This node had forgotten what is its own: others may lean on its word again. */
	if (sc_owned(node, e))
		sc_publish(node, e, e->state);
}

void sc_take_owner(struct sc_node *node, const struct sc_record *r, uint16_t origin)
{
	struct sc_flow_entry *e = sc_known(node, r->flow);

	if (r->state == SC_FLOW_NONE || backend_pop(node, r->backend) == SC_NO_ROW)
		return;
	if (sc_home(node, r->flow, node->g->own_pop) == node->g->self) {
		/* The PoP that refused a FORWARD for its backend knows better. */
		if (e && e->backend != r->backend &&
		    backend_pop(node, e->backend) == node->g->node_pop[origin])
			sc_flow_remove(&node->table, e);
		sc_take_record(node, r, origin);
		return;
	}
	if (!e) {
		/* A cache entry makes no established flow give way. */
		e = insert(node, r->flow, r->backend, SC_FLOW_HALF_OPEN);
		if (!e)
			return;
		e->cached = 1;
	}
	e->backend = r->backend;
	e->seen = node->tick;
	sc_flow_set_age(e, node->tick, r->age);
	sc_flow_set_state(&node->table, e, r->state);
}

bool sc_node_pin(struct sc_node *node, const struct sc_pin *pin, uint64_t now_us, struct sc_out *out)
{
	const struct sc_generation *g = node->g;
	uint64_t flow = sc_flow_id(&pin->client, &pin->vip, pin->sport, pin->dport, SC_PROTO_TCP, g->h.hash_seed);
	uint16_t service = sc_find_service(g, &pin->vip, pin->dport, SC_PROTO_TCP);
	struct sc_place at = sc_place_of(g, pin->backend);
	struct sc_flow_entry *e;

	sc_enter(node, now_us, out);
	if (!node->filled || service == SC_NO_ROW || at.row == SC_NO_ROW || at.pop != g->own_pop ||
	    sc_home(node, flow, g->own_pop) != g->self || sc_known(node, flow))
		return false;
	e = insert(node, flow, pin->backend, SC_FLOW_HALF_OPEN);
	if (e)
		e->timeouts = g->service_class[service] & 7;
	return e;
}

/* Whether a peer told of the end of a port's last connection, having missed the next. An
 * end whose beginning nobody knows (SC_AGE_MAX) this node may have seen itself. */
static bool told_of_the_last(const struct sc_node *node, const struct sc_flow_entry *told,
			     const struct sc_flow_entry *past)
{
	uint16_t age = sc_flow_age(told, node->tick);

	return told->state == SC_FLOW_CLOSING && past->state == SC_FLOW_ESTABLISHED && age < SC_AGE_MAX &&
	       sc_flow_age(past, node->tick) + 1 < age;
}

void sc_take_back(struct sc_node *node, const struct sc_flow_entry *left)
{
	struct sc_flow_entry past = *left, *e;

	past.timeouts = 0;	/* classes were another generation's */
	if (sc_expired(node, &past))
		return;
	e = sc_known(node, past.flow);
	if (e && !e->cached && told_of_the_last(node, e, &past)) {
		sc_flow_remove(&node->table, e);
		e = NULL;
	}
	if (e && (!e->cached || e->backend != past.backend))
		return;
	if (!e) {
		e = insert(node, past.flow, past.backend, past.state);
		if (!e) {
			node->shed_us = node->now_us;
			return;
		}
		e->seen = past.seen;
	}
	e->cached = 0;		/* hearsay, of what this node itself had told */
	sc_flow_set_age(e, node->tick, sc_flow_age(&past, node->tick));
	sc_count(node, SC_C_flows_recalled);
}

enum { SWEEP_S = 60, SWEEPS_PER_REPUBLICATION = SC_REPUBLISH_S / SWEEP_S };

static void sweep_bucket(struct sc_node *node, uint32_t bucket)
{
	bool republish = (bucket + node->sweep_pass) % SWEEPS_PER_REPUBLICATION == 0;

	for (int i = 0; i < SC_FLOW_WAYS; i++) {
		struct sc_flow_entry *e = &node->table.buckets[bucket].way[i];

		if (e->state == SC_FLOW_NONE)
			continue;
		if (sc_expired(node, e)) {
			expire(node, e);
			continue;
		}
		sc_flow_set_age(e, node->tick, sc_flow_age(e, node->tick));
		if (republish && e->state != SC_FLOW_HALF_OPEN && sc_owned(node, e))
			sc_publish(node, e, e->state);
	}
}

void sc_sweep(struct sc_node *node)
{
	uint64_t buckets = (uint64_t)node->table.mask + 1;
	uint64_t due;

	if (node->now_us - node->sweep_us > SWEEP_S * SC_S)
		node->sweep_us = node->now_us - SWEEP_S * SC_S;
	due = (node->now_us - node->sweep_us) * buckets / (SWEEP_S * SC_S);
	if (due > SC_SWEEP_BUCKETS)
		due = SC_SWEEP_BUCKETS;
	if (due == 0)
		return;
	node->sweep_us += due * SWEEP_S * SC_S / buckets;
	for (; due > 0; due--) {
		sweep_bucket(node, node->sweep_next);
		node->sweep_next = (node->sweep_next + 1) & node->table.mask;
		if (node->sweep_next == 0)
			node->sweep_pass++;
	}
}
