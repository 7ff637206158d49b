/* Peers: sessions of two boot ids, HELLOs, liveness, round-trip time, and whether
 * a "no" of this node is certain. Called by forward.c for received control messages
 * and by node.c for timers. docs/wire-format.md, section 3. */
#include <stdlib.h>

#include "gue.h"

enum {
	OFF_ORIGIN = 2,
	OFF_LENGTH = 4,
	OFF_SENDER = 8,
	OFF_RECEIVER = 16,
	OFF_SEQ = 24,
	REPLAY_WINDOW = 64,
};

#define ANSWER_US	(10 * SC_MS)	/* between two answers to strangers */
#define DISCOVERY_US	(SC_HELLO_DEAD * SC_HELLO_FAR_US)	/* who has not been heard by then is down */

static uint64_t interval_us(const struct sc_peer *peer)
{
	return peer->near ? SC_HELLO_NEAR_US : SC_HELLO_FAR_US;
}

struct sc_peer *sc_peers_new(const struct sc_generation *g)
{
	struct sc_peer *peers = calloc(g->h.nodes, sizeof(*peers));

	for (uint16_t i = 0; peers && i < g->h.nodes; i++) {
		struct sc_peer *peer = &peers[i];

		peer->row = i;
		peer->near = g->node_pop[i] == g->own_pop;
		peer->version = SC_WIRE_VERSION_LOW;
		if (i == g->self)
			continue;
		peer->pub.ring = calloc(SC_PUBLISH_WINDOW, sizeof(struct sc_batch));
		if (!peer->pub.ring) {
			sc_peers_free(peers, g->h.nodes);
			return NULL;
		}
	}
	return peers;
}

void sc_peers_free(struct sc_peer *peers, uint32_t n)
{
	for (uint32_t i = 0; peers && i < n; i++)
		free(peers[i].pub.ring);
	free(peers);
}

void sc_peers_init(struct sc_node *node)
{
	for (uint16_t i = 0; i < node->g->h.nodes; i++)
		node->peers[i].last_alive_us = node->now_us;
	node->filled = node->g->h.nodes == 1 && !node->past;
}

enum sc_reason sc_send_control(struct sc_node *node, struct sc_peer *peer, enum sc_verb verb,
			       const uint8_t *body, uint16_t len, uint64_t receiver_boot)
{
	const struct sc_addr *to = &node->g->nodes[peer->row].addr;
	const struct sc_key *key = &node->g->keys[0];
	uint32_t total = SC_CONTROL_LEN + len;
	struct sc_packet p;
	uint8_t *m;

	if (!sc_scratch(node, &p))
		return SC_DROP_no_buffer;
	m = p.data;
	p.len = total;
	memset(m, 0, SC_CONTROL_LEN);
	m[0] = (uint8_t)((verb == SC_VERB_HELLO ? SC_WIRE_VERSION_LOW : peer->version) << 4 | verb);
	m[1] = key->id;
	sc_put16(m + OFF_ORIGIN, (uint16_t)node->self_id);
	sc_put16(m + OFF_LENGTH, len);
	sc_put64(m + OFF_SENDER, node->boot_id);
	sc_put64(m + OFF_RECEIVER, receiver_boot);
	sc_put64(m + OFF_SEQ, ++peer->tx_seq);
	memcpy(m + SC_CONTROL_LEN, body, len);
	sc_put_tag(m + SC_CONTROL_TAG, sc_tag(key, &node->self, to, m, total, NULL, 0));
	p.data -= SC_GUE_LEN;
	p.len += SC_GUE_LEN;
	p.data[0] = SC_GUE_CONTROL;
	p.data[1] = SC_GUE_CTYPE;
	sc_put16(p.data + 2, 0);
	sc_push_outer(&p, &node->self, to, SC_GUE_PORT, 0);
	return sc_emit(node, &p, SC_EGRESS_WIRE);
}

