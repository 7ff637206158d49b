/* The public face of the data path. A node's whole state is one object; nothing
 * in here knows a clock, a socket or, after sc_node_new(), an allocation.
 * Called by io/worker.c, napi.c (memory nodes for tests), test programs and the
 * simulator: one process can hold a hundred nodes.
 * A node is used by one thread at a time. now_us is microseconds on any clock
 * that never runs backwards and starts above zero. */
#ifndef SC_NODE_H
#define SC_NODE_H

#include "generation.h"

struct sc_node;

/* What leaves: packets in the caller's input buffers and in the node's own scratch
 * buffers, valid until the next call on the same node. */
struct sc_out {
	struct sc_packet p[SC_OUT_MAX];
	unsigned int n;
};

struct sc_node_options {
	uint64_t boot_id;	/* random, not 0 */
	uint32_t flow_entries;	/* capacity of the flow table; rounded up */
	uint8_t wire_version;	/* the highest to speak; 0: the highest there is */
	/* memory.h. Both outlive the node, or are NULL. */
	void *memory;		/* an empty one for flow_entries: the flow table lives in it */
	void *past;		/* what an earlier life left, beyond doubt: recalled; done with when this one has filled */
};

/* How many uint64_t a node counts in: SC_COUNTER_COUNT fixed ones (reason.h), then
 * for every service row of g three (enum sc_traffic), then for every backend row
 * three, then for each of enum sc_census as many as there are backend rows: the
 * flows that name it, as last counted; then for every node row two (enum sc_between). */
enum sc_traffic { SC_TRAFFIC_PACKETS, SC_TRAFFIC_BYTES, SC_TRAFFIC_NEW_FLOWS, SC_TRAFFIC_COUNT };
enum sc_census {
	SC_CENSUS_FLOWS,	/* in whatever role this node holds them, hearsay aside */
	SC_CENSUS_OWNED,	/* of these, whose owner node this is: each flow of a PoP counts at one node */
	SC_CENSUS_ACTIVE,	/* of those, with a packet within the last SC_OWNER_CACHE_S */
	SC_CENSUS_OLDEST_S,	/* of the owned ones, how long ago the oldest began; SC_AGE_MAX ticks and more look alike */
	SC_CENSUS_COUNT,
};
/* Clients' packets that went to that node in ASK, FORWARD or RELAY, and that came from it so. */
enum sc_between { SC_BETWEEN_SENT, SC_BETWEEN_RECEIVED, SC_BETWEEN_COUNT };
size_t sc_counter_slots(const struct sc_generation *g);

/* Takes over g. counters: sc_counter_slots(g) values that outlive the node; only
 * the node's thread writes them. -EINVAL: options; -ENOMEM. */
int sc_node_new(const struct sc_node_options *o, struct sc_generation *g, uint64_t *counters,
		struct sc_node **out);
void sc_node_free(struct sc_node *node);

/* One burst of at most SC_BURST_MAX IP packets, as they came from the wire: raw
 * VIP packets and whole outer GUE packets. Their buffers are written to. Each ends
 * in out or in exactly one drop counter. */
void sc_forward(struct sc_node *node, struct sc_packet *burst, unsigned int n, uint64_t now_us,
		struct sc_out *out);

/* A connection that this machine is about to make, and which backend it is to reach. */
struct sc_pin {
	struct sc_addr client, vip;
	uint16_t sport, dport;
	uint32_t backend;
};

/* Has a TCP connection go to a backend of this node's PoP instead of the Maglev choice, as if
 * its SYN had been here. False: this node is not its home or has not filled, knows the flow
 * already, has no such service or backend, or no room. */
bool sc_node_pin(struct sc_node *node, const struct sc_pin *pin, uint64_t now_us, struct sc_out *out);

/* Flows are counted once a minute; this has it done again as soon as can be. */
void sc_node_survey(struct sc_node *node);

/* What is due by now: HELLOs, publications, resends, expiry. To be called every
 * SC_TIMER_US or so, however busy or idle the node is. */
void sc_timers(struct sc_node *node, uint64_t now_us, struct sc_out *out);

/* Reload. Prepares that node works from g: allocates all that it takes. From any
 * thread while the node runs, one swap at a time. counters: sc_counter_slots(g) zeroed
 * values that outlive the node. On success g belongs to the swap. -EINVAL and *why:
 * what of the node cannot change while it runs; -ENOMEM. */
struct sc_swap;
int sc_swap_prepare(const struct sc_node *node, struct sc_generation *g, uint64_t *counters,
		    struct sc_swap **out, const char **why);

/* In the node's thread, between two bursts: the node works from g, counts on in
 * counters, and keeps its flows and the sessions with all peers that are in both
 * generations. */
void sc_swap_apply(struct sc_node *node, struct sc_swap *s);

/* Frees what was replaced, or all of it when it was not applied. */
void sc_swap_free(struct sc_swap *s);

/* What a peer looks like from here. */
struct sc_peer_view {
	uint16_t id, pop;
	uint8_t up;		/* alive, both ways */
	uint8_t filled;		/* it has sent us all it holds, without a gap */
	uint8_t peer_filled;	/* it says that it has filled itself */
	uint8_t version;	/* spoken with it */
	uint32_t rtt_us;	/* 0: not known yet */
	uint32_t unacked;	/* batches waiting for its acknowledgement */
	uint8_t draining;	/* it says so */
	uint8_t silent;		/* it announces nothing, as it says */
	uint32_t fleet_digest;	/* as it says; 0: nothing */
	uint8_t told;		/* it has said what it serves: then those of other PoPs' nodes */
	uint64_t unserved[SC_MAX_SERVICES / 64];	/* bit i: not service row i */
};

struct sc_node_view {
	uint32_t flow_capacity;
	uint32_t flows_half_open, flows_established, flows_closing;	/* entries of any role */
	uint8_t filled;		/* answers SYNs, may be a home */
	uint8_t certain;	/* a "no" of this node would be certain */
	uint8_t withholds;	/* half-open flows, lately: there is a flood */
	uint8_t recalling;	/* what an earlier life left is still needed */
	uint32_t counted_ms;	/* since the beginning of the last survey of flows; UINT32_MAX: none yet */
	uint16_t npeers;
	struct sc_peer_view peers[SC_MAX_NODES];
};

/* Not for the packet path: copies a few counts. */
void sc_node_look(const struct sc_node *node, uint64_t now_us, struct sc_node_view *view);

/* The backend side: takes the inner packets out of GUE that one of its PoP's nodes
 * sent. Plain GUE to this machine in, inner packets for a VIP out (SC_EGRESS_LOCAL). */
void sc_backend_receive(const struct sc_generation *g, const struct sc_addr *self, uint16_t pop,
			struct sc_packet *burst, unsigned int n, uint64_t *counters,
			struct sc_out *out);

#endif
