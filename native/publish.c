/* Publications: flows told to one peer in numbered batches, kept until its HELLOs
 * acknowledge them; the walk that tells it everything; and OWNER messages. Called
 * by flows.c, peer.c and node.c. docs/wire-format.md, section 3.2. */
#include "state.h"

static void put_record(uint8_t *p, const struct sc_record *r)
{
	uint32_t age = r->age > SC_AGE_MAX ? SC_AGE_MAX : r->age;

	sc_put64(p, r->flow);
	sc_put32(p + 8, r->backend);
	sc_put32(p + 12, (uint32_t)r->state << 29 | age << 16 | r->idle);
}

static bool get_record(const uint8_t *p, struct sc_record *r)
{
	uint32_t word = sc_get32(p + 12);

	r->flow = sc_get64(p);
	r->backend = sc_get32(p + 8);
	r->state = (uint8_t)(word >> 29);
	r->age = word >> 16 & 0x1fff;
	r->idle = (uint16_t)word;
	return r->state < SC_FLOW_STATES;
}

void sc_publication_walk(struct sc_publication *pub)
{
	pub->walk_done = false;
	pub->walk_end = 0;
	pub->walk_next = 0;
	pub->walk_us = 0;
}

void sc_publication_reset(struct sc_publication *pub)
{
	struct sc_batch *ring = pub->ring;

	memset(pub, 0, sizeof(*pub));
	pub->ring = ring;
	for (int i = 0; i < SC_PUBLISH_WINDOW; i++)
		ring[i].number = 0;
}

bool sc_publication_complete(const struct sc_publication *pub)
{
	uint64_t last = pub->said_sent > pub->said_walk_end ? pub->said_sent : pub->said_walk_end;

	return pub->said_walk_done && pub->taken >= last;
}

/* Time has passed since the records were made: what is sent is what is true now. An
 * "ended" stays; of a flow that is not here any more nothing is said. */
static void renew(const struct sc_node *node, struct sc_record *r, uint16_t count, uint64_t made_us)
{
	uint16_t ticks = (uint16_t)(node->tick - sc_tick(made_us));

	for (uint16_t i = 0; i < count; i++, r++) {
		const struct sc_flow_entry *e = sc_flow_find(&node->table, r->flow);

		if (e && !e->cached)
			*r = sc_make_record(node, e, e->state);
		else if (r->state == SC_FLOW_NONE)
			r->age = (uint16_t)(r->age + ticks > SC_AGE_MAX ? SC_AGE_MAX : r->age + ticks);
		else
			*r = (struct sc_record){ .state = SC_FLOW_NONE };
	}
}

static void send_batch(struct sc_node *node, struct sc_peer *peer, struct sc_batch *b)
{
	uint8_t body[SC_PUBLISH_HEAD + SC_BATCH_FLOWS * SC_RECORD_LEN] = { 0 };

	sc_put64(body, b->number);
	sc_put16(body + 8, b->count);
	for (uint16_t i = 0; i < b->count; i++)
		put_record(body + SC_PUBLISH_HEAD + i * SC_RECORD_LEN, &b->record[i]);
	/* Out of buffers: it goes with the resends. */
	(void)sc_send_control(node, peer, SC_VERB_PUBLISH, body,
			      (uint16_t)(SC_PUBLISH_HEAD + b->count * SC_RECORD_LEN), peer->boot);
	b->sent_us = node->now_us;
}

static bool window_full(const struct sc_publication *pub)
{
	return pub->sent - pub->acked >= SC_PUBLISH_WINDOW;
}

bool sc_publication_told(const struct sc_publication *pub)
{
	return pub->walk_done && !(pub->open_count > 0 && window_full(pub));
}

/* Numbers and sends what has gathered. false: the window is full. */
static bool flush(struct sc_node *node, struct sc_peer *peer)
{
	struct sc_publication *pub = &peer->pub;
	struct sc_batch *b;

	if (pub->open_count == 0)
		return true;
	if (window_full(pub))
		return false;
	b = &pub->ring[++pub->sent % SC_PUBLISH_WINDOW];
	b->number = pub->sent;
	b->count = pub->open_count;
	if (node->tick != sc_tick(pub->open_since_us))
		renew(node, pub->open, pub->open_count, pub->open_since_us);
	memcpy(b->record, pub->open, pub->open_count * sizeof(pub->open[0]));
	node->counters[SC_C_publish_flows_sent] += pub->open_count;
	sc_count(node, SC_C_publish_batches_sent);
	pub->open_count = 0;
	send_batch(node, peer, b);
	return true;
}