/* To a stranger nothing is said of publications: those are the session's. */
static void send_hello(struct sc_node *node, struct sc_peer *peer, bool to_stranger)
{
	static const struct sc_publication none;
	const struct sc_publication *pub = to_stranger ? &none : &peer->pub;
	uint64_t boot = to_stranger ? peer->stranger : peer->boot;
	uint64_t echo = to_stranger ? peer->stranger_seq : peer->heard_seq;
	uint64_t echo_us = to_stranger ? peer->stranger_us : peer->heard_us;
	uint64_t delay = echo ? node->now_us - echo_us : 0;
	uint64_t held = (uint64_t)node->table.count[SC_FLOW_HALF_OPEN] +
			node->table.count[SC_FLOW_ESTABLISHED] + node->table.count[SC_FLOW_CLOSING];
	uint64_t room = ((uint64_t)node->table.mask + 1) * SC_FLOW_WAYS;
	uint8_t b[SC_HELLO_LEN] = { 0 };
	unsigned int slot;

	b[0] = SC_WIRE_VERSION_LOW;
	b[1] = node->version;
	b[2] = (uint8_t)((node->filled ? SC_HELLO_FILLED : 0) |
			 (!node->past && sc_publication_told(pub) ? SC_HELLO_WALK_DONE : 0) |
			 (node->g->draining ? SC_HELLO_DRAINING : 0) |
			 (node->g->silent ? SC_HELLO_SILENT : 0) |
			 (sc_withholds(node) ? SC_HELLO_WITHHOLDS : 0));
	sc_put16(b + 4, (uint16_t)(held * 1000 / room));
	sc_put16(b + 6, node->g->seed_check);
	sc_put64(b + 8, echo);
	sc_put32(b + 16, delay > UINT32_MAX ? UINT32_MAX : (uint32_t)delay);
	sc_put32(b + 20, node->g->h.fleet_digest);
	sc_put64(b + 24, pub->sent);
	sc_put64(b + 32, pub->taken);
	sc_put64(b + 40, pub->taken_mask);
	sc_put64(b + 48, pub->walk_end);
	if (sc_send_control(node, peer, SC_VERB_HELLO, b, sizeof(b), boot) != SC_OK)
		return;
	slot = peer->hellos++ % SC_HELLO_TIMES;
	peer->hello[slot].seq = peer->tx_seq;
	peer->hello[slot].us = node->now_us;
	if (to_stranger) {
		peer->answered_us = node->now_us;
	} else {
		peer->hello_due_us = node->now_us + interval_us(peer);
		peer->pub.ack_due_us = 0;
	}
	sc_count(node, SC_C_hello_sent);
}

static void begin_session(struct sc_node *node, struct sc_peer *peer, uint64_t boot)
{
	peer->boot = boot;
	peer->rx_high = 0;
	peer->rx_window = 0;
	peer->adopted_at = peer->tx_seq;
	peer->stranger = 0;
	peer->heard_seq = 0;
	peer->hello_due_us = node->now_us;
	peer->owner_count = 0;
	sc_reach_forget(peer);
	sc_publication_reset(&peer->pub);
}

/* Sliding window (RFC 4303, section 3.4.3). */
static bool fresh(struct sc_peer *peer, uint64_t seq)
{
	uint64_t behind;

	if (seq == 0)
		return false;
	if (seq > peer->rx_high) {
		uint64_t ahead = seq - peer->rx_high;

		peer->rx_window = ahead >= REPLAY_WINDOW ? 0 : peer->rx_window << ahead;
		peer->rx_window |= 1;
		peer->rx_high = seq;
		return true;
	}
	behind = peer->rx_high - seq;
	if (behind >= REPLAY_WINDOW || peer->rx_window >> behind & 1)
		return false;
	peer->rx_window |= 1ull << behind;
	return true;
}

static void measure(struct sc_node *node, struct sc_peer *peer, uint64_t echo, uint32_t delay_us)
{
	unsigned int slot = 0;
	uint64_t past;

	while (slot < SC_HELLO_TIMES && peer->hello[slot].seq != echo)
		slot++;
	if (echo == 0 || slot == SC_HELLO_TIMES)
		return;
	past = node->now_us - peer->hello[slot].us;
	if (past < delay_us)
		return;
	past -= delay_us;
	peer->rtt_us = past > UINT32_MAX ? UINT32_MAX : past ? (uint32_t)past : 1;
}

static void walk_again(struct sc_node *node, struct sc_peer *peer)
{
	sc_publication_walk(&peer->pub);
	sc_count(node, SC_C_walks_started);
}

static void hear_hello(struct sc_node *node, struct sc_peer *peer, const uint8_t *b, uint64_t seq,
		       bool knows_us)
{
	struct sc_publication *pub = &peer->pub;

	if (seq > peer->heard_seq) {
		peer->heard_seq = seq;
		peer->heard_us = node->now_us;
		peer->peer_filled = b[2] & SC_HELLO_FILLED;
		peer->withholds = b[2] & SC_HELLO_WITHHOLDS;
		peer->draining = b[2] & SC_HELLO_DRAINING;
		peer->silent = b[2] & SC_HELLO_SILENT;
		peer->fleet_digest = sc_get32(b + 20);
		peer->version = b[1] < node->version ? b[1] : node->version;
	}
	if (!knows_us) {
		peer->hello_due_us = node->now_us;
		return;
	}
	if (seq == peer->heard_seq) {
		pub->said_sent = sc_get64(b + 24);
		pub->said_walk_end = sc_get64(b + 48);
		pub->said_walk_done = b[2] & SC_HELLO_WALK_DONE;
	}
	if (sc_get64(b + 8) == 0 || sc_get32(b + 16) > SC_HELLO_DEAD * interval_us(peer))
		return;		/* it does not hear this node any more */
	peer->mutual_us = node->now_us;
	if (!peer->alive) {
		/* What was published while it was away may never have reached it. */
		peer->alive = true;
		walk_again(node, peer);
		sc_reach_changed(node);
	}
	measure(node, peer, sc_get64(b + 8), sc_get32(b + 16));
	sc_publish_acked(node, peer, sc_get64(b + 32), sc_get64(b + 40));
}

