/* A node's whole state, as the files of the data path share it, and the way of one
 * packet through them. Nobody outside native/ includes this. */
#ifndef SC_STATE_H
#define SC_STATE_H

#include "flow_table.h"
#include "lookup.h"
#include "memory.h"
#include "node.h"
#include "wire.h"

/* Publications to one peer: batches numbered from 1, kept until acknowledged. */
struct sc_batch {
	uint64_t number;	/* 0: slot free */
	uint64_t sent_us;	/* last sending; the records are of that time */
	uint16_t count;
	struct sc_record record[SC_BATCH_FLOWS];
};

struct sc_publication {
	/* Towards the peer. */
	struct sc_batch *ring;		/* [SC_PUBLISH_WINDOW], batch n at n % window */
	uint64_t sent;			/* number of the last batch sent */
	uint64_t acked;			/* all up to this one are acknowledged */
	uint64_t open_since_us;		/* when the batch being filled got its first flow, 0: empty */
	struct sc_record open[SC_BATCH_FLOWS];
	uint16_t open_count;
	bool walk_done;
	uint64_t walk_end;		/* batch with which the walk ended */
	uint32_t walk_next;		/* bucket */
	uint64_t walk_us;		/* when the walk last went on */
	/* From the peer. */
	uint64_t taken;			/* all up to this one were taken in */
	uint64_t taken_mask;		/* bit i: taken + 2 + i as well */
	uint64_t said_sent, said_walk_end;
	bool said_walk_done;
	uint64_t ack_due_us;		/* 0: nothing to acknowledge */
};

enum { SC_HELLO_TIMES = 32 };

/* What a peer said in a REACH, by ids. */
struct sc_reach {
	uint16_t npops, nservices;	/* nservices may be SC_REACH_SERVES_NONE */
	uint16_t pops[SC_MAX_POPS];
	uint32_t services[SC_REACH_SERVICES];
};

struct sc_peer {
	uint16_t row;			/* of the generation's nodes */
	bool near;			/* in this node's PoP */
	/* Session. */
	uint64_t boot;			/* the peer's, 0: none */
	uint64_t tx_seq;		/* last sent */
	uint64_t rx_high, rx_window;	/* highest seen; bit i: rx_high - i was seen */
	uint64_t adopted_at;		/* tx_seq when the session began */
	uint64_t stranger;		/* boot id last heard that is not the session's, 0: none */
	uint64_t stranger_seq, stranger_us;
	uint64_t answered_us;		/* last answer to a stranger */
	/* Liveness. */
	bool alive;
	uint64_t heard_us;		/* last HELLO of the session */
	uint64_t mutual_us;		/* last HELLO whose sender had heard this node lately */
	uint64_t heard_seq;
	uint64_t last_alive_us;		/* when it was last alive; when this node started, if never */
	uint64_t hello_due_us;
	struct { uint64_t seq, us; } hello[SC_HELLO_TIMES];	/* when ours were sent */
	uint32_t hellos;		/* how many were */
	uint32_t rtt_us;
	bool peer_filled;
	bool withholds;			/* half-open flows, as it says */
	uint8_t version;		/* spoken with it */
	bool draining, silent;		/* as it says */
	uint32_t fleet_digest;		/* as it says, 0: nothing */
	/* What it cannot reach itself, and what it does not serve: bit i, PoP i and service
	 * row i of the generation. */
	uint64_t unreached;
	uint64_t unserved[SC_MAX_SERVICES / 64];
	struct sc_reach said;		/* as it said so */
	uint64_t reach_seq;		/* in which message, 0: not yet */
	uint64_t reach_due_us;		/* when it is told what this node cannot reach */
	/* Flows to tell it at the end of this burst. */
	struct sc_record owner[SC_BATCH_FLOWS];
	uint16_t owner_count;
	struct sc_publication pub;
};

/* Flows refused once while certain. */
struct sc_refusal {
	uint64_t flow;
	uint64_t since_us;	/* 0: empty */
};

/* At most so many of something in a second. */
struct sc_rate {
	uint64_t since_us;
	uint32_t used;
};