void sc_publish_to(struct sc_node *node, struct sc_peer *peer, const struct sc_record *r)
{
	struct sc_publication *pub = &peer->pub;

	if (pub->open_count == SC_BATCH_FLOWS && !flush(node, peer)) {
		/* The walk that this makes necessary finds the flow in the table; of one that
		 * ended the peer's copy expires. */
		sc_count(node, SC_C_publish_overflow);
		sc_publication_walk(pub);
		return;
	}
	if (pub->open_count == 0)
		pub->open_since_us = node->now_us;
	pub->open[pub->open_count++] = *r;
	if (pub->open_count == SC_BATCH_FLOWS)
		flush(node, peer);
}

enum sc_reason sc_publish_receive(struct sc_node *node, struct sc_peer *peer, const uint8_t *body,
				  uint16_t len)
{
	struct sc_publication *pub = &peer->pub;
	uint64_t number, ahead;
	uint16_t count;

	if (len < SC_PUBLISH_HEAD)
		return SC_DROP_bad_message;
	number = sc_get64(body);
	count = sc_get16(body + 8);
	if (number == 0 || count == 0 || count > SC_BATCH_FLOWS ||
	    len != SC_PUBLISH_HEAD + count * SC_RECORD_LEN)
		return SC_DROP_bad_message;
	if (!pub->ack_due_us)
		pub->ack_due_us = node->now_us + SC_ACK_DELAY_US;
	if (number <= pub->taken)
		return SC_OK;
	ahead = number - pub->taken;		/* 1: the next in order */
	if (ahead > 1) {
		if (ahead - 2 >= SC_TAKEN_AHEAD)
			return SC_OK;		/* too far: it will be sent again */
		if (pub->taken_mask >> (ahead - 2) & 1)
			return SC_OK;
		pub->taken_mask |= 1ull << (ahead - 2);
	} else {
		bool next;

		do {
			pub->taken++;
			next = pub->taken_mask & 1;
			pub->taken_mask >>= 1;
		} while (next);
	}
	for (uint16_t i = 0; i < count; i++) {
		struct sc_record r;

		if (get_record(body + SC_PUBLISH_HEAD + i * SC_RECORD_LEN, &r))
			sc_take_record(node, &r, peer->row);
	}
	node->counters[SC_C_publish_flows_received] += count;
	return SC_OK;
}

static void ack_one(struct sc_node *node, struct sc_publication *pub, uint64_t number)
{
	struct sc_batch *b = &pub->ring[number % SC_PUBLISH_WINDOW];

	if (b->number != number)
		return;
	b->number = 0;
	sc_count(node, SC_C_publish_batches_acked);
}

void sc_publish_acked(struct sc_node *node, struct sc_peer *peer, uint64_t number, uint64_t mask)
{
	struct sc_publication *pub = &peer->pub;

	if (number > pub->sent || number < pub->acked)
		return;
	while (pub->acked < number)
		ack_one(node, pub, ++pub->acked);
	for (uint64_t i = 0; mask; i++, mask >>= 1)
		if (mask & 1 && number + 2 + i <= pub->sent)
			ack_one(node, pub, number + 2 + i);
}

static void resend(struct sc_node *node, struct sc_peer *peer)
{
	struct sc_publication *pub = &peer->pub;
	uint64_t after = 2ull * peer->rtt_us > SC_RESEND_US ? 2ull * peer->rtt_us : SC_RESEND_US;
	uint64_t last = pub->sent - pub->acked > SC_TAKEN_AHEAD ? pub->acked + SC_TAKEN_AHEAD : pub->sent;

	for (uint64_t n = pub->acked + 1; n <= last; n++) {
		struct sc_batch *b = &pub->ring[n % SC_PUBLISH_WINDOW];

		if (b->number != n || node->now_us - b->sent_us < after)
			continue;
		if (SC_SCRATCH - node->scratch_used < SC_SCRATCH_RESERVE)
			return;
		/* Within a tick, too: what came later may have arrived before it. */
		renew(node, b->record, b->count, b->sent_us);
		send_batch(node, peer, b);
		sc_count(node, SC_C_publish_batches_resent);
	}
}