/* A peer died, or began anew. Its neighbours are to hold now what it held. */
static void lose(struct sc_node *node, struct sc_peer *peer)
{
	const struct sc_generation *g = node->g;

	if (!peer->alive)
		return;
	peer->alive = false;
	peer->pub.walk_done = false;
	sc_reach_changed(node);
	for (uint16_t i = 0; i < g->h.nodes; i++)
		if (node->peers[i].alive && g->node_pop[i] == g->node_pop[peer->row])
			walk_again(node, &node->peers[i]);
}

/* A boot id that is not the session's: begins a session if it proves to be made
 * now, is answered otherwise. */
static enum sc_reason meet_stranger(struct sc_node *node, struct sc_peer *peer, const uint8_t *m)
{
	uint64_t boot = sc_get64(m + OFF_SENDER), seq = sc_get64(m + OFF_SEQ);
	uint64_t echo = sc_get64(m + SC_CONTROL_LEN + 8);

	if (sc_get64(m + OFF_RECEIVER) == node->boot_id && echo > peer->adopted_at &&
	    echo <= peer->tx_seq) {
		lose(node, peer);
		begin_session(node, peer, boot);
		return SC_OK;
	}
	peer->stranger = boot;
	peer->stranger_seq = seq;
	peer->stranger_us = node->now_us;
	if (peer->answered_us == 0 || node->now_us - peer->answered_us >= ANSWER_US)
		send_hello(node, peer, true);
	return SC_DROP_no_session;
}

enum sc_reason sc_control_receive(struct sc_way *w)
{
	struct sc_node *node = w->node;
	struct sc_peer *peer = &node->peers[w->origin];
	const uint8_t *m = w->packet->data;
	const uint8_t *body = m + SC_CONTROL_LEN;
	uint16_t len = sc_get16(m + OFF_LENGTH);
	uint64_t receiver = sc_get64(m + OFF_RECEIVER), seq = sc_get64(m + OFF_SEQ);
	bool hello = w->verb == SC_VERB_HELLO;
	enum sc_reason r;

	if (hello && len != SC_HELLO_LEN)
		return SC_DROP_bad_message;
	if (hello && (body[0] > node->version || body[1] < SC_WIRE_VERSION_LOW))
		return SC_DROP_unknown_version;
	if (hello && sc_get16(body + 6) != 0 && sc_get16(body + 6) != node->g->seed_check) {
		/* It lives, and nobody here can tell what it holds. */
		peer->last_alive_us = node->now_us;
		return SC_DROP_other_seed;
	}
	if (sc_get64(m + OFF_SENDER) == 0)
		return SC_DROP_no_session;
	if (sc_get64(m + OFF_SENDER) != peer->boot) {
		r = hello ? meet_stranger(node, peer, m) : SC_DROP_no_session;
		if (r != SC_OK)
			return r;
	}
	if (receiver != node->boot_id && !(hello && receiver == 0))
		return SC_DROP_no_session;
	if (!fresh(peer, seq))
		return SC_DROP_replayed;
	switch (w->verb) {
	case SC_VERB_HELLO:
		hear_hello(node, peer, body, seq, receiver == node->boot_id);
		sc_count(node, SC_C_hello_received);
		return SC_OK;
	case SC_VERB_PUBLISH:
		return sc_publish_receive(node, peer, body, len);
	case SC_VERB_REACH:
		return sc_reach_receive(node, peer, body, len, seq);
	default:
		return sc_owner_receive(node, peer, body, len);
	}
}

static void notice_death(struct sc_node *node, struct sc_peer *peer)
{
	if (!peer->alive)
		return;
	if (node->now_us - peer->mutual_us > SC_HELLO_DEAD * interval_us(peer))
		lose(node, peer);
	else
		peer->last_alive_us = node->now_us;
}

/* When it was this node that stood still, its peers are not to blame; but for its being
 * slow all the time they do not live for ever. */
static void forgive_pause(struct sc_node *node)
{
	uint64_t pause = node->timers_us ? node->now_us - node->timers_us : 0;

	node->timers_us = node->now_us;
	if (pause <= SC_HELLO_NEAR_US)
		return;
	pause -= SC_HELLO_NEAR_US;
	for (uint16_t i = 0; i < node->g->h.nodes; i++) {
		uint64_t *heard = &node->peers[i].mutual_us;

		*heard = node->now_us - *heard > pause ? *heard + pause : node->now_us;
	}
}