/* Where the counts that follow the fixed ones are. */
struct sc_counts {
	uint64_t *service;		/* [services][SC_TRAFFIC_COUNT] */
	uint64_t *backend;		/* [backends][SC_TRAFFIC_COUNT] */
	uint64_t *flows;		/* [SC_CENSUS_COUNT][backends], enum sc_census */
	uint64_t *between;		/* [nodes][SC_BETWEEN_COUNT] */
};

/* A pass over the whole flow table that counts the flows of each backend. */
struct sc_survey {
	uint64_t *rows;			/* [SC_CENSUS_COUNT][backends] what it has counted so far */
	uint32_t next;			/* bucket; 0: none is under way */
	bool asked;			/* for another one */
	uint64_t begun_us;		/* when the last one began, 0: none has */
	uint64_t counted_us;		/* when the last one that came to its end had begun, 0: none has */
};

struct sc_node {
	struct sc_generation *g;
	uint64_t boot_id;
	uint8_t version;		/* the highest of the wire that it speaks */
	uint64_t *counters;
	struct sc_counts counts;
	struct sc_addr self;
	uint32_t self_id;
	uint64_t started_us;		/* 0: not yet */
	uint64_t now_us;
	uint16_t tick;
	bool filled;
	uint64_t forgot_us;		/* when a living flow had to be forgotten, 0: never */
	uint64_t withheld_us;		/* when a half-open flow of its own was last not published, or had to go, 0: never */
	uint64_t shed_us;		/* when one of another PoP's last had to go */
	uint64_t timers_us;		/* last call of the timers */
	uint32_t walk_left;		/* buckets that this call may still walk */
	struct sc_flow_table table;
	void *memory;			/* what the table lives in, NULL: memory of its own */
	void *past;			/* what is to be recalled, NULL: nothing, or no more */
	bool recalls;			/* there was something when it started */
	uint32_t recall_next;		/* bucket of past */
	struct sc_survey survey;
	uint32_t sweep_next;		/* bucket */
	uint32_t sweep_pass;
	uint64_t sweep_us;
	struct sc_refusal refusals[SC_NEGATIVE_SLOTS];
	struct sc_rate icmp, half_open, relay, spill;
	struct sc_peer *peers;		/* one for each node row, this node's unused */
	/* Where packets leave; valid during one call. */
	struct sc_out *out;
	uint8_t *scratch;
	uint32_t scratch_size;		/* of one buffer, headroom included */
	uint32_t scratch_used;
};

/* One packet on its way. */
struct sc_way {
	struct sc_node *node;
	struct sc_packet *packet;
	struct sc_parsed ip;		/* the client's packet */
	uint64_t flow;
	uint16_t service;		/* row */
	uint8_t verb;			/* enum sc_verb; 0: a raw VIP packet */
	uint8_t version;		/* of the wire, when it came from a node */
	uint16_t origin;		/* node row that sent it, SC_NO_ROW: raw */
	uint32_t named;			/* backend that private data names */
};

static inline void sc_count(struct sc_node *node, unsigned int counter)
{
	node->counters[counter]++;
}

/* One more of at most per_s in a second? */
static inline bool sc_allows(const struct sc_node *node, struct sc_rate *rate, uint32_t per_s)
{
	if (node->now_us - rate->since_us >= SC_S) {
		rate->since_us = node->now_us;
		rate->used = 0;
	}
	if (rate->used >= per_s)
		return false;
	rate->used++;
	return true;
}

/* node.c. */
struct sc_counts sc_counts_of(uint64_t *counters, const struct sc_generation *g);
uint32_t sc_scratch_size(const struct sc_generation *g);

/* Every call begins with it. */
void sc_enter(struct sc_node *node, uint64_t now_us, struct sc_out *out);

/* forward.c. */

/* One packet's whole way, from node and packet: the drop's reason, which is yet to be
 * counted. */
enum sc_reason sc_way_of(struct sc_way *w);

/* Which service, and the flow id by its rules. */
enum sc_reason sc_match_service(struct sc_way *w);
void sc_forward_burst(struct sc_node *node, struct sc_packet *burst, unsigned int n);

/* out.c: places for what leaves. */

/* Puts p, to egress, among what leaves. SC_DROP_no_buffer when that is full. */
enum sc_reason sc_emit(struct sc_node *node, const struct sc_packet *p, enum sc_egress egress);

