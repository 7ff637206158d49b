/* A node's whole state, as the files of the data path share it, and the way of one
 * packet through them. Nobody outside native/ includes this. */
#ifndef SC_STATE_H
#define SC_STATE_H

#include "flow_table.h"
#include "lookup.h"
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
	uint8_t version;
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

struct sc_node {
	struct sc_generation *g;
	uint64_t boot_id;
	uint64_t *counters;
	uint64_t *service_counters;	/* [services][SC_TRAFFIC_COUNT] */
	uint64_t *backend_counters;	/* [backends][SC_TRAFFIC_COUNT] */
	struct sc_addr self;
	uint32_t self_id;
	uint64_t started_us;		/* 0: not yet */
	uint64_t now_us;
	uint16_t tick;
	bool filled;
	uint64_t forgot_us;		/* when a living flow had to be forgotten, 0: never */
	uint64_t timers_us;		/* last call of the timers */
	uint32_t walk_left;		/* buckets that this call may still walk */
	struct sc_flow_table table;
	uint32_t sweep_next;		/* bucket */
	uint32_t sweep_pass;
	uint64_t sweep_us;
	struct sc_refusal refusals[SC_NEGATIVE_SLOTS];
	uint64_t icmp_window_us;
	uint32_t icmp_sent;
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
	uint16_t origin;		/* node row that sent it, SC_NO_ROW: raw */
	uint32_t named;			/* backend that private data names */
};

static inline void sc_count(struct sc_node *node, unsigned int counter)
{
	node->counters[counter]++;
}

/* forward.c. */
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

/* Whether row is among them, were it filled. */
bool sc_holds(const struct sc_node *node, uint64_t flow, uint16_t backend_pop, uint16_t row);

/* flows.c: what this node knows of flows, and what others tell it. */

/* The living entry of flow, expired ones taken away; NULL when unknown. */
struct sc_flow_entry *sc_known(struct sc_node *node, uint64_t flow);

/* Records a flow that began age ticks ago and publishes it. NULL: table full. */
struct sc_flow_entry *sc_record_flow(struct sc_node *node, uint64_t flow, uint32_t backend,
				     enum sc_flow_state state, uint8_t timeouts, uint16_t age);

/* A packet of the flow passed here, at its home: state, time, publication. */
void sc_touch(struct sc_node *node, struct sc_flow_entry *e, const struct sc_way *w);

void sc_publish(struct sc_node *node, const struct sc_flow_entry *e, enum sc_flow_state state);
void sc_take_record(struct sc_node *node, const struct sc_record *r, uint16_t origin);
void sc_take_owner(struct sc_node *node, const struct sc_record *r, uint16_t origin);
struct sc_record sc_make_record(const struct sc_node *node, const struct sc_flow_entry *e,
				enum sc_flow_state state);
void sc_sweep(struct sc_node *node);

/* peer.c: sessions, HELLOs, certainty. */
void sc_peers_init(struct sc_node *node);
enum sc_reason sc_control_receive(struct sc_way *w);
void sc_peers_timers(struct sc_node *node);

/* Whether a "no" of this node is certain; of a flow first asked for at since_us (0:
 * now), also against a publication that was lost on its way and not missed yet. */
bool sc_certain(const struct sc_node *node, uint64_t since_us);

/* Sends one control message in the peer's session. */
enum sc_reason sc_send_control(struct sc_node *node, struct sc_peer *peer, enum sc_verb verb,
			       const uint8_t *body, uint16_t len, uint64_t receiver_boot);

/* publish.c: publications to and from one peer. */
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