/* Whether everyone who is there has sent what this node is to hold; of those who are
 * filling themselves nothing is expected, if filled_only. */
static bool was_told(const struct sc_node *node, bool filled_only)
{
	bool discovered = node->now_us - node->started_us >= DISCOVERY_US;

	for (uint16_t i = 0; i < node->g->h.nodes; i++) {
		const struct sc_peer *peer = &node->peers[i];

		if (i == node->g->self || (peer->alive && filled_only && !peer->peer_filled))
			continue;
		if (peer->alive ? !sc_publication_complete(&peer->pub) : !discovered)
			return false;
	}
	return true;
}

/* In the HELLO that says so each peer hears, too, that there is more to tell. */
static void tell_everyone(struct sc_node *node)
{
	for (uint16_t i = 0; i < node->g->h.nodes; i++) {
		if (!node->peers[i].alive)
			continue;
		walk_again(node, &node->peers[i]);
		node->peers[i].hello_due_us = node->now_us;
	}
}

/* Two nodes that both recall do not wait for each other: what a peer is told counts only
 * when this node has recalled, and it recalls as soon as those who have filled told it. */
static void fill(struct sc_node *node)
{
	if (node->past && was_told(node, true) && sc_recall(node))
		tell_everyone(node);
	if (node->past || !was_told(node, false))
		return;
	/* What this node had not told everyone before it restarted came back from those it
	 * had. */
	node->filled = true;
	tell_everyone(node);
}

void sc_peers_changed(struct sc_node *node, bool others)
{
	for (uint16_t i = 0; i < node->g->h.nodes; i++) {
		struct sc_peer *peer = &node->peers[i];

		if (peer->last_alive_us != 0)
			continue;
		/* It may have been a peer before: no sequence number is used twice. */
		peer->last_alive_us = node->now_us;
		peer->tx_seq = peer->adopted_at = node->now_us;
	}
	if (!others)
		return;
	/* Homes have moved: until everybody has gone over, nobody's "no" is certain. */
	node->forgot_us = node->now_us;
	tell_everyone(node);
}

void sc_peers_timers(struct sc_node *node)
{
	forgive_pause(node);
	node->walk_left = SC_WALK_BUCKETS;
	for (uint16_t i = 0; i < node->g->h.nodes; i++) {
		struct sc_peer *peer = &node->peers[i];

		if (i == node->g->self)
			continue;
		notice_death(node, peer);
		if (peer->alive) {
			sc_publish_timers(node, peer);
			sc_reach_timers(node, peer);
		}
		if (node->now_us >= peer->hello_due_us ||
		    (peer->pub.ack_due_us && node->now_us >= peer->pub.ack_due_us))
			send_hello(node, peer, false);
	}
	if (!node->filled)
		fill(node);
}

/* Whether the peer has told how many batches it sent, at a time when it must have
 * sent what it knew at since_us. */
static bool told_since(const struct sc_peer *peer, uint64_t since_us)
{
	return since_us == 0 ||
	       (peer->rtt_us != 0 && peer->heard_us >= since_us + peer->rtt_us + SC_FLUSH_US);
}

/* Whether a PoP that this node does not hear is heard by another: then it lives. */
static bool bridged(const struct sc_node *node, uint16_t pop)
{
	bool by_others = false;

	for (uint16_t i = 0; i < node->g->h.nodes; i++) {
		const struct sc_peer *peer = &node->peers[i];

		if (i == node->g->self || !peer->alive)
			continue;
		if (node->g->node_pop[i] == pop)
			return false;
		by_others = by_others || (!peer->near && peer->version >= SC_WIRE_VERSION_RELAY &&
					  !(peer->unreached >> pop & 1));
	}
	return by_others && pop != node->g->own_pop;
}

/* Whether a peer is dead for longer than copies live, as far as anybody can tell. */
static bool gone(const struct sc_node *node, const struct sc_peer *peer)
{
	return node->now_us - peer->last_alive_us > SC_COPY_S * SC_S &&
	       !bridged(node, node->g->node_pop[peer->row]);
}

bool sc_certain(const struct sc_node *node, uint64_t since_us, uint64_t *missing)
{
	*missing = 0;
	if (!node->filled || sc_shed(node) ||
	    (node->forgot_us && node->now_us - node->forgot_us <= SC_COPY_S * SC_S))
		return false;
	for (uint16_t i = 0; i < node->g->h.nodes; i++) {
		const struct sc_peer *peer = &node->peers[i];

		if (i == node->g->self)
			continue;
		if (peer->alive ? peer->peer_filled && !peer->withholds &&
					  sc_publication_complete(&peer->pub) && told_since(peer, since_us) :
				  gone(node, peer))
			continue;
		*missing |= 1ull << node->g->node_pop[i];
	}
	return *missing == 0;
}