/* A fresh buffer of this call with SC_HEADROOM bytes in front. false: none left. */
bool sc_scratch(struct sc_node *node, struct sc_packet *p);

/* home.c: who holds a flow. Node rows; SC_NO_ROW is nobody. */

/* The home of flow in the PoP at index pop: first alive and filled in rendezvous
 * order, else first alive. */
uint16_t sc_home(const struct sc_node *node, uint64_t flow, uint16_t pop);

/* The nodes that are to hold flow of a backend in PoP backend_pop: every PoP's home,
 * a second one in the backend's PoP, and whoever before them is still filling.
 * Without this node. Returns how many of rows[] were written. */
unsigned int sc_holders(const struct sc_node *node, uint64_t flow, uint16_t backend_pop,
			uint16_t rows[SC_MAX_NODES]);

/* Whether row answers: alive and filled. */
bool sc_serving(const struct sc_node *node, uint16_t row);

/* Whether row is among them, were it filled. */
bool sc_holds(const struct sc_node *node, uint64_t flow, uint16_t backend_pop, uint16_t row);

/* flows.c: what this node knows of flows, and what others tell it. */

/* Whether this node answers for the flow: its backend is here, and so is its home. */
bool sc_owned(const struct sc_node *node, const struct sc_flow_entry *e);

/* Whether the entry has been silent for longer than it may. */
bool sc_expired(const struct sc_node *node, const struct sc_flow_entry *e);

/* The living entry of flow, expired ones taken away; NULL when unknown. */
struct sc_flow_entry *sc_known(struct sc_node *node, uint64_t flow);

/* Records a flow that began age ticks ago and publishes it. NULL: table full. */
struct sc_flow_entry *sc_record_flow(struct sc_node *node, uint64_t flow, uint32_t backend,
				     enum sc_flow_state state, uint8_t timeouts, uint16_t age);

/* Takes an entry away; then, never before, the others hear of it, if it is this node's to
 * say. */
void sc_end_flow(struct sc_node *node, struct sc_flow_entry *e);

/* A packet of the flow passed here, at its home: state, time, publication. */
void sc_touch(struct sc_node *node, struct sc_flow_entry *e, const struct sc_way *w);

/* One of another PoP's flow did: that its handshake is over its owner node, should it have
 * died since, has told nobody. */
void sc_witness(struct sc_node *node, struct sc_flow_entry *e, const struct sc_way *w);

/* Tells the holders. Half-open flows, and the end of such, only up to a limit. */
void sc_publish(struct sc_node *node, const struct sc_flow_entry *e, enum sc_flow_state state);

/* Whether a flow in its handshake may be known to this node alone. */
bool sc_withholds(const struct sc_node *node);

/* Whether flows in their handshake, of other PoPs, may have been forgotten here. */
bool sc_shed(const struct sc_node *node);

/* Takes over an entry that an earlier life of this node left, unless it has expired or
 * somebody told of the flow since. */
void sc_take_back(struct sc_node *node, const struct sc_flow_entry *left);
void sc_take_record(struct sc_node *node, const struct sc_record *r, uint16_t origin);
void sc_take_owner(struct sc_node *node, const struct sc_record *r, uint16_t origin);
struct sc_record sc_make_record(const struct sc_node *node, const struct sc_flow_entry *e,
				enum sc_flow_state state);
void sc_sweep(struct sc_node *node);

/* survey.c: what a survey counts in; NULL: no memory. */
uint64_t *sc_survey_rows(const struct sc_generation *g);
void sc_survey_timers(struct sc_node *node);

/* recall.c: goes on recalling; whether all is done. */
bool sc_recall(struct sc_node *node);

/* relay.c: what this node cannot reach or serve is handed to another PoP, once. */

/* A known flow's packet, whose owner node in PoP index pop is out of reach. */
enum sc_reason sc_relay_known(struct sc_way *w, uint16_t pop, uint32_t backend);

/* A packet of a flow that only PoPs out of this node's reach or knowledge may know:
 * missing, a mask, 0 if it is this node's own knowledge that lacks. */
enum sc_reason sc_relay_unknown(struct sc_way *w, uint64_t missing);