/* Returns how many flows of the bucket the peer was told. */
static uint64_t walk_bucket(struct sc_node *node, struct sc_peer *peer, uint32_t bucket)
{
	uint64_t told = 0;

	for (int i = 0; i < SC_FLOW_WAYS; i++) {
		const struct sc_flow_entry *e = &node->table.buckets[bucket].way[i];
		struct sc_record r;

		/* A backend that departed is configured in its own PoP alone. */
		if (e->state == SC_FLOW_NONE || e->cached ||
		    !sc_holds(node, e->flow, sc_place_of(node->g, e->backend).pop, peer->row))
			continue;
		r = sc_make_record(node, e, e->state);
		sc_publish_to(node, peer, &r);
		told++;
	}
	return told;
}

/* Goes on with the walk at a bounded rate, leaving half the window to news. */
static void walk(struct sc_node *node, struct sc_peer *peer)
{
	struct sc_publication *pub = &peer->pub;
	uint64_t ms = pub->walk_us ? (node->now_us - pub->walk_us) / SC_MS : 1;
	uint64_t flows = ms * SC_WALK_FLOWS_PER_MS, told = 0;

	if (pub->walk_done || ms == 0)
		return;
	pub->walk_us = node->now_us;
	while (told < flows && node->walk_left > 0 && pub->walk_next <= node->table.mask) {
		if (pub->sent - pub->acked >= SC_PUBLISH_WINDOW / 2 ||
		    SC_SCRATCH - node->scratch_used < SC_SCRATCH_RESERVE)
			return;
		node->walk_left--;
		told += walk_bucket(node, peer, pub->walk_next++);
	}
	if (pub->walk_next <= node->table.mask || !flush(node, peer))
		return;
	pub->walk_done = true;
	pub->walk_end = pub->sent;
	peer->hello_due_us = node->now_us;
	sc_count(node, SC_C_walks_finished);
}

void sc_publish_timers(struct sc_node *node, struct sc_peer *peer)
{
	struct sc_publication *pub = &peer->pub;

	resend(node, peer);
	walk(node, peer);
	if (pub->open_count > 0 && node->now_us - pub->open_since_us >= SC_FLUSH_US)
		flush(node, peer);
}

void sc_owner_to(struct sc_node *node, uint16_t row, const struct sc_flow_entry *e)
{
	struct sc_peer *peer = &node->peers[row];

	if (peer->boot == 0 || peer->owner_count == SC_BATCH_FLOWS)
		return;		/* it asks again with its next packet */
	peer->owner[peer->owner_count++] = sc_make_record(node, e, e->state);
}

static void send_owner(struct sc_node *node, struct sc_peer *peer)
{
	uint8_t body[SC_OWNER_HEAD + SC_BATCH_FLOWS * SC_RECORD_LEN] = { 0 };

	sc_put16(body, peer->owner_count);
	for (uint16_t i = 0; i < peer->owner_count; i++)
		put_record(body + SC_OWNER_HEAD + i * SC_RECORD_LEN, &peer->owner[i]);
	if (sc_send_control(node, peer, SC_VERB_OWNER, body,
			    (uint16_t)(SC_OWNER_HEAD + peer->owner_count * SC_RECORD_LEN),
			    peer->boot) == SC_OK)
		sc_count(node, SC_C_owner_sent);
	peer->owner_count = 0;
}

void sc_owner_flush(struct sc_node *node)
{
	for (uint16_t i = 0; i < node->g->h.nodes; i++) {
		struct sc_peer *peer = &node->peers[i];

		if (peer->owner_count > 0)
			send_owner(node, peer);
	}
}

enum sc_reason sc_owner_receive(struct sc_node *node, struct sc_peer *peer, const uint8_t *body,
				uint16_t len)
{
	uint16_t count = len < SC_OWNER_HEAD ? 0 : sc_get16(body);

	if (count == 0 || count > SC_BATCH_FLOWS || len != SC_OWNER_HEAD + count * SC_RECORD_LEN)
		return SC_DROP_bad_message;
	for (uint16_t i = 0; i < count; i++) {
		struct sc_record r;

		if (get_record(body + SC_OWNER_HEAD + i * SC_RECORD_LEN, &r))
			sc_take_owner(node, &r, peer->row);
	}
	sc_count(node, SC_C_owner_received);
	return SC_OK;
}