/* A packet that begins anew, or is of no flow, for a service without a ready backend in
 * this PoP. */
enum sc_reason sc_spill(struct sc_way *w);

/* reach.c: what a peer says of what it does not hear and does not serve. */
void sc_reach_timers(struct sc_node *node, struct sc_peer *peer);
void sc_reach_changed(struct sc_node *node);
enum sc_reason sc_reach_receive(struct sc_node *node, struct sc_peer *peer, const uint8_t *body,
				uint16_t len, uint64_t seq);

/* What it said, by the rows of g. */
void sc_reach_index(const struct sc_generation *g, struct sc_peer *peer);
void sc_reach_forget(struct sc_peer *peer);

/* Whether it says that it does not serve that service row. */
static inline bool sc_unserved(const struct sc_peer *peer, uint16_t service)
{
	return peer->unserved[service / 64] >> service % 64 & 1;
}

/* peer.c: sessions, HELLOs, certainty. */

/* A peer for each node row of g, not heard of yet. NULL: no memory. */
struct sc_peer *sc_peers_new(const struct sc_generation *g);
void sc_peers_free(struct sc_peer *peers, uint32_t n);
void sc_peers_init(struct sc_node *node);

/* After a swap; others: the fleet has other nodes now. */
void sc_peers_changed(struct sc_node *node, bool others);
enum sc_reason sc_control_receive(struct sc_way *w);
void sc_peers_timers(struct sc_node *node);

/* Whether a "no" of this node is certain; of a flow first asked for at since_us (0:
 * now), also against a publication that was lost on its way and not missed yet. If not,
 * *missing is the PoPs whose word lacks, as a mask; 0: this node's own. */
bool sc_certain(const struct sc_node *node, uint64_t since_us, uint64_t *missing);

/* Sends one control message in the peer's session. */
enum sc_reason sc_send_control(struct sc_node *node, struct sc_peer *peer, enum sc_verb verb,
			       const uint8_t *body, uint16_t len, uint64_t receiver_boot);

/* publish.c: publications to and from one peer, in a session. */
void sc_publication_reset(struct sc_publication *pub);
void sc_publication_walk(struct sc_publication *pub);
void sc_publish_to(struct sc_node *node, struct sc_peer *peer, const struct sc_record *r);
enum sc_reason sc_publish_receive(struct sc_node *node, struct sc_peer *peer, const uint8_t *body,
				  uint16_t len);
enum sc_reason sc_owner_receive(struct sc_node *node, struct sc_peer *peer, const uint8_t *body,
				uint16_t len);
void sc_publish_acked(struct sc_node *node, struct sc_peer *peer, uint64_t number, uint64_t mask);
void sc_publish_timers(struct sc_node *node, struct sc_peer *peer);
void sc_owner_to(struct sc_node *node, uint16_t row, const struct sc_flow_entry *e);
void sc_owner_flush(struct sc_node *node);

/* Whether the peer has been sent all: the walk is done, nothing waits behind a full
 * window. What waits for SC_FLUSH_US does not count. */
bool sc_publication_told(const struct sc_publication *pub);

/* Whether the peer has sent all it holds for us, without a gap. */
bool sc_publication_complete(const struct sc_publication *pub);

/* gue.c: on and off the wire. */

/* Whether this is GUE for this node: then its outer headers come off, private data
 * or control header are checked, w->verb and w->origin are set. */
bool sc_is_gue(const struct sc_node *node, const struct sc_parsed *ip);
enum sc_reason sc_gue_open(struct sc_way *w);

/* Wraps the client's packet for a backend's machine and emits it. */
enum sc_reason sc_gue_to_backend(struct sc_way *w, const struct sc_addr *to);

/* Wraps it with private data for another node and emits it. */
enum sc_reason sc_gue_to_node(struct sc_way *w, uint16_t row, enum sc_verb verb, uint32_t backend);

/* mtu.c: what does not fit. Sends the packet in parts, or answers its sender. wrap
 * encapsulates one part, room is the largest inner packet. */
typedef enum sc_reason (*sc_wrap_fn)(struct sc_way *w, struct sc_packet *p, const void *to);
enum sc_reason sc_fit(struct sc_way *w, uint32_t room, sc_wrap_fn wrap, const void *to);

#endif
